package policy

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/signet-policy/signet/api/v1"
)

// Credentials are what an entry reads registries with in place of what the process has (imageRegistryCredentials). It
// never changes.
type Credentials struct {
	// Secrets are pull secrets, in order. An empty namespace is the system namespace.
	Secrets []SecretName
	// Providers are the providers that are asked for what no secret has: default, amazon, azure, google, github.
	Providers []string
	// AllowInsecure permits plain HTTP. It never relaxes a TLS check.
	AllowInsecure bool
}

// SecretName names a Secret.
type SecretName struct{ Namespace, Name string }

// String is "namespace/name", or the name alone.
func (n SecretName) String() string {
	if n.Namespace == "" {
		return n.Name
	}
	return n.Namespace + "/" + n.Name
}

// providers are all credential providers.
var providers = []v1.CredentialProvider{v1.DefaultProvider, v1.AmazonProvider, v1.AzureProvider, v1.GoogleProvider, v1.GitHubProvider}

// ParseSecretName reads "name" or "namespace/name".
func ParseSecretName(s string) (SecretName, error) {
	n := SecretName{Name: s}
	if namespace, name, ok := strings.Cut(s, "/"); ok {
		n = SecretName{Namespace: namespace, Name: name}
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			return SecretName{}, fmt.Errorf("%.300q is not the name of a Secret, or namespace/name", s)
		}
	}
	if len(validation.IsDNS1123Subdomain(n.Name)) > 0 {
		return SecretName{}, fmt.Errorf("%.300q is not the name of a Secret, or namespace/name", s)
	}
	return n, nil
}

// ParseProvider reads the name of a credential provider.
func ParseProvider(s string) (string, error) {
	if !slices.Contains(providers, v1.CredentialProvider(s)) {
		return "", fmt.Errorf("%.64q is no credential provider: default, amazon, azure, google or github is expected", s)
	}
	return s, nil
}

// credentials compiles imageRegistryCredentials. A namespaced Policy reads the Secrets of its own namespace, and by their
// plain names those that the operator keeps in the system namespace; it has no say over those of other tenants.
func (c *compiler) credentials(in *v1.ImageRegistryCredentials, path *field.Path) *Credentials {
	if in == nil {
		return nil
	}
	out := &Credentials{AllowInsecure: in.AllowInsecureRegistry}
	for i, s := range in.Secrets {
		at := path.Child("secrets").Index(i)
		if c.later(s) {
			continue
		}
		n, err := ParseSecretName(s)
		switch {
		case err != nil:
			c.errs = append(c.errs, field.Invalid(at, s, err.Error()))
		case c.out.Namespace != "" && n.Namespace != "" && n.Namespace != c.out.Namespace:
			c.errs = append(c.errs, field.Forbidden(at, "a Policy reads no Secrets of other namespaces"))
		default:
			out.Secrets = append(out.Secrets, n)
		}
	}
	for i, p := range in.Providers {
		if !slices.Contains(providers, p) {
			c.errs = append(c.errs, field.NotSupported(path.Child("providers").Index(i), p, providers))
			continue
		}
		out.Providers = append(out.Providers, string(p))
	}
	return out
}
