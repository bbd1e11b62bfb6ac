package settings_test

import (
	"testing"
)

// what the API server is known to ask about, by the ConfigMap and the object alone.
func TestA57Asks(t *testing.T) {
	t.Parallel()
	const off = `{"objectSelector":{"matchExpressions":[{"key":"signet","operator":"NotIn","values":["off"]}]}}`
	labelled := func(labels any) map[string]any {
		return map[string]any{"metadata": map[string]any{"name": "p", "labels": labels}}
	}
	for name, c := range map[string]struct {
		data   map[string]string
		object map[string]any
		want   bool
	}{
		"nothing said":              {nil, labelled(map[string]any{"signet": "off"}), true},
		"no object selector":        {map[string]string{"webhooks": `{"namespaceSelector":{"matchLabels":{"a":"b"}}}`}, labelled(nil), true},
		"an empty one":              {map[string]string{"webhooks": `{"objectSelector":{}}`}, labelled(nil), true},
		"selected":                  {map[string]string{"webhooks": off}, labelled(map[string]any{"signet": "on"}), true},
		"selected, without labels":  {map[string]string{"webhooks": off}, map[string]any{}, true},
		"left out":                  {map[string]string{"webhooks": off}, labelled(map[string]any{"signet": "off"}), false},
		"left out, as a list":       {map[string]string{"webhooks": "[" + off + "]"}, labelled(map[string]any{"signet": "off"}), false},
		"left out, for want of one": {map[string]string{"webhooks": `{"objectSelector":{"matchLabels":{"a":"b"}}}`}, labelled(nil), false},
		"a label that is no text":   {map[string]string{"webhooks": off}, labelled(map[string]any{"signet": 1.0}), false},
		"conditions on the user":    {map[string]string{"matchConditions": `[{name: a, expression: "request.userInfo.username != 'x'"}]`}, labelled(nil), true},
		"conditions on the object":  {map[string]string{"matchConditions": `[{name: a, expression: "true"}, {name: b, expression: "object.kind == 'Pod'"}]`}, labelled(nil), false},
		"on the old object":         {map[string]string{"matchConditions": `[{name: b, expression: "oldObject == null"}]`}, labelled(nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, errs := read(t, c.data, nil)
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			if got := s.Asks(c.object); got != c.want {
				t.Errorf("asked: %v", got)
			}
			// What cannot be read keeps what held before.
			again, errs := read(t, map[string]string{"webhooks": "{", "matchConditions": "{"}, s)
			if got := again.Asks(c.object); got != c.want || len(errs) != 2 {
				t.Errorf("with keys that cannot be read: %v, %v", got, errs)
			}
			if after, _ := read(t, nil, again); !after.Asks(c.object) {
				t.Error("a key that is gone still counts")
			}
		})
	}
}
