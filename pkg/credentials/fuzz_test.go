package credentials

import (
	"strings"
	"testing"

	"github.com/signet-policy/signet/pkg/fuzztest"
)

// FuzzConfig: whatever a Secret holds, its credentials are found for the hosts that its entries name and for no others,
// and an error quotes nothing of it.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{
		`{"auths":{"ghcr.io":{"auth":"bWU6aHVudGVyMg=="}}}`, `{"auths":{"https://index.docker.io/v1/":{"username":"me","password":"hunter2"}}}`,
		`{"auths":{"*.example.com:5000/team":{"auth":"x"}},"credHelpers":{"ghcr.io":"evil"},"credsStore":"evil"}`, `{"auths":{"[":{"username":"a"}}}`, `{"auths":null}`, `[]`, ``, `{"ghcr.io":{"auth":"hunter2"}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fuzztest.Bounded(t, 4<<20, 500, len(text), func() {
			for kind, key := range map[string]string{typeConfigJSON: keyConfigJSON, typeConfig: keyConfig} {
				c, err := parse(kind, map[string][]byte{key: []byte(text)})
				if err != nil {
					if len(text) > 12 && strings.Contains(err.Error(), text) {
						t.Errorf("the error quotes the Secret: %v", err)
					}
					continue
				}
				for _, host := range []string{"ghcr.io", "ghcr.io.evil.example", "evil-ghcr.io", "a.b.example.com:5000", "169.254.169.254"} {
					if c.find(host, "team/app") != nil && !strings.Contains(strings.ToLower(text), strings.ToLower(host)) && !strings.ContainsAny(text, `*?[\`) {
						t.Errorf("%q has credentials for %s", text, host)
					}
				}
			}
		})
	})
}
