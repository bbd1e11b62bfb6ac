package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/signet-policy/signet/pkg/reason"
)

const (
	maxRedirects = 5
	// maxCache bounds the file that keeps a repository's content, in bytes.
	maxCache = 64 << 20
)

// errAnswer is a response that says nothing usable.
var errAnswer = errors.New("unusable answer")

// web asks the mirror within one attempt, and remembers whether anybody answered.
type web struct {
	client   *http.Client
	agent    string
	answered bool
}

// transport is like the standard library's, proxies and certificate authorities of the environment included, with
// shorter limits.
func transport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTime}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          2,
		IdleConnTimeout:       10 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 20 * time.Second,
	}
}

// redirect follows few redirects, and none that gives up TLS.
func redirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: too many redirects", errAnswer)
	case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("%w: a redirect away from https", errAnswer)
	}
	return nil
}

// get reads a document of at most limit bytes.
func (w *web) get(ctx context.Context, url string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if w.agent != "" {
		req.Header.Set("User-Agent", w.agent)
	}
	resp, err := w.client.Do(req)
	if resp != nil {
		w.answered = true
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, resp.Body, 4096) // lets the connection be used again
		return nil, &metadata.ErrDownloadHTTP{StatusCode: resp.StatusCode, URL: req.URL.Redacted()}
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("larger than %d bytes", limit)}
	}
	return b, nil
}

// explain makes a failure presentable: its text is ours alone, whatever the mirror has sent.
func (t *TUF) explain(ctx context.Context, w *web, err error) *reason.Error {
	e := &reason.Error{Code: reason.TrustMaterialUnavailable, Err: shortened(err)}
	var status *metadata.ErrDownloadHTTP
	var timeout interface{ Timeout() bool }
	text := "gives no usable root"
	switch {
	case !w.answered && ctx.Err() == nil && unconnected(err):
		e.Unreachable = true
		text = "could not be connected to"
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		text = "has not answered in time"
	case errors.As(err, &status):
		text = fmt.Sprintf("answers with HTTP %d", status.StatusCode)
	case errors.Is(err, errRolledBack), errors.Is(err, &metadata.ErrBadVersionNumber{}):
		text = "offers older content than it did, or versions that do not fit"
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		text = "has expired metadata"
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
		text = "has metadata that is not signed as its root demands"
	}
	e.Text = t.live.name + " " + text
	return e
}

// unconnected tells whether no connection was made, or it ended before there was any answer.
func unconnected(err error) bool {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return true
	case errors.As(err, &op) && op.Op == "dial":
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// shortened bounds a text that may quote the mirror.
func shortened(err error) error {
	const limit = 400
	if text := err.Error(); len(text) > limit {
		return errors.New(strings.ToValidUTF8(text[:limit], "") + "…")
	}
	return err
}

func isURL(s string) bool { return strings.Contains(s, "://") }

// cacheFile is where the repository's content is kept; empty for nowhere. The name is a hash of mirror and initial root,
// so that neither can choose it and no two share one.
func (t *TUF) cacheFile() string {
	if t.options.CacheDir == "" {
		return ""
	}
	root := sha256.Sum256(t.options.Root)
	sum := sha256.Sum256(append(root[:], t.mirror...))
	return filepath.Join(t.options.CacheDir, hex.EncodeToString(sum[:])+".json")
}

// readCache reads what was kept; nil when there is nothing usable.
func readCache(path string) files {
	if path == "" {
		return nil
	}
	b, err := readFile(path, maxCache)
	if err != nil {
		return nil
	}
	var f files
	if json.Unmarshal(b, &f) != nil {
		return nil
	}
	return f
}

// get answers as the mirror did when the files were kept.
func (f files) get(url string, limit int64) ([]byte, error) {
	b, ok := f[url]
	if suffix := "." + target; !ok && strings.HasSuffix(url, suffix) {
		// The library asks for the target by any one of its hashes; it was kept by one of them, and is checked by all.
		for u := range f {
			if strings.HasSuffix(u, suffix) {
				b, ok = f[u], true
			}
		}
	}
	switch {
	case !ok:
		return nil, &metadata.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: url}
	case int64(len(b)) > limit:
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("larger than %d bytes", limit)}
	}
	return b, nil
}

// write keeps the files, in the place of those that were kept before.
func (f files) write(path string) error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".signet-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
