package globalcontext

import (
	"context"
	"fmt"
	"time"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/policy"
)

const (
	// failedInterval is the longest time after which a call is made again that has failed.
	failedInterval = 30 * time.Second
	// firstPause and longestPause are the times between the tries of one call.
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
)

// poll makes the call of an entry until ctx ends.
func (k *Keeper) poll(ctx context.Context, e *entry) {
	for {
		data, err := k.refresh(ctx, e.compiled)
		if ctx.Err() != nil {
			return
		}
		k.set(e, data, err)
		interval := e.compiled.Interval
		if err != nil {
			interval = min(interval, failedInterval)
		}
		if !pause(ctx, interval) {
			return
		}
	}
}

// refresh makes the call, as often as the entry says.
func (k *Keeper) refresh(ctx context.Context, g *policy.Global) (data expr.Prepared, err error) {
	wait := firstPause
	for try := 1; ; try++ {
		if data, err = k.call(ctx, g); err == nil || try >= g.Tries || !pause(ctx, wait) {
			return data, err
		}
		wait = min(2*wait, longestPause)
	}
}

func (k *Keeper) call(ctx context.Context, g *policy.Global) (data expr.Prepared, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	value, err := k.opts.Caller.Load(ctx, g.Call, expr.NewScope(expr.Env{}), nil)
	if err != nil {
		return expr.Prepared{}, err
	}
	if data, err = expr.Prepare(value, expr.Limits{Bytes: maxBytes}); err != nil {
		return expr.Prepared{}, fmt.Errorf("the answer cannot be used: %w", err)
	}
	return data, nil
}

// project works out the projections of an entry.
func project(g *policy.Global, data expr.Prepared) (out map[string]expr.Prepared, err error) {
	name := ""
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("projection %s: panic: %v", name, p)
		}
	}()
	left := int64(maxProjected)
	out = make(map[string]expr.Prepared, len(g.Projections))
	for i := range g.Projections {
		p := &g.Projections[i]
		name = p.Name
		// Each has the limits of an evaluation to itself. No request waits for it, and steps bound its time.
		value, err := p.Query.On(context.Background(), expr.NewScope(expr.Env{}), data)
		if err != nil {
			return nil, fmt.Errorf("projection %s: %w", name, err)
		}
		made, err := expr.Prepare(value, expr.Limits{Bytes: max(1, min(left, maxBytes))})
		if err != nil {
			return nil, fmt.Errorf("projection %s: %w", name, err)
		}
		left -= made.Bytes()
		out[name] = made
	}
	return out, nil
}

// pause waits. It tells whether ctx is still there.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
