package verify_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/verify"
)

// VI 6.5(1): the references that policies may hold.
func TestParseReference(t *testing.T) {
	t.Parallel()
	const (
		uuid = "1234abcd-12ab-34cd-56ef-1234567890ab"
		arn  = "arn:aws:kms:us-east-2:111122223333:"
		gcp  = "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k"
	)
	type want struct {
		Secret         [2]string
		Fixed, Foreign bool
	}
	for text, w := range map[string]want{
		"k8s://team/signer":                                        {Secret: [2]string{"team", "signer"}},
		" k8s://team/signer.v1\n":                                  {Secret: [2]string{"team", "signer.v1"}},
		"awskms:///" + uuid:                                        {Fixed: true},
		"awskms:///mrk-1234abcd12ab34cd56ef1234567890ab":           {Fixed: true},
		"awskms:///" + arn + "key/" + uuid:                         {Fixed: true},
		"awskms:///alias/signer":                                   {},
		"awskms:///" + arn + "alias/team/signer":                   {},
		"awskms://kms.test:4566/" + uuid:                           {Fixed: true, Foreign: true},
		"awskms://vpce-1.kms.us-east-1.vpce.amazonaws.com/alias/a": {},
		"awskms://amazonaws.com.evil.test/alias/a":                 {Foreign: true},
		"awskms://kms.us-gov-west-1.amazonaws.com/alias/a":         {},
		"awskms://kms-fips.us-east-1.amazonaws.com:443/alias/a":    {},
		"awskms://kms.us-east-1.api.aws/alias/a":                   {},
		"awskms://kms.cn-north-1.amazonaws.com.cn/alias/a":         {},
		"awskms://x1.execute-api.us-east-1.amazonaws.com/alias/a":  {Foreign: true},
		"awskms://kms.s3.amazonaws.com/alias/a":                    {Foreign: true},
		"awskms://ec2-192-0-2-1.compute-1.amazonaws.com/alias/a":   {Foreign: true},
		"azurekms://acme.vault.azure.net/signer":                   {},
		"azurekms://acme.vault.azure.net/signer/":                  {},
		"azurekms://acme.vault.azure.net/signer/0a1b":              {Fixed: true},
		"azurekms://acme.managedhsm.azure.net/signer":              {},
		gcp:                            {},
		gcp + "/versions/3":            {Fixed: true},
		gcp + "/cryptoKeyVersions/3":   {Fixed: true},
		"hashivault://signer":          {},
		"hashivault://team-a.signer_1": {},
	} {
		ref, err := verify.ParseReference(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		namespace, name := ref.Secret()
		if d := cmp.Diff(w, want{[2]string{namespace, name}, ref.Fixed(), ref.Foreign()}); d != "" || string(ref) != strings.TrimSpace(text) || !verify.IsReference(text) {
			t.Errorf("%s: %s", text, d)
		}
	}
	for text, problem := range map[string]string{
		"":                                      "begins with",
		"cosign.pub":                            "begins with",
		"fakekms://a":                           "begins with",
		"openbao://a":                           "begins with",
		"k8s://a":                               "k8s://<namespace>/<name>",
		"k8s:///a":                              "k8s://<namespace>/<name>",
		"k8s://a/b/c":                           "k8s://<namespace>/<name>",
		"k8s://a/..":                            "k8s://<namespace>/<name>",
		"k8s://A/b":                             "k8s://<namespace>/<name>",
		"k8s://a/b\nk8s://a/c":                  "one word",
		"k8s://a/b c":                           "one word",
		"k8s://a/b\x00":                         "one word",
		"awskms://a":                            "AWS KMS",
		"awskms:///alias/../../x":               "AWS KMS",
		"awskms://user:pass@kms.test/alias/a":   "AWS KMS",
		"awskms://169.254.169.254/alias/a":      "link-local",
		"awskms://127.0.0.1:80/alias/a":         "link-local",
		"awskms://[::1]:80/alias/a":             "link-local",
		"awskms://[fe80::1]/alias/a":            "link-local",
		"azurekms://acme/signer":                "Azure",
		"azurekms://evil.test/signer":           "Azure",
		"azurekms://a.vault.azure.net.x.test/b": "Azure",
		"gcpkms://a":                            "Google",
		gcp + "/versions/":                      "Google",
		"hashivault://../sys":                   "Vault",
		"hashivault://a/b":                      "Vault",
		"hashivault://" + strings.Repeat("a", 1100): "at most",
	} {
		if ref, err := verify.ParseReference(text); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%q: %q, %v", text, ref, err)
		}
	}
}
