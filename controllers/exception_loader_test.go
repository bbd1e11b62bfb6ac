package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/policy"
)

// exception is one that takes the rule of policy a away from Pods, with further fields of its spec.
func exception(t *testing.T, namespace, name, more string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	text := `{apiVersion: kyverno.io/v2, kind: PolicyException, metadata: {name: ` + name + `, namespace: ` + namespace + `},
		spec: {match: {any: [{resources: {kinds: [Pod]}}]}, exceptions: [{policyName: a, ruleNames: [check]}]` + more + `}}`
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

// names are the exceptions that name the first rule of policy a.
func excepting(store *policy.Store) []string {
	var out []string
	s := store.Snapshot()
	for _, x := range s.Exceptions(s.Policies()[0].Rules[0]) {
		out = append(out, x.Key.String())
	}
	return out
}

// VI 9(1), A-60: exceptions count in the chosen namespace, and as long as they compile.
func TestExceptionLoader(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		exceptions Exceptions
		want       []string
	}{
		"off":             {Exceptions{}, nil},
		"no namespace":    {Exceptions{Enabled: true}, nil},
		"not turned on":   {Exceptions{Namespace: "*"}, nil},
		"one namespace":   {Exceptions{Enabled: true, Namespace: "ops"}, []string{"ops/one"}},
		"all namespaces":  {Exceptions{Enabled: true, Namespace: "*"}, []string{"ops/one", "team/two"}},
		"another":         {Exceptions{Enabled: true, Namespace: "other"}, nil},
		"no wildcard but": {Exceptions{Enabled: true, Namespace: "op*"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, two := exception(t, "ops", "one", ""), exception(t, "team", "two", "")
			api := newAPI(t, clusterPolicy("a", "Pod"), one, two, exception(t, "ops", "unknown", `, images: ["a/*"]`),
				exception(t, "ops", "wide", `, conditions: {any: [{key: "{{", operator: Equals, value: a}]}`))
			store := policy.NewStore()
			l := newLoader(store, api, policy.Options{}, func(policy.Key) {})
			l.exceptions = &exceptionLoader{store: store, reader: api, exceptions: tt.exceptions}
			if err := l.loadAll(t.Context(), api); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, excepting(store)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if !tt.exceptions.in("ops") {
				return
			}
			// A change that does not compile takes the exception away, and so does the end of it.
			reconcile := func() {
				t.Helper()
				if _, err := l.exceptions.Reconcile(t.Context(), policy.Key{Namespace: "ops", Name: "one"}); err != nil {
					t.Fatal(err)
				}
			}
			for _, broken := range []bool{true, false, true} {
				spec := exception(t, "ops", "one", "").Object["spec"].(map[string]any)
				if broken {
					spec["expires"] = "never"
				}
				one.Object["spec"] = spec
				if err := api.Update(t.Context(), one); err != nil {
					t.Fatal(err)
				}
				reconcile()
				if got := excepting(store); (len(got) == len(tt.want)) == broken {
					t.Errorf("broken %v: %v", broken, got)
				}
			}
			if err := api.Delete(t.Context(), one); err != nil {
				t.Fatal(err)
			}
			reconcile()
			if diff := cmp.Diff(len(tt.want)-1, len(excepting(store))); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			// One that is gone by the time everything is read anew is, whatever the cache still holds.
			if err := api.Delete(t.Context(), two); err != nil {
				t.Fatal(err)
			}
			if err := l.loadAll(t.Context(), api); err != nil {
				t.Fatal(err)
			}
			if got := excepting(store); len(got) != 0 {
				t.Errorf("%v are in force", got)
			}
		})
	}
}

// VI 9(1): the texts.
func TestExceptionWarnings(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]Exceptions{
		"PolicyException resources would not be processed until it is enabled.": {Namespace: "ops"},
		"The exceptionNamespace flag is not set":                                {Enabled: true},
		"PolicyException resource namespace must match the defined namespace.":  {Enabled: true, Namespace: "other"},
	} {
		if diff := cmp.Diff([]string{want}, e.Warnings("ops")); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	for _, namespace := range []string{"*", "ops"} {
		if got := (Exceptions{Enabled: true, Namespace: namespace}).Warnings("ops"); got != nil {
			t.Errorf("%q", got)
		}
	}
}
