package sigstore_test

import (
	"context"

	"github.com/signet-policy/signet/pkg/image"
)

// found is a Fetcher that was already answered.
type found struct{ attached *image.Attached }

func (f found) Attached(context.Context, image.Pinned, image.Ref) (*image.Attached, error) {
	return f.attached, nil
}
