// Package differential asks the real cosign about every image of the corpus, with the flags that mean the same as the
// case's policy. Where its verdict is another one than Signet's, the reason is stated here and in docs/compatibility.md,
// and nowhere else.
package differential

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/test/env"
	"github.com/signet-policy/signet/testdata/corpus"
)

func TestCosign(t *testing.T) {
	t.Parallel()
	cases, err := corpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	registry := registrytest.New(t)
	registry.Load(corpus.Images(), nil)
	dir := t.TempDir()
	cosign, err := env.NewCosign(t.Context(), dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	asked, names := 0, map[string]bool{}
	t.Run("case", func(t *testing.T) {
		for _, c := range cases {
			names[c.Name] = true
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				list, err := commands(t.Context(), cosign, &c, t.TempDir(), registry.Host())
				if errors.Is(err, errNoFlags) {
					t.Log(err)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				verdict, said := corpus.Accept, ""
				for _, cmd := range list {
					res, err := cosign.With(cmd.env...).Run(t.Context(), append(cmd.args, registry.Host()+"/"+c.Image)...)
					if err != nil {
						t.Fatal(err)
					}
					if res.Code != 0 {
						verdict, said = corpus.Refuse, res.Stderr
						break
					}
				}
				mu.Lock()
				asked++
				mu.Unlock()
				compare(t, &c, verdict, said)
			})
		}
	})
	for _, d := range differences() {
		for _, name := range d.cases {
			if !names[name] {
				t.Errorf("the corpus has no case %s", name)
			}
		}
	}
	// What cosign has no flags for is mostly several attestors in one policy.
	if least := len(cases) * 9 / 10; asked < least {
		t.Errorf("cosign was asked about %d of %d cases, want %d", asked, len(cases), least)
	}
}

// compare holds cosign's verdict against the right one, which other tests hold Signet against.
func compare(t *testing.T, c *corpus.Case, verdict, said string) {
	t.Helper()
	d := expected(c.Name)
	switch {
	case d == nil && verdict != c.Expected:
		t.Errorf("cosign: %s, the corpus: %s (%s)\n%s", verdict, c.Expected, c.Reason, said)
	case d != nil && verdict == c.Expected:
		t.Errorf("cosign no longer differs: %s", verdict)
	case d != nil && (verdict != d.cosign || !strings.Contains(said, d.says)):
		t.Errorf("cosign: %s, want %s (%s)\n%s", verdict, d.cosign, d.says, said)
	}
}
