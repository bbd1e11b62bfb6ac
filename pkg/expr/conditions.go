package expr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Conditions are the conditions of a precondition, an attestation or a deny rule: blocks of any and all, every one of which must
// hold. They never change and are safe for concurrent use.
type Conditions struct {
	blocks []block
}

type block struct {
	any    []condition // at least one must hold, if hasAny
	all    []condition // every one must hold
	hasAny bool
}

type condition struct {
	key      *Template
	value    *Template
	operator operator
	message  *Template
}

// Compile reads conditions: an object with any and all, a list of such objects, or a plain list of conditions, which counts as
// all. Operators, variables and expressions are checked as far as that is possible without data; the error tells where the
// mistake is, as in [0].any[1].operator. No conditions, which is also null, always hold.
func Compile(raw []byte) (*Conditions, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return &Conditions{}, nil
	}
	if len(raw) > maxParse {
		return nil, fmt.Errorf("%w: conditions of more than %d bytes", ErrLimit, maxParse)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // normalized below; a number that is none is found there
	var doc any
	if err := decoder.Decode(&doc); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if decoder.More() {
		return nil, errors.New("not JSON: text after the conditions")
	}
	return CompileValue(doc)
}

// CompileValue reads conditions that are decoded already.
func CompileValue(doc any) (*Conditions, error) {
	n := normalizer{budget: &budget{limits: Limits{}.withDefaults()}}
	doc, _, err := n.value(doc, 0)
	if err != nil {
		return nil, err
	}
	if doc, err = resolveReferences(doc); err != nil {
		return nil, err
	}
	c := &Conditions{}
	switch t := doc.(type) {
	case nil:
		return c, nil
	case map[string]any:
		b, err := compileBlock(t, "")
		if err != nil {
			return nil, err
		}
		c.blocks = []block{b}
		return c, nil
	case []any:
		return c, c.compileList(t)
	}
	return nil, fmt.Errorf("conditions must be an object with any and all, or a list, not %s", typeName(doc))
}

func (c *Conditions) compileList(list []any) error {
	plain := 0
	for i, v := range list {
		object, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("[%d]: must be an object, not %s", i, typeName(v))
		}
		if _, ok := object["operator"]; ok {
			plain++
		}
	}
	if plain > 0 {
		all, err := compileConditions(list, "")
		c.blocks = []block{{all: all}}
		return err
	}
	for i, v := range list {
		b, err := compileBlock(v.(map[string]any), fmt.Sprintf("[%d]", i))
		if err != nil {
			return err
		}
		c.blocks = append(c.blocks, b)
	}
	return nil
}

func compileBlock(object map[string]any, at string) (block, error) {
	var b block
	for name, v := range object {
		if name != "any" && name != "all" {
			return b, located(strings.TrimPrefix(at+"."+name, "."), errors.New("unknown field, conditions have any and all"))
		}
		if v == nil {
			continue
		}
		inside := strings.TrimPrefix(at+"."+name, ".")
		list, ok := v.([]any)
		if !ok {
			return b, located(inside, fmt.Errorf("must be a list, not %s", typeName(v)))
		}
		conditions, err := compileConditions(list, inside)
		if err != nil {
			return b, err
		}
		if name == "any" {
			b.any, b.hasAny = conditions, true
		} else {
			b.all = conditions
		}
	}
	return b, nil
}

