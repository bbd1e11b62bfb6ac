package sigstore_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/sigstore"
)

// keyless is an attestor with the identity.
func keyless(t testing.TB, text verify.IdentityText) *verify.Attestor {
	t.Helper()
	id, bad := verify.CompileIdentity(text)
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return &verify.Attestor{Keyless: &verify.Keyless{Identity: id}}
}

// attempt is one candidate by one attestor under one trust root.
type attempt struct {
	made     made
	attestor *verify.Attestor
	source   *material
	now      time.Time
	code     reason.Code
	text     string
}

// judge tries an attempt in both formats; the verdict must be the same.
func judge(t *testing.T, p *pki, img image.Pinned, tc attempt) {
	t.Helper()
	if tc.source == nil {
		tc.source = p.trust(t)
	}
	if tc.now.IsZero() {
		tc.now = p.now
	}
	if tc.attestor == nil {
		tc.attestor = keyless(t, verify.IdentityText{Issuer: devIssuer, Subject: devSubject})
	}
	formats := map[string]image.Artifact{"legacy": p.simple(t, img, tc.made)}
	if tc.made.cert != nil {
		formats["bundle"] = p.bundle(t, img, tc.made)
	}
	for format, artifact := range formats {
		got, err := verdict(t, sigstore.NewAt(tc.source, tc.now), img, tc.attestor, false, artifact)
		if got != tc.code {
			t.Errorf("%s: %q, want %q: %v", format, got, tc.code, err)
		}
		if tc.text != "" && (err == nil || err.Error() != "keys: no matching signatures: "+tc.text) {
			t.Errorf("%s: %v, want %s", format, err, tc.text)
		}
	}
}

