package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/test/env"
)

// BenchmarkIdle starts Signet beside a real API server and reports how long it takes until it is ready and how much
// memory it has resident a while later. Each round is a new process.
func BenchmarkIdle(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "signet")
	build := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".")
	build.Dir, build.Env = env.Root(), append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	cluster := env.ForTest(b, env.Options{CRDs: []string{env.CRDDir()}})
	if err := cluster.InstallSignet(b.Context()); err != nil {
		b.Fatal(err)
	}
	var ready time.Duration
	var resident, anonymous int64
	for b.Loop() {
		start := time.Now()
		signet, err := cluster.StartSignet(b.Context(), env.SignetOptions{Binary: binary, Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		ready += time.Since(start)
		time.Sleep(5 * time.Second) // until the caches are filled and the first collections have run
		resident += memory(b, signet.PID(), "VmRSS")
		anonymous += memory(b, signet.PID(), "RssAnon")
		signet.Stop()
	}
	b.ReportMetric(float64(ready.Milliseconds())/float64(b.N), "ms-to-ready")
	b.ReportMetric(float64(resident)/float64(b.N)/1024, "MiB-resident")
	b.ReportMetric(float64(anonymous)/float64(b.N)/1024, "MiB-anonymous")
}

// memory is one of the numbers about a process' memory, in KiB: VmRSS is what is resident, RssAnon what of that is not the
// program itself, whose pages the machine can drop and read again.
func memory(b *testing.B, pid int, name string) int64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if _, err := fmt.Sscanf(line, name+": %d kB", &kib); err == nil {
			return kib
		}
	}
	b.Fatalf("no %s", name)
	return 0
}
