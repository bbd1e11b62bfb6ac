package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
)

// pageSize is the number of reports read at a time.
const pageSize = 200

// Prune takes the results out of all reports that keep does not want, and deletes reports that have none left. Results
// of other engines stay. policyKey is "name" or "namespace/name". It goes on after a report that cannot be written and
// returns all errors.
func (r *Recorder) Prune(ctx context.Context, keep func(policyKey, rule string) bool) error {
	return errors.Join(
		r.pruneAll(ctx, keep, &reports.PolicyReportList{}, func(l client.ObjectList) []document {
			items := l.(*reports.PolicyReportList).Items
			out := make([]document, len(items))
			for i := range items {
				out[i] = namespacedDocument(&items[i])
			}
			return out
		}),
		r.pruneAll(ctx, keep, &reports.ClusterPolicyReportList{}, func(l client.ObjectList) []document {
			items := l.(*reports.ClusterPolicyReportList).Items
			out := make([]document, len(items))
			for i := range items {
				out[i] = clusterDocument(&items[i])
			}
			return out
		}))
}

// pruneAll prunes all reports of one kind, page by page.
func (r *Recorder) pruneAll(ctx context.Context, keep func(policyKey, rule string) bool, list client.ObjectList, documents func(client.ObjectList) []document) error {
	var failures []error
	for token := ""; ; {
		err := r.o.Reader.List(ctx, list, client.MatchingLabels{managedByLabel: managedBy}, client.Limit(pageSize), client.Continue(token))
		if err != nil {
			return errors.Join(append(failures, fmt.Errorf("listing reports: %w", err))...)
		}
		for _, d := range documents(list) {
			if err := r.pruneOne(ctx, keep, d); err != nil {
				failures = append(failures, err)
			}
		}
		if token = list.GetContinue(); token == "" {
			return errors.Join(failures...)
		}
		list = list.DeepCopyObject().(client.ObjectList)
	}
}

func (r *Recorder) pruneOne(ctx context.Context, keep func(policyKey, rule string) bool, d document) error {
	results := slices.DeleteFunc(slices.Clone(*d.results), func(res reports.PolicyReportResult) bool {
		return res.Source == source && !keep(res.Policy, res.Rule)
	})
	switch {
	case len(results) == len(*d.results):
		return nil
	case len(results) == 0:
		return r.remove(ctx, d, true)
	}
	d.fill(results)
	return r.store(ctx, d, true)
}

// Pruner prunes reports by the policies in force, in the leader only. It is a manager Runnable.
type Pruner struct {
	// Recorder must have been given Policies.
	Recorder *Recorder
	// Interval between two looks at the policies; it defaults to a minute. Reports are read only once at the start, and
	// whenever a rule has disappeared.
	Interval time.Duration
	// Trigger, when not nil, makes the next look come at once.
	Trigger <-chan struct{}
}

// NeedLeaderElection is true: one replica is enough.
func (p *Pruner) NeedLeaderElection() bool { return true }

// Start prunes until the context ends. Before the policies have been read, or with reports off, it leaves all as it is.
func (p *Pruner) Start(ctx context.Context) error {
	interval := p.Interval
	if interval <= 0 {
		interval = time.Minute
	}
	ticker := p.Recorder.o.Clock.NewTicker(interval)
	defer ticker.Stop()
	var before rules
	for {
		before = p.round(ctx, before)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		case <-p.Trigger:
		}
	}
}

// round prunes if a rule of before is gone, or if before is nil. It returns the rules that the reports are known to be
// limited to, nil when that is not known.
func (p *Pruner) round(ctx context.Context, before rules) rules {
	r := p.Recorder
	now := reported(r.snapshot())
	if now == nil || !r.reporting() {
		return before
	}
	needed := before == nil
	for k := range before {
		needed = needed || now.gone(k)
	}
	if !needed {
		return now
	}
	if err := r.Prune(ctx, func(policyKey, rule string) bool { return !now.gone(ruleKey{policyKey, rule}) }); err != nil {
		if ctx.Err() == nil {
			r.o.Logger.Error(err, "Some policy reports hold results of policies that are gone")
		}
		return nil
	}
	return now
}
