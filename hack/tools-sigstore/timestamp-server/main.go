// Command timestamp-server is the Sigstore timestamp authority as the tests start it: its own server, with a chain made
// in memory. Its own command also listens for metrics, always on port 2112 of all addresses, and ends when another
// program has that port, so that only one could run at a time.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/sigstore/timestamp-authority/v2/pkg/server"
	"github.com/spf13/viper"
)

func main() {
	port := flag.Int("port", 3004, "the loopback port to serve HTTP on")
	flag.Parse()
	if err := run(*port); err != nil {
		fmt.Fprintln(os.Stderr, "timestamp-server:", err)
		os.Exit(1)
	}
}

// run serves until it is told to end.
func run(port int) error {
	// The settings of the real command that have no usable zero value, with its own defaults.
	for key, value := range map[string]any{
		"timestamp-signer": "memory", "timestamp-signer-hash": "sha256", "max-request-body-size": uint64(1 << 20),
		"default-policy-oid": "1.3.6.1.4.1.57264.2", "accepted-policy-oids": []string{"1.3.6.1.4.1.57264.2"},
	} {
		viper.Set(key, value)
	}
	const timeout = 10 * time.Second
	s := server.NewRestAPIServer("127.0.0.1", port, []string{"http"}, false, timeout, timeout)
	s.CleanupTimeout = time.Second
	if err := s.Serve(); err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	return s.Shutdown()
}
