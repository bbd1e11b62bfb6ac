package loader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
)

// serviceObject is what counts of a Service.
type serviceObject struct {
	Metadata struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Type       string            `json:"type"`
		Selector   map[string]string `json:"selector"`
		ClusterIPs []string          `json:"clusterIPs"`
	} `json:"spec"`
}

// maxService bounds a Service in bytes; the API server stores none that is larger.
const maxService = 3 << 20

// ownService reads a Service as it is now.
func (l *Loader) ownService(ctx context.Context, namespace, name string) (*serviceObject, error) {
	switch {
	case l.opts.API == nil:
		return nil, errNoCluster
	case !isName(namespace) || !isName(name):
		return nil, errors.New("it has no name of a Service")
	}
	req, err := newRequest(ctx, false, l.opts.API.Base.JoinPath("api/v1/namespaces", namespace, "services", name).String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := l.opts.API.Client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %d%s", resp.StatusCode, statusMessage(resp.Body))
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxService))
	if err != nil {
		return nil, withoutURL(err)
	}
	out := &serviceObject{}
	if err := json.Unmarshal(raw, out); err != nil || out.Metadata.Namespace != namespace || out.Metadata.Name != name {
		return nil, errors.New("the answer is not the Service")
	}
	return out, nil
}

// confined tells whether the addresses are those of Pods that the Service selects, which are in its namespace: directly, or by
// an address of the Service itself.
func (s *serviceObject) confined(found []netip.Addr) error {
	at := clip(s.Metadata.Namespace + "/" + s.Metadata.Name)
	switch {
	case s.Spec.Type == "ExternalName":
		return refuse("Service %s: a Policy asks none of type ExternalName, which leads anywhere", at)
	case len(s.Spec.Selector) == 0:
		return refuse("Service %s: a Policy asks none without selector, whose endpoints somebody writes", at)
	case slices.Equal(s.Spec.ClusterIPs, []string{"None"}):
		return nil
	}
	for _, a := range found {
		own := func(text string) bool {
			b, err := netip.ParseAddr(text)
			return err == nil && a.Unmap() == b.Unmap()
		}
		if !slices.ContainsFunc(s.Spec.ClusterIPs, own) {
			return refuse("Service %s: its name leads to an address that is not its own", at)
		}
	}
	return nil
}
