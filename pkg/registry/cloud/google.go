package cloud

import (
	"context"
	"net/http"
	"regexp"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// googleHost is Container Registry or Artifact Registry.
var googleHost = regexp.MustCompile(`^(?:(?:[a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+\.pkg\.dev)$`)

// cloudScope is what both registries and federated identities take.
const cloudScope = "https://www.googleapis.com/auth/cloud-platform"

// googleAccount: one token serves every registry.
func googleAccount(host string) (string, bool) { return "", googleHost.MatchString(host) }

// googleToken gets a token of the identity that the process has by Google's own rules.
func googleToken(ctx context.Context, _ string) (authn.AuthConfig, time.Time, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Timeout: effort})
	c, err := google.FindDefaultCredentials(ctx, cloudScope)
	if err != nil {
		return authn.AuthConfig{}, time.Time{}, err
	}
	t, err := c.TokenSource.Token()
	if err != nil {
		return authn.AuthConfig{}, time.Time{}, err
	}
	return authn.AuthConfig{Username: "oauth2accesstoken", Password: t.AccessToken}, t.Expiry, nil
}
