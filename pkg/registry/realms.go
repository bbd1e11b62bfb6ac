package registry

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Realms are the hosts of token services that get the credentials of a registry, by the registry's host. A registry's own
// host needs no mention.
type Realms map[string][]string

// ParseRealms reads pairs registry=realm divided by commas, each a host with or without a port. Several pairs of one registry
// add up.
func ParseRealms(text string) (Realms, error) {
	realms := Realms{}
	for pair := range strings.SplitSeq(text, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		registry, realm, ok := strings.Cut(pair, "=")
		from, fromErr := parseHost(registry)
		to, toErr := parseHost(realm)
		if !ok || fromErr != nil || toErr != nil {
			return nil, fmt.Errorf("%.300q is not registry=realm, two hosts without scheme and path", pair)
		}
		if !slices.Contains(realms[from], to) {
			realms[from] = append(realms[from], to)
		}
	}
	return realms, nil
}

func parseHost(text string) (string, error) {
	u, err := url.Parse("https://" + text)
	if err != nil || u.Host != text || u.Hostname() == "" || strings.Trim(strings.ToLower(text), "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]") != "" {
		return "", fmt.Errorf("%.300q is no host", text)
	}
	return hostKey(u), nil
}

// hostKey names the host of a URL, without the port that HTTPS has anyhow.
func hostKey(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	}
	return host
}
