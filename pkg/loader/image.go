package loader

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/policy"
)

// image gives what a registry holds of an image (VI 1.4(4)): {image, resolvedImage, registry, repository, identifier,
// manifest, manifestList, configData}.
func (l *Loader) image(ctx context.Context, entry *policy.ContextEntry, scope *expr.Scope, describe Describe) (any, error) {
	reference, err := text(ctx, scope, entry.Image, "reference")
	if err != nil {
		return nil, err
	}
	found, err := describe(ctx, entry, reference)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", clip(reference), err)
	}
	ref := found.Image.Ref()
	identifier := ref.Tag()
	if d := ref.RawDigest(); d != "" {
		identifier = d
	}
	out := map[string]any{
		"image": reference, "registry": ref.Registry(), "repository": ref.Path(), "identifier": identifier,
		"resolvedImage": ref.Registry() + "/" + ref.Path() + "@" + found.Image.Digest().String(),
	}
	for name, raw := range map[string][]byte{"manifest": found.Manifest, "manifestList": found.Index, "configData": found.Config} {
		var value any
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &value); err != nil {
				return nil, fmt.Errorf("image %s: its %s is not JSON", clip(reference), name)
			}
		}
		out[name] = value
	}
	return out, nil
}
