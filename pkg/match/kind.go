package match

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/signet-policy/signet/pkg/wildcard"
)

// Kind is a parsed kind selector: Kind, Kind/sub, version/Kind, version/Kind/sub, group/version/Kind,
// group/version/Kind/sub or */sub. A "." may stand for the last "/" before a subresource. Each part may hold
// wildcards; an omitted part means any, an omitted subresource none.
type Kind struct {
	text                              string
	group, version, kind, subresource wildcard.Pattern
}

var version = regexp.MustCompile(`^(v\d+((alpha|beta)\d+)?|\*)$`)

// ParseKind reads a kind selector.
func ParseKind(s string) (Kind, error) {
	segments := strings.Split(s, "/")
	last := len(segments) - 1
	if kind, sub, ok := strings.Cut(segments[last], "."); ok {
		segments = append(segments[:last], kind, sub)
	}
	for _, p := range segments {
		if p == "" {
			return Kind{}, fmt.Errorf("%q is not a kind: an empty part", s)
		}
	}
	var g, v, k, sub string
	switch len(segments) {
	case 1:
		g, v, k = "*", "*", segments[0]
	case 2:
		first, second := segments[0], segments[1]
		switch {
		case first == "*" && unicode.IsLower(rune(second[0])):
			g, v, k, sub = "*", "*", "*", second
		case version.MatchString(first):
			g, v, k = "*", first, second
		default:
			g, v, k, sub = "*", "*", first, second
		}
	case 3:
		// "*" may be a group as well as a version: "*/v1/Pod" is told from "*/Pod/status" by what follows.
		qualified := version.MatchString(segments[1]) && !unicode.IsLower(rune(segments[2][0]))
		if version.MatchString(segments[0]) && !qualified {
			g, v, k, sub = "*", segments[0], segments[1], segments[2]
		} else {
			g, v, k = segments[0], segments[1], segments[2]
		}
	case 4:
		g, v, k, sub = segments[0], segments[1], segments[2], segments[3]
	default:
		return Kind{}, fmt.Errorf("%q is not a kind: too many parts", s)
	}
	out := Kind{text: s}
	for _, p := range []struct {
		out  *wildcard.Pattern
		text string
	}{{&out.group, g}, {&out.version, v}, {&out.kind, k}, {&out.subresource, sub}} {
		compiled, err := wildcard.Compile(p.text)
		if err != nil {
			return Kind{}, fmt.Errorf("%q is not a kind: %w", s, err)
		}
		*p.out = compiled
	}
	return out, nil
}

// String is the selector as written.
func (k *Kind) String() string { return k.text }

// Parts are the four parts of the selector as patterns; the subresource of a selector without one is "".
func (k *Kind) Parts() (group, version, kind, subresource wildcard.Pattern) {
	return k.group, k.version, k.kind, k.subresource
}
