package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// attempts creates Pods one after the other while something happens to Signet: one that nobody signed, then one that is
// signed, and so on.
type attempts struct {
	m      *machine
	cancel context.CancelFunc
	group  sync.WaitGroup

	unsigned, admitted int
	signed, refused    int
	// longest is the longest time in which no signed Pod was admitted.
	longest time.Duration
	last    time.Time
	// words are what was answered instead of the expected, how often.
	words map[string]int
}

// attempt begins. The signed Pods are dry runs, which the webhooks judge like others.
func (m *machine) attempt(ctx context.Context) *attempts {
	ctx, cancel := context.WithCancel(ctx)
	a := &attempts{m: m, cancel: cancel, words: map[string]int{}, last: time.Now()}
	a.group.Go(func() {
		for ctx.Err() == nil {
			a.pair(ctx)
			time.Sleep(20 * time.Millisecond)
		}
	})
	return a
}

func (a *attempts) pair(ctx context.Context) {
	_, err := a.create(ctx, "nginx", metav1.CreateOptions{})
	if ctx.Err() != nil {
		return
	}
	a.unsigned++
	switch {
	case err == nil:
		a.admitted++
	case !strings.Contains(err.Error(), "failed to verify image docker.io/nginx:latest"):
		a.words["unsigned: "+err.Error()]++ // refused, but not for the right reason
	}
	_, err = a.create(ctx, reference, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if ctx.Err() != nil {
		return
	}
	a.signed++
	a.longest = max(a.longest, time.Since(a.last))
	if err != nil {
		a.refused++
		a.words["signed: "+err.Error()]++
		return
	}
	a.last = time.Now()
}

func (a *attempts) create(ctx context.Context, image string, o metav1.CreateOptions) (*corev1.Pod, error) {
	return a.m.cluster.Client().CoreV1().Pods("default").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "attempt-"},
		// Nobody schedules those that are admitted when Signet is uninstalled.
		Spec: corev1.PodSpec{SchedulerName: "nobody", Containers: []corev1.Container{{Name: "c", Image: image}}},
	}, o)
}

// end stops and compares: no unsigned Pod was admitted, and with available no signed one refused.
func (a *attempts) end(t *transcript, available bool) {
	a.cancel()
	a.group.Wait()
	t.check(fmt.Sprintf("meanwhile %d unsigned Pods: none was admitted", a.unsigned), a.admitted == 0 && a.unsigned > 0, a.admitted)
	what := fmt.Sprintf("meanwhile %d signed Pods: %d were refused", a.signed, a.refused)
	if available {
		t.check(what, a.refused == 0 && a.signed > 0, a.refused)
	} else {
		fmt.Println("# " + what)
	}
	for _, w := range slices.Sorted(maps.Keys(a.words)) {
		fmt.Printf("#   %d times: %s\n", a.words[w], w)
	}
}
