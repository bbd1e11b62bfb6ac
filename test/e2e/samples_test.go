package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-policy/signet/test/env"
)

// statement is a predicate that cosign attests.
type statement struct {
	kind, predicate string
}

// sampleCase is one image for a sample: what is attached to it, and the part of the refusal that it must get; none for
// one that is admitted.
type sampleCase struct {
	repository, tag string // the repository is made unique
	digest          string
	signedBy        []string // prefixes of key files
	attested        []statement
	certified       bool // signed with the certificate of the sample's authority
	notarized       []notarized
	refused, warned string
}

const (
	slsa02 = `{"builder":{"id":"%s"},"buildType":"https://builds.example.com/image/v1","invocation":{"configSource":{"uri":"git+https://github.com/example/app@refs/heads/main","digest":{"sha1":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},"entryPoint":"Dockerfile"}},"materials":[{"uri":"git+https://github.com/example/app","digest":{"sha1":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}]}`
	spdx   = `{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"app","documentNamespace":"https://example.com/app","creationInfo":{"created":"2026-01-01T00:00:00Z","creators":["Tool: example"]},"packages":[{"SPDXID":"SPDXRef-a","name":"a","downloadLocation":"NOASSERTION","licenseConcluded":"MIT"},{"SPDXID":"SPDXRef-b","name":"b","downloadLocation":"NOASSERTION","licenseConcluded":"%s"}]}`
	dxBOM  = `{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"metadata":{"component":{"type":"container","name":"app"}},"components":[{"type":"library","name":"zlib","version":"1.3"},{"type":"library","name":"xz","version":"%s"}]}`
	scan   = `{"invocation":{"uri":"","event_id":"","builder.id":""},"scanner":{"uri":"pkg:github/aquasecurity/trivy@0.50.0","version":"0.50.0","db":{"uri":"","version":""},"result":{"Results":[{"Target":"app","Vulnerabilities":[{"VulnerabilityID":"CVE-2026-0001","Severity":"%s"}]}]}},"metadata":{"scanStartedOn":"%s","scanFinishedOn":"%s"}}`
	vex    = `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.com/vex/1","author":"security@example.com","timestamp":"2026-01-01T00:00:00Z","version":1,"statements":[{"vulnerability":{"name":"CVE-2026-0001"},"products":[{"@id":"pkg:oci/app"}],"status":"not_affected","justification":"component_not_present"},{"vulnerability":{"name":"CVE-2026-0002"},"products":[{"@id":"pkg:oci/app"}],"status":"%s"}]}`
	review = `{"author":"ada","reviewers":["bob","%s"],"changeRecord":"%s"}`
)

