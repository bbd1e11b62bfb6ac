package expr

import (
	"context"
	"encoding/json"
	"testing"
)

// provenance is about what a SLSA provenance holds that policies look at.
const provenance = `{
	"buildDefinition": {"buildType": "https://actions.github.io/buildtypes/workflow/v1",
		"externalParameters": {"workflow": {"ref": "refs/heads/main", "repository": "https://github.com/acme/shop", "path": ".github/workflows/build.yml"}},
		"resolvedDependencies": [{"uri": "git+https://github.com/acme/shop@refs/heads/main", "digest": {"gitCommit": "0123456789abcdef0123456789abcdef01234567"}}]},
	"runDetails": {"builder": {"id": "https://github.com/acme/builders/.github/workflows/build.yml@refs/tags/v1.2.0"},
		"metadata": {"invocationId": "https://github.com/acme/shop/actions/runs/1/attempts/1", "finishedOn": "2024-05-06T07:00:00Z"}}
}`

const provenanceConditions = `[{"all": [
	{"key": "{{ buildDefinition.buildType }}", "operator": "Equals", "value": "https://actions.github.io/buildtypes/workflow/v1"},
	{"key": "{{ buildDefinition.externalParameters.workflow.ref }}", "operator": "AnyIn", "value": ["refs/heads/main", "refs/tags/v*"]},
	{"key": "{{ regex_match('^https://github.com/acme/builders/.*@refs/tags/v[0-9.]+$','{{ runDetails.builder.id }}') }}", "operator": "Equals", "value": true},
	{"key": "{{ time_diff('{{ runDetails.metadata.finishedOn }}','{{ time_now_utc() }}') }}", "operator": "LessThanOrEquals", "value": "24h"}
]}]`

func BenchmarkConditions(b *testing.B) {
	c, err := Compile([]byte(provenanceConditions))
	if err != nil {
		b.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(provenance), &fields); err != nil {
		b.Fatal(err)
	}
	base := testScope(b)
	b.ReportAllocs()
	for b.Loop() {
		s := base.Fork()
		s.Push(fields)
		if ok, _, err := c.Eval(context.Background(), s); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile([]byte(provenanceConditions)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPath(b *testing.B) {
	t, err := CompileTemplate("{{ request.object.metadata.name }}")
	if err != nil {
		b.Fatal(err)
	}
	s := testScope(b)
	s.budget.limits.Steps = 1 << 60
	b.ReportAllocs()
	for b.Loop() {
		if _, err := t.Eval(context.Background(), s); err != nil {
			b.Fatal(err)
		}
	}
}
