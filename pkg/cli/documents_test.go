package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocuments takes files and lists apart.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string
		err  string
	}{
		"several":        {text: "kind: A\n---\n---\nkind: B\n", want: []string{`f, document 1: {"kind":"A"}`, `f, document 2: {"kind":"B"}`}},
		"a list":         {text: "kind: List\nitems: [{kind: A}, {kind: List, items: [{kind: B}]}]", want: []string{`f, document 1, items[0]: {"kind":"A"}`, `f, document 1, items[1], items[0]: {"kind":"B"}`}},
		"of a kind":      {text: "kind: PodList\napiVersion: v1\nitems: [{a: 1}, {kind: B}]", want: []string{`f, document 1, items[0]: {"a":1,"apiVersion":"v1","kind":"Pod"}`, `f, document 1, items[1]: {"kind":"B"}`}},
		"an empty list":  {text: "kind: List", want: nil},
		"only a name":    {text: "kind: PriceList\nspec: {}", want: []string{`f, document 1: {"kind":"PriceList","spec":{}}`}},
		"no list":        {text: "kind: List\nitems: 3", err: "f, document 1: json"},
		"no object":      {text: "kind: List\nitems: [3]", err: "f, document 1, items[0]: json"},
		"said twice":     {text: "kind: A\nkind: B", err: "f, document 1"},
		"no YAML":        {text: "a: [", err: "f, document 1"},
		"for the caller": {text: "[1]", want: []string{"f, document 1: [1]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := file(t, "f", c.text)
			var got []string
			err := eachDocument(path, nil, func(where string, raw []byte) error {
				got = append(got, strings.Replace(where, path, "f", 1)+": "+string(raw))
				return nil
			})
			if d := cmp.Diff(c.want, got); d != "" || (err != nil) != (c.err != "") {
				t.Errorf("%v\n%s", err, d)
			}
			if err != nil && !strings.Contains(strings.Replace(err.Error(), path, "f", 1), c.err) {
				t.Error(err)
			}
		})
	}
}

// TestManifests finds the files of a directory once each, as config maps are mounted too.
func TestManifests(t *testing.T) {
	t.Parallel()
	dir := testDir(t, map[string]string{"..v1/mounted.yaml": "", "plain.yml": "", "sub/deep.json": "", "notes.txt": ""})
	other := file(t, "elsewhere.yaml", "")
	for from, to := range map[string]string{"..data": "..v1", "mounted.yaml": "..data/mounted.yaml", "linked.yaml": other, "again.yaml": other, "sub.yaml": "sub"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := manifests(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i], _ = filepath.Rel(dir, got[i])
	}
	if d := cmp.Diff([]string{"..v1/mounted.yaml", "again.yaml", "plain.yml", "sub/deep.json"}, got); d != "" {
		t.Error(d)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "gone.yaml")); err != nil {
		t.Fatal(err)
	}
	if got, err := manifests(dir); err == nil {
		t.Errorf("a link to nothing: %v", got)
	}
}

// TestStored writes a resource as admission would store it under all policies, which say several things of the same images.
func TestStored(t *testing.T) {
	t.Parallel()
	mirrors := t.TempDir()
	stocked(t, "acme/key-notlog-v3-bundle", "acme/key-notlog-v3-legacy").WriteHostsToml(mirrors, "ghcr.io")
	key := trustFile("trust/cosign.pub")
	const legacy = "ghcr.io/acme/key-notlog-v3-legacy:v1"
	narrow := strings.Replace(policyOf(t, "narrow", "Enforce", key, "background: false"), "ghcr.io/acme/*", signed, 1)
	wide := policyOf(t, "wide", "Enforce", key, "background: false")
	local := strings.NewReplacer("ClusterPolicy", "Policy", "name: wide", "name: local").Replace(wide)
	pod := file(t, "pod.yaml", fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: two}\nspec: {containers: [{name: a, image: %q}, {name: b, image: %q}]}\n", signed, legacy))
	got := call(t, "apply", file(t, "p.yaml", narrow+"---\n"+wide+"---\n"+local), "-r", pod, "--stdin", "--registry-config-dir", mirrors)
	for _, want := range []string{signed + "@sha256:", legacy + "@sha256:", `"/narrow":{`, `"/wide":{`, `"default/local":{`} {
		if got.exit != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("%s: exit %d\n%s%s", want, got.exit, got.stdout, got.stderr)
		}
	}
}