// TestValidity varies when certificates were valid and which times are proved (VI 6.5(7), T-046, A-28).
func TestValidity(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	p := newPKI(t, nil)
	between := func(start, end time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = p.now.Add(start), p.now.Add(end) }
	}
	const hour = time.Hour
	long, past, future := between(-40*hour, 40*hour), between(-10*hour, -9*hour), between(9*hour, 10*hour)
	inPast, inFuture := p.now.Add(-570*time.Minute), p.now.Add(570*time.Minute)
	noLog := func(change func(*verify.Attestor)) *verify.Attestor {
		a := keyless(t, verify.IdentityText{Subject: devSubject})
		a.IgnoreLog = true
		if change != nil {
			change(a)
		}
		return a
	}
	oldIntermediate := newPKI(t, func(_, mid *x509.Certificate) { between(-40*hour, -20*hour)(mid) })
	oldRoot := newPKI(t, func(top, _ *x509.Certificate) { between(-40*hour, -20*hour)(top) })
	youngRoot := newPKI(t, func(top, _ *x509.Certificate) { between(-hour, hour)(top) })
	// made by, with leaf, and proofs at
	tests := map[string]struct {
		pki      *pki
		leaf     func(*x509.Certificate)
		logged   []time.Time
		stamped  bool
		attestor *verify.Attestor
		source   func(*material)
		now      time.Time
		code     reason.Code
	}{
		"log now":                                 {pki: p, logged: []time.Time{p.now}},
		"log in the past":                         {pki: p, leaf: past, logged: []time.Time{inPast}},
		"log before the certificate":              {pki: p, logged: []time.Time{p.now.Add(-11 * time.Minute)}, code: reason.CertificateExpired},
		"log after the certificate":               {pki: p, logged: []time.Time{p.now.Add(11 * time.Minute)}, code: reason.CertificateExpired},
		"log at its first second":                 {pki: p, logged: []time.Time{p.now.Add(-5 * time.Minute)}},
		"log at its last second":                  {pki: p, logged: []time.Time{p.now.Add(5 * time.Minute)}},
		"A-28 not yet valid, logged now":          {pki: p, leaf: future, logged: []time.Time{p.now}, code: reason.CertificateExpired},
		"timestamp now":                           {pki: p, stamped: true, attestor: noLog(nil)},
		"A-28 timestamp after it expired":         {pki: p, leaf: past, stamped: true, attestor: noLog(nil), code: reason.CertificateExpired},
		"A-28 timestamp before it was valid":      {pki: p, leaf: future, stamped: true, attestor: noLog(nil), now: inFuture, code: reason.CertificateExpired},
		"log within, timestamp outside":           {pki: p, leaf: past, logged: []time.Time{inPast}, stamped: true, code: reason.CertificateExpired},
		"log outside, timestamp within":           {pki: p, logged: []time.Time{inPast}, stamped: true, code: reason.CertificateExpired},
		"log and timestamp within":                {pki: p, logged: []time.Time{p.now}, stamped: true},
		"nothing, valid now":                      {pki: p, attestor: noLog(nil)},
		"nothing, no longer valid":                {pki: p, leaf: past, attestor: noLog(nil), code: reason.CertificateExpired},
		"nothing, not yet valid":                  {pki: p, leaf: future, attestor: noLog(nil), code: reason.CertificateExpired},
		"A-28 clock ten minutes late":             {pki: p, attestor: noLog(nil), now: p.now.Add(10 * time.Minute), code: reason.CertificateExpired},
		"A-28 clock ten minutes early":            {pki: p, attestor: noLog(nil), now: p.now.Add(-10 * time.Minute), code: reason.CertificateExpired},
		"A-28 clock jumped, but the log tells":    {pki: p, logged: []time.Time{p.now}, now: p.now.Add(-10000 * hour)},
		"unwanted log entry within":               {pki: p, leaf: past, logged: []time.Time{inPast}, attestor: noLog(nil)},
		"unwanted log entry outside":              {pki: p, leaf: long, logged: []time.Time{p.now.Add(-41 * hour)}, attestor: noLog(nil), code: reason.CertificateExpired},
		"log wanted, none":                        {pki: p, attestor: keyless(t, verify.IdentityText{}), code: reason.TransparencyLogMissing},
		"log wanted, timestamp only":              {pki: p, stamped: true, attestor: keyless(t, verify.IdentityText{}), code: reason.TransparencyLogMissing},
		"timestamp wanted, none":                  {pki: p, attestor: noLog(func(a *verify.Attestor) { a.TSAChain = tsaChain(p) }), code: reason.TimestampMissing},
		"A-78 timestamp wanted, SCT ignored":      {pki: p, attestor: noLog(func(a *verify.Attestor) { a.TSAChain, a.IgnoreSCT = tsaChain(p), true }), code: reason.TimestampMissing},
		"timestamp wanted, there":                 {pki: p, stamped: true, attestor: noLog(func(a *verify.Attestor) { a.TSAChain = tsaChain(p) })},
		"timestamp of another authority":          {pki: p, stamped: true, attestor: noLog(func(a *verify.Attestor) { a.TSAChain = tsaChain(oldRoot) }), code: reason.TimestampMissing},
		"timestamp of none that is trusted":       {pki: p, leaf: past, stamped: true, attestor: noLog(nil), source: func(m *material) { m.stamps = nil }, code: reason.CertificateExpired},
		"T-046 intermediate expired, log":         {pki: oldIntermediate, leaf: long, logged: []time.Time{p.now}, code: reason.CertificateExpired},
		"T-046 intermediate expired, timestamp":   {pki: oldIntermediate, leaf: long, stamped: true, attestor: noLog(nil), code: reason.CertificateExpired},
		"T-046 intermediate expired, now":         {pki: oldIntermediate, leaf: long, attestor: noLog(nil), code: reason.CertificateExpired},
		"T-046 intermediate not yet expired, log": {pki: oldIntermediate, leaf: long, logged: []time.Time{p.now.Add(-30 * hour)}},
		"T-046 root expired, log":                 {pki: oldRoot, leaf: long, logged: []time.Time{p.now}, code: reason.CertificateExpired},
		"T-046 root expired, timestamp":           {pki: oldRoot, leaf: long, stamped: true, attestor: noLog(nil), code: reason.CertificateExpired},
		"T-046 root expired, now":                 {pki: oldRoot, leaf: long, attestor: noLog(nil), code: reason.CertificateExpired},
		"T-046 root not yet expired, log":         {pki: oldRoot, leaf: long, logged: []time.Time{p.now.Add(-30 * hour)}},
		"T-046 root younger than the entry":       {pki: youngRoot, leaf: long, logged: []time.Time{p.now.Add(-30 * hour)}, code: reason.CertificateExpired},
		"T-051 authority not yet used": {pki: p, logged: []time.Time{p.now}, source: func(m *material) {
			m.authorities[0].(*root.FulcioCertificateAuthority).ValidityPeriodStart = p.now.Add(hour)
		}, code: reason.CertificateExpired},
		"T-051 authority no longer used": {pki: p, logged: []time.Time{p.now}, source: func(m *material) {
			m.authorities[0].(*root.FulcioCertificateAuthority).ValidityPeriodEnd = p.now.Add(-hour)
		}, code: reason.CertificateExpired},
		"T-051 log no longer used": {pki: p, logged: []time.Time{p.now}, source: func(m *material) {
			for _, l := range m.rekor {
				l.ValidityPeriodEnd = p.now.Add(-hour)
			}
		}, code: reason.TransparencyLogMissing},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert, key := tc.pki.leaf(t, tc.leaf, tc.pki.ct)
			source := tc.pki.trust(t)
			if tc.source != nil {
				tc.source(source)
			}
			judge(t, tc.pki, img, attempt{
				made: made{cert: cert, key: key, logged: tc.logged, stamped: tc.stamped}, attestor: tc.attestor, source: source, now: tc.now, code: tc.code,
			})
		})
	}
}

