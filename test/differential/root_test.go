package differential

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/signet-policy/signet/test/env"
	"github.com/signet-policy/signet/testdata/corpus"
)

// trust is what a policy names in its own fields, as cosign's commands for trusted roots take it.
type trust struct {
	fulcio, rekor, tsa string // files
}

func (t trust) any() bool { return t != trust{} }

// emptyRoot trusts nobody.
const emptyRoot = `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`

// root writes a trusted root: that of the file, in which the parts that the policy names itself are replaced. cosign has no
// flags for these parts, or none for bundles.
func (t trust) root(ctx context.Context, cosign *env.Cosign, base, dir string) (string, error) {
	own := filepath.Join(dir, "own.json")
	args := []string{"trusted-root", "create", "--out", own}
	const since = "start-time=2020-01-01T00:00:00Z"
	replaced := map[string]bool{"certificateAuthorities": t.fulcio != "", "tlogs": t.rekor != "", "timestampAuthorities": t.tsa != ""}
	if t.fulcio != "" {
		args = append(args, "--fulcio=url=https://ca.example.test,certificate-chain="+t.fulcio)
	}
	if t.rekor != "" {
		args = append(args, fmt.Sprintf("--rekor=url=https://rekor.example.test,public-key=%s,%s", t.rekor, since))
	}
	if t.tsa != "" {
		args = append(args, "--tsa=url=https://tsa.example.test,certificate-chain="+t.tsa)
	}
	if _, err := cosign.Must(ctx, args...); err != nil {
		return "", err
	}
	text := emptyRoot
	if base != "" {
		var err error
		if text, err = corpus.Read(base); err != nil {
			return "", err
		}
	}
	raw, err := os.ReadFile(own)
	if err != nil {
		return "", err
	}
	var all, mine map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return "", err
	}
	if err := json.Unmarshal(raw, &mine); err != nil {
		return "", err
	}
	for field, yes := range replaced {
		if yes {
			all[field] = mine[field]
		}
	}
	if raw, err = json.Marshal(all); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "root.json")
	return file, os.WriteFile(file, raw, 0o600)
}
