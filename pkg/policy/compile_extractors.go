package policy

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/expr"
	"github.com/signet-policy/signet/pkg/extract"
)

// extractors compiles the places of images that a rule names itself. A kind of which they cannot be compiled is left
// without any, so that a stored policy refuses its objects instead of finding nothing in them.
func (c *compiler) extractors(in *v1.Rule, path *field.Path) extract.Custom {
	if len(in.ImageExtractors) == 0 {
		return nil
	}
	out := extract.Custom{}
	for _, kind := range slices.Sorted(maps.Keys(in.ImageExtractors)) {
		out[kind] = nil
		if kind == "" || strings.ContainsAny(kind, "/*?.") {
			c.errs = append(c.errs, field.Invalid(path.Key(kind), kind, "must be the name of a kind, without group and version"))
			continue
		}
		before := len(c.errs)
		var places []extract.Place
		for i := range in.ImageExtractors[kind] {
			if p, ok := c.place(&in.ImageExtractors[kind][i], path.Key(kind).Index(i), in); ok {
				places = append(places, p)
			}
		}
		if len(c.errs) == before {
			out[kind] = places
		}
	}
	return out
}

func (c *compiler) place(in *v1.ImageExtractorConfig, path *field.Path, rule *v1.Rule) (extract.Place, bool) {
	before := len(c.errs)
	for _, f := range []struct{ name, text string }{
		{"path", in.Path}, {"value", in.Value}, {"key", in.Key}, {"name", in.Name}, {"filter", in.Filter}, {"jmesPath", in.JMESPath},
	} {
		c.noVariable(path.Child(f.name), f.text)
	}
	var convert func(string) (string, error)
	if in.JMESPath != "" {
		query, err := expr.CompileQuery(in.JMESPath)
		if err != nil {
			c.errs = append(c.errs, field.Invalid(path.Child("jmesPath"), in.JMESPath, err.Error()))
		}
		for i := range rule.VerifyImages {
			if c.mutatesDigests(&rule.VerifyImages[i]) {
				c.errs = append(c.errs, field.Forbidden(path.Child("jmesPath"),
					"jmespath may not be used in an image extractor when mutating digests with verify images"))
				break
			}
		}
		if slices.ContainsFunc(rule.VerifyImages, func(e v1.ImageVerification) bool { return isTrue(e.VerifyDigest) }) {
			c.warn("%s: no digest can be written through it, so that verifyDigest refuses images without one", path.Child("jmesPath"))
		}
		convert = func(text string) (string, error) { return converted(query, text) }
	}
	place, err := extract.CompilePlace(in.Path, in.Value, in.Key, in.Name, convert)
	if err != nil {
		c.errs = append(c.errs, field.Invalid(path, in.Path, err.Error()))
	}
	if in.Filter != "" && err == nil {
		if place, err = place.Only(in.Filter); err != nil {
			c.errs = append(c.errs, field.Invalid(path.Child("filter"), in.Filter, err.Error()))
		}
	}
	return place, len(c.errs) == before
}

// mutatesDigests tells whether an entry mutates digests as far as the policy itself says: overrides are not looked at.
func (c *compiler) mutatesDigests(in *v1.ImageVerification) bool {
	return isTrue(in.MutateDigest) && in.FailureAction != v1.EntryAudit &&
		(in.FailureAction != "" || strings.EqualFold(string(c.spec.ValidationFailureAction), "enforce"))
}

// conversion bounds what is spent on turning one text into a reference.
var conversion = expr.Limits{Steps: 100_000, Bytes: 1 << 20}

var errNoText = errors.New("the jmesPath of an image extractor must give a string")

func converted(query *expr.Query, text string) (string, error) {
	value, err := query.On(context.Background(), expr.NewScope(expr.Env{Limits: conversion}), text)
	if err != nil {
		return "", err
	}
	out, ok := value.(string)
	if !ok {
		return "", errNoText
	}
	return out, nil
}
