package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/test/env"
)

// featureSample is a sample that is about one feature, while it is in force.
type featureSample struct {
	*user
	t      *testing.T
	policy *unstructured.Unstructured
	ns     string
	images pair
}

// featureSamples are what is tried with each of these samples; those in unapplied are applied by what tries them.
func featureSamples() map[string]func(*featureSample) {
	return map[string]func(*featureSample){
		"tekton-tasks.yaml":                 (*featureSample).tektonTasks,
		"skip-mirrored-images.yaml":         (*featureSample).skipMirrored,
		"pin-digests.yaml":                  (*featureSample).pinDigests,
		"digests-only.yaml":                 (*featureSample).digestsOnly,
		"roll-out-by-namespace.yaml":        (*featureSample).rollOut,
		"one-action-for-each-registry.yaml": (*featureSample).oneActionEach,
		"team-keys-in-configmap.yaml":       (*featureSample).teamKeys,
		"key-in-secret.yaml":                (*featureSample).keyInSecret,
		"signed-for-the-team.yaml":          (*featureSample).signedForTeam,
		"root-images.yaml":                  (*featureSample).rootImages,
		"old-images.yaml":                   (*featureSample).oldImages,
		"signatures-elsewhere.yaml":         (*featureSample).signaturesElsewhere,
		"private-registry.yaml":             (*featureSample).privateRegistry,
		"break-glass.yaml":                  (*featureSample).breakGlass,
		"people-by-role.yaml":               (*featureSample).peopleByRole,
		"team-policy.yaml":                  (*featureSample).teamPolicy,
		"deployments-and-cronjobs.yaml":     (*featureSample).someControllers,
		"outage-does-not-stop-us.yaml":      (*featureSample).outage,
		"without-cache.yaml":                (*featureSample).withoutCache,
		"releases.yaml":                     (*featureSample).releases,
		"exception-for-legacy.yaml":         nil, // TestExceptionSample
	}
}

// The samples about single features, with the registry and the keys of this test in the place of theirs, admit and refuse
// what they say. The test has the cluster for itself: samples are about all namespaces.
func TestFeatureSamples(t *testing.T) {
	shared.run(t, "")
	for _, ns := range []string{"payments", "payments-eu", "payments-sandbox-1", "production-1"} {
		if err := shared.cluster.EnsureNamespace(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
	}
	samples := featureSamples()
	for _, file := range slices.Sorted(maps.Keys(samples)) {
		try := samples[file]
		if try == nil {
			continue
		}
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			s := &featureSample{user: newUser(t), t: t, ns: namespace(t), images: newPair(t), policy: readFeatureSample(t, file)}
			s.nobodyAsks()
			s.apply(t, s.policy)
			s.warned()
			try(s)
		})
	}
}

// readFeatureSample is a sample about this test's registry and key.
func readFeatureSample(t *testing.T, file string) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(env.Root(), "config", "samples", file))
	if err != nil {
		t.Fatal(err)
	}
	own := strings.NewReplacer("ghcr.io/acme/", host+"/e2e/", "registry.example.com/", shared.registry.Host()+"/").Replace(string(text))
	own = sampleKey.ReplaceAllStringFunc(own, func(old string) string {
		indent := old[:strings.Index(old, "-")]
		return indent + strings.ReplaceAll(strings.TrimSpace(shared.images.key), "\n", "\n"+indent)
	})
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(own), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

