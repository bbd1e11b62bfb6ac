package sigstore_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
)

// generalNames is the extension with alternative names, from their encoded forms.
func generalNames(t testing.TB, names ...[]byte) pkix.Extension {
	t.Helper()
	list := der(t, asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: bytes.Join(names, nil)}, "")
	return extension(t, "2.5.29.17", list)
}

func name(t testing.TB, tag int, text string) []byte {
	t.Helper()
	return der(t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(text)}, "")
}

func userName(t testing.TB, oid asn1.ObjectIdentifier, text string) []byte {
	t.Helper()
	return der(t, struct {
		ID    asn1.ObjectIdentifier
		Value string `asn1:"utf8,explicit,tag:0"`
	}{oid, text}, "tag:0")
}

// TestCertificateIdentity reads odd certificates.
func TestCertificateIdentity(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	p := newPKI(t, nil)
	const email, uri = 1, 6
	users := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 7}
	sans := func(names ...[]byte) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.EmailAddresses = nil
			c.ExtraExtensions = append(c.ExtraExtensions, generalNames(t, names...))
		}
	}
	critical := func(names ...[]byte) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			sans(names...)(c)
			c.ExtraExtensions[len(c.ExtraExtensions)-1].Critical = true
		}
	}
	many := func(n int) [][]byte {
		list := [][]byte{name(t, email, devSubject)}
		for i := 1; i < n; i++ {
			list = append(list, name(t, email, fmt.Sprintf("x%d@example.test", i)))
		}
		return list
	}
	issuers := func(first, second []byte) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.ExtraExtensions = nil
			if first != nil {
				c.ExtraExtensions = append(c.ExtraExtensions, extension(t, verify.IssuerOID, first))
			}
			if second != nil {
				c.ExtraExtensions = append(c.ExtraExtensions, extension(t, verify.IssuerV2OID, second))
			}
		}
	}
	extended := func(oid, value string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, extension(t, oid, []byte(value)))
		}
	}
	dev := verify.IdentityText{Subject: devSubject}
	by := func(issuer string) verify.IdentityText { return verify.IdentityText{Issuer: issuer} }
	with := func(key, value string) verify.IdentityText {
		return verify.IdentityText{AdditionalExtensions: map[string]string{key: value}}
	}
	tests := map[string]struct {
		leaf func(*x509.Certificate)
		want verify.IdentityText
		code reason.Code
		text string
	}{
		"email":                            {nil, dev, "", ""},
		"other email":                      {nil, verify.IdentityText{Subject: "ops@example.test"}, reason.IdentityMismatch, "subject mismatch: expected ops@example.test, received dev@example.test"},
		"A-73 no names":                    {func(c *x509.Certificate) { c.EmailAddresses = nil }, verify.IdentityText{Subject: "*"}, reason.IdentityMismatch, "subject mismatch: expected *, received "},
		"A-73 no names, expression":        {func(c *x509.Certificate) { c.EmailAddresses = nil }, verify.IdentityText{SubjectRegExp: ".*"}, reason.IdentityMismatch, "subject mismatch: expected .*, received "},
		"A-73 empty list of names":         {sans(), verify.IdentityText{Subject: "*"}, reason.IdentityMismatch, ""},
		"no names, none asked for":         {func(c *x509.Certificate) { c.EmailAddresses = nil }, verify.IdentityText{}, "", ""},
		"A-29 several, one fits":           {sans(name(t, email, "a@example.test"), name(t, email, devSubject), name(t, uri, "https://example.test/x")), dev, "", ""},
		"A-29 several, none fits":          {sans(name(t, email, "a@example.test"), name(t, uri, "https://example.test/x")), dev, reason.IdentityMismatch, "subject mismatch: expected dev@example.test, received a@example.test, https://example.test/x"},
		"both parts by two names":          {sans(name(t, email, "dev@example.test"), name(t, email, "ops@other.test")), verify.IdentityText{Subject: "*@example.test", SubjectRegExp: "^ops@"}, reason.IdentityMismatch, "subject mismatch: expected ^ops@, received dev@example.test, ops@other.test"},
		"both parts by one name":           {sans(name(t, email, "ops@other.test"), name(t, email, "ops@example.test")), verify.IdentityText{Subject: "*@example.test", SubjectRegExp: "^ops@"}, "", ""},
		"A-29 NUL in the name":             {sans(name(t, email, "dev@example.test\x00.evil.test")), verify.IdentityText{Subject: "dev@example.test*"}, reason.IdentityMismatch, ""},
		"A-29 line break in the name":      {sans(name(t, email, "x\ndev@example.test")), verify.IdentityText{SubjectRegExp: "(?m)^dev@example.test$"}, reason.IdentityMismatch, ""},
		"A-29 wildcard in the name":        {sans(name(t, email, "*@example.test")), dev, reason.IdentityMismatch, ""},
		"A-29 email as a URI":              {sans(name(t, uri, devSubject)), dev, reason.IdentityMismatch, ""},
		"A-29 email as a user name":        {sans(userName(t, users, devSubject)), dev, reason.IdentityMismatch, ""},
		"A-29 email as a DNS name":         {sans(name(t, 2, devSubject)), dev, reason.IdentityMismatch, ""},
		"A-29 URI as an email":             {sans(name(t, email, "https://example.test/x@y")), verify.IdentityText{Subject: "https://example.test/*"}, reason.IdentityMismatch, ""},
		"URI":                              {sans(name(t, uri, "spiffe://example.test/a%2Fb")), verify.IdentityText{Subject: "spiffe://example.test/a%2Fb"}, "", ""},
		"URI is not decoded":               {sans(name(t, uri, "spiffe://example.test/a%2Fb")), verify.IdentityText{Subject: "spiffe://example.test/a/b"}, reason.IdentityMismatch, ""},
		"user name":                        {sans(userName(t, users, "dev!example.test")), verify.IdentityText{Subject: "dev!example.test"}, "", ""},
		"user name, critical":              {critical(userName(t, users, "dev!example.test")), verify.IdentityText{Subject: "dev!example.test"}, "", ""},
		"other name of another kind":       {critical(userName(t, asn1.ObjectIdentifier{1, 2, 3}, "dev!example.test")), verify.IdentityText{Subject: "dev!example.test"}, reason.IdentityMismatch, ""},
		"other name of another kind, any":  {critical(userName(t, asn1.ObjectIdentifier{1, 2, 3}, "dev!example.test")), verify.IdentityText{Subject: "*"}, reason.IdentityMismatch, ""},
		"DNS name":                         {sans(name(t, 2, "build.example.test")), verify.IdentityText{Subject: "build.example.test"}, "", ""},
		"address":                          {sans(name(t, 7, "\x0a\x00\x00\x01")), verify.IdentityText{Subject: "10.0.0.1"}, "", ""},
		"unknown critical extension":       {func(c *x509.Certificate) { extended("1.2.3.4", "x")(c); c.ExtraExtensions[1].Critical = true }, dev, reason.CertificateUntrusted, ""},
		"32 names":                         {sans(many(32)...), dev, "", ""},
		"33 names":                         {sans(many(33)...), dev, reason.LimitReached, ""},
		"A-29 200 names":                   {sans(many(200)...), dev, reason.LimitReached, ""},
		"long name":                        {sans(name(t, email, strings.Repeat("x", 1012)+"@example.tes"), name(t, email, strings.Repeat("x", 1012)+"@example.test")), verify.IdentityText{Subject: "*@example.test"}, reason.IdentityMismatch, ""},
		"longest name":                     {sans(name(t, email, strings.Repeat("x", 1011)+"@example.test")), verify.IdentityText{Subject: "*@example.test"}, "", ""},
		"long issuer":                      {issuers([]byte(strings.Repeat("x", 1025)), nil), by("*"), reason.IdentityMismatch, "the certificate's issuer is too long"},
		"long extension":                   {extended("1.3.6.1.4.1.57264.1.5", strings.Repeat("x", 1025)), with("githubWorkflowRepository", "*"), reason.IdentityMismatch, ""},
		"huge certificate":                 {extended("1.2.3.4", strings.Repeat("x", 70<<10)), dev, reason.LimitReached, ""},
		"A-29 no code signing":             {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, dev, reason.CertificateUntrusted, ""},
		"A-29 an authority's":              {func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, dev, reason.CertificateUntrusted, ""},
		"issuer":                           {nil, by(devIssuer), "", ""},
		"other issuer":                     {nil, by("https://oidc.example.test/"), reason.IdentityMismatch, "issuer mismatch: expected https://oidc.example.test/, received https://oidc.example.test"},
		"issuer in the old place":          {issuers([]byte(devIssuer), nil), by(devIssuer), "", ""},
		"issuer in both places":            {issuers([]byte(devIssuer), der(t, devIssuer, "utf8")), by(devIssuer), "", ""},
		"A-29 two issuers":                 {issuers([]byte("https://evil.test"), der(t, devIssuer, "utf8")), by(devIssuer), reason.IdentityMismatch, "the certificate names two different issuers"},
		"A-29 two issuers, one empty":      {issuers([]byte{}, der(t, devIssuer, "utf8")), by(devIssuer), reason.IdentityMismatch, ""},
		"A-29 two issuers, none asked for": {issuers([]byte("https://evil.test"), der(t, devIssuer, "utf8")), dev, reason.IdentityMismatch, ""},
		"issuer malformed":                 {issuers(nil, []byte(devIssuer)), by("*"), reason.IdentityMismatch, "malformed issuer extension"},
		"issuer with more behind":          {issuers(nil, append(der(t, devIssuer, "utf8"), 5, 0)), by(devIssuer), reason.IdentityMismatch, ""},
		"no issuer":                        {issuers(nil, nil), by("*"), reason.IdentityMismatch, "issuer mismatch: expected *, received "},
		"extension":                        {extended("1.3.6.1.4.1.57264.1.5", "acme/app"), with("githubWorkflowRepository", "acme/*"), "", ""},
		"extension by number":              {extended("1.3.6.1.4.1.57264.1.5", "acme/app"), with("1.3.6.1.4.1.57264.1.5", "acme/app"), "", ""},
		"other extension":                  {extended("1.3.6.1.4.1.57264.1.5", "acme/app"), with("githubWorkflowRepository", "acme/ap"), reason.IdentityMismatch, "extension mismatch: expected acme/ap for key githubWorkflowRepository, received acme/app"},
		"extension missing":                {nil, with("githubWorkflowRef", "*"), reason.IdentityMismatch, "extension mismatch: expected * for key githubWorkflowRef, received "},
		"unknown extension":                {nil, with("nonsense", "*"), reason.IdentityMismatch, "invalid certificate extension nonsense"},
		"issuer as an extension":           {nil, with("oidcIssuer", devIssuer), "", ""},
		"issuer by its old number":         {nil, with(verify.IssuerOID, devIssuer), "", ""},
		"issuer by its new number":         {nil, with(verify.IssuerV2OID, "https://evil.test"), reason.IdentityMismatch, ""},
	}
	for n, tc := range tests {
		t.Run(n, func(t *testing.T) {
			t.Parallel()
			cert, key := p.leaf(t, tc.leaf, p.ct)
			judge(t, p, img, attempt{made: made{cert: cert, key: key, logged: []time.Time{p.now}}, attestor: keyless(t, tc.want), code: tc.code, text: tc.text})
		})
	}
}