// sampleCases are for every sample that is about cosign's keys or certificates.
func sampleCases() map[string][]sampleCase {
	const reviewType = "https://example.com/attestations/review/v1"
	key := []string{"cosign"}
	attested := func(kind, format string, args ...any) []statement {
		return []statement{{kind, fmt.Sprintf(format, args...)}}
	}
	now, before := time.Now().UTC().Format(time.RFC3339), time.Now().UTC().AddDate(0, 0, -30).Format(time.RFC3339)
	return map[string][]sampleCase{
		"verify-signed-images.yaml": {
			{repository: "ghcr.io/acme/app", signedBy: key},
			{repository: "ghcr.io/acme/app", refused: "no signatures found"},
		},
		"two-of-three-keys.yaml": {
			{repository: "ghcr.io/payments/app", signedBy: []string{"cosign", "stranger"}},
			{repository: "ghcr.io/payments/app", signedBy: []string{"stranger"}, refused: "no matching signatures"},
		},
		"release-or-two-testers.yaml": {
			{repository: "ghcr.io/acme/app", signedBy: key},
			{repository: "ghcr.io/acme/app", signedBy: []string{"stranger", "certified"}},
			{repository: "ghcr.io/acme/app", signedBy: []string{"stranger"}, refused: ".attestors[0].entries[1].attestor.entries[1].keys"},
			{repository: "ghcr.io/acme/app", refused: "no signatures found"},
		},
		"audit-signatures.yaml": {
			{repository: "ghcr.io/acme/app", signedBy: key},
			{repository: "ghcr.io/acme/app", warned: "policy audit-signatures.report-unsigned: failed to verify image"},
		},
		"globalcontext.yaml": {
			{repository: "ghcr.io/acme/app", signedBy: key},
			{repository: "ghcr.io/acme/app", refused: "no signatures found"},
		},
		"production-namespaces.yaml": {
			{repository: "ghcr.io/acme/app", signedBy: key},
			{repository: "ghcr.io/acme/app", refused: "no signatures found"},
		},
		"certificates-of-the-organisation.yaml": {
			{repository: "registry.example.com/app", certified: true},
			{repository: "registry.example.com/app", signedBy: key, refused: "no matching signatures"},
		},
		"private-key-without-log.yaml": {
			{repository: "registry.example.com/app", signedBy: key},
			{repository: "registry.example.com/app", refused: "no signatures found"},
		},
		"slsa-provenance-v0.2.yaml": {
			{repository: "ghcr.io/example/app", attested: attested("slsaprovenance02", slsa02, "https://builds.example.com/1")},
			{repository: "ghcr.io/example/app", attested: attested("slsaprovenance02", slsa02, "https://elsewhere.test/1"), refused: "unknown builder https://elsewhere.test/1"},
			{repository: "ghcr.io/example/app", attested: attested("slsaprovenance1", `{}`), refused: "attestations not found for predicate type https://slsa.dev/provenance/v0.2"},
		},
		"sbom-spdx.yaml": {
			{repository: "ghcr.io/example/app", attested: attested("spdxjson", spdx, "Apache-2.0")},
			{repository: "ghcr.io/example/app", attested: attested("spdxjson", spdx, "AGPL-3.0-only"), refused: "a package is under a licence that we cannot ship"},
		},
		"sbom-cyclonedx.yaml": {
			{repository: "ghcr.io/example/app", attested: attested("cyclonedx", dxBOM, "5.4.6")},
			{repository: "ghcr.io/example/app", attested: attested("cyclonedx", dxBOM, "5.6.1"), refused: "a withdrawn component is in the image"},
		},
		"vulnerability-scan.yaml": {
			{repository: "ghcr.io/example/app", attested: attested("vuln", scan, "LOW", now, now)},
			{repository: "ghcr.io/example/app", attested: attested("vuln", scan, "CRITICAL", now, now), refused: "critical vulnerabilities: CVE-2026-0001"},
			{repository: "ghcr.io/example/app", attested: attested("vuln", scan, "LOW", before, before), refused: "last scanned on " + before},
		},
		"openvex.yaml": {
			{repository: "ghcr.io/example/app", attested: attested("openvex", vex, "fixed")},
			{repository: "ghcr.io/example/app", attested: attested("openvex", vex, "under_investigation"), refused: "open: CVE-2026-0002"},
		},
		"review-attestation.yaml": {
			{repository: "ghcr.io/example/app", tag: "main", attested: attested(reviewType, review, "eve", "")},
			{repository: "ghcr.io/example/app", tag: "v1", attested: attested(reviewType, review, "eve", "CHG-1")},
			{repository: "ghcr.io/example/app", tag: "v1", attested: attested(reviewType, review, "eve", ""), refused: "a release needs a change record"},
			{repository: "ghcr.io/example/app", tag: "main", attested: attested(reviewType, review, "ada", ""), refused: "ada reviewed their own change"},
		},
	}
}

// sampleKey and sampleChain are what the author of a policy replaces in a sample.
var (
	sampleKey   = regexp.MustCompile(`(?m)^( *)-----BEGIN PUBLIC KEY-----\n(?: *[A-Za-z0-9+/=]+\n)+ *-----END PUBLIC KEY-----`)
	sampleChain = regexp.MustCompile(`(?m)^( *)-----BEGIN CERTIFICATE-----\n(?: *[-A-Za-z0-9+/= ]+\n)+ *-----END CERTIFICATE-----`)
)

// readSample is a sample with the given keys in the place of its first ones, or the given chain in the place of its own.
func readSample(t *testing.T, file, chain string, keys ...string) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(env.Root(), "config", "samples", file))
	if err != nil {
		t.Fatal(err)
	}
	in := func(old, material string) string {
		indent := old[:strings.Index(old, "-")]
		return indent + strings.ReplaceAll(strings.TrimSpace(material), "\n", "\n"+indent)
	}
	replaced := 0
	changed := sampleKey.ReplaceAllStringFunc(string(text), func(old string) string {
		if replaced++; replaced > len(keys) {
			return old
		}
		return in(old, keys[replaced-1])
	})
	changed = sampleChain.ReplaceAllStringFunc(changed, func(old string) string { replaced++; return in(old, chain) })
	if replaced == 0 {
		t.Fatalf("%s has no key and no certificate", file)
	}
	list, err := env.ParseManifests([]byte(changed))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) > 1 {
		withSample(t, list[1:])
	}
	p := list[0]
	return p
}

// withSample creates what a sample needs beside its policy, for as long as the test runs.
func withSample(t *testing.T, list []*unstructured.Unstructured) {
	t.Helper()
	u := newUser(t)
	if err := shared.cluster.Apply(t.Context(), slices.DeleteFunc(slices.Clone(list), isEntry)...); err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		if !isEntry(o) {
			continue
		}
		if err := u.publish(t, o); err != nil {
			t.Fatal(err)
		}
		u.published(t, o.GetName(), "True")
	}
}

func isEntry(o *unstructured.Unstructured) bool { return o.GetKind() == "GlobalContextEntry" }