// nobodyAsks waits until the sample before this one is no longer in force.
func (s *featureSample) nobodyAsks() {
	s.t.Helper()
	for _, ns := range []string{s.ns, "payments", "production-1"} {
		eventually(s.t, "the sample before to be gone", func() error {
			s.warned()
			_, err := s.CoreV1().Pods(ns).Create(s.t.Context(), pod("nobody-asks", s.images.bad), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if w := s.warned(); err == nil && len(w) > 0 {
				return fmt.Errorf("still warned of: %q", w)
			}
			return err
		})
	}
}

// fresh is a Pod with a name of its own.
func (s *featureSample) fresh(images ...string) *corev1.Pod {
	return pod(fmt.Sprintf("sample-%d", shared.names.Add(1)), images...)
}

// admits wants the images to be admitted, and returns the Pod.
func (s *featureSample) admits(ns string, images ...string) *corev1.Pod {
	s.t.Helper()
	return s.mustCreate(s.t, ns, s.fresh(images...))
}

// refuses wants the images to be refused in words that hold the part.
func (s *featureSample) refuses(ns, part string, images ...string) {
	s.t.Helper()
	_, err := s.create(s.t, ns, s.fresh(images...))
	wantRefused(s.t, err, s.policy.GetName(), part)
}

// warns wants the image to be admitted as it is, with a warning that holds the part.
func (s *featureSample) warns(ns, part, image string) {
	s.t.Helper()
	s.warned()
	p := s.admits(ns, image)
	if w := spaced(strings.Join(s.warned(), "\n")); !strings.Contains(w, part) {
		s.t.Errorf("%s: warned of %q, want %q", image, w, part)
	}
	if got := p.Spec.Containers[0].Image; got != image {
		s.t.Errorf("%s became %s", image, got)
	}
}

// untouched wants the image to be admitted as it is and without a word.
func (s *featureSample) untouched(ns, image string) {
	s.t.Helper()
	s.warned()
	p := s.admits(ns, image)
	if w := s.warned(); p.Spec.Containers[0].Image != image || len(w) > 0 {
		s.t.Errorf("%s became %s, warned of %q", image, p.Spec.Containers[0].Image, w)
	}
}

// pins wants the good image to be admitted by its digest, and recorded.
func (s *featureSample) pins(ns string) {
	s.t.Helper()
	p := s.admits(ns, s.images.good)
	if got := p.Spec.Containers[0].Image; got != s.images.pinned || !strings.Contains(p.Annotations[annotation], `:"pass"}`) {
		s.t.Errorf("%s became %s; annotations %v", s.images.good, got, p.Annotations)
	}
}

// unsigned is an image of nobody, in a repository that begins like that.
func (s *featureSample) unsigned(repository, tag string) string {
	s.t.Helper()
	repository = fmt.Sprintf("%s-%d", repository, shared.names.Add(1))
	shared.registry.PushImage(repository, tag, nil)
	return host + "/" + repository + ":" + tag
}

// sign signs an image of the registry, by its digest, with the key of policies.
func (s *featureSample) sign(repository, digest string, args ...string) {
	s.t.Helper()
	args = append(append([]string{"sign", "--key", "cosign.key"}, args...), shared.registry.Host()+"/"+repository+"@"+digest)
	if _, err := shared.cosign.Must(s.t.Context(), args...); err != nil {
		s.t.Fatal(err)
	}
}

// as is the same sample for somebody else.
func (s *featureSample) as(name string, groups ...string) *featureSample {
	s.t.Helper()
	config := shared.cluster.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: name, Groups: groups}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		s.t.Fatal(err)
	}
	other := *s
	other.user = &user{Interface: client}
	return &other
}

// secret creates a Secret of Signet's namespace for as long as the sample is tried.
func (s *featureSample) secret(name string, kind corev1.SecretType, data map[string][]byte) {
	s.t.Helper()
	secrets := s.CoreV1().Secrets(env.SystemNamespace)
	if _, err := secrets.Create(s.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: kind, Data: data}, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = secrets.Delete(contextOf(s.t), name, metav1.DeleteOptions{}) })
}

func (s *featureSample) skipMirrored() {
	mirrored := s.unsigned("e2e/mirror/nginx", "1")
	s.warns(s.ns, "skipping image reference image "+mirrored, mirrored)
	name, _, _ := strings.Cut(mirrored, ":")
	byDigest := name + "@" + shared.registry.PushImage(strings.TrimPrefix(name, host+"/"), "2", nil)
	s.warns(s.ns, "skipping image reference image "+byDigest, byDigest)
	s.refuses(s.ns, "no signatures found", s.images.bad)
	s.refuses(s.ns, "no signatures found", mirrored, s.images.bad)
	s.pins(s.ns)
}

