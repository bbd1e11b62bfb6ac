package loader_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/loader"
	"github.com/signet-policy/signet/pkg/policy"
)

func template(t testing.TB, value any) *expr.Template {
	t.Helper()
	c, err := expr.CompileTemplate(value)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// names resolves the hosts of tests; all connections lead to one server.
type names struct {
	addresses map[string]string
	server    *httptest.Server
	dialed    atomic.Int32
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	a, ok := n.addresses[host]
	if !ok {
		return nil, errors.New("no such host")
	}
	var out []netip.Addr
	for one := range strings.SplitSeq(a, ",") {
		out = append(out, netip.MustParseAddr(one))
	}
	return out, nil
}

func (n *names) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	n.dialed.Add(1)
	return (&net.Dialer{}).DialContext(ctx, network, n.server.Listener.Addr().String())
}

// VI 1.4(6), SEC: no call of a service leads to an address that only the machine itself should reach, whatever the name is and wherever a redirect leads, and a
// Policy's leads to no service of another namespace.
func TestT016ServiceAddresses(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `"ok"`) })
	mux.HandleFunc("/to/{host}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+r.PathValue("host")+"/ok", http.StatusFound)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	addresses := map[string]string{
		"public.test": "192.0.2.7", "localhost": "127.0.0.1", "meta.test": "169.254.169.254", "six.test": "::1", "link.test": "fe80::1",
		"mapped.test": "::ffff:127.0.0.1", "zero.test": "0.0.0.0", "both.test": "192.0.2.7,127.0.0.1", "nat.test": "64:ff9b::7f00:1", "6to4.test": "2002:7f00:1::1",
		"external.team.svc": "10.0.0.8", "byhand.team.svc": "10.0.0.9", "moved.team.svc": "10.0.0.8", "pods.team.svc": "10.3.0.7,10.3.0.8", "two.team.svc": "10.0.0.7,10.0.0.8",
		"gone.team.svc": "10.0.0.7", "other.team.svc": "10.0.0.7", "public.team.svc": "192.0.2.9", "dual.team.svc": "10.0.0.7,fd00::7",
		"compatible.test": "::127.0.0.1", "private.test": "10.1.2.3", "api.team.svc": "10.0.0.7", "api.team.svc.cluster.local": "10.0.0.7",
		"api.other.svc": "10.0.0.8", "api.other": "10.0.0.8", "api.team.svc.evil.test": "10.0.0.8", "carrier.test": "100.64.0.1", "public.other.svc": "192.0.2.8",
	}
	selects := func(name, spec string) string {
		return `{"metadata": {"namespace": "team", "name": "` + name + `"}, "spec": {"selector": {"app": "x"}, ` + spec + `}}`
	}
	objects := map[string]string{
		"api": selects("api", `"type": "ClusterIP", "clusterIPs": ["10.0.0.7"]`), "pods": selects("pods", `"clusterIPs": ["None"]`),
		"external": selects("external", `"type": "ExternalName", "externalName": "api.other.svc"`), "moved": selects("moved", `"clusterIPs": ["10.0.0.7"]`),
		"byhand": `{"metadata": {"namespace": "team", "name": "byhand"}, "spec": {"clusterIPs": ["10.0.0.9"]}}`, "two": selects("two", `"clusterIPs": ["10.0.0.7"]`),
		"other": selects("api", `"clusterIPs": ["10.0.0.7"]`), "public": selects("public", `"clusterIPs": ["10.0.0.7"]`), "dual": selects("dual", `"clusterIPs": ["10.0.0.7", "FD00:0::7"]`),
	}
	mux.HandleFunc("/api/v1/namespaces/team/services/{name}", func(w http.ResponseWriter, r *http.Request) {
		object, ok := objects[r.PathValue("name")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, object)
	})
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	const near, outside = "loopback, link-local and metadata addresses are refused", "asks no service of the cluster outside its namespace team"
	for name, c := range map[string]struct {
		url, namespace, want string
	}{
		"public":                       {url: "http://public.test/ok"},
		"public of a Policy":           {url: "http://public.test/ok", namespace: "team"},
		"inside of a ClusterPolicy":    {url: "http://api.other.svc/ok"},
		"own service of a Policy":      {url: "http://api.team.svc/ok", namespace: "team"},
		"own service, long":            {url: "http://api.team.svc.cluster.local/ok", namespace: "team"},
		"redirect":                     {url: "http://public.test/to/private.test"},
		"localhost":                    {url: "http://localhost/ok", want: near},
		"loopback":                     {url: "http://127.0.0.1/ok", want: near},
		"loopback, another":            {url: "http://127.9.9.9/ok", want: near},
		"loopback, IPv6":               {url: "http://[::1]/ok", want: near},
		"name of loopback":             {url: "http://six.test/ok", want: near},
		"metadata":                     {url: "http://meta.test/ok", want: near},
		"link-local, IPv6":             {url: "http://link.test/ok", want: near},
		"mapped":                       {url: "http://mapped.test/ok", want: near},
		"zero":                         {url: "http://zero.test/ok", want: near},
		"one of two":                   {url: "http://both.test/ok", want: near},
		"NAT64":                        {url: "http://nat.test/ok", want: near},
		"6to4":                         {url: "http://6to4.test/ok", want: near},
		"compatible":                   {url: "http://compatible.test/ok", want: near},
		"redirect to loopback":         {url: "http://public.test/to/localhost", want: near},
		"redirect to metadata":         {url: "http://public.test/to/169.254.169.254", want: near},
		"inside of a Policy":           {url: "http://private.test/ok", namespace: "team", want: outside},
		"carrier's of a Policy":        {url: "http://carrier.test/ok", namespace: "team", want: outside},
		"other service of a Policy":    {url: "http://api.other.svc/ok", namespace: "team", want: outside},
		"other service, short":         {url: "http://api.other/ok", namespace: "team", want: outside},
		"other service, public":        {url: "http://public.other.svc/ok", namespace: "team", want: outside},
		"of Pods":                      {url: "http://pods.team.svc/ok", namespace: "team"},
		"of two families":              {url: "http://dual.team.svc/ok", namespace: "team"},
		"an external name":             {url: "http://external.team.svc/ok", namespace: "team", want: "type ExternalName"},
		"endpoints by hand":            {url: "http://byhand.team.svc/ok", namespace: "team", want: "without selector"},
		"another address":              {url: "http://moved.team.svc/ok", namespace: "team", want: "not its own"},
		"another address beside":       {url: "http://two.team.svc/ok", namespace: "team", want: "not its own"},
		"another address, public":      {url: "http://public.team.svc/ok", namespace: "team", want: "not its own"},
		"a Service that is gone":       {url: "http://gone.team.svc/ok", namespace: "team", want: "HTTP status 404"},
		"the answer of another":        {url: "http://other.team.svc/ok", namespace: "team", want: "not the Service"},
		"a redirect to external":       {url: "http://public.test/to/external.team.svc", namespace: "team", want: "type ExternalName"},
		"of a ClusterPolicy":           {url: "http://external.team.svc/ok"},
		"a stranger's domain":          {url: "http://api.team.svc.evil.test/ok", namespace: "team", want: outside},
		"redirect inside, of a Policy": {url: "http://public.test/to/private.test", namespace: "team", want: outside},
		"file":                         {url: "file:///etc/passwd", want: "http or https"},
		"user":                         {url: "http://a:b@public.test/ok", want: "without a user"},
		"no name":                      {url: "http://nobody.test/ok", want: "cannot be resolved"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := &names{addresses: addresses, server: server}
			l := loader.New(loader.Options{Resolver: n, Dial: n.dial, API: &loader.API{Client: server.Client(), Base: base}})
			entry := &policy.ContextEntry{Name: "x", Namespace: c.namespace, Call: &policy.CallSource{URL: template(t, c.url)}}
			value, err := l.Load(t.Context(), entry, expr.NewScope(expr.Env{}), nil)
			switch {
			case c.want == "" && (err != nil || value != "ok"):
				t.Errorf("got %v, %v", value, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, %v, want %s", value, err, c.want)
			}
			// A default never stands for what is refused.
			entry.Default = template(t, "default")
			value, err = l.Load(t.Context(), entry, expr.NewScope(expr.Env{}), nil)
			if c.want != "" && name != "no name" && name != "a Service that is gone" && name != "the answer of another" && err == nil {
				t.Errorf("a default of %v for what is refused", value)
			}
		})
	}
}

