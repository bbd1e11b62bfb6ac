package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/signet-policy/signet/api/v1"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/match"
)

// rule compiles one authored or generated rule.
func (c *compiler) rule(in *v1.Rule, path *field.Path, fallback actions) {
	switch {
	case in.Name == "":
		c.errs = append(c.errs, field.Required(path.Child("name"), "a rule needs a name"))
	case len(in.Name) > maxRuleName:
		c.errs = append(c.errs, field.TooLong(path.Child("name"), in.Name, maxRuleName))
	}
	others := in.OtherOperations()
	for _, other := range others {
		c.others = append(c.others, field.Forbidden(path.Child(other),
			fmt.Sprintf("rule %q: %s is not supported, only verifyImages rules are evaluated", in.Name, other)))
	}
	if len(in.VerifyImages) == 0 {
		if len(others) == 0 {
			c.errs = append(c.errs, field.Required(path.Child("verifyImages"), "a rule needs an operation"))
		}
		if len(in.ImageExtractors) > 0 {
			c.errs = append(c.errs, field.Invalid(path.Child("imageExtractors"), len(in.ImageExtractors),
				fmt.Sprintf("Invalid rule spec for rule '%s', imageExtractors can only be defined for verifyImages rule", in.Name)))
		}
		return
	}
	out := &Rule{Policy: c.out, Name: in.Name, ReportProperties: in.ReportProperties, fallback: fallback}
	out.Extractors = c.extractors(in, path.Child("imageExtractors"))
	c.extracting = len(in.ImageExtractors) > 0
	out.Filter.Match = c.block(&in.Match, path.Child("match"), true)
	if in.Exclude != nil {
		before := len(c.errs)
		c.excluding = true
		if exclude := c.block(in.Exclude, path.Child("exclude"), false); len(c.errs) == before {
			out.Filter.Exclude = exclude // half of an exclude block would exclude too much
		}
		c.excluding = false
	}
	for _, b := range [][]match.Resource{out.Filter.Match.Any, out.Filter.Match.All} {
		for i := range b {
			out.Kinds = append(out.Kinds, b[i].Kinds...)
		}
	}
	out.needsRoles = out.Filter.NeedsRoles()
	out.needsNamespace = out.Filter.NeedsNamespace() || fallback.needNamespace()
	c.readsRoles = false
	out.Context = c.context(in.Context, in.Name, path.Child("context"))
	out.Preconditions = c.preconditions(in.Preconditions, in.Name, out.Context, path.Child("preconditions"))
	text, known := c.written(in, path), names(out.Context)
	if text != nil {
		out.properties = c.reportProperties(text.properties, in.Name, known, path.Child("reportProperties"))
		// A rule that ends before variables have values has only the others to show.
		out.ReportProperties = maps.Clone(in.ReportProperties)
		maps.DeleteFunc(out.ReportProperties, func(_, v string) bool { return out.properties != nil && hasVariable(v) })
	}
	for i := range in.VerifyImages {
		e := c.substitutable(in, i, text, known, path.Child("verifyImages").Index(i), fallback)
		out.Entries = append(out.Entries, e)
		out.readsRoles = out.readsRoles || e.readsRoles()
		if e.action == Enforce || out.action == 0 {
			out.action = e.action
		}
	}
	out.readsRoles = out.readsRoles || c.readsRoles
	c.out.Rules = append(c.out.Rules, out)
}

// substitutable compiles an entry that may hold variables. One that does is checked as far as it is known; what it
// demands is known when the variables have values.
func (c *compiler) substitutable(in *v1.Rule, i int, text *written, known map[string]bool, path *field.Path, fallback actions) *Entry {
	entry := &in.VerifyImages[i]
	if text == nil || i >= len(text.entries) {
		return c.entry(entry, path, in.Name, fallback)
	}
	deferred, plain := c.deferred(text.entries[i], entry, in, known, path, fallback)
	if plain != nil {
		c.literal = true
		defer func() { c.literal = false }()
		return c.entry(plain, path, in.Name, fallback)
	}
	e := c.entry(entry, path, in.Name, fallback)
	if deferred != nil {
		e.Deferred = deferred
		e.Requirement, e.Conditions = nobody("deferred"), nil
	}
	return e
}

// entryAction reads an entry's own action, which has one spelling; 0 for none.
func (c *compiler) entryAction(path *field.Path, a v1.EntryFailureAction) Action {
	switch a {
	case "":
		return 0
	case v1.EntryEnforce:
		return Enforce
	case v1.EntryAudit:
		return Audit
	}
	c.errs = append(c.errs, field.NotSupported(path, a, []v1.EntryFailureAction{v1.EntryAudit, v1.EntryEnforce}))
	return 0
}

