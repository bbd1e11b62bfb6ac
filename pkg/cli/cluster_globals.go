package cli

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-policy/signet/controllers"
	"github.com/signet-policy/signet/pkg/globalcontext"
	"github.com/signet-policy/signet/pkg/loader"
)

// globals are the GlobalContextEntries of a cluster. They are read, all of them, when the first rule refers to one.
type globals struct {
	keeper *globalcontext.Keeper
	reader client.Reader

	once sync.Once
	err  error
	ctx  context.Context //nolint:containedctx // of all reading, which close ends
	stop context.CancelFunc
	done chan struct{}
}

// newGlobals makes what reads entries. It has to be closed.
func newGlobals(config *rest.Config, reader client.Reader, entries loader.Options, systemNamespace string) (*globals, error) {
	resources, err := controllers.NewGlobalResources(config, systemNamespace)
	if err != nil {
		return nil, err
	}
	g := &globals{reader: reader, done: make(chan struct{})}
	g.keeper = globalcontext.New(globalcontext.Options{Caller: loader.New(entries), Resources: resources})
	g.ctx, g.stop = context.WithCancel(context.Background())
	return g, nil
}

// Global implements loader.Globals.
func (g *globals) Global(name, projection string) (any, error) {
	g.once.Do(g.read)
	if g.err != nil {
		return nil, g.err
	}
	return g.keeper.Global(name, projection)
}

// read begins to follow the entries, and waits until each has been tried, or there was time enough for it.
func (g *globals) read() {
	go func() {
		defer close(g.done)
		if err := g.keeper.Start(g.ctx); err != nil {
			g.stop()
		}
	}()
	if err := controllers.ReadGlobals(g.ctx, g.reader, g.keeper); err != nil {
		g.err = fmt.Errorf("the cluster's entries cannot be read: %w", err)
		return
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !g.keeper.Settled() {
		select {
		case <-g.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// close ends all reading.
func (g *globals) close() {
	g.stop()
	g.once.Do(func() { close(g.done) })
	<-g.done
}
