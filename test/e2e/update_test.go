package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// deployment is a Deployment without replicas, whose containers c0, c1, … run the images.
func deployment(name string, images ...string) *appsv1.Deployment {
	labels, none := map[string]string{"app": name}, int32(0)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}}
	d.Spec.Replicas, d.Spec.Selector = &none, &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels, d.Spec.Template.Spec = labels, pod("", images...).Spec
	return d
}

// change reads a Deployment, changes it and writes it back, as often as its controller wrote it in between.
func (u *user) change(t testing.TB, ns, name string, change func(*appsv1.Deployment)) (*appsv1.Deployment, error) {
	t.Helper()
	for range 20 {
		d, err := u.AppsV1().Deployments(ns).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		change(d)
		if d, err = u.AppsV1().Deployments(ns).Update(t.Context(), d, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			return d, err
		}
	}
	return nil, fmt.Errorf("%s/%s is written too often by others", ns, name)
}

// A Deployment from before the policy, with an unsigned image: what is as it was does not block, and what an update adds
// does (VI 6.15; seeds 16, 18).
func TestUpdates(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	for _, name := range []string{"labels", "replicas", "scale", "image", "added", "renamed", "moved", "fixed", "deleting"} {
		d := deployment(name, images.bad)
		if name == "deleting" {
			d.Finalizers = []string{"signet.test/keep"}
		}
		if _, err := u.AppsV1().Deployments(ns).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	u.apply(t, rule{}.in(ns))
	refused := func(t *testing.T, name string, change func(*corev1.PodSpec)) {
		t.Helper()
		_, err := u.change(t, ns, name, func(d *appsv1.Deployment) { change(&d.Spec.Template.Spec) })
		wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Deployment", ns, name, said("signed", "autogen-check", images.objection())))
	}
	admitted := func(t *testing.T, name string, change func(*appsv1.Deployment)) *appsv1.Deployment {
		t.Helper()
		d, err := u.change(t, ns, name, change)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	unchanged := func(t *testing.T, d *appsv1.Deployment) {
		t.Helper()
		if got := d.Spec.Template.Spec.Containers[0].Image; got != images.bad {
			t.Errorf("image %s, want it as it was", got)
		}
		if got := noted(t, d.Annotations[annotation]); len(got) != 1 || got[images.bad] != "fail" {
			t.Errorf("annotation %v, want fail", got)
		}
		u.report(t, ns, string(d.UID), func(r *reports.PolicyReport) error {
			if len(r.Results) != 1 || r.Results[0].Result != "fail" || r.Results[0].Rule != "autogen-check" {
				return fmt.Errorf("%+v", r.Results)
			}
			return nil
		})
	}
	t.Run("labels", func(t *testing.T) {
		t.Parallel()
		unchanged(t, admitted(t, "labels", func(d *appsv1.Deployment) { d.Labels = map[string]string{"a": "b"} }))
	})
	t.Run("replicas", func(t *testing.T) {
		t.Parallel()
		unchanged(t, admitted(t, "replicas", func(d *appsv1.Deployment) { d.Spec.Paused = true }))
	})
	t.Run("scale", func(t *testing.T) {
		t.Parallel()
		scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "scale", Namespace: ns}, Spec: autoscalingv1.ScaleSpec{Replicas: 2}}
		if _, err := u.AppsV1().Deployments(ns).UpdateScale(t.Context(), "scale", scale, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		// Its Pods are judged on their own, before they have a name, and refused.
		u.eventWith(t, ns, "Policy", "signed", "Pod "+ns+"/: [check] fail (blocked); ", images.objection()+" [Unsigned]")
		pods, err := u.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "app=scale"})
		if err != nil || len(pods.Items) > 0 {
			t.Errorf("%d Pods, %v", len(pods.Items), err)
		}
	})
	t.Run("image", func(t *testing.T) {
		t.Parallel()
		repo := repository(t, "other")
		shared.registry.PushImage(repo, "1", nil)
		_, err := u.change(t, ns, "image", func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = host + "/" + repo + ":1" })
		wantRefused(t, err, "resource Deployment/"+ns+"/image was blocked", "autogen-check: 'failed to verify image "+host+"/"+repo+":1:")
	})
	t.Run("added container", func(t *testing.T) {
		t.Parallel()
		refused(t, "added", func(s *corev1.PodSpec) {
			s.Containers = append(s.Containers, corev1.Container{Name: "new", Image: images.bad})
		})
	})
	t.Run("renamed container", func(t *testing.T) {
		t.Parallel()
		refused(t, "renamed", func(s *corev1.PodSpec) { s.Containers[0].Name = "another" })
	})
	t.Run("moved container", func(t *testing.T) {
		t.Parallel()
		refused(t, "moved", func(s *corev1.PodSpec) {
			s.InitContainers = []corev1.Container{{Name: "c0", Image: images.bad}}
			s.Containers[0] = corev1.Container{Name: "c1", Image: images.good}
		})
	})
	t.Run("fixed", func(t *testing.T) {
		t.Parallel()
		d := admitted(t, "fixed", func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = images.good })
		if got := d.Spec.Template.Spec.Containers[0].Image; got != images.pinned {
			t.Errorf("image %s, want %s", got, images.pinned)
		}
	})
	// Seed 19: an object on its way out is judged like any other.
	t.Run("deleting", func(t *testing.T) {
		t.Parallel()
		if err := u.AppsV1().Deployments(ns).Delete(t.Context(), "deleting", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		refused(t, "deleting", func(s *corev1.PodSpec) {
			s.Containers = append(s.Containers, corev1.Container{Name: "new", Image: images.bad})
		})
		// What sets it free changes no image.
		admitted(t, "deleting", func(d *appsv1.Deployment) { d.Finalizers = nil })
		eventually(t, "the Deployment to go", func() error {
			_, err := u.AppsV1().Deployments(ns).Get(t.Context(), "deleting", metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("still there: %w", err)
		})
	})
}

// With the registry gone, a verified Pod's metadata can change, unverified changes are refused, and everything can be
// deleted (seeds 15, 19).
func TestRegistryGone(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns := newUser(t), namespace(t)
	r := registrytest.New(nil) // of its own, to be closed
	closed := false
	t.Cleanup(func() {
		if !closed {
			r.Close()
		}
	})
	push(r, "e2e/signed", "1", &shared.images.signed)
	push(r, "e2e/cold", "1", &shared.images.signed)
	image, cold := r.Host()+"/e2e/signed:1", r.Host()+"/e2e/cold@"+shared.images.signed.digest
	old := u.mustCreate(t, ns, pod("cold", cold)) // from before the policy: no verification is cached
	u.apply(t, rule{}.in(ns))
	warm := u.mustCreate(t, ns, pod("warm", image))
	pinned := r.Host() + "/e2e/signed@" + shared.images.signed.digest
	if got := warm.Spec.Containers[0].Image; got != image+"@"+shared.images.signed.digest {
		t.Fatalf("image %s", got)
	}

	r.Close()
	closed = true
	u.warned()
	label := func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }
	p, err := u.update(t, ns, "warm", label)
	if err != nil {
		t.Fatalf("warm: %v", err)
	}
	if got := noted(t, p.Annotations[annotation]); got[pinned] != "pass" || len(u.warned()) > 0 {
		t.Errorf("warm: annotation %v", got)
	}
	p, err = u.update(t, ns, "cold", label)
	if err != nil {
		t.Fatalf("cold: %v", err)
	}
	warnings := u.warned()
	if got := noted(t, p.Annotations[annotation]); got[cold] != "fail" ||
		!slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, "failed to verify image "+cold) }) {
		t.Errorf("cold: annotation %v, warnings %q", got, warnings)
	}
	_, err = u.update(t, ns, "cold", func(p *corev1.Pod) { p.Spec.Containers[0].Image = r.Host() + "/e2e/other:1" })
	wantRefused(t, err, "failed to verify image "+r.Host()+"/e2e/other:1: .attestors[0].entries[0].keys: GET http://"+r.Host(), "connection refused")
	for _, name := range []string{warm.Name, old.Name} {
		if err := u.CoreV1().Pods(ns).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("deleting %s: %v", name, err)
		}
	}
}

