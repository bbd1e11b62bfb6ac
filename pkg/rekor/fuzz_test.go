package rekor

import (
	"testing"

	"github.com/signet-policy/signet/pkg/fuzztest"
)

// FuzzAnswer: whatever a log answers, it is a bounded number of entries or an error.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`[{"24296fb2":{"body":"e30=","integratedTime":1,"logID":"c0d2","logIndex":1,"verification":{"signedEntryTimestamp":"AAAA"}}}]`,
		`[]`, `null`, `[null]`, `[{"a":null}]`, `[{"a":{"body":1}}]`, `{"code":400}`, ``, `[[[[`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzztest.Bounded(t, 4<<20, 500, len(b), func() {
			if entries, err := parse(b); len(entries) > maxEntries || err != nil && entries != nil {
				t.Errorf("%d entries, %v", len(entries), err)
			}
		})
	})
}
