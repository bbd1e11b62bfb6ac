// Package webhook turns admission reviews into engine requests and decisions into answers.
//
// Every review is answered with its own UID: a panic, an object that cannot be read or an engine that is not ready is
// an error, which the path's failure policy decides. Nothing is ever an empty success.
package webhook

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-policy/signet/pkg/policy"
)

// Paths of the server.
const (
	MutateFail     = "/mutate/fail"
	MutateIgnore   = "/mutate/ignore"
	ValidateFail   = "/validate/fail"
	ValidateIgnore = "/validate/ignore"
	PolicyValidate = "/policyvalidate"
	PolicyMutate   = "/policymutate"
	VerifyMutate   = "/verifymutate"

	ExceptionValidate = "/exceptionvalidate"

	GlobalContextValidate = "/globalcontextvalidate"

	// FineGrained follows the path of a failure policy and is followed by a policy's name, or namespace/name.
	FineGrained = "/finegrained"

	Liveness  = "/health/liveness"
	Readiness = "/health/readiness"
)

// Review answers one admission request. The answer's UID is set by the caller.
type Review func(ctx context.Context, req *admissionv1.AdmissionRequest, timeout time.Duration) *admissionv1.AdmissionResponse

// Server is the HTTPS server of the webhooks and the health checks.
type Server struct {
	// Addr is the address to listen on, such as ":9443".
	Addr string
	TLS  *tls.Config
	// Ready is asked by the readiness check.
	Ready func() error
	// Leaving is closed when others are to be asked from now on; optional. What is still sent here is answered, and its
	// connection then closed in agreement with the client: one that is closed between two requests loses the second, if
	// that is on its way already.
	Leaving <-chan struct{}
	// Unjudged counts one call that was answered without its review, by the kind of its object and whether it was admitted;
	// the kind is empty where the call was too large to be read. Optional.
	Unjudged func(kind string, allowed bool)
	Log      logr.Logger

	mux    *http.ServeMux
	bodies bodies
}

// NewServer returns a server with the health checks.
func NewServer(addr string, config *tls.Config, ready func() error, log logr.Logger) *Server {
	s := &Server{Addr: addr, TLS: config, Ready: ready, Log: log, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET "+Liveness, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	s.mux.HandleFunc("GET "+Readiness, func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusOK)
	})
	return s
}

// Handle registers a review for a path. With ignore, what could not be judged at all is admitted with a warning;
// otherwise it is denied.
func (s *Server) Handle(path string, ignore bool, review Review) {
	s.mux.Handle("POST "+path, &handler{review: review, ignore: ignore, log: s.Log.WithValues("path", path), server: s})
}

// HandleEach registers reviews for the fine-grained paths below a path, one for each policy that the API server names.
func (s *Server) HandleEach(path string, ignore bool, review func(policy.Key) Review) {
	log := s.Log.WithValues("path", path)
	each := func(w http.ResponseWriter, r *http.Request) {
		k := policy.Key{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
		(&handler{review: review(k), ignore: ignore, log: log.WithValues("only", k.String()), server: s}).ServeHTTP(w, r)
	}
	s.mux.HandleFunc("POST "+path+FineGrained+"/{name}", each)
	s.mux.HandleFunc("POST "+path+FineGrained+"/{namespace}/{name}", each)
}

// Handler is the server's handler, for tests and benchmarks.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-s.Leaving:
			w.Header().Set("Connection", "close")
		default:
		}
		s.mux.ServeHTTP(w, r)
	})
}

// NeedLeaderElection is false: every replica serves.
func (s *Server) NeedLeaderElection() bool { return false }

// drain is how long a stopping server waits for reviews in progress.
const drain = 35 * time.Second

// Start serves until the context ends, then finishes the reviews in progress.
func (s *Server) Start(ctx context.Context) error {
	listener, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("webhook server: %w", err)
	}
	return s.serve(ctx, listener)
}

// serve is Start with a listener, which it closes.
func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		// The first one is also that of TLS handshakes. The API server waits ten seconds for one: whoever gives up earlier wastes the
		// work of both when many come together.
		Handler: s.Handler(), TLSConfig: s.TLS, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 60 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: nil, BaseContext: func(net.Listener) context.Context { return logr.NewContext(context.WithoutCancel(ctx), s.Log) },
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(listener, "", "") }()
	select {
	case err := <-done:
		return fmt.Errorf("webhook server: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		return fmt.Errorf("webhook server: %w", err)
	}
	return nil
}

// handler is one admission endpoint.
type handler struct {
	review Review
	ignore bool
	log    logr.Logger
	server *Server
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, release, err := h.server.bodies.read(r)
	defer release()
	var resp *admissionv1.AdmissionResponse
	switch {
	case beyond(err) && req != nil:
		h.log.Info("refused a review that is not read", "uid", req.UID, "cause", err.Error())
		h.server.count("", false)
		resp = undecided(false, err.Error())
	case err != nil:
		h.log.Info("refused a request that is no review", "error", err.Error())
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	default:
		resp = h.answer(r, req)
	}
	resp.UID = req.UID
	for i, w := range resp.Warnings {
		resp.Warnings[i] = oneLine(w)
	}
	body, err := encode(resp)
	if err != nil {
		h.log.Error(err, "cannot encode the answer")
		http.Error(w, "cannot encode the answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // a client that went away is not our trouble
}

// count notes a call that was answered without its review.
func (s *Server) count(kind string, allowed bool) {
	if s.Unjudged != nil {
		s.Unjudged(kind, allowed)
	}
}

// answer runs the review; a panic in it is an error of the request.
func (h *handler) answer(r *http.Request, req *admissionv1.AdmissionRequest) (resp *admissionv1.AdmissionResponse) {
	defer func() {
		if p := recover(); p != nil {
			h.log.Error(fmt.Errorf("panic: %v", p), "recovered in a review", "uid", req.UID, "kind", req.Kind.Kind,
				"namespace", req.Namespace, "name", req.Name)
			h.server.count(req.Kind.Kind, h.ignore)
			resp = undecided(h.ignore, "internal error")
		}
	}()
	resp = h.review(r.Context(), req, timeout(r))
	if resp == nil {
		h.server.count(req.Kind.Kind, h.ignore)
		return undecided(h.ignore, "internal error: no answer")
	}
	return resp
}

// undecided answers a request that could not be judged at all.
func undecided(ignore bool, cause string) *admissionv1.AdmissionResponse {
	text := "Signet could not judge this request: " + cause
	if ignore {
		return &admissionv1.AdmissionResponse{Allowed: true, Warnings: []string{text}}
	}
	return denied(text)
}

func denied(text string) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{Status: metav1.StatusFailure, Message: text}}
}

// timeout is the time that the API server gives this call, 0 when it does not say.
func timeout(r *http.Request) time.Duration {
	d, err := time.ParseDuration(r.URL.Query().Get("timeout"))
	if err != nil || d < 0 {
		return 0
	}
	return d
}

// oneLine makes a warning fit for the HTTP header that the API server sends it in: it leaves out one with line breaks or
// other control characters altogether.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n', c == '\r', c == '\t':
			return ' '
		case unicode.IsControl(c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, ""))
}

// encode writes the answer as an AdmissionReview.
func encode(resp *admissionv1.AdmissionResponse) ([]byte, error) {
	return json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Response: resp,
	})
}
