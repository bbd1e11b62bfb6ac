package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/signet-policy/signet/"

// leaves may be imported by every package.
var leaves = []string{"pkg/reason", "pkg/wildcard", "pkg/budget", "pkg/untrusted"}

// layers are the imports that each package may have among ours, beside the leaves. "concrete" packages may import all.
var layers = map[string][]string{
	"api":                      nil,
	"api/v1":                   nil,
	"api/v2":                   {"api/v1"},
	"api/v2beta1":              {"api/v1", "api/v2"},
	"api/v2alpha1":             {"api/v2"},
	"api/wgpolicyk8s/v1alpha2": nil,

	"pkg/reason":          nil,
	"pkg/wildcard":        nil,
	"pkg/budget":          nil,
	"pkg/untrusted":       nil,
	"pkg/egress":          nil,
	"pkg/image":           nil,
	"pkg/match":           nil,
	"pkg/trust":           nil,
	"pkg/extract":         nil,
	"pkg/expr":            nil,
	"pkg/rekor":           {"pkg/egress"},
	"pkg/registry":        {"pkg/egress", "pkg/image"},
	"pkg/registry/cloud":  nil,
	"pkg/registry/layout": {"pkg/image"},
	"pkg/verify":          {"pkg/egress", "pkg/image"},
	"pkg/verify/sigstore": {"pkg/image", "pkg/rekor", "pkg/trust", "pkg/verify"},
	"pkg/verify/notary":   {"pkg/image", "pkg/verify"},
	"pkg/policy":          {"api/v1", "api/v2", "pkg/expr", "pkg/extract", "pkg/image", "pkg/match", "pkg/verify"},
	"pkg/plan":            {"pkg/extract", "pkg/image", "pkg/match", "pkg/policy"},
	"pkg/engine":          {"pkg/expr", "pkg/extract", "pkg/image", "pkg/match", "pkg/plan", "pkg/policy", "pkg/verify"},
	"pkg/credentials":     {"pkg/engine", "pkg/extract", "pkg/policy", "pkg/registry"},
	"pkg/settings":        {"pkg/image", "pkg/match"},
	"pkg/keyring":         {"pkg/verify"},
	"pkg/keyring/kms":     {"pkg/egress", "pkg/keyring", "pkg/verify"},
	"pkg/loader":          {"pkg/egress", "pkg/expr", "pkg/image", "pkg/policy"},
	"pkg/globalcontext":   {"pkg/expr", "pkg/loader", "pkg/policy"},
	"pkg/report":          {"api/wgpolicyk8s/v1alpha2", "pkg/engine", "pkg/extract", "pkg/policy", "pkg/verify"},
	"webhook":             {"api/v1", "pkg/engine", "pkg/image", "pkg/match", "pkg/policy", "pkg/settings"},
	"controllers":         {"api/v1", "api/v2", "api/wgpolicyk8s/v1alpha2", "pkg/engine", "pkg/expr", "pkg/globalcontext", "pkg/match", "pkg/policy", "pkg/report", "pkg/settings", "pkg/verify"},
}

// concrete packages put the others together.
var concrete = []string{"", "hack/", "test/", "testdata/", "pkg/cli"}

// never are what a package must not reach, however far away.
var never = map[string][]string{
	"pkg/engine":        {module + "pkg/registry", module + "pkg/verify/sigstore", module + "pkg/verify/notary", "github.com/notaryproject/", "github.com/sigstore/", "k8s.io/client-go", "github.com/google/go-containerregistry", "sigs.k8s.io/controller-runtime"},
	"pkg/plan":          {module + "pkg/registry", "github.com/sigstore/", "k8s.io/client-go"},
	"pkg/verify":        {"github.com/sigstore/", "github.com/notaryproject/", "github.com/google/go-containerregistry"},
	"pkg/loader":        {module + "pkg/registry", module + "pkg/engine", "github.com/sigstore/", "k8s.io/client-go", "sigs.k8s.io/controller-runtime"},
	"pkg/globalcontext": {module + "pkg/registry", module + "pkg/engine", "k8s.io/client-go", "sigs.k8s.io/controller-runtime"},
	"pkg/registry":      {"k8s.io/", "github.com/aws/", "github.com/Azure/", "github.com/sigstore/sigstore-go"},
	"webhook":           {module + "pkg/registry", module + "pkg/verify/sigstore", module + "pkg/verify/notary", "github.com/notaryproject/", "github.com/sigstore/", "k8s.io/client-go", "sigs.k8s.io/controller-runtime"},
}

type listedPackage struct {
	ImportPath, ForTest, Name string
	Imports, Deps             []string
}

func listPackages(t *testing.T) []listedPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-e", "-json=ImportPath,ForTest,Name,Imports,Deps", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []listedPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return list
		case err != nil:
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func under(path, prefix string) bool {
	return path == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/")
}

// TestLayers checks the direction of imports. A new package takes its place in the table above.
func TestLayers(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if p.ImportPath == strings.TrimSuffix(module, "/") {
			name = ""
		}
		free := name == "" || strings.HasSuffix(name, "test") || slices.ContainsFunc(concrete, func(c string) bool { return c != "" && under(name, c) })
		allowed, known := layers[name]
		if !free && !known {
			t.Errorf("%s has no place in the table of layers", name)
		}
		for _, imp := range p.Imports {
			ours, ok := strings.CutPrefix(imp, module)
			switch {
			case !ok || free:
			case strings.HasSuffix(ours, "test") || under(ours, "test") || under(ours, "testdata") || under(ours, "hack"):
				t.Errorf("%s imports %s, which is for tests", name, ours)
			case !slices.Contains(leaves, ours) && !slices.Contains(allowed, ours):
				t.Errorf("%s must not import %s", name, ours)
			}
		}
		for _, dep := range p.Deps {
			for _, n := range never[name] {
				if under(dep, n) || strings.HasSuffix(n, "/") && strings.HasPrefix(dep, n) {
					t.Errorf("%s reaches %s", name, dep)
				}
			}
		}
	}
}

// TestLeaves keeps the leaves leaves.
func TestLeaves(t *testing.T) {
	t.Parallel()
	for _, l := range append([]string{"pkg/image", "pkg/match", "pkg/extract", "pkg/trust"}, leaves...) {
		if len(layers[l]) > 0 {
			t.Errorf("%s is a leaf", l)
		}
	}
}
