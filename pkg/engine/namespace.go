package engine

import (
	"context"
	"sync"
	"time"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// Namespaces knows the labels of namespaces as they are now. It is safe for concurrent use. The error is that of a
// namespace which is not there, or of labels that cannot be had in time: never an empty answer instead.
type Namespaces interface {
	Labels(ctx context.Context, name string) (map[string]string, error)
}

// namespaceLabels are the labels of one request's namespace: looked up when a rule first asks for them, and once, so that
// all rules judge by the same ones. It is part of the request and lives as long.
type namespaceLabels struct {
	source Namespaces
	ctx    context.Context
	budget time.Duration
	name   string

	once   sync.Once
	labels match.Texts
	err    error
}

// Labels looks the labels up, or gives the answer of before.
func (n *namespaceLabels) Labels() (match.Texts, error) {
	n.once.Do(func() {
		ctx, cancel := context.WithTimeout(n.ctx, n.budget)
		defer cancel()
		found, err := n.source.Labels(ctx, n.name)
		n.labels, n.err = make(match.Texts, len(found)), err
		for k, v := range found {
			n.labels[k] = v
		}
		n.ctx = nil
	})
	return n.labels, n.err
}

// askNamespace looks the labels up now if a rule may need them later, where nothing is to be waited for.
func askNamespace(rules []*policy.Rule, req *Request) {
	if req.Attributes.NamespaceLabels == nil {
		return
	}
	for _, r := range rules {
		if r.NeedsNamespace() {
			_, _ = req.Attributes.NamespaceLabels.Labels() // the error is that of the rules that turn out to need them
			return
		}
	}
}

// before are the attributes that a request has with the object before the update in place of the new one; nil when there
// is none, one that nobody was asked about, or one that cannot be read.
func before(req *Request) *match.Attributes {
	if req.Old == nil || req.OldUnasked {
		return nil
	}
	old := req.Attributes
	if err := old.Describe(req.Old); err != nil {
		return nil
	}
	return &old
}
