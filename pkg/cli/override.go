package cli

import (
	"context"
	"maps"
	"slices"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// override is what values say of one policy and one resource.
type override struct {
	// request are fields of the request by name.
	request map[string]any
	// entries are what context entries are, without their source being asked.
	entries map[*policy.ContextEntry]any
	next    engine.Loader
}

// tree is a value made of several assignments.
type tree = map[string]any

// of gives what the values say of a policy and a resource; nil values, and those of no policy, say nothing. With registry, images of context entries
// are read from the registry whatever the values say.
func (v *values) of(p *policy.Policy, r *resource, registry bool, next engine.Loader) *override {
	o := &override{request: tree{}, entries: map[*policy.ContextEntry]any{}, next: next}
	if v == nil || p == nil {
		return o
	}
	for _, rule := range p.Rules {
		all := tree{}
		for _, a := range v.layers(p, rule, r) {
			if a.path[0] == "request" {
				a.used = true
				assign(o.request, a.path[1:], a.value)
				continue
			}
			for i := range rule.Context {
				e := &rule.Context[i]
				if e.Name == a.path[0] && !(registry && e.Image != nil) {
					a.used = true
					assign(all, a.path, a.value)
					o.entries[e] = all[e.Name]
				}
			}
		}
	}
	return o
}

// layers are the assignments that concern a rule and a resource; of two for the same path the last one counts.
func (v *values) layers(p *policy.Policy, rule *policy.Rule, r *resource) []*assignment {
	list := slices.Clone(v.global)
	for _, of := range v.policies {
		for _, n := range of.rules {
			if isPolicy(p, of.name) && isRule(rule.Name, n.name) {
				list = append(list, n.values...)
			}
		}
	}
	for _, of := range v.policies {
		for _, n := range of.resources {
			if isPolicy(p, of.name) && r.named(n.name) {
				list = append(list, n.values...)
			}
		}
	}
	return list
}

// unused are the places of values that nothing has read.
func (v *values) unused() []string {
	if v == nil {
		return nil
	}
	var out []string
	note := func(list []*assignment) {
		for _, a := range list {
			if !a.used {
				out = append(out, a.where)
			}
		}
	}
	note(v.global)
	for _, p := range v.policies {
		for _, n := range slices.Concat(p.rules, p.resources) {
			note(n.values)
		}
	}
	return out
}

// isPolicy tells whether a policy is meant by name, or by namespace/name.
func isPolicy(p *policy.Policy, name string) bool {
	return name != "" && (p.Name == name || p.String() == name)
}

// isRule tells whether a computed rule is meant by the name of a rule as written: it or what was generated from it
// (VI 10.2(2)).
func isRule(computed, written string) bool {
	return written != "" && (computed == written || computed == "autogen-"+written || computed == "autogen-cronjob-"+written)
}

// named tells whether a resource is meant by name, or by namespace/name.
func (r *resource) named(name string) bool {
	return name == r.kind.Name || name == r.kind.Namespace+"/"+r.kind.Name
}

// assign sets the value at a path. What is not an object on the way gives way.
func assign(to tree, path []string, value any) {
	for _, name := range path[:len(path)-1] {
		next, ok := to[name].(map[string]any)
		if !ok {
			next = tree{}
			to[name] = next
		}
		to = next
	}
	to[path[len(path)-1]] = clone(value)
}

// Load gives what the values say of an entry, or else what its source says.
func (o *override) Load(ctx context.Context, entry *policy.ContextEntry, scope *expr.Scope,
	describe func(context.Context, *policy.ContextEntry, string) (*image.Description, error)) (any, error) {
	if value, ok := o.entries[entry]; ok {
		return value, nil
	}
	return o.next.Load(ctx, entry, scope, describe)
}

// user is who makes the request.
func (o *override) user(u userInfo) userInfo {
	told, _ := o.request["userInfo"].(map[string]any)
	if name, ok := told["username"].(string); ok {
		u.UserInfo.Username = name
	}
	for _, f := range []struct {
		value any
		into  *[]string
	}{{told["groups"], &u.UserInfo.Groups}, {o.request["roles"], &u.Roles}, {o.request["clusterRoles"], &u.ClusterRoles}} {
		if f.value == nil {
			continue
		}
		if list, err := textsOf(f.value); err == nil {
			*f.into = list
		}
	}
	return u
}

// attributes are those of the request about a resource.
func (o *override) attributes(r *resource, u *userInfo) match.Attributes {
	a := r.kind
	a.User = match.User{Name: u.UserInfo.Username, Groups: u.UserInfo.Groups}
	if operation, ok := o.request["operation"].(string); ok {
		a.Operation = match.ParseOperation(operation)
	}
	return a
}

// admission are the fields of the request that its variables read besides the usual ones, about an object.
func (o *override) admission(object map[string]any, u *userInfo) func() map[string]any {
	return func() map[string]any {
		out := maps.Clone(o.request)
		user := tree{}
		if u.UserInfo.UID != "" {
			user["uid"] = u.UserInfo.UID
		}
		if u.UserInfo.Extra != nil {
			user["extra"] = u.UserInfo.Extra
		}
		if told, ok := out["userInfo"].(map[string]any); ok {
			maps.Copy(user, told)
		}
		out["userInfo"] = user
		if told, ok := out["object"].(map[string]any); ok {
			out["object"] = merged(object, told)
		}
		return out
	}
}

// merged is an object with other values in some of its fields.
func merged(object, told map[string]any) map[string]any {
	out := maps.Clone(object)
	if out == nil {
		out = tree{}
	}
	for name, value := range told {
		inner, ok := value.(map[string]any)
		before, was := out[name].(map[string]any)
		if ok && was {
			value = merged(before, inner)
		}
		out[name] = value
	}
	return out
}

// place puts an object where the values say that it is written to. Its namespace and name stay.
func (v *values) place(a *match.Attributes) {
	if v == nil {
		return
	}
	if to, ok := v.subresources[gvk(a.Group, a.Version, a.Kind)]; ok {
		a.Group, a.Version, a.Kind, a.Subresource = to.group, to.version, to.kind, to.name
	}
}
