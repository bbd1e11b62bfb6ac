// Package controllers keeps the process and the cluster in step with the policies: it loads policies into the store,
// registers what they need with the API server, tells in their status what became of them, and looks after the serving
// certificate.
//
// Every replica loads policies and certificates. Only the leader writes webhook configurations and status. Nothing here
// decides about an image, and nothing here is on the path of a request: what a request needs is in the policy store.
package controllers
