package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/signet-policy/signet/test/env"
)

// The tests of this file have a second Signet, or need to know what no other test does meanwhile. They are not parallel.

// replicaLeases chooses the leases of replicas.
var replicaLeases = metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=signet-replica"}

// second starts another replica. What it registers when it leads is its own address, so that a replica that does not lead is
// asked by nobody here.
func (w *world) second(t *testing.T) *env.Signet {
	t.Helper()
	dir, err := os.MkdirTemp(w.dir, "second-")
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.cluster.StartSignet(t.Context(), env.SignetOptions{Binary: w.binary, Dir: dir, Args: w.args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// hammer tries to create Pods with an unsigned image until the returned function is called and a few have been refused, and fails
// the test for every Pod that was admitted.
func (u *user) hammer(t *testing.T, ns, image string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var tries, n atomic.Int64
	var wg sync.WaitGroup
	end := func() {
		cancel()
		wg.Wait()
	}
	t.Cleanup(end) // when the test ends before it says stop
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				name := fmt.Sprintf("unsigned-%d", n.Add(1))
				_, err := u.CoreV1().Pods(ns).Create(ctx, pod(name, image), metav1.CreateOptions{})
				switch {
				case err == nil:
					t.Errorf("%s was admitted at %s", name, time.Now().Format(time.StampMilli))
				case strings.Contains(err.Error(), "was blocked due to the following policies"):
					tries.Add(1)
				}
			}
		})
	}
	return func() {
		t.Helper()
		eventually(t, "Pods to be judged", func() error {
			if n := tries.Load(); n < 20 {
				return fmt.Errorf("only %d tries", n)
			}
			return nil
		})
		end()
	}
}

// A-55, VI 1.6: while a policy goes from one webhook path to another, nothing comes through between them, whether or not anybody
// waits for the policy to be Ready again.
func TestA55NoGapWhilePathsChange(t *testing.T) {
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	for _, failure := range []string{"Fail", "Ignore"} { // they keep both common paths in use
		u.apply(t, rule{name: "beside-" + lower(failure), failure: failure}.in(namespace(t)))
	}
	settings := func(failure string, conditions bool) map[string]any {
		out := map[string]any{"failurePolicy": failure, "timeoutSeconds": int64(30)}
		if conditions {
			out["matchConditions"] = []any{map[string]any{"name": "chosen", "expression": "object.metadata.name != 'nobody'"}}
		}
		return out
	}
	states := []map[string]any{settings("Fail", false), settings("Ignore", false), settings("Fail", true), settings("Ignore", true)}
	p := rule{}.clusterFor(ns)
	mustSet(t, p, states[0], "spec", "webhookConfiguration")
	p = u.apply(t, p)
	to := func(state map[string]any) {
		t.Helper()
		eventually(t, "the policy to be changed", func() error {
			now, err := u.resource(p).Get(t.Context(), p.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			mustSet(t, now, state, "spec", "webhookConfiguration")
			_, err = u.resource(p).Update(t.Context(), now, metav1.UpdateOptions{})
			return err
		})
	}
	walk := func() { // every step from one state to another, once
		for _, i := range []int{1, 0, 2, 0, 3, 1, 2, 1, 3, 2, 3, 0} {
			to(states[i])
			u.ready(t, p)
		}
	}
	hurry := func() {
		for range 5 {
			for _, i := range []int{2, 1, 3, 0} {
				to(states[i])
			}
		}
		u.ready(t, p)
	}
	for _, f := range []func(){walk, hurry} {
		stop := u.hammer(t, ns, images.bad)
		f()
		stop()
	}
	shared.second(t)
	for _, f := range []func(){walk, hurry} {
		stop := u.hammer(t, ns, images.bad)
		f()
		stop()
	}
	u.mustCreate(t, ns, pod("good", images.good))
}

// a policy is Ready once every replica holds it. One that does not answer is waited for until its lease ends or it is back,
// and says nothing by what it knew before it was away.
func TestA55ReadyIsTheWordOfEveryReplica(t *testing.T) {
	shared.run(t, "")
	u := newUser(t)
	frozen := shared.second(t)
	signal := func(s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(frozen.PID(), s); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = syscall.Kill(frozen.PID(), syscall.SIGCONT) })
	unready := func(p *unstructured.Unstructured) (message string) {
		t.Helper()
		eventually(t, "the policy to wait for the replica", func() error {
			now, err := u.resource(p).Get(t.Context(), p.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			c := readyCondition(now)
			if c["status"] == "True" {
				t.Fatalf("Ready without a replica: %v", c)
			}
			message = fmt.Sprint(c["message"])
			if !strings.HasPrefix(message, "waiting for replica signet-replica-") {
				return errors.New(message)
			}
			return nil
		})
		return message
	}

	signal(syscall.SIGSTOP)
	p := rule{}.in(namespace(t))
	p, err := u.resource(p).Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.withdraw(t, p) })
	unready(p)
	signal(syscall.SIGCONT)
	u.ready(t, p)

	// Now its lease ends before it is back.
	signal(syscall.SIGSTOP)
	other := rule{}.in(namespace(t))
	if other, err = u.resource(other).Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.withdraw(t, other) })
	waited := unready(other)
	u.ready(t, other)
	// It was not Ready before the lease ended, of which nothing is left.
	for name := range strings.SplitSeq(strings.TrimPrefix(waited, "waiting for replica "), ", ") {
		if lease, err := u.CoordinationV1().Leases(env.SystemNamespace).Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("Ready, and the replica has the lease %v, %v", lease, err)
		}
	}
	signal(syscall.SIGCONT)
	eventually(t, "the replica to come back", func() error {
		list, err := u.CoordinationV1().Leases(env.SystemNamespace).List(t.Context(), replicaLeases)
		if err != nil {
			return err
		}
		live := 0
		for i := range list.Items {
			if time.Since(list.Items[i].Spec.RenewTime.Time) < 10*time.Second {
				live++
			}
		}
		if live < 2 {
			return fmt.Errorf("%d replicas have renewed their leases", live)
		}
		return nil
	})
	frozen.Stop()
	eventually(t, "its lease to go with it", func() error {
		list, err := u.CoordinationV1().Leases(env.SystemNamespace).List(t.Context(), replicaLeases)
		if err != nil || len(list.Items) == 1 {
			return err
		}
		return fmt.Errorf("%d leases", len(list.Items))
	})
}

