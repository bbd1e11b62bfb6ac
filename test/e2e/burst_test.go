package e2e

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// A thousand Pods of one image that nobody has seen before: one of them is verified, and all are admitted. The test is
// not parallel, because what it adds to Signet's queue of reports is more than fits.
func TestThousandPods(t *testing.T) {
	const n = 1000
	shared.run(t, "")
	u, ns := newUser(t), namespace(t)
	p := rule{}.in(ns)
	p.SetLabels(map[string]string{"reports.kyverno.io/disabled": ""})
	u.apply(t, p)
	repo := repository(t, "new")
	image := push(shared.registry, repo, "1", &shared.images.signed)
	from := len(shared.registry.Log())

	// A hundred on their way: more at once has the API server open a connection for each, and where both of its ends share two
	// processors with the race detector, none is open in time.
	var g errgroup.Group
	g.SetLimit(100)
	for i := range n {
		g.Go(func() error {
			p, err := u.CoreV1().Pods(ns).Create(t.Context(), pod(fmt.Sprintf("p%d", i), image+":1"), metav1.CreateOptions{})
			if err == nil && p.Spec.Containers[0].Image != image+":1@"+shared.images.signed.digest {
				err = fmt.Errorf("image %s", p.Spec.Containers[0].Image)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, e := range requests(shared.registry, from, repo) {
		if e.Kind == registrytest.Tag && e.Reference == "1" {
			if seen["image"]++; seen["image"] > n {
				t.Fatalf("the tag was resolved more than once for a Pod")
			}
			continue
		}
		if seen[e.Path]++; seen[e.Path] > 1 {
			t.Errorf("%s %s was asked for again", e.Method, e.Path)
		}
	}
	if seen["/v2/"+repo+"/referrers/"+shared.images.signed.digest] != 1 {
		t.Errorf("the signatures were not looked for: %v", seen)
	}
}
