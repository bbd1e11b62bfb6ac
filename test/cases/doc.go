// Package cases keeps the list of known attacks, by their stable names, together with the tests that play them. A case
// without a test does not pass; docs/security-cases.md is the list for people.
package cases
