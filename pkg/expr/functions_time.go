package expr

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func timeFunctions() []function {
	times := func(n int) []param {
		return []param{isString, isString, isString}[:n]
	}
	return []function{
		{name: "time_since", params: times(3), call: timeSince},
		{name: "time_now", call: func(ev *evaluation, _ []any) (any, error) {
			return ev.scope.env.Now().Format(time.RFC3339), nil
		}},
		{name: "time_now_utc", call: func(ev *evaluation, _ []any) (any, error) {
			return ev.scope.env.Now().UTC().Format(time.RFC3339), nil
		}},
		{name: "time_add", params: times(2), call: func(_ *evaluation, a []any) (any, error) {
			return moved(a, func(t time.Time, d time.Duration) (time.Time, error) { return t.Add(d), nil })
		}},
		{name: "time_truncate", params: times(2), call: func(_ *evaluation, a []any) (any, error) {
			return moved(a, func(t time.Time, d time.Duration) (time.Time, error) {
				if d <= 0 {
					return t, errors.New("the duration must be positive")
				}
				return t.Truncate(d), nil
			})
		}},
		{name: "time_parse", params: times(2), call: timeParse},
		{name: "time_to_cron", params: times(1), call: onTimes(func(t ...time.Time) (any, error) {
			return fmt.Sprintf("%d %d %d %d %d", t[0].Minute(), t[0].Hour(), t[0].Day(), int(t[0].Month()), int(t[0].Weekday())), nil
		})},
		{name: "time_utc", params: times(1), call: onTimes(func(t ...time.Time) (any, error) {
			return t[0].UTC().Format(time.RFC3339), nil
		})},
		{name: "time_diff", params: times(2), call: onTimes(func(t ...time.Time) (any, error) {
			return t[1].Sub(t[0]).String(), nil
		})},
		{name: "time_before", params: times(2), call: onTimes(func(t ...time.Time) (any, error) {
			return t[0].Before(t[1]), nil
		})},
		{name: "time_after", params: times(2), call: onTimes(func(t ...time.Time) (any, error) {
			return t[0].After(t[1]), nil
		})},
		{name: "time_between", params: times(3), call: onTimes(func(t ...time.Time) (any, error) {
			return t[0].After(t[1]) && t[0].Before(t[2]), nil
		})},
	}
}

// onTimes makes a function of one on times in the form of RFC 3339.
func onTimes(f func(...time.Time) (any, error)) func(*evaluation, []any) (any, error) {
	return func(_ *evaluation, args []any) (any, error) {
		times := make([]time.Time, len(args))
		for i, v := range args {
			t, err := readTime(time.RFC3339, v.(string))
			if err != nil {
				return nil, err
			}
			times[i] = t
		}
		return f(times...)
	}
}

func readTime(layout, s string) (time.Time, error) {
	if len(s) > maxShown || len(layout) > maxShown {
		return time.Time{}, fmt.Errorf("%q is not a time", clip(s))
	}
	t, err := time.Parse(layout, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("not a time: %w", err)
	}
	return t, nil
}

func moved(a []any, move func(time.Time, time.Duration) (time.Time, error)) (any, error) {
	t, err := readTime(time.RFC3339, a[0].(string))
	if err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(a[1].(string))
	if err != nil {
		return nil, fmt.Errorf("%q is not a duration", clip(a[1].(string)))
	}
	if t, err = move(t, d); err != nil {
		return nil, err
	}
	return t.Format(time.RFC3339), nil
}

// timeParse reads a time by a layout of Go's; a layout of digits alone means seconds since 1970.
func timeParse(_ *evaluation, a []any) (any, error) {
	layout, s := a[0].(string), a[1].(string)
	if layout != "" && strings.Trim(layout, "0123456789") == "" {
		seconds, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number of seconds", clip(s))
		}
		return time.Unix(seconds, 0).UTC().Format(time.RFC3339), nil
	}
	t, err := readTime(layout, s)
	return t.Format(time.RFC3339), err
}

// timeSince is the time from the second argument to the third, or to now when the third is empty.
func timeSince(ev *evaluation, a []any) (any, error) {
	layout := a[0].(string)
	if layout == "" {
		layout = time.RFC3339
	}
	start, err := readTime(layout, a[1].(string))
	if err != nil {
		return nil, err
	}
	end := ev.scope.env.Now()
	if s := a[2].(string); s != "" {
		if end, err = readTime(layout, s); err != nil {
			return nil, err
		}
	}
	return end.Sub(start).String(), nil
}
