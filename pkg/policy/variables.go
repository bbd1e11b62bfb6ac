package policy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/signet-policy/signet/pkg/expr"
)

var (
	// contextName is a name that an expression reads as it is or, with a dash in it, in quotation marks. One with a dot would
	// be taken for a path.
	contextName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$`)
	// headerName is the name of an HTTP header.
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")
)

// builtin are the names that every rule can read.
func builtin() map[string]bool {
	return map[string]bool{"request": true, "images": true, "serviceAccountName": true, "serviceAccountNamespace": true}
}

// requestFields are the fields of a request.
var requestFields = []string{
	"clusterRoles", "dryRun", "kind", "name", "namespace", "object", "oldObject", "operation", "options", "requestKind",
	"requestResource", "requestSubResource", "resource", "roles", "subResource", "uid", "userInfo",
}

// userData are what tells of the user, whom background scans do not have.
var userData = []string{"request.userInfo", "request.roles", "request.clusterRoles", "serviceAccountName", "serviceAccountNamespace"}

// resolvable refuses what cannot be read whatever the request, and what a background scan does not have (VI 2.2(5)).
func (c *compiler) resolvable(rule string, reads []string, known map[string]bool, at *field.Path) {
	for _, path := range reads {
		c.readsRoles = c.readsRoles || strings.HasPrefix(path, "request.roles") || strings.HasPrefix(path, "request.clusterRoles")
		if isTrue(c.spec.Background) && slices.ContainsFunc(userData, func(u string) bool { return path == u || strings.HasPrefix(path, u+".") }) {
			c.errs = append(c.errs, field.Forbidden(at, userInBackground+": "+clip(path)))
			continue
		}
		root, rest, _ := strings.Cut(path, ".")
		second, _, _ := strings.Cut(rest, ".")
		switch {
		case path == "@" || path == "$":
		case !known[root]:
			c.badVariable(rule, at, fmt.Errorf("%s: %w", clip(path), &expr.MissingKeyError{Key: root}))
		case root == "request" && second != "" && !slices.Contains(requestFields, second):
			c.badVariable(rule, at, fmt.Errorf("%s: %w", clip(path), &expr.MissingKeyError{Key: second}))
		}
	}
}

// badVariable refuses a variable that cannot be substituted.
func (c *compiler) badVariable(rule string, at *field.Path, err error) {
	c.errs = append(c.errs, field.Invalid(at, "", fmt.Sprintf("policy contains invalid variables: variable substitution failed for rule %s: %v", rule, err)))
}

// names are what the variables of a rule with these context entries can read.
func names(entries []ContextEntry) map[string]bool {
	known := builtin()
	for i := range entries {
		known[entries[i].Name] = true
	}
	return known
}

// preconditions compiles those of a rule; nil for none.
func (c *compiler) preconditions(in *apiextensionsv1.JSON, rule string, context []ContextEntry, path *field.Path) *expr.Conditions {
	if in == nil || len(in.Raw) == 0 || string(in.Raw) == "null" {
		return nil
	}
	compiled, err := expr.Compile(in.Raw)
	if err != nil {
		c.errs = append(c.errs, field.Invalid(path, "", err.Error()))
		return nil
	}
	var doc any
	if err := json.Unmarshal(in.Raw, &doc); err != nil {
		c.errs = append(c.errs, field.Invalid(path, "", err.Error()))
		return nil
	}
	c.checkConditions(doc, path, false)
	c.resolvable(rule, compiled.Reads(), names(context), path)
	if compiled.Empty() {
		return nil
	}
	return compiled
}
