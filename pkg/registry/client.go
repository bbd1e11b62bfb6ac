package registry

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/semaphore"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
)

// Options configures a Client. The zero value asks registries directly, over HTTPS, with Docker's own credentials.
type Options struct {
	// ConfigDir is a directory in containerd's certs.d form: <host>/hosts.toml, with "_default" for the rest. It is
	// read once, by New. Empty means no mirrors.
	ConfigDir string
	// Keychain holds the credentials. Nil means authn.DefaultKeychain, which reads the file that DOCKER_CONFIG names.
	Keychain authn.Keychain
	// AllowInsecure permits plain HTTP to hosts that do not speak TLS. It never relaxes a TLS check.
	AllowInsecure bool
	// Realms name the token services that get the credentials of a registry. A registry that is not among them has its
	// own host and those of its registrable domain.
	Realms Realms
	// Limits bounds answers; the zero value is the contract's.
	Limits Limits
	// Transport replaces the client's own. Refusal of addresses by resolved name, pool sizes, the header limit and
	// proxies are then the caller's.
	Transport http.RoundTripper
	// Local returns what answers for a repository in place of its registry and its mirrors, or nil where those are to be
	// asked. Its requests have the scheme "oci-layout", no credentials, and the same checks as any other.
	Local func(host, path string) http.RoundTripper
	// UserAgent is sent with every request. Empty means "signet".
	UserAgent string
	// Observe is called once per HTTP request, from many goroutines. Nil means nobody looks.
	Observe func(Request)
}

// Kind is what an HTTP request asks for.
type Kind string

// The kinds of requests.
const (
	KindTag       Kind = "tag"
	KindManifest  Kind = "manifest"
	KindReferrers Kind = "referrers"
	KindBlob      Kind = "blob"
	KindToken     Kind = "token"
)

// Request describes one HTTP request that was made.
type Request struct {
	// Host is the host asked, with its port; it may be one that the registry redirected to.
	Host string
	Kind Kind
	// URL is the document's scheme, host and path, never a user or a query. Where the registry redirected to, and for
	// tokens, it is the scheme and host only, because paths may hold secrets there.
	URL string
	// Status is the HTTP status, or zero when no answer came.
	Status int
	// Duration is the time until the header of the answer came.
	Duration time.Duration
}

// Client pulls manifests and blobs. It is safe for concurrent use.
type Client struct {
	shared   *shared
	keychain authn.Keychain
	insecure bool
}

// shared is what clients with different credentials have in common.
type shared struct {
	limits    Limits
	hosts     map[string]*hostConfig
	transport http.RoundTripper
	userAgent string
	observe   func(Request)
	local     func(host, path string) http.RoundTripper
	slots     *slots
	inFlight  *semaphore.Weighted
	auth      *authState
	realms    Realms
	schemes   *lru.Cache[string, string]
	resting   *lru.Cache[string, time.Time] // hosts that could not be connected to, and since when
}

// New returns a client. It fails when ConfigDir holds something that the client could not honour.
func New(o Options) (*Client, error) {
	limits := o.Limits.withDefaults()
	hosts, err := loadHosts(o.ConfigDir, limits, o.Transport)
	if err != nil {
		return nil, err
	}
	s := &shared{
		limits: limits, hosts: hosts, transport: o.Transport, userAgent: o.UserAgent, observe: o.Observe, local: o.Local,
		slots: newSlots(limits.PerHost), inFlight: semaphore.NewWeighted(limits.InFlight), auth: newAuthState(), realms: o.Realms,
	}
	if s.transport == nil {
		s.transport = newTransport(limits, 0, nil)
	}
	if s.userAgent == "" {
		s.userAgent = clientID
	}
	if s.observe == nil {
		s.observe = func(Request) {}
	}
	if s.schemes, err = lru.New[string, string](1024); err != nil {
		return nil, err
	}
	if s.resting, err = lru.New[string, time.Time](1024); err != nil {
		return nil, err
	}
	return (&Client{shared: s}).With(o.Keychain, o.AllowInsecure), nil
}

// With returns a client with other credentials and another word on plain HTTP. It shares connections, limits and
// configuration with c. A token serves only those who have the credential that it was given for. A nil keychain means
// authn.DefaultKeychain.
func (c *Client) With(keychain authn.Keychain, allowInsecure bool) *Client {
	if keychain == nil {
		keychain = authn.DefaultKeychain
	}
	return &Client{shared: c.shared, keychain: keychain, insecure: allowInsecure}
}

// Resolve pins a reference: a tag to the digest of the manifest bytes received for it, in one request. A reference
// that has a digest is pinned to it without one. The error is a *reason.Error: ImageNotFound when the registry says
// that there is no such tag, DigestMismatch when header and bytes disagree, RegistryUnavailable for a document that is
// no manifest, or the reason why the registry could not be asked.
func (c *Client) Resolve(ctx context.Context, ref image.Ref) (image.Pinned, error) {
	if ref.IsZero() {
		return image.Pinned{}, reason.New(reason.InvalidImageReference, "no image reference")
	}
	if p, ok, err := ref.Pinned(); ok {
		if err != nil {
			return image.Pinned{}, reason.Wrap(reason.InvalidImageReference, err)
		}
		return p, nil
	}
	var digest image.Digest
	s := c.session(ref)
	_, fail := s.get(ctx, want{
		kind: KindTag, suffix: "manifests/" + ref.Tag(), accept: acceptManifest,
		limit: c.shared.limits.Manifest, size: -1, need: canResolve,
		check: func(r *received, url string) *failure {
			digest = image.DigestOf(r.body)
			return c.checkManifest(r, url, digest)
		},
	})
	if fail != nil {
		return image.Pinned{}, missing(fail, "image tag not found")
	}
	return ref.Pin(digest), nil
}

