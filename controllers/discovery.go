package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/signet-policy/signet/pkg/match"
)

// discoverer lists what the API server serves.
type discoverer interface {
	ServerGroupsAndResourcesWithContext(ctx context.Context) ([]*metav1.APIGroup, []*metav1.APIResourceList, error)
}

// kinds resolves kind selectors to what the API server serves. It is used by one goroutine.
type kinds struct {
	client discoverer
	now    func() time.Time

	read   time.Time
	served []served
	failed map[schema.GroupVersion]error
}

// served is one resource or subresource; kind is the kind of the resource, also for a subresource.
type served struct {
	group, version, kind  string
	resource, subresource string
	scope                 admissionregistrationv1.ScopeType
}

// target is what a webhook rule names: one resource, or a wildcard.
type target struct {
	group, version, resource string
	scope                    admissionregistrationv1.ScopeType
}

// refresh reads discovery again unless it was read within maxAge. What a group served before is kept while that group
// does not answer: its rules are not to vanish because an aggregated API server is restarted.
func (k *kinds) refresh(ctx context.Context, maxAge time.Duration) error {
	if !k.read.IsZero() && k.now().Sub(k.read) < maxAge {
		return nil
	}
	_, lists, err := k.client.ServerGroupsAndResourcesWithContext(ctx)
	var partial *discovery.ErrGroupDiscoveryFailed
	if err != nil && !errors.As(err, &partial) {
		return fmt.Errorf("reading what the API server serves: %w", err)
	}
	var failed map[schema.GroupVersion]error
	if partial != nil {
		failed = partial.Groups
	}
	var all []served
	for _, list := range lists {
		found, err := readList(list)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	for _, s := range k.served {
		if _, ok := failed[schema.GroupVersion{Group: s.group, Version: s.version}]; ok && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b served) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.version, b.version),
			cmp.Compare(a.resource, b.resource), cmp.Compare(a.subresource, b.subresource))
	})
	k.served, k.failed, k.read = all, failed, k.now()
	return nil
}

// readList reads one version of one group. A subresource is listed under its resource's group and version even when its
// own kind belongs to another, as that of scale does.
func readList(list *metav1.APIResourceList) ([]served, error) {
	gv, err := schema.ParseGroupVersion(list.GroupVersion)
	if err != nil {
		return nil, fmt.Errorf("reading what the API server serves: %w", err)
	}
	owners := map[string]string{}
	for _, r := range list.APIResources {
		if !strings.Contains(r.Name, "/") {
			owners[r.Name] = r.Kind
		}
	}
	var out []served
	for _, r := range list.APIResources {
		resource, sub, _ := strings.Cut(r.Name, "/")
		s := served{group: gv.Group, version: gv.Version, kind: owners[resource], resource: resource, subresource: sub,
			scope: admissionregistrationv1.ClusterScope}
		if s.kind == "" {
			s.kind = r.Kind // a subresource without its resource
		}
		if r.Namespaced {
			s.scope = admissionregistrationv1.NamespacedScope
		}
		out = append(out, s)
	}
	return out, nil
}

// The subresource by which a container can be added to a Pod, and which the kind Pod therefore includes.
const (
	podsResource        = "pods"
	ephemeralContainers = "ephemeralcontainers"
)

// resolve returns what a selector selects. An unknown kind selects nothing. The error is that of a group which does not
// answer and which the selector may be about.
func (k *kinds) resolve(selector *match.Kind) ([]target, error) {
	group, version, kind, sub := selector.Parts()
	wanted, literal := sub.Literal()
	if group.String() == "*" && version.String() == "*" && kind.String() == "*" {
		return wildcardTargets(wanted), nil
	}
	var out []target
	for _, s := range k.served {
		if !group.Matches(s.group) || !version.Matches(s.version) || !kind.Matches(s.kind) {
			continue
		}
		// Without a subresource the selector means none, and no wildcard stands for "none" either.
		selected := s.subresource == wanted
		if !literal {
			selected = s.subresource != "" && sub.Matches(s.subresource)
		}
		if wanted == "" && s.group == "" && s.resource == podsResource && s.subresource == ephemeralContainers {
			selected = true
		}
		if selected {
			resource := s.resource
			if s.subresource != "" {
				resource += "/" + s.subresource
			}
			out = append(out, target{group: s.group, version: s.version, resource: resource, scope: s.scope})
		}
	}
	if len(out) > 0 && group.String() == "*" {
		return out, nil
	}
	for gv, err := range k.failed {
		if group.Matches(gv.Group) && version.Matches(gv.Version) && !k.holds(gv) {
			return out, fmt.Errorf("resolving kind %s: %s: %w", selector, gv, err)
		}
	}
	return out, nil
}

// holds tells whether anything of a group and version is known.
func (k *kinds) holds(gv schema.GroupVersion) bool {
	return slices.ContainsFunc(k.served, func(s served) bool { return s.group == gv.Group && s.version == gv.Version })
}

// wildcardTargets are the targets of a selector of every kind, which has to include kinds that do not exist yet.
func wildcardTargets(sub string) []target {
	all := target{group: "*", version: "*", scope: admissionregistrationv1.AllScopes}
	if sub != "" {
		all.resource = "*/" + sub
		return []target{all}
	}
	all.resource = "*"
	return []target{all, {version: "v1", resource: podsResource + "/" + ephemeralContainers, scope: admissionregistrationv1.NamespacedScope}}
}
