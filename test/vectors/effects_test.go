package vectors_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/test/vectors"
)

// withoutEffect are the fields that are accepted and change no verdict, with the reason; docs/compatibility.md lists them
// for users. Each stands in a vector all the same, which shows that it is accepted.
var withoutEffect = map[string]string{
	"admission":                         "false is refused, so that true changes nothing",
	"background":                        "how images are judged at admission does not depend on it",
	"emitWarning":                       "image rules always warn",
	"schemaValidation":                  "it concerns rules of other kinds",
	"generateExisting":                  "it concerns rules of other kinds",
	"generateExistingOnPolicyUpdate":    "it concerns rules of other kinds",
	"mutateExistingOnPolicyUpdate":      "it concerns rules of other kinds",
	"useServerSideApply":                "it concerns rules of other kinds",
	"rules.celPreconditions.name":       "they concern rules of other kinds",
	"rules.celPreconditions.expression": "they concern rules of other kinds",
	"rules.skipBackgroundRequests":      "image rules make no background requests",
	"rules.verifyImages.cosignOCI11":    "signatures are looked for everywhere in any case",
	"filter.subjects.apiGroup":          "the kind says it all",
	"attestor.keys.ctlog.ignoreSCT":     "a static key has no certificate timestamp",
	"attestor.keys.ctlog.pubkey":        "a static key has no certificate timestamp",
	"exception.background":              "it is about background scans",
	"exception.conditions.all.message":  "nobody is told why an exception does not apply",
	"exception.conditions.any.message":  "nobody is told why an exception does not apply",
	"exception.podSecurity":             "it concerns rules of other kinds",
}

// elsewhere are fields whose effect a vector cannot show, and the test that does.
var elsewhere = map[string]string{
	"rules.context.apiCall.service.url":           "pkg/loader TestT015ServiceHeaders",
	"rules.context.apiCall.service.headers.key":   "pkg/loader TestT015ServiceHeaders",
	"rules.context.apiCall.service.headers.value": "pkg/loader TestT015ServiceHeaders",
	"rules.context.apiCall.service.caBundle":      "pkg/loader TestServiceAuthority",
	"entry.apiCall.service.url":                   "pkg/loader TestT015ServiceHeaders",
	"entry.apiCall.service.headers.key":           "pkg/loader TestT015ServiceHeaders",
	"entry.apiCall.service.headers.value":         "pkg/loader TestT015ServiceHeaders",
	"entry.apiCall.service.caBundle":              "pkg/loader TestServiceAuthority",
	// How often an entry is read, and of which version a resource is.
	"entry.apiCall.refreshInterval":    "pkg/globalcontext TestCall",
	"entry.apiCall.retryLimit":         "pkg/globalcontext TestCall",
	"entry.kubernetesResource.version": "controllers TestGlobalResources",
	// A registry in memory speaks plain HTTP to everybody, and gives nobody credentials.
	"rules.verifyImages.imageRegistryCredentials.allowInsecureRegistry":          "pkg/engine TestA51InsecureIsConfined",
	"rules.verifyImages.imageRegistryCredentials.providers":                      "pkg/credentials TestOpen",
	"rules.context.imageRegistry.imageRegistryCredentials.allowInsecureRegistry": "pkg/credentials TestOpen",
	"rules.context.imageRegistry.imageRegistryCredentials.providers":             "pkg/credentials TestOpen",
	// A log is searched only for what carries no proof.
	"attestor.keys.rekor.url":         "test/e2e TestLogSearch",
	"attestor.keyless.rekor.url":      "test/e2e TestLogSearch",
	"attestor.certificates.rekor.url": "test/e2e TestLogSearch",
	// The API server evaluates them.
	"webhookConfiguration.matchConditions.name":       "test/e2e TestMatchConditions",
	"webhookConfiguration.matchConditions.expression": "test/e2e TestMatchConditions",
	// Every change of them is refused with the policy: variables of another name are not known, and only POST has data.
	"rules.context.name":           "test/vectors TestVectors",
	"rules.context.apiCall.method": "test/vectors TestVectors",
	"entry.apiCall.method":         "test/vectors TestVectors",
}

// TestEffects shows that every field of the API does something: for each there is a vector that comes out in another way
// once the field is taken away, or where the policy would be refused without it, is given another value. Being mentioned
// is not enough. Fields of rules of another kind (validate, mutate, generate) are refused as a whole; hack/invalid-examples has
// a policy for each of the three.
func TestEffects(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"validate", "mutate", "generate"} {
		if _, err := os.Stat(filepath.Join(vectors.Dir(), "..", "..", "hack", "invalid-examples", "rule-"+kind+".yaml")); err != nil {
			t.Error(err)
		}
	}
	all := loaded(t)
	for _, f := range allFields() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			if test := elsewhere[f.name]; test != "" {
				isTest(t, test)
				return
			}
			reason, without := withoutEffect[f.name]
			shown, tried := f.shown(t, all, without)
			switch {
			case tried == 0:
				t.Error("stands in no vector")
			case without && shown != "":
				t.Errorf("is said to have no effect (%s), and has one in %s", reason, shown)
			case !without && shown == "":
				t.Errorf("has no effect in any of %d vectors", tried)
			}
		})
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(withoutEffect)), slices.Collect(maps.Keys(elsewhere))) {
		if !slices.ContainsFunc(allFields(), func(f fieldPath) bool { return f.name == name }) {
			t.Errorf("%s is no field", name)
		}
	}
}