// TestChains varies what a certificate is chained to (VI 6.5(8), 6.5(10), T-065).
func TestChains(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	p := newPKI(t, nil)
	stranger := newPKI(t, nil)
	cert, key := p.leaf(t, nil, p.ct)
	deep := func(n int) (*x509.Certificate, *ecdsa.PrivateKey, []*x509.Certificate) {
		parent, parentKey := p.root, p.rootKey
		var carried []*x509.Certificate
		for i := range n {
			k := newKey(t)
			parent = issue(t, p.authority(fmt.Sprint("level ", i)), parent, k.Public(), parentKey)
			parentKey, carried = k, append([]*x509.Certificate{parent}, carried...)
		}
		k := newKey(t)
		return issue(t, &x509.Certificate{
			SerialNumber: big.NewInt(3), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, ExtKeyUsage: cert.ExtKeyUsage, EmailAddresses: []string{devSubject},
		}, parent, k.Public(), parentKey), k, carried
	}
	constrained := newPKI(t, func(_, mid *x509.Certificate) { mid.PermittedEmailAddresses = []string{"corp.test"} })
	constrainedCert, constrainedKey := constrained.leaf(t, nil)
	otherUse := newPKI(t, func(_, mid *x509.Certificate) { mid.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	otherUseCert, otherUseKey := otherUse.leaf(t, nil)
	short := newPKI(t, func(top, _ *x509.Certificate) { top.MaxPathLenZero = true })
	shortCert, shortKey := short.leaf(t, nil)
	// An end certificate in the role of an authority.
	below := issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(4), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, ExtKeyUsage: cert.ExtKeyUsage, EmailAddresses: []string{devSubject},
	}, cert, key.Public(), key)
	relaxed := func(a *verify.Attestor) *verify.Attestor { a.IgnoreLog, a.IgnoreSCT = true, true; return a }
	roots := func(list ...*x509.Certificate) *verify.Attestor {
		a := keyless(t, verify.IdentityText{Subject: devSubject})
		a.Keyless.Roots = list
		return relaxed(a)
	}
	certificates := func(c *x509.Certificate, chain ...*x509.Certificate) *verify.Attestor {
		return relaxed(&verify.Attestor{Certificates: verify.NewCertificates(c, chain)})
	}
	selfKey := newKey(t)
	selfTemplate := &x509.Certificate{SerialNumber: big.NewInt(5), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, EmailAddresses: []string{devSubject}}
	self := issue(t, selfTemplate, selfTemplate, selfKey.Public(), selfKey)
	bareRoot := p.trust(t)
	bareRoot.authorities = stranger.trust(t).authorities
	deep10, deep10Key, carried10 := deep(10)
	deep11, deep11Key, carried11 := deep(11)
	tests := map[string]attempt{
		"trust root":                      {made: made{cert: cert, key: key}, attestor: roots()},
		"other trust root":                {made: made{cert: cert, key: key}, attestor: roots(), source: bareRoot, code: reason.CertificateUntrusted},
		"no authority at all":             {made: made{cert: cert, key: key}, attestor: roots(), source: &material{}, code: reason.CertificateUntrusted},
		"roots with intermediate":         {made: made{cert: cert, key: key}, attestor: roots(p.intermediate, p.root), source: bareRoot},
		"root alone, nothing carried":     {made: made{cert: cert, key: key}, attestor: roots(p.root), code: reason.CertificateUntrusted},
		"root alone, carried":             {made: made{cert: cert, key: key, carried: []*x509.Certificate{p.intermediate}}, attestor: roots(p.root)},
		"root alone, root carried too":    {made: made{cert: cert, key: key, carried: []*x509.Certificate{p.intermediate, p.root}}, attestor: roots(p.root)},
		"carried root is not trusted":     {made: made{cert: cert, key: key, carried: []*x509.Certificate{p.intermediate, p.root}}, attestor: roots(stranger.root), code: reason.CertificateUntrusted},
		"roots replace the trust root":    {made: made{cert: cert, key: key}, attestor: roots(stranger.root, stranger.intermediate), code: reason.CertificateUntrusted},
		"T-065 ten intermediates":         {made: made{cert: deep10, key: deep10Key, carried: carried10}, attestor: roots(p.root)},
		"T-065 eleven intermediates":      {made: made{cert: deep11, key: deep11Key, carried: carried11}, attestor: roots(p.root), code: reason.LimitReached},
		"a gap in the chain":              {made: made{cert: deep10, key: deep10Key, carried: slices.Delete(slices.Clone(carried10), 4, 5)}, attestor: roots(p.root), code: reason.CertificateUntrusted},
		"A-29 name constraints":           {made: made{cert: constrainedCert, key: constrainedKey}, attestor: roots(constrained.intermediate, constrained.root), code: reason.CertificateUntrusted},
		"authority for another use":       {made: made{cert: otherUseCert, key: otherUseKey}, attestor: certificates(otherUseCert, otherUse.intermediate, otherUse.root), code: reason.CertificateUntrusted},
		"path too long":                   {made: made{cert: shortCert, key: shortKey}, attestor: certificates(shortCert, short.intermediate, short.root), code: reason.CertificateUntrusted},
		"signed by an end certificate":    {made: made{cert: below, key: key, carried: []*x509.Certificate{cert}}, attestor: roots(p.intermediate, p.root), code: reason.CertificateUntrusted},
		"certificate and chain":           {made: made{cert: cert, key: key}, attestor: certificates(cert, p.intermediate, p.root)},
		"certificate, chain out of order": {made: made{cert: cert, key: key}, attestor: certificates(cert, p.root, p.intermediate)},
		"certificate and wrong chain":     {made: made{cert: cert, key: key}, attestor: certificates(cert, stranger.intermediate, stranger.root), code: reason.CertificateUntrusted},
		"given certificate, not carried":  {made: made{key: key}, attestor: certificates(cert, p.intermediate, p.root)},
		"given, another is carried":       {made: made{cert: below, key: key}, attestor: certificates(cert, p.intermediate, p.root)},
		"given, another signed":           {made: made{cert: below, key: newKey(t)}, attestor: certificates(cert, p.intermediate, p.root), code: reason.BadSignature},
		"chain alone":                     {made: made{cert: cert, key: key}, attestor: certificates(nil, p.intermediate, p.root)},
		"chain alone, nothing carried":    {made: made{key: key}, attestor: certificates(nil, p.intermediate, p.root), code: reason.BadSignature, text: "certificate not found"},
		"keyless, nothing carried":        {made: made{key: key}, attestor: roots(), code: reason.BadSignature, text: "certificate not found"},
		"certificate alone":               {made: made{key: key}, attestor: certificates(cert)},
		"certificate alone, another key":  {made: made{key: newKey(t)}, attestor: certificates(cert), code: reason.BadSignature},
		"given, self-signed":              {made: made{key: selfKey}, attestor: certificates(self, self)},
		"carried, self-signed":            {made: made{cert: self, key: selfKey}, attestor: certificates(nil, self)},
		"given, an authority's":           {made: made{key: p.intermediateKey}, attestor: certificates(p.intermediate, p.root)},
		"A-29 carried, an authority's":    {made: made{cert: p.intermediate, key: p.intermediateKey}, attestor: certificates(nil, p.root), code: reason.CertificateUntrusted},
		"neither":                         {made: made{cert: cert, key: key}, attestor: certificates(nil), code: reason.TrustMaterialInvalid},
		"key and identity":                {made: made{cert: cert, key: key}, attestor: relaxed(&verify.Attestor{Key: key.Public(), Keyless: &verify.Keyless{}}), code: reason.TrustMaterialInvalid},
		"annotations":                     {made: made{cert: cert, key: key, annotation: "b"}, attestor: annotated(roots(), "b")},
		"A-72 other annotations":          {made: made{cert: cert, key: key, annotation: "c"}, attestor: annotated(roots(), "b"), code: reason.AnnotationMismatch},
	}
	for n, tc := range tests {
		t.Run(n, func(t *testing.T) {
			t.Parallel()
			judge(t, p, img, tc)
		})
	}
	t.Run("T-065 carried keys", func(t *testing.T) {
		t.Parallel()
		// Certificates whose keys nobody should calculate with are passed over.
		n := new(big.Int).Lsh(big.NewInt(1), 16384)
		huge := issue(t, p.authority("huge"), p.root, &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}, p.rootKey)
		odd, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		small := issue(t, p.authority("small"), p.root, odd.Public(), p.rootKey)
		judge(t, p, img, attempt{made: made{cert: cert, key: key, carried: []*x509.Certificate{huge, small, p.intermediate}}, attestor: roots(p.root)})
	})
}