// rebinding answers with another address each time, and remembers what was connected to.
type rebinding struct {
	addresses []string
	asked     atomic.Int32
	names
	mu        sync.Mutex
	connected []string
}

func (r *rebinding) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	n := int(r.asked.Add(1)) - 1
	return []netip.Addr{netip.MustParseAddr(r.addresses[min(n, len(r.addresses)-1)])}, nil
}

func (r *rebinding) dial(ctx context.Context, network, address string) (net.Conn, error) {
	r.mu.Lock()
	r.connected = append(r.connected, address)
	r.mu.Unlock()
	return r.names.dial(ctx, network, address)
}

// T-016: a name that is another address a moment later: what was looked at is what is connected to, and each connection has
// its own look, those for redirects too.
func TestT016Rebinding(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `"ok"`) })
	mux.HandleFunc("/again", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	for name, c := range map[string]struct {
		addresses []string
		path      string
		namespace string
		connected []string
		refused   bool
	}{
		"looked at once":            {[]string{"192.0.2.7", "127.0.0.1"}, "/ok", "", []string{"192.0.2.7:80"}, false},
		"loopback by the redirect":  {[]string{"192.0.2.7", "127.0.0.1"}, "/again", "", []string{"192.0.2.7:80"}, true},
		"metadata by the redirect":  {[]string{"192.0.2.7", "169.254.169.254"}, "/again", "", []string{"192.0.2.7:80"}, true},
		"inside, for a Policy":      {[]string{"192.0.2.7", "10.0.0.1"}, "/again", "team", []string{"192.0.2.7:80"}, true},
		"inside, for ClusterPolicy": {[]string{"192.0.2.7", "10.0.0.1"}, "/again", "", []string{"192.0.2.7:80", "10.0.0.1:80"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rebinding{addresses: c.addresses, names: names{server: server}}
			l := loader.New(loader.Options{Resolver: r, Dial: r.dial})
			_, err := l.Load(t.Context(), &policy.ContextEntry{Name: "x", Namespace: c.namespace, Call: &policy.CallSource{URL: template(t, "http://changing.test"+c.path)}}, expr.NewScope(expr.Env{}), nil)
			if diff := cmp.Diff(c.connected, r.connected); diff != "" || (err != nil) != c.refused {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

// VI 1.4(6): what is sent to a service is for that service.
func TestT015ServiceHeaders(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 4)
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		_, _ = io.WriteString(w, `{"a": [1, 2]}`)
	})
	mux.HandleFunc("/same", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/other", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://b.test/ok", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	n := &names{addresses: map[string]string{"a.test": "192.0.2.1", "b.test": "192.0.2.2"}, server: server}
	l := loader.New(loader.Options{Resolver: n, Dial: n.dial, UserAgent: "signet/test"})
	call := func(path string, post bool) error {
		_, err := l.Load(t.Context(), &policy.ContextEntry{Name: "x", Call: &policy.CallSource{URL: template(t, "http://a.test"+path), Post: post,
			Headers: []policy.Member{{Name: "X-Key", Value: template(t, "secret")}}, Data: []policy.Member{{Name: "a", Value: template(t, "b")}}}}, expr.NewScope(expr.Env{}), nil)
		return err
	}
	for path, want := range map[string]string{"/ok": "secret", "/same": "secret", "/other": ""} {
		if err := call(path, false); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got := <-seen; got.Get("X-Key") != want || got.Get("User-Agent") != "signet/test" || got.Get("Authorization") != "" {
			t.Errorf("%s: %v", path, got)
		}
	}
	if err := call("/loop", false); err == nil || !strings.Contains(err.Error(), "too many redirects") {
		t.Error(err)
	}
	if err := call("/other", true); err == nil || !strings.Contains(err.Error(), "POST") {
		t.Error(err)
	}
}

// VI 1.4(4): a service shows a certificate of the authorities that its entry names, or else of the system's.
func TestServiceAuthority(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `"ok"`) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	own := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	n := &names{addresses: map[string]string{"example.com": "192.0.2.1"}, server: server}
	l := loader.New(loader.Options{Resolver: n, Dial: n.dial})
	for name, c := range map[string]struct{ bundle, want string }{
		"own":          {own, ""},
		"the system's": {"", "certificate"},
		"no PEM":       {"PEM", "caBundle holds no PEM certificates"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			call := &policy.CallSource{URL: template(t, "https://example.com/ok")}
			if c.bundle != "" {
				call.CABundle = template(t, c.bundle)
			}
			value, err := l.Load(t.Context(), &policy.ContextEntry{Name: "x", Call: call}, expr.NewScope(expr.Env{}), nil)
			switch {
			case c.want == "" && (err != nil || value != "ok"):
				t.Errorf("got %v, %v", value, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, %v, want %s", value, err, c.want)
			}
		})
	}
}

// VI 1.4(5), (6): what may be asked of the API server.
func TestT014APIPaths(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/namespaces/team/redirect" {
			http.Redirect(w, r, "https://elsewhere.test", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, `"`+r.Method+" "+r.URL.RequestURI()+`"`)
	}))
	t.Cleanup(server.Close)
	client := *server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	l := loader.New(loader.Options{API: &loader.API{Client: &client, Base: base, SystemNamespace: "kyverno"}})
	const plain, own = "not a plain path", "reads only its own namespace team"
	for name, c := range map[string]struct {
		path, namespace, want, refused string
		post                           bool
	}{
		"list":               {path: "/api/v1/namespaces?limit=1", want: "GET /api/v1/namespaces?limit=1"},
		"selector":           {path: "/api/v1/pods?labelSelector=a%3Db", want: "GET /api/v1/pods?labelSelector=a%3Db"},
		"post":               {path: "/apis/authorization.k8s.io/v1/subjectaccessreviews", post: true, want: "POST /apis/authorization.k8s.io/v1/subjectaccessreviews"},
		"own":                {path: "/api/v1/namespaces/team/configmaps/a", namespace: "team", want: "GET /api/v1/namespaces/team/configmaps/a"},
		"own, group":         {path: "/apis/apps/v1/namespaces/team/deployments", namespace: "team", want: "GET /apis/apps/v1/namespaces/team/deployments"},
		"own, review":        {path: "/apis/authorization.k8s.io/v1/namespaces/team/localsubjectaccessreviews", namespace: "team", post: true, want: "POST /apis/authorization.k8s.io/v1/namespaces/team/localsubjectaccessreviews"},
		"other":              {path: "/api/v1/namespaces/other/configmaps/a", namespace: "team", refused: own},
		"all":                {path: "/api/v1/configmaps", namespace: "team", refused: own},
		"cluster":            {path: "/api/v1/nodes", namespace: "team", refused: own},
		"prefix":             {path: "/api/v1/namespaces/team2/configmaps", namespace: "team", refused: own},
		"elsewhere in path":  {path: "/api/v1/nodes/namespaces/team", namespace: "team", refused: own},
		"no API":             {path: "/metrics", namespace: "team", refused: own},
		"post of a Policy":   {path: "/api/v1/namespaces/team/configmaps", namespace: "team", post: true, refused: "posts nothing"},
		"parents":            {path: "/api/v1/namespaces/team/../other/configmaps", namespace: "team", refused: plain},
		"escaped":            {path: "/api/v1/namespaces/team/%2e%2e/other", namespace: "team", refused: plain},
		"escaped slash":      {path: "/api/v1/namespaces/team%2fother", refused: plain},
		"backslash":          {path: `/api/v1\namespaces`, refused: plain},
		"host":               {path: "//elsewhere.test/api", refused: plain},
		"URL":                {path: "https://elsewhere.test/api", refused: plain},
		"fragment":           {path: "/api/v1/namespaces#x", refused: plain},
		"blank":              {path: "/api/v1/name spaces", refused: plain},
		"double slash":       {path: "/api//v1/namespaces", refused: plain},
		"watch":              {path: "/api/v1/pods?watch=true", refused: "without end"},
		"watch, old":         {path: "/api/v1/watch/pods", refused: "without end"},
		"follow":             {path: "/api/v1/namespaces/team/pods/p/log?follow=1", refused: "without end"},
		"own Secrets":        {path: "/api/v1/namespaces/kyverno/secrets/tls", refused: "not for policies"},
		"all Secrets":        {path: "/api/v1/secrets", refused: "not for policies"},
		"redirect":           {path: "/api/v1/namespaces/team/redirect", refused: "HTTP status 302"},
		"other, with a tail": {path: "/api/v1/namespaces/other/?x=/namespaces/team/", namespace: "team", refused: own},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entry := &policy.ContextEntry{Name: "x", Namespace: c.namespace, Call: &policy.CallSource{Path: template(t, c.path), Post: c.post}}
			value, err := l.Load(t.Context(), entry, expr.NewScope(expr.Env{}), nil)
			switch {
			case c.refused == "" && (err != nil || value != c.want):
				t.Errorf("got %v, %v", value, err)
			case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("got %v, %v, want %s", value, err, c.refused)
			}
		})
	}
}

