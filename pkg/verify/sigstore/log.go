package sigstore

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/rekor/pkg/generated/models"
	rekorverify "github.com/sigstore/rekor/pkg/verify"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// entryKind reads the kind of a log entry, and refuses those that are not known, before they are decoded.
func entryKind(body []byte) (*protorekor.KindVersion, error) {
	if err := checkJSON(body, maxBundleList); err != nil {
		return nil, err
	}
	top, err := object(trim(body), "kind", "apiVersion", "spec")
	if err != nil {
		return nil, err
	}
	kind, _ := text(top["kind"])
	version, _ := text(top["apiVersion"])
	switch kind + "/" + version {
	case "hashedrekord/0.0.1", "hashedrekord/0.0.2", "dsse/0.0.1", "intoto/0.0.1", "intoto/0.0.2":
		return &protorekor.KindVersion{Kind: kind, Version: version}, nil
	}
	return nil, fmt.Errorf("the kind %.40q %.20q is not supported", kind, version)
}

// rekorBundle reads the annotation with a Rekor v1 entry and its signed timestamp. An empty text holds none.
func rekorBundle(encoded string) ([]*protorekor.TransparencyLogEntry, error) {
	if encoded == "" {
		return nil, nil
	}
	if len(encoded) > maxBundle {
		return nil, tooLarge("the log entry", maxBundle)
	}
	raw := []byte(encoded)
	if err := checkJSON(raw, maxBundleList); err != nil {
		return nil, err
	}
	top, err := object(trim(raw), "SignedEntryTimestamp", "Payload")
	if err != nil {
		return nil, err
	}
	fields, err := object(top["Payload"], "body", "integratedTime", "logIndex", "logID")
	if err != nil {
		return nil, err
	}
	set, _ := text(top["SignedEntryTimestamp"])
	body, _ := text(fields["body"])
	logID, _ := text(fields["logID"])
	e := &protorekor.TransparencyLogEntry{LogId: &protocommon.LogId{}, InclusionPromise: &protorekor.InclusionPromise{}}
	var errs [5]error
	e.InclusionPromise.SignedEntryTimestamp, errs[0] = base64.StdEncoding.DecodeString(set)
	e.CanonicalizedBody, errs[1] = base64.StdEncoding.DecodeString(body)
	e.LogId.KeyId, errs[2] = hex.DecodeString(logID)
	errs[3] = json.Unmarshal(fields["integratedTime"], &e.IntegratedTime)
	errs[4] = json.Unmarshal(fields["logIndex"], &e.LogIndex)
	if errors.Join(errs[:]...) != nil || len(e.InclusionPromise.SignedEntryTimestamp) == 0 {
		return nil, errors.New("the log entry is malformed")
	}
	if e.KindVersion, err = entryKind(e.CanonicalizedBody); err != nil {
		return nil, err
	}
	return []*protorekor.TransparencyLogEntry{e}, nil
}

// proof is what an entry is compared with: exactly this signature, digest and key. It is the SignedEntity of one entry,
// so that an entry which does not verify does not spoil another that does.
type proof struct {
	sgverify.BaseSignedEntity
	entry   *tlog.Entry
	content sgverify.SignatureContent
	key     sgverify.VerificationContent
}

func (p *proof) TlogEntries() ([]*tlog.Entry, error)                        { return []*tlog.Entry{p.entry}, nil }
func (p *proof) SignatureContent() (sgverify.SignatureContent, error)       { return p.content, nil }
func (p *proof) VerificationContent() (sgverify.VerificationContent, error) { return p.key, nil }

// signerContent is the signer of a signature, as a log entry has to name it.
type signerContent struct {
	*signer
	// logged is the certificate that a Rekor v2 entry names: its hash is made over it.
	logged *x509.Certificate
}

// CompareKey tells whether an entry names the signer. Where the certificate counts, it has to be that certificate; the
// bare key will do when the certificate comes from the policy, and was thus not known to who made the entry. Where the
// key counts, it is the key or any certificate of it.
func (c signerContent) CompareKey(logged any, _ root.TrustedMaterial) bool {
	if named, ok := logged.(*x509.Certificate); ok {
		if c.certificate != nil {
			return c.certificate.Equal(named)
		}
		logged = named.PublicKey
	} else if c.certificate != nil && !c.given {
		return false
	}
	comparable, ok := logged.(interface{ Equal(crypto.PublicKey) bool })
	return ok && comparable.Equal(c.key)
}