// Exists asks for the manifest of a pinned image and checks its bytes. The error is as with Resolve; ImageNotFound
// means that the registry says that there is none.
func (c *Client) Exists(ctx context.Context, p image.Pinned) error {
	if p.Ref().IsZero() || p.Digest() == "" {
		return reason.New(reason.InvalidImageReference, "no image digest")
	}
	_, fail := c.session(p.Ref()).get(ctx, want{
		kind: KindManifest, suffix: "manifests/" + p.Digest().String(), accept: acceptManifest,
		limit: c.shared.limits.Manifest, size: -1, need: canPull,
		check: func(r *received, url string) *failure { return c.checkManifest(r, url, p.Digest()) },
	})
	if fail != nil {
		return missing(fail, "image not found")
	}
	return nil
}

// missing gives the image's own absence its reason; other failures keep theirs.
func missing(f *failure, text string) error {
	if !f.notFound() {
		return f.err
	}
	return reason.New(reason.ImageNotFound, text+": "+f.err.Text)
}

// checkManifest accepts a body that is one manifest or one index and has the digest, by its bytes and by its header.
func (c *Client) checkManifest(r *received, url string, digest image.Digest) *failure {
	if f := checkDigest(r, url, digest); f != nil {
		return f
	}
	if _, err := parseDocument(r.body, r.header.Get("Content-Type"), c.shared.limits.Depth); err != nil {
		return contentFailure(reason.RegistryUnavailable, url, err.Error())
	}
	return nil
}

func checkDigest(r *received, url string, digest image.Digest) *failure {
	if image.DigestOf(r.body) != digest {
		return contentFailure(reason.DigestMismatch, url, "the bytes received do not have the digest asked for")
	}
	if h := r.header.Get("Docker-Content-Digest"); h != "" && h != digest.String() {
		return contentFailure(reason.DigestMismatch, url, "the Docker-Content-Digest header names another digest than the bytes received")
	}
	return nil
}

// session is one call's view of one repository.
type session struct {
	client    *Client
	path      string // on the host that serves it
	endpoints []*endpoint
	creds     credentials
}

// endpoint is one host that may be asked for a repository.
type endpoint struct {
	scheme string
	// alt is the other scheme, when the first one is only a guess.
	alt       string
	host      string
	root      string
	namespace string // for mirrors: whose content is meant
	credHost  string // the name that keychains know the host by
	can       capability
	header    map[string][]string
	transport http.RoundTripper
}

func (c *Client) session(ref image.Ref) *session {
	host, path := strings.ToLower(ref.Registry()), ref.Path()
	if host == "" {
		host = hubHost
	}
	upstream := &endpoint{
		scheme: "https", host: host, root: "/v2", credHost: host, transport: c.shared.transport,
		can: canPull | canResolve | canReferrers,
	}
	if host == hubHost || host == hubAlias {
		upstream.host, upstream.credHost = hubUpstream, hubAlias
		if !strings.Contains(path, "/") {
			path = "library/" + path
		}
	}
	switch hostname, _ := splitHost(upstream.host); {
	case isLoopback(hostname):
		upstream.scheme, upstream.alt = "http", "https"
	case c.insecure:
		upstream.alt = "http"
	}
	s := &session{client: c, path: path}
	if local := c.local(upstream.credHost, path); local != nil {
		local.host = host
		s.endpoints = []*endpoint{local}
		return s
	}
	config := configOf(c.shared.hosts, host)
	if config == nil {
		s.endpoints = []*endpoint{upstream}
		return s
	}
	for _, rule := range config.mirrors {
		s.endpoints = append(s.endpoints, rule.endpoint(c, host, upstream))
	}
	if config.upstream.can != 0 {
		s.endpoints = append(s.endpoints, config.upstream.endpoint(c, host, upstream))
	}
	return s
}

// localScheme marks what is read from this machine in texts about requests. Nothing speaks it.
const localScheme = "oci-layout"

// local is the endpoint that answers for a repository in place of its registry; nil for none.
func (c *Client) local(host, path string) *endpoint {
	if c.shared.local == nil {
		return nil
	}
	t := c.shared.local(host, path)
	if t == nil {
		return nil
	}
	return &endpoint{scheme: localScheme, host: host, root: "/v2", credHost: host, transport: t, can: canPull | canResolve | canReferrers}
}

// endpoint applies a rule for the registry host; what the rule leaves open is taken from the registry's own.
func (r hostRule) endpoint(c *Client, host string, upstream *endpoint) *endpoint {
	ep := *upstream
	ep.can, ep.header = r.can, r.header
	if r.transport != nil {
		ep.transport = r.transport
	}
	if r.url == nil {
		return &ep
	}
	ep.scheme, ep.alt, ep.host, ep.root = r.url.Scheme, "", r.url.Host, r.url.Path
	ep.credHost = ep.host
	if ep.host == hubUpstream {
		ep.credHost = hubAlias
	}
	if ep.host != host && ep.host != upstream.host {
		ep.namespace = host
		if host == hubAlias {
			ep.namespace = hubHost
		}
	}
	return &ep
}
