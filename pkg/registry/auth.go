package registry

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/signet-policy/signet/pkg/reason"
)

const (
	maxTokenAnswer  = 64 * kib
	maxToken        = 32 * kib
	defaultTokenAge = time.Minute
	maxTokenAge     = time.Hour
	clientID        = "signet"
)

// credential is what a keychain holds for one repository of one host. The zero value is anonymous.
type credential struct {
	authn.AuthConfig
	// id names the credential in cache keys without being it.
	id string
}

func (c credential) anonymous() bool { return c.id == "" }

func (c credential) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// resource is a repository as keychains want it.
type resource struct{ host, repository string }

func (r resource) String() string      { return r.host + "/" + r.repository }
func (r resource) RegistryStr() string { return r.host }

// open reads a credential.
func open(ctx context.Context, a authn.Authenticator) (credential, error) {
	if a == nil || a == authn.Anonymous {
		return credential{}, nil
	}
	config, err := authn.Authorization(ctx, a)
	if err != nil || config == nil || *config == (authn.AuthConfig{}) {
		return credential{}, err
	}
	c := credential{AuthConfig: *config}
	if c.Username == "" && c.Auth != "" {
		if raw, err := base64.StdEncoding.DecodeString(c.Auth); err == nil {
			c.Username, c.Password, _ = strings.Cut(string(raw), ":")
		}
	}
	sum := sha256.New()
	for _, s := range []string{c.Username, c.Password, c.Auth, c.IdentityToken, c.RegistryToken} {
		part := sha256.Sum256([]byte(s))
		sum.Write(part[:])
	}
	c.id = hex.EncodeToString(sum.Sum(nil))
	return c, nil
}

// Choices is a keychain that has several credentials for one host, such as those of several Secrets. Of one that is refused
// (401 or 403), the next is tried, as kubelets do.
type Choices interface {
	authn.Keychain
	// Choice returns the credential that is tried after n others were refused; nil when there is no further one. The first is
	// that of Resolve.
	Choice(ctx context.Context, r authn.Resource, n int) (authn.Authenticator, error)
}

// maxChoices bounds the credentials that are tried for one repository.
const maxChoices = 8

// credentials remembers what the keychain said during one call, because keychains read files and run helpers.
type credentials struct {
	mu    sync.Mutex
	known map[string]*chosen // by the host that keychains know
}

// chosen is the credential in use for a host, after n others.
type chosen struct {
	credential
	n int
}

// credential is the one in use for an endpoint.
func (s *session) credential(ctx context.Context, ep *endpoint) (*credential, error) {
	s.creds.mu.Lock()
	defer s.creds.mu.Unlock()
	if c, ok := s.creds.known[ep.credHost]; ok {
		return &c.credential, nil
	}
	a, err := authn.Resolve(ctx, s.client.keychain, resource{ep.credHost, s.path})
	if err != nil {
		return nil, err
	}
	c := &chosen{}
	if c.credential, err = open(ctx, a); err != nil {
		return nil, err
	}
	if s.creds.known == nil {
		s.creds.known = map[string]*chosen{}
	}
	s.creds.known[ep.credHost] = c
	return &c.credential, nil
}

// another puts the next credential in the place of one that the endpoint refused. It returns false when there is none; and
// true without doing anything when another request has been here before.
func (s *session) another(ctx context.Context, ep *endpoint, refused *credential) bool {
	choices, ok := s.client.keychain.(Choices)
	if !ok {
		return false
	}
	s.creds.mu.Lock()
	defer s.creds.mu.Unlock()
	current := s.creds.known[ep.credHost]
	if current == nil {
		return false
	}
	if &current.credential != refused {
		return true
	}
	for n := current.n + 1; n < maxChoices; n++ {
		a, err := choices.Choice(ctx, resource{ep.credHost, s.path}, n)
		if err != nil || a == nil || a == authn.Anonymous {
			return false
		}
		if c, err := open(ctx, a); err == nil && !c.anonymous() && c.id != refused.id {
			s.creds.known[ep.credHost] = &chosen{credential: c, n: n}
			return true
		}
	}
	return false
}

// authState is what was learnt about hosts and the tokens they gave out, in bounded memory.
type authState struct {
	challenges *lru.Cache[string, challenge] // by origin (scheme and host)
	tokens     *lru.Cache[tokenKey, token]

	mu      sync.Mutex
	flights map[tokenKey]*tokenFlight
}

// tokenKey keeps the tokens of hosts, repositories and credentials apart.
type tokenKey struct{ root, repository, credential string }

func (s *session) tokenKey(ep *endpoint, origin *url.URL, cred credential) tokenKey {
	return tokenKey{origin.String() + ep.root, s.path, cred.id}
}

type token struct {
	value   string
	expires time.Time
}

type tokenFlight struct {
	done  chan struct{}
	value token
	fail  *failure
}

func newAuthState() *authState {
	s := &authState{flights: map[tokenKey]*tokenFlight{}}
	// The only error is a size that is not positive.
	s.challenges, _ = lru.New[string, challenge](1024)
	s.tokens, _ = lru.New[tokenKey, token](4096)
	return s
}

// authorization is the header to send without having been asked; empty when the host never asked, or nothing fits. The
// credential is the one it is of, if any.
func (s *session) authorization(ctx context.Context, ep *endpoint, origin *url.URL) (string, *credential) {
	state := s.client.shared.auth
	c, ok := state.challenges.Get(origin.String())
	if !ok {
		return "", nil
	}
	cred, err := s.credential(ctx, ep)
	switch {
	case err != nil:
		return "", nil
	case cred.RegistryToken != "":
		return "Bearer " + cred.RegistryToken, cred
	case c.bearer:
		t, ok := state.tokens.Get(s.tokenKey(ep, origin, *cred))
		if ok && time.Now().Before(t.expires) {
			return "Bearer " + t.value, cred
		}
		return "", cred
	case cred.Username != "":
		return cred.basic(), cred
	default:
		return "", cred
	}
}