// entry compiles one verifyImages entry.
func (c *compiler) entry(in *v1.ImageVerification, path *field.Path, rule string, fallback actions) *Entry {
	written := in
	in = c.shortcuts(in, path)
	e := &Entry{
		MutateDigest: isTrue(in.MutateDigest), VerifyDigest: isTrue(in.VerifyDigest),
		Required: isTrue(in.Required), UseCache: isTrue(in.UseCache),
		action: c.entryAction(path.Child("failureAction"), in.FailureAction), fallback: fallback,
	}
	if len(in.ImageReferences) == 0 {
		c.errs = append(c.errs, field.Invalid(path, rule, "An image reference is required"))
	}
	e.Images = c.images(path.Child("imageReferences"), in.ImageReferences, rule)
	if !slices.ContainsFunc(in.SkipImageReferences, c.later) {
		e.Skip = c.images(path.Child("skipImageReferences"), in.SkipImageReferences, rule)
	}
	if in.Type == v1.Notary {
		c.notaryEntry(in, path)
	}
	e.Credentials = c.credentials(in.ImageRegistryCredentials, path.Child("imageRegistryCredentials"))
	e.Requirement, e.Conditions = c.requirement(in, path, written)
	e.Deny = c.deny(in.Validate, path.Child("validate"))
	if e.Deny != nil && len(in.Attestations) == 0 {
		c.warn("%s: validate runs only for images of which an entry of the rule verifies attestations", path.Child("validate"))
	}
	c.entryWarnings(e, path, fallback)
	return e
}

func (c *compiler) entryWarnings(e *Entry, path *field.Path, fallback actions) {
	action := e.action
	if action == 0 {
		action = fallback.spec
	}
	if action == Audit && e.MutateDigest {
		c.warn("%s: mutateDigest has no effect for failure action Audit and is treated as false", path)
	}
	if action == Enforce && c.out.FailurePolicy == Ignore {
		c.warn("%s: Enforce with failure policy Ignore: images that cannot be checked are admitted", path)
	}
	if action == Enforce && !e.MutateDigest && !e.VerifyDigest {
		c.warn("%s: without mutateDigest and verifyDigest the tag can move after verification", path)
	}
}

// shortcuts turns the deprecated image, key and issuer into what they stand for, on a copy.
func (c *compiler) shortcuts(in *v1.ImageVerification, path *field.Path) *v1.ImageVerification {
	if in.Subject != "" && in.Issuer == "" {
		c.warn("%s: subject has no effect without issuer", path.Child("subject"))
	}
	if in.Key != "" && in.Issuer != "" {
		c.warn("%s: issuer, subject and roots have no effect beside key", path.Child("issuer"))
	}
	if in.Image == "" && in.Key == "" && in.Issuer == "" {
		return in
	}
	out := in.DeepCopy()
	if in.Image != "" {
		out.ImageReferences = append(out.ImageReferences, in.Image)
	}
	if in.Key != "" || in.Issuer != "" || len(in.Annotations) > 0 {
		// Annotations without a key or an issuer make an attestor of no kind, which is refused.
		attestor := v1.Attestor{Annotations: in.Annotations}
		switch {
		case in.Key != "":
			attestor.Keys = &v1.StaticKeyAttestor{PublicKeys: in.Key}
		case in.Issuer != "":
			attestor.Keyless = &v1.KeylessAttestor{Issuer: in.Issuer, Subject: in.Subject, Roots: in.Roots}
		}
		set := v1.AttestorSet{Entries: []v1.Attestor{attestor}}
		for i := range out.Attestations {
			out.Attestations[i].Attestors = append(out.Attestations[i].Attestors, set)
		}
		if len(out.Attestations) == 0 {
			out.Attestors = append(out.Attestors, set)
		}
	}
	return out
}

func (c *compiler) images(path *field.Path, texts []string, rule string) []image.Pattern {
	var out []image.Pattern
	for i, s := range texts {
		if c.later(s) {
			c.errs = append(c.errs, field.Invalid(path.Index(i), clip(s), fmt.Sprintf("rule %q should not have variables in image reference section", rule)))
			continue
		}
		p, err := image.CompilePattern(s)
		if err != nil {
			c.errs = append(c.errs, field.Invalid(path.Index(i), s, err.Error()))
			continue
		}
		if unanchored(s) {
			c.warn("%s: %q is not anchored: it also matches longer names", path.Index(i), s)
		}
		if why := matchless(s); why != "" {
			c.warn("%s: %q matches no image: %s", path.Index(i), clip(s), why)
		}
		out = append(out, p)
	}
	return out
}

// matchless says why no image can match a pattern; empty for one that some image may. An image always has a tag or a digest.
func matchless(s string) string {
	switch {
	case strings.Contains(s, "://"):
		return "an image reference has no scheme"
	case strings.Contains(s, " "):
		return "an image reference holds no blanks"
	case !strings.ContainsAny(s, "*?") && !strings.ContainsAny(s[strings.LastIndexByte(s, '/')+1:], ":@"):
		return "it has neither a tag or digest nor a wildcard in their place"
	}
	return ""
}

// unanchored tells whether a pattern ends in a star directly after a character of a name.
func unanchored(s string) bool {
	if len(s) < 2 || s[len(s)-1] != '*' {
		return false
	}
	switch s[len(s)-2] {
	case '/', ':', '@', '*', '?', '-', '.', '_':
		return false
	}
	return true
}
