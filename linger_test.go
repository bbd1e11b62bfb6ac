package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A replica that is told to end serves until nobody is sent to it any more.
func TestLinger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		signal, stop := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
		defer stop()
		ctx, cancel := linger(signal, 5*time.Second)
		defer cancel()
		if ctx.Value(key{}) != "kept" {
			t.Error("the values of the context are lost")
		}
		time.Sleep(time.Hour)
		stop()
		time.Sleep(5*time.Second - 1)
		synctest.Wait()
		if ctx.Err() != nil {
			t.Error("it ended with the signal")
		}
		time.Sleep(1)
		synctest.Wait()
		if ctx.Err() == nil {
			t.Error("it never ends")
		}
	})
}

// What has ended by itself leaves nothing waiting: synctest fails a test that leaves a goroutine behind.
func TestLingerEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		signal, stop := context.WithCancel(t.Context())
		ctx, cancel := linger(signal, time.Hour)
		stop()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if ctx.Err() == nil {
			t.Error("it goes on")
		}
	})
}
