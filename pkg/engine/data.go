package engine

import (
	"context"

	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/plan"
)

// data is what conditions can read of a request (VI 4.4(8)). Nothing of it is made before an expression reads it. Who makes a
// request writes its texts, so that variables in them are not evaluated.
type data struct {
	review *review
	base   *expr.Scope
}

func newData(r *review) *data {
	d := &data{review: r, base: expr.NewScope(expr.Env{})}
	d.base.SetLazyData("request", func(context.Context) (any, error) { return d.request(), nil })
	return d
}

// scope is that of one image under a rule that found these.
func (d *data) scope(found *plan.Found, img *plan.Image) *expr.Scope {
	s := d.base.Fork()
	s.SetLazyData("images", func(context.Context) (any, error) { return d.images(found), nil })
	s.SetLazyData("image", func(context.Context) (any, error) { return d.fields(img), nil })
	return s
}

// request is the admission request as far as it is known here.
func (d *data) request() map[string]any {
	req := d.review.req
	a := &req.Attributes
	out := map[string]any{
		"operation": "CREATE", "name": req.Name, "namespace": a.Namespace, "subResource": a.Subresource,
		"kind":     map[string]any{"group": a.Group, "version": a.Version, "kind": a.Kind},
		"userInfo": map[string]any{"username": a.User.Name, "groups": a.User.Groups},
		"object":   object(req.Object),
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
		"name": ref.Name(), "tag": ref.Tag(), "digest": string(d.review.digest(img)),
	}
}