// tsaChain is the chain of a pki's timestamp authority.
func tsaChain(p *pki) []*x509.Certificate {
	a := p.stamps.TimestampingAuthorities()[0].(*root.SigstoreTimestampingAuthority)
	return append(append([]*x509.Certificate{a.Leaf}, a.Intermediates...), a.Root)
}

// TestSCT varies the promise that a certificate was logged (VI 6.5(5), A-31, A-78).
func TestSCT(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	p, foreign := newPKI(t, nil), newPKI(t, nil)
	bare, bareKey := p.leaf(t, nil)
	good, goodKey := p.leaf(t, nil, p.ct)
	wrong, wrongKey := p.leaf(t, nil, foreign.ct)
	both, bothKey := p.leaf(t, nil, foreign.ct, p.ct)
	// The promise is for a certificate of the same names and another key.
	template := *bare
	template.ExtraExtensions = bare.Extensions[len(bare.Extensions)-1:]
	otherKey := newKey(t)
	other := p.promised(t, &template, otherKey, bare, p.ct)
	attestor := func(change func(*verify.Attestor)) *verify.Attestor {
		a := keyless(t, verify.IdentityText{Subject: devSubject})
		a.IgnoreLog = true
		if change != nil {
			change(a)
		}
		return a
	}
	ignored := attestor(func(a *verify.Attestor) { a.IgnoreSCT = true })
	noLogs := func() *material { m := p.trust(t); m.ct = nil; return m }
	closed := p.trust(t)
	for _, l := range closed.ct {
		l.ValidityPeriodEnd = p.now.Add(-time.Hour)
	}
	given := func(change func(*verify.Attestor)) *verify.Attestor {
		a := attestor(change)
		a.Keyless = nil
		a.Certificates = verify.NewCertificates(bare, []*x509.Certificate{p.intermediate, p.root})
		return a
	}
	for name, tc := range map[string]attempt{
		"good":                        {made: made{cert: good, key: goodKey}, attestor: attestor(nil)},
		"A-31 missing":                {made: made{cert: bare, key: bareKey}, attestor: attestor(nil), code: reason.SCTMissing},
		"A-31 wrong log":              {made: made{cert: wrong, key: wrongKey}, attestor: attestor(nil), code: reason.SCTMissing},
		"A-31 wrong log and right":    {made: made{cert: both, key: bothKey}, attestor: attestor(nil)},
		"A-31 of another certificate": {made: made{cert: other, key: otherKey}, attestor: attestor(nil), code: reason.SCTMissing},
		"log no longer used":          {made: made{cert: good, key: goodKey}, attestor: attestor(nil), source: closed, code: reason.SCTMissing},
		"missing, ignored":            {made: made{cert: bare, key: bareKey}, attestor: ignored},
		"of another, ignored":         {made: made{cert: other, key: otherKey}, attestor: ignored},
		"missing, no log is named":    {made: made{cert: bare, key: bareKey}, attestor: attestor(nil), source: noLogs()},
		"missing, the attestor names a log": {made: made{cert: bare, key: bareKey}, source: noLogs(), code: reason.SCTMissing,
			attestor: attestor(func(a *verify.Attestor) { a.CTLogKeys = append(a.CTLogKeys, p.ct.Public()) })},
		"the attestor's log": {made: made{cert: good, key: goodKey}, source: noLogs(),
			attestor: attestor(func(a *verify.Attestor) { a.CTLogKeys = append(a.CTLogKeys, foreign.ct.Public(), p.ct.Public()) })},
		"the attestor's log replaces the root's": {made: made{cert: good, key: goodKey}, code: reason.SCTMissing,
			attestor: attestor(func(a *verify.Attestor) { a.CTLogKeys = append(a.CTLogKeys, foreign.ct.Public()) })},
		"given certificate":          {made: made{cert: bare, key: bareKey}, attestor: given(nil), code: reason.SCTMissing},
		"given certificate, ignored": {made: made{cert: bare, key: bareKey}, attestor: given(func(a *verify.Attestor) { a.IgnoreSCT = true })},
		"certificate alone": {made: made{cert: bare, key: bareKey}, attestor: &verify.Attestor{
			Certificates: verify.NewCertificates(bare, nil), IgnoreLog: true}},
		"a static key never needs one": {made: made{cert: bare, key: bareKey}, attestor: &verify.Attestor{Key: bareKey.Public(), IgnoreLog: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judge(t, p, img, tc)
		})
	}
}