// Every policy in config/samples is applied, admits the image it is about and refuses the others (VI 6.6). The test has
// the cluster for itself: samples are about all namespaces.
func TestSamples(t *testing.T) {
	shared.run(t, "")
	cases, keyless, features := sampleCases(), keylessSampleCases(), featureSamples()
	maps.Copy(cases, notarySampleCases())
	files, err := filepath.Glob(filepath.Join(env.Root(), "config", "samples", "*.yaml"))
	if err != nil || len(files) < len(cases)+len(keyless)+len(features) {
		t.Fatalf("%d samples: %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if _, ok := features[name]; !ok && cases[name] == nil && keyless[name] == nil {
			t.Errorf("%s is exercised by no test", name)
		}
	}
	chain := certifier(t)
	g := errgroup.Group{}
	g.SetLimit(3)
	for name, list := range cases {
		for i := range list {
			c := &list[i]
			c.repository = fmt.Sprintf("%s-%s-%d", c.repository, lower(strings.TrimSuffix(name, ".yaml")), i)
			host, path, _ := strings.Cut(c.repository, "/")
			if c.tag == "" {
				c.tag = "latest"
			}
			c.digest = pushRandom(t, path+":"+c.tag)
			g.Go(func() error {
				for _, n := range c.notarized {
					if err := n.attach(t.Context(), path, c.digest); err != nil {
						return err
					}
				}
				return attach(t, c, host+"/"+path+"@"+c.digest)
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	third, err := os.ReadFile(filepath.Join(shared.cosign.Dir, "certified.pub"))
	if err != nil {
		t.Fatal(err)
	}
	production := namespace(t)
	_, err = newUser(t).CoreV1().Namespaces().Patch(t.Context(), production, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"env":"production"}}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, list := range cases {
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			u, ns := newUser(t), production
			p := readSample(t, name, chain, shared.images.key, shared.images.strangerKey, string(third))
			if p.GetNamespace() != "" || name == "verify-signed-images.yaml" {
				ns = "default"
			}
			u.apply(t, p)
			for i, c := range list {
				u.warned()
				created, err := u.create(t, ns, pod(fmt.Sprintf("sample-%d", shared.names.Add(1)), c.repository+":"+c.tag))
				switch {
				case c.refused != "":
					wantRefused(t, err, c.refused)
				case err != nil:
					t.Errorf("%d: %v", i, err)
				case c.warned != "":
					if got := strings.Join(u.warned(), "\n"); !strings.Contains(got, c.warned) {
						t.Errorf("%d: warned of %q", i, got)
					}
				case !strings.Contains(created.Annotations[annotation], `:"pass"}`):
					t.Errorf("%d: the annotations are %v", i, created.Annotations)
				}
			}
		})
	}
}

// certifier makes an authority and a signer's key that cosign can use, certified.key; it returns the authority's chain.
func certifier(t *testing.T) string {
	t.Helper()
	now := time.Now()
	issue := func(serial int64, name string, parent *x509.Certificate, by, key *ecdsa.PrivateKey) *x509.Certificate {
		c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), BasicConstraintsValid: true}
		if name == "signer" {
			c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
			c.EmailAddresses = []string{"signer@example.com"}
		} else {
			c.KeyUsage, c.IsCA = x509.KeyUsageCertSign, true
		}
		if parent == nil {
			parent = c
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var keys [3]*ecdsa.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	root := issue(1, "root", nil, keys[0], keys[0])
	intermediate := issue(2, "intermediate", root, keys[0], keys[1])
	leaf := issue(3, "signer", intermediate, keys[1], keys[2])
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	private, err := x509.MarshalPKCS8PrivateKey(keys[2])
	if err != nil {
		t.Fatal(err)
	}
	chain := text("CERTIFICATE", intermediate.Raw) + text("CERTIFICATE", root.Raw)
	for name, content := range map[string]string{
		"certified.pem": text("PRIVATE KEY", private), "certified.crt": text("CERTIFICATE", leaf.Raw), "certified-chain.crt": chain,
	} {
		if err := os.WriteFile(filepath.Join(shared.cosign.Dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := shared.cosign.Must(t.Context(), "import-key-pair", "--key", "certified.pem", "--output-key-prefix", "certified"); err != nil {
		t.Fatal(err)
	}
	return chain
}

// attach signs and attests an image with the real cosign.
func attach(t *testing.T, c *sampleCase, ref string) error {
	for _, key := range c.signedBy {
		if _, err := shared.cosign.Must(t.Context(), "sign", "--key", key+".key", ref); err != nil {
			return err
		}
	}
	if c.certified {
		_, err := shared.cosign.With("COSIGN_SIGNING_CONFIG=").Must(t.Context(), "sign", "--key", "certified.key", "--certificate", "certified.crt",
			"--certificate-chain", "certified-chain.crt", "--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false", ref)
		if err != nil {
			return err
		}
	}
	for _, s := range c.attested {
		file := filepath.Join(t.TempDir(), "predicate.json")
		if err := os.WriteFile(file, []byte(s.predicate), 0o600); err != nil {
			return err
		}
		if _, err := shared.cosign.Must(t.Context(), "attest", "--key", "cosign.key", "--type", s.kind, "--predicate", file, ref); err != nil {
			return err
		}
	}
	return nil
}
