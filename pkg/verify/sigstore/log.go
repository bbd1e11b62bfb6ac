package sigstore

import (
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
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// checkEntry refuses log entries of kinds and versions other than the four that are known, before they are decoded.
func checkEntry(e *protorekor.TransparencyLogEntry) error {
	kind, err := entryKind(e.GetCanonicalizedBody())
	if err != nil {
		return fmt.Errorf("log entry: %w", err)
	}
	if e.GetKindVersion().GetKind() != kind.GetKind() || e.GetKindVersion().GetVersion() != kind.GetVersion() {
		return errors.New("log entry: its kind is not that of its body")
	}
	return nil
}

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
	case "hashedrekord/0.0.1", "hashedrekord/0.0.2", "dsse/0.0.1", "intoto/0.0.2":
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

// keyContent is a signature's key where the entry names the key, or a certificate of that key.
type keyContent struct{ key crypto.PublicKey }

func (k keyContent) CompareKey(logged any, _ root.TrustedMaterial) bool {
	if c, ok := logged.(*x509.Certificate); ok {
		logged = c.PublicKey
	}
	comparable, ok := logged.(interface{ Equal(crypto.PublicKey) bool })
	return ok && comparable.Equal(k.key)
}
func (k keyContent) ValidAtTime(time.Time, root.TrustedMaterial) bool { return true }
func (k keyContent) Certificate() *x509.Certificate                   { return nil }
func (k keyContent) Intermediates() []*x509.Certificate               { return nil }
func (k keyContent) PublicKey() sgverify.PublicKeyProvider            { return k }
func (k keyContent) Hint() string                                     { return "" }

// verifyLog looks for one entry that verifies for this signature. The error is a *reason.Error.
func (v *Verifier) verifyLog(s *signed, a *verify.Attestor, c *checker, stamps func() []time.Time) error {
	missing := func(text string) error { return reason.New(reason.TransparencyLogMissing, text) }
	entries, err := s.logEntries()
	if err != nil {
		return missing("the transparency log entry cannot be used: " + shown(err))
	}
	if len(entries) == 0 {
		return missing("the signature carries no transparency log entry")
	}
	var trusted root.TrustedMaterial
	if len(a.LogKeys) == 0 {
		if trusted, err = v.material(); err != nil {
			return err
		}
	}
	text := ""
	for _, e := range entries {
		if err = verifyEntry(s, a, c, e, trusted, stamps); err == nil {
			return nil
		}
		text = shown(err)
	}
	return missing("no transparency log entry verifies: " + text)
}

func verifyEntry(s *signed, a *verify.Attestor, c *checker, e *protorekor.TransparencyLogEntry, trusted root.TrustedMaterial, stamps func() []time.Time) error {
	entry, err := tlog.ParseTransparencyLogEntry(e)
	if err != nil {
		return err
	}
	material := logMaterial{checker: c}
	id := hex.EncodeToString(e.GetLogId().GetKeyId())
	if trusted != nil {
		material.log = trusted.RekorLogs()[id]
	} else {
		material.log = keyedLog(a.LogKeys, e)
	}
	if material.log == nil {
		return errors.New("the entry's log is not trusted")
	}
	material.id = id
	if err := validAt(material.log, entry, stamps); err != nil {
		return err
	}
	p := &proof{entry: entry, content: s.content(c.digest(s), c.algorithm()), key: keyContent{a.Key}}
	if logged, ok := entry.PublicKey().(*x509.Certificate); ok && entry.IsRekorV2() && s.certificate != nil && s.certificate.Equal(logged) {
		// The entry's hash is made over the certificate; that its key is the attestor's is checked here.
		if !p.key.CompareKey(logged, nil) {
			return errors.New("the entry is for another key")
		}
		p.key = bundle.NewCertificate(s.certificate)
	}
	_, err = sgverify.VerifyTlogEntry(p, material, 1, true)
	return err
}

// validAt honours the validity window of a log's key where the entry carries no signed time of its own; the library
// honours it where it does.
func validAt(log *root.TransparencyLog, entry *tlog.Entry, stamps func() []time.Time) error {
	if entry.HasInclusionPromise() {
		return nil
	}
	times := stamps()
	if len(times) == 0 {
		times = []time.Time{time.Now()}
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

// keyedLog finds the attestor's log key that the entry names. Rekor v1 names a key by the hash of its PKIX form; Rekor v2
// by a hash over the log's origin too, which is taken from the entry's checkpoint: the key is the trust anchor, and the
// checkpoint, origin included, is signed by it.
func keyedLog(keys []crypto.PublicKey, e *protorekor.TransparencyLogEntry) *root.TransparencyLog {
	origin, _, _ := strings.Cut(e.GetInclusionProof().GetCheckpoint().GetEnvelope(), "\n")
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
