package image

// Artifact is one layer of a manifest that is attached to an image. Its bytes were checked against their digest; what
// they say was not.
type Artifact struct {
	// Place says where it was found, for people: "tag sha256-….sig", "referrers API", "tag sha256-…".
	Place string
	// Manifest is the digest of the manifest that holds the layer.
	Manifest Digest
	// ArtifactType is the manifest's own artifact type, or its config's media type when it has none.
	ArtifactType string
	// MediaType and Annotations are the layer's.
	MediaType   string
	Annotations map[string]string
	// Payload is the layer's content.
	Payload []byte
	// Subject describes what the manifest is attached to, as its bytes were received, and Attached is what is attached to
	// the manifest in its turn. Both are known only where Notary signatures were asked for, and Attached only of what is
	// none itself.
	Subject  Descriptor
	Attached *Attached
	// Err is set, and Payload empty, when the manifest or the layer was found but cannot be a candidate: too large, of
	// an unusable form, or its bytes do not match their digest.
	Err error
}

// Descriptor describes a manifest.
type Descriptor struct {
	MediaType string
	Digest    Digest
	// Size is in bytes.
	Size int64
}

// Media types of Notary Project signatures: the artifact type of their manifests, and the two forms of the envelope that
// is the only layer.
const (
	NotarySignature    = "application/vnd.cncf.notary.signature"
	NotaryEnvelopeJWS  = "application/jose+json"
	NotaryEnvelopeCOSE = "application/cose"
)

// Attached is what was found for an image.
type Attached struct {
	Artifacts []Artifact
	// Problems are places that could not be read (a *reason.Error each, with the place in its text). An empty list
	// means that every place answered, so that no artifacts means unsigned.
	Problems []error
	// Truncated is set when a limit on the number of artifacts ended the search.
	Truncated bool
}
