package registry

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"golang.org/x/net/http/httpguts"
)

const (
	hubHost     = "docker.io"
	hubAlias    = "index.docker.io"
	hubUpstream = "registry-1.docker.io"
	defaultDir  = "_default"
	hostsFile   = "hosts.toml"
	maxHosts    = 64
)

// capability is what a host may be asked for.
type capability uint8

const (
	canPull      capability = 1 << iota // content by digest
	canResolve                          // tags
	canReferrers                        // lists of referrers
	canPush                             // accepted in the file, never used
)

// hostEntry is one host of a hosts.toml, as written.
type hostEntry struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   bool           `toml:"skip_verify"`
	OverridePath bool           `toml:"override_path"`
	Header       map[string]any `toml:"header"`
	DialTimeout  string         `toml:"dial_timeout"`
}

type hostsDocument struct {
	hostEntry
	Server string               `toml:"server"`
	Host   map[string]hostEntry `toml:"host"`
}

// hostConfig is a checked hosts.toml: the mirrors in the order of the file, and the upstream's own settings. The
// upstream's URL is nil when the file names none.
type hostConfig struct {
	mirrors  []hostRule
	upstream hostRule
}

// hostRule is how one host is spoken to.
type hostRule struct {
	url       *url.URL // path holds the API root, "/v2" as a rule
	can       capability
	header    http.Header
	transport http.RoundTripper
}

// loadHosts reads every <dir>/<host>. Whatever this client could not do as written is an error here.
func loadHosts(dir string, limits Limits, custom http.RoundTripper) (map[string]*hostConfig, error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("registry configuration: %w", err)
	}
	configs := map[string]*hostConfig{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		sub := filepath.Join(dir, e.Name())
		if info, err := os.Stat(sub); err != nil {
			return nil, fmt.Errorf("registry configuration: %w", err)
		} else if !info.IsDir() {
			continue
		}
		c, err := readHost(sub, limits, custom)
		if err != nil {
			return nil, fmt.Errorf("registry configuration of %s: %w", e.Name(), err)
		}
		configs[strings.ToLower(e.Name())] = c
	}
	return configs, nil
}

// readHost reads the directory of one host: its hosts.toml, or the certificates that stand in place of one.
func readHost(dir string, limits Limits, custom http.RoundTripper) (*hostConfig, error) {
	raw, missing := os.ReadFile(filepath.Join(dir, hostsFile))
	if missing == nil {
		c, err := parseHosts(raw, dir, limits, custom)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", hostsFile, err)
		}
		return c, nil
	}
	if !errors.Is(missing, fs.ErrNotExist) {
		return nil, missing
	}
	entry, ok, err := certificatesIn(dir)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fmt.Errorf("%w, and no certificates", missing)
	}
	c := &hostConfig{}
	c.upstream, err = newHostRule("", entry, dir, limits, custom)
	return c, err
}

// configOf finds the configuration of a host by the directory names that containerd knows.
func configOf(configs map[string]*hostConfig, host string) *hostConfig {
	names := []string{host}
	if i := strings.LastIndexByte(host, ':'); i > 0 {
		names = []string{host[:i] + "_" + host[i+1:] + "_", host}
	}
	if host == hubAlias {
		names = append(names, hubHost)
	}
	for _, n := range append(names, defaultDir) {
		if c := configs[n]; c != nil {
			return c
		}
	}
	return nil
}

func parseHosts(raw []byte, dir string, limits Limits, custom http.RoundTripper) (*hostConfig, error) {
	var doc hostsDocument
	dec := toml.NewDecoder(bytes.NewReader(raw)).DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		var unknown *toml.StrictMissingError
		if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
			return nil, fmt.Errorf("key %q is not supported", strings.Join(unknown.Errors[0].Key(), "."))
		}
		return nil, err
	}
	if len(doc.Host) > maxHosts {
		return nil, fmt.Errorf("more than %d hosts", maxHosts)
	}
	order, err := hostOrder(raw)
	if err != nil {
		return nil, err
	}
	c := &hostConfig{}
	for _, name := range order {
		entry, ok := doc.Host[name]
		if !ok {
			continue
		}
		rule, err := newHostRule(name, entry, dir, limits, custom)
		if err == nil && rule.url == nil {
			err = errors.New("it has no address")
		}
		if err != nil {
			return nil, fmt.Errorf("host %q: %w", name, err)
		}
		c.mirrors = append(c.mirrors, rule)
	}
	if len(c.mirrors) != len(doc.Host) {
		return nil, errors.New(`every host needs a table of its own: [host."https://…"]`)
	}
	c.upstream, err = newHostRule(doc.Server, doc.hostEntry, dir, limits, custom)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if u := c.upstream.url; u != nil && slices.ContainsFunc(c.mirrors, func(m hostRule) bool { return *m.url == *u }) {
		// Named twice, asked once: the host's own table stands.
		c.upstream.can = 0
	}
	return c, nil
}

