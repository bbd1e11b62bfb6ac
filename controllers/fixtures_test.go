package controllers

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
)

const key = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEttnyHZwdv2FXGGYBD7StTZ68VlmT
cmcV1SV2s8NRa8HOBzxDB2+VKKN/c74W3rK2V80pAUNGKBHjKJ4iC++Yeg==
-----END PUBLIC KEY-----`

// clusterPolicy is a policy with one rule for the kinds.
func clusterPolicy(name string, kinds ...string) *v1.ClusterPolicy {
	return &v1.ClusterPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: "uid-1", Generation: 1},
		Spec: v1.Spec{Rules: []v1.Rule{{
			Name:  "check",
			Match: v1.MatchResources{Any: v1.ResourceFilters{{Resources: v1.ResourceDescription{Kinds: kinds}}}},
			VerifyImages: []v1.ImageVerification{{
				ImageReferences: []string{"ghcr.io/*"},
				Attestors:       []v1.AttestorSet{{Entries: []v1.Attestor{{Keys: &v1.StaticKeyAttestor{PublicKeys: key}}}}},
			}},
		}}},
	}
}

func compile(t *testing.T, p *v1.ClusterPolicy) *policy.Policy {
	t.Helper()
	out, errs := policy.CompileCluster(p, policy.Options{})
	if len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	return out
}

// apis is an API server's discovery.
type apis struct {
	lists []*metav1.APIResourceList
	err   error
	reads int
}

func (a *apis) ServerGroupsAndResourcesWithContext(context.Context) ([]*metav1.APIGroup, []*metav1.APIResourceList, error) {
	a.reads++
	return nil, a.lists, a.err
}

func resources(groupVersion string, rs ...metav1.APIResource) *metav1.APIResourceList {
	return &metav1.APIResourceList{GroupVersion: groupVersion, APIResources: rs}
}

func standardAPIs() []*metav1.APIResourceList {
	return []*metav1.APIResourceList{
		resources("v1",
			metav1.APIResource{Name: "pods", Kind: "Pod", Namespaced: true},
			metav1.APIResource{Name: "pods/ephemeralcontainers", Kind: "Pod", Namespaced: true},
			metav1.APIResource{Name: "pods/exec", Kind: "PodExecOptions", Namespaced: true},
			metav1.APIResource{Name: "replicationcontrollers", Kind: "ReplicationController", Namespaced: true},
			metav1.APIResource{Name: "namespaces", Kind: "Namespace"}),
		resources("apps/v1",
			metav1.APIResource{Name: "deployments", Kind: "Deployment", Namespaced: true},
			metav1.APIResource{Name: "deployments/scale", Kind: "Scale", Group: "autoscaling", Version: "v1", Namespaced: true},
			metav1.APIResource{Name: "daemonsets", Kind: "DaemonSet", Namespaced: true},
			metav1.APIResource{Name: "replicasets", Kind: "ReplicaSet", Namespaced: true},
			metav1.APIResource{Name: "statefulsets", Kind: "StatefulSet", Namespaced: true}),
		resources("batch/v1",
			metav1.APIResource{Name: "jobs", Kind: "Job", Namespaced: true},
			metav1.APIResource{Name: "cronjobs", Kind: "CronJob", Namespaced: true}),
		resources("tekton.dev/v1", metav1.APIResource{Name: "taskruns", Kind: "TaskRun", Namespaced: true}),
		resources("tekton.dev/v1beta1", metav1.APIResource{Name: "taskruns", Kind: "TaskRun", Namespaced: true}),
	}
}

func newKinds(t *testing.T, a *apis) *kinds {
	t.Helper()
	k := &kinds{client: a, now: time.Now}
	if err := k.refresh(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	return k
}

func asYAML(t *testing.T, v any) string {
	t.Helper()
	raw, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
