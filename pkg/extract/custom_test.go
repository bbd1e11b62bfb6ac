package extract_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/extract"
)

type place struct {
	path, value, key, name, filter string
	convert                        func(string) (string, error)
}

func custom(t testing.TB, kind string, places ...place) extract.Custom {
	t.Helper()
	out := extract.Custom{kind: nil}
	for _, p := range places {
		compiled, err := extract.CompilePlace(p.path, p.value, p.key, p.name, p.convert)
		if err != nil {
			t.Fatal(err)
		}
		if p.filter != "" {
			if compiled, err = compiled.Only(p.filter); err != nil {
				t.Fatal(err)
			}
		}
		out[kind] = append(out[kind], compiled)
	}
	return out
}

// VI 4.3(1)-(5): where the images are, what tells them apart, and what is no image.
func TestCustomImages(t *testing.T) {
	t.Parallel()
	const task = `{"spec": {"image": "top:1", "steps": [{"name": "b", "image": "b:1"}, {"name": "a", "image": "a:1"}, {"name": "none"}, {"name": "blank", "image": " "}, null],
		"sidecars": {"z/z": {"ref": "z:1"}, "y~y": {"ref": "y:1"}}, "list": ["l:1", 3, "l:2"]}}`
	for name, c := range map[string]struct {
		places []place
		want   []extract.Use
	}{
		"last segment":              {[]place{{path: "/spec/image"}}, []extract.Use{{Pointer: "/spec/image", Category: "custom", Key: "/spec/image", Value: "top:1"}}},
		"blanks and empty segments": {[]place{{path: "// spec / image /"}}, []extract.Use{{Pointer: "/spec/image", Category: "custom", Key: "/spec/image", Value: "top:1"}}},
		"list": {[]place{{path: "/spec/steps/*/image"}}, []extract.Use{
			{Pointer: "/spec/steps/0/image", Category: "custom", Key: "/spec/steps/0/image", Value: "b:1"},
			{Pointer: "/spec/steps/1/image", Category: "custom", Key: "/spec/steps/1/image", Value: "a:1"}}},
		"value, key and name": {[]place{{path: "/spec/steps/*", value: "image", key: "name", name: "steps"}}, []extract.Use{
			{Pointer: "/spec/steps/0/image", Category: "steps", Key: "b", Value: "b:1"},
			{Pointer: "/spec/steps/1/image", Category: "steps", Key: "a", Value: "a:1"}}},
		"map in the order of its keys": {[]place{{path: "/spec/sidecars/*/ref"}}, []extract.Use{
			{Pointer: "/spec/sidecars/y~0y/ref", Category: "custom", Key: "/spec/sidecars/y~0y/ref", Value: "y:1"},
			{Pointer: "/spec/sidecars/z~1z/ref", Category: "custom", Key: "/spec/sidecars/z~1z/ref", Value: "z:1"}}},
		"texts of a list": {[]place{{path: "/spec/list/*"}}, []extract.Use{
			{Pointer: "/spec/list/0", Category: "custom", Key: "/spec/list/0", Value: "l:1"},
			{Pointer: "/spec/list/2", Category: "custom", Key: "/spec/list/2", Value: "l:2"}}},
		"absent":          {[]place{{path: "/spec/none/*/image"}, {path: "/none/image"}}, nil},
		"absent, value":   {[]place{{path: "/spec", value: "none"}}, nil},
		"the same, twice": {[]place{{path: "/spec/image"}, {path: "/spec", value: "image"}}, []extract.Use{{Pointer: "/spec/image", Category: "custom", Key: "/spec/image", Value: "top:1"}}},
		"two places of one name": {[]place{{path: "/spec/image", name: "n"}, {path: "/spec/steps/*", value: "image", key: "name", name: "n"}}, []extract.Use{
			{Pointer: "/spec/image", Category: "n", Key: "/spec/image", Value: "top:1"},
			{Pointer: "/spec/steps/0/image", Category: "n", Key: "b", Value: "b:1"},
			{Pointer: "/spec/steps/1/image", Category: "n", Key: "a", Value: "a:1"}}},
		"of one key": {[]place{{path: "/spec/steps/*", value: "image", key: "name", filter: "a"}}, []extract.Use{
			{Pointer: "/spec/steps/1/image", Category: "custom", Key: "a", Value: "a:1"}}},
		"of a key that none has": {[]place{{path: "/spec/steps/*", value: "image", key: "name", filter: "A"}}, nil},
		"of one key, elsewhere":  {[]place{{path: "/spec/steps/*", value: "image", key: "image", filter: "b:1"}}, []extract.Use{{Pointer: "/spec/steps/0/image", Category: "custom", Key: "b:1", Value: "b:1"}}},
		"converted": {[]place{{path: "/spec/image", convert: func(s string) (string, error) { return "r.io/" + s, nil }}}, []extract.Use{
			{Pointer: "/spec/image", Category: "custom", Key: "/spec/image", Value: "r.io/top:1", From: "top:1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, own, err := custom(t, "Task", c.places...).Images("Task", object(t, task))
			if d := cmp.Diff(c.want, got); d != "" || !own || err != nil {
				t.Errorf("%v %v %s", own, err, d)
			}
			if got, own, err := custom(t, "Task", c.places...).Images("Pod", object(t, task)); got != nil || own || err != nil {
				t.Errorf("another kind: %v %v %v", got, own, err)
			}
		})
	}
}

// VI 4.3(4), A-83: elements of one key are all there.
func TestA83EqualKeys(t *testing.T) {
	t.Parallel()
	o := object(t, `{"spec": {"steps": [{"name": "a", "image": "good:1"}, {"name": "a", "image": "evil:1"}], "more": [{"name": "a", "image": "more:1"}]}}`)
	c := custom(t, "Task", place{path: "/spec/steps/*", value: "image", key: "name", name: "n"}, place{path: "/spec/more/*", value: "image", key: "name", name: "n"})
	got, _, err := c.Images("Task", o)
	if err != nil || len(got) != 3 {
		t.Errorf("%v %v", got, err)
	}
}

// VI 4.2(2), 4.3: what cannot be read is an error with its place, never an object without images.
func TestCustomErrors(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct {
		object string
		places []place
	}{
		"/spec/steps: invalid type":           {`{"spec": {"steps": "x"}}`, []place{{path: "/spec/steps/*/image"}}},
		"/spec/steps/0: invalid image config": {`{"spec": {"steps": ["x"]}}`, []place{{path: "/spec/steps/*/image"}}},
		"/spec: invalid image config":         {`{"spec": []}`, []place{{path: "/spec/image"}}},
		"/spec/steps/0/name: invalid key":     {`{"spec": {"steps": [{"image": "x"}]}}`, []place{{path: "/spec/steps/*", value: "image", key: "name"}}},
		"/spec/steps/0/name: invalid key ":    {`{"spec": {"steps": [{"name": 1, "image": "x"}]}}`, []place{{path: "/spec/steps/*", value: "image", key: "name"}}},
		"/spec/steps/1/name: invalid key":     {`{"spec": {"steps": [{"image": "x"}, {"name": ["a"], "image": "x"}]}}`, []place{{path: "/spec/steps/*", value: "image", key: "name", filter: "a"}}},
		"no extractors found for Task":        {`{}`, nil},
		"/spec/image: no":                     {`{"spec": {"image": "x"}}`, []place{{path: "/spec/image", convert: func(string) (string, error) { return "", errors.New("no") }}}},
		"more than 256 images in one object":  {`{"l": [` + strings.Repeat(`"x",`, 256) + `"x"]}`, []place{{path: "/l/*"}}},
	} {
		uses, own, err := custom(t, "Task", c.places...).Images("Task", object(t, c.object))
		if err == nil || err.Error() != strings.TrimSpace(want) || !own || strings.HasPrefix(want, "/spec/steps/0/name") != (len(uses) == 1) {
			t.Errorf("%s: %v, %v", want, err, uses)
		}
	}
	if _, _, err := custom(t, "Task", place{path: "/l/*"}).Images("Task", object(t, `{"l": [`+strings.Repeat(`"x",`, 255)+`"x"]}`)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	for _, p := range []place{{path: ""}, {path: " / "}, {path: "/a/*", key: "name"}} {
		if _, err := extract.CompilePlace(p.path, p.value, p.key, p.name, nil); err == nil {
			t.Errorf("%+v compiles", p)
		}
	}
	if p, err := extract.CompilePlace("/a/*", "image", "", "", nil); err != nil {
		t.Error(err)
	} else if _, err := p.Only("x"); err == nil {
		t.Error("a filter without a key")
	}
}

// VI 6.3(5), A-83: nothing odd hides the images beside it, in whatever place it stands.
func TestA83ImagesBesideErrors(t *testing.T) {
	t.Parallel()
	o := object(t, `{"spec": {"steps": [{"name": "a", "image": "a:1"}, "x", {"image": "b:1"}, {"name": "c", "image": "c:1"}], "more": {"image": "no"}, "last": "d:1"}}`)
	refuse := func(s string) (string, error) {
		if s == "no" {
			return "", errors.New("no")
		}
		return s, nil
	}
	c := custom(t, "Task", place{path: "/spec/steps/*", value: "image", key: "name"}, place{path: "/spec/more/image", convert: refuse}, place{path: "/spec/last"})
	uses, own, err := c.Images("Task", o)
	want := []extract.Use{
		{Pointer: "/spec/steps/0/image", Category: "custom", Key: "a", Value: "a:1"},
		{Pointer: "/spec/steps/2/image", Category: "custom", Value: "b:1"},
		{Pointer: "/spec/steps/3/image", Category: "custom", Key: "c", Value: "c:1"},
		{Pointer: "/spec/last", Category: "custom", Key: "/spec/last", Value: "d:1"},
	}
	if d := cmp.Diff(want, uses); d != "" || !own || err == nil || err.Error() != "/spec/steps/1: invalid image config" {
		t.Errorf("%v %s", err, d)
	}
}

// Nothing in an object makes the extraction panic or give a place that is not there.
func FuzzCustom(f *testing.F) {
	f.Add(`{"spec": {"steps": [{"image": "a"}]}}`, "/spec/steps/*/image", "", "")
	f.Add(`{"a": {"b/c": "x"}}`, "/a/*", "", "")
	f.Fuzz(func(t *testing.T, text, path, value, key string) {
		p, err := extract.CompilePlace(path, value, key, "", nil)
		if err != nil || !strings.HasPrefix(strings.TrimSpace(text), "{") {
			return
		}
		o := map[string]any{}
		if json.Unmarshal([]byte(text), &o) != nil {
			return
		}
		uses, _, err := extract.Custom{"K": {p}}.Images("K", o)
		if errors.Is(err, extract.ErrTooMany) && uses != nil {
			t.Error("too many images, and some")
		}
		for _, u := range uses {
			if fmt.Sprint(at(o, u.Pointer)) != u.Value {
				t.Errorf("%s: %v, not %s", u.Pointer, at(o, u.Pointer), u.Value)
			}
		}
	})
}

// at is what a JSON pointer leads to.
func at(value any, pointer string) any {
	for _, part := range strings.Split(pointer, "/")[1:] {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch v := value.(type) {
		case map[string]any:
			value = v[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil {
				return err
			}
			value = v[i]
		}
	}
	return value
}
