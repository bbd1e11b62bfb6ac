package cloud

import (
	"context"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-containerregistry/pkg/authn"
)

// ecrHost is the name of a private registry of Amazon's: its account, "-fips" where it is asked that way, and its region.
// Public ones need no credentials.
var ecrHost = regexp.MustCompile(`^[0-9]{12}\.dkr[.-]ecr(-fips)?\.([a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2})\.(?:amazonaws\.com|amazonaws\.com\.cn|on\.aws|on\.amazonwebservices\.com\.cn)$`)

// amazonAccount: a token serves all registries of a region.
func amazonAccount(host string) (string, bool) {
	m := ecrHost.FindStringSubmatch(host)
	if m == nil {
		return "", false
	}
	return m[2] + m[1], true
}

// amazonToken asks ECR with the identity that the process has by the SDK's own rules.
func amazonToken(ctx context.Context, account string) (authn.AuthConfig, time.Time, error) {
	region, fips := strings.CutSuffix(account, "-fips")
	options := []func(*config.LoadOptions) error{config.WithRegion(region), config.WithRetryMaxAttempts(2)}
	if fips {
		options = append(options, config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return authn.AuthConfig{}, time.Time{}, err
	}
	out, err := ecr.NewFromConfig(c).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return authn.AuthConfig{}, time.Time{}, err
	}
	for _, d := range out.AuthorizationData {
		raw, err := base64.StdEncoding.DecodeString(aws.ToString(d.AuthorizationToken))
		if user, password, ok := strings.Cut(string(raw), ":"); err == nil && ok {
			return authn.AuthConfig{Username: user, Password: password}, aws.ToTime(d.ExpiresAt), nil
		}
	}
	return authn.AuthConfig{}, time.Time{}, errors.New("ECR gave no usable token")
}
