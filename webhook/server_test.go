package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/webhook"
)

const reviewOf = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","kind":{"group":"","version":"v1","kind":"Pod"},"operation":"CREATE","name":"p","namespace":"n","object":OBJECT}}`

func body(object string) string { return strings.Replace(reviewOf, "OBJECT", object, 1) }

func serve(review webhook.Review, ignore bool) http.Handler {
	s := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
	s.Handle("/x", ignore, review)
	return s.Handler()
}

func post(h http.Handler, path, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func answer(t testing.TB, w *httptest.ResponseRecorder) *admissionv1.AdmissionResponse {
	t.Helper()
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || w.Code != http.StatusOK || review.Response == nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if review.APIVersion != "admission.k8s.io/v1" || review.Kind != "AdmissionReview" || review.Response.UID != "u1" {
		t.Errorf("answer: %s", w.Body)
	}
	return review.Response
}

func allow(context.Context, *admissionv1.AdmissionRequest, time.Duration) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Allowed: true}
}

// what is no review gets no review's answer, and nothing is ever an empty success.
func TestA58NoReview(t *testing.T) {
	t.Parallel()
	h := serve(allow, true)
	for name, c := range map[string]struct{ contentType, body string }{
		"empty":           {"application/json", ""},
		"no JSON":         {"application/json", "hello"},
		"gzip":            {"application/json", "\x1f\x8b\x08"},
		"null":            {"application/json", "null"},
		"list":            {"application/json", "[]"},
		"no request":      {"application/json", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`},
		"no uid":          {"application/json", strings.Replace(body("{}"), `"uid":"u1",`, "", 1)},
		"wrong version":   {"application/json", strings.Replace(body("{}"), "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1)},
		"wrong kind":      {"application/json", strings.Replace(body("{}"), "AdmissionReview", "Review", 1)},
		"wrong case":      {"application/json", strings.Replace(body("{}"), `"request"`, `"Request"`, 1)},
		"trailing":        {"application/json", body("{}") + "{}"},
		"truncated":       {"application/json", body("{}")[:80]},
		"content type":    {"text/plain", body("{}")},
		"T-026 too large": {"application/json", strings.Replace(body(`{"a":"`+strings.Repeat("a", 21<<20)+`"}`), `"uid":"u1",`, "", 1)},
		"T-026 too deep":  {"application/json", strings.Replace(body(strings.Repeat("[", 20000)+strings.Repeat("]", 20000)), `"uid":"u1",`, "", 1)},
		"uid of a number": {"application/json", strings.Replace(body("{}"), `"u1"`, `1`, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if w := post(h, "/x", c.contentType, c.body); w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "allowed") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	if w := post(h, "/x", "application/json; charset=utf-8", body("{}")); !answer(t, w).Allowed {
		t.Error("a content type with parameters is refused")
	}
	r := httptest.NewRequest(http.MethodGet, "/x", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", w.Code)
	}
	if w := post(h, "/y", "application/json", body("{}")); w.Code != http.StatusNotFound {
		t.Errorf("another path: %d", w.Code)
	}
}

// A body without a length, or with a false one, is read as it comes.
func TestBodyLength(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(serve(allow, false))
	defer s.Close()
	for name, reader := range map[string]io.Reader{"chunked": io.MultiReader(strings.NewReader(body("{}"))), "known": strings.NewReader(body("{}"))} {
		resp, err := http.Post(s.URL+"/x", "application/json", reader)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(b), `"uid":"u1"`) {
			t.Errorf("%s: %d %s, %v", name, resp.StatusCode, b, err)
		}
	}
}

// T-013: a panic is an error of the request: the answer carries its uid, and the failure policy decides.
func TestT013Panic(t *testing.T) {
	t.Parallel()
	for name, review := range map[string]webhook.Review{
		"panic": func(context.Context, *admissionv1.AdmissionRequest, time.Duration) *admissionv1.AdmissionResponse {
			panic("boom")
		},
		"no answer": func(context.Context, *admissionv1.AdmissionRequest, time.Duration) *admissionv1.AdmissionResponse {
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var counted []string
			ask := func(ignore bool) *admissionv1.AdmissionResponse {
				s := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
				s.Unjudged = func(kind string, allowed bool) { counted = append(counted, fmt.Sprint(kind, " ", allowed)) }
				s.Handle("/x", ignore, review)
				return answer(t, post(s.Handler(), "/x", "application/json", body("{}")))
			}
			strict := ask(false)
			if strict.Allowed || !strings.HasPrefix(strict.Result.Message, "Signet could not judge this request: internal error") || strings.Contains(strict.Result.Message, "boom") {
				t.Errorf("%+v", strict)
			}
			lenient := ask(true)
			if !lenient.Allowed || len(lenient.Warnings) != 1 {
				t.Errorf("%+v", lenient)
			}
			if diff := cmp.Diff([]string{"Pod false", "Pod true"}, counted); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// closing tells when nobody listens any more.
type closing struct {
	net.Listener
	once   sync.Once
	closed chan struct{}
}

func (c *closing) Close() error {
	defer c.once.Do(func() { close(c.closed) })
	return c.Listener.Close()
}

// a server that is told to end answers the reviews that it has begun, each with its verdict, and takes no new ones.
func TestA56Drain(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := &closing{Listener: listener, closed: make(chan struct{})}
	// Any server's certificate will do.
	borrowed := httptest.NewTLSServer(nil)
	defer borrowed.Close()
	s := webhook.NewServer("", borrowed.TLS, func() error { return nil }, logr.Discard())
	begun, goOn := make(chan struct{}), make(chan struct{})
	s.Handle("/x", true, func(ctx context.Context, _ *admissionv1.AdmissionRequest, _ time.Duration) *admissionv1.AdmissionResponse {
		begun <- struct{}{}
		<-goOn
		if err := ctx.Err(); err != nil {
			return nil
		}
		return &admissionv1.AdmissionResponse{Result: &metav1.Status{Message: "denied as ever"}}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- webhook.Serve(ctx, s, closed) }()
	client := borrowed.Client()
	client.Timeout = time.Minute
	answers := make(chan string, 1)
	go func() {
		res, err := client.Post("https://"+listener.Addr().String()+"/x", "application/json", strings.NewReader(body("{}")))
		if err != nil {
			answers <- err.Error()
			return
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		answers <- fmt.Sprint(string(b), err)
	}()
	select {
	case <-begun:
	case err := <-ended:
		t.Fatal(err)
	case got := <-answers:
		t.Fatal(got)
	}
	cancel()
	<-closed.closed
	select {
	case err := <-ended:
		t.Fatalf("ended before the review: %v", err)
	default:
	}
	close(goOn)
	if got := <-answers; !strings.Contains(got, "denied as ever") || !strings.Contains(got, `"allowed":false`) {
		t.Error(got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The API server's timeout reaches the review; nonsense is no timeout.
func TestTimeoutParameter(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]time.Duration{"": 0, "?timeout=7s": 7 * time.Second, "?timeout=x": 0, "?timeout=-1s": 0, "?timeout=1500ms": 1500 * time.Millisecond} {
		got := time.Duration(-1)
		h := serve(func(_ context.Context, _ *admissionv1.AdmissionRequest, d time.Duration) *admissionv1.AdmissionResponse {
			got = d
			return &admissionv1.AdmissionResponse{}
		}, false)
		post(h, "/x"+query, "application/json", body("{}"))
		if got != want {
			t.Errorf("%q: %s", query, got)
		}
	}
}

// Warnings travel in HTTP headers: those with line breaks would be dropped on the way.
func TestWarningsAreLines(t *testing.T) {
	t.Parallel()
	h := serve(func(context.Context, *admissionv1.AdmissionRequest, time.Duration) *admissionv1.AdmissionResponse {
		return &admissionv1.AdmissionResponse{Allowed: true, Warnings: []string{"a\n b\r\tc\x00d\x1b[31m\xff"}}
	}, false)
	if d := cmp.Diff([]string{"a  b  cd[31m"}, answer(t, post(h, "/x", "application/json", body("{}"))).Warnings); d != "" {
		t.Error(d)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	var notReady error
	s := webhook.NewServer("", nil, func() error { return notReady }, logr.Discard())
	get := func(path string) int {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code
	}
	if got := []int{get(webhook.Liveness), get(webhook.Readiness)}; got[0] != 200 || got[1] != 200 {
		t.Error(got)
	}
	notReady = errors.New("not yet")
	if got := []int{get(webhook.Liveness), get(webhook.Readiness)}; got[0] != 200 || got[1] != 500 {
		t.Error(got)
	}
}

// VI 2: policies are judged by compiling; what is no write of a policy is none of our business.
func TestReviewPolicy(t *testing.T) {
	t.Parallel()
	s := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
	s.Handle(webhook.PolicyValidate, false, webhook.ReviewPolicy(policyOptions, nil, nil))
	s.Handle(webhook.PolicyMutate, false, webhook.Unchanged)
	const good = `{"metadata":{"name":"p"},"spec":{"rules":[{"name":"r","match":{"any":[{"resources":{"kinds":["Pod"]}}]},"verifyImages":[{"imageReferences":["*"]}]}]}}`
	bad := strings.Replace(good, `["*"]`, `[]`, 1)
	two := strings.Replace(bad, `"Pod"`, `"*"`, 1)
	review := func(kind, operation, sub, object string) string {
		return strings.NewReplacer(`"kind":"Pod"`, `"kind":"`+kind+`"`, `"CREATE"`, `"`+operation+`","subResource":"`+sub+`"`).Replace(body(object))
	}
	const missing = `spec.rules[0].verifyImages[0]: Invalid value: "r": An image reference is required`
	for name, c := range map[string]struct{ body, denial string }{
		"good":         {review("ClusterPolicy", "CREATE", "", good), ""},
		"good update":  {review("Policy", "UPDATE", "", good), ""},
		"bad":          {review("ClusterPolicy", "CREATE", "", bad), missing},
		"bad update":   {review("Policy", "UPDATE", "", bad), missing},
		"two errors":   {review("ClusterPolicy", "CREATE", "", two), `[spec.rules[0].match.any[0].resources.kinds[0]: Invalid value: "*": wildcard policy does not support rule type, ` + missing + `]`},
		"delete":       {review("ClusterPolicy", "DELETE", "", bad), ""},
		"status":       {review("ClusterPolicy", "UPDATE", "status", bad), ""},
		"another kind": {review("Pod", "CREATE", "", good), "Pod is no policy"},
		"no policy":    {review("ClusterPolicy", "CREATE", "", `{"spec":{"rules":5}}`), "cannot read the policy: json: cannot unmarshal number into Go struct field Spec.spec.rules of type []v1.Rule"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := answer(t, post(s.Handler(), webhook.PolicyValidate, "application/json", c.body))
			switch {
			case resp.Allowed != (c.denial == ""):
				t.Errorf("%+v", resp)
			case !resp.Allowed && (resp.Result.Message != c.denial || resp.Result.Status != metav1.StatusFailure):
				t.Errorf("%s", resp.Result.Message)
			case resp.Allowed && strings.HasPrefix(name, "good") && len(resp.Warnings) != 1:
				t.Errorf("%v", resp.Warnings)
			}
			if resp := answer(t, post(s.Handler(), webhook.PolicyMutate, "application/json", c.body)); !resp.Allowed || len(resp.Patch) > 0 {
				t.Errorf("mutated: %+v", resp)
			}
		})
	}
}

// VI 2.3: a kind that the API server does not serve draws a warning, and the policy is stored all the same.
func TestReviewPolicyUnserved(t *testing.T) {
	t.Parallel()
	s := webhook.NewServer("", nil, func() error { return nil }, logr.Discard())
	s.Handle(webhook.PolicyValidate, false, webhook.ReviewPolicy(policyOptions, func(_ context.Context, kinds []match.Kind) []string {
		var out []string
		for i := range kinds {
			if text := kinds[i].String(); text == "Pods" {
				out = append(out, text)
			}
		}
		return out
	}, nil))
	const object = `{"metadata":{"name":"p","annotations":{"pod-policies.kyverno.io/autogen-controllers":"none"}},"spec":{"rules":[{"name":"r","match":{"any":[{"resources":{"kinds":["KIND"]}}]},"verifyImages":[{"imageReferences":["*"],"failureAction":"Enforce","attestors":[]}]}]}}`
	for kind, want := range map[string][]string{
		"Pod":  nil,
		"Pods": {"the API server does not serve the kind Pods: the policy has no effect on it until it does"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(body(strings.Replace(object, "KIND", kind, 1)), `"kind":"Pod"`, `"kind":"ClusterPolicy"`, 1)
			resp := answer(t, post(s.Handler(), webhook.PolicyValidate, "application/json", text))
			if diff := cmp.Diff(want, resp.Warnings); diff != "" || !resp.Allowed {
				t.Errorf("allowed %v, -want +got\n%s", resp.Allowed, diff)
			}
		})
	}
}
