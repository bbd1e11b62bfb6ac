package sigstore

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// signer is who has to have made a candidate's signature.
type signer struct {
	key  crypto.PublicKey
	hash crypto.Hash
	// certificate is set when it has to be chained to roots. Without one, the key is all that counts.
	certificate *x509.Certificate
	// given is set when the policy holds the certificate, not the candidate.
	given bool
}

// signerOf finds out whose signature the attestor asks for. The error is a *reason.Error.
func signerOf(s *signed, a *verify.Attestor) (*signer, error) {
	kinds := 0
	for _, set := range []bool{a.Key != nil, a.Certificates != nil, a.Keyless != nil} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		return nil, reason.New(reason.TrustMaterialInvalid, "the attestor needs exactly one of a key, a certificate and an identity")
	}
	who := &signer{key: a.Key, hash: a.Hash}
	switch given := a.Certificates; {
	case a.Key != nil:
		return who, nil
	case given != nil && given.Leaf != nil:
		who.key = given.Leaf.PublicKey
		if len(given.Roots) > 0 {
			who.certificate, who.given = given.Leaf, true
		}
		return who, nil
	case given != nil && len(given.Roots) == 0:
		return nil, reason.New(reason.TrustMaterialInvalid, "the attestor has neither a certificate nor a chain")
	case s.certificate == nil:
		return nil, reason.New(reason.BadSignature, "certificate not found")
	}
	who.key, who.certificate = s.certificate.PublicKey, s.certificate
	return who, nil
}

// check verifies the signature, and returns what verified it. The error is a *reason.Error.
func (who *signer) check(s *signed) (*checker, error) {
	hashes := []crypto.Hash{who.hash}
	if usual := logHash(who.key); who.hash == 0 && who.certificate != nil && usual != crypto.SHA256 {
		hashes = append(hashes, usual)
	}
	var first error
	for _, hash := range hashes {
		c, err := newChecker(who.key, hash)
		switch {
		case err != nil && who.certificate != nil && !who.given:
			return nil, reason.New(reason.BadSignature, "the certificate's key: "+err.Error())
		case err != nil:
			return nil, reason.New(reason.TrustMaterialInvalid, "public key: "+err.Error())
		}
		if err = c.signature(s); err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
	}
	text := first.Error()
	if s.certificate != nil && who.certificate == nil {
		text += " (it was made with a certificate)"
	}
	return nil, reason.New(reason.BadSignature, text)
}

// authority is a group of roots with the intermediates that are known to stand below them.
type authority struct {
	roots, intermediates []*x509.Certificate
	// start and end bound the times at which the authority counts; zero bounds nothing.
	start, end time.Time
}

// authorities are those that the attestor trusts. The error is a *reason.Error.
func (v *Verifier) authorities(a *verify.Attestor) ([]authority, error) {
	if c := a.Certificates; c != nil {
		return []authority{{roots: c.Roots, intermediates: c.Intermediates}}, nil
	}
	if len(a.Keyless.Roots) > 0 {
		return []authority{{roots: a.Keyless.Roots}}, nil
	}
	trusted, err := v.material()
	if err != nil {
		return nil, err
	}
	var list []authority
	for _, ca := range trusted.FulcioCertificateAuthorities() {
		// One of another type could not be looked into.
		if f, ok := ca.(*root.FulcioCertificateAuthority); ok && f.Root != nil {
			list = append(list, authority{[]*x509.Certificate{f.Root}, f.Intermediates, f.ValidityPeriodStart, f.ValidityPeriodEnd})
		}
	}
	return list, nil
}

// path is a chain from the signer's certificate to a root.
type path struct {
	chain      []*x509.Certificate
	start, end time.Time
}

// validAt tells whether the whole path is valid at the time.
func (p *path) validAt(t time.Time) bool {
	if !p.start.IsZero() && t.Before(p.start) || !p.end.IsZero() && t.After(p.end) {
		return false
	}
	for _, c := range p.chain {
		if t.Before(c.NotBefore) || t.After(c.NotAfter) {
			return false
		}
	}
	return true
}

// until is the last time at which the whole path is valid.
func (p *path) until() time.Time {
	last := p.end
	for _, c := range p.chain {
		if last.IsZero() || c.NotAfter.Before(last) {
			last = c.NotAfter
		}
	}
	return last
}

// paths finds the chains from the signer's certificate to the attestor's roots, whenever they were valid: the trusted
// times are known only after the proofs were verified. The error is a *reason.Error.
func (v *Verifier) paths(s *signed, a *verify.Attestor, who *signer) ([]path, error) {
	untrusted := func(text string) error { return reason.New(reason.CertificateUntrusted, text) }
	leaf := who.certificate
	if leaf.IsCA && !who.given {
		return nil, untrusted("the certificate is one of an authority, not of a signer")
	}
	list, err := v.authorities(a)
	if err != nil {
		return nil, err
	}
	var carried []*x509.Certificate
	if s.intermediates != nil {
		carried, err = s.intermediates()
	}
	if err != nil {
		var r *reason.Error
		if errors.As(err, &r) {
			return nil, r
		}
		return nil, reason.New(reason.BadSignature, "malformed signature: the certificate's chain: "+shown(err))
	}
	var found []path
	why := errors.New("no authority is trusted")
	for _, from := range list {
		chains, err := v.memo.find(&from, leaf, carried)
		if err != nil {
			why = err
			continue
		}
		for _, chain := range chains {
			found = append(found, path{chain, from.start, from.end})
		}
	}
	if len(found) == 0 {
		return nil, untrusted("the certificate is not trusted: " + shown(why))
	}
	if !who.given && len(s.certified.Subjects) > maxNames {
		return nil, reason.New(reason.LimitReached, fmt.Sprintf("the certificate has more than %d names", maxNames))
	}
	return found, nil
}

