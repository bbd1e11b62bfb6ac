package vectors_test

import (
	"strings"

	"github.com/signet-policy/signet/testdata/corpus"
)

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
