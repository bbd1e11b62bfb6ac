package main

import (
	"flag"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// VI 7.1, 7.2, 7.3: every flag of the contract is there, with its default.
func TestContractFlags(t *testing.T) {
	t.Parallel()
	fs := (&serveFlags{}).flags()
	for name, want := range map[string]string{
		"imageVerifyCacheEnabled": "true", "imageVerifyCacheMaxSize": "1000", "imageVerifyCacheTTLDuration": "1h0m0s",
		"imagePullSecrets": "", "registryCredentialHelpers": "", "allowInsecureRegistry": "false",
		"enableTuf": "false", "tufMirror": "", "tufRoot": "", "tufRootRaw": "", "trustedRootFile": "", "trustedRootConfigMap": "", "enableCosignLogging": "false",
		"webhookTimeout": "10", "autoUpdateWebhooks": "true", "webhookRegistrationTimeout": "2m0s", "webhookServerPort": "9443", "servicePort": "443",
		"forceFailurePolicyIgnore": "false", "dumpPayload": "false", "protectManagedResources": "false", "excludeBootstrapResources": "false",
		"caSecretName": "", "tlsSecretName": "", "renewBefore": "360h0m0s", "tlsKeyAlgorithm": "ECDSA",
		"enablePolicyException": "false", "exceptionNamespace": "", "apiCallTimeout": "30s", "maxAPICallResponseLength": "2000000", "enableDeferredLoading": "true",
		"admissionReports": "true", "enableReporting": "validate,mutate,mutateExisting,generate,imageVerify", "allowedResults": "pass,fail,error,warn,skip",
		"omitEvents": "", "maxQueuedEvents": "1000", "maxAuditWorkers": "8", "maxAuditCapacity": "1000", "maxAdmissionReports": "10000", "metricsPort": "8000",
		"backgroundScan": "true", "backgroundScanInterval": "1h0m0s", "backgroundScanWorkers": "2", "skipResourceFilters": "true", "aggregateReports": "true",
		"policyReports": "true", "maxBackgroundReports": "10000", "openreportsEnabled": "false",
	} {
		switch f := fs.Lookup(name); {
		case f == nil:
			t.Errorf("--%s is missing", name)
		case f.DefValue != want:
			t.Errorf("--%s defaults to %q, want %q", name, f.DefValue, want)
		}
	}
}

// docs/operations.md lists every flag, with its default where that is a plain word, and none that is not there.
func TestFlagsAreDocumented(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "\n## Flags\n")
	section, _, _ = strings.Cut(section, "\n## ")
	there := map[string]string{}
	(&serveFlags{}).flags().VisitAll(func(f *flag.Flag) { there[f.Name] = f.DefValue })
	listed, word := map[string]string{}, regexp.MustCompile("^`([^`]+)`$")
	for line := range strings.Lines(section) {
		cells := strings.Split(line, " |")
		if len(cells) < 3 {
			continue
		}
		for _, name := range regexp.MustCompile("`--?([A-Za-z]+)`").FindAllStringSubmatch(cells[0], -1) {
			is := there[name[1]] // where the page describes the default, it is taken at its word
			if said := word.FindStringSubmatch(strings.TrimSpace(cells[1])); said != nil {
				is = said[1]
			} else if strings.TrimSpace(cells[1]) == "" {
				is = ""
			}
			if d, err := time.ParseDuration(is); err == nil && strings.Trim(is, "0123456789") != "" {
				is = d.String()
			}
			listed[name[1]] = is
		}
	}
	if diff := cmp.Diff(there, listed); diff != "" {
		t.Errorf("flags (-program +docs/operations.md):\n%s", diff)
	}
}

