package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/go-containerregistry/pkg/authn"
)

// acrHost is the login server of a registry of Azure's, in one of its clouds.
var acrHost = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}\.azurecr\.(?:io|cn|us)$`)

// acrScope is what registries take tokens for, in every cloud.
const acrScope = "https://containerregistry.azure.net/.default"

const (
	maxExchange = 64 << 10
	// refreshLife is how long a registry's refresh token is used; it is valid for three hours.
	refreshLife = time.Hour + early
)

// azureAccount: every registry has a token of its own.
func azureAccount(host string) (string, bool) { return host, acrHost.MatchString(host) }

// exchange gives a registry an identity's token and gets a refresh token of the registry's for it.
type exchange struct {
	client *http.Client
	token  func(ctx context.Context, host string) (string, error)
}

func (x *exchange) fetch(ctx context.Context, host string) (authn.AuthConfig, time.Time, error) {
	fail := func(err error) (authn.AuthConfig, time.Time, error) { return authn.AuthConfig{}, time.Time{}, err }
	token, err := x.token(ctx, host)
	if err != nil {
		return fail(err)
	}
	form := url.Values{"grant_type": {"access_token"}, "service": {host}, "access_token": {token}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/oauth2/exchange", strings.NewReader(form.Encode()))
	if err != nil {
		return fail(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := x.client.Do(req)
	if err != nil {
		return fail(fmt.Errorf("exchanging the token at %s: %w", host, err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxExchange))
	if err != nil || resp.StatusCode != http.StatusOK {
		return fail(fmt.Errorf("exchanging the token at %s: status %d", host, resp.StatusCode))
	}
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.RefreshToken == "" {
		return fail(errors.New("the registry " + host + " gave no refresh token"))
	}
	return authn.AuthConfig{IdentityToken: answer.RefreshToken}, time.Now().Add(refreshLife), nil
}

// azureToken gets the token of the process' identity: a workload identity, a service principal of the environment, or the
// managed identity of the node.
func azureToken(getenv func(string) string) func(context.Context, string) (string, error) {
	return func(ctx context.Context, host string) (string, error) {
		client := azcore.ClientOptions{Cloud: azureCloud(host)}
		var c azcore.TokenCredential
		var err error
		switch {
		case getenv("AZURE_FEDERATED_TOKEN_FILE") != "":
			c, err = azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: client})
		case getenv("AZURE_CLIENT_SECRET") != "" || getenv("AZURE_CLIENT_CERTIFICATE_PATH") != "":
			c, err = azidentity.NewEnvironmentCredential(&azidentity.EnvironmentCredentialOptions{ClientOptions: client})
		default:
			o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: client}
			if id := getenv("AZURE_CLIENT_ID"); id != "" {
				o.ID = azidentity.ClientID(id)
			}
			c, err = azidentity.NewManagedIdentityCredential(o)
		}
		if err != nil {
			return "", err
		}
		t, err := c.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{acrScope}})
		return t.Token, err
	}
}

func azureCloud(host string) cloud.Configuration {
	switch {
	case strings.HasSuffix(host, ".cn"):
		return cloud.AzureChina
	case strings.HasSuffix(host, ".us"):
		return cloud.AzureGovernment
	default:
		return cloud.AzurePublic
	}
}
