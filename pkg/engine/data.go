package engine

import (
	"context"
	"maps"
	"strings"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/plan"
)

// data is what variables can read of a request (VI 4.4(8), 6.8). Nothing of it is made before an expression reads it. Who
// makes a request writes its texts, so that variables in them are not evaluated.
type data struct {
	review *review
	object map[string]any
	digest func(*plan.Image) image.Digest
	base   *expr.Scope
}

// newData is the data of an object. Digests of its images are given by a function.
func newData(r *review, object map[string]any, digest func(*plan.Image) image.Digest) *data {
	d := &data{review: r, object: object, digest: digest, base: expr.NewScope(r.engine.env())}
	d.base.SetLazyData("request", func(context.Context) (any, error) { return d.request(), nil })
	namespace, name := serviceAccount(r.req.Attributes.User.Name)
	d.base.SetData("serviceAccountNamespace", namespace)
	d.base.SetData("serviceAccountName", name)
	return d
}

// env is what functions of expressions ask of the world: short references are written out as those of objects are read.
func (e *Engine) env() expr.Env {
	return expr.Env{Resolve: e.opts.Resolve, NormalizeImage: func(reference string) (string, error) {
		named, err := e.parser().Parse(reference)
		if err != nil {
			return "", err
		}
		return named.Ref.String(), nil
	}}
}

// named is the digest that a reference names; empty while its tag has not been resolved.
func named(img *plan.Image) image.Digest {
	d, err := image.ParseDigest(img.Ref.RawDigest())
	if err != nil {
		return ""
	}
	return d
}

// setImages lets a scope read the images that a rule found.
func (d *data) setImages(s *expr.Scope, found *plan.Found) {
	s.SetLazyData("images", func(context.Context) (any, error) { return d.images(found), nil })
}

// imageScope is that of one image under one rule: what the rule could read before, and digests that are known now.
func (r *review) imageScope(d *data, rule int, img *plan.Image) *expr.Scope {
	s := d.base
	if ready := r.prepared[rule]; ready != nil {
		s = ready.scope
	}
	s = s.Fork()
	d.setImages(s, r.plan.Rules[rule].Found)
	s.SetLazyData("image", func(context.Context) (any, error) { return d.fields(img), nil })
	return s
}

// serviceAccount takes the name of a service account's user apart; both are empty for other users.
func serviceAccount(user string) (namespace, name string) {
	account, ok := strings.CutPrefix(user, "system:serviceaccount:")
	if !ok {
		return "", ""
	}
	namespace, name, ok = strings.Cut(account, ":")
	if !ok {
		return "", ""
	}
	return namespace, name
}

// request is the admission request as far as it is known here.
func (d *data) request() map[string]any {
	req := d.review.req
	a := &req.Attributes
	user := map[string]any{"username": a.User.Name, "groups": a.User.Groups}
	out := map[string]any{
		"operation": "CREATE", "name": req.Name, "namespace": a.Namespace, "subResource": a.Subresource,
		"kind":     map[string]any{"group": a.Group, "version": a.Version, "kind": a.Kind},
		"userInfo": user,
		"object":   object(d.object),
	}
	if req.Admission != nil {
		more := req.Admission()
		if told, ok := more["userInfo"].(map[string]any); ok {
			maps.Copy(user, told)
		}
		maps.Copy(out, more)
		out["userInfo"] = user
	}
	if roles, ok := a.Roles.(*userRoles); ok && roles.wanted {
		// Without an answer the fields are missing, which no expression passes over.
		if bound, err := roles.Roles(); err == nil {
			out["roles"], out["clusterRoles"] = list(bound.Roles), list(bound.ClusterRoles)
		}
	}
	if req.Old != nil {
		out["operation"], out["oldObject"] = "UPDATE", object(req.Old)
	}
	return out
}

func list(texts []string) []any {
	out := make([]any, len(texts))
	for i, s := range texts {
		out[i] = s
	}
	return out
}

// object keeps a nil map from being more than null.
func object(m map[string]any) any {
	if m == nil {
		return nil
	}
	return m
}

// images are the images that a rule found, by the list and the element that they stand in; of equal elements the last one.
func (d *data) images(found *plan.Found) map[string]any {
	out := map[string]any{}
	last := map[[2]string]int{}
	for _, img := range found.Images {
		for i := range img.Uses {
			u := &img.Uses[i]
			list, _ := out[u.Category].(map[string]any)
			if list == nil {
				list = map[string]any{}
				out[u.Category] = list
			}
			at := [2]string{u.Category, u.Key}
			if before, ok := last[at]; ok && before > u.Order {
				continue
			}
			last[at] = u.Order
			fields := d.fields(img)
			fields["jsonPointer"] = u.Pointer
			list[u.Key] = fields
		}
	}
	return out
}

// fields are the parts of a reference.
func (d *data) fields(img *plan.Image) map[string]any {
	ref := img.Ref
	return map[string]any{
		"reference": ref.String(), "referenceWithTag": ref.WithTag(), "registry": ref.Registry(), "path": ref.Path(),
		"name": ref.Name(), "tag": ref.Tag(), "digest": string(d.digest(img)),
	}
}