func (s *featureSample) pinDigests() {
	s.warned()
	p := s.admits(s.ns, s.images.bad)
	if got := p.Spec.Containers[0].Image; !strings.HasPrefix(got, s.images.bad+"@sha256:") || p.Annotations[annotation] != "" {
		s.t.Errorf("%s became %s; annotations %v", s.images.bad, got, p.Annotations)
	}
	s.refuses(s.ns, "failed to update digest", s.images.bad, host+"/e2e/nothing-here:1")
	s.untouched(s.ns, host+"/e2e/never-asked@"+shared.images.signed.digest)
}

func (s *featureSample) digestsOnly() {
	name := strings.TrimSuffix(s.images.good, ":1")
	s.refuses("production-1", "missing digest for "+s.images.good, s.images.good)
	s.untouched("production-1", name+"@"+shared.images.signed.digest)
	s.untouched("production-1", s.images.pinned)
	s.untouched(s.ns, s.images.good)
}

func (s *featureSample) rollOut() {
	s.refuses("payments-eu", "no signatures found", s.images.bad)
	s.warns("payments-sandbox-1", "no signatures found", s.images.bad)
	s.warns(s.ns, "no signatures found", s.images.bad)
	s.untouched("payments-eu", s.images.good)
}

func (s *featureSample) oneActionEach() {
	repository := fmt.Sprintf("library/app-%d", shared.names.Add(1))
	pushRandom(s.t, repository+":1")
	theirs := "docker.io/" + repository + ":1"
	s.warns(s.ns, "policy one-action-for-each-registry.what-we-take: failed to verify image "+theirs, theirs)
	s.refuses(s.ns, "what-we-build", s.images.bad)
	s.pins(s.ns)
}

func (s *featureSample) teamKeys() {
	configMap(s.t, s.user, env.SystemNamespace+"/signing-keys", map[string]string{s.ns: shared.images.key, "payments": shared.images.strangerKey})
	eventually(s.t, "the config map to be read", func() error {
		_, err := s.create(s.t, s.ns, s.fresh(s.images.good))
		return err
	})
	s.pins(s.ns)
	s.refuses(s.ns, "no signatures found", s.images.bad)
	s.refuses("payments", "no matching signatures", s.images.good)
	s.refuses("production-1", "Unknown key", s.images.good)
}

func (s *featureSample) keyInSecret() {
	s.refuses(s.ns, "the key k8s://kyverno/image-signer is not available: there is no such Secret", s.images.good)
	s.secret("image-signer", corev1.SecretTypeOpaque, map[string][]byte{"cosign.pub": []byte(shared.images.key)})
	eventually(s.t, "the key to count", func() error {
		_, err := s.create(s.t, s.ns, s.fresh(s.images.good))
		return err
	})
	s.pins(s.ns)
	s.refuses(s.ns, "no signatures found", s.images.bad)
}

func (s *featureSample) signedForTeam() {
	repo := repository(s.t, "annotated")
	digest := shared.registry.PushImage(repo, "1", []byte("annotated"))
	s.sign(repo, digest, "-a", "team=payments")
	image := host + "/" + repo + "@" + digest
	s.untouched(s.ns, s.images.bad) // the namespace names no team
	label(s.t, s.user, s.ns, map[string]string{"team": "payments"})
	eventually(s.t, "the label to be seen", func() error {
		if _, err := s.create(s.t, s.ns, s.fresh(s.images.bad)); err == nil {
			return fmt.Errorf("admitted")
		}
		return nil
	})
	s.admits(s.ns, image)
	s.refuses(s.ns, "no signature matched the required annotations", s.images.good)
	label(s.t, s.user, s.ns, map[string]string{"team": "search"})
	eventually(s.t, "the other label to be seen", func() error {
		_, err := s.create(s.t, s.ns, s.fresh(image))
		if err == nil || !strings.Contains(spaced(err.Error()), "no signature matched the required annotations") {
			return fmt.Errorf("got %v", err) //nolint:errorlint // may be nil
		}
		return nil
	})
}

