package sigstore

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds nested JSON values.
const maxDepth = 64

var errJSON = errors.New("malformed JSON")

// checkJSON accepts exactly one JSON value: valid UTF-8 without a byte order mark, no name twice in an object, nothing
// after it, at most maxDepth levels deep, and no array of more than maxArray elements (0: any number). Two readers that
// follow the standard then read the same from it.
func checkJSON(b []byte, maxArray int) error {
	if !utf8.Valid(b) {
		return fmt.Errorf("%w: not UTF-8", errJSON)
	}
	s := scanner{b: b, maxArray: maxArray}
	if err := s.value(1); err != nil {
		return err
	}
	if s.blank(); s.i != len(s.b) {
		return fmt.Errorf("%w: data after the value", errJSON)
	}
	return nil
}

type scanner struct {
	b        []byte
	i        int
	maxArray int
}

func (s *scanner) blank() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// next returns the next byte that is no blank without passing it; 0 at the end.
func (s *scanner) next() byte {
	if s.blank(); s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

func (s *scanner) value(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: more than %d levels", errJSON, maxDepth)
	}
	switch c := s.next(); {
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.array(depth)
	case c == '"':
		_, err := s.text(false)
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	}
	return errJSON
}

func (s *scanner) word(w string) error {
	if !strings.HasPrefix(string(s.b[s.i:min(len(s.b), s.i+len(w))]), w) {
		return errJSON
	}
	s.i += len(w)
	return nil
}

func (s *scanner) object(depth int) error {
	s.i++
	if s.next() == '}' {
		s.i++
		return nil
	}
	var names names
	for {
		if s.next() != '"' {
			return errJSON
		}
		name, err := s.text(true)
		if err != nil {
			return err
		}
		if !names.add(name) {
			return fmt.Errorf("%w: the name %.40q appears twice", errJSON, name)
		}
		if s.next() != ':' {
			return errJSON
		}
		s.i++
		if err := s.value(depth + 1); err != nil {
			return err
		}
		c := s.next()
		s.i++
		switch c {
		case ',':
		case '}':
			return nil
		default:
			return errJSON
		}
	}
}

func (s *scanner) array(depth int) error {
	s.i++
	if s.next() == ']' {
		s.i++
		return nil
	}
	for n := 1; ; n++ {
		if s.maxArray > 0 && n > s.maxArray {
			return fmt.Errorf("%w: a list of more than %d", errJSON, s.maxArray)
		}
		if err := s.value(depth + 1); err != nil {
			return err
		}
		c := s.next()
		s.i++
		switch c {
		case ',':
		case ']':
			return nil
		default:
			return errJSON
		}
	}
}

// text passes a string and returns what it means, if that is wanted: long ones are not copied for nothing.
func (s *scanner) text(wanted bool) (string, error) {
	start, escaped := s.i, false
	for s.i++; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			switch {
			case !wanted && escaped && !json.Valid(s.b[start:s.i]):
				return "", errJSON
			case !wanted:
				return "", nil
			case !escaped:
				return string(s.b[start+1 : s.i-1]), nil
			}
			var t string
			if err := json.Unmarshal(s.b[start:s.i], &t); err != nil {
				return "", errJSON
			}
			return t, nil
		case c == '\\':
			escaped = true
			s.i++
		case c < 0x20:
			return "", errJSON
		}
	}
	return "", errJSON
}

func (s *scanner) number() error {
	start := s.i
	for s.i < len(s.b) && strings.IndexByte("+-.eE0123456789", s.b[s.i]) >= 0 {
		s.i++
	}
	if !json.Valid(s.b[start:s.i]) {
		return errJSON
	}
	return nil
}

// names are the names seen in an object: a list while it is short, a set when it grows.
type names struct {
	list []string
	set  map[string]struct{}
}

// add tells whether the name is new.
func (n *names) add(name string) bool {
	if n.set == nil {
		for _, seen := range n.list {
			if seen == name {
				return false
			}
		}
		if n.list = append(n.list, name); len(n.list) > 16 {
			n.set = make(map[string]struct{}, 2*len(n.list))
			for _, seen := range n.list {
				n.set[seen] = struct{}{}
			}
		}
		return true
	}
	if _, seen := n.set[name]; seen {
		return false
	}
	n.set[name] = struct{}{}
	return true
}

// object splits a JSON object that checkJSON accepted into its fields, by their exact names; they are parts of raw. A name
// that differs from a known one in case alone is an error: other readers would take it for the known one.
func object(raw json.RawMessage, known ...string) (map[string]json.RawMessage, error) {
	if len(raw) == 0 || raw[0] != '{' {
		return nil, errors.New("not a JSON object")
	}
	fields := map[string]json.RawMessage{}
	s := scanner{b: raw, i: 1}
	for c := s.next(); c != '}'; c = s.next() {
		name, err := s.field(fields)
		if err != nil {
			return nil, err
		}
		for _, k := range known {
			if name != k && strings.EqualFold(name, k) {
				return nil, fmt.Errorf("the name %.40q is a variant of %q", name, k)
			}
		}
	}
	return fields, nil
}

// field passes one field of an object, and the comma behind it.
func (s *scanner) field(fields map[string]json.RawMessage) (name string, err error) {
	if s.next() != '"' {
		return "", errJSON
	}
	if name, err = s.text(true); err != nil || s.next() != ':' {
		return "", errJSON
	}
	s.i++
	s.blank()
	start := s.i
	if err := s.value(1); err != nil {
		return "", err
	}
	fields[name] = json.RawMessage(s.b[start:s.i:s.i])
	switch s.next() {
	case ',':
		s.i++
	case '}':
	default:
		return "", errJSON
	}
	return name, nil
}

// text reads a JSON string; ok is false for every other value and for none.
func text(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return s, json.Unmarshal(raw, &s) == nil
}

// decoded reads a JSON string of base64; ok is false for every other value and for none.
func decoded(raw json.RawMessage) (b []byte, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, false
	}
	encoded := []byte(raw[1 : len(raw)-1])
	if bytes.IndexByte(encoded, '\\') >= 0 {
		s, ok := text(raw)
		if !ok {
			return nil, false
		}
		encoded = []byte(s)
	}
	b = make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
	n, err := base64.StdEncoding.Decode(b, encoded)
	return b[:n], err == nil
}

// texts are the string values of an object. An absent or null object has none.
func texts(raw json.RawMessage) (map[string]string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	fields, err := object(raw)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(fields))
	for name, raw := range fields {
		if s, ok := text(raw); ok {
			values[name] = s
		}
	}
	return values, nil
}