func annotated(a *verify.Attestor, value string) *verify.Attestor {
	a.Annotations = map[string]string{"a": value}
	return a
}

// TestCarriedCertificates damages what a candidate in cosign's format carries.
func TestCarriedCertificates(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	p := newPKI(t, nil)
	cert, key := p.leaf(t, nil, p.ct)
	good := p.simple(t, img, made{cert: cert, key: key, logged: []time.Time{p.now}})
	const certificate, chain = "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/chain"
	for name, tc := range map[string]struct {
		annotation, value string
		keyless, key      reason.Code
	}{
		"as it is":            {"x", "", "", ""},
		"certificate not PEM": {certificate, "x", reason.BadSignature, reason.BadSignature},
		"certificate a key":   {certificate, string(publicPEM(t, key)), reason.BadSignature, reason.BadSignature},
		"certificate junk":    {certificate, string(pemBlock("CERTIFICATE", []byte{48, 0})), reason.BadSignature, reason.BadSignature},
		"certificate large":   {certificate, strings.Repeat(" ", 65<<10), reason.LimitReached, reason.LimitReached},
		"chain not PEM":       {chain, "x", reason.BadSignature, ""},
		"chain a key":         {chain, string(publicPEM(t, key)), reason.BadSignature, ""},
		"chain junk":          {chain, string(pemBlock("CERTIFICATE", []byte{48, 0})), reason.BadSignature, ""},
		"A-36 chain large":    {chain, strings.Repeat(" ", 10<<20), reason.LimitReached, ""},
		"chain of 10":         {chain, strings.Repeat(pemOf(p.intermediate), 10), "", ""},
		"chain of 11":         {chain, strings.Repeat(pemOf(p.intermediate), 11), reason.LimitReached, ""},
		"chain of 50":         {chain, strings.Repeat(pemOf(p.intermediate), 50), reason.LimitReached, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := good
			a.Annotations = maps.Clone(good.Annotations)
			a.Annotations[tc.annotation] = tc.value
			v := sigstore.NewAt(p.trust(t), p.now)
			if got, err := verdict(t, v, img, keyless(t, verify.IdentityText{Subject: devSubject}), false, a); got != tc.keyless {
				t.Errorf("keyless: %q, want %q: %v", got, tc.keyless, err)
			}
			if got, err := verdict(t, v, img, &verify.Attestor{Key: key.Public()}, false, a); got != tc.key {
				t.Errorf("key: %q, want %q: %v", got, tc.key, err)
			}
			if got, err := verdict(t, v, img, keyless(t, verify.IdentityText{Subject: devSubject}), false, a, good); got != "" {
				t.Errorf("it hides a valid one: %v", err)
			}
		})
	}
}

