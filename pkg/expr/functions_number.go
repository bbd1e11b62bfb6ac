package expr

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"

	"gopkg.in/inf.v0"
	"k8s.io/apimachinery/pkg/api/resource"
)

func numberFunctions() []function {
	two := []param{isScalar, isScalar}
	calculate := func(f func(a, b operand) (any, error)) func(*evaluation, []any) (any, error) {
		return func(_ *evaluation, args []any) (any, error) {
			a, err := operandOf(args[0])
			if err != nil {
				return nil, err
			}
			b, err := operandOf(args[1])
			if err != nil {
				return nil, err
			}
			return f(a, b)
		}
	}
	return []function{
		{name: "add", params: two, call: calculate(add)},
		{name: "subtract", params: two, call: calculate(func(a, b operand) (any, error) { return add(a, b.negative()) })},
		{name: "multiply", params: two, call: calculate(multiply)},
		{name: "divide", params: two, call: calculate(divide)},
		{name: "modulo", params: two, call: calculate(modulo)},
		{name: "sum", params: []param{isArray}, call: sum},
		{name: "round", params: []param{isNumber, isNumber}, call: round},
	}
}

// kind is what an operand of arithmetic is. What can be read as a quantity is one, so that "5m" is five thousandths.
type kind int

const (
	number kind = iota + 1
	quantity
	duration
)

func (k kind) String() string {
	return map[kind]string{number: "a number", quantity: "a quantity", duration: "a duration"}[k]
}

type operand struct {
	kind     kind
	number   float64
	quantity resource.Quantity
	duration time.Duration
}

func operandOf(v any) (operand, error) {
	if f, ok := v.(float64); ok {
		return operand{kind: number, number: f}, nil
	}
	s, _ := v.(string)
	if q, ok := parseQuantity(s); ok {
		return operand{kind: quantity, quantity: q}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return operand{kind: duration, duration: d}, nil
	}
	return operand{}, fmt.Errorf("%q is neither a number nor a quantity nor a duration", clip(s))
}

func (o operand) negative() operand {
	o.number, o.duration = -o.number, -o.duration
	o.quantity = o.quantity.DeepCopy()
	o.quantity.Neg()
	return o
}

// dec is a quantity or a number as a decimal.
func (o operand) dec() *inf.Dec {
	if o.kind == quantity {
		q := o.quantity.DeepCopy()
		return q.AsDec()
	}
	d, ok := new(inf.Dec).SetString(strconv.FormatFloat(o.number, 'f', -1, 64))
	if !ok {
		return new(inf.Dec)
	}
	return d
}

// nanoseconds is a duration, or a number of seconds.
func (o operand) nanoseconds() float64 {
	if o.kind == duration {
		return float64(o.duration)
	}
	return o.number * float64(time.Second)
}

var (
	errDivision = errors.New("division by zero")
	errRange    = errors.New("the result is out of range")
)

// together is the kind that both operands have when numbers count as of the other's kind.
func together(verb string, a, b operand) (kind, error) {
	switch {
	case a.kind == b.kind || b.kind == number:
		return a.kind, nil
	case a.kind == number:
		return b.kind, nil
	}
	return 0, fmt.Errorf("cannot %s %s and %s", verb, a.kind, b.kind)
}

func quantityResult(d *inf.Dec, format resource.Format) (any, error) {
	q := resource.NewDecimalQuantity(*d, format)
	return q.String(), nil
}

func durationResult(ns float64) (any, error) {
	if math.IsNaN(ns) || math.Abs(ns) >= math.MaxInt64 {
		return nil, errRange
	}
	return time.Duration(ns).String(), nil
}

// format is that of the quantity among the operands, of the first when both are.
func format(a, b operand) resource.Format {
	if a.kind == quantity {
		return a.quantity.Format
	}
	return b.quantity.Format
}

func add(a, b operand) (any, error) {
	k, err := together("add", a, b)
	if err != nil {
		return nil, err
	}
	switch k {
	case quantity:
		return quantityResult(new(inf.Dec).Add(a.dec(), b.dec()), format(a, b))
	case duration:
		if a.kind == b.kind {
			total, err := addDurations(a.duration, b.duration)
			return total.String(), err
		}
		return durationResult(a.nanoseconds() + b.nanoseconds())
	}
	return a.number + b.number, nil
}

