package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/policy"
)

const goldenMutating = `- admissionReviewVersions:
  - v1
  clientConfig:
    caBundle: Q0E=
    service:
      name: kyverno-svc
      namespace: kyverno
      path: /mutate/fail
      port: 443
  failurePolicy: Fail
  matchPolicy: Equivalent
  name: mutate.kyverno.svc-fail
  namespaceSelector:
    matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: NotIn
      values:
      - kube-system
      - kyverno
  objectSelector: {}
  reinvocationPolicy: IfNeeded
  rules:
  - apiGroups:
    - ""
    apiVersions:
    - v1
    operations:
    - CREATE
    - UPDATE
    resources:
    - pods
    - pods/ephemeralcontainers
    scope: Namespaced
  sideEffects: NoneOnDryRun
  timeoutSeconds: 25
`

const goldenMonitor = `- admissionReviewVersions:
  - v1
  clientConfig:
    caBundle: Q0E=
    service:
      name: kyverno-svc
      namespace: kyverno
      path: /verifymutate
      port: 443
  failurePolicy: Ignore
  matchPolicy: Equivalent
  name: monitor-webhooks.kyverno.svc
  namespaceSelector: {}
  objectSelector:
    matchLabels:
      app.kubernetes.io/name: kyverno
  reinvocationPolicy: IfNeeded
  rules:
  - apiGroups:
    - coordination.k8s.io
    apiVersions:
    - v1
    operations:
    - UPDATE
    resources:
    - leases
    scope: Namespaced
  sideEffects: NoneOnDryRun
  timeoutSeconds: 10
`

const goldenPolicy = `- admissionReviewVersions:
  - v1
  clientConfig:
    caBundle: Q0E=
    service:
      name: kyverno-svc
      namespace: kyverno
      path: /policyvalidate
      port: 443
  failurePolicy: Fail
  matchPolicy: Equivalent
  name: validate-policy.kyverno.svc
  namespaceSelector: {}
  objectSelector: {}
  rules:
  - apiGroups:
    - kyverno.io
    apiVersions:
    - v1
    - v2beta1
    operations:
    - CREATE
    - UPDATE
    resources:
    - clusterpolicies
    - policies
    scope: '*'
  sideEffects: None
  timeoutSeconds: 10
`

func newBuilder(t *testing.T, o Options) *builder {
	t.Helper()
	o.SystemNamespace, o.Store, o.Certificates = "kyverno", policy.NewStore(), &Certificates{}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	return o.builder(defaultSettings("kyverno"), []byte("CA"))
}

