package cli

import "github.com/signet-policy/signet/controllers"

// cluster is the API server that a call asks.
type cluster struct {
	secrets *controllers.PullSecrets
}