// TestUnread counts what could not be read, or asks for it to be said otherwise.
func TestUnread(t *testing.T) {
	t.Parallel()
	mirrors := t.TempDir()
	stocked(t, "acme/key-notlog-v3-bundle").WriteHostsToml(mirrors, "ghcr.io")
	policy := file(t, "p.yaml", policyOf(t, "signed", "Enforce", trustFile("trust/cosign.pub"), "background: false"))
	pod := file(t, "pods.yaml", "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: good}\n  spec: {containers: [{name: c, image: "+signed+"}]}\n")
	for name, c := range map[string]struct {
		args           []string
		exit           int
		stdout, stderr string
	}{
		"all":                   {[]string{policy, "-r", pod}, 0, "pass: 2, fail: 0, warn: 0, error: 0", ""},
		"no file":               {[]string{policy, "-r", pod, "-r", "none.yaml"}, 1, "", "signet apply: stat none.yaml"},
		"no file, continued":    {[]string{policy, "-r", pod, "-r", "none.yaml", "--continue-on-fail"}, 1, "pass: 2, fail: 0, warn: 0, error: 1", "error: stat none.yaml"},
		"no policy, continued":  {[]string{policy, "none.yaml", "-r", pod, "--continue-on-fail"}, 1, "pass: 2, fail: 0, warn: 0, error: 1", "error: stat none.yaml"},
		"broken, continued":     {[]string{policy, "-r", file(t, "x.yaml", "a: ["), "-r", pod, "--continue-on-fail"}, 1, "pass: 2, fail: 0, warn: 0, error: 1", "error: "},
		"standard input, twice": {[]string{"-", "-r", "-"}, 1, "", "standard input (-) can be read once only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := call(t, append([]string{"apply", "--registry-config-dir", mirrors}, c.args...)...)
			if got.exit != c.exit || !strings.Contains(got.stdout, c.stdout) || !strings.Contains(got.stderr, c.stderr) {
				t.Errorf("exit %d\n%s%s", got.exit, got.stdout, got.stderr)
			}
		})
	}
}

// TestNamespaces judges resources by what an API server would know of their namespace: its name as a label, and that Policies
// without one of their own are in that of --namespace, as the resources are.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	mirrors := t.TempDir()
	stocked(t, "acme/unsigned").WriteHostsToml(mirrors, "ghcr.io")
	cluster := policyOf(t, "signed", "Enforce", trustFile("trust/cosign.pub"), "background: false")
	selecting := strings.Replace(cluster, "kinds: [Pod]", "kinds: [Pod], namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: prod}}", 1)
	local := strings.Replace(cluster, "ClusterPolicy", "Policy", 1)
	pod := podOf("bad", unsigned)
	const labels = "apiVersion: cli.kyverno.io/v1alpha1\nkind: Values\nnamespaceSelector: [{name: prod, labels: {a: b}}]\n"
	for name, c := range map[string]struct {
		policy, resources string
		args              []string
		want              string
	}{
		"a namespace":           {selecting, pod + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: prod, labels: {a: b}}\n", []string{"-n", "prod"}, "fail: 2, warn: 0, error: 0"},
		"of values":             {selecting, pod, []string{"-n", "prod", "-f", file(t, "v.yaml", labels)}, "fail: 2, warn: 0, error: 0"},
		"one that is not known": {selecting, pod, []string{"-n", "prod"}, "fail: 0, warn: 0, error: "},
		"a Policy":              {local, pod, []string{"-n", "prod"}, "fail: 2, warn: 0, error: 0"},
		"a Policy by default":   {local, pod, nil, "fail: 2, warn: 0, error: 0"},
		"a Policy elsewhere":    {strings.Replace(local, "{name: signed}", "{name: signed, namespace: other}", 1), pod, []string{"-n", "prod"}, "fail: 0, warn: 0, error: 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := call(t, append([]string{"apply", file(t, "p.yaml", c.policy), "-r", file(t, "r.yaml", c.resources), "--registry-config-dir", mirrors}, c.args...)...)
			if !strings.Contains(got.stdout, c.want) {
				t.Errorf("exit %d\n%s%s", got.exit, got.stdout, got.stderr)
			}
		})
	}
}