// ValidAtTime leaves the validity of a certificate to verifyTime, which looks at its whole chain.
func (c signerContent) ValidAtTime(time.Time, root.TrustedMaterial) bool { return true }
func (c signerContent) Certificate() *x509.Certificate                   { return c.logged }
func (c signerContent) Intermediates() []*x509.Certificate               { return nil }
func (c signerContent) PublicKey() sgverify.PublicKeyProvider            { return c }
func (c signerContent) Hint() string                                     { return "" }

// verifyLog looks for entries that verify for this signature, and returns the times that they prove. For a signer
// without certificate the time does not count, and the first entry will do. The error is a *reason.Error.
func (v *Verifier) verifyLog(s *signed, a *verify.Attestor, who *signer, c *checker, stamps func() []time.Time) ([]time.Time, error) {
	missing := func(text string) error { return reason.New(reason.TransparencyLogMissing, text) }
	entries, err := s.logEntries()
	if err != nil {
		return nil, missing("the transparency log entry cannot be used: " + shown(err))
	}
	if len(entries) == 0 {
		if entries, err = v.search(s, a, who, c); err != nil {
			return nil, err
		}
	}
	if len(entries) == 0 {
		return nil, v.missingEntry(s, a)
	}
	var trusted root.TrustedMaterial
	if len(a.LogKeys) == 0 {
		if trusted, err = v.material(); err != nil {
			return nil, err
		}
	}
	var times []time.Time
	text, verified := "", false
	for _, e := range entries {
		proved, err := v.verifyEntry(s, a, who, c, e, trusted, stamps)
		if err != nil {
			text = shown(err)
			continue
		}
		if verified = true; who.certificate == nil {
			break
		}
		times = append(times, proved...)
	}
	if !verified {
		return nil, missing("no transparency log entry verifies: " + text)
	}
	return times, nil
}

func (v *Verifier) verifyEntry(s *signed, a *verify.Attestor, who *signer, c *checker, e *protorekor.TransparencyLogEntry, trusted root.TrustedMaterial, stamps func() []time.Time) ([]time.Time, error) {
	name := signerContent{signer: who}
	names, err := entryNames(e.GetCanonicalizedBody())
	switch {
	case err != nil:
		return nil, err
	case !names.about(s):
		return nil, errors.New("the entry is for another signature")
	case !name.CompareKey(names.signer, nil):
		return nil, errors.New("the entry is for another signer")
	}
	material := logMaterial{checker: c}
	id := hex.EncodeToString(e.GetLogId().GetKeyId())
	if trusted != nil {
		material.log = trusted.RekorLogs()[id]
	} else {
		material.log = keyedLog(a.LogKeys, e)
	}
	if material.log == nil {
		return nil, errors.New("the entry's log is not trusted")
	}
	if names.envelope != nil {
		return promisedAt(e, material.log)
	}
	entry, err := tlog.ParseTransparencyLogEntry(e)
	if err != nil {
		return nil, err
	}
	material.id = id
	if err := v.validAt(material.log, entry, stamps); err != nil {
		return nil, err
	}
	if entry.IsRekorV2() {
		// The library compares hashes there, made over what the entry has to name. It compares nothing under a checkpoint
		// of the first form, whose origin is a name and a tree's number: no log of the second form has one, and it would
		// make any entry of the log one for this digest.
		if strings.ContainsAny(checkpointOrigin(e), " \t") {
			return nil, errors.New("the entry's checkpoint is not of its form")
		}
		name.logged, _ = names.signer.(*x509.Certificate)
	}
	proved, err := sgverify.VerifyTlogEntry(&proof{entry: entry, content: s.content(c.digest(s), c.algorithm()), key: name}, material, 1, true)
	if err != nil {
		return nil, err
	}
	times := make([]time.Time, len(proved))
	for i := range proved {
		times[i] = proved[i].Time
	}
	return times, nil
}

