package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/signet-policy/signet/pkg/egress"
	"github.com/signet-policy/signet/pkg/reason"
)

// failure is why a request brought nothing usable.
type failure struct {
	err *reason.Error
	// status is the HTTP status when an answer came; zero otherwise.
	status int
	// content is set when an answer came and what it holds is the problem: retrying or blaming the network is wrong.
	content bool
	// transient failures are worth another try.
	transient  bool
	retryAfter time.Duration
	// wrongScheme is set when the peer speaks the other one of HTTP and HTTPS; refused when nobody listens.
	wrongScheme, refused bool
	// challenge is the header of a 401 that came from the host asked, not from one it redirected to.
	challenge http.Header
}

func (f *failure) notFound() bool { return f.status == http.StatusNotFound }

// at puts the place before the text.
func (f *failure) at(place string) *reason.Error {
	e := *f.err
	e.Text = place + ": " + e.Text
	return &e
}

// reached says that somebody did answer, so that this is not a lack of connection.
func (f *failure) reached() *failure {
	if f.err.Unreachable {
		g, e := *f, *f.err
		e.Unreachable = false
		g.err = &e
		return &g
	}
	return f
}

func contentFailure(code reason.Code, url, text string) *failure {
	return &failure{err: reason.New(code, "GET "+url+": "+text), content: true}
}

// statusFailure reads an answer that is not 200. Of its body only a known error code is taken.
func statusFailure(url string, resp *http.Response, body []byte) *failure {
	text := fmt.Sprintf("HTTP %d", resp.StatusCode)
	if name := http.StatusText(resp.StatusCode); name != "" {
		text = fmt.Sprintf("%d %s", resp.StatusCode, name)
	}
	code := errorCode(body)
	f := &failure{status: resp.StatusCode}
	kind := reason.RegistryUnavailable
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		kind = reason.RegistryUnauthorized
	case s == http.StatusNotFound:
		// "MANIFEST_UNKNOWN" says more than the status.
		if code != "" {
			text, code = code, ""
		}
	case s == http.StatusTooManyRequests:
		kind, f.transient = reason.RegistryRateLimited, true
		f.retryAfter = retryAfter(resp.Header)
	case s >= 500 && s != http.StatusNotImplemented:
		f.transient = true
		f.retryAfter = retryAfter(resp.Header)
	}
	if code != "" {
		text += ": " + code
	}
	f.err = reason.New(kind, "GET "+url+": "+text)
	return f
}

// retryAfter reads the header in seconds; a date or nonsense is no wish at all.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.ParseUint(h.Get("Retry-After"), 10, 62)
	switch {
	case err != nil:
		return 0
	case n > 1<<30:
		n = 1 << 30
	}
	return time.Duration(n) * time.Second
}

// errorCode returns the first error code of a distribution error document if it is one of the protocol's own.
func errorCode(body []byte) string {
	var doc struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &doc) != nil || len(doc.Errors) == 0 {
		return ""
	}
	switch c := doc.Errors[0].Code; c {
	case "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
		"MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED",
		"UNSUPPORTED", "TOOMANYREQUESTS":
		return c
	default:
		return ""
	}
}

// transportFailure names why no complete answer came. The texts are ours alone: those of the libraries may quote the
// peer, and addresses inside the cluster.
func transportFailure(ctx context.Context, url string, err error, t *tracker) *failure {
	unavailable := func(text string, unreachable, transient bool) *failure {
		return &failure{
			err:       &reason.Error{Code: reason.RegistryUnavailable, Unreachable: unreachable, Text: "GET " + url + ": " + text},
			transient: transient,
		}
	}
	var dns *net.DNSError
	var op *net.OpError
	var record tls.RecordHeaderError
	dialing := errors.As(err, &op) && op.Op == "dial"
	switch {
	case errors.Is(err, egress.ErrForbidden):
		return unavailable(egress.ErrForbidden.Error(), false, false)
	case ctx.Err() != nil, isTimeout(err):
		if t.neverConnected() || t == nil && dialing {
			f := unavailable("no connection in time", true, false)
			f.err.Err = ctx.Err()
			return f
		}
		e := &reason.Error{Code: reason.RegistryTimeout, Text: "GET " + url + ": no complete answer in time", Err: ctx.Err()}
		return &failure{err: e}
	case errors.As(err, &dns):
		return unavailable("name not resolved", true, false)
	case dialing:
		f := unavailable(dialText(err), true, errors.Is(err, syscall.ECONNREFUSED))
		f.refused = errors.Is(err, syscall.ECONNREFUSED)
		return f
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		f := unavailable("TLS failure: the server does not speak TLS", false, false)
		f.wrongScheme = true
		return f
	case strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`):
		f := unavailable("the server speaks TLS, not plain HTTP", false, false)
		f.wrongScheme = true
		return f
	case tlsText(err) != "":
		return unavailable("TLS failure: "+tlsText(err), false, false)
	case t.unanswered():
		// The library words an early end in several ways; not a byte came in any of them.
		return unavailable("connection closed before any answer", true, true)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return unavailable("connection broken", false, true)
	default:
		// HTTP/2 resets, broken chunking, header floods and everything else that is not HTTP.
		return unavailable("no usable HTTP answer", false, true)
	}
}

func dialText(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "host unreachable"
	default:
		return "no connection"
	}
}

func tlsText(err error) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	var alert tls.AlertError
	switch {
	case errors.As(err, &unknown):
		return "certificate signed by an unknown authority"
	case errors.As(err, &host):
		return "certificate is not for this host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate expired or not yet valid"
	case errors.As(err, &invalid), errors.As(err, &verification):
		return "certificate not acceptable"
	case errors.As(err, &alert), strings.Contains(err.Error(), "tls: "):
		return "handshake failed"
	default:
		return ""
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
