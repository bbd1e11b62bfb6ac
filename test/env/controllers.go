package env

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// controllers are the parts of kube-controller-manager that admission and reports can meet. The rest (nodes, volumes,
// cloud) has nothing to work on here.
var controllers = []string{
	"namespace-controller", "serviceaccount-controller", "garbage-collector-controller", "root-ca-certificate-publisher-controller",
	"clusterrole-aggregation-controller", "deployment-controller", "replicaset-controller", "replicationcontroller-controller",
	"statefulset-controller", "daemonset-controller", "job-controller", "cronjob-controller", "endpoints-controller",
}

// nodeControllers are the further parts that a cluster with nodes has work for.
var nodeControllers = []string{
	"endpointslice-controller", "disruption-controller", "node-lifecycle-controller", "pod-garbage-collector-controller",
	"taint-eviction-controller",
}

func (c *Cluster) startControllerManager(ctx context.Context, path string, o Options) error {
	enabled := controllers
	if o.Address != "" {
		enabled = slices.Concat(controllers, nodeControllers)
	}
	kubeconfig := c.Kubeconfig()
	_, err := c.run("kube-controller-manager", path, []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false", "--secure-port=0", "--bind-address=127.0.0.1", "--profiling=false",
		"--service-account-private-key-file=" + filepath.Join(c.Dir, "service-accounts.key"),
		"--root-ca-file=" + filepath.Join(c.Dir, "ca.crt"), "--use-service-account-credentials=true",
		"--kube-api-qps=200", "--kube-api-burst=400", "--controllers=" + strings.Join(enabled, ","), "--v=1",
	})
	if err != nil {
		return err
	}
	c.controllers = true
	if err := c.EnsureNamespace(ctx, "default"); err != nil {
		return fmt.Errorf("%w\n%s", err, c.Tails(10))
	}
	return nil
}
