package registrytest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Raw writes bytes to the connection in place of an answer and closes it: whatever is no HTTP, or lies about itself. It is for
// servers without TLS.
func Raw(answer string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer conn.Close()
		io.WriteString(conn, answer)
	}
}

// DripHeader sends a header that does not end, byte by byte, each time the interval has passed. It is for servers without TLS.
func DripHeader(every time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Long: "); err != nil {
			return
		}
		for {
			select {
			case <-time.After(every):
			case <-r.Context().Done():
				return
			}
			if _, err := conn.Write([]byte("x")); err != nil {
				return
			}
		}
	}
}

// BigHeader lets the registry answer and adds headers of about as many bytes.
func BigHeader(size int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		value := strings.Repeat("x", 1000)
		for i := range size / 1000 {
			w.Header().Set("X-Filler-"+strconv.Itoa(i), value)
		}
		next.ServeHTTP(w, r)
	}
}

// Informational sends interim answers without end, and counts them in sent. It is for servers without TLS.
func Informational(sent *atomic.Int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer conn.Close()
		for r.Context().Err() == nil {
			if _, err := io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"); err != nil {
				return
			}
			if sent != nil {
				sent.Add(1)
			}
		}
	}
}

// Gzip lets the registry answer and compresses the answer; with said it says so in the header, as registries do for clients
// that asked.
func Gzip(said bool) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(rec.Body.Bytes())
		z.Close()
		maps.Copy(w.Header(), rec.Header())
		w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
		if said {
			w.Header().Set("Content-Encoding", "gzip")
		}
		w.WriteHeader(rec.Code)
		w.Write(b.Bytes())
	}
}

// Bomb answers with bytes that are a thousand times as many once they are decompressed: size, a multiple of a mebibyte.
func Bomb(contentType string, size int64) Fault {
	// Streams of gzip may stand one behind the other.
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(make([]byte, 1<<20))
	z.Close()
	bomb := bytes.Repeat(b.Bytes(), int(size>>20))
	return Body(http.StatusOK, contentType, bomb, "Content-Encoding", "gzip")
}

// Loop redirects to the same path again and again, each time by another query.
func Loop() Fault {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		Redirect(http.StatusTemporaryRedirect, fmt.Sprintf("%s?hop=%d", r.URL.Path, n.Add(1)))(w, r, next)
	}
}

// EndlessPages answers requests for referrers with pages of count entries that do not exist, each with a next one.
func EndlessPages(count int) Fault {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		page := n.Add(1)
		list := make([]string, count)
		for i := range list {
			list[i] = fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":2}`, manifestType, DigestOf(fmt.Append(nil, page, i)))
		}
		w.Header().Set("Content-Type", indexType)
		w.Header().Set("Link", fmt.Sprintf(`<%s?page=%d>; rel="next"`, r.URL.Path, page))
		fmt.Fprintf(w, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, indexType, strings.Join(list, ","))
	}
}

// Challenge answers 401 and sends the client to a realm for a token, for the scope if that is not empty.
func Challenge(realm, scope string) Fault {
	value := fmt.Sprintf(`Bearer realm=%q,service="registry"`, realm)
	if scope != "" {
		value += fmt.Sprintf(",scope=%q", scope)
	}
	return Status(http.StatusUnauthorized, "UNAUTHORIZED", "WWW-Authenticate", value)
}

// Reset begins an answer and breaks it off: over HTTP/2 by a reset of the stream, and otherwise with the connection.
func Reset() Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes()[:min(1, rec.Body.Len())])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}
