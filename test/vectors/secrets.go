package vectors

import (
	"context"
	"errors"
	"strings"

	"github.com/signet-policy/signet/pkg/credentials"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// SystemNamespace is the namespace of Secrets that a policy names without one.
const SystemNamespace = "kyverno"

// Secrets are the pull secrets of the vector, for a registry that is at the address.
func (r *Request) Secrets(address string) credentials.Secrets { return &secrets{r, address} }

type secrets struct {
	request *Request
	address string
}

// Secret implements credentials.Secrets.
func (s *secrets) Secret(_ context.Context, namespace, name string) (string, map[string][]byte, error) {
	if down := s.request.SecretsDown; down != "" {
		return "", nil, errors.New(down)
	}
	user, ok := s.request.PullSecrets[namespace+"/"+name]
	switch {
	case !ok:
		return "", nil, nil
	case !strings.Contains(user, ":"):
		return "kubernetes.io/dockerconfigjson", map[string][]byte{".dockerconfigjson": []byte(user)}, nil
	}
	return "kubernetes.io/dockerconfigjson", map[string][]byte{".dockerconfigjson": registrytest.DockerConfig(s.address, user)}, nil
}

// PullSecrets implements credentials.Secrets.
func (s *secrets) PullSecrets(_ context.Context, namespace, serviceAccount string) ([]string, error) {
	return s.request.ServiceAccounts[namespace+"/"+serviceAccount], nil
}
