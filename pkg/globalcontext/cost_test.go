package globalcontext_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/globalcontext"
	"github.com/signet-policy/signet/pkg/loader"
	"github.com/signet-policy/signet/pkg/policy"
)

// large reports a list of many objects once.
type large struct{ told chan struct{} }

func (large) Load(context.Context, *policy.ContextEntry, *expr.Scope, loader.Describe) (any, error) {
	return nil, nil
}

func (l large) Follow(_ context.Context, _ policy.Resource, report func(expr.Prepared, error)) {
	items := make([]expr.Prepared, 20_000)
	for i := range items {
		p, err := expr.Prepare(map[string]any{"count": int64(i), "metadata": map[string]any{"name": fmt.Sprint(i)}}, expr.Limits{})
		if err != nil {
			report(p, err)
			return
		}
		items[i] = p
	}
	report(expr.PrepareList(items), nil)
	close(l.told)
}

// What a request pays for an entry does not grow with what the entry holds: no conversion, no copy, no projection.
func TestCost(t *testing.T) { //nolint:paralleltest // it counts allocations
	source := large{told: make(chan struct{})}
	k := globalcontext.New(globalcontext.Options{Caller: source, Resources: source})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Start(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	k.Put(compile(t, "many", 1, `{kubernetesResource: {version: v1, resource: things}, projections: [{name: names, jmesPath: "[].metadata.name"}]}`))
	<-source.told
	q, err := expr.CompileQuery("[whole[7].count, names[9], length(whole)]")
	if err != nil {
		t.Fatal(err)
	}
	read := func() {
		s := expr.NewScope(expr.Env{})
		s.SetLazyData("whole", func(context.Context) (any, error) { return k.Global("many", "") })
		s.SetLazyData("names", func(context.Context) (any, error) { return k.Global("many", "names") })
		got, err := q.Eval(t.Context(), s)
		if list, _ := got.([]any); err != nil || len(list) != 3 || list[0] != 7.0 || list[1] != "9" || list[2] != 20_000.0 {
			t.Fatal(got, err)
		}
	}
	if n := testing.AllocsPerRun(20, read); n > 100 {
		t.Errorf("%.0f allocations", n)
	}
}
