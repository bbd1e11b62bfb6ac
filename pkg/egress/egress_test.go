package egress_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/egress"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for address, want := range map[string][2]bool{ // refused with loopback, and without
		"192.0.2.1:443":               {false, false},
		"10.96.0.1:443":               {false, false},
		"[2001:db8::1]:443":           {false, false},
		"127.0.0.1:80":                {false, true},
		"[::1]:80":                    {false, true},
		"[::ffff:127.0.0.1]:80":       {false, true},
		"0.0.0.0:80":                  {false, true},
		"169.254.169.254:80":          {true, true},
		"[::ffff:169.254.169.254]:80": {true, true},
		"[64:ff9b::a9fe:a9fe]:80":     {true, true},
		"[fe80::1%eth0]:80":           {true, true},
		"[fd00:ec2::254]:80":          {true, true},
		"168.63.129.16:80":            {true, true},
		"224.0.0.1:80":                {true, true},
		"255.255.255.255:80":          {true, true},
		"metadata.google.internal:80": {true, true},
		"2852039166:80":               {true, true},
		"":                            {true, true},
	} {
		for i, loopback := range []bool{true, false} {
			if err := egress.Check(address, loopback); errors.Is(err, egress.ErrForbidden) != want[i] {
				t.Errorf("%q, loopback %v: %v", address, loopback, err)
			}
		}
	}
}

func TestDialer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := egress.Dialer(time.Minute, true).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost"} {
		if _, err := egress.Dialer(time.Second, false).DialContext(t.Context(), "tcp", net.JoinHostPort(host, port)); !errors.Is(err, egress.ErrForbidden) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// An address stands for itself, so that nobody is asked for it.
func TestAddresses(t *testing.T) {
	t.Parallel()
	got, err := egress.Addresses(t.Context(), "192.0.2.1")
	if want := netip.MustParseAddr("192.0.2.1"); err != nil || len(got) != 1 || got[0].Unmap() != want {
		t.Errorf("%v, %v", got, err)
	}
}
