package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/policy"
)

// VI 1.5, 7.2(2): what an entry says about credentials.
func TestCredentials(t *testing.T) {
	t.Parallel()
	const at = "spec.rules[0].verifyImages[0].imageRegistryCredentials."
	cases := map[string]struct {
		credentials string
		want        *policy.Credentials
		err         string
	}{
		"none": {"", nil, ""},
		"all": {"{secrets: [a, b/c.d], providers: [google, default], allowInsecureRegistry: true}", &policy.Credentials{
			Secrets: []policy.SecretName{{Name: "a"}, {Namespace: "b", Name: "c.d"}}, Providers: []string{"google", "default"}, AllowInsecure: true}, ""},
		"empty":            {"{}", &policy.Credentials{}, ""},
		"unknown provider": {"{providers: [docker]}", nil, at + `providers[0]: Unsupported value: "docker"`},
		"no name":          {`{secrets: [""]}`, nil, at + "secrets[0]: Invalid value"},
		"path":             {"{secrets: [a/../b]}", nil, at + "secrets[0]: Invalid value"},
		"variable":         {`{secrets: ["{{ nobody }}/a"]}`, nil, at + "secrets[0]: Invalid value"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entry := `{imageReferences: ["*"]}`
			if tc.credentials != "" {
				entry = `{imageReferences: ["*"], imageRegistryCredentials: ` + tc.credentials + `}`
			}
			p, errs := policy.CompileCluster(cluster(t, entries(t, entry)), policy.Options{})
			if tc.err != "" {
				if len(errs) == 0 || !strings.HasPrefix(errs[0].Error(), tc.err) {
					t.Errorf("got %v, want %s", errs, tc.err)
				}
				return
			}
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			if d := cmp.Diff(tc.want, p.Rules[0].Entries[0].Credentials); d != "" {
				t.Error(d)
			}
		})
	}
}
