package env

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
)

// Rekor is a running Rekor v2 transparency log.
type Rekor struct {
	// URL is where entries are written.
	URL string
	// Origin is the log's name in its checkpoints.
	Origin string
	// PublicKeyFile is the log's public key (PEM, ed25519).
	PublicKeyFile string

	process *Process
}

// StartRekor starts a log with a fresh key; its data, key and log file are in dir.
func StartRekor(ctx context.Context, dir string) (*Rekor, error) {
	path, err := Tool("rekor-server")
	if err != nil {
		return nil, err
	}
	key, pub, err := writeKeyPair(dir, "rekor", true)
	if err != nil {
		return nil, err
	}
	ports, err := FreePorts(3)
	if err != nil {
		return nil, err
	}
	r := &Rekor{URL: loopback("http", ports[0]), Origin: "rekor.local", PublicKeyFile: pub}
	r.process, err = StartProcess(dir, "rekor", path, []string{
		"serve", "--hostname=" + r.Origin, "--signer-filepath=" + key, "--storage-dir=" + dir + "/rekor-data",
		"--http-address=127.0.0.1", "--http-port=" + strconv.Itoa(ports[0]),
		"--grpc-address=127.0.0.1", "--grpc-port=" + strconv.Itoa(ports[1]), "--http-metrics-port=" + strconv.Itoa(ports[2]),
		"--checkpoint-interval=1s", "--batch-max-age=100ms",
	}, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := r.process.WaitReady(ctx, getOK(http.DefaultClient, r.URL+"/healthz")); err != nil {
		r.Stop()
		return nil, fmt.Errorf("starting the log: %w", err)
	}
	return r, nil
}

// Stop ends the log.
func (r *Rekor) Stop() { r.process.Stop() }
