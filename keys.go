package main

import (
	"fmt"

	"k8s.io/client-go/rest"

	"github.com/signet-policy/signet/controllers"
	"github.com/signet-policy/signet/pkg/keyring"
	"github.com/signet-policy/signet/pkg/keyring/kms"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/report"
)

// newKeys makes what follows the keys that policies refer to.
func newKeys(config *rest.Config, recorder *report.Recorder, troubles *controllers.Troubles) (*keyring.Ring, error) {
	secrets, err := controllers.NewKeySecrets(config)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return keyring.New(keyring.Options{
		Secrets: secrets, Services: &keyring.Services{Open: kms.Open},
		Observe: func(c keyring.Change) {
			recorder.Key(c.Reference, c.Err, c.Gone)
			troubles.Key(c.Reference, c.Err, c.Gone)
		},
	}), nil
}

// followKeys follows the keys of the policies in force.
func followKeys(keys *keyring.Ring, store *policy.Store) {
	if snapshot := store.Snapshot(); snapshot != nil {
		keys.Follow(snapshot.References())
	}
}
