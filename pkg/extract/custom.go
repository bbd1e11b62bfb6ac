package extract

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Custom are the places that a rule looks at instead of the usual ones, by the kind of the object. A kind that is there
// without places is one of which nothing can be read: an error, and never an object without images.
type Custom map[string][]Place

// Place is where images stand in the objects of a kind.
type Place struct {
	path     []string
	value    string // the field that holds the image; empty when the path ends in an asterisk, at the images themselves
	key      string // the field that names an image; empty for the JSON pointer
	filter   string // the only key that images have here; empty for any
	category string
	convert  func(string) (string, error)
}

// customCategory is the category of a place without a name.
const customCategory = "custom"

// anything stands for every element of a list or map in a path.
const anything = "*"

// CompilePlace compiles one place. The path leads to the image, or with value to the object that holds it; its segments
// are divided by slashes, and an asterisk goes through a list or a map. With convert the text found is turned into a
// reference by it.
func CompilePlace(path, value, key, name string, convert func(string) (string, error)) (Place, error) {
	p := Place{value: value, key: key, category: name, convert: convert}
	for _, segment := range strings.Split(path, "/") {
		if segment = strings.TrimSpace(segment); segment != "" {
			p.path = append(p.path, segment)
		}
	}
	if len(p.path) == 0 {
		return Place{}, errors.New("a path is required")
	}
	if p.category == "" {
		p.category = customCategory
	}
	last := len(p.path) - 1
	if p.value == "" && p.path[last] != anything {
		p.value, p.path = p.path[last], p.path[:last]
	}
	if p.value == "" && p.key != "" {
		return Place{}, errors.New("elements that are texts have no field for a key")
	}
	return p, nil
}

// Only gives the place without the objects whose key is another text: in a list of parameters, say, one of which is an image.
func (p Place) Only(key string) (Place, error) {
	if p.key == "" {
		return Place{}, errors.New("a filter needs a key")
	}
	p.filter = key
	return p, nil
}

// Images returns the images of an object in the order of the places, within a map in the order of its keys; custom is
// false when the rule has no places of its own for the kind. Two places that meet give each image once, and each of two
// images of one key. What is of another type than its path says is an error, beside which stand the images that can be read;
// of too many there are none.
func (c Custom) Images(kind string, object map[string]any) (uses []Use, custom bool, err error) {
	places, custom := c[kind]
	switch {
	case !custom:
		return nil, false, nil
	case len(places) == 0:
		return nil, true, fmt.Errorf("no extractors found for %s", kind)
	}
	found := finder{seen: map[Use]bool{}}
	for i := range places {
		found.place = &places[i]
		found.walk(object, places[i].path, "")
		if found.full {
			return nil, true, ErrTooMany
		}
	}
	return found.uses, true, found.odd
}

// finder collects the images of one object.
type finder struct {
	place *Place
	uses  []Use
	seen  map[Use]bool
	odd   error // the first thing that cannot be read
	full  bool  // more images than the limit
}

func (f *finder) note(at string, err error) {
	if f.odd == nil {
		f.odd = fmt.Errorf("%s: %w", at, err)
	}
}

var (
	errIterated = errors.New("invalid type")
	errKey      = errors.New("invalid key")
)

// walk follows the rest of a path from a value. What is absent holds no image; what is there and is of another type than
// the path says is noted.
func (f *finder) walk(value any, path []string, pointer string) {
	if value == nil || f.full {
		return
	}
	if len(path) > 0 && path[0] == anything {
		switch v := value.(type) {
		case []any:
			for i := range v {
				f.walk(v[i], path[1:], pointer+"/"+strconv.Itoa(i))
			}
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				f.walk(v[k], path[1:], pointer+"/"+escaped(k))
			}
		default:
			f.note(shown(pointer), errIterated)
		}
		return
	}
	if len(path) == 0 && f.place.value == "" {
		f.image(value, "", pointer)
		return
	}
	object, ok := value.(map[string]any)
	if !ok {
		f.note(shown(pointer), errType)
		return
	}
	if len(path) > 0 {
		f.walk(object[path[0]], path[1:], pointer+"/"+escaped(path[0]))
		return
	}
	at, key := pointer+"/"+escaped(f.place.value), ""
	if f.place.key != "" {
		name := object[f.place.key]
		if name == nil && f.place.filter != "" {
			return
		}
		// Where there is no filter, an image without a key is one all the same, and never the one of before.
		if key, ok = name.(string); !ok {
			f.note(pointer+"/"+escaped(f.place.key), errKey)
		}
		if f.place.filter != "" && key != f.place.filter {
			return
		}
	}
	f.image(object[f.place.value], key, at)
}

// image takes one image. A text that is missing or blank is none.
func (f *finder) image(value any, key, pointer string) {
	text, _ := value.(string)
	if strings.TrimSpace(text) == "" {
		return
	}
	if f.place.key == "" {
		key = pointer
	}
	use := Use{Pointer: pointer, Category: f.place.category, Key: key, Value: text}
	if f.place.convert != nil {
		converted, err := f.place.convert(text)
		if err != nil {
			f.note(pointer, err)
			return
		}
		use.Value, use.From = converted, text
	}
	if f.seen[use] {
		return
	}
	if len(f.uses) == Limit {
		f.full = true
		return
	}
	f.seen[use] = true
	f.uses = append(f.uses, use)
}

// escaped writes a name as a part of a JSON pointer (RFC 6901).
func escaped(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// shown is a pointer for people, to whom the empty one of the whole object says nothing.
func shown(pointer string) string {
	if pointer == "" {
		return "/"
	}
	return pointer
}
