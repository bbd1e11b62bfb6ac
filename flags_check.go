package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/signet-policy/signet/controllers"
)

// checkPorts refuses what is no port, and one port for two servers.
func (f *serveFlags) checkPorts() error {
	var errs []error
	for _, p := range []struct {
		name        string
		port, least int
	}{{"webhookServerPort", f.webhookServerPort, 1}, {"servicePort", f.servicePort, 1}, {"metricsPort", f.metricsPort, 0}} {
		if p.port < p.least || p.port > 65535 {
			errs = append(errs, fmt.Errorf("--%s=%d: not a port", p.name, p.port))
		}
	}
	if f.metricsPort == f.webhookServerPort {
		errs = append(errs, fmt.Errorf("--metricsPort and --webhookServerPort: %d cannot be both", f.metricsPort))
	}
	return errors.Join(errs...)
}

// checkLists refuses words that nothing is called by: a misspelt one would silently turn off what it was to leave on.
func (f *serveFlags) checkLists() error {
	var errs []error
	for _, l := range []struct {
		name, value string
		known       []string
	}{
		{"enableReporting", f.enableReporting, []string{"validate", "mutate", "mutateExisting", "generate", "imageVerify"}},
		{"allowedResults", f.allowedResults, []string{"pass", "fail", "error", "warn", "skip"}},
		{"omitEvents", f.omitEvents, []string{"PolicyViolation", "PolicyApplied", "PolicyError", "PolicySkipped"}},
	} {
		for _, word := range list(l.value) {
			if !slices.Contains(l.known, word) {
				errs = append(errs, fmt.Errorf("--%s: %.64q is none of %s", l.name, word, strings.Join(l.known, ", ")))
			}
		}
	}
	return errors.Join(errs...)
}

func (f *serveFlags) checkCertificates() error {
	var errs []error
	switch f.tlsKeyAlgorithm {
	case "RSA", "ECDSA", "Ed25519":
	default:
		errs = append(errs, fmt.Errorf("--tlsKeyAlgorithm=%.64q: must be RSA, ECDSA or Ed25519", f.tlsKeyAlgorithm))
	}
	if f.renewBefore <= 0 || f.renewBefore >= controllers.ServingLife {
		errs = append(errs, fmt.Errorf("--renewBefore=%s: must be more than nothing and less than %s", f.renewBefore, controllers.ServingLife))
	}
	for name, secret := range map[string]string{"caSecretName": f.caSecretName, "tlsSecretName": f.tlsSecretName} {
		if secret != "" && len(validation.IsDNS1123Subdomain(secret)) > 0 {
			errs = append(errs, fmt.Errorf("--%s=%.300q: not a name of a Secret", name, secret))
		}
	}
	if f.caSecretName != "" && f.caSecretName == f.tlsSecretName {
		errs = append(errs, fmt.Errorf("--caSecretName and --tlsSecretName: %.300q cannot be both", f.caSecretName))
	}
	return errors.Join(errs...)
}

// checkNumbers refuses what is less than nothing. Zero is the default, as the flags say.
func (f *serveFlags) checkNumbers() error {
	var errs []error
	if f.cacheSize < 0 {
		errs = append(errs, fmt.Errorf("--imageVerifyCacheMaxSize=%d: must not be negative", f.cacheSize))
	}
	if f.cacheTTL < 0 {
		errs = append(errs, fmt.Errorf("--imageVerifyCacheTTLDuration=%s: must not be negative", f.cacheTTL))
	}
	if f.maxQueuedEvents < 0 {
		errs = append(errs, fmt.Errorf("--maxQueuedEvents=%d: must not be negative", f.maxQueuedEvents))
	}
	return errors.Join(errs...)
}
