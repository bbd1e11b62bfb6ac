package expr

import (
	"math"
	"regexp"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// quantityForm is narrower than what the API machinery parses: an exponent of many digits would have it compute with numbers
// of that many digits.
var quantityForm = regexp.MustCompile(`^[+-]?(\d{1,32}(\.\d{0,32})?|\.\d{1,32})(([eE][+-]?\d{1,2})|[numkMGTPE]|[KMGTPE]i)?$`)

// parseQuantity reads a Kubernetes quantity such as 1Gi or 500m.
func parseQuantity(s string) (resource.Quantity, bool) {
	if !quantityForm.MatchString(s) {
		return resource.Quantity{}, false
	}
	q, err := resource.ParseQuantity(s)
	return q, err == nil
}

// quantityOf reads a string or a number as a quantity.
func quantityOf(v any) (resource.Quantity, bool) {
	switch t := v.(type) {
	case string:
		return parseQuantity(t)
	case float64:
		return parseQuantity(strconv.FormatFloat(t, 'f', -1, 64))
	}
	return resource.Quantity{}, false
}

// durations reads a and b as durations, if at least one of them is written as one and is not "0". Numbers are seconds.
func durations(a, b any) (x, y time.Duration, ok bool) {
	x, xText, xOK := durationOf(a)
	y, yText, yOK := durationOf(b)
	return x, y, xOK && yOK && (xText || yText)
}

// durationOf reads v as a duration; text tells whether it is written as one.
func durationOf(v any) (d time.Duration, text, ok bool) {
	switch t := v.(type) {
	case string:
		if t == "0" || len(t) > maxShown {
			return 0, false, false
		}
		d, err := time.ParseDuration(t)
		return d, true, err == nil
	case float64:
		d, ok := seconds(t)
		return d, false, ok
	}
	return 0, false, false
}

// seconds is f seconds, if a duration can hold them.
func seconds(f float64) (time.Duration, bool) {
	ns := f * float64(time.Second)
	if math.IsNaN(ns) || math.Abs(ns) >= math.MaxInt64 {
		return 0, false
	}
	return time.Duration(ns), true
}

// asDuration reads v as a duration for the operators on durations: text, "0" included, or a number of seconds.
func asDuration(v any) (time.Duration, bool) {
	switch t := v.(type) {
	case string:
		if len(t) > maxShown {
			return 0, false
		}
		d, err := time.ParseDuration(t)
		return d, err == nil
	case float64:
		return seconds(t)
	}
	return 0, false
}
