package cli

import (
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/verify"
)

// authoredName is the name of the policy that the flags stand for.
const authoredName = "command-line"

// authored states the flags as a policy, so that one compiler decides what they mean. It is nil when they name nobody who
// must have signed.
func (f *flags) authored() (*v1.ClusterPolicy, error) {
	attestor, rule, err := f.attestor()
	if err != nil || attestor == nil {
		return nil, err
	}
	if attestor.Annotations, err = pairs(f.annotations); err != nil {
		return nil, err
	}
	attestor.Repository = f.repository
	kind, err := f.verificationType()
	if err != nil {
		return nil, err
	}
	return &v1.ClusterPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: authoredName},
		Spec: v1.Spec{Rules: []v1.Rule{{
			Name: rule,
			Match: v1.MatchResources{Any: v1.ResourceFilters{{
				Resources: v1.ResourceDescription{Kinds: []string{"Pod"}},
			}}},
			VerifyImages: []v1.ImageVerification{{
				ImageReferences: []string{"*"}, FailureAction: v1.EntryEnforce, Type: kind,
				Attestors: []v1.AttestorSet{{Entries: []v1.Attestor{*attestor}}},
			}},
		}}},
	}, nil
}

// attestor is who must have signed, and the name of the rule that says so; nil when nobody is named.
func (f *flags) attestor() (*v1.Attestor, string, error) {
	var errs [5]error
	rekor := &v1.Rekor{IgnoreTlog: f.ignoreLog}
	rekor.PubKey, errs[0] = pem("--rekor-public-key", f.rekorKey)
	ctlog := &v1.CTLog{IgnoreSCT: f.ignoreSCT}
	ctlog.TSACertChain, errs[1] = pem("--timestamp-certificate-chain", f.tsaChain)
	var a *v1.Attestor
	rule := ""
	switch {
	case f.key != "":
		rule = "key"
		k := &v1.StaticKeyAttestor{SignatureAlgorithm: f.signatureAlgorithm, Rekor: rekor, CTLog: ctlog}
		k.PublicKeys, errs[2] = f.publicKeys()
		a = &v1.Attestor{Keys: k}
	case f.byCertificate():
		rule = "certificate"
		c := &v1.CertificateAttestor{Rekor: rekor, CTLog: ctlog}
		if strings.EqualFold(f.kind, string(v1.Notary)) && *rekor == (v1.Rekor{}) && *ctlog == (v1.CTLog{}) {
			c.Rekor, c.CTLog = nil, nil // nothing is said of them, and they have no effect
		}
		c.Certificate, errs[2] = pem("--certificate", f.certificate)
		c.CertificateChain, errs[3] = pem("--certificate-chain", f.certificateChain)
		a = &v1.Attestor{Certificates: c, SignatureAlgorithm: f.signatureAlgorithm}
	case f.byIdentity():
		rule = "identity"
		// The contract wants an address with an identity; only the proof that a signature carries is looked at.
		rekor.URL = "https://rekor.sigstore.dev"
		a = &v1.Attestor{SignatureAlgorithm: f.signatureAlgorithm, Keyless: &v1.KeylessAttestor{
			Subject: f.identity, SubjectRegExp: f.identityRegexp, Issuer: f.issuer, IssuerRegExp: f.issuerRegexp,
			Rekor: rekor, CTLog: ctlog,
		}}
	}
	return a, rule, errors.Join(errs[:]...)
}

// publicKeys is the text for the policy. Keys are read here already, because the compiler quotes the beginning of what it
// refuses, and what somebody gave by mistake may be a private key.
func (f *flags) publicKeys() (string, error) {
	if scheme, _, ok := strings.Cut(f.key, "://"); ok && !strings.ContainsAny(scheme, " \n/") {
		return f.key, nil // the compiler knows which of these are evaluated
	}
	text, err := pem("--key", f.key)
	if err != nil {
		return "", err
	}
	if _, err := verify.ParseKeys(text); err != nil {
		return "", fmt.Errorf("--key: %w", err)
	}
	return text, nil
}

func (f *flags) verificationType() (v1.ImageVerificationType, error) {
	if f.kind == "" {
		return "", nil
	}
	for _, t := range []v1.ImageVerificationType{v1.Cosign, v1.SigstoreBundle, v1.Notary} {
		if strings.EqualFold(f.kind, string(t)) {
			return t, nil
		}
	}
	return "", fmt.Errorf("--type %.40q: cosign, sigstorebundle or notary is expected", f.kind)
}

// pem is a flag's PEM text, given as it is or as a file.
func pem(flag, value string) (string, error) {
	if value == "" || strings.HasPrefix(strings.TrimSpace(value), "-----BEGIN") {
		return value, nil
	}
	b, err := readFile(value)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return string(b), nil
}

// pairs reads key=value texts; nil when there are none.
func pairs(list []string) (map[string]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	m := make(map[string]string, len(list))
	for _, p := range list {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("--annotations %.80q: key=value is expected", p)
		}
		if before, ok := m[k]; ok && before != v {
			return nil, fmt.Errorf("--annotations: %.80q is given with two values", k)
		}
		m[k] = v
	}
	return m, nil
}