// TestA37OneCandidate spreads what is asked for over several candidates.
func TestA37OneCandidate(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	p, stranger := newPKI(t, nil), newPKI(t, nil)
	now := []time.Time{p.now}
	cert, key := p.leaf(t, nil, p.ct)
	other, otherKey := p.leaf(t, func(c *x509.Certificate) { c.EmailAddresses = []string{"ops@example.test"} }, p.ct)
	foreign, foreignKey := stranger.leaf(t, nil, p.ct)
	unpromised, unpromisedKey := p.leaf(t, nil)
	expired, expiredKey := p.leaf(t, func(c *x509.Certificate) { c.NotAfter = p.now.Add(-time.Minute) }, p.ct)
	all := []made{
		{cert: cert, key: key, logged: now, annotation: "other"},
		{cert: other, key: otherKey, logged: now, annotation: "b"},
		{cert: foreign, key: foreignKey, logged: now, annotation: "b"},
		{cert: cert, key: key, annotation: "b"},
		{cert: cert, key: otherKey, logged: now, annotation: "b"},
		{cert: unpromised, key: unpromisedKey, logged: now, annotation: "b"},
		{cert: expired, key: expiredKey, logged: now, annotation: "b"},
	}
	var artifacts []image.Artifact
	for _, m := range all {
		artifacts = append(artifacts, p.simple(t, img, m), p.bundle(t, img, m))
	}
	a := annotated(keyless(t, verify.IdentityText{Issuer: devIssuer, Subject: devSubject}), "b")
	v := sigstore.NewAt(p.trust(t), p.now)
	if got, err := verdict(t, v, img, a, false, artifacts...); got != reason.AnnotationMismatch {
		t.Errorf("%q: %v", got, err)
	}
	artifacts = append(artifacts, p.bundle(t, img, made{cert: cert, key: key, logged: now, annotation: "b"}))
	if got, err := verdict(t, v, img, a, false, artifacts...); got != "" {
		t.Errorf("%q: %v", got, err)
	}
}

