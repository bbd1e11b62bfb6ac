// Package env runs a real Kubernetes API server, and what signing needs around it, on this machine's loopback.
//
// It starts etcd and kube-apiserver (and kube-controller-manager on request), an in-memory OCI registry, a Rekor v2
// log or a whole private Sigstore (Fulcio, Rekor v1 and v2, a timestamp authority) and the cosign command line, all from
// the pinned binaries that `make tools` builds. Nothing here is a mock: tests
// and the demo talk to the programs that a cluster and a developer run. Every process writes its output to a file in
// the run directory, belongs to a process group of its own, and dies with the program that started it.
//
// A test needs two lines:
//
//	c := env.ForTest(t, env.Options{CRDs: []string{env.CRDDir()}})
//	cfg := c.Config() // system:masters
package env