// configured is an unsigned image with this configuration, under the tag 1.
func (s *featureSample) configured(more map[string]any) (repo, digest string) {
	s.t.Helper()
	repo = repository(s.t, "configured")
	all := map[string]any{"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers"}}
	maps.Copy(all, more)
	config, err := json.Marshal(all)
	if err != nil {
		s.t.Fatal(err)
	}
	manifest, err := json.Marshal(registrytest.ImageManifest{
		SchemaVersion: 2, MediaType: "application/vnd.oci.image.manifest.v1+json", Layers: []registrytest.Descriptor{},
		Config: shared.registry.PushBlob(repo, "application/vnd.oci.image.config.v1+json", config),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return repo, shared.registry.PushManifest(repo, "1", "application/vnd.oci.image.manifest.v1+json", manifest).Digest
}

// signedLater signs an image that is refused, and wants it admitted then.
func (s *featureSample) signedLater(repo, digest string) {
	s.t.Helper()
	image := host + "/" + repo + ":1"
	s.refuses(s.ns, "no signatures found", image)
	s.sign(repo, digest)
	eventually(s.t, "the signature to be found", func() error {
		p, err := s.create(s.t, s.ns, s.fresh(image))
		if err == nil && p.Spec.Containers[0].Image != image+"@"+digest {
			s.t.Errorf("%s became %s", image, p.Spec.Containers[0].Image)
		}
		return err
	})
}

func (s *featureSample) rootImages() {
	as := func(user string) (repo, digest string) {
		return s.configured(map[string]any{"config": map[string]any{"User": user}})
	}
	for _, user := range []string{"", "0:0"} {
		repo, _ := as(user)
		s.refuses(s.ns, "no signatures found", host+"/"+repo+":1")
	}
	repo, _ := as("1000:1000")
	s.untouched(s.ns, host+"/"+repo+":1")
	s.signedLater(as("root"))
}

func (s *featureSample) oldImages() {
	built := func(before time.Duration) (repo, digest string) {
		return s.configured(map[string]any{"created": time.Now().Add(-before).UTC().Format(time.RFC3339)})
	}
	repo, _ := built(24 * time.Hour)
	s.untouched(s.ns, host+"/"+repo+":1")
	repo, _ = s.configured(nil)
	s.refuses(s.ns, "no signatures found", host+"/"+repo+":1")
	s.signedLater(built(100 * 24 * time.Hour))
}

func (s *featureSample) signaturesElsewhere() {
	s.refuses(s.ns, "no signatures found", s.images.good)
	second := push(shared.registry, repository(s.t, "second"), "1", &shared.images.second) + ":1"
	s.refuses(s.ns, "no signatures found", second)
	push(shared.registry, "e2e/signatures", "", &shared.images.second)
	eventually(s.t, "the signature to be found", func() error {
		_, err := s.create(s.t, s.ns, s.fresh(second))
		return err
	})
	s.refuses(s.ns, "no signatures found", s.images.good)
}

func (s *featureSample) privateRegistry() {
	address := shared.registry.Host()
	repo := repository(s.t, "private")
	push(shared.registry, repo, "1", &shared.images.signed)
	s.t.Cleanup(shared.registry.Fault(registrytest.Match{Repository: repo}, registrytest.Users("puller:secret")))
	image := address + "/" + repo + ":1"
	s.refuses(s.ns, image, image)
	config, err := json.Marshal(map[string]any{"auths": map[string]any{address: map[string]any{"username": "puller", "password": "secret"}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.secret("registry-pull", corev1.SecretTypeDockerConfigJson, map[string][]byte{corev1.DockerConfigJsonKey: config})
	eventually(s.t, "the Secret to be used", func() error {
		p, err := s.create(s.t, s.ns, s.fresh(image))
		if err == nil && p.Spec.Containers[0].Image != image+"@"+shared.images.signed.digest {
			s.t.Errorf("%s became %s", image, p.Spec.Containers[0].Image)
		}
		return err
	})
}

func (s *featureSample) withoutCache() {
	image := strings.TrimSuffix(s.images.good, ":1")
	p := s.admits(s.ns, s.images.pinned)
	if !strings.Contains(p.Annotations[annotation], `:"pass"}`) {
		s.t.Errorf("annotations %v", p.Annotations)
	}
	none := registrytest.Body(200, "application/vnd.oci.image.index.v1+json", []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
	s.t.Cleanup(shared.registry.Fault(registrytest.Match{Kind: registrytest.Referrers, Repository: strings.TrimPrefix(image, host+"/")}, none))
	s.refuses(s.ns, "no signatures found", s.images.pinned)
}
