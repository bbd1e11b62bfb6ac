package expr

// Prepared is a JSON value that was brought to JMESPath's types and weighed once, so that it can be stored in many Scopes,
// and expressions evaluated on it, without looking at all of it again. It never changes, and the value that it was made of
// must not be changed either. The zero Prepared is null.
type Prepared struct {
	value any
	bytes int64
	depth int
}

// Prepare prepares a value. Limits are those of the value alone: Bytes for its texts and elements, and Depth. The error is
// that of a value that is no JSON, or over a limit (ErrLimit).
func Prepare(value any, limits Limits) (Prepared, error) {
	n := normalizer{budget: &budget{limits: limits.withDefaults()}}
	out, _, err := n.value(value, 0)
	if err != nil {
		return Prepared{}, err
	}
	return Prepared{value: out, bytes: n.budget.bytes, depth: n.deepest}, nil
}

// PrepareList is the list of values that are prepared already.
func PrepareList(items []Prepared) Prepared {
	list := make([]any, len(items))
	out := Prepared{value: list, bytes: int64(overhead * len(items))}
	for i := range items {
		list[i] = items[i].value
		out.bytes += items[i].bytes
		out.depth = max(out.depth, items[i].depth+1)
	}
	return out
}

// IsNull tells whether the value is null.
func (p Prepared) IsNull() bool { return p.value == nil }

// Bytes is what the value weighs: its texts, and a little for every element. In memory it takes several times as much.
func (p Prepared) Bytes() int64 { return p.bytes }