// isTest wants a test in Go, "directory TestName", to be there.
func isTest(t *testing.T, name string) {
	t.Helper()
	dir, function, _ := strings.Cut(name, " ")
	files, err := filepath.Glob(filepath.Join(vectors.Dir(), "..", "..", filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+function+"(") {
			return
		}
	}
	t.Errorf("there is no test %s", name)
}

// The objects that have fields.
const (
	ofPolicy = iota
	ofException
	ofEntry
	kindsOfObjects
)

// documents are the objects of a kind in a vector.
func documents(v *vectors.Vector, kind int) [][]string {
	switch kind {
	case ofException:
		return [][]string{v.Exceptions}
	case ofEntry:
		return [][]string{v.Globals}
	}
	return [][]string{v.Policies, v.Later}
}

// source is a vector as it stands in its file, and the paths in its objects, by their kind.
type source struct {
	name  string
	raw   []byte
	paths [kindsOfObjects]map[string]bool
}

func loaded(t *testing.T) []source {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectors.Dir(), "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var out []source
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := source{name: strings.TrimSuffix(filepath.Base(file), ".txtar"), raw: raw}
		v, err := vectors.Parse(s.name, raw)
		if err != nil {
			t.Fatal(err)
		}
		want, err := v.Want(nil)
		if err != nil {
			t.Fatal(err)
		}
		// A refused policy shows what is refused, and silence cannot be told from it soon.
		if want.Refused != "" || strings.Contains(string(raw), "hang: true") {
			continue
		}
		for kind := range s.paths {
			s.paths[kind] = map[string]bool{}
			for _, text := range slices.Concat(documents(v, kind)...) {
				collect(s.paths[kind], "", specOf(t, text)["spec"])
			}
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b source) int { return len(a.raw) - len(b.raw) })
	return out
}

func specOf(t testing.TB, text string) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// shown is a vector that shows the field's effect, and the number of vectors that have the field.
func (f *fieldPath) shown(t *testing.T, all []source, present bool) (string, int) {
	t.Helper()
	tried := 0
	for i := range all {
		s := &all[i]
		in := s.paths[f.kind]
		for _, path := range f.paths {
			if f.at(s, in, path) {
				tried++
			} else {
				continue
			}
			if present && tried > 1 {
				return "", tried
			}
			for _, change := range []func(map[string]any, string){take, alter, prefix} {
				if v := f.changed(t, s, path, change); v != nil && differs(t, v) {
					return s.name, tried
				}
			}
		}
	}
	return "", tried
}

// at tells whether the path may stand in a vector; the names of kinds are left out of it.
func (f *fieldPath) at(s *source, in map[string]bool, path string) bool {
	before, after, ok := strings.Cut(path, ".*.")
	return in[path] || ok && in[before] && bytes.Contains(s.raw, []byte(after+":"))
}

// changed is the vector with the field changed wherever it stands; nil when it stands nowhere.
func (f *fieldPath) changed(t *testing.T, s *source, path string, change func(map[string]any, string)) *vectors.Vector {
	t.Helper()
	v, err := vectors.Parse(s.name, s.raw)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, list := range documents(v, f.kind) {
		for i, text := range list {
			doc := specOf(t, text)
			n += visit(doc["spec"], strings.Split(path, "."), change)
			raw, err := yaml.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			list[i] = string(raw)
		}
	}
	if n == 0 {
		return nil
	}
	return v
}

// differs tells whether a vector comes out in another way than it says, other than that its policy is refused or is stored
// with other warnings.
func differs(t *testing.T, v *vectors.Vector) bool {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(r, v)
	}()
	<-done
	for _, text := range r.said {
		if strings.HasPrefix(text, "refused: ") {
			return false
		}
	}
	return slices.ContainsFunc(r.said, func(text string) bool { return !strings.HasPrefix(text, "policy warnings: ") })
}

// recorder is a test that only notes what it complains of.
type recorder struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (r *recorder) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, text)
}

func (r *recorder) Error(args ...any)                 { r.note(fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.note(fmt.Sprintf(format, args...)) }
func (r *recorder) Fatal(args ...any)                 { r.note(fmt.Sprint(args...)); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) {
	r.note(fmt.Sprintf(format, args...))
	runtime.Goexit()
}
