package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

const (
	// configMapLook bounds the question to the API server about one config map: most of a request's time belongs to its images.
	configMapLook = 2 * time.Second
	// mostFollowed is how many config maps are followed; more are asked for each time.
	mostFollowed = 256
	// mostKept is the size of a config map that is kept, in bytes; larger ones are asked for each time.
	mostKept = 256 << 10
	// unread is how long a config map is followed that nobody reads.
	unread = 10 * time.Minute
)

// ConfigMaps reads the config maps that policies name. One that was read is followed from then on, by itself, so that the
// next request asks nobody; whenever that is interrupted the API server is asked again, so that an old value never stands
// in for a new one.
type ConfigMaps struct {
	client corev1client.ConfigMapsGetter

	mu       sync.Mutex
	running  context.Context //nolint:containedctx // that of Start, which the followers end with; nil before
	followed map[types.NamespacedName]*followedConfigMap
}

type followedConfigMap struct {
	known bool
	value map[string]any // nil when there is none
	read  time.Time
}

// NewConfigMaps returns a Runnable for every replica. Before it runs, and for what it does not follow, it asks the API server.
func NewConfigMaps(config *rest.Config) (*ConfigMaps, error) {
	c, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("config maps: %w", err)
	}
	return &ConfigMaps{client: c, followed: map[types.NamespacedName]*followedConfigMap{}}, nil
}

// NeedLeaderElection is false: every replica reads config maps.
func (c *ConfigMaps) NeedLeaderElection() bool { return false }

// Start lets config maps be followed until ctx ends.
func (c *ConfigMaps) Start(ctx context.Context) error {
	c.mu.Lock()
	c.running = ctx
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	c.running, c.followed = nil, map[types.NamespacedName]*followedConfigMap{}
	c.mu.Unlock()
	return nil
}

var errConfigMapGone = errors.New("not found")

// ConfigMap is a config map as {metadata, data}.
func (c *ConfigMaps) ConfigMap(ctx context.Context, namespace, name string) (map[string]any, error) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	if value, known := c.remembered(key); known {
		if value == nil {
			return nil, errConfigMapGone
		}
		return value, nil
	}
	ctx, cancel := context.WithTimeout(ctx, configMapLook)
	defer cancel()
	found, err := c.client.ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	c.follow(key)
	return configMapData(found), nil
}

func (c *ConfigMaps) remembered(key types.NamespacedName) (value map[string]any, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.followed[key]
	if f == nil {
		return nil, false
	}
	f.read = time.Now()
	return f.value, f.known
}

// follow begins to follow a config map, if nobody does.
func (c *ConfigMaps) follow(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil || c.followed[key] != nil || len(c.followed) >= mostFollowed {
		return
	}
	f := &followedConfigMap{read: time.Now()}
	c.followed[key] = f
	go c.run(c.running, key, f)
}

// run follows one config map as long as it is read.
func (c *ConfigMaps) run(ctx context.Context, key types.NamespacedName, f *followedConfigMap) {
	for pause := time.Second; ; {
		err := c.watch(ctx, key, f)
		c.set(f, nil, false)
		c.mu.Lock()
		idle := time.Since(f.read) > unread
		if (idle || ctx.Err() != nil) && c.followed[key] == f {
			delete(c.followed, key)
		}
		c.mu.Unlock()
		if idle || ctx.Err() != nil {
			return
		}
		if err == nil {
			pause = time.Second
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Minute)
	}
}

// watch reads the config map and follows it until the API server ends that. From its return on nothing is known.
func (c *ConfigMaps) watch(ctx context.Context, key types.NamespacedName, f *followedConfigMap) error {
	one := fields.OneTermEqualSelector("metadata.name", key.Name).String()
	list, err := c.client.ConfigMaps(key.Namespace).List(ctx, metav1.ListOptions{FieldSelector: one})
	if err != nil {
		return err
	}
	seconds := int64(240)
	events, err := c.client.ConfigMaps(key.Namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: one, ResourceVersion: list.ResourceVersion, TimeoutSeconds: &seconds,
	})
	if err != nil {
		return err
	}
	defer events.Stop()
	var now *corev1.ConfigMap
	for i := range list.Items {
		if list.Items[i].Name == key.Name {
			now = &list.Items[i]
		}
	}
	c.keep(f, now)
	for e := range events.ResultChan() {
		m, ok := e.Object.(*corev1.ConfigMap)
		switch {
		case e.Type == watch.Error || !ok:
			return fmt.Errorf("following config map %s: the API server ended it", key)
		case m.Name != key.Name:
		case e.Type == watch.Deleted:
			c.keep(f, nil)
		case e.Type == watch.Added, e.Type == watch.Modified:
			c.keep(f, m)
		}
	}
	return nil
}

// keep remembers a config map, or that there is none, unless it is too large.
func (c *ConfigMaps) keep(f *followedConfigMap, m *corev1.ConfigMap) {
	if m == nil {
		c.set(f, nil, true)
		return
	}
	if m.Size() > mostKept {
		c.set(f, nil, false)
		return
	}
	c.set(f, configMapData(m), true)
}

func (c *ConfigMaps) set(f *followedConfigMap, value map[string]any, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.value, f.known = value, known
}

// configMapData is what variables see of a config map. It is not changed afterwards.
func configMapData(m *corev1.ConfigMap) map[string]any {
	data := make(map[string]any, len(m.Data))
	for k, v := range m.Data {
		data[k] = v
	}
	metadata := map[string]any{
		"name": m.Name, "namespace": m.Namespace, "uid": string(m.UID), "resourceVersion": m.ResourceVersion,
		"labels": texts(m.Labels), "annotations": texts(m.Annotations),
	}
	return map[string]any{"metadata": metadata, "data": data}
}

func texts(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