// hostOrder returns the hosts in the order of the file, which a decoded map has lost.
func hostOrder(raw []byte) ([]string, error) {
	var order []string
	p := unstable.Parser{}
	p.Reset(raw)
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.Table {
			continue
		}
		var keys []string
		for it := e.Key(); it.Next(); {
			keys = append(keys, string(it.Node().Data))
		}
		if len(keys) >= 2 && keys[0] == "host" && !slices.Contains(order, keys[1]) {
			order = append(order, keys[1])
		}
	}
	return order, p.Error()
}

func newHostRule(address string, e hostEntry, dir string, limits Limits, custom http.RoundTripper) (hostRule, error) {
	rule := hostRule{}
	var err error
	if address != "" {
		if rule.url, err = hostURL(address, e.OverridePath); err != nil {
			return rule, err
		}
	} else if e.OverridePath {
		return rule, errors.New("override_path needs a server")
	}
	if rule.can, err = capabilities(e.Capabilities); err != nil {
		return rule, err
	}
	if rule.header, err = headers(e.Header); err != nil {
		return rule, err
	}
	var dial time.Duration
	if e.DialTimeout != "" {
		if dial, err = time.ParseDuration(e.DialTimeout); err != nil || dial <= 0 {
			return rule, fmt.Errorf("dial_timeout: %.64q is not a positive duration", e.DialTimeout)
		}
	}
	config, err := tlsConfig(e, dir)
	if err != nil || config == nil && dial == 0 {
		return rule, err
	}
	if custom != nil {
		return rule, errors.New("TLS and dial settings cannot be combined with a transport of the caller's")
	}
	rule.transport = newTransport(limits, dial, config)
	return rule, nil
}

func hostURL(address string, override bool) (*url.URL, error) {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("scheme is neither https nor http")
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return nil, errors.New("URL is not scheme, host and path alone")
	}
	u.Host, u.RawPath = strings.ToLower(u.Host), ""
	u.Path = strings.TrimSuffix(path.Clean("/"+u.Path), "/")
	if !override && !strings.HasSuffix(u.Path, "/v2") {
		u.Path += "/v2"
	}
	return u, nil
}

func capabilities(names []string) (capability, error) {
	if len(names) == 0 {
		return canPull | canResolve | canReferrers | canPush, nil
	}
	var can capability
	for _, n := range names {
		switch strings.ToLower(n) {
		case "pull":
			can |= canPull
		case "resolve":
			// A list of referrers changes over time as a tag does, and needs the same trust.
			can |= canResolve | canReferrers
		case "referrers":
			can |= canReferrers
		case "push":
			can |= canPush
		default:
			return 0, fmt.Errorf("capability %.64q is not known", n)
		}
	}
	return can, nil
}

func headers(values map[string]any) (http.Header, error) {
	h := http.Header{}
	for name, v := range values {
		list, err := stringList(v)
		if err != nil || !httpguts.ValidHeaderFieldName(name) {
			return nil, fmt.Errorf("header %.64q: not a name with text or a list of texts", name)
		}
		switch key := http.CanonicalHeaderKey(name); key {
		case "Host", "Accept", "Accept-Encoding", "Connection", "Content-Length", "Range", "Transfer-Encoding", "Upgrade":
			return nil, fmt.Errorf("header %q cannot be set", key)
		default:
			for _, s := range list {
				if !httpguts.ValidHeaderFieldValue(s) {
					return nil, fmt.Errorf("header %q: bad value", key)
				}
				h.Add(key, s)
			}
		}
	}
	return h, nil
}

func tlsConfig(e hostEntry, dir string) (*tls.Config, error) {
	cas, err := stringList(e.CA)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	pairs, err := clientPairs(e.Client)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if len(cas) == 0 && len(pairs) == 0 && !e.SkipVerify {
		return nil, nil
	}
	// skip_verify is the operator's own word about one host; no policy can set it.
	config := &tls.Config{InsecureSkipVerify: e.SkipVerify, MinVersion: tls.VersionTLS12}
	for _, file := range cas {
		pem, err := os.ReadFile(within(dir, file))
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		if config.RootCAs == nil {
			if config.RootCAs, err = x509.SystemCertPool(); err != nil {
				config.RootCAs = x509.NewCertPool()
			}
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s holds no certificate", file)
		}
	}
	for _, p := range pairs {
		cert, err := tls.LoadX509KeyPair(within(dir, p[0]), within(dir, p[1]))
		if err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
		config.Certificates = append(config.Certificates, cert)
	}
	return config, nil
}

// clientPairs reads a file with both, a list of such files, or a list of [certificate, key] pairs.
func clientPairs(v any) ([][2]string, error) {
	var pairs [][2]string
	items, isList := v.([]any)
	if !isList && v != nil {
		items = []any{v}
	}
	for _, item := range items {
		list, err := stringList(item)
		switch {
		case err != nil:
			return nil, err
		case len(list) == 1:
			pairs = append(pairs, [2]string{list[0], list[0]})
		case len(list) == 2:
			key := list[1]
			if key == "" {
				key = list[0]
			}
			pairs = append(pairs, [2]string{list[0], key})
		default:
			return nil, errors.New("not a file or a pair of files")
		}
	}
	return pairs, nil
}

func stringList(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		list := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, errors.New("not a text or a list of texts")
			}
			list = append(list, s)
		}
		return list, nil
	default:
		return nil, errors.New("not a text or a list of texts")
	}
}

func within(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}
