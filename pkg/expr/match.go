package expr

import (
	"fmt"
	"strings"

	"github.com/signet-policy/signet/pkg/wildcard"
)

// maxWildcard is how long a pattern with wildcards may be; a longer one may be data that happens to hold a star.
const maxWildcard = 4 << 10

// wildcard tells whether the pattern, in which * and ? are wildcards, matches all of s.
func (ev *evaluation) wildcard(pattern, s string) (bool, error) {
	if !strings.ContainsAny(pattern, "*?") {
		return pattern == s, nil
	}
	if len(pattern) > maxWildcard {
		return false, fmt.Errorf("%w: pattern of more than %d bytes", ErrLimit, maxWildcard)
	}
	if limit := ev.scope.budget.limits.Regex; int64(len(s)) > limit {
		return false, fmt.Errorf("%w: a pattern on more than %d bytes", ErrLimit, limit)
	}
	if err := ev.step(1 + len(pattern) + len(s)*(1+strings.Count(pattern, "*"))/16); err != nil {
		return false, err
	}
	p, err := wildcard.Compile(pattern)
	if err != nil {
		return false, err
	}
	return p.Matches(s), nil
}
