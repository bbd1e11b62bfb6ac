package env

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Ports are taken from below the range that the kernel gives to outgoing connections (32768 and up on Linux): there, one
// of the many connections of a starting cluster could take a port between the moment it is found and the moment a
// program listens on it.
const (
	firstPort = 15000
	portCount = 17000
)

var errNoFreePort = errors.New("no free port")

// FreePorts returns n different loopback TCP ports that nothing listened on a moment ago. No other call gets them as long as
// this program runs, neither here nor in another program of the same user: several start clusters at the same time, and a port
// is found seconds before somebody listens on it.
func FreePorts(n int) ([]int, error) {
	dir := filepath.Join(os.TempDir(), "signet-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("reserving ports: %w", err)
	}
	ports := make([]int, 0, n)
	for attempt := 0; len(ports) < n; attempt++ {
		if attempt == 100*n {
			return nil, fmt.Errorf("%w between %d and %d", errNoFreePort, firstPort, firstPort+portCount-1)
		}
		port := firstPort + rand.IntN(portCount)
		if !reserve(filepath.Join(dir, strconv.Itoa(port))) {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue // in use by somebody who does not ask here
		}
		_ = l.Close()
		ports = append(ports, port)
	}
	return ports, nil
}

// reserve locks a file until this program ends. It tells whether nobody else has locked it: not a program, and no earlier call
// of this one. The descriptor is kept open for that, and is no os.File, which would be closed when nobody refers to it.
func reserve(file string) bool {
	fd, err := syscall.Open(file, syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return false
	}
	if err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = syscall.Close(fd)
		return false
	}
	return true
}
