package registry

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// challenge is what a 401 asks for.
type challenge struct {
	bearer  bool
	realm   string
	service string
	scope   string
}

const maxChallenge = 4 * kib

// parseChallenge returns the first usable challenge of an answer, Bearer before Basic. ok is false when there is none.
func parseChallenge(h http.Header) (c challenge, ok bool) {
	for _, line := range h.Values("WWW-Authenticate") {
		if len(line) > maxChallenge {
			continue
		}
		scheme, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToLower(scheme) {
		case "bearer":
			params := parseParams(rest)
			if params["realm"] != "" {
				return challenge{bearer: true, realm: params["realm"], service: params["service"], scope: params["scope"]}, true
			}
		case "basic":
			ok = true
		}
	}
	return challenge{}, ok
}

// parseParams reads name="value" pairs with commas between them. It stops at what it cannot read.
func parseParams(s string) map[string]string {
	params := map[string]string{}
	for {
		s = strings.TrimLeft(s, " \t,")
		name, rest, ok := strings.Cut(s, "=")
		if !ok || strings.ContainsAny(name, " \t,\"") {
			return params
		}
		name = strings.ToLower(name)
		var value string
		if quoted, isQuoted := strings.CutPrefix(rest, `"`); isQuoted {
			var b strings.Builder
			i := 0
			for ; i < len(quoted) && quoted[i] != '"'; i++ {
				if quoted[i] == '\\' && i+1 < len(quoted) {
					i++
				}
				b.WriteByte(quoted[i])
			}
			if i == len(quoted) {
				return params
			}
			value, s = b.String(), quoted[i+1:]
		} else {
			end := strings.IndexAny(rest, " \t,")
			if end < 0 {
				end = len(rest)
			}
			value, s = rest[:end], rest[end:]
		}
		if _, twice := params[name]; !twice {
			params[name] = value
		}
	}
}

// realmRule decides about a token realm: whether it may be asked at all, and whether with the registry's credentials. Named
// realms of the registry's host take the place of the rule about domains.
func realmRule(registry *url.URL, realm string, named Realms) (u *url.URL, credentials, ok bool) {
	u, err := url.Parse(realm)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, false, false
	}
	loopback := isLoopback(registry.Hostname())
	if guardHost(u.Hostname(), loopback) != nil {
		return nil, false, false
	}
	same := strings.EqualFold(u.Hostname(), registry.Hostname())
	switch u.Scheme {
	case "https":
		if list, found := named[hostKey(registry)]; found {
			return u, same || slices.Contains(list, hostKey(u)), true
		}
		return u, same || sameSite(u.Hostname(), registry.Hostname()), true
	case "http":
		// Plain HTTP is no worse than the registry's own only where that is plain too.
		if registry.Scheme != "http" || !same && !(loopback && isLoopback(u.Hostname())) {
			return nil, false, false
		}
		return u, same, true
	default:
		return nil, false, false
	}
}

// sameSite tells whether two names belong to one registrable domain. Names under a suffix that nobody registers
// (cluster.local, internal) are strangers to each other.
func sameSite(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if _, err := netip.ParseAddr(strings.Trim(a, "[]")); err == nil {
		return false
	}
	suffix, icann := publicsuffix.PublicSuffix(a)
	if !icann && !strings.Contains(suffix, ".") {
		return false
	}
	siteA, errA := publicsuffix.EffectiveTLDPlusOne(a)
	siteB, errB := publicsuffix.EffectiveTLDPlusOne(b)
	return errA == nil && errB == nil && siteA == siteB
}

// tokenScope is the scope to ask for: pulling this repository. The challenge's wording is taken only where it says the
// same with the repository's name on that host, never when it asks for more.
func tokenScope(asked, repository string) string {
	own := "repository:" + repository + ":pull"
	parts := strings.Split(asked, ":")
	if len(parts) == 3 && parts[0] == "repository" && strings.HasSuffix("/"+parts[1], "/"+repository) {
		return "repository:" + parts[1] + ":pull"
	}
	return own
}
