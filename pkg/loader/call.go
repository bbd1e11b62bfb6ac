package loader

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/policy"
)

// API is the API server.
type API struct {
	// Client sends the process' own credentials. It must not follow redirects: they would take the credentials along.
	Client *http.Client
	// Base is the server's address.
	Base *url.URL
	// SystemNamespace is that of the process, whose Secrets no policy may read.
	SystemNamespace string
}

// call asks the API server or a service.
func (l *Loader) call(ctx context.Context, entry *policy.ContextEntry, scope *expr.Scope) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, l.opts.CallTimeout)
	defer cancel()
	var body []byte
	if entry.Call.Post {
		var err error
		if body, err = members(ctx, scope, entry.Call.Data); err != nil {
			return nil, err
		}
	}
	if entry.Call.URL != nil {
		return l.service(ctx, entry, scope, body)
	}
	path, err := text(ctx, scope, entry.Call.Path, "urlPath")
	if err != nil {
		return nil, err
	}
	if l.opts.API == nil {
		return nil, fmt.Errorf("API server %s: %w", clip(path), errNoCluster)
	}
	value, err := l.apiServer(ctx, entry, path, body)
	if err != nil {
		return nil, fmt.Errorf("API server %s: %w", clip(path), err)
	}
	return value, nil
}

// maxBody bounds what is sent, in bytes.
const maxBody = 1 << 20

// members writes the body of a POST.
func members(ctx context.Context, scope *expr.Scope, list []policy.Member) ([]byte, error) {
	object := make(map[string]any, len(list))
	for _, m := range list {
		if m.Value == nil {
			object[m.Name] = nil
			continue
		}
		value, err := m.Value.Eval(ctx, scope)
		if err != nil {
			return nil, fmt.Errorf("data %s: %w", clip(m.Name), err)
		}
		object[m.Name] = value
	}
	body, err := json.Marshal(object)
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("data of more than %d bytes", maxBody)
	}
	return body, err
}

// localReview is the one thing that a namespaced Policy may post: a question about permissions in its namespace.
var localReview = regexp.MustCompile(`^/apis/authorization\.k8s\.io/v1/namespaces/[^/]+/localsubjectaccessreviews$`)

// target is the URL of a path at the API server, after a look at who may ask for it.
func (a *API) target(entry *policy.ContextEntry, urlPath string) (*url.URL, error) {
	raw, query, _ := strings.Cut(urlPath, "?")
	switch {
	case !strings.HasPrefix(raw, "/"), strings.HasPrefix(raw, "//"), strings.ContainsAny(raw, "\\%#;@"), strings.ContainsRune(query, '#'):
		return nil, refuse("urlPath is not a plain path at the API server")
	case path.Clean(raw) != strings.TrimSuffix(raw, "/") && raw != "/":
		return nil, refuse("urlPath is not a plain path at the API server")
	}
	for i := range len(urlPath) {
		if urlPath[i] <= ' ' || urlPath[i] >= 0x7f {
			return nil, refuse("urlPath is not a plain path at the API server")
		}
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, refuse("urlPath has a query that cannot be read")
	}
	for _, stream := range []string{"watch", "follow"} {
		if values.Has(stream) {
			return nil, refuse("urlPath asks for an answer without end")
		}
	}
	segments := strings.Split(strings.Trim(raw, "/"), "/")
	namespace, resource := confined(segments)
	if a.SystemNamespace != "" && resource == "secrets" && (namespace == a.SystemNamespace || namespace == "") {
		return nil, refuse("the Secrets of the namespace %s are not for policies", a.SystemNamespace)
	}
	if len(segments) > 2 && segments[2] == "watch" || len(segments) > 3 && segments[3] == "watch" {
		return nil, refuse("urlPath asks for an answer without end")
	}
	if own := entry.Namespace; own != "" {
		if namespace != own {
			return nil, refuse("a Policy reads only its own namespace %s", own)
		}
		if entry.Call.Post && !localReview.MatchString(raw) {
			return nil, refuse("a Policy posts nothing to the API server but localsubjectaccessreviews")
		}
	}
	out := *a.Base
	out.Path = strings.TrimSuffix(a.Base.Path, "/") + raw
	out.RawQuery = values.Encode()
	return &out, nil
}

// confined is the namespace that a path at the API server stays in, and the resource there; empty for other paths.
func confined(segments []string) (namespace, resource string) {
	switch {
	case len(segments) >= 2 && segments[0] == "api":
		segments = segments[2:]
	case len(segments) >= 3 && segments[0] == "apis":
		segments = segments[3:]
	default:
		return "", ""
	}
	if len(segments) >= 2 && segments[0] == "namespaces" {
		namespace, segments = segments[1], segments[2:]
	}
	if len(segments) > 0 {
		resource = segments[0]
	}
	return namespace, resource
}

func (l *Loader) apiServer(ctx context.Context, entry *policy.ContextEntry, urlPath string, body []byte) (any, error) {
	u, err := l.opts.API.target(entry, urlPath)
	if err != nil {
		return nil, err
	}
	req, err := newRequest(ctx, entry.Call.Post, u.String(), body)
	if err != nil {
		return nil, err
	}
	resp, err := l.opts.API.Client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, fmt.Errorf("HTTP status %d%s", resp.StatusCode, statusMessage(resp.Body))
	}
	return decode(resp.Body, l.opts.MaxResponse)
}

func newRequest(ctx context.Context, post bool, u string, body []byte) (*http.Request, error) {
	method, reader := http.MethodGet, io.Reader(nil)
	if post {
		method, reader = http.MethodPost, bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, u, reader)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	req.Header.Set("Accept", "application/json")
	if post {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// statusMessage is what the API server says about a failure.
func statusMessage(r io.Reader) string {
	var status struct {
		Kind    string `json:"kind"`
		Message string `json:"message"`
	}
	raw, err := io.ReadAll(io.LimitReader(r, 64<<10))
	if err != nil || json.Unmarshal(raw, &status) != nil || status.Kind != "Status" || status.Message == "" {
		return ""
	}
	return ": " + clip(status.Message)
}

// decode reads an answer, which has to be one JSON value within the limit.
func decode(r io.Reader, limit int64) (any, error) {
	raw, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, withoutURL(err)
	case int64(len(raw)) > limit:
		return nil, fmt.Errorf("the answer has more than %d bytes (--maxAPICallResponseLength)", limit)
	}
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return nil, errors.New("the answer is not JSON")
	}
	return value, nil
}

// withoutURL takes the URL off an error, which may hold a secret in its query.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
