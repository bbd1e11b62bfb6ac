package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
)

// pair are a signed and an unsigned image of a test, by tag.
type pair struct{ good, bad, pinned string }

func newPair(t *testing.T) pair {
	t.Helper()
	good := push(shared.registry, repository(t, "signed"), "1", &shared.images.signed) + ":1"
	repo := repository(t, "unsigned")
	shared.registry.PushImage(repo, "1", nil)
	return pair{good: good, bad: host + "/" + repo + ":1", pinned: good + "@" + shared.images.signed.digest}
}

func (p pair) objection() string {
	return "failed to verify image " + p.bad + ": .attestors[0].entries[0].keys: no signatures found"
}

// Every place of a Pod that names an image is judged, wherever the signed ones stand (VI 4.1; seed 49).
func TestEveryPlace(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	u.apply(t, rule{}.in(ns))
	always := corev1.ContainerRestartPolicyAlways
	for name, place := range map[string]func(p *corev1.Pod, image string){
		"second-container": func(p *corev1.Pod, image string) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "second", Image: image})
		},
		"init-container": func(p *corev1.Pod, image string) {
			p.Spec.InitContainers = []corev1.Container{{Name: "init", Image: image}}
		},
		"sidecar": func(p *corev1.Pod, image string) {
			p.Spec.InitContainers = []corev1.Container{{Name: "side", Image: image, RestartPolicy: &always}}
		},
		"image-volume": func(p *corev1.Pod, image string) {
			p.Spec.Volumes = []corev1.Volume{{Name: "files", VolumeSource: corev1.VolumeSource{
				Image: &corev1.ImageVolumeSource{Reference: image, PullPolicy: corev1.PullIfNotPresent}}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pod("bad-"+name, images.good)
			place(p, images.bad)
			_, err := u.create(t, ns, p)
			wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", ns, p.Name, said("signed", "check", images.objection())))

			p = pod("good-"+name, images.good)
			place(p, images.good)
			p = u.mustCreate(t, ns, p)
			for _, got := range podImages(p) {
				if got != images.pinned {
					t.Errorf("image %s, want %s", got, images.pinned)
				}
			}
		})
	}
}

// podImages are all images of a Pod in the order of the contract.
func podImages(p *corev1.Pod) []string {
	var out []string
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		out = append(out, c.Image)
	}
	for _, c := range p.Spec.EphemeralContainers {
		out = append(out, c.Image)
	}
	for _, v := range p.Spec.Volumes {
		if v.Image != nil {
			out = append(out, v.Image.Reference)
		}
	}
	return out
}

// kubectl debug adds a container to a running Pod: it is judged, and the Pod's annotations stay as they were.
func TestT021DebugContainers(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	u.apply(t, rule{}.in(ns))
	before := u.mustCreate(t, ns, pod("app", images.good))
	debug := func(container, image string) (string, int) {
		res, err := shared.cluster.Kubectl(t.Context(), "debug", "--namespace="+ns, "app", "--image="+image, "--container="+container,
			"--profile=general", "--attach=false")
		if err != nil {
			t.Fatal(err)
		}
		return res.Stderr, res.Code
	}
	out, code := debug("bad", images.bad)
	if code == 0 || !strings.Contains(spaced(out), `admission webhook "mutate.kyverno.svc-fail" denied the request: resource Pod/`+ns+
		`/app was blocked due to the following policies signed: check: 'failed to verify image `+images.bad+`: .attestors[0].entries[0].keys: no signatures found'`) {
		t.Errorf("kubectl debug (%d) %s", code, out)
	}
	if out, code := debug("good", images.good); code != 0 {
		t.Fatalf("kubectl debug (%d) %s", code, out)
	}
	after, err := u.CoreV1().Pods(ns).Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(after.Spec.EphemeralContainers) != 1 || after.Spec.EphemeralContainers[0].Image != images.pinned {
		t.Errorf("ephemeral containers %+v, want one of %s", after.Spec.EphemeralContainers, images.pinned)
	}
	if after.Annotations[annotation] != before.Annotations[annotation] || after.Annotations[scopedAnnotation] != before.Annotations[scopedAnnotation] {
		t.Errorf("annotations became %v", after.Annotations)
	}
	// With an unsigned image in the Pod from before, only what is added decides.
	other := namespace(t)
	u.mustCreate(t, other, pod("old", images.bad))
	u.apply(t, rule{}.in(other))
	p, err := u.update(t, other, "old", func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "good", Image: images.good, TerminationMessagePolicy: corev1.TerminationMessageReadFile, ImagePullPolicy: corev1.PullIfNotPresent}}}
	}, "ephemeralcontainers")
	if err != nil {
		t.Fatal(err)
	}
	if got := podImages(p); !slices.Equal(got, []string{images.bad, images.pinned}) || p.Annotations[annotation] != "" {
		t.Errorf("images %q, annotations %v", got, p.Annotations)
	}
}