// VI 7.3: values that mean nothing stop the start with the name of the flag; what Kyverno's manifests pass does not.
func TestFlagValues(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--omitEvents=PolicyApplied,PolicySkipped --v=2 --dumpPayload=false --maxAdmissionReports=1000 --protectManagedResources=false": "",
		"--caSecretName=a --tlsSecretName=b --backgroundScan=false --backgroundScanInterval=30m --aggregateReports=false":               "",
		"--enableReporting= --allowedResults=fail, --metricsPort=0 --imageVerifyCacheMaxSize=0 --imageVerifyCacheTTLDuration=0":         "",
		"--excludeBootstrapResources --renewBefore=1h":           "",
		"--openreportsEnabled":                                   "--openreportsEnabled",
		"--protectManagedResources":                              "--protectManagedResources",
		"--excludeBootstrapResources --autoUpdateWebhooks=false": "--excludeBootstrapResources",
		"--webhookTimeout=0":                                     "--webhookTimeout",
		"--webhookTimeout=31":                                    "--webhookTimeout",
		"--webhookTimeout=1.5":                                   "-webhookTimeout",
		"--webhookServerPort=0":                                  "--webhookServerPort",
		"--servicePort=65536":                                    "--servicePort",
		"--metricsPort=-1":                                       "--metricsPort",
		"--metricsPort=9443":                                     "--metricsPort",
		"--serverIP=example.com":                                 "--serverIP",
		"--enableReporting=imageverify":                          "--enableReporting",
		"--allowedResults=pass,failed":                           "--allowedResults",
		"--omitEvents=PolicyPassed":                              "--omitEvents",
		"--renewBefore=0":                                        "--renewBefore",
		"--renewBefore=3600h":                                    "--renewBefore",
		"--tlsKeyAlgorithm=rsa":                                  "--tlsKeyAlgorithm",
		"--caSecretName=A_b":                                     "--caSecretName",
		"--caSecretName=a --tlsSecretName=a":                     "--tlsSecretName",
		"--imageVerifyCacheMaxSize=-1":                           "--imageVerifyCacheMaxSize",
		"--imageVerifyCacheTTLDuration=-1s":                      "--imageVerifyCacheTTLDuration",
		"--maxQueuedEvents=-1":                                   "--maxQueuedEvents",
		"--maxAuditWorkers=many":                                 "-maxAuditWorkers",
		"--apiCallTimeout=0":                                     "--apiCallTimeout",
		"--maxAPICallResponseLength=0":                           "--maxAPICallResponseLength",
		"--exceptionNamespace=a/b":                               "--exceptionNamespace",
		"--imagePullSecrets=a,/b":                                "--imagePullSecrets",
		"--registryCredentialHelpers=default,aws":                "--registryCredentialHelpers",
		"--registryTokenRealms=a":                                "--registryTokenRealms",
		"--trustedRootConfigMap=name":                            "--trustedRootConfigMap",
		"--tufRoot=a --tufRootRaw=b":                             "--tufRoot",
		"--unknown":                                              "-unknown",
		"extra":                                                  `"extra"`,
	} {
		_, err := parseServeFlags(strings.Fields(args), io.Discard)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	for args, want := range map[string]bool{"": true, "--admissionReports=false": false, "--policyReports=false": false} {
		f, err := parseServeFlags(strings.Fields(args), io.Discard)
		if err != nil || f.reports() != want {
			t.Errorf("%q: reports %v, %v", args, f.reports(), err)
		}
	}
}

// Help goes where help is looked for, and is no error; a mistake does not bury its cause under it.
func TestServeHelp(t *testing.T) {
	t.Parallel()
	var stdout, stderr strings.Builder
	if code := serveCommand(t.Context(), []string{"--nonsense"}, &stdout, &stderr); code != 2 || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("exit code %d, %q, %q", code, stdout.String(), stderr.String())
	}
	stderr.Reset()
	if code := serveCommand(t.Context(), []string{"--help"}, &stdout, &stderr); code != 0 || stderr.Len() > 0 || !strings.Contains(stdout.String(), "-webhookTimeout int") {
		t.Errorf("exit code %d, %q, %q", code, stdout.String(), stderr.String())
	}
}