// TestA52IdentityFirst gives more candidates than are verified; the one that says it fits is tried all the same.
func TestA52IdentityFirst(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	p := newPKI(t, nil)
	other, otherKey := p.leaf(t, func(c *x509.Certificate) { c.EmailAddresses = []string{"ops@example.test"} }, p.ct)
	cert, key := p.leaf(t, nil, p.ct)
	one := p.bundle(t, img, made{cert: other, key: otherKey, logged: []time.Time{p.now}})
	right := p.simple(t, img, made{cert: cert, key: key, logged: []time.Time{p.now}})
	v := sigstore.NewAt(p.trust(t), p.now)
	for name, a := range map[string]*verify.Attestor{
		"keyless":     keyless(t, verify.IdentityText{Subject: devSubject}),
		"certificate": {Certificates: verify.NewCertificates(cert, []*x509.Certificate{p.intermediate, p.root})},
		"key":         {Key: key.Public()},
	} {
		if got, err := verdict(t, v, img, a, false, append(slices.Repeat([]image.Artifact{one}, 70), right)...); got != "" {
			t.Errorf("%s: %q: %v", name, got, err)
		}
	}
}

// TestProvenIdentity looks at what a pass tells about the signer.
func TestProvenIdentity(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	p := newPKI(t, nil)
	cert, key := p.leaf(t, func(c *x509.Certificate) {
		c.URIs = []*url.URL{{Scheme: "https", Host: "example.test", Path: "/x"}}
		c.IPAddresses, c.DNSNames = []net.IP{net.IPv4(10, 0, 0, 1)}, []string{"a.test"}
	}, p.ct)
	v := sigstore.NewAt(p.trust(t), p.now)
	for _, a := range []*verify.Attestor{
		keyless(t, verify.IdentityText{}),
		{Certificates: verify.NewCertificates(cert, []*x509.Certificate{p.intermediate, p.root})},
	} {
		req := &verify.Requirement{Sets: []verify.Set{{Count: 1, Entries: []verify.Entry{{Attestor: a}}}}}
		artifacts := []image.Artifact{p.bundle(t, img, made{cert: cert, key: key, logged: []time.Time{p.now}})}
		proof, err := verify.Evaluate(t.Context(), v, found{&image.Attached{Artifacts: artifacts}}, img, req)
		if err != nil {
			t.Fatal(err)
		}
		got := proof.Signatures[0].Certified
		if got == nil || got.Issuer != devIssuer || strings.Join(got.Subjects, " ") != "a.test dev@example.test 10.0.0.1 https://example.test/x" {
			t.Errorf("%+v", got)
		}
	}
}