// A tag that moves between two requests is resolved again; a digest is never asked for.
func TestTagsAndDigests(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns := newUser(t), namespace(t)
	u.apply(t, rule{}.in(ns))
	r := shared.registry
	repo := repository(t, "image")
	name := push(r, repo, "1", &shared.images.signed)
	digest := shared.images.signed.digest
	counted := func(f func()) []string {
		from := len(r.Log())
		f()
		var out []string
		for _, e := range requests(r, from, repo) {
			out = append(out, e.Kind)
		}
		return out
	}
	first := counted(func() { u.mustCreate(t, ns, pod("first", name+":1")) })
	if !slices.Contains(first, registrytest.Tag) || !slices.Contains(first, registrytest.Referrers) {
		t.Errorf("requests of the first Pod: %q", first)
	}
	if got := counted(func() { u.mustCreate(t, ns, pod("second", name+":1")) }); !slices.Equal(got, []string{registrytest.Tag}) {
		t.Errorf("a warm tag takes %q, want one request for the tag", got)
	}
	if got := counted(func() { u.mustCreate(t, ns, pod("pinned", name+"@"+digest)) }); len(got) > 0 {
		t.Errorf("a warm digest takes %q, want nothing", got)
	}
	if got := counted(func() { u.mustCreate(t, ns, pod("both", name+":gone@"+digest)) }); len(got) > 0 {
		t.Errorf("a warm tag with digest takes %q, want nothing", got)
	}

	moved := r.PushImage(repo, "1", nil)
	_, err := u.create(t, ns, pod("moved", name+":1"))
	wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", ns, "moved", said("signed", "check",
		"failed to verify image "+name+":1: .attestors[0].entries[0].keys: no signatures found")))
	_, err = u.create(t, ns, pod("moved-digest", name+"@"+moved))
	wantRefused(t, err, "failed to verify image "+name+"@"+moved+": .attestors[0].entries[0].keys: no signatures found")
	u.mustCreate(t, ns, pod("still-good", name+"@"+digest))

	push(r, repo, "1", &shared.images.second)
	if p := u.mustCreate(t, ns, pod("moved-on", name+":1")); p.Spec.Containers[0].Image != name+":1@"+shared.images.second.digest {
		t.Errorf("image %s, want the digest that the tag has now", p.Spec.Containers[0].Image)
	}
}
