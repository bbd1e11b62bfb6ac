package env

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below the range that the kernel gives to outgoing connections (32768 and up on Linux): there, one
// of the many connections of a starting cluster could take a port between the moment it is found and the moment a
// program listens on it.
const (
	firstPort = 15000
	portCount = 17000
)

var errNoFreePort = errors.New("no free port")

// FreePorts returns n different loopback TCP ports that nothing listened on a moment ago.
func FreePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for attempt := 0; len(ports) < n; attempt++ {
		if attempt == 100*n {
			return nil, fmt.Errorf("%w between %d and %d", errNoFreePort, firstPort, firstPort+portCount-1)
		}
		port := firstPort + rand.IntN(portCount)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue // in use, by one of ours or by another
		}
		defer l.Close() // held until all are found, so they differ
		ports = append(ports, port)
	}
	return ports, nil
}
