package main

import (
	"context"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
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

// A Pod of config/manager is given the time that a replica takes to end.
func TestGracePeriod(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("config/manager/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d appsv1.Deployment
	if err := yaml.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	pod := d.Spec.Template.Spec
	if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace <= lingering+finishing {
		t.Errorf("%s for %s and %s", grace, lingering, finishing)
	}
	// With those of the last generation in the count, all of the next one can come to one node.
	for _, c := range pod.TopologySpreadConstraints {
		if c.TopologyKey != "kubernetes.io/hostname" || !slices.Equal(c.MatchLabelKeys, []string{"pod-template-hash"}) {
			t.Errorf("%+v", c)
		}
	}
	if len(pod.TopologySpreadConstraints) != 1 || pod.Affinity != nil {
		t.Errorf("spread by %+v, %+v", pod.TopologySpreadConstraints, pod.Affinity)
	}
}
