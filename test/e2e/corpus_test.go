package e2e

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"golang.org/x/sync/errgroup"

	"github.com/signet-policy/signet/testdata/corpus"
)

// Every signed image of the corpus that needs a trusted root, as a Pod under the policy of its case.
func TestCorpusWithTrustedRoot(t *testing.T) { playCorpus(t, "trust/trusted_root.json") }

// The same with the trusted root of strangers.
func TestCorpusWithForeignRoot(t *testing.T) { playCorpus(t, "trust/foreign/trusted_root.json") }

// The cases that must come out right whatever root there is.
func TestCorpus(t *testing.T) {
	t.Parallel()
	playCorpus(t, "")
}

// stock puts the corpus into the registry, once.
var stock sync.Once

func playCorpus(t *testing.T, root string) {
	t.Helper()
	cases, err := corpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	stock.Do(func() { shared.registry.Load(corpus.Images(), nil) })
	if root == "" {
		shared.run(t, "")
	} else {
		shared.run(t, filepath.Join(corpus.Dir(), root))
	}
	u := newUser(t)
	var mu sync.Mutex
	places := map[string]*unstructured.Unstructured{} // the policies by case; nil for a refused one
	refusals := map[string]string{}                   // of policies
	var chosen []corpus.Case
	var g errgroup.Group
	g.SetLimit(16)
	for i, c := range cases {
		if c.Requirement.TrustedRoot != root {
			continue
		}
		chosen = append(chosen, c)
		g.Go(func() error {
			ns, err := shared.cluster.Namespace(t.Context(), fmt.Sprintf("corpus-%03d", i))
			if err != nil {
				return err
			}
			object, err := c.Policy("corpus", host)
			if err != nil {
				return err
			}
			p := &unstructured.Unstructured{Object: object}
			p.SetKind("Policy")
			p.SetNamespace(ns)
			stored, err := u.resource(p).Create(t.Context(), p, metav1.CreateOptions{})
			if err != nil && !(apierrors.IsBadRequest(err) || apierrors.IsForbidden(err)) {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refusals[c.Name], stored = err.Error(), nil
			}
			places[c.Name] = stored
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(chosen) == 0 {
		t.Fatal("no cases")
	}
	t.Cleanup(func() {
		for _, p := range places {
			if p != nil {
				u.withdraw(t, p)
			}
		}
	})
	for _, p := range places {
		if p != nil {
			u.ready(t, p)
		}
	}
	for _, c := range chosen {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			got, why := corpus.Refuse, refusals[c.Name]
			if p := places[c.Name]; p != nil {
				created, err := u.create(t, p.GetNamespace(), pod("case", host+"/"+c.Image))
				switch {
				case err == nil:
					got, why = corpus.Accept, created.Spec.Containers[0].Image
				case apierrors.IsForbidden(err) || apierrors.IsBadRequest(err):
					why = err.Error()
				default:
					t.Fatal(err)
				}
			}
			switch {
			case got == c.Expected:
			case c.Advisory:
				t.Logf("%s, the corpus expects %s (%s): %s", got, c.Expected, c.Reason, why)
			default:
				t.Errorf("%s, want %s (%s): %s", got, c.Expected, c.Reason, why)
			}
		})
	}
}