// promisedAt verifies an entry of a kind that the library does not read, by the log's promise for the body as it is, and
// returns its time.
func promisedAt(e *protorekor.TransparencyLogEntry, log *root.TransparencyLog) ([]time.Time, error) {
	at := time.Unix(e.GetIntegratedTime(), 0)
	promise := e.GetInclusionPromise().GetSignedEntryTimestamp()
	switch {
	case len(promise) == 0:
		return nil, errors.New("the entry has no promise of the log")
	case e.GetIntegratedTime() <= 0, at.Before(log.ValidityPeriodStart), !log.ValidityPeriodEnd.IsZero() && at.After(log.ValidityPeriodEnd):
		return nil, errors.New("the log's key was not valid at the time of the entry")
	}
	verifier, err := signature.LoadVerifier(log.PublicKey, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	id := hex.EncodeToString(e.GetLogId().GetKeyId())
	err = rekorverify.VerifySignedEntryTimestamp(context.Background(), &models.LogEntryAnon{
		Body: base64.StdEncoding.EncodeToString(e.GetCanonicalizedBody()), IntegratedTime: &e.IntegratedTime, LogIndex: &e.LogIndex, LogID: &id,
		Verification: &models.LogEntryAnonVerification{SignedEntryTimestamp: promise},
	}, verifier)
	if err != nil {
		return nil, err
	}
	return []time.Time{at}, nil
}

// validAt honours the validity window of a log's key where the entry carries no signed time of its own; the library
// honours it where it does.
func (v *Verifier) validAt(log *root.TransparencyLog, entry *tlog.Entry, stamps func() []time.Time) error {
	if entry.HasInclusionPromise() {
		return nil
	}
	times := stamps()
	if len(times) == 0 {
		times = []time.Time{v.now()}
		if end := log.ValidityPeriodEnd; !end.IsZero() && end.Before(times[0]) {
			// A log that was closed keeps its entries; without a time it cannot be told when they were made.
			times[0] = end
		}
	}
	for _, t := range times {
		if t.Before(log.ValidityPeriodStart) || !log.ValidityPeriodEnd.IsZero() && t.After(log.ValidityPeriodEnd) {
			return errors.New("the log's key was not valid at the time of the timestamp")
		}
	}
	return nil
}

// checkpointOrigin is the first line of an entry's checkpoint; empty when there is none.
func checkpointOrigin(e *protorekor.TransparencyLogEntry) string {
	origin, _, _ := strings.Cut(e.GetInclusionProof().GetCheckpoint().GetEnvelope(), "\n")
	return origin
}

// keyedLog finds the attestor's log key that the entry names. Rekor v1 names a key by the hash of its PKIX form; Rekor v2
// by a hash over the log's origin too, which is taken from the entry's checkpoint: the key is the trust anchor, and the
// checkpoint, origin included, is signed by it.
func keyedLog(keys []crypto.PublicKey, e *protorekor.TransparencyLogEntry) *root.TransparencyLog {
	origin := checkpointOrigin(e)
	for _, key := range keys {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			continue
		}
		sum := sha256.Sum256(der)
		matches := string(sum[:]) == string(e.GetLogId().GetKeyId())
		if !matches && origin != "" {
			_, id, err := note.KeyHash(origin, key)
			matches = err == nil && string(id) == string(e.GetLogId().GetKeyId())
		}
		if matches {
			return &root.TransparencyLog{
				BaseURL: "https://" + origin, ID: e.GetLogId().GetKeyId(), PublicKey: key,
				HashFunc: crypto.SHA256, SignatureHashFunc: logHash(key), ValidityPeriodStart: time.Unix(0, 0),
			}
		}
	}
	return nil
}

// logMaterial is the one log that an entry is verified against, and the signature's key.
type logMaterial struct {
	root.BaseTrustedMaterial
	id      string
	log     *root.TransparencyLog
	checker *checker
}

func (m logMaterial) RekorLogs() map[string]*root.TransparencyLog {
	return map[string]*root.TransparencyLog{m.id: m.log}
}

func (m logMaterial) PublicKeyVerifier(string) (root.TimeConstrainedVerifier, error) {
	return root.NewExpiringKey(m.checker.verifier, time.Time{}, time.Time{}), nil
}

func (m logMaterial) TimestampingAuthorities() []root.TimestampingAuthority     { return nil }
func (m logMaterial) FulcioCertificateAuthorities() []root.CertificateAuthority { return nil }
func (m logMaterial) CTLogs() map[string]*root.TransparencyLog                  { return nil }
