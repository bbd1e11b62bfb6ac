package engine

import (
	"context"
	"sync"
	"time"

	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// Roles knows the roles that are bound to users as they are now. It is safe for concurrent use. The error is that of
// bindings that have not been read: never an empty answer instead.
type Roles interface {
	Of(ctx context.Context, user match.User) (match.Bound, error)
}

// userRoles are the roles of one request's user: looked up when a rule first asks for them, and once, so that all rules
// judge by the same ones. It is part of the request and lives as long.
type userRoles struct {
	source Roles
	ctx    context.Context
	budget time.Duration
	user   match.User
	// wanted is set when something in force asks for roles, so that expressions may read them.
	wanted bool

	once  sync.Once
	bound match.Bound
	err   error
}

// Roles looks the roles up, or gives the answer of before.
func (u *userRoles) Roles() (match.Bound, error) {
	u.once.Do(func() {
		ctx, cancel := context.WithTimeout(u.ctx, u.budget)
		defer cancel()
		u.bound, u.err = u.source.Of(ctx, u.user)
		u.ctx = nil
	})
	return u.bound, u.err
}

// askRoles looks the roles up now if a rule may need them later, where nothing is to be waited for.
func askRoles(rules []*policy.Rule, req *Request) {
	if req.Attributes.Roles == nil {
		return
	}
	for _, r := range rules {
		if r.NeedsRoles() {
			_, _ = req.Attributes.Roles.Roles() // the error is that of the rules that turn out to need them
			return
		}
	}
}