func addDurations(a, b time.Duration) (time.Duration, error) {
	if total := a + b; b == 0 || (total > a) == (b > 0) {
		return total, nil
	}
	return 0, errRange
}

func multiply(a, b operand) (any, error) {
	if a.kind == number {
		a, b = b, a
	}
	if b.kind != number {
		return nil, fmt.Errorf("cannot multiply %s by %s", a.kind, b.kind)
	}
	switch a.kind {
	case quantity:
		return quantityResult(new(inf.Dec).Mul(a.dec(), b.dec()), a.quantity.Format)
	case duration:
		return durationResult(float64(a.duration) * b.number)
	}
	return a.number * b.number, nil
}

func divide(a, b operand) (any, error) {
	switch {
	case b.kind == number && b.number == 0, b.kind == quantity && b.quantity.IsZero(), b.kind == duration && b.duration == 0:
		return nil, errDivision
	case a.kind == number && b.kind == number:
		return a.number / b.number, nil
	case a.kind == quantity && b.kind == number:
		return quantityResult(quotient(a.dec(), b.dec(), 9), a.quantity.Format)
	case a.kind == quantity && b.kind == quantity:
		return strconv.ParseFloat(quotient(a.dec(), b.dec(), 18).String(), 64)
	case a.kind == duration && b.kind == number:
		return durationResult(float64(a.duration) / b.number)
	case a.kind == duration && b.kind == duration:
		return float64(a.duration) / float64(b.duration), nil
	}
	return nil, fmt.Errorf("cannot divide %s by %s", a.kind, b.kind)
}

func quotient(a, b *inf.Dec, scale inf.Scale) *inf.Dec {
	return new(inf.Dec).QuoRound(a, b, scale, inf.RoundHalfUp)
}

// modulo is the remainder with the sign of a.
func modulo(a, b operand) (any, error) {
	k, err := together("divide", a, b)
	if err != nil {
		return nil, err
	}
	switch k {
	case quantity:
		x, y := a.dec(), b.dec()
		if y.Sign() == 0 {
			return nil, errDivision
		}
		scale := max(x.Scale(), y.Scale())
		x.Round(x, scale, inf.RoundExact)
		y.Round(y, scale, inf.RoundExact)
		r := new(big.Int).Rem(x.UnscaledBig(), y.UnscaledBig())
		return quantityResult(inf.NewDecBig(r, scale), format(a, b))
	case duration:
		x, y := a.nanoseconds(), b.nanoseconds()
		if y == 0 {
			return nil, errDivision
		}
		if a.kind == b.kind {
			return (a.duration % b.duration).String(), nil
		}
		return durationResult(math.Mod(x, y))
	}
	if _, err := integer(a.number); err != nil {
		return nil, err
	}
	if _, err := integer(b.number); err != nil {
		return nil, err
	}
	if b.number == 0 {
		return nil, errDivision
	}
	return math.Mod(a.number, b.number), nil
}

// sum adds up a list of one kind.
func sum(ev *evaluation, args []any) (any, error) {
	list := args[0].([]any)
	if len(list) == 0 {
		return 0.0, nil
	}
	if err := ev.step(8 * len(list)); err != nil {
		return nil, err
	}
	total, err := operandOf(list[0])
	if err != nil {
		return nil, err
	}
	for _, v := range list[1:] {
		o, err := operandOf(v)
		if err != nil {
			return nil, err
		}
		if o.kind != total.kind {
			return nil, fmt.Errorf("cannot add %s and %s", total.kind, o.kind)
		}
		switch o.kind {
		case quantity:
			total.quantity.Add(o.quantity)
		case duration:
			if total.duration, err = addDurations(total.duration, o.duration); err != nil {
				return nil, err
			}
		default:
			total.number += o.number
		}
	}
	switch total.kind {
	case quantity:
		return total.quantity.String(), nil
	case duration:
		return total.duration.String(), nil
	}
	return total.number, nil
}

// maxDigits is about what a float64 can hold after the point.
const maxDigits = 15

// round rounds half away from zero.
func round(_ *evaluation, args []any) (any, error) {
	digits, err := integer(args[1])
	if err != nil || digits < 0 || digits > maxDigits {
		return nil, fmt.Errorf("the number of digits must be a whole number from 0 to %d", maxDigits)
	}
	scale := math.Pow10(digits)
	scaled := args[0].(float64) * scale
	if math.IsInf(scaled, 0) {
		return args[0], nil
	}
	return math.Round(scaled) / scale, nil
}
