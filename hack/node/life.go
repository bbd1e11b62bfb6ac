package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const leaderName = `kubectl -n kyverno get lease kyverno -o jsonpath='{.spec.holderIdentity}'`

func roll(ctx context.Context, t *transcript) error {
	t.title("Rolling update, while Pods are created")
	a := t.m.attempt(ctx)
	t.succeeds(ctx, "restart is accepted", "kubectl -n kyverno rollout restart %s", deployment)
	t.succeeds(ctx, "the replicas are replaced", "kubectl -n kyverno rollout status --timeout=180s %s | tail -n 1", deployment)
	t.gone(ctx, 2)
	a.end(t, true)
	return nil
}

// gone waits until n Pods of Signet are left, so that those which end have ended.
func (t *transcript) gone(ctx context.Context, n int) {
	got, took, ok := t.m.eventually(ctx, "kubectl -n kyverno get pods --no-headers | wc -l", func(s string) bool { return s == strconv.Itoa(n) })
	t.check(fmt.Sprintf("%d replicas are left, after %s", n, took.Round(100*time.Millisecond)), ok, got)
}

// leader deletes the Pod that leads, of three.
func leader(ctx context.Context, t *transcript) error {
	t.title("Three replicas; the leader's Pod is deleted, while Pods are created")
	t.succeeds(ctx, "a third replica is accepted", "kubectl -n kyverno scale --replicas=3 %s", deployment)
	t.succeeds(ctx, "it becomes ready", "kubectl -n kyverno rollout status --timeout=180s %s | tail -n 1", deployment)
	old, _ := t.m.shell(ctx, leaderName)
	a := t.m.attempt(ctx)
	pod, _, _ := strings.Cut(old.Stdout, "_")
	t.succeeds(ctx, "its Pod is deleted", "kubectl -n kyverno delete pod %s", pod)
	got, took, ok := t.m.eventually(ctx, leaderName, func(s string) bool { return s != "" && s != old.Stdout })
	t.check("another replica leads", ok, got)
	fmt.Printf("# after %s\n", took.Round(100*time.Millisecond))
	t.succeeds(ctx, "a policy is accepted", "sed 's/require-signed-images/another/' verify-signed-images.yaml >another.yaml; kubectl apply -f another.yaml")
	t.succeeds(ctx, "it becomes ready", "kubectl wait --for=condition=Ready --timeout=60s cpol/another")
	t.succeeds(ctx, "it is deleted", "kubectl delete cpol another")
	t.succeeds(ctx, "there are three again", "kubectl -n kyverno rollout status --timeout=180s %s | tail -n 1", deployment)
	t.succeeds(ctx, "back to two", "kubectl -n kyverno scale --replicas=2 %s", deployment)
	t.gone(ctx, 2)
	a.end(t, true)
	return nil
}

// drain empties both nodes, one after the other.
func drain(ctx context.Context, t *transcript) error {
	t.title("Both nodes are drained, one after the other, while Pods are created")
	a := t.m.attempt(ctx)
	for _, n := range t.m.nodes {
		t.succeeds(ctx, "the node is emptied", "kubectl drain %s --ignore-daemonsets --delete-emptydir-data --force --timeout=180s", n.name)
		t.succeeds(ctx, "the other node has both replicas", "kubectl -n kyverno rollout status --timeout=180s %s | tail -n 1", deployment)
		t.succeeds(ctx, "the node is back", "kubectl uncordon %s", n.name)
	}
	t.gone(ctx, 2)
	a.end(t, true)
	t.succeeds(ctx, "a restart is accepted", "kubectl -n kyverno rollout restart %s && kubectl -n kyverno rollout status --timeout=180s %s | tail -n 1", deployment, deployment)
	t.gone(ctx, 2)
	t.spread(ctx)
	return nil
}

// spread checks that each of two replicas is on a node of its own.
func (t *transcript) spread(ctx context.Context) {
	res := t.run(ctx, "kubectl -n kyverno get pods -o wide")
	t.check("each replica is on a node of its own", strings.Contains(res.Stdout, "node-1") && strings.Contains(res.Stdout, "node-2"), res.Stdout)
}

const loadPods = 1000