// TestT060LogNames varies whom a log entry names (T-042, T-060).
func TestT060LogNames(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	p := newPKI(t, nil)
	cert, key := p.leaf(t, nil, p.ct)
	renewed := issue(t, &x509.Certificate{
		SerialNumber: cert.SerialNumber, EmailAddresses: cert.EmailAddresses, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, ExtKeyUsage: cert.ExtKeyUsage,
	}, p.intermediate, key.Public(), p.intermediateKey)
	stranger, _ := p.leaf(t, nil, p.ct)
	bare := string(publicPEM(t, key))
	chain := []*x509.Certificate{p.intermediate, p.root}
	given := &verify.Attestor{Certificates: verify.NewCertificates(cert, chain)}
	carried := &verify.Attestor{Certificates: verify.NewCertificates(nil, chain)}
	alone := &verify.Attestor{Certificates: verify.NewCertificates(cert, nil)}
	static := &verify.Attestor{Key: key.Public()}
	for name, tc := range map[string]struct {
		attestor *verify.Attestor
		named    string
		code     reason.Code
	}{
		"keyless, its certificate":                   {nil, "", ""},
		"keyless, another certificate of the key":    {nil, pemOf(renewed), reason.TransparencyLogMissing},
		"keyless, a stranger's certificate":          {nil, pemOf(stranger), reason.TransparencyLogMissing},
		"keyless, the bare key":                      {nil, bare, reason.TransparencyLogMissing},
		"chain alone, its certificate":               {carried, "", ""},
		"chain alone, the bare key":                  {carried, bare, reason.TransparencyLogMissing},
		"chain alone, another certificate":           {carried, pemOf(renewed), reason.TransparencyLogMissing},
		"given, the certificate":                     {given, "", ""},
		"given, the bare key":                        {given, bare, ""},
		"given, another certificate of the key":      {given, pemOf(renewed), reason.TransparencyLogMissing},
		"certificate alone, any of the key":          {alone, pemOf(renewed), ""},
		"certificate alone, the bare key":            {alone, bare, ""},
		"certificate alone, a stranger's":            {alone, pemOf(stranger), reason.TransparencyLogMissing},
		"static key, any certificate of it":          {static, pemOf(renewed), ""},
		"static key, a stranger's certificate":       {static, pemOf(stranger), reason.TransparencyLogMissing},
		"keyless, no certificate and no key at all":  {nil, "x", reason.TransparencyLogMissing},
		"keyless, two certificates, the wrong first": {nil, pemOf(renewed, cert), reason.TransparencyLogMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judge(t, p, img, attempt{made: made{cert: cert, key: key, logged: []time.Time{p.now}, named: tc.named}, attestor: tc.attestor, code: tc.code})
		})
	}
}

func publicPEM(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pemBlock("PUBLIC KEY", der)
}
