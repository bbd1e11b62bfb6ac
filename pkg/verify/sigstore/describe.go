package sigstore

import (
	"cmp"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/signet-policy/signet/pkg/verify"
)

// Description is what a candidate says of itself, for people. Nothing in it was verified, and its texts are as whoever
// made the candidate chose them.
type Description struct {
	// Format is the form of the signature, in words.
	Format string
	// Predicate is the predicate type of a statement; empty for simple signing and for what could not be opened.
	Predicate string
	// KeyHint names the signing key in the form of verify.KeyHint; empty when the candidate does not name it.
	KeyHint string
	// Certificate is nil when the candidate carries none.
	Certificate *Certificate
	// Annotations are the pairs in what was signed.
	Annotations map[string]string
	// LogEntries are the transparency log entries that came along.
	LogEntries []LogEntry
	// Timestamps are the times of the RFC 3161 timestamps that came along.
	Timestamps []time.Time
	// Problems are proofs that came along and cannot be read.
	Problems []string
}

// Certificate is what a signing certificate says.
type Certificate struct {
	// Subjects are the identities: the alternative names as they are compared with policies, or else the subject.
	Subjects []string
	// Issuer is the OIDC issuer that vouched for the identities; empty for a certificate that is not Fulcio's.
	Issuer string
	// Misleading are names that are written like another kind of name, and match nothing.
	Misleading          []string
	NotBefore, NotAfter time.Time
}

// LogEntry is what a transparency log entry says.
type LogEntry struct {
	// Kind is the entry's kind and version.
	Kind  string
	Index int64
	// Time is when the entry was made by the log's clock; zero where the entry does not say.
	Time time.Time
	// Promised is set when the log signed index and time; without it they are the bearer's word.
	Promised bool
}

// Describe tells what a candidate of this package says of itself.
func Describe(c *verify.Candidate) (d Description) {
	d = Description{Format: format(c), KeyHint: c.KeyHint}
	defer func() {
		if p := recover(); p != nil {
			d.Problems = append(d.Problems, "malformed signature")
		}
	}()
	s, ok := c.Parsed.(*signed)
	if !ok {
		return d
	}
	d.Predicate = s.claims.predicate
	for _, part := range s.claims.annotations {
		if len(part) > 0 && d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		maps.Copy(d.Annotations, part)
	}
	if s.certificate != nil {
		d.Certificate = describeCertificate(s.certificate)
		if err := certified(s.certificate).Err; err != nil {
			d.Problems = append(d.Problems, "certificate: "+shown(err))
		}
		d.KeyHint = cmp.Or(d.KeyHint, verify.KeyHint(s.certificate.PublicKey))
	}
	d.describeLog(s)
	d.describeTimes(s)
	return d
}

func format(c *verify.Candidate) string {
	switch kind := cmp.Or(c.Artifact.MediaType, c.Artifact.ArtifactType); {
	case strings.HasPrefix(kind, bundleTypePrefix), strings.HasPrefix(c.Artifact.ArtifactType, bundleTypePrefix):
		return "Sigstore bundle"
	case kind == simpleSigningType, kind == legacyArtifactType:
		return "cosign simple signing"
	case kind == envelopeType:
		return "DSSE envelope"
	default:
		return "unknown"
	}
}

// describeCertificate reads the names as the verifier does, so that nobody is shown another name than the one judged.
func describeCertificate(c *x509.Certificate) *Certificate {
	says := certified(c)
	d := &Certificate{Issuer: says.Issuer, Misleading: says.Misleading, NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC()}
	for _, name := range says.Subjects {
		if !slices.Contains(says.Misleading, name) {
			d.Subjects = append(d.Subjects, name)
		}
	}
	if len(says.Subjects) == 0 && len(c.Subject.Names) > 0 {
		d.Subjects = []string{c.Subject.String()}
	}
	return d
}

func (d *Description) describeLog(s *signed) {
	entries, err := s.logEntries()
	if err != nil {
		d.Problems = append(d.Problems, "log entry: "+shown(err))
	}
	for _, e := range entries {
		entry := LogEntry{
			Kind:  strings.Trim(e.GetKindVersion().GetKind()+" "+e.GetKindVersion().GetVersion(), " "),
			Index: e.GetLogIndex(), Promised: len(e.GetInclusionPromise().GetSignedEntryTimestamp()) > 0,
		}
		if t := e.GetIntegratedTime(); t > 0 {
			entry.Time = time.Unix(t, 0).UTC()
		}
		d.LogEntries = append(d.LogEntries, entry)
	}
}

func (d *Description) describeTimes(s *signed) {
	responses, err := s.timestamps()
	if err != nil {
		d.Problems = append(d.Problems, "timestamp: "+shown(err))
	}
	for _, r := range responses {
		if _, err := parseStamp(r); err != nil {
			d.Problems = append(d.Problems, "timestamp: "+shown(err))
			continue
		}
		// With its certificates, it would be verified by them.
		stamp, err := timestamp.ParseResponse(withoutOthers(r, nil))
		if err != nil {
			d.Problems = append(d.Problems, "timestamp: "+shown(err))
			continue
		}
		d.Timestamps = append(d.Timestamps, stamp.Time.UTC())
	}
}
