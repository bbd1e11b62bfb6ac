// Package attacks plays attacks that need a whole verification: a registry that holds anything, its client, the verifier
// and the engine. What needs less is tested beside the code that it is about.
package attacks
