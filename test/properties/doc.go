// Package properties checks what must be true of every decision, whatever the policies, the object and the registry:
// generated ones of each, real signatures, the real registry client, the webhook server's handler.
//
// A property that fails prints the smallest counterexample found and the seed to repeat it with: -rapid.seed. How many
// counterexamples are sought is said by -rapid.checks; the default is for every day, a few thousand are for a night.
package properties
