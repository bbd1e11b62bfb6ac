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

func object(t testing.TB, text string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

const podSpec = `{
	"volumes": [{"name": "data", "emptyDir": {}}, {"name": "model", "image": {"reference": "v:1"}}],
	"ephemeralContainers": [{"name": "debug", "image": "e:1"}],
	"containers": [{"name": "app", "image": "c:1"}, {"name": "none"}, {"name": "side", "image": "c:2"}],
	"initContainers": [{"name": "init", "image": "i:1", "restartPolicy": "Always"}]
}`

// VI 4.1, A-13, T-010, T-020: every list of every kind, in image order.
func TestT010Images(t *testing.T) {
	t.Parallel()
	at := func(base string) []extract.Use {
		return []extract.Use{
			{Pointer: base + "/initContainers/0/image", Category: "initContainers", Key: "init", Value: "i:1"},
			{Pointer: base + "/containers/0/image", Category: "containers", Key: "app", Value: "c:1"},
			{Pointer: base + "/containers/2/image", Category: "containers", Key: "side", Value: "c:2"},
			{Pointer: base + "/ephemeralContainers/0/image", Category: "ephemeralContainers", Key: "debug", Value: "e:1"},
			{Pointer: base + "/volumes/1/image/reference", Category: "volumes", Key: "model", Value: "v:1"},
		}
	}
	template := `{"spec": {"template": {"spec": ` + podSpec + `}}}`
	for kind, c := range map[string]struct {
		object string
		want   []extract.Use
	}{
		"Pod":                   {`{"spec": ` + podSpec + `}`, at("/spec")},
		"DaemonSet":             {template, at("/spec/template/spec")},
		"Deployment":            {template, at("/spec/template/spec")},
		"ReplicaSet":            {template, at("/spec/template/spec")},
		"ReplicationController": {template, at("/spec/template/spec")},
		"StatefulSet":           {template, at("/spec/template/spec")},
		"Job":                   {template, at("/spec/template/spec")},
		"CronJob":               {`{"spec": {"jobTemplate": ` + template + `}}`, at("/spec/jobTemplate/spec/template/spec")},
		"PodTemplate":           {`{"template": {"spec": ` + podSpec + `}}`, at("/template/spec")},
		"ConfigMap":             {`{"spec": ` + podSpec + `}`, nil},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			got, err := extract.Images(kind, object(t, c.object))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if extract.Carries(kind) != (c.want != nil) {
				t.Errorf("Carries: %v", extract.Carries(kind))
			}
		})
	}
}

// VI 4.1(5), A-09, A-90: what is no image, and what cannot be read.
func TestA09Forms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		object string
		images int
		err    string
	}{
		"no spec":                 {`{}`, 0, ""},
		"null spec":               {`{"spec": null}`, 0, ""},
		"null list":               {`{"spec": {"containers": null}}`, 0, ""},
		"empty list":              {`{"spec": {"containers": []}}`, 0, ""},
		"missing image":           {`{"spec": {"containers": [{"name": "a"}]}}`, 0, ""},
		"empty image":             {`{"spec": {"containers": [{"name": "a", "image": ""}]}}`, 0, ""},
		"blank image":             {`{"spec": {"containers": [{"name": "a", "image": " \t\n"}]}}`, 0, ""},
		"image of another type":   {`{"spec": {"containers": [{"name": "a", "image": 5}]}}`, 0, ""},
		"name of another type":    {`{"spec": {"containers": [{"name": 5, "image": "a"}]}}`, 1, ""},
		"padded image is kept":    {`{"spec": {"containers": [{"name": "a", "image": " a"}]}}`, 1, ""},
		"volume without image":    {`{"spec": {"volumes": [{"name": "a", "image": null}, {"name": "b", "image": {}}]}}`, 0, ""},
		"spec of another type":    {`{"spec": "x"}`, 0, "/spec: invalid image config"},
		"list of another type":    {`{"spec": {"containers": {}}}`, 0, "/spec/containers: invalid image config"},
		"element of another type": {`{"spec": {"containers": [{"name": "a", "image": "a"}, "x"]}}`, 1, "/spec/containers/1: invalid image config"},
		"images beside odd ones":  {`{"spec": {"initContainers": "x", "containers": [{"name": "a", "image": "a"}, null, {"image": "b"}], "volumes": [{"image": []}, {"name": "v", "image": {"reference": "c"}}]}}`, 3, "/spec/initContainers: invalid image config"},
		"null element":            {`{"spec": {"containers": [null]}}`, 0, "/spec/containers/0: invalid image config"},
		"volume image as text":    {`{"spec": {"volumes": [{"name": "a", "image": "x"}]}}`, 0, "/spec/volumes/0: invalid image config"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := extract.Images("Pod", object(t, c.object))
			switch {
			case c.err == "" && err != nil, c.err != "" && (err == nil || err.Error() != c.err):
				t.Fatalf("%v, want %q", err, c.err)
			case len(got) != c.images: // what can be read is there beside an error
				t.Errorf("%v", got)
			}
		})
	}
	if _, err := extract.Images("Deployment", object(t, `{"spec": {"template": []}}`)); err == nil || err.Error() != "/spec/template: invalid image config" {
		t.Errorf("%v", err)
	}
}

// SEC 7: images per object.
func TestLimit(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]error{extract.Limit: nil, extract.Limit + 1: extract.ErrTooMany} {
		var elements []string
		for i := range n {
			elements = append(elements, fmt.Sprintf(`{"name": "c%d", "image": "c:%d"}`, i, i))
		}
		got, err := extract.Images("Pod", object(t, `{"spec": {"containers": [`+strings.Join(elements, ",")+`, {"name": "blank"}]}}`))
		if !errors.Is(err, want) || want == nil && len(got) != n || want != nil && got != nil {
			t.Errorf("%d: %d, %v", n, len(got), err)
		}
	}
}

// whatever an object looks like, extraction ends, and with no place that is not one.
func FuzzImages(f *testing.F) {
	f.Add("Pod", `{"spec": `+podSpec+`}`)
	f.Add("CronJob", `{"spec": {"jobTemplate": []}}`)
	f.Fuzz(func(t *testing.T, kind, text string) {
		var o map[string]any
		if json.Unmarshal([]byte(text), &o) != nil {
			return
		}
		uses, err := extract.Images(kind, o)
		if errors.Is(err, extract.ErrTooMany) && uses != nil {
			t.Error("too many images, and some")
		}
		for _, u := range uses {
			if u.Value == "" || !strings.HasPrefix(u.Pointer, "/") {
				t.Errorf("%+v", u)
			}
		}
	})
}
