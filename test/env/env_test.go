package env_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/signet-policy/signet/test/env"
)

const crd = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.test}
spec:
  group: example.test
  scope: Namespaced
  names: {kind: Thing, plural: things, singular: thing, listKind: ThingList}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

const things = `
apiVersion: example.test/v1
kind: Thing
metadata: {name: one}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two, namespace: default}
data: {a: b}
`

func TestCluster(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "crd.yaml")
	if err := os.WriteFile(file, []byte(crd), 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	c := env.ForTest(t, env.Options{CRDs: []string{file}, Users: []env.User{{Name: "alice", Groups: []string{"developers"}}}})
	t.Logf("started in %s", time.Since(start).Round(time.Millisecond))
	ctx := t.Context()

	t.Run("objects of an installed CRD can be applied at once", func(t *testing.T) {
		objects, err := env.ParseManifests([]byte(things))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Apply(ctx, objects...); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a pod is admitted in a new namespace without controllers", func(t *testing.T) {
		ns, err := c.Namespace(ctx, "pods")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Client().CoreV1().Pods(ns).Create(ctx, pod("p"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a user without a role may nothing", func(t *testing.T) {
		alice, err := kubernetes.NewForConfig(c.UserConfig("alice"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alice.CoreV1().Pods("default").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
			t.Fatalf("want forbidden, got %v", err)
		}
	})
	t.Run("an unknown user is nobody", func(t *testing.T) {
		bob, err := kubernetes.NewForConfig(c.UserConfig("bob"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bob.CoreV1().Pods("default").List(ctx, metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
			t.Fatalf("want unauthorized, got %v", err)
		}
	})
	t.Run("a service account is known by its token and starts without permissions", func(t *testing.T) {
		config, err := c.ServiceAccountConfig(ctx, "system", "robot")
		if err != nil {
			t.Fatal(err)
		}
		robot, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := robot.CoreV1().Secrets("system").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
			t.Fatalf("want forbidden, got %v", err)
		}
	})
	t.Run("kubectl talks to it", func(t *testing.T) {
		res, err := c.Kubectl(ctx, "get", "namespace", "default", "-o", "name")
		if err != nil || res.Stdout != "namespace/default\n" {
			t.Fatalf("got %+v, %v", res, err)
		}
		res, err = c.Kubectl(ctx, "get", "namespace", "nowhere")
		if err != nil || res.Code == 0 || res.Stderr == "" {
			t.Fatalf("want a failing kubectl, got %+v, %v", res, err)
		}
	})
}

func TestControllerManager(t *testing.T) {
	t.Parallel()
	c := env.ForTest(t, env.Options{ControllerManager: true})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	owner, err := c.Client().CoreV1().Pods("default").Create(ctx, pod("owner"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owned", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "Pod", Name: owner.Name, UID: owner.UID}}}}
	if _, err := c.Client().CoreV1().ConfigMaps("default").Create(ctx, owned, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	now := int64(0)
	if err := c.Client().CoreV1().Pods("default").Delete(ctx, owner.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := c.Client().CoreV1().ConfigMaps("default").Get(ctx, "owned", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	c, err := env.Start(t.Context(), env.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client, dir := c.Client(), c.Dir
	c.Stop()
	c.Stop() // twice is fine
	if _, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("the API server still answers")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary run directory is still there: %v", err)
	}
}

func TestMissingTool(t *testing.T) {
	t.Parallel()
	_, err := env.Tool("no-such-tool")
	if !errors.Is(err, env.ErrToolMissing) {
		t.Fatalf("want ErrToolMissing, got %v", err)
	}
}

func TestFreePorts(t *testing.T) {
	t.Parallel()
	ports, err := env.FreePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range ports {
		if seen[p] {
			t.Errorf("port %d was given twice", p)
		}
		seen[p] = true
	}
	if len(seen) != 20 {
		t.Errorf("got %d ports", len(seen))
	}
}

func TestProcessThatFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, err := env.StartProcess(dir, "sh", "/bin/sh", []string{"-c", "echo all is lost; exit 3"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	err = p.WaitReady(t.Context(), func(context.Context) error { return errors.New("not yet") })
	if err == nil || !contains(err.Error(), "all is lost", "exit status 3", filepath.Join(dir, "sh.log")) {
		t.Fatalf("the error does not say what happened: %v", err)
	}
}

// A command that is given up takes along what it started: here the pipe stays open as long as the grandchild lives.
func TestCommandGivenUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	file := filepath.Join(t.TempDir(), "started")
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(file); err == nil {
				cancel()
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	res, err := env.RunCommand(ctx, t.TempDir(), nil, "/bin/sh", "-c", "sleep 600 & echo $!; touch "+file+"; wait")
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("want a cancelled command, got %+v, %v", res, err)
	}
	grandchild, err := strconv.Atoi(strings.TrimSpace(res.Stdout))
	if err != nil {
		t.Fatalf("no process id in %q: %v", res.Stdout, err)
	}
	for range 6000 { // the kernel may take a moment to bury it
		if err := syscall.Kill(grandchild, 0); errors.Is(err, syscall.ESRCH) || zombie(grandchild) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d outlived the command that started it", grandchild)
}

// zombie tells whether a process is dead and only waits for its parent to notice.
func zombie(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(raw), ") Z ")
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.test/a:1"}}}}
}

func contains(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