func TestWebhookGolden(t *testing.T) {
	t.Parallel()
	b := newBuilder(t, Options{})
	p := compile(t, with(clusterPolicy("a", "v1/Pod"), v1.Fail, 25))
	r := register([]*policy.Policy{p}, newKinds(t, &apis{lists: standardAPIs()}), b.timeout, validatingOperations)
	for name, tt := range map[string]struct {
		want string
		got  any
	}{
		"resources":            {goldenMutating, b.resourceMutating(r.mutating)},
		"monitor":              {goldenMonitor, b.monitor()},
		"validating policies":  {goldenPolicy, b.policyValidating()},
		"nothing to ask for":   {"null\n", b.resourceMutating(register(nil, nil, 10, validatingOperations).mutating)},
		"nothing to ask for 2": {"null\n", b.resourceValidating(register(nil, nil, 10, validatingOperations).validating)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, asYAML(t, tt.got)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestWebhookProperties(t *testing.T) {
	t.Parallel()
	all := everything(10, validatingOperations)
	t.Run("both groups, sorted by name", func(t *testing.T) {
		t.Parallel()
		var got []string
		b := newBuilder(t, Options{})
		for _, w := range b.resourceMutating(all.mutating) {
			got = append(got, w.Name+" "+*w.ClientConfig.Service.Path+" "+string(*w.FailurePolicy))
		}
		for _, w := range b.resourceValidating(all.validating) {
			got = append(got, w.Name+" "+*w.ClientConfig.Service.Path+" "+string(*w.FailurePolicy))
		}
		want := []string{
			"mutate.kyverno.svc-fail /mutate/fail Fail", "mutate.kyverno.svc-ignore /mutate/ignore Ignore",
			"validate.kyverno.svc-fail /validate/fail Fail", "validate.kyverno.svc-ignore /validate/ignore Ignore",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
	t.Run("judging has side effects only with reports", func(t *testing.T) {
		t.Parallel()
		for off, want := range map[bool]admissionregistrationv1.SideEffectClass{false: "NoneOnDryRun", true: "None"} {
			for _, w := range newBuilder(t, Options{NoAdmissionReports: off}).resourceValidating(all.validating) {
				if *w.SideEffects != want {
					t.Errorf("without reports %v: %s", off, *w.SideEffects)
				}
			}
		}
	})
	t.Run("addresses", func(t *testing.T) {
		t.Parallel()
		for server, want := range map[string]string{
			"192.0.2.7": "https://192.0.2.7:9443/policymutate", "192.0.2.7:1234": "https://192.0.2.7:1234/policymutate",
			"2001:db8::1": "https://[2001:db8::1]:9443/policymutate", "host.example": "https://host.example:9443/policymutate",
		} {
			c := newBuilder(t, Options{ServerIP: server}).policyMutating()[0].ClientConfig
			if c.Service != nil || *c.URL != want {
				t.Errorf("%s: got %s, want %s", server, *c.URL, want)
			}
		}
	})
	t.Run("no timeout is longer than the API server accepts", func(t *testing.T) {
		t.Parallel()
		b := newBuilder(t, Options{WebhookTimeout: 90})
		if got := *b.policyMutating()[0].TimeoutSeconds; got != 30 {
			t.Errorf("got %d", got)
		}
	})
}

func TestReadSettings(t *testing.T) {
	t.Parallel()
	base := defaultSettings("kyverno")
	chosen := base
	chosen.namespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	tests := map[string]struct {
		data map[string]string
		want webhookSettings
		errs int
	}{
		"nothing":             {want: base},
		"an object":           {data: map[string]string{"webhooks": `{"namespaceSelector":{"matchLabels":{"a":"b"}}}`}, want: chosen},
		"a list of one":       {data: map[string]string{"webhooks": `[{"namespaceSelector":{"matchLabels":{"a":"b"}}}]`}, want: chosen},
		"YAML":                {data: map[string]string{"webhooks": "namespaceSelector:\n  matchLabels:\n    a: b\n"}, want: chosen},
		"a list of two":       {data: map[string]string{"webhooks": `[{"objectSelector":{}},{"namespaceSelector":{"matchLabels":{"a":"b"}}}]`}, want: base, errs: 1},
		"an unknown field":    {data: map[string]string{"webhooks": `{"namespaceSelector":{"matchLabels":{"a":"b"}},"matchPolicy":"Exact"}`}, want: base, errs: 1},
		"an unknown operator": {data: map[string]string{"webhooks": `{"namespaceSelector":{"matchExpressions":[{"key":"a","operator":"Like"}]}}`}, want: base, errs: 1},
		"null":                {data: map[string]string{"webhooks": `null`}, want: base},
		"no JSON":             {data: map[string]string{"webhooks": `{`, "webhookLabels": `[]`}, want: base, errs: 2},
		"annotations and labels": {
			data: map[string]string{"webhookAnnotations": `{"admissions.enforcer/disabled":"true"}`, "webhookLabels": `{"a":"b"}`},
			want: webhookSettings{namespaceSelector: base.namespaceSelector, objectSelector: base.objectSelector,
				annotations: map[string]string{"admissions.enforcer/disabled": "true"}, labels: map[string]string{"a": "b"}},
		},
		"annotations and labels that the API server does not store": {
			data: map[string]string{"webhookAnnotations": `{"not a key":"true"}`, "webhookLabels": `{"a":"not a value"}`}, want: base, errs: 2,
		},
		"conditions": {
			data: map[string]string{"matchConditions": `[{"name":"a","expression":"true"}]`},
			want: webhookSettings{namespaceSelector: base.namespaceSelector, objectSelector: base.objectSelector,
				matchConditions: []admissionregistrationv1.MatchCondition{{Name: "a", Expression: "true"}}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, errs := readSettings(tt.data, "kyverno", nil)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(webhookSettings{})); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if len(errs) != tt.errs {
				t.Errorf("errors %v", errs)
			}
		})
	}
}
