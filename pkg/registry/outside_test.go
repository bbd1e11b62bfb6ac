package registry

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/egress"
)

// answer plays the network.
type answer func(*http.Request) *http.Response

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) { return a(r), nil }

// An answer is read up to the limit, and redirects are followed three times, never to where addresses may not lead.
func TestOutsideBounds(t *testing.T) {
	t.Parallel()
	const limit = 1000
	for name, tc := range map[string]struct {
		respond answer
		want    error
		hops    int
	}{
		"at the limit":    {respond: body(limit)},
		"above the limit": {respond: body(limit + 1), want: errTooLarge},
		"redirects without end": {respond: func(*http.Request) *http.Response {
			return redirect("http://ocsp.example/again")
		}, want: errTooManyRedirects, hops: 4},
		"redirect to the metadata service": {respond: func(*http.Request) *http.Response {
			return redirect("http://169.254.169.254/latest")
		}, want: egress.ErrForbidden, hops: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, hops := outside("signet/test", limit), 0
			client.Transport.(*guarded).next = answer(func(r *http.Request) *http.Response {
				if hops++; r.Header.Get("User-Agent") != "signet/test" || r.Header.Get("Authorization") != "" {
					t.Errorf("%v", r.Header)
				}
				return tc.respond(r)
			})
			resp, err := client.Get("http://ocsp.example/")
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			if tc.hops > 0 && hops != tc.hops {
				t.Errorf("%d requests, want %d", hops, tc.hops)
			}
		})
	}
}

func body(n int) answer {
	return func(*http.Request) *http.Response {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(strings.Repeat("a", n)))}
	}
}

func redirect(to string) *http.Response {
	return &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {to}}, Body: http.NoBody}
}
