// Package corpus gives tests the signed images of this directory: cases, what the registry holds, and the policy that
// states each case's requirement.
package corpus

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Verdicts of Case.Expected.
const (
	Accept = "accept"
	Refuse = "refuse"
)

// Case is one image with a requirement and the right verdict on it.
type Case struct {
	Name  string `json:"name"`
	Group string `json:"group"`
	// Image is a repository without registry, with a tag or a digest.
	Image string `json:"image"`
	// Digest is what Image resolves to; empty when it does not exist.
	Digest      string      `json:"digest"`
	Format      string      `json:"format"`
	Requirement Requirement `json:"requirement"`
	Expected    string      `json:"expected"`
	Reason      string      `json:"reason"`
	// Advisory is set where tools differ: another verdict is worth a line in the log, no more.
	Advisory bool `json:"advisory"`
}

// Requirement is what must hold for the image. Files are paths below Dir.
type Requirement struct {
	Signatures          []Set             `json:"signatures"`
	Attestations        []Attestation     `json:"attestations"`
	Annotations         map[string]string `json:"annotations"`
	SignatureRepository string            `json:"signatureRepository"`
	// Hint is the verifyImages type; empty for none.
	Hint string `json:"hint"`
	// TrustedRoot is the process's trust root file; empty when none may be needed.
	TrustedRoot string `json:"trustedRoot"`
}

// Attestation asks for a statement of the type, signed for all Attestors, on whose predicate all Conditions hold.
type Attestation struct {
	PredicateType string      `json:"predicateType"`
	Attestors     []Set       `json:"attestors"`
	Conditions    []Condition `json:"conditions"`
}

// Condition wants the value at a JMESPath of the predicate to be Equals.
type Condition struct {
	Path   string `json:"path"`
	Equals any    `json:"equals"`
}

// Set is an attestor set. A Count of zero asks for all.
type Set struct {
	Attestors []Attestor `json:"attestors"`
	Count     int        `json:"count"`
}

// Attestor is one of a key (Key or KeyPEMs), a certificate, an identity, a Notary trust store and a nested set.
type Attestor struct {
	Key          string        `json:"key"`
	KeyPEMs      []string      `json:"keyPEMs"`
	Hash         string        `json:"hash"`
	Certificates *Certificates `json:"certificates"`
	Keyless      *Keyless      `json:"keyless"`
	// Notary are files of a Notary trust store.
	Notary      []string          `json:"notary"`
	Annotations map[string]string `json:"annotations"`
	Repository  string            `json:"repository"`
	IgnoreTlog  bool              `json:"ignoreTlog"`
	RekorKey    string            `json:"rekorKey"`
	IgnoreSCT   bool              `json:"ignoreSCT"`
	CTLogKey    string            `json:"ctlogKey"`
	TSAChain    string            `json:"tsaChain"`
	Nested      *Set              `json:"nested"`
}

// Certificates are the files of a certificate attestor.
type Certificates struct {
	Certificate string `json:"certificate"`
	Chain       string `json:"chain"`
}

// Keyless is an identity; Roots is a file.
type Keyless struct {
	Issuer        string            `json:"issuer"`
	IssuerRegExp  string            `json:"issuerRegExp"`
	Subject       string            `json:"subject"`
	SubjectRegExp string            `json:"subjectRegExp"`
	Roots         string            `json:"roots"`
	Extensions    map[string]string `json:"extensions"`
}

// Dir is the directory of this package.
func Dir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

// Images is the directory of the OCI image layout.
func Images() string { return filepath.Join(Dir(), "images") }

// Load reads the cases.
func Load() ([]Case, error) {
	b, err := os.ReadFile(filepath.Join(Dir(), "cases.json"))
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	var doc struct {
		Cases []Case `json:"cases"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	if len(doc.Cases) == 0 {
		return nil, errors.New("corpus: no cases")
	}
	return doc.Cases, nil
}

// Read returns the text of a trust file.
func Read(file string) (string, error) {
	b, err := os.ReadFile(filepath.Join(Dir(), file))
	if err != nil {
		return "", fmt.Errorf("corpus: %w", err)
	}
	return string(b), nil
}

// Repository is the case's repository, without registry.
func (c *Case) Repository() string {
	name, _, _ := strings.Cut(c.Image, "@")
	name, _, _ = strings.Cut(name, ":")
	return name
}

// PublicKeys is the attestor's publicKeys text: its key, or its keys one after the other.
func (a *Attestor) PublicKeys() (string, error) {
	files := a.KeyPEMs
	if a.Key != "" {
		files = []string{a.Key}
	}
	return readAll(files)
}

// TrustStore is the attestor's Notary trust store as PEM text.
func (a *Attestor) TrustStore() (string, error) { return readAll(a.Notary) }

func readAll(files []string) (string, error) {
	var all strings.Builder
	for _, f := range files {
		text, err := Read(f)
		if err != nil {
			return "", err
		}
		all.WriteString(text)
	}
	return all.String(), nil
}
