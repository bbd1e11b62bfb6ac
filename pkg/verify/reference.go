package verify

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/signet-policy/signet/pkg/egress"
)

// Reference names a public key that is kept elsewhere: "k8s://namespace/name" for the key cosign.pub of a Secret, or the
// URI of a key in a key management service. One that ParseReference returned has the form of its scheme.
type Reference string

// The schemes of references (VI 6.5(1)).
const (
	SecretScheme = "k8s://"
	AWSScheme    = "awskms://"
	AzureScheme  = "azurekms://"
	GCPScheme    = "gcpkms://"
	VaultScheme  = "hashivault://"
)

// maxReference bounds a reference in bytes; an ARN with an endpoint is far below.
const maxReference = 1024

// The forms behind the schemes, as cosign writes them. The first group of AWS is the endpoint, which may be empty; the first of
// Azure is the host of the vault.
var (
	secretForm = form(`^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$`)
	awsForm    = form(`^([A-Za-z0-9.:\[\]-]*)/((?:arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:)?(?:key/)?(?:mrk-)?[A-Fa-f0-9-]{32,40}|` +
		`(?:arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:)?alias/[A-Za-z0-9/_-]{1,250})$`)
	// awsHost is a host of AWS KMS. Under Amazon's domains are also hosts that anybody may rent.
	awsHost   = form(`^(?:vpce-[a-z0-9-]+\.)?kms(?:-fips)?\.[a-z]{2,}(?:-[a-z]+)+-[0-9]+\.(?:vpce\.)?(?:amazonaws\.com|amazonaws\.com\.cn|api\.aws)$`)
	azureForm = form(`^([A-Za-z0-9-]{1,127}\.(?:vault|managedhsm)\.(?:azure\.net|azure\.cn|usgovcloudapi\.net))/[A-Za-z0-9-]{1,127}(/[a-z0-9]*)?$`)
	gcpForm   = form(`^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+(/(?:cryptoKeyVersions|versions)/[^/]+)?$`)
	vaultForm = form(`^\w(?:[\w.-]*\w)?$`)
)

// form compiles a regular expression when it is first used: together they take as much memory as a hundred policies, and most
// clusters have no such keys.
func form(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// IsReference tells whether a text is meant as a reference, well formed or not.
func IsReference(text string) bool {
	return slices.ContainsFunc([]string{SecretScheme, AWSScheme, AzureScheme, GCPScheme, VaultScheme}, func(scheme string) bool {
		return strings.HasPrefix(strings.TrimSpace(text), scheme)
	})
}

// SecretReference names the key in a Secret.
func SecretReference(namespace, name string) Reference {
	return Reference(SecretScheme + namespace + "/" + name)
}

// ParseReference reads a reference, with blanks around it at most.
func ParseReference(text string) (Reference, error) {
	text = strings.TrimSpace(text)
	switch {
	case len(text) > maxReference:
		return "", fmt.Errorf("a reference to a key is at most %d bytes long", maxReference)
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "", errors.New("a reference to a key is one word; several keys are several entries")
	}
	ref := Reference(text)
	switch rest := ref.rest(); ref.Scheme() {
	case SecretScheme:
		if !secretForm().MatchString(rest) {
			return "", errors.New("a Secret is named as k8s://<namespace>/<name>")
		}
	case AWSScheme:
		if !awsForm().MatchString(rest) {
			return "", errors.New("a key of AWS KMS is named as awskms://[<endpoint>]/<ID, ARN or alias/name>")
		}
	case AzureScheme:
		if !azureForm().MatchString(rest) {
			return "", errors.New("a key of Azure Key Vault is named as azurekms://<vault>.vault.azure.net/<key>[/<version>], or at another of Azure's own domains")
		}
	case GCPScheme:
		if !gcpForm().MatchString(rest) {
			return "", errors.New("a key of Google Cloud KMS is named as gcpkms://projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>[/cryptoKeyVersions/<version>]")
		}
	case VaultScheme:
		if !vaultForm().MatchString(rest) {
			return "", errors.New("a key of Vault's transit engine is named as hashivault://<key>")
		}
	default:
		return "", errors.New("a reference to a key begins with k8s://, awskms://, azurekms://, gcpkms:// or hashivault://")
	}
	if ip, err := netip.ParseAddr(hostOf(ref.Host())); err == nil && egress.Forbidden(ip, false) {
		return "", errors.New("a key is not asked for at a loopback or link-local address")
	}
	return ref, nil
}

// Scheme is the reference's scheme, one of the constants; empty for what is no reference.
func (r Reference) Scheme() string {
	if i := strings.Index(string(r), "://"); i >= 0 {
		return string(r[:i+3])
	}
	return ""
}

func (r Reference) rest() string { return string(r[len(r.Scheme()):]) }

// Secret is the namespace and name of the Secret; both are empty for a key in a key management service.
func (r Reference) Secret() (namespace, name string) {
	if r.Scheme() != SecretScheme {
		return "", ""
	}
	namespace, name, _ = strings.Cut(r.rest(), "/")
	return namespace, name
}

// Host is the host that the reference itself says is to be asked; empty where the process's configuration says it.
func (r Reference) Host() string {
	switch r.Scheme() {
	case AWSScheme, AzureScheme:
		host, _, _ := strings.Cut(r.rest(), "/")
		return host
	}
	return ""
}

// Foreign tells that the host to ask is none of the provider's own, so that whoever writes the reference chooses where
// the process connects to. Only AWS allows for that.
func (r Reference) Foreign() bool {
	host := strings.ToLower(hostOf(r.Host()))
	return host != "" && r.Scheme() == AWSScheme && !awsHost().MatchString(host)
}

// Fixed tells that the reference names one version of a key, whose public part never changes.
func (r Reference) Fixed() bool {
	switch r.Scheme() {
	case AWSScheme:
		// Asymmetric keys of AWS have no versions; only an alias may be pointed at another key.
		return !strings.Contains(r.rest(), "alias/")
	case AzureScheme:
		m := azureForm().FindStringSubmatch(r.rest())
		return m != nil && len(m[2]) > 1
	case GCPScheme:
		m := gcpForm().FindStringSubmatch(r.rest())
		return m != nil && m[1] != ""
	}
	return false
}

// hostOf is a host without port and brackets.
func hostOf(s string) string {
	if host, _, err := net.SplitHostPort(s); err == nil {
		return host
	}
	return strings.Trim(s, "[]")
}
