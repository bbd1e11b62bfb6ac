package registry

import (
	"context"
	"encoding/json"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/reason"
)

// platform is the one whose manifest and configuration are read of an image for several: linux/amd64, or the first that
// is there.
type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
}

// Describe reads the manifest of a pinned image and the configuration that it names, each checked by its digest. The error
// is as with Exists.
func (c *Client) Describe(ctx context.Context, p image.Pinned) (*image.Description, error) {
	if p.Ref().IsZero() || p.Digest() == "" {
		return nil, reason.New(reason.InvalidImageReference, "no image digest")
	}
	s, out := c.session(p.Ref()), &image.Description{Image: p}
	doc, body, err := s.manifest(ctx, p.Digest())
	if err != nil {
		return nil, err
	}
	if doc.index {
		out.Index = body
		digest, err := choose(doc)
		if err != nil {
			return nil, err
		}
		if doc, body, err = s.manifest(ctx, digest); err != nil {
			return nil, err
		}
	}
	out.Manifest = body
	if doc.index || doc.Config == nil {
		return nil, reason.New(reason.RegistryUnavailable, "the image has no manifest with a configuration")
	}
	config, err := image.ParseDigest(doc.Config.Digest)
	if err != nil || doc.Config.Size < 0 || doc.Config.Size > c.shared.limits.Manifest {
		return nil, reason.New(reason.LimitReached, "the image's configuration has no sha256 digest or is too large")
	}
	received, fail := s.get(ctx, want{
		kind: KindBlob, suffix: "blobs/" + config.String(), accept: "*/*", limit: doc.Config.Size, size: doc.Config.Size, need: canPull,
		check: func(r *received, url string) *failure { return checkDigest(r, url, config) },
	})
	if fail != nil {
		return nil, missing(fail, "image configuration not found")
	}
	out.Config = received.body
	return out, nil
}

// manifest reads a manifest or an index by its digest.
func (s *session) manifest(ctx context.Context, digest image.Digest) (*document, []byte, error) {
	limits := s.client.shared.limits
	received, fail := s.get(ctx, want{
		kind: KindManifest, suffix: "manifests/" + digest.String(), accept: acceptManifest,
		limit: limits.Manifest, size: -1, need: canPull,
		check: func(r *received, url string) *failure { return s.client.checkManifest(r, url, digest) },
	})
	if fail != nil {
		return nil, nil, missing(fail, "image not found")
	}
	doc, err := parseDocument(received.body, received.header.Get("Content-Type"), limits.Depth)
	if err != nil {
		return nil, nil, reason.Wrap(reason.RegistryUnavailable, err)
	}
	return doc, received.body, nil
}

// choose picks the manifest of one platform.
func choose(doc *document) (image.Digest, error) {
	var chosen image.Digest
	for _, raw := range doc.Manifests.list {
		var entry struct {
			Digest   string    `json:"digest"`
			Platform *platform `json:"platform"`
		}
		if json.Unmarshal(raw, &entry) != nil {
			continue
		}
		digest, err := image.ParseDigest(entry.Digest)
		if err != nil {
			continue
		}
		if entry.Platform != nil && *entry.Platform == (platform{"linux", "amd64"}) {
			return digest, nil
		}
		if chosen == "" {
			chosen = digest
		}
	}
	if chosen == "" {
		return "", reason.New(reason.RegistryUnavailable, "the image's index names no manifest")
	}
	return chosen, nil
}
