package main

import (
	"errors"
	"flag"
	"time"
)

// acceptedFlags are those of Kyverno's controllers whose work Signet does otherwise, or not yet. They are read, so that
// arguments can stay as they are; a value whose effect somebody would miss is refused (VI 7.3).
type acceptedFlags struct {
	protectManagedResources   bool
	excludeBootstrapResources bool
	openReports               bool
}

func (f *acceptedFlags) register(fs *flag.FlagSet) {
	fs.Bool("enableCosignLogging", false, "no effect: nothing of cosign's logging is in this program")
	fs.Duration("webhookRegistrationTimeout", 120*time.Second, "no effect: webhooks are registered for as long as it takes")
	fs.Int("maxAuditWorkers", 8, "no effect: rules under Audit are judged with the others")
	fs.Int("maxAuditCapacity", 1000, "no effect: rules under Audit are judged with the others")
	fs.Int("maxAdmissionReports", 10000, "no effect: there are no intermediate reports")
	fs.Int("maxBackgroundReports", 10000, "no effect: there are no intermediate reports")
	fs.Bool("aggregateReports", true, "no effect: there are no intermediate reports")
	fs.Bool("backgroundScan", true, "no effect: there is no background scan yet")
	fs.Duration("backgroundScanInterval", time.Hour, "no effect: there is no background scan yet")
	fs.Int("backgroundScanWorkers", 2, "no effect: there is no background scan yet")
	fs.Bool("skipResourceFilters", true, "no effect: there is no background scan yet")
	fs.BoolVar(&f.protectManagedResources, "protectManagedResources", false, "true is refused: objects that carry a label are not guarded by this version")
	fs.BoolVar(&f.openReports, "openreportsEnabled", false, "true is refused: this version writes reports of wgpolicyk8s.io only")
	fs.BoolVar(&f.excludeBootstrapResources, "excludeBootstrapResources", false,
		"no effect: nodes and certificate signing requests are not asked about unless policies name them; refused with -autoUpdateWebhooks=false, which asks about everything")
}

func (f *acceptedFlags) check(autoUpdateWebhooks bool) error {
	var errs []error
	if f.protectManagedResources {
		errs = append(errs, errors.New("--protectManagedResources=true: not supported by this version"))
	}
	if f.openReports {
		errs = append(errs, errors.New("--openreportsEnabled=true: not supported by this version"))
	}
	if f.excludeBootstrapResources && !autoUpdateWebhooks {
		errs = append(errs, errors.New("--excludeBootstrapResources=true: not supported with --autoUpdateWebhooks=false; the key matchConditions of the ConfigMap can leave nodes and certificate signing requests out"))
	}
	return errors.Join(errs...)
}
