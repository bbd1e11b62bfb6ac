package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// gather reads what is to be judged: files, or with --cluster what the cluster has of the kinds that the policies match.
func (a *applied) gather(ctx context.Context, stdin io.Reader, o Options) error {
	c, err := a.flags.where.connect(o, a.known().systemNamespaceOf(o))
	if err != nil {
		return err
	}
	if c == nil {
		return a.readResources(stdin, o.Stderr)
	}
	a.known().cluster = c
	return a.fromCluster(ctx, c, stdin, o.Stderr)
}

// fromCluster takes the objects of a cluster. With --resource, those of the names given; a name that no object has may be
// that of a file.
func (a *applied) fromCluster(ctx context.Context, c *cluster, stdin io.Reader, stderr io.Writer) error {
	warned := map[string]bool{}
	kinds, err := c.kinds(ctx, a.policies, func(p *policy.Policy, kind *match.Kind) {
		if text := fmt.Sprintf("%s: the cluster has no objects of kind %s to list", p, kind); !warned[text] {
			warned[text] = true
			fmt.Fprintln(stderr, "warning:", clean(text))
		}
	})
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, kind := range kinds {
		err := c.list(ctx, kind, a.flags.namespace, func(object map[string]any) error {
			meta, _ := object["metadata"].(map[string]any)
			name, _ := meta["name"].(string)
			if len(a.flags.resources) > 0 && !slices.Contains(a.flags.resources, name) {
				return nil
			}
			if len(a.resources) == maxListed {
				return fmt.Errorf("the cluster has more than %d objects to judge; use --namespace", maxListed)
			}
			named[name] = true
			return a.resourceIn(object, !kind.namespaced)
		})
		if err != nil && !a.missed(stderr, err) {
			return err
		}
	}
	a.flags.resources = slices.DeleteFunc(a.flags.resources, func(name string) bool { return named[name] })
	for _, name := range a.flags.resources {
		if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) && name != "-" {
			return fmt.Errorf("%s not found in cluster", name)
		}
	}
	if len(a.flags.resources) > 0 {
		return a.readResources(stdin, stderr)
	}
	return nil
}

// among takes an object of the resource files: with --exceptions-with-resources as an exception, if it is one.
func (a *applied) among(object map[string]any) error {
	version, _ := object["apiVersion"].(string)
	if !a.flags.inlineExceptions || object["kind"] != "PolicyException" || !strings.HasPrefix(version, "kyverno.io/") {
		return a.resource(object)
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return a.compile(raw)
}

// exception reads a document of --exception.
func (a *applied) exception(where string, raw []byte) error {
	if err := a.compile(raw); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

// compile takes a PolicyException.
func (a *applied) compile(raw []byte) error {
	x, err := policy.ReadException(raw)
	if err != nil {
		return err
	}
	compiled, errs := policy.CompileException(x)
	if len(errs) > 0 {
		return errs.ToAggregate()
	}
	a.exceptions = append(a.exceptions, compiled)
	return nil
}
