// Package settings reads what the ConfigMap kyverno settles before any policy is asked: which requests are let through, how
// short image references are read, about which objects the API server asks, and which successes are told.
//
// A key that cannot be read keeps what held before, and without that its default, as a whole: half of a list might let
// through what all of it does not.
package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/wildcard"
)

// ConfigMap is the name of the ConfigMap in the system namespace.
const ConfigMap = "kyverno"

// Settings are immutable.
type Settings struct {
	filters []filter
	exclude exclusions
	asked   asked

	options image.Options
	images  *image.Parser

	successes      bool
	successActions []string
}

// Defaults hold where nothing is settled: nobody and nothing is let through.
func Defaults() *Settings { return &Settings{images: image.NewParser(image.Options{})} }

// Images reads image references. It is the same one as long as nothing changes how they are read.
func (s *Settings) Images() *image.Parser { return s.images }

// SuccessEvents tells whether passes have events, and of which actions; no actions are all.
func (s *Settings) SuccessEvents() (enabled bool, actions []string) {
	return s.successes, s.successActions
}

// Error is what is wrong with one key.
type Error struct {
	Key string
	Err error
}

func (e *Error) Error() string { return "key " + e.Key + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Read reads the data of the ConfigMap. Keys of other parts and of other versions are passed over. A key that is not
// there has its default, and one that cannot be read what it had before, for which there is an error.
func Read(data map[string]string, before *Settings) (*Settings, []*Error) {
	if before == nil {
		before = Defaults()
	}
	out := Defaults()
	var errs []*Error
	read := func(key string, apply func(text string) error, keep func()) {
		text, ok := data[key]
		if text = strings.TrimSpace(text); !ok || text == "" {
			return
		}
		if err := apply(text); err != nil {
			errs = append(errs, &Error{Key: key, Err: err})
			keep()
		}
	}
	read("resourceFilters", func(text string) (err error) { out.filters, err = parseFilters(text); return err },
		func() { out.filters = before.filters })
	for i, key := range excludeKeys {
		list, kept := out.exclude.of(i), before.exclude.of(i)
		read(key, func(text string) (err error) { *list, err = parseExclusion(text); return err }, func() { *list = *kept })
	}
	read("webhooks", func(text string) error { return out.asked.selectors(text) }, func() { out.asked.objects, out.asked.namespaces = before.asked.objects, before.asked.namespaces })
	read("matchConditions", func(text string) error { return out.asked.conditions(text) }, func() { out.asked.unknown = before.asked.unknown })
	read("defaultRegistry", func(text string) error {
		out.options.DefaultRegistry = text
		return registry(text)
	}, func() { out.options.DefaultRegistry = before.options.DefaultRegistry })
	read("enableDefaultRegistryMutation", func(text string) error {
		mutate, err := boolean(text)
		out.options.KeepShort = !mutate
		return err
	}, func() { out.options.KeepShort = before.options.KeepShort })
	read("generateSuccessEvents", func(text string) (err error) { out.successes, err = boolean(text); return err },
		func() { out.successes = before.successes })
	read("successEventActions", func(text string) error { out.successActions = list(text); return nil }, func() {})
	if out.options == before.options {
		out.images = before.images
	} else {
		out.images = image.NewParser(out.options)
	}
	return out, errs
}

func boolean(text string) (bool, error) {
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%.64q is neither true nor false", text)
	}
	return b, nil
}

// registry checks a registry's host by reading an image in it.
func registry(text string) error {
	ref, err := image.Parse(text+"/image:tag", image.Options{})
	if err != nil || ref.Registry() != text {
		return fmt.Errorf("%.64q is no registry", text)
	}
	return nil
}

// list splits a text at its commas.
func list(text string) []string {
	var out []string
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// limit is the largest number of filters, or of texts in a list of exclusions: each costs time on every request.
const limit = 1024

var errLimit = errors.New("more than " + strconv.Itoa(limit) + " elements")

func patterns(texts []string) ([]wildcard.Pattern, error) {
	if len(texts) > limit {
		return nil, errLimit
	}
	out := make([]wildcard.Pattern, 0, len(texts))
	for _, s := range texts {
		p, err := wildcard.Compile(s)
		if err != nil {
			return nil, fmt.Errorf("%.64q: %w", s, err)
		}
		out = append(out, p)
	}
	return slices.Clip(out), nil
}

// Live is the settings in force. It is safe for concurrent use.
type Live struct {
	current atomic.Pointer[Settings]
	loaded  atomic.Bool
}

// NewLive returns the defaults, which are not loaded.
func NewLive() *Live {
	l := &Live{}
	l.current.Store(Defaults())
	return l
}

// Set puts settings in force.
func (l *Live) Set(s *Settings) {
	l.current.Store(s)
	l.loaded.Store(true)
}

// Loaded tells whether settings were put in force, and Current gives more than the defaults.
func (l *Live) Loaded() bool { return l.loaded.Load() }

// Current are the settings in force.
func (l *Live) Current() *Settings { return l.current.Load() }
