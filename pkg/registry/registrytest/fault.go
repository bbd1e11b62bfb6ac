package registrytest

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"time"
)

// Match selects requests. Empty fields fit everything.
type Match struct {
	Kind       string
	Repository string
	Reference  string
	// Skip leaves the first requests that fit alone; Times, when positive, ends the fault after as many.
	Skip, Times int
}

func (m Match) fits(e *Entry) bool {
	return (m.Kind == "" || m.Kind == e.Kind) && (m.Repository == "" || m.Repository == e.Repository) &&
		(m.Reference == "" || m.Reference == e.Reference)
}

// Fault answers a request in place of the registry, which is next.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

type armed struct {
	match Match
	fault Fault
	seen  int
}

// Fault applies f to the requests that match, until the function returned is called. Of several faults that fit, the
// one added last is applied.
func (s *Server) Fault(m Match, f Fault) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &armed{match: m, fault: f}
	s.faults = append(s.faults, a)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		a.fault = nil
	}
}

// faultFor is called with the lock held.
func (s *Server) faultFor(e *Entry) Fault {
	for i := len(s.faults) - 1; i >= 0; i-- {
		a := s.faults[i]
		if a.fault == nil || !a.match.fits(e) {
			continue
		}
		a.seen++
		if n := a.seen - a.match.Skip; n > 0 && (a.match.Times == 0 || n <= a.match.Times) {
			return a.fault
		}
	}
	return nil
}

// NoReferrersAPI makes the server one that never heard of referrers.
func (s *Server) NoReferrersAPI() {
	s.Fault(Match{Kind: Referrers}, Body(http.StatusNotFound, "text/plain", []byte("404 page not found\n")))
}

// EmptyReferrers makes the referrers API answer that there are none.
func (s *Server) EmptyReferrers() {
	s.Fault(Match{Kind: Referrers}, Body(http.StatusOK, indexType, []byte(`{"schemaVersion":2,"mediaType":"`+indexType+`","manifests":null}`)))
}

// Status answers with a status, an error document with the code when that is not empty, and headers given as names and
// values in turn.
func Status(status int, code string, header ...string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		if code != "" {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		if code != "" {
			fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"secret words of the registry"}]}`, code)
		}
	}
}

// Body answers with other bytes.
func Body(status int, contentType string, body []byte, header ...string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		w.Write(body)
	}
}

// Change lets the registry answer and changes the answer on its way.
func Change(f func(res *http.Response, body []byte) []byte) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		res := rec.Result()
		body := f(res, rec.Body.Bytes())
		maps.Copy(w.Header(), res.Header)
		if w.Header().Get("Content-Length") == strconv.Itoa(rec.Body.Len()) {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		w.WriteHeader(res.StatusCode)
		w.Write(body)
	}
}

// Header lets the registry answer and sets one header of the answer; an empty value removes it.
func Header(name, value string) Fault {
	return Change(func(res *http.Response, body []byte) []byte {
		if value == "" {
			res.Header.Del(name)
		} else {
			res.Header.Set(name, value)
		}
		return body
	})
}

// FlipBit lets the registry answer and changes one bit in the middle of the body.
func FlipBit() Fault {
	return Change(func(_ *http.Response, body []byte) []byte {
		body = bytes.Clone(body)
		if len(body) > 0 {
			body[len(body)/2] ^= 1
		}
		return body
	})
}

// Truncate announces the whole body, sends half of it and breaks the connection.
func Truncate() Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		maps.Copy(w.Header(), rec.Header())
		w.Header().Set("Content-Length", strconv.Itoa(rec.Body.Len()))
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// Hang says nothing until the client goes away or the server is closed.
func Hang() Fault {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

// Delay waits before the registry answers.
func Delay(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case <-time.After(d):
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// Close breaks the connection before any answer.
func Close() Fault {
	return func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }
}

// Drip sends the header at once and then one byte of the body each time the interval has passed.
func Drip(every time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		for _, b := range rec.Body.Bytes() {
			w.Write([]byte{b})
			http.NewResponseController(w).Flush()
			select {
			case <-time.After(every):
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
	}
}

// Endless answers 200 with a body that does not end, and counts the bytes that it got rid of in sent.
func Endless(contentType string, sent *atomic.Int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", contentType)
		chunk := bytes.Repeat([]byte(" "), 32<<10)
		for r.Context().Err() == nil {
			n, err := w.Write(chunk)
			if sent != nil {
				sent.Add(int64(n))
			}
			if err != nil {
				return
			}
		}
	}
}

// Redirect points to the location.
func Redirect(status int, location string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	}
}

// InTurn applies one fault after the other, and begins anew after the last. A nil fault lets the registry answer.
func InTurn(faults ...Fault) Fault {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		f := faults[int(n.Add(1)-1)%len(faults)]
		if f == nil {
			next.ServeHTTP(w, r)
			return
		}
		f(w, r, next)
	}
}

// As lets the registry answer as if another reference of the same kind had been asked for.
func As(reference string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		kind, repository, _ := classify(r.URL.Path)
		part := map[string]string{Tag: "/manifests/", Manifest: "/manifests/", Blob: "/blobs/", Referrers: "/referrers/"}[kind]
		other := r.Clone(r.Context())
		other.URL.Path = "/v2/" + repository + part + reference
		other.RequestURI = other.URL.RequestURI()
		next.ServeHTTP(w, other)
	}
}

// Unless lets a request through that passes the test, and applies the fault to the others.
func Unless(pass func(*http.Request) bool, f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if pass(r) {
			next.ServeHTTP(w, r)
			return
		}
		f(w, r, next)
	}
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
