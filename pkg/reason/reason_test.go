package reason_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/signet-policy/signet/pkg/reason"
)

func TestOf(t *testing.T) {
	t.Parallel()
	own := &reason.Error{Code: reason.RegistryUnavailable, Unreachable: true, Text: "no connection", Err: context.Canceled}
	for name, c := range map[string]struct {
		err         error
		code        reason.Code
		unreachable bool
	}{
		"own":      {own, reason.RegistryUnavailable, true},
		"wrapped":  {fmt.Errorf("tag: %w", own), reason.RegistryUnavailable, true},
		"deadline": {fmt.Errorf("get: %w", context.DeadlineExceeded), reason.RegistryTimeout, false},
		"canceled": {context.Canceled, reason.RegistryTimeout, false},
		"other":    {errors.New("boom"), reason.InternalError, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := reason.Of(c.err)
			if got.Code != c.code || got.Unreachable != c.unreachable || got.Error() == "" {
				t.Errorf("%+v", got)
			}
			if !errors.Is(got, c.err) && !errors.Is(c.err, got) {
				t.Error("the cause is lost")
			}
		})
	}
	if reason.Of(nil) != nil {
		t.Error("nil has a reason")
	}
}
