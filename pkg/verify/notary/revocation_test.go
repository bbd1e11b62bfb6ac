package notary_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/verify"
	"github.com/signet-policy/signet/pkg/verify/notary"
)

// status answers what an authority says about its certificates, by OCSP below /ocsp and by a list at /crl.
type status struct {
	*httptest.Server
	t       testing.TB
	ca      *authority
	revoked []*big.Int
	ocsp    int // a status of package ocsp
	expired bool
	down    bool
	lists   atomic.Int32
}

func newStatus(t testing.TB, ca *authority) *status {
	s := &status{t: t, ca: ca}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *status) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	next := time.Now().Add(time.Hour)
	if s.expired {
		next = time.Now().Add(-time.Minute)
	}
	var body []byte
	var err error
	switch {
	case s.down:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case strings.HasPrefix(r.URL.Path, "/crl"):
		s.lists.Add(1)
		list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: next}
		for _, serial := range s.revoked {
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: time.Now().Add(-time.Hour)})
		}
		body, err = x509.CreateRevocationList(rand.Reader, list, s.ca.cert, s.ca.key)
	default:
		var serial *big.Int
		if serial, err = serialOf(r); err == nil {
			body, err = ocsp.CreateResponse(s.ca.cert, s.ca.cert, ocsp.Response{
				Status: s.ocsp, SerialNumber: serial, ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: next,
				RevokedAt: time.Now().Add(-time.Hour), IssuerHash: crypto.SHA1,
			}, s.ca.key)
		}
	}
	if err != nil {
		s.t.Error(err)
	}
	_, _ = w.Write(body)
}

func serialOf(r *http.Request) (*big.Int, error) {
	raw, err := requestBody(r)
	if err != nil {
		return nil, err
	}
	parsed, err := ocsp.ParseRequest(raw)
	if err != nil {
		return nil, err
	}
	return parsed.SerialNumber, nil
}

// T-074 and VI 6.12(1): where certificates say where to ask, they are asked about, and no answer is no yes.
func TestT074Revocation(t *testing.T) {
	t.Parallel()
	const byOCSP, byList = "ocsp", "crl"
	for name, tc := range map[string]struct {
		methods string
		change  func(s *status, leaf *x509.Certificate)
		client  func() *http.Client
		code    reason.Code
		text    string
	}{
		"OCSP, good":                           {methods: byOCSP},
		"OCSP, revoked":                        {methods: byOCSP, change: func(s *status, _ *x509.Certificate) { s.ocsp = ocsp.Revoked }, code: reason.CertificateUntrusted, text: "certificate 1 of the chain is revoked"},
		"OCSP, unknown":                        {methods: byOCSP, change: func(s *status, _ *x509.Certificate) { s.ocsp = ocsp.Unknown }, code: reason.TrustMaterialUnavailable, text: "revocation status of certificate 1 of the chain is not known"},
		"OCSP, expired":                        {methods: byOCSP, change: func(s *status, _ *x509.Certificate) { s.expired = true }, code: reason.TrustMaterialUnavailable, text: "not known"},
		"OCSP, 503":                            {methods: byOCSP, change: func(s *status, _ *x509.Certificate) { s.down = true }, code: reason.TrustMaterialUnavailable, text: "not known"},
		"OCSP, down":                           {methods: byOCSP, change: func(s *status, _ *x509.Certificate) { s.Close() }, code: reason.TrustMaterialUnavailable, text: "not known"},
		"CRL, good":                            {methods: byList},
		"CRL, other revoked":                   {methods: byList, change: func(s *status, _ *x509.Certificate) { s.revoked = []*big.Int{big.NewInt(7)} }},
		"CRL, revoked":                         {methods: byList, change: func(s *status, leaf *x509.Certificate) { s.revoked = []*big.Int{leaf.SerialNumber} }, code: reason.CertificateUntrusted, text: "certificate 1 of the chain is revoked"},
		"CRL, expired":                         {methods: byList, change: func(s *status, _ *x509.Certificate) { s.expired = true }, code: reason.TrustMaterialUnavailable, text: "not known"},
		"CRL, down":                            {methods: byList, change: func(s *status, _ *x509.Certificate) { s.Close() }, code: reason.TrustMaterialUnavailable, text: "not known"},
		"CRL, of another":                      {methods: byList, change: func(s *status, _ *x509.Certificate) { s.ca = newAuthority(s.t, "Root") }, code: reason.TrustMaterialUnavailable, text: "not known"},
		"OCSP unknown, CRL good":               {methods: byOCSP + byList, change: func(s *status, _ *x509.Certificate) { s.ocsp = ocsp.Unknown }},
		"no client":                            {methods: byList, client: func() *http.Client { return nil }, code: reason.TrustMaterialUnavailable, text: "cannot be asked for"},
		"addresses without end":                {methods: strings.Repeat(byList, 9), code: reason.LimitReached, text: "more than 8 addresses"},
		"on loopback, by the product.s client": {methods: byList, client: func() *http.Client { return registry.Outside("test") }, code: reason.TrustMaterialUnavailable, text: "address refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, ca := newScene(t), newAuthority(t, "Root")
			answers := newStatus(t, ca)
			one := ca.signer(image.NotaryEnvelopeJWS, func(c *x509.Certificate) {
				if strings.Contains(tc.methods, byOCSP) {
					c.OCSPServer = []string{answers.URL + "/ocsp"}
				}
				for range strings.Count(tc.methods, byList) {
					c.CRLDistributionPoints = append(c.CRLDistributionPoints, answers.URL+"/crl")
				}
			})
			if tc.change != nil {
				tc.change(answers, one.chain[0])
			}
			client := &http.Client{Timeout: time.Minute}
			if tc.client != nil {
				client = tc.client()
			}
			s.attach(one.form, one.sign(s.img, nil))
			_, err := s.signed(client, ca.cert)
			wantCode(t, err, tc.code, tc.text)
		})
	}
}

// Nobody is asked on behalf of a signer that is not trusted, so that signatures cannot make Signet call anybody.
func TestT058StrangersAskNobody(t *testing.T) {
	t.Parallel()
	s, ca := newScene(t), newAuthority(t, "Root")
	answers := newStatus(t, ca)
	one := ca.signer(image.NotaryEnvelopeJWS, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{answers.URL + "/crl"} })
	s.attach(one.form, one.sign(s.img, nil))
	_, err := s.signed(http.DefaultClient, newAuthority(t, "Other").cert)
	wantCode(t, err, reason.CertificateUntrusted, "not produced by a trusted signer")
	if n := answers.lists.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// A list is fetched once for all signatures by the same authority, not once for each.
func TestListsAreKept(t *testing.T) {
	t.Parallel()
	s, ca := newScene(t), newAuthority(t, "Root")
	answers := newStatus(t, ca)
	one := ca.signer(image.NotaryEnvelopeCOSE, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{answers.URL + "/crl"} })
	s.attach(one.form, one.sign(s.img, nil))
	v := notary.New(&http.Client{Timeout: time.Minute})
	req := &verify.Requirement{Notary: true, Sets: []verify.Set{set(ca.cert)}}
	for range 3 {
		if _, err := verify.Evaluate(t.Context(), v, referrers{s.client, []string{image.NotarySignature}}, s.pinned, req); err != nil {
			t.Error(err)
		}
	}
	if n := answers.lists.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}
