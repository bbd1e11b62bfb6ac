package controllers

import (
	"fmt"
	"net/http"
	"net/url"

	"k8s.io/client-go/rest"
)

// NewAPIClient returns a client with the configuration's rights, and the API server's address, for requests by path.
func NewAPIClient(config *rest.Config) (*http.Client, *url.URL, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, nil, fmt.Errorf("API server: %w", err)
	}
	// The transport adds the credentials to whatever it sends, so that a redirect must not lead it elsewhere.
	api := *client
	api.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, nil, fmt.Errorf("API server: %w", err)
	}
	return &api, base, nil
}