func compileConditions(list []any, at string) ([]condition, error) {
	out := make([]condition, len(list))
	for i, v := range list {
		inside := fmt.Sprintf("%s[%d]", at, i)
		object, ok := v.(map[string]any)
		if !ok {
			return nil, located(inside, fmt.Errorf("must be a condition, not %s", typeName(v)))
		}
		for name := range object {
			if !slices.Contains([]string{"key", "operator", "value", "message"}, name) {
				return nil, located(inside+"."+name, errors.New("unknown field, a condition has key, operator, value and message"))
			}
		}
		var err error
		c := &out[i]
		if c.operator, err = parseOperator(object["operator"]); err != nil {
			return nil, located(inside+".operator", err)
		}
		if message := object["message"]; message != nil {
			if _, ok := message.(string); !ok {
				return nil, located(inside+".message", fmt.Errorf("must be a string, not %s", typeName(message)))
			}
		}
		for _, field := range []struct {
			name string
			to   **Template
		}{{"key", &c.key}, {"value", &c.value}, {"message", &c.message}} {
			if *field.to, err = compileTemplate(object[field.name], inside+"."+field.name); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// Empty tells whether there are no conditions, so that Eval always holds.
func (c *Conditions) Empty() bool {
	return !slices.ContainsFunc(c.blocks, func(b block) bool { return b.hasAny || len(b.all) > 0 })
}

// Variables returns the expressions of the variables in the conditions, in their order.
func (c *Conditions) Variables() []string {
	seen := map[string]bool{}
	out := []string{}
	for _, b := range c.blocks {
		for _, list := range [][]condition{b.any, b.all} {
			for i := range list {
				for _, t := range []*Template{list[i].key, list[i].value, list[i].message} {
					t.visit(func(v *variable) {
						if !seen[v.source] {
							seen[v.source] = true
							out = append(out, v.source)
						}
					})
				}
			}
		}
	}
	return out
}

// Eval tells whether the conditions hold, with the messages of the conditions that decided it: of those that failed, or of those
// that held. Conditions are evaluated in their order and no further than needed; the first block that fails decides. An
// error means that it cannot be told.
func (c *Conditions) Eval(ctx context.Context, s *Scope) (ok bool, messages []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			ok, messages, err = false, nil, fmt.Errorf("the conditions cannot be evaluated: %s", clip(fmt.Sprint(p)))
		}
	}()
	for i := range c.blocks {
		ok, found, err := c.blocks[i].eval(ctx, s)
		if err != nil {
			return false, nil, err
		}
		if !ok {
			return false, found, nil
		}
		messages = append(messages, found...)
	}
	return true, messages, nil
}

func (b *block) eval(ctx context.Context, s *Scope) (bool, []string, error) {
	var held, failed []string
	anyHolds, allHold := !b.hasAny, true
	for i := range b.any {
		ok, message, err := b.any[i].eval(ctx, s)
		if err != nil {
			return false, nil, located(fmt.Sprintf("any[%d]", i), err)
		}
		if ok {
			anyHolds, held = true, withMessage(held, message)
			break
		}
		failed = withMessage(failed, message)
	}
	for i := range b.all {
		ok, message, err := b.all[i].eval(ctx, s)
		if err != nil {
			return false, nil, located(fmt.Sprintf("all[%d]", i), err)
		}
		if !ok {
			allHold, failed = false, withMessage(failed, message)
			break
		}
		held = withMessage(held, message)
	}
	if anyHolds && allHold {
		return true, held, nil
	}
	return false, failed, nil
}

// withMessage appends a message that is not empty.
func withMessage(list []string, message string) []string {
	if message == "" {
		return list
	}
	return append(list, message)
}

func (c *condition) eval(ctx context.Context, s *Scope) (bool, string, error) {
	key, err := c.key.eval(ctx, s)
	if err != nil {
		return false, "", fmt.Errorf("key: %w", err)
	}
	value, err := c.value.eval(ctx, s)
	if err != nil {
		return false, "", fmt.Errorf("value: %w", err)
	}
	ev := evaluation{ctx: ctx, scope: s}
	ok, err := ev.operate(c.operator, key, value)
	if err != nil {
		return false, "", err
	}
	return ok, c.text(ctx, s), nil
}

// text is the message with its variables replaced. A message decides nothing, so one that cannot be written is shown as it is
// in the policy.
func (c *condition) text(ctx context.Context, s *Scope) string {
	v, err := c.message.eval(ctx, s)
	if err == nil && v == nil {
		return ""
	}
	if err == nil {
		var written string
		if written, err = s.written(ctx, v); err == nil {
			return written
		}
	}
	return c.message.text.source()
}

// source is about the text as it was written.
func (t text) source() string {
	var b strings.Builder
	for _, p := range t {
		if p.variable != nil {
			b.WriteString(opening + " " + p.variable.source + " " + closing)
		}
		b.WriteString(p.literal)
	}
	return b.String()
}

// JoinMessages joins the messages of conditions as they are shown.
func JoinMessages(messages []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(messages), func(m string) bool { return m == "" }), "; ")
}
