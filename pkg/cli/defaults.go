package cli

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

// defaultsJSON is what is left of the v1 policy schema of config/crd when everything but its default values is dropped. A
// test compares it with the schema and can write it anew.
//
//go:embed defaults.json
var defaultsJSON []byte

// defaults is one node of that schema.
type defaults struct {
	Default    any                  `json:"default,omitempty"`
	Properties map[string]*defaults `json:"properties,omitempty"`
	Items      *defaults            `json:"items,omitempty"`
}

func readDefaults() (*defaults, error) {
	d := &defaults{}
	if err := json.Unmarshal(defaultsJSON, d); err != nil {
		return nil, fmt.Errorf("defaults of policies: %w", err)
	}
	return d, nil
}

// fill sets what is absent and has a default, as an API server does: a value's parent first, then its own fields.
func (d *defaults) fill(value any) {
	switch v := value.(type) {
	case map[string]any:
		for name, child := range d.Properties {
			if v[name] == nil && child.Default != nil {
				v[name] = clone(child.Default)
			}
			if v[name] != nil {
				child.fill(v[name])
			}
		}
	case []any:
		for i := range v {
			if d.Items != nil {
				d.Items.fill(v[i])
			}
		}
	}
}

// clone keeps a default that is an object from being shared by those who receive it.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, field := range v {
			m[name] = clone(field)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = clone(v[i])
		}
		return list
	}
	return v
}
