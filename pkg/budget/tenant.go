package budget

import "context"

type tenantKey struct{}

// For returns a context whose work is done for a tenant, the namespace of an object, so that those who wait for the same thing
// can take turns.
func For(ctx context.Context, tenant string) context.Context {
	return context.WithValue(ctx, tenantKey{}, tenant)
}

// Tenant is whom the work of a context is done for; empty for nobody in particular.
func Tenant(ctx context.Context) string {
	tenant, _ := ctx.Value(tenantKey{}).(string)
	return tenant
}