// load creates many Pods at once.
func load(ctx context.Context, t *transcript) error {
	t.title(fmt.Sprintf("%d signed and %d unsigned Pods, by 20 clients at once", loadPods, loadPods))
	var next, admitted, denied, other atomic.Int64
	var word atomic.Value
	began := time.Now()
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			for n := next.Add(1); n <= 2*loadPods && ctx.Err() == nil; n = next.Add(1) {
				image := reference
				if n%2 == 0 {
					image = "nginx"
				}
				_, err := t.m.cluster.Client().CoreV1().Pods("default").Create(ctx, &corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("load-%d", n), Labels: map[string]string{"load": "true"}},
					// Nobody schedules them: what is measured is Signet, not the node.
					Spec: corev1.PodSpec{SchedulerName: "nobody", Containers: []corev1.Container{{Name: "c", Image: image}}},
				}, metav1.CreateOptions{})
				switch {
				case err == nil && n%2 == 1:
					admitted.Add(1)
				case err != nil && n%2 == 0 && strings.Contains(err.Error(), "no signatures found"):
					denied.Add(1)
				default:
					other.Add(1)
					word.Store(fmt.Sprint(image, ": ", err))
				}
			}
		})
	}
	clients.Wait()
	took := time.Since(began)
	fmt.Printf("# %s, %.0f requests a second\n", took.Round(100*time.Millisecond), 2*loadPods/took.Seconds())
	t.check(fmt.Sprintf("%d admitted, %d refused", admitted.Load(), denied.Load()), admitted.Load() == loadPods && denied.Load() == loadPods, word.Load())
	got, took, ok := t.m.eventually(ctx, "kubectl get policyreports --no-headers | grep -c load-", func(s string) bool { return s == strconv.Itoa(loadPods) })
	t.check(fmt.Sprintf("%d reports", loadPods), ok, got)
	fmt.Printf("# after %s\n", took.Round(100*time.Millisecond))
	res := t.run(ctx, "kubectl -n kyverno get pods")
	t.check("no replica was restarted", strings.Count(res.Stdout, " 0  ") == 2, res.Stdout)
	for _, pid := range signets() {
		status, _ := os.ReadFile(filepath.Join("/proc", pid, "status"))
		for line := range strings.Lines(string(status)) {
			if strings.HasPrefix(line, "VmHWM") || strings.HasPrefix(line, "RssAnon") {
				fmt.Print("# process ", pid, ": ", line)
			}
		}
	}
	t.succeeds(ctx, "they are deleted", "kubectl delete pods -l load=true --grace-period=0 --force --wait=false >/dev/null")
	return nil
}

// lose ends a node as a power cut does: kubelet, containerd and what runs there.
func lose(ctx context.Context, t *transcript) error {
	t.title("The leader's node is lost")
	holder, _ := t.m.shell(ctx, leaderName)
	pod, _, _ := strings.Cut(holder.Stdout, "_")
	where, _ := t.m.shell(ctx, "kubectl -n kyverno get pod "+pod+" -o jsonpath='{.spec.nodeName}'")
	var lost *node
	for _, n := range t.m.nodes {
		if n.name == where.Stdout {
			lost = n
		}
	}
	if lost == nil {
		return fmt.Errorf("no node %q leads", where.Stdout)
	}
	a := t.m.attempt(ctx)
	fmt.Printf("# %s: kubelet, containerd and all containers are killed\n", lost.name)
	t.m.kill(lost)
	got, took, ok := t.m.eventually(ctx, leaderName, func(s string) bool { return s != "" && s != holder.Stdout })
	t.check("the other replica leads", ok, got)
	fmt.Printf("# after %s\n", took.Round(100*time.Millisecond))
	_, took, ok = t.m.eventually(ctx, "kubectl apply -f another.yaml", func(s string) bool { return strings.HasPrefix(s, "clusterpolicy") })
	t.check("a policy is accepted in the meantime", ok, "")
	fmt.Printf("# after %s\n", took.Round(100*time.Millisecond))
	t.succeeds(ctx, "it becomes ready", "kubectl wait --for=condition=Ready --timeout=120s cpol/another")
	got, took, ok = t.m.eventually(ctx, "kubectl get node "+lost.name+" --no-headers", func(s string) bool { return strings.Contains(s, "NotReady") })
	t.check("the cluster knows that the node is lost", ok, got)
	fmt.Printf("# after %s\n", took.Round(100*time.Millisecond))
	a.end(t, false) // until the cluster knows it, every other request may be sent to the lost node
	if err := t.m.revive(ctx, lost); err != nil {
		return err
	}
	t.succeeds(ctx, "the node is back", "kubectl wait --for=condition=Ready --timeout=120s node/%s", lost.name)
	t.succeeds(ctx, "so is its replica", "kubectl -n kyverno rollout status --timeout=180s %s | tail -n 1", deployment)
	t.run(ctx, "kubectl -n kyverno get pods -o wide")
	return nil
}

// uninstall takes Signet away while a policy is in force, and installs it again.
func uninstall(ctx context.Context, t *transcript) error {
	t.title("Uninstall, while a policy is in force; install again")
	a := t.m.attempt(ctx)
	t.succeeds(ctx, "nothing hangs", "kubectl delete --timeout=180s -k ../install | tail -n 3")
	a.cancel()
	a.group.Wait()
	fmt.Printf("# nobody could create Pods for %s\n", a.longest.Round(100*time.Millisecond))
	t.check("that was less than 30 s", a.longest < 30*time.Second, a.longest)
	res := t.run(ctx, "kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings,crds,ns -o name | grep -e kyverno -e wgpolicy -e signet")
	t.check("nothing is left", res.Stdout == "", res.Stdout)
	t.succeeds(ctx, "Pods are created as before", "kubectl run free --image=nginx")
	t.succeeds(ctx, "it is installed again", "kubectl apply --server-side -k ../install | tail -n 1")
	t.succeeds(ctx, "the replicas become ready", "kubectl -n kyverno rollout status --timeout=180s %s | tail -n 1", deployment)
	t.succeeds(ctx, "the policy is accepted", "kubectl apply -f verify-signed-images.yaml")
	t.succeeds(ctx, "the policy becomes ready", "kubectl wait --for=condition=Ready --timeout=60s cpol/require-signed-images")
	res = t.run(ctx, "kubectl run notgoodpod --image=nginx")
	t.check("the unsigned image is refused", res.Code == 1 && strings.Contains(res.Stdout, "no signatures found"), res.Stdout)
	return nil
}