// VI 7.3: answers are bounded, and JSON.
func TestAnswers(t *testing.T) {
	t.Parallel()
	answer, status := "", http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	l := loader.New(loader.Options{API: &loader.API{Client: server.Client(), Base: base}, MaxResponse: 16})
	load := func(text string, code int, fallback any) (any, error) {
		answer, status = text, code
		e := &policy.ContextEntry{Name: "x", Call: &policy.CallSource{Path: template(t, "/api/v1/nodes")}}
		if fallback != nil {
			e.Default = template(t, fallback)
		}
		return l.Load(t.Context(), e, expr.NewScope(expr.Env{}), nil)
	}
	if v, err := load(`{"a": 1}`, 200, nil); err != nil || cmp.Diff(map[string]any{"a": 1.0}, v) != "" {
		t.Error(v, err)
	}
	for text, want := range map[string]string{`"12345678901234567"`: "more than 16 bytes", `{`: "not JSON", `1 2`: "not JSON", ``: "not JSON"} {
		if v, err := load(text, 200, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", text, v, err)
		}
		if v, err := load(text, 200, "instead"); err != nil || v != "instead" {
			t.Errorf("%s: %v, %v", text, v, err)
		}
	}
	if v, err := load(`null`, 200, "instead"); err != nil || v != "instead" {
		t.Error(v, err)
	}
	if _, err := load(`<html>secret</html>`, 500, nil); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "500") {
		t.Error(err)
	}
}

// Without a cluster its sources are errors, and values are not.
func TestNoCluster(t *testing.T) {
	t.Parallel()
	l := loader.New(loader.Options{})
	for name, e := range map[string]*policy.ContextEntry{
		"config map": {ConfigMap: &policy.ConfigMapSource{Namespace: template(t, "a"), Name: template(t, "b")}},
		"call":       {Call: &policy.CallSource{Path: template(t, "/api")}},
		"global":     {Global: template(t, "a")},
	} {
		if v, err := l.Load(t.Context(), e, expr.NewScope(expr.Env{}), nil); err == nil || !strings.Contains(err.Error(), "there is no cluster to ask") {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	v, err := l.Load(t.Context(), &policy.ContextEntry{Variable: &policy.VariableSource{Value: template(t, "a")}}, expr.NewScope(expr.Env{}), nil)
	if err != nil || v != "a" {
		t.Error(v, err)
	}
}
