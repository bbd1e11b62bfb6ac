package image

// Description is what a registry holds of one image, as the JSON bytes that were checked against their digests.
type Description struct {
	// Image is what was read.
	Image Pinned
	// Index is the image's index; empty for an image of one platform.
	Index []byte
	// Manifest is that of the image, or of one platform of the index.
	Manifest []byte
	// Config is the configuration that Manifest names.
	Config []byte
}