// Three images, one of them unsigned: three results in the report, in the order of the Pod (seed 46).
func TestThreeImages(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	u.apply(t, rule{action: "Audit", entry: map[string]any{"mutateDigest": false, "verifyDigest": false}}.in(ns))
	second := push(shared.registry, repository(t, "second"), "1", &shared.images.second) + ":1"
	p := pod("three", images.good, second, images.good)
	p.Spec.InitContainers = []corev1.Container{{Name: "init", Image: images.bad}}
	p = u.mustCreate(t, ns, p)
	report := u.report(t, ns, string(p.UID), func(r *reports.PolicyReport) error {
		if len(r.Results) != 3 || r.Summary.Fail != 1 || r.Summary.Pass != 2 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	type line struct{ result, image, digest, path, reason, message string }
	var got []line
	for _, r := range report.Results {
		if r.Message == "verified from cache" { // as the second phase says it
			r.Message = "verified image signatures for " + r.Properties["image"]
		}
		got = append(got, line{string(r.Result), r.Properties["image"], r.Properties["digest"], r.Properties["path"], r.Properties["reason"], r.Message})
	}
	badDigest := got[0].digest
	want := []line{
		{"fail", images.bad, badDigest, "/spec/initContainers/0/image", "Unsigned", images.objection()},
		{"pass", images.good, shared.images.signed.digest, "/spec/containers/0/image,/spec/containers/2/image", "Verified", "verified image signatures for " + images.good},
		{"pass", second, shared.images.second.digest, "/spec/containers/1/image", "Verified", "verified image signatures for " + second},
	}
	if !slices.Equal(got, want) || !strings.HasPrefix(badDigest, "sha256:") {
		t.Errorf("results\ngot  %q\nwant %q", got, want)
	}
	if report.Scope == nil || report.Scope.Kind != "Pod" || report.Scope.Name != "three" || report.Scope.UID != p.UID ||
		len(report.OwnerReferences) != 1 || report.OwnerReferences[0].UID != p.UID || report.Labels["app.kubernetes.io/managed-by"] != "kyverno" {
		t.Errorf("scope %+v, metadata %+v", report.Scope, report.ObjectMeta)
	}
}

// kubectl shows reports with their counts: a pass, and an audited failure.
func TestReportsInKubectl(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	u.apply(t, rule{action: "Audit", entry: map[string]any{"mutateDigest": false, "verifyDigest": false}}.in(ns))
	u.mustCreate(t, ns, pod("goodpod", images.good))
	u.mustCreate(t, ns, pod("notgoodpod", images.bad))
	eventually(t, "the reports in kubectl", func() error {
		res, err := shared.cluster.Kubectl(t.Context(), "get", "policyreports", "--namespace="+ns)
		if err != nil {
			return err
		}
		rows := map[string][]string{}
		for line := range strings.Lines(res.Stdout) {
			if f := strings.Fields(line); len(f) > 3 {
				rows[f[2]] = append(f[1:2:2], f[3:8]...)
			}
		}
		want := map[string][]string{
			"goodpod":    {"Pod", "1", "0", "0", "0", "0"},
			"notgoodpod": {"Pod", "0", "1", "0", "0", "0"},
		}
		for name, fields := range want {
			if !slices.Equal(rows[name], fields) {
				return fmt.Errorf("%s", res.Stdout)
			}
		}
		if head := strings.Fields(res.Stdout)[:9]; !slices.Equal(head, []string{"NAME", "KIND", "NAME", "PASS", "FAIL", "WARN", "ERROR", "SKIP", "AGE"}) {
			return fmt.Errorf("columns %q", head)
		}
		return nil
	})
}
