// Package extract finds the image references inside a Kubernetes object, with the place of each.
package extract

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Use is one place of an object that names an image.
type Use struct {
	// Pointer is the JSON pointer of the image string.
	Pointer string
	// Category is the list's name (containers, volumes, …) and Key the element's name; together they tell which
	// element of an older version of the object this one was.
	Category string
	Key      string
	// Value is the image reference: the string as written, or what a place of a rule's own made of it.
	Value string
	// From is the string as written where Value was made of it; empty otherwise. Nothing can be written back there.
	From string
}

// Limit is the largest number of images in one object.
const Limit = 256

// ErrTooMany says that an object names more than Limit images.
var ErrTooMany = errors.New("more than 256 images in one object")

// base is the path to the pod spec by kind. The API group plays no part.
var base = map[string][]string{
	"Pod":                   {"spec"},
	"DaemonSet":             {"spec", "template", "spec"},
	"Deployment":            {"spec", "template", "spec"},
	"ReplicaSet":            {"spec", "template", "spec"},
	"ReplicationController": {"spec", "template", "spec"},
	"StatefulSet":           {"spec", "template", "spec"},
	"Job":                   {"spec", "template", "spec"},
	"CronJob":               {"spec", "jobTemplate", "spec", "template", "spec"},
	"PodTemplate":           {"template", "spec"},
}

// lists are the places below a pod spec, in image order.
var lists = []struct {
	name  string
	field []string
}{
	{"initContainers", []string{"image"}},
	{"containers", []string{"image"}},
	{"ephemeralContainers", []string{"image"}},
	{"volumes", []string{"image", "reference"}},
}

// Carries tells whether objects of the kind are looked into.
func Carries(kind string) bool { return base[kind] != nil }

// Images returns every image of the object in image order: init containers, containers, ephemeral containers, image
// volumes. A missing or blank image is none. An element or an intermediate of another type than the pod spec's is an
// error, because what cannot be read is not an object without images; the images that can be read stand beside the first
// error. Of too many there are none.
func Images(kind string, object map[string]any) ([]Use, error) {
	path := base[kind]
	if path == nil {
		return nil, nil
	}
	spec, pointer := object, ""
	for _, field := range path {
		next, ok, err := mapField(spec, field)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", pointer, field, err)
		}
		if !ok {
			return nil, nil
		}
		spec, pointer = next, pointer+"/"+field
	}
	var uses []Use
	var odd error
	note := func(at string, err error) {
		if odd == nil {
			odd = fmt.Errorf("%s: %w", at, err)
		}
	}
	for _, l := range lists {
		value, ok := spec[l.name]
		if !ok || value == nil {
			continue
		}
		elements, ok := value.([]any)
		if !ok {
			note(pointer+"/"+l.name, errType)
			continue
		}
		for i, e := range elements {
			use, ok, err := one(e, l.field)
			at := pointer + "/" + l.name + "/" + strconv.Itoa(i)
			if err != nil {
				note(at, err)
			}
			if err != nil || !ok {
				continue
			}
			if len(uses) == Limit {
				return nil, ErrTooMany
			}
			use.Category, use.Pointer = l.name, at+"/"+strings.Join(l.field, "/")
			uses = append(uses, use)
		}
	}
	return uses, odd
}

var errType = errors.New("invalid image config")

func one(element any, field []string) (Use, bool, error) {
	object, ok := element.(map[string]any)
	if !ok {
		return Use{}, false, errType
	}
	name, _ := object["name"].(string)
	for _, f := range field[:len(field)-1] {
		next, ok, err := mapField(object, f)
		if err != nil || !ok {
			return Use{}, false, err
		}
		object = next
	}
	value, _ := object[field[len(field)-1]].(string)
	if strings.TrimSpace(value) == "" {
		return Use{}, false, nil
	}
	return Use{Key: name, Value: value}, true, nil
}

func mapField(object map[string]any, field string) (map[string]any, bool, error) {
	value, ok := object[field]
	if !ok || value == nil {
		return nil, false, nil
	}
	m, ok := value.(map[string]any)
	if !ok {
		return nil, false, errType
	}
	return m, true, nil
}
