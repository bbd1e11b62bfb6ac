package loader

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/signet-policy/signet/pkg/egress"
)

// Resolver looks host names up. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// near tells whether an address is one that no service may have: the machine itself, its link, or the metadata service of
// a cloud. What is there trusts everybody who can reach it.
func near(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240) || !a.IsValid() { // "this network" reaches the machine itself; the rest is reserved
		return true
	}
	if b := a.As16(); a.Is6() && (b[0] == 0x20 && b[1] == 0x02 || [12]byte(b[:12]) == [12]byte{} && b[12] != 0) {
		return true // 6to4 and IPv4-compatible addresses carry any other one inside; nobody has them any more
	}
	return egress.Forbidden(a, false)
}

// shared are the addresses that carriers share out, which some clusters give to Pods.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// inside tells whether an address may belong to a cluster: those that are not routed on the internet.
func inside(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if b := a.As16(); a.Is6() && b[0] == 0 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b { // NAT64
		a = netip.AddrFrom4([4]byte(b[12:16]))
	}
	return a.IsPrivate() || shared.Contains(a)
}

// destination is where a call may lead.
type destination struct {
	// namespace is the only one whose Services may be asked; empty for all.
	namespace string
	// read reads a Service of that namespace.
	read func(ctx context.Context, namespace, name string) (*serviceObject, error)
}

// service tells whether a host is that of a Service, and of which: <service>.<namespace>.svc with or without
// cluster.local. Under any other domain the name could be anybody's.
func service(host string) (namespace, name string, ok bool) {
	parts := strings.Split(strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(host), "."), ".cluster.local"), ".")
	if len(parts) != 3 || parts[2] != "svc" {
		return "", "", false
	}
	return parts[1], parts[0], true
}

// addresses resolves a host to the addresses that may be asked. All of a name's addresses have to be allowed: one that is
// not there by accident is there on purpose.
func (d destination) addresses(ctx context.Context, resolver Resolver, host string) ([]netip.Addr, error) {
	var found []netip.Addr
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		found = []netip.Addr{a}
	} else if found, err = resolver.LookupNetIP(ctx, "ip", host); err != nil {
		return nil, fmt.Errorf("the name of the service cannot be resolved: %w", err)
	}
	namespace, name, isService := service(host)
	for _, a := range found {
		switch {
		case near(a):
			return nil, refuse("%s: loopback, link-local and metadata addresses are refused", clip(host))
		case d.namespace != "" && inside(a) && !(isService && namespace == d.namespace):
			return nil, refuse("%s: a Policy asks no service of the cluster outside its namespace %s", clip(host), d.namespace)
		}
	}
	if d.namespace != "" && isService && namespace != d.namespace {
		return nil, refuse("%s: a Policy asks no service of the cluster outside its namespace %s", clip(host), d.namespace)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("the name of the service has no address")
	}
	if d.namespace != "" && isService {
		// Whoever writes the Policy may be able to write the Service. It must not lead out of the namespace.
		written, err := d.read(ctx, namespace, name)
		if err != nil {
			return nil, fmt.Errorf("Service %s/%s: %w", clip(namespace), clip(name), err)
		}
		if err := written.confined(found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// dial connects to a host after its name was resolved and its addresses were looked at, so that no name leads around that.
func (s *services) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	to, ok := ctx.Value(destinationKey{}).(destination)
	if !ok {
		return nil, refuse("a connection to nowhere")
	}
	found, err := to.addresses(ctx, s.resolver, host)
	if err != nil {
		return nil, err
	}
	var last error
	for _, a := range found[:min(len(found), 4)] {
		conn, err := s.connect(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, last
}

type destinationKey struct{}
