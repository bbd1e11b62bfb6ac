package vectors_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
	v2 "github.com/signet-policy/signet/api/v2"
	"github.com/signet-policy/signet/test/vectors"
	"github.com/signet-policy/signet/testdata/corpus"
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
	for name := range withoutEffect {
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

// source is a vector as it stands in its file, and the paths of its policies or exceptions.
type source struct {
	name                 string
	raw                  []byte
	policies, exceptions map[string]bool
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
		s := source{name: strings.TrimSuffix(filepath.Base(file), ".txtar"), raw: raw, policies: map[string]bool{}, exceptions: map[string]bool{}}
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
		for to, texts := range map[*map[string]bool][]string{&s.policies: slices.Concat(v.Policies, v.Later), &s.exceptions: v.Exceptions} {
			for _, text := range texts {
				collect(*to, "", specOf(t, text)["spec"])
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

// fieldPath is a field by its name in reports and the places where it stands, without indexes.
type fieldPath struct {
	name      string
	exception bool
	paths     []string
}

// alike are parts that have the same fields wherever they stand and are compiled by the same code, so that their fields
// are counted once. Their places are fields of their own.
var alike = []struct{ place, name string }{
	{"rules.match.any.", "filter."}, {"rules.match.all.", "filter."}, {"rules.match.", "filter."},
	{"rules.exclude.any.", "filter."}, {"rules.exclude.all.", "filter."}, {"rules.exclude.", "filter."},
	{"exception.match.any.", "filter."}, {"exception.match.all.", "filter."},
	{"rules.verifyImages.attestors.entries.", "attestor."}, {"rules.verifyImages.attestations.attestors.entries.", "attestor."},
}

// allFields are the fields of the two specs that hold no others, and the places of what is counted once.
func allFields() []fieldPath {
	byName := map[string]*fieldPath{}
	for _, of := range []struct {
		root      string
		exception bool
		of        reflect.Type
	}{{"", false, reflect.TypeFor[v1.Spec]()}, {"exception.", true, reflect.TypeFor[v2.PolicyExceptionSpec]()}} {
		found := map[string]bool{}
		fieldsOf(found, "", of.of)
		for path := range found {
			place, inside := "", false
			name := of.root + path
			for _, c := range alike {
				if rest, ok := strings.CutPrefix(name, c.place); ok && rest != "any" && rest != "all" {
					name, inside = c.name+rest, true
					break
				}
				if name+"." == c.place {
					place = name
				}
			}
			below := func(other string) bool { return strings.HasPrefix(other, path+".") }
			if place == "" && slices.ContainsFunc(slices.Collect(maps.Keys(found)), below) {
				continue // what is below shows it
			}
			if inside && of.exception {
				continue
			}
			if byName[name] == nil {
				byName[name] = &fieldPath{name: name, exception: of.exception}
			}
			byName[name].paths = append(byName[name].paths, path)
		}
	}
	var out []fieldPath
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		slices.Sort(byName[name].paths)
		out = append(out, *byName[name])
	}
	return out
}

// shapes are the types of fields that the schema keeps as they are written.
var shapes = map[string]reflect.Type{
	"rules.preconditions":                         reflect.TypeFor[v1.AnyAllConditions](),
	"rules.verifyImages.validate.deny.conditions": reflect.TypeFor[v1.AnyAllConditions](),
}

// fieldsOf notes the paths of a type's fields; a "*" stands for the keys of a map.
func fieldsOf(out map[string]bool, path string, t reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		if t.Kind() == reflect.Map {
			path += ".*"
		}
		t = t.Elem()
	}
	if shape := shapes[path]; shape != nil {
		t = shape
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[apiextensionsv1.JSON]() || t == reflect.TypeFor[json.RawMessage]() {
		return
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		p := strings.TrimPrefix(path+"."+name, ".")
		switch {
		case name == "":
			fieldsOf(out, path, t.Field(i).Type)
			continue
		case p == "rules.validate", p == "rules.mutate", p == "rules.generate":
			continue
		}
		out[p] = true
		fieldsOf(out, p, t.Field(i).Type)
	}
}

// shown is a vector that shows the field's effect, and the number of vectors that have the field.
func (f *fieldPath) shown(t *testing.T, all []source, present bool) (string, int) {
	t.Helper()
	tried := 0
	for i := range all {
		s := &all[i]
		in := s.policies
		if f.exception {
			in = s.exceptions
		}
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
	lists := [][]string{v.Policies, v.Later}
	if f.exception {
		lists = [][]string{v.Exceptions}
	}
	for _, list := range lists {
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

// visit calls the function for each place of a path and returns how many there are.
func visit(value any, path []string, f func(map[string]any, string)) int {
	n := 0
	switch v := value.(type) {
	case []any:
		for _, e := range v {
			n += visit(e, path, f)
		}
	case map[string]any:
		if path[0] == "*" {
			for _, e := range v {
				n += visit(e, path[1:], f)
			}
			return n
		}
		e, ok := v[path[0]]
		switch {
		case !ok:
			return 0
		case len(path) == 1:
			f(v, path[0])
			return 1
		}
		return visit(e, path[1:], f)
	}
	return n
}

func take(in map[string]any, key string) { delete(in, key) }

// opposites are other values of fields that know only some.
var opposites = map[string]string{
	"Enforce": "Audit", "Audit": "Enforce", "Fail": "Ignore", "Ignore": "Fail", "All": "One", "One": "All",
	"In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "DoesNotExist": "Exists", "Equals": "NotEquals", "NotEquals": "Equals",
	"AnyIn": "AnyNotIn", "AllIn": "AnyNotIn", "AnyNotIn": "AllIn", "AllNotIn": "AnyIn", "GreaterThan": "LessThan", "LessThan": "GreaterThan",
	"User": "Group", "Group": "User", "ServiceAccount": "User", "CREATE": "DELETE", "UPDATE": "DELETE", "GET": "POST", "POST": "GET",
	"Cosign": "Notary", "SigstoreBundle": "Cosign", "Notary": "Cosign", "sha256": "sha512", "sha512": "sha256", "sha384": "sha256",
}

// another is another value of the same kind.
func another(value any, words func(string) string) any {
	switch v := value.(type) {
	case string:
		switch {
		case opposites[v] != "":
			return opposites[v]
		case strings.Contains(v, "BEGIN PUBLIC KEY"):
			return foreign("trust/third.pub")
		case strings.Contains(v, "BEGIN CERTIFICATE"):
			return foreign("trust/otherca.pem")
		}
		return words(v)
	case bool:
		return !v
	case float64:
		return v + 1
	case int64:
		return v + 1
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = another(v[i], words)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			out[k] = another(v[k], words)
		}
		return out
	}
	return value
}

func alter(in map[string]any, key string) {
	in[key] = another(in[key], func(s string) string { return s + "-altered" })
}

func prefix(in map[string]any, key string) {
	in[key] = another(in[key], func(s string) string { return "altered-" + s })
}

func foreign(file string) string {
	text, err := corpus.Read(file)
	if err != nil {
		panic(err)
	}
	return text
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
