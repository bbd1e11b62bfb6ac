package budget_test

import (
	"context"
	"testing"

	"github.com/signet-policy/signet/pkg/budget"
)

const mib = 1 << 20

func TestShares(t *testing.T) {
	t.Parallel()
	b := budget.New(10 * mib)
	first, second := b.Share(), b.Share()
	one, two := budget.With(t.Context(), first), budget.With(t.Context(), second)
	over, cancel := context.WithCancel(two)
	cancel()
	if err := budget.Take(one, 8*mib); err != nil {
		t.Fatal(err)
	}
	if err := budget.Take(over, 3*mib); err == nil {
		t.Error("more than there is")
	}
	if err := budget.Take(over, budget.Small); err != nil {
		t.Errorf("small things wait: %v", err)
	}
	if err := budget.Take(context.Background(), 100*mib); err != nil {
		t.Errorf("without a share: %v", err)
	}
	first.Use()
	if first.Release(); budget.Take(over, 3*mib) == nil {
		t.Error("given back while somebody uses it")
	}
	first.Release()
	// What can never fit gets all there is.
	if err := budget.Take(two, 100*mib); err != nil {
		t.Error(err)
	}
	second.Release()
	if err := budget.Take(budget.With(t.Context(), b.Share()), 10*mib); err != nil {
		t.Error(err)
	}
}