// answer turns a challenge into the header to try next. It returns "" when there is nothing else to try. The
// credential is the one that was used, if any.
func (s *session) answer(ctx context.Context, ep *endpoint, origin *url.URL, h http.Header, sent string) (string, *credential, *failure) {
	c, ok := parseChallenge(h)
	if !ok {
		return "", nil, nil
	}
	cred, err := s.credential(ctx, ep)
	if err != nil {
		// The error may name files and helpers, so it is not quoted.
		return "", nil, &failure{err: reason.New(reason.RegistryUnauthorized, "credentials for "+origin.Host+" cannot be read")}
	}
	state := s.client.shared.auth
	state.challenges.Add(origin.String(), c)
	var next string
	switch {
	case cred.RegistryToken != "":
		next = "Bearer " + cred.RegistryToken
	case c.bearer:
		t, fail := s.token(ctx, ep, origin, c, *cred, strings.TrimPrefix(sent, "Bearer "))
		if fail != nil {
			return "", cred, fail
		}
		return "Bearer " + t.value, cred, nil
	case cred.Username != "":
		next = cred.basic()
	}
	if next == sent {
		return "", cred, nil
	}
	return next, cred, nil
}

// token returns a cached token other than the refused one, or fetches one. Callers that want the same one share the
// fetch; when the one who fetches gives up because of its own context, the next one takes over.
func (s *session) token(ctx context.Context, ep *endpoint, origin *url.URL, c challenge, cred credential, refused string) (token, *failure) {
	state, key := s.client.shared.auth, s.tokenKey(ep, origin, cred)
	for {
		state.mu.Lock()
		if t, ok := state.tokens.Get(key); ok && t.value != refused && time.Now().Before(t.expires) {
			state.mu.Unlock()
			return t, nil
		}
		flight, running := state.flights[key]
		if !running {
			flight = &tokenFlight{done: make(chan struct{})}
			state.flights[key] = flight
		}
		state.mu.Unlock()
		if running {
			select {
			case <-flight.done:
			case <-ctx.Done():
				return token{}, transportFailure(ctx, origin.String(), ctx.Err(), nil)
			}
			if flight.fail == nil {
				return flight.value, nil
			}
			if flight.fail.err.Err == nil {
				return token{}, flight.fail
			}
			continue
		}
		flight.value, flight.fail = s.fetchToken(ctx, ep, origin, c, cred)
		state.mu.Lock()
		if flight.fail == nil {
			state.tokens.Add(key, flight.value)
		}
		delete(state.flights, key)
		state.mu.Unlock()
		close(flight.done)
		return flight.value, flight.fail
	}
}

func (s *session) fetchToken(ctx context.Context, ep *endpoint, origin *url.URL, c challenge, cred credential) (token, *failure) {
	realm, withCredentials, ok := realmRule(origin, c.realm, s.client.shared.realms)
	if !ok {
		return token{}, &failure{err: reason.New(reason.RegistryUnavailable, "token realm of "+origin.Host+" refused")}
	}
	q := realm.Query()
	q.Set("scope", tokenScope(c.scope, s.path))
	if c.service != "" {
		q.Set("service", c.service)
	}
	r := outgoing{method: http.MethodGet, kind: KindToken, limit: maxTokenAnswer, size: -1, origin: origin, noRedirects: true}
	switch {
	case withCredentials && cred.IdentityToken != "":
		q.Set("grant_type", "refresh_token")
		q.Set("refresh_token", cred.IdentityToken)
		q.Set("client_id", clientID)
		r.method, r.form = http.MethodPost, q.Encode()
		q = realm.Query()
	case withCredentials && cred.Username != "":
		r.authorization = cred.basic()
	}
	u := *realm
	u.RawQuery = q.Encode()
	r.url = &u
	a, fail := s.client.do(ctx, ep, r)
	if fail != nil {
		// The registry itself did answer, so this is never "no connection".
		fail = fail.reached()
		e := *fail.err
		if fail.status >= 400 && fail.status < 500 && fail.status != http.StatusTooManyRequests {
			e.Code = reason.RegistryUnauthorized
		}
		if fail.content {
			e.Code = reason.RegistryUnavailable
		}
		fail.err, fail.status, fail.content, fail.wrongScheme, fail.refused = &e, 0, false, false, false
		return token{}, fail
	}
	t, ok := parseToken(a.body, time.Now())
	if !ok {
		return token{}, &failure{err: reason.New(reason.RegistryUnavailable, "GET "+showToken(realm)+": no usable token")}
	}
	return t, nil
}

func parseToken(body []byte, now time.Time) (token, bool) {
	var doc struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if json.Unmarshal(body, &doc) != nil {
		return token{}, false
	}
	value := doc.Token
	if value == "" {
		value = doc.AccessToken
	}
	if value == "" || len(value) > maxToken {
		return token{}, false
	}
	for _, b := range []byte(value) {
		if b <= ' ' || b >= 0x7f {
			return token{}, false
		}
	}
	age := defaultTokenAge
	if doc.ExpiresIn > 0 {
		age = maxTokenAge
		if doc.ExpiresIn < maxTokenAge.Seconds() {
			age = time.Duration(doc.ExpiresIn * float64(time.Second))
		}
	}
	// A token is renewed a little before the registry forgets it.
	return token{value: value, expires: now.Add(age * 9 / 10)}, true
}
