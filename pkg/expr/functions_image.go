package expr

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/distribution/reference"
)

func imageFunctions() []function {
	return []function{
		{name: "image_normalize", params: []param{isString}, call: func(ev *evaluation, a []any) (any, error) {
			return anyError(ev.scope.env.NormalizeImage(a[0].(string)))
		}},
		{name: "is_external_url", params: []param{isString}, call: isExternalURL},
		{name: "random", params: []param{isString}, call: random},
	}
}

// defaultHost is the registry of references that name none.
const defaultHost = "docker.io"

// normalizeImage writes out what a reference leaves open, without adding library/ (VI 4.4(1)-(5)).
func normalizeImage(s string) (string, error) {
	first, _, slash := strings.Cut(s, "/")
	if !slash || !strings.ContainsAny(first, ".:") && first != "localhost" && strings.ToLower(first) == first {
		s = defaultHost + "/" + s
	}
	named, err := reference.Parse(s)
	if err != nil {
		return "", fmt.Errorf("not an image reference: %w", err)
	}
	name, ok := named.(reference.Named)
	if !ok {
		return "", errors.New("not an image reference: no name")
	}
	if digested, ok := named.(reference.Digested); ok {
		return name.Name() + "@" + digested.Digest().String(), nil
	}
	if tagged, ok := named.(reference.Tagged); ok {
		return name.Name() + ":" + tagged.Tag(), nil
	}
	return name.Name() + ":latest", nil
}

// isExternalURL tells whether all addresses of a URL's host are outside: not of this host, of a private network, or of none.
func isExternalURL(ev *evaluation, args []any) (any, error) {
	u, err := url.Parse(args[0].(string))
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("not a URL with a host")
	}
	host := u.Hostname()
	if a, err := netip.ParseAddr(host); err == nil {
		return external(a), nil
	}
	if ev.scope.env.Resolve == nil {
		return nil, errors.New("host names cannot be looked up here")
	}
	addresses, err := ev.scope.env.Resolve(ev.ctx, host)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be looked up: %w", clip(host), err)
	}
	for _, a := range addresses {
		if !external(a) {
			return false, nil
		}
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("%s has no address", clip(host))
	}
	return true, nil
}

func external(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate()
}