// a leader that is killed in the middle of a change leaves no gap: what is registered stays, and the next one goes on.
func TestA56LeaderKilled(t *testing.T) {
	leader := shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	p := u.apply(t, rule{}.clusterFor(ns))
	shared.second(t)
	stop := u.hammer(t, ns, images.bad)
	now, err := u.resource(p).Get(t.Context(), p.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustSet(t, now, []any{map[string]any{"name": "chosen", "expression": "true"}}, "spec", "webhookConfiguration", "matchConditions")
	if _, err := u.resource(p).Update(t.Context(), now, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(leader.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-leader.Done()
	shared.stop()
	// Until the other one leads, nobody is at the address.
	eventually(t, "the other replica to lead", func() error {
		_, err := u.create(t, ns, pod("good", images.good))
		return err
	})
	u.ready(t, p)
	stop()
}

// A registry that does not answer is seen on the policy, as long as that is so, and the policy stays Ready.
func TestTroubleConditions(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	p := u.apply(t, rule{}.in(ns))
	_, err := u.create(t, ns, pod("unreachable", "unreachable.test:1/image:1"))
	if err == nil {
		t.Fatal("an image of a registry that nobody reaches was admitted")
	}
	eventually(t, "the registry to be named on the policy", func() error {
		now, err := u.resource(p).Get(t.Context(), p.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		c := condition(now, "RegistryAvailable")
		if c["status"] != "False" || !strings.Contains(fmt.Sprint(c["message"]), "unreachable.test:1: Registry") {
			return fmt.Errorf("%v", c)
		}
		if ready := readyCondition(now); ready["status"] != "True" {
			t.Errorf("not Ready: %v", ready)
		}
		return nil
	})
	u.mustCreate(t, ns, pod("good", images.good)) // another registry says nothing about this one
}
