package notary

import (
	"time"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/verify"
)

// Description is what a candidate says of itself, for people. Its texts are as whoever made the candidate chose them.
type Description struct {
	// Format is the form of the signature, in words.
	Format string
	// Subject is that of the signing certificate; empty when the candidate carries none, or several signatures.
	Subject             string
	NotBefore, NotAfter time.Time
	// Problems are what is wrong with an artifact's own signatures.
	Problems []string
}

// Describe tells what a candidate of this package says of itself; false for a candidate of another one.
func Describe(c *verify.Candidate) (d Description, ok bool) {
	switch parsed := c.Parsed.(type) {
	case *signed:
		d.Format = formOf(parsed.mediaType)
		d.describe(parsed)
	case *attestation:
		d.Format = "artifact with Notary signatures"
		for _, err := range parsed.rejected {
			d.Problems = append(d.Problems, err.Error())
		}
		if len(parsed.signatures) == 1 {
			d.describe(parsed.signatures[0])
		}
	default:
		if c.Artifact.ArtifactType != image.NotarySignature {
			return d, false
		}
		d.Format = formOf(c.Artifact.MediaType)
	}
	return d, true
}

func formOf(mediaType string) string {
	switch mediaType {
	case image.NotaryEnvelopeJWS:
		return "Notary signature, JWS"
	case image.NotaryEnvelopeCOSE:
		return "Notary signature, COSE"
	}
	return "Notary signature"
}

func (d *Description) describe(s *signed) {
	leaf := s.leaf()
	d.Subject, d.NotBefore, d.NotAfter = leaf.Subject.String(), leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
}
