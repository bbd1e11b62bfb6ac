package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/signet-policy/signet/pkg/image"
)

const (
	verifyCommand  = "verify"
	explainCommand = "explain"

	outputText = "text"
	outputJSON = "json"
)

// flags are those of both commands, under cosign's names where cosign has them.
type flags struct {
	command string
	image   string
	ref     image.Ref

	policies  []string
	namespace string

	key                            string
	certificate, certificateChain  string
	identity, identityRegexp       string
	issuer, issuerRegexp           string
	signatureAlgorithm, kind       string
	ignoreLog, ignoreSCT, offline  bool
	rekorKey, tsaChain, repository string
	annotations                    []string

	sources
	where              clusterFlags
	explainCredentials bool
	resources          []string
	trustedRoot        string
	output             string
	timeout            time.Duration
}

// attestorFlags make up the policy of a call without --policy.
var attestorFlags = [...]string{
	"key", "certificate", "certificate-chain", "certificate-identity", "certificate-identity-regexp",
	"certificate-oidc-issuer", "certificate-oidc-issuer-regexp", "signature-algorithm", "type", "insecure-ignore-tlog",
	"insecure-ignore-sct", "rekor-public-key", "timestamp-certificate-chain", "annotations", "repository",
}

func flagSet(name string, f *flags) *pflag.FlagSet {
	fs := pflag.NewFlagSet("signet "+name, pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	fs.StringArrayVar(&f.policies, "policy", nil, "`file`, or - for standard input, with ClusterPolicy and Policy documents, whose verifyImages rules judge a Pod with the image; may be repeated")
	fs.StringVarP(&f.namespace, "namespace", "n", "", "`name` of the namespace of that Pod (default: the one of the Policy documents, else \"default\")")
	fs.StringVar(&f.key, "key", "", "public `key`: a file, the PEM text, or the URI of a key in AWS KMS, Azure Key Vault, Google Cloud KMS or Vault")
	fs.StringVar(&f.certificate, "certificate", "", "`certificate` of the signer, or with --type notary one of the signer's chain: a file, or the PEM text")
	fs.StringVar(&f.certificateChain, "certificate-chain", "", "`chain` of the signer's certificate, root last: a file, or the PEM text")
	fs.StringVar(&f.identity, "certificate-identity", "", "`identity` that the signing certificate must name, such as an email address")
	fs.StringVar(&f.identityRegexp, "certificate-identity-regexp", "", "regular `expression` for that identity, not anchored")
	fs.StringVar(&f.issuer, "certificate-oidc-issuer", "", "OIDC `issuer` that must have vouched for the identity")
	fs.StringVar(&f.issuerRegexp, "certificate-oidc-issuer-regexp", "", "regular `expression` for that issuer, not anchored")
	fs.StringVar(&f.signatureAlgorithm, "signature-algorithm", "", "hash `algorithm` of signatures by --key: sha224, sha256, sha384 or sha512 (default sha256)")
	fs.StringVar(&f.kind, "type", "", "`type` of signatures: cosign, sigstorebundle or notary; sigstorebundle also counts statements of any predicate type")
	fs.BoolVar(&f.ignoreLog, "insecure-ignore-tlog", false, "ask for no transparency log entry")
	fs.BoolVar(&f.offline, "offline", false, "search no transparency log for the entry of a signature that carries none")
	fs.BoolVar(&f.ignoreSCT, "insecure-ignore-sct", false, "ask for no proof that the certificate was logged")
	fs.StringVar(&f.rekorKey, "rekor-public-key", "", "public `key` of the transparency log, in place of the trusted root's: a file, or the PEM text")
	fs.StringVar(&f.tsaChain, "timestamp-certificate-chain", "", "`chain` of a timestamp authority, root last, whose timestamp is then demanded: a file, or the PEM text")
	fs.StringArrayVarP(&f.annotations, "annotations", "a", nil, "`key=value` that must be in what was signed; may be repeated")
	fs.StringVar(&f.repository, "repository", "", "`repository` that holds the signatures, when it is not the image's own")
	fs.StringVar(&f.trustedRoot, "trusted-root", "", "trusted_root.json `file`, in place of the public Sigstore instance's")
	f.addFlags(fs)
	f.where.addFlags(fs, "", "ask the cluster for what policies name: Secrets, config maps, calls of the API server, labels of namespaces")
	fs.StringArrayVarP(&f.resources, "resource", "r", nil, "`file` or directory with Secrets that policies name: registry credentials and public keys; may be repeated")
	if name == explainCommand {
		fs.BoolVar(&f.explainCredentials, "credentials", false, "show where the credentials for every registry come from, and whether it accepts them")
	}
	fs.StringVarP(&f.output, "output", "o", outputText, "`format`: text or json")
	fs.DurationVar(&f.timeout, "timeout", 30*time.Second, "`time` for everything")
	return fs
}

func usage(name string) string {
	about := "Judges an image as admission would: exit 0 verified, 1 refused, 2 could not be checked."
	if name == explainCommand {
		about = "Shows where signatures of an image were looked for, what was found, and, with a policy or a key, why each was or was\n" +
			"not accepted. Exit codes are those of signet verify; without a policy or a key, 0 if every place answered, else 2."
	}
	return fmt.Sprintf("%s\n\nUsage:\n  signet %s IMAGE [flags]\n\nFlags:\n%s", about, name, flagSet(name, &flags{}).FlagUsagesWrapped(120))
}

func parseFlags(name string, args []string) (*flags, error) {
	f := &flags{command: name}
	fs := flagSet(name, f)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() != 1 {
		return nil, fmt.Errorf("expected one image, got %d arguments", fs.NArg())
	}
	f.image = fs.Arg(0)
	var err error
	if f.ref, err = image.Parse(f.image, image.Options{}); err != nil {
		return nil, err
	}
	if _, _, err := f.ref.Pinned(); err != nil {
		return nil, err
	}
	if f.output != outputText && f.output != outputJSON {
		return nil, fmt.Errorf("--output %.40q: text or json is expected", f.output)
	}
	if inputs(f.policies, f.resources) > 1 {
		return nil, errors.New("standard input (-) can be read once only: as policies or as resources")
	}
	if f.timeout <= 0 {
		return nil, fmt.Errorf("--timeout %s: a positive duration is expected", f.timeout)
	}
	if err := f.where.check(); err != nil {
		return nil, err
	}
	return f, f.checkAttestor(fs)
}

// checkAttestor wants at most one source of requirements; verify wants one.
func (f *flags) checkAttestor(fs *pflag.FlagSet) error {
	var given []string
	for _, name := range attestorFlags {
		if fs.Changed(name) {
			given = append(given, "--"+name)
		}
	}
	if len(f.policies) > 0 {
		if len(given) > 0 {
			return fmt.Errorf("--policy says who must have signed; it does not go together with %s", strings.Join(given, ", "))
		}
		return nil
	}
	if f.namespace != "" {
		return errors.New("--namespace needs --policy")
	}
	kinds := 0
	for _, set := range []bool{f.key != "", f.byCertificate(), f.byIdentity()} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return errors.New("only one of --key, --certificate with --certificate-chain, and the identity flags can be given")
	case kinds == 0 && len(given) > 0:
		return fmt.Errorf("%s: who must have signed? Give --key, --certificate, --certificate-chain or --certificate-identity", given[0])
	case kinds == 0 && f.command == verifyCommand:
		return errors.New("who must have signed? Give --policy, --key, --certificate, --certificate-chain or --certificate-identity")
	case f.byIdentity():
		return f.checkIdentity()
	}
	return nil
}

// checkIdentity wants both halves of an identity, as cosign does: an identity that just anybody vouched for is none.
func (f *flags) checkIdentity() error {
	if f.identity == "" && f.identityRegexp == "" {
		return errors.New("--certificate-identity or --certificate-identity-regexp is needed with an issuer")
	}
	if f.issuer == "" && f.issuerRegexp == "" {
		return errors.New("--certificate-oidc-issuer or --certificate-oidc-issuer-regexp is needed with an identity")
	}
	// In a policy these two are wildcards; cosign's flags are exact.
	if exact := cmp.Or(wild(f.identity), wild(f.issuer)); exact != "" {
		return fmt.Errorf("%.80q is compared exactly and cannot hold * or ?; use the flag that ends in -regexp", exact)
	}
	return nil
}

// wild is s if it holds a wildcard.
func wild(s string) string {
	if strings.ContainsAny(s, "*?") {
		return s
	}
	return ""
}

func (f *flags) byCertificate() bool { return f.certificate != "" || f.certificateChain != "" }

func (f *flags) byIdentity() bool {
	return f.identity != "" || f.identityRegexp != "" || f.issuer != "" || f.issuerRegexp != ""
}