// chains finds the chains for code signing from the certificate to the authority. Their validity in time is not looked
// at, which is why the library is given copies that are valid at all times.
func (from *authority) chains(leaf *x509.Certificate, carried []*x509.Certificate) ([][]*x509.Certificate, error) {
	carried = rooted(append(slices.Clone(from.roots), from.intermediates...), carried)
	at := time.Unix(0, 0)
	originals := map[*x509.Certificate]*x509.Certificate{}
	timeless := func(c *x509.Certificate) *x509.Certificate {
		always := *c
		always.NotBefore, always.NotAfter = at, at
		originals[&always] = c
		return &always
	}
	pool := func(lists ...[]*x509.Certificate) *x509.CertPool {
		p := x509.NewCertPool()
		for _, list := range lists {
			for _, c := range list {
				p.AddCert(timeless(c))
			}
		}
		return p
	}
	end := timeless(leaf)
	end.UnhandledCriticalExtensions = nil
	for _, id := range leaf.UnhandledCriticalExtensions {
		// Names of a kind of their own are critical, and unknown to the library.
		if !id.Equal(oidNames) {
			end.UnhandledCriticalExtensions = append(end.UnhandledCriticalExtensions, id)
		}
	}
	chains, err := end.Verify(x509.VerifyOptions{
		Roots: pool(from.roots), Intermediates: pool(from.intermediates, carried), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	})
	if err != nil {
		return nil, err
	}
	for _, chain := range chains {
		for i, c := range chain {
			chain[i] = originals[c]
		}
	}
	return chains, nil
}

// verifySCT looks for a promise by a certificate log that it knows the certificate. Where no log is named, none is
// asked for (VI 6.5(5)). The error is a *reason.Error.
func (v *Verifier) verifySCT(a *verify.Attestor, paths []path) error {
	if a.IgnoreSCT {
		return nil
	}
	logs, err := v.certificateLogs(a)
	if err != nil || len(logs) == 0 {
		return err
	}
	chains := make([][]*x509.Certificate, len(paths))
	for i := range paths {
		chains[i] = paths[i].chain
	}
	if err := sgverify.VerifySignedCertificateTimestamp(chains, 1, ctMaterial{logs: logs}); err != nil {
		return reason.New(reason.SCTMissing, "no certificate log vouches for the certificate: "+shown(err))
	}
	return nil
}

// certificateLogs are the attestor's, or else the trust root's, by their identifiers.
func (v *Verifier) certificateLogs(a *verify.Attestor) (map[string]*root.TransparencyLog, error) {
	if len(a.CTLogKeys) == 0 {
		trusted, err := v.material()
		if err != nil {
			return nil, err
		}
		return trusted.CTLogs(), nil
	}
	logs := map[string]*root.TransparencyLog{}
	for _, key := range a.CTLogKeys {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return nil, reason.New(reason.TrustMaterialInvalid, "certificate log: "+err.Error())
		}
		id := sha256.Sum256(der)
		logs[hex.EncodeToString(id[:])] = &root.TransparencyLog{ID: id[:], PublicKey: key, HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256}
	}
	return logs, nil
}

// ctMaterial is the certificate logs alone.
type ctMaterial struct {
	root.BaseTrustedMaterial
	logs map[string]*root.TransparencyLog
}

func (m ctMaterial) CTLogs() map[string]*root.TransparencyLog                  { return m.logs }
func (m ctMaterial) RekorLogs() map[string]*root.TransparencyLog               { return nil }
func (m ctMaterial) TimestampingAuthorities() []root.TimestampingAuthority     { return nil }
func (m ctMaterial) FulcioCertificateAuthorities() []root.CertificateAuthority { return nil }
func (m ctMaterial) PublicKeyVerifier(string) (root.TimeConstrainedVerifier, error) {
	return nil, errors.New("no public keys")
}

// verifyTime asks for one path that is valid at every trusted time. Without any such time it is now that counts, unless
// a log is asked for, which would have told the time (VI 6.5(7)); what holds now is true until the path ends. The error is
// a *reason.Error.
func (v *Verifier) verifyTime(a *verify.Attestor, paths []path, times []time.Time) (until time.Time, err error) {
	passing := len(times) == 0
	if passing {
		if !a.IgnoreLog {
			return until, reason.New(reason.TimestampMissing, "neither a log entry nor a timestamp tells when the signature was made")
		}
		times = []time.Time{v.now()}
	}
	var wrong time.Time
	for i := range paths {
		fits := true
		for _, t := range times {
			if !paths[i].validAt(t) {
				fits, wrong = false, t
				break
			}
		}
		if fits && passing {
			until = paths[i].until()
		}
		if fits {
			return until, nil
		}
	}
	return until, reason.New(reason.CertificateExpired, "the certificate or its chain was not valid at "+wrong.UTC().Format(time.RFC3339))
}
