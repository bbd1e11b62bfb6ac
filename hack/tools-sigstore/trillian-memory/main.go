// Command trillian-memory is the Merkle tree that Rekor v1 writes to in the tests: Trillian's log server and sequencer
// in one process over Trillian's own in-memory storage, so that neither a database nor a second process is needed.
// Everything is gone when it ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/google/trillian"
	"github.com/google/trillian/extension"
	treelog "github.com/google/trillian/log"
	"github.com/google/trillian/monitoring"
	"github.com/google/trillian/quota"
	"github.com/google/trillian/server"
	"github.com/google/trillian/server/admin"
	"github.com/google/trillian/server/interceptor"
	"github.com/google/trillian/storage/memory"
	"github.com/google/trillian/util/clock"
	"google.golang.org/grpc"
)

func main() {
	address := flag.String("address", "127.0.0.1:8090", "where to listen for gRPC")
	interval := flag.Duration("interval", 50*time.Millisecond, "how often queued leaves are written to the tree")
	flag.Parse()
	if err := run(*address, *interval); err != nil {
		fmt.Fprintln(os.Stderr, "trillian-memory:", err)
		os.Exit(1)
	}
}

// run serves until the listener fails.
func run(address string, interval time.Duration) error {
	trees := memory.NewTreeStorage()
	registry := extension.Registry{
		AdminStorage: memory.NewAdminStorage(trees),
		LogStorage:   memory.NewLogStorage(trees, monitoring.InertMetricFactory{}),
		QuotaManager: quota.Noop(),
	}
	// Rekor reads Trillian's own status codes, which this interceptor makes of its errors.
	rpc := grpc.NewServer(grpc.UnaryInterceptor(interceptor.ErrorWrapper))
	trillian.RegisterTrillianAdminServer(rpc, admin.New(registry, nil))
	trillian.RegisterTrillianLogServer(rpc, server.NewTrillianLogRPCServer(registry, clock.System))

	sequencer := treelog.NewOperationManager(treelog.OperationInfo{
		Registry: registry, BatchSize: 50, NumWorkers: 1, RunInterval: interval, TimeSource: clock.System,
	}, treelog.NewSequencerManager(registry, 0))
	go sequencer.OperationLoop(context.Background())

	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	return rpc.Serve(listener)
}
