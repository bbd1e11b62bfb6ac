package attacks_test

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// TestT044Held has a Pod with many images, to each of which as much is attached as is read of one image. Together they
// must fit where one does: what they hold is bounded for all, however many there are.
func TestT044Held(t *testing.T) {
	s := newSigner(t)
	l := newLab(t, engine.Options{}, enforce(by(t, s)), strings.Replace(enforce(by(t, s)+", annotations: {}"), "name: p}", "name: q}", 1))
	var layers []registrytest.Layer
	for i := range 4 {
		layers = append(layers, s.statement(t, "sha256:"+strings.Repeat("1", 64), provenance, fmt.Sprintf(`{"i":%d,"pad":"%s"}`, i, strings.Repeat("x", 11<<20))))
	}
	var images []string
	for i := range 8 {
		digest := l.PushImage(repo, fmt.Sprint("v", i), []byte{byte(i)})
		l.AttachTag(repo, digest, "att", layers...)
		l.AttachTag(repo, digest, "sig", s.layer(t, digest))
		images = append(images, fmt.Sprint(":v", i))
	}
	layers = nil
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	runtime.GC()
	before := inUse()
	stop, top := make(chan struct{}), make(chan uint64)
	go func() {
		var highest uint64
		for {
			select {
			case <-stop:
				top <- highest
				return
			case <-time.After(2 * time.Millisecond):
				highest = max(highest, inUse())
			}
		}
	}()
	d := l.judge(t, images...)
	close(stop)
	if grown := int64(<-top) - int64(before); grown > 300<<20 {
		t.Errorf("%d images took %d MiB", len(images), grown>>20)
	}
	for _, r := range d.Results {
		if code := string(r.Reason); code != "Verified" && code != "RegistryTimeout" {
			t.Errorf("%s: %s", r.Image.Ref, r.Message)
		}
	}
}

func inUse() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
