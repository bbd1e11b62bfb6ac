package matrix

import (
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// The dimensions. Their values are the words of the page.
const (
	key, kms, certificate, chain, keyless = "key", "KMS", "certificate", "certificate chain", "keyless"

	tag, referrer, byAPI, byFallback = ".sig or .att tag", "OCI 1.1 referrer", "bundle, referrers API", "bundle, fallback tag"

	noLog, rekor1, rekor2, timestamp = "no log", "Rekor v1", "Rekor v2", "timestamp"

	signature, attestation = "signature", "attestation"
)

func signers() []string { return []string{key, kms, certificate, chain, keyless} }
func places() []string  { return []string{tag, referrer, byAPI, byFallback} }
func proofs() []string  { return []string{noLog, rekor1, rekor2, timestamp} }
func kinds() []string   { return []string{signature, attestation} }

// combination is one cell: who signed what, where it is, and what proves that it was signed in time.
type combination struct{ kind, signer, place, proof string }

func combinations() []combination {
	var all []combination
	for _, k := range kinds() {
		for _, s := range signers() {
			for _, pl := range places() {
				for _, pr := range proofs() {
					all = append(all, combination{k, s, pl, pr})
				}
			}
		}
	}
	return all
}

// older tells that the combination is in cosign's older format.
func (c combination) older() bool { return c.place == tag || c.place == referrer }

// certified tells that a certificate and its chain count, not just a key.
func (c combination) certified() bool { return c.signer == chain || c.signer == keyless }

// logged tells that the policy asks for a log entry.
func (c combination) logged() bool { return c.proof == rekor1 || c.proof == rekor2 }

// impossible says why there can be no such combination, for those of which that is true.
func (c combination) impossible() string {
	if c.older() && c.proof == rekor2 {
		return "cosign's older format has room for an entry that Rekor v1 signed, and for no other; Rekor v2 signs no entries, it proves\n   that they are in its tree. cosign refuses to sign that way."
	}
	return ""
}

// asked is what the policy asks for.
type asked struct {
	attestor  *verify.Attestor
	predicate string
}

// refusal is a single thing that can be wrong.
type refusal struct {
	name string
	// code is that of a refused signature. A refused attestation's is AttestationMissing, whatever the cause, and the
	// cause is in the text.
	code reason.Code
	// text is a part of the refusal; attested is that of an attestation's, where it is another one.
	text, attested string
	// where tells to which combinations it applies; nil is all. The note is for the page, where the values alone do not say it.
	where func(c combination) bool
	note  string
	// do changes what is done, or asked for, so that just this is wrong.
	do func(t testing.TB, w *world, d *deed, a *asked)
	// absent is set when nothing is attached.
	absent bool
	// nothing is set when there is nothing to verify with: an attestation's code is then the signature's. Where the
	// outcome is unknown, the failure policy decides; all others are violations.
	nothing, unknown bool
}

// applies tells whether the combination is one that there can be, and the refusal one of its.
func (r *refusal) applies(c combination) bool {
	return c.impossible() == "" && (r.where == nil || r.where(c))
}

func certified(c combination) bool   { return c.certified() }
func logged(c combination) bool      { return c.logged() }
func notLogged(c combination) bool   { return !c.logged() }
func stampNeeded(c combination) bool { return c.proof == timestamp }
func only(signers ...string) func(combination) bool {
	return func(c combination) bool { return slices.Contains(signers, c.signer) }
}

// refusals are all the single things that can be wrong, in the order in which they are checked.
func refusals() []refusal {
	const noTime = "neither a log entry nor a timestamp tells when"
	return []refusal{
		{
			name: "the service cannot be reached", code: reason.TrustMaterialUnavailable, text: "cannot be reached", where: only(kms), nothing: true, unknown: true,
			do: func(_ testing.TB, _ *world, _ *deed, a *asked) { a.attestor.Reference = silent },
		},
		{
			name: "the service has no such key", code: reason.TrustMaterialUnavailable, text: "no such key", where: only(kms), nothing: true,
			do: func(_ testing.TB, _ *world, _ *deed, a *asked) { a.attestor.Reference = gone },
		},
		{name: "nothing is attached", code: reason.Unsigned, text: "no signatures found", attested: "no attestations found", absent: true},
		{
			name: "there is an attestation only", code: reason.Unsigned, text: "no signatures found",
			where: func(c combination) bool { return c.kind == signature },
			do:    func(_ testing.TB, _ *world, d *deed, _ *asked) { d.predicate = provenance },
		},
		{
			name: "the statement is of another type", code: reason.AttestationMissing, text: "attestations not found for predicate type",
			where: func(c combination) bool { return c.kind == attestation },
			do:    func(_ testing.TB, _ *world, d *deed, _ *asked) { d.predicate = "https://slsa.dev/provenance/v0.2" },
		},
		{
			name: "another image was signed", code: reason.DigestMismatch, text: "digest",
			do: func(_ testing.TB, w *world, d *deed, _ *asked) { d.img = w.elsewhere },
		},
		{
			name: "somebody else signed", code: reason.BadSignature, text: "invalid signature", where: only(key, kms),
			do: func(_ testing.TB, w *world, d *deed, _ *asked) { d.key = w.strangers.key },
		},
		{
			name: "the reference is to another key", code: reason.BadSignature, text: "invalid signature", where: only(kms),
			do: func(_ testing.TB, _ *world, _ *deed, a *asked) { a.attestor.Reference = stranger },
		},
		{
			name: "somebody else signed, with a certificate of the same authority", code: reason.BadSignature, text: "invalid signature", where: only(certificate),
			do: func(t testing.TB, w *world, d *deed, _ *asked) { d.leaf, d.key = w.ours.leaf(t, w.began(), w.ours.ct) },
		},
		{
			name: "the certificate is not the signer's", code: reason.BadSignature, text: "invalid signature", where: certified,
			do: func(_ testing.TB, w *world, d *deed, _ *asked) { d.key = w.strangers.key },
		},
		{
			name: "what was signed was changed afterwards", code: reason.BadSignature, text: "invalid signature",
			do: func(_ testing.TB, _ *world, d *deed, _ *asked) { d.signature = true },
		},
		{
			name: "another authority issued the certificate", code: reason.CertificateUntrusted, text: "the certificate is not trusted", where: certified,
			do: func(t testing.TB, w *world, d *deed, _ *asked) {
				d.leaf, d.key = w.strangers.leaf(t, w.began(), w.ours.ct)
				if d.carried != nil {
					d.carried = []*x509.Certificate{w.strangers.intermediate}
				}
			},
		},
		{
			name: "no certificate log promised anything", code: reason.SCTMissing, text: "no certificate log vouches", where: certified,
			do: func(t testing.TB, w *world, d *deed, _ *asked) { d.leaf, d.key = w.ours.leaf(t, w.began(), nil) },
		},
		{
			name: "another certificate log promised it", code: reason.SCTMissing, text: "no certificate log vouches", where: certified,
			do: func(t testing.TB, w *world, d *deed, _ *asked) {
				d.leaf, d.key = w.ours.leaf(t, w.began(), w.strangers.ct)
			},
		},
		{
			name: "a log entry is asked for and there is none", code: reason.TransparencyLogMissing, text: "carries no transparency log entry", where: notLogged,
			do: func(_ testing.TB, _ *world, _ *deed, a *asked) { a.attestor.IgnoreLog = false },
		},
		{
			name: "the log entry is missing", code: reason.TransparencyLogMissing, text: "carries no transparency log entry", where: logged,
			do: func(_ testing.TB, _ *world, d *deed, _ *asked) { d.rekor1, d.rekor2 = nil, nil },
		},
		{
			name: "the log entry is of another log", code: reason.TransparencyLogMissing, text: "log is not trusted", where: logged,
			do: func(_ testing.TB, w *world, d *deed, _ *asked) {
				if d.rekor1 != nil {
					d.rekor1 = w.strangers.rekor1
				} else {
					d.rekor2 = w.strangers.rekor2
				}
			},
		},
		{
			name: "the log entry is about another signature", code: reason.TransparencyLogMissing, text: "no transparency log entry verifies", where: logged,
			do: func(_ testing.TB, _ *world, d *deed, _ *asked) { d.entry = true },
		},
		{
			name: "a timestamp is asked for and there is none", code: reason.TimestampMissing, text: "carries no timestamp",
			where: func(c combination) bool { return c.proof != timestamp && !c.needsTime() }, note: "where none is needed anyhow",
			do: func(t testing.TB, w *world, _ *deed, a *asked) { a.attestor.TSAChain = w.ours.stampChain(t) },
		},
		{
			name: "the timestamp is missing", code: reason.TimestampMissing, text: "carries no timestamp", where: stampNeeded,
			do: func(_ testing.TB, _ *world, d *deed, _ *asked) { d.stamped = nil },
		},
		{
			name: "the timestamp is of another authority", code: reason.TimestampMissing, text: "no timestamp verifies", where: stampNeeded,
			do: func(_ testing.TB, w *world, d *deed, _ *asked) { d.stamped = w.strangers },
		},
		{
			name: "the timestamp is of another signature", code: reason.TimestampMissing, text: "no timestamp verifies", where: stampNeeded,
			do: func(_ testing.TB, _ *world, d *deed, _ *asked) { d.stamp = true },
		},
		{
			name: "nothing tells when it was signed", code: reason.TimestampMissing, text: noTime, where: combination.needsTime,
			do: func(_ testing.TB, _ *world, d *deed, _ *asked) { d.stamped = nil },
		},
		{
			name: "only a stranger tells when it was signed", code: reason.TimestampMissing, text: noTime, where: combination.needsTime,
			do: func(_ testing.TB, w *world, d *deed, _ *asked) { d.stamped = w.strangers },
		},
		{
			name: "the certificate had ended before", code: reason.CertificateExpired, text: "was not valid at", where: certified,
			do: func(t testing.TB, w *world, d *deed, _ *asked) {
				d.leaf, d.key = w.ours.leaf(t, w.ours.now.Add(-time.Hour), w.ours.ct)
			},
		},
		{
			name: "the certificate began afterwards", code: reason.CertificateExpired, text: "was not valid at", where: certified,
			do: func(t testing.TB, w *world, d *deed, _ *asked) {
				d.leaf, d.key = w.ours.leaf(t, w.ours.now.Add(time.Hour), w.ours.ct)
			},
		},
		{
			name: "the identity is another one", code: reason.IdentityMismatch, text: "subject mismatch", where: only(keyless),
			do: func(t testing.TB, _ *world, _ *deed, a *asked) {
				a.attestor.Keyless.Identity = identity(t, issuer, "ops@example.test")
			},
		},
		{
			name: "the identity is of another issuer", code: reason.IdentityMismatch, text: "issuer mismatch", where: only(keyless),
			do: func(t testing.TB, _ *world, _ *deed, a *asked) {
				a.attestor.Keyless.Identity = identity(t, issuer+".org", subject)
			},
		},
		{
			name: "the annotations are others", code: reason.AnnotationMismatch, text: "annotations",
			do: func(_ testing.TB, _ *world, d *deed, _ *asked) { d.release = "2" },
		},
	}
}

// needsTime tells that the time of signing counts and the log does not tell it.
func (c combination) needsTime() bool { return c.certified() && c.proof == rekor2 }
