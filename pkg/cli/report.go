package cli

import (
	"time"
)

// Verdicts of a Report.
const (
	// Verified says that every rule that judges the image holds.
	Verified = "verified"
	// Refused says that a rule was judged and does not hold.
	Refused = "refused"
	// Unchecked says that no rule was violated, and one could not be judged, or none judges the image.
	Unchecked = "unchecked"
)

// Report is what both commands print with -o json. Fields are added, never renamed; what is not known is absent.
type Report struct {
	// Image is the reference, completed as admission does.
	Image string `json:"image"`
	// Digest is what was judged.
	Digest string `json:"digest,omitempty"`
	// Verdict is verified, refused or unchecked; absent when explain was asked nothing.
	Verdict string `json:"verdict,omitempty"`
	// Problem says what kept the image from being judged or looked at as a whole.
	Problem string `json:"problem,omitempty"`
	// Rules are those that judge the image.
	Rules []Rule `json:"rules"`
	// Places and Requests are what explain has to say.
	Places   []Place   `json:"places,omitempty"`
	Requests []Request `json:"requests,omitempty"`
	// Credentials are those that explain was asked about.
	Credentials []Credential `json:"credentials,omitempty"`

	exit    int
	explain bool
}

// Rule is one rule's result.
type Rule struct {
	Policy string `json:"policy"`
	Rule   string `json:"rule"`
	// Action is Enforce or Audit. It does not change the verdict.
	Action string `json:"action"`
	// Status is pass, fail, error or skip; Reason is a reason code.
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// Signers are those whose signatures were accepted.
	Signers []Signer `json:"signers,omitempty"`
}

// Signer is an accepted signature.
type Signer struct {
	// Attestor is its place in the rule.
	Attestor string `json:"attestor"`
	// KeyHint is base64 of the SHA-256 of the public key. Identities and Issuer are what the signing certificate says,
	// where the attestor checked who issued it.
	KeyHint    string   `json:"keyHint,omitempty"`
	Identities []string `json:"identities,omitempty"`
	Issuer     string   `json:"issuer,omitempty"`
	// Place and Manifest are where the signature was found.
	Place    string `json:"place"`
	Manifest string `json:"manifest"`
	// LogIndex and LoggedAt are those of a verified log entry whose log vouches for them.
	LogIndex *int64     `json:"logIndex,omitempty"`
	LoggedAt *time.Time `json:"loggedAt,omitempty"`
}

// Place is a repository that was looked at.
type Place struct {
	Repository string `json:"repository"`
	// Problems are what could not be read there. Without any, no candidates means unsigned.
	Problems []Problem `json:"problems,omitempty"`
	// Truncated says that more is there than is looked at.
	Truncated  bool        `json:"truncated,omitempty"`
	Candidates []Candidate `json:"candidates"`
}

// Problem is a place that could not be read.
type Problem struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// Unreachable says that no connection could be made.
	Unreachable bool `json:"unreachable,omitempty"`
}

// Request is one HTTP request to a registry, in the order of places.
type Request struct {
	// For is what was asked for, such as "signature tag".
	For string `json:"for"`
	// URL is what was asked; scheme and host only where a registry redirected to, and for tokens.
	URL string `json:"url"`
	// Status is the HTTP status, 0 when no answer came.
	Status int `json:"status"`
}

// Credential is where a credential for a registry was found. It holds nothing of the credential.
type Credential struct {
	// Host is the registry that it is for.
	Host string `json:"host"`
	// Source is "secret namespace/name", the name of a provider (default is the docker configuration), or none; empty when the
	// host asked for no credentials.
	Source string `json:"source,omitempty"`
	// Entry is the key in the Secret, or the file and the key or helper of the docker configuration.
	Entry string `json:"entry,omitempty"`
	// Answer is accepted, refused, open (the registry answers everybody), or another word for why it is not known.
	Answer string `json:"answer"`
	// Status is the HTTP status that says so, 0 when no answer came.
	Status int `json:"status"`
}

// Candidate is something found that is or pretends to be a signature. Its fields down to Problems are its own words:
// they are proven only as far as an attestor accepted it.
type Candidate struct {
	Place        string            `json:"place"`
	Manifest     string            `json:"manifest,omitempty"`
	Format       string            `json:"format"`
	MediaType    string            `json:"mediaType,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Predicate    string            `json:"predicateType,omitempty"`
	KeyHint      string            `json:"keyHint,omitempty"`
	Certificate  *Certificate      `json:"certificate,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	LogEntries   []LogEntry        `json:"logEntries,omitempty"`
	Timestamps   []time.Time       `json:"timestamps,omitempty"`
	Problems     []string          `json:"problems,omitempty"`
	// Broken is why it cannot be verified by anybody.
	Broken *Problem `json:"broken,omitempty"`
	// NotJudged is why no attestor judged it.
	NotJudged string `json:"notJudged,omitempty"`
	// Judgements are one for each attestor that judged it.
	Judgements []Judgement `json:"judgements,omitempty"`
}

// Certificate is what a signing certificate says.
type Certificate struct {
	Subjects []string `json:"subjects,omitempty"`
	Issuer   string   `json:"issuer,omitempty"`
	// Misleading are names that are written like another kind of name, and match nothing.
	Misleading []string  `json:"misleading,omitempty"`
	NotBefore  time.Time `json:"notBefore"`
	NotAfter   time.Time `json:"notAfter"`
}

// LogEntry is what a transparency log entry says.
type LogEntry struct {
	Kind  string     `json:"kind"`
	Index int64      `json:"index"`
	Time  *time.Time `json:"time,omitempty"`
}

// Judgement is what one attestor says of a candidate.
type Judgement struct {
	// Attestor is "policy/rule" and the attestor's place in it.
	Attestor string `json:"attestor"`
	Accepted bool   `json:"accepted"`
	Reason   string `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"`
}
