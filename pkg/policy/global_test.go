package policy_test

import (
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/signet-policy/signet/pkg/policy"
)

// VI 9(4): what a GlobalContextEntry may say. What is refused is named by its path.
func TestCompileGlobal(t *testing.T) {
	t.Parallel()
	const resource, call = `kubernetesResource: {group: apps, version: v1, resource: deployments, namespace: team}`, `apiCall: {urlPath: /api/v1/nodes}`
	many := make([]string, 65)
	for i := range many {
		many[i] = `{name: p` + strings.Repeat("x", i) + `, jmesPath: "@"}`
	}
	for name, c := range map[string]struct{ spec, refused string }{
		"resource":            {resource, ""},
		"core group":          {`kubernetesResource: {version: v1, resource: pods}`, ""},
		"call":                {call, ""},
		"call of a service":   {`apiCall: {service: {url: "https://example.com", headers: [{key: A, value: b}]}, method: POST, data: [{key: a, value: {b: [1]}}]}`, ""},
		"projections":         {call + `, projections: [{name: a, jmesPath: "items[].name"}, {name: b.c, jmesPath: "@"}]`, ""},
		"short interval":      {`apiCall: {urlPath: /a, refreshInterval: 1ms, retryLimit: 1000}`, ""},
		"nothing":             {`projections: []`, "spec.kubernetesResource: Forbidden: a global context entry has either"},
		"both":                {resource + `, ` + call, "spec.kubernetesResource: Forbidden: a global context entry has either"},
		"unknown field":       {`kubernetesResource: {version: v1, resource: pods, labelSelector: {}}`, `unknown field "spec.kubernetesResource.labelSelector"`},
		"no group":            {`kubernetesResource: {version: v1beta1, resource: jobs}`, "spec.kubernetesResource.group: Required"},
		"wrong group":         {`kubernetesResource: {group: "../b", version: v1, resource: jobs}`, "spec.kubernetesResource.group: Invalid"},
		"no version":          {`kubernetesResource: {resource: pods}`, "spec.kubernetesResource.version: Required"},
		"wrong version":       {`kubernetesResource: {group: a.io, version: ../v1, resource: pods}`, "spec.kubernetesResource.version: Invalid"},
		"no resource":         {`kubernetesResource: {version: v1}`, "spec.kubernetesResource.resource: Required"},
		"subresource":         {`kubernetesResource: {version: v1, resource: pods/log}`, "spec.kubernetesResource.resource: Invalid"},
		"kind":                {`kubernetesResource: {version: v1, resource: Pod}`, "spec.kubernetesResource.resource: Invalid"},
		"wrong namespace":     {`kubernetesResource: {version: v1, resource: pods, namespace: a/b}`, "spec.kubernetesResource.namespace: Invalid"},
		"variable in path":    {`apiCall: {urlPath: "/api/v1/namespaces/{{ request.namespace }}"}`, "spec.apiCall.urlPath: Forbidden: there is no request"},
		"variable in data":    {`apiCall: {urlPath: /a, method: POST, data: [{key: a, value: {b: "{{ images }}"}}]}`, "spec.apiCall.data[0].value: Forbidden"},
		"variable in URL":     {`apiCall: {service: {url: "https://{{ a }}"}}`, "spec.apiCall.service.url: Forbidden"},
		"variable in header":  {`apiCall: {service: {url: "https://a", headers: [{key: A, value: "{{ a }}"}]}}`, "spec.apiCall.service.headers[0]: Forbidden"},
		"no path, no service": {`apiCall: {method: GET}`, "spec.apiCall.urlPath: Required"},
		"path and service":    {`apiCall: {urlPath: /a, service: {url: "https://a"}}`, "spec.apiCall: Invalid"},
		"data with GET":       {`apiCall: {urlPath: /a, data: [{key: a, value: b}]}`, "spec.apiCall.data: Forbidden"},
		"other method":        {`apiCall: {urlPath: /a, method: PUT}`, "spec.apiCall.method: Unsupported"},
		"no interval":         {`apiCall: {urlPath: /a, refreshInterval: 0s}`, "spec.apiCall.refreshInterval: Invalid"},
		"negative interval":   {`apiCall: {urlPath: /a, refreshInterval: -5s}`, "spec.apiCall.refreshInterval: Invalid"},
		"negative limit":      {`apiCall: {urlPath: /a, retryLimit: -1}`, "spec.apiCall.retryLimit: Invalid"},
		"jmesPath of a call":  {`apiCall: {urlPath: /a, jmesPath: a}`, `unknown field "spec.apiCall.jmesPath"`},
		"unnamed projection":  {call + `, projections: [{jmesPath: a}]`, "spec.projections[0].name: Required"},
		"own name":            {call + `, projections: [{name: entry, jmesPath: a}]`, "spec.projections[0].name: Invalid"},
		"name twice":          {call + `, projections: [{name: a, jmesPath: a}, {name: a, jmesPath: b}]`, "spec.projections[1].name: Duplicate"},
		"no expression":       {call + `, projections: [{name: a}]`, "spec.projections[0].jmesPath: Required"},
		"wrong expression":    {call + `, projections: [{name: a, jmesPath: "a[["}]`, "spec.projections[0].jmesPath: Invalid"},
		"variable in it":      {call + `, projections: [{name: a, jmesPath: "{{ a }}"}]`, "spec.projections[0].jmesPath: Forbidden"},
		"many projections":    {call + `, projections: [` + strings.Join(many, ", ") + `]`, "spec.projections: Too many"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := yaml.YAMLToJSON([]byte(`{apiVersion: kyverno.io/v2beta1, kind: GlobalContextEntry, metadata: {name: entry}, spec: {` + c.spec + `}}`))
			if err != nil {
				t.Fatal(err)
			}
			var compiled *policy.Global
			g, err := policy.ReadGlobal(raw)
			if err == nil {
				out, list := policy.CompileGlobal(g)
				if compiled = out; len(list) > 0 {
					err = list.ToAggregate()
				}
			}
			switch {
			case c.refused == "" && (err != nil || compiled == nil):
				t.Error(err)
			case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused) || compiled != nil):
				t.Errorf("got %v, want %s", err, c.refused)
			case name == "call" && (compiled.Interval != 10*time.Minute || compiled.Tries != 3):
				t.Errorf("%s, %d tries", compiled.Interval, compiled.Tries)
			case name == "short interval" && (compiled.Interval != time.Second || compiled.Tries != 10):
				t.Errorf("%s, %d tries", compiled.Interval, compiled.Tries)
			}
		})
	}
}
