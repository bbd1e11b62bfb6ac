// Package egress keeps requests that users' policies and objects cause away from addresses that only the machine itself
// should reach: link-local ones, the metadata services of clouds and, unless allowed, loopback.
package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// ErrForbidden is in the chain of errors about an address that is refused.
var ErrForbidden = errors.New("address refused: link-local, metadata or loopback where it may not lead")

// Forbidden tells whether no request may go to the address; loopback allows those of the machine itself.
func Forbidden(a netip.Addr, loopback bool) bool {
	a = a.Unmap().WithZone("")
	if b := a.As16(); a.Is6() && b[0] == 0 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b {
		// NAT64 carries the IPv4 address in its last four bytes.
		a = netip.AddrFrom4([4]byte(b[12:16]))
	}
	switch {
	case a.IsLinkLocalUnicast(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return true
	case a.IsLoopback(), a.IsUnspecified():
		return !loopback
	}
	switch a.String() {
	case "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "fd20:ce::254":
		// Instance metadata of the large clouds outside the link-local ranges.
		return true
	}
	return false
}

// Check refuses a resolved address ("ip:port"). It is for the moment after name resolution, so that no name leads around
// it.
func Check(address string, loopback bool) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || Forbidden(ap.Addr(), loopback) {
		return ErrForbidden
	}
	return nil
}

// Dialer is a net.Dialer whose connections are checked, each address that a name resolves to for itself.
func Dialer(timeout time.Duration, loopback bool) *net.Dialer {
	return &net.Dialer{
		Timeout: timeout, KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			return Check(address, loopback)
		},
	}
}

// Addresses looks up the addresses of a host as the system does. Nothing is sent to them.
func Addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
