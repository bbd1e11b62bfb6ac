package cli

import (
	"cmp"
	"slices"
	"strings"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// report puts together what was judged and seen.
func (j *judgement) report() *Report {
	r := &Report{Image: j.flags.ref.String(), Rules: []Rule{}, explain: j.flags.command == explainCommand}
	img := j.pinned()
	r.Digest = img.Digest().String()
	a := j.index()
	opened := j.open(img)
	for i := range j.results {
		r.Rules = append(r.Rules, j.rule(&j.results[i], a, opened))
	}
	if r.explain {
		for _, p := range opened {
			r.Places = append(r.Places, j.place(p, a))
		}
		r.Requests = j.requests(img)
		r.Credentials = j.probed
	}
	j.conclude(r)
	return r
}

// conclude gives the verdict and the exit code.
func (j *judgement) conclude(r *Report) {
	if j.problem != nil && len(j.results) == 0 {
		r.Problem = string(j.problem.Code) + ": " + j.problem.Text
	}
	if len(j.policies) == 0 {
		r.exit = ExitVerified
		incomplete := slices.ContainsFunc(r.Places, func(p Place) bool { return len(p.Problems) > 0 || p.Truncated })
		if j.problem != nil || incomplete {
			r.exit = ExitUnchecked
		}
		return
	}
	worst := engine.Status(0)
	for i := range j.results {
		worst = max(worst, j.results[i].Status)
	}
	switch worst {
	case engine.Pass:
		r.Verdict, r.exit = Verified, ExitVerified
	case engine.Fail:
		r.Verdict, r.exit = Refused, ExitRefused
	default:
		r.Verdict, r.exit = Unchecked, ExitUnchecked
	}
	if len(j.results) == 0 && r.Problem == "" {
		r.Problem = "no rule judges this image in a Pod in namespace " + j.namespace
	}
}

// pinned is the image that was judged; zero when its tag could not be resolved.
func (j *judgement) pinned() image.Pinned {
	if p, ok, err := j.flags.ref.Pinned(); ok && err == nil {
		return p
	}
	return j.seen.pinned[j.flags.ref]
}

// attestors tell where attestors stand.
type attestors map[*verify.Attestor][]standing

// standing is an attestor's place in a rule.
type standing struct {
	rule *policy.Rule
	path string
}

// index finds the attestors of the rules that have a result. The engine judges equal requirements by any one of them.
func (j *judgement) index() attestors {
	byRequirement := map[string][]*policy.Rule{}
	requirements := map[*verify.Requirement]bool{}
	for i := range j.results {
		rule := j.results[i].Rule
		for _, e := range rule.Entries {
			if e.Requirement == nil {
				continue
			}
			f := e.Requirement.Fingerprint
			requirements[e.Requirement] = true
			if !slices.Contains(byRequirement[f], rule) {
				byRequirement[f] = append(byRequirement[f], rule)
			}
		}
	}
	a := attestors{}
	for req := range requirements {
		for i := range req.Sets {
			a.set(&req.Sets[i], byRequirement[req.Fingerprint])
		}
		for i := range req.Attestations {
			for k := range req.Attestations[i].Sets {
				a.set(&req.Attestations[i].Sets[k], byRequirement[req.Fingerprint])
			}
		}
	}
	return a
}

func (a attestors) set(s *verify.Set, rules []*policy.Rule) {
	for _, e := range s.Entries {
		if e.Nested != nil {
			a.set(e.Nested, rules)
			continue
		}
		for _, rule := range rules {
			a[e.Attestor] = append(a[e.Attestor], standing{rule, e.Path})
		}
	}
}

// opened is a repository with its candidates.
type opened struct {
	found
	candidates []verify.Candidate
}

// open orders what was found, the image's own repository first.
func (j *judgement) open(img image.Pinned) []opened {
	list := make([]opened, 0, len(j.seen.found))
	for _, f := range j.seen.found {
		if f.notary != "" && len(j.policies) == 0 && f.empty() {
			continue // only a guess
		}
		o := opened{found: f}
		if f.attached != nil {
			verifier := j.seen.verifier
			if f.notary != "" {
				verifier = j.seen.notary
			}
			o.candidates = verifier.Candidates(img, f.attached.Artifacts)
		}
		list = append(list, o)
	}
	own := img.Repository()
	slices.SortFunc(list, func(x, y opened) int {
		if (x.repository == own) != (y.repository == own) {
			if x.repository == own {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.repository, y.repository)
	})
	return list
}

func (j *judgement) rule(r *engine.Result, a attestors, places []opened) Rule {
	out := Rule{
		Policy: r.Rule.Policy.String(), Rule: r.Rule.Name, Action: r.Rule.Action(&match.Attributes{Namespace: j.namespace}).String(),
		Status: r.Status.String(), Reason: string(r.Reason), Message: r.Message,
	}
	if r.Status != engine.Pass {
		return out
	}
	for _, t := range j.seen.trials {
		if t.err != nil {
			continue
		}
		for _, s := range a[t.attestor] {
			if s.rule == r.Rule {
				out.Signers = append(out.Signers, signer(&t, s.path, places))
			}
		}
	}
	return out
}

// signer describes an accepted candidate. Of what it says of itself only what the accepting attestor checked is taken.
func signer(t *trial, path string, places []opened) Signer {
	s := Signer{Attestor: path}
	c := candidateOf(t, places)
	if c == nil {
		return s
	}
	s.Place, s.Manifest = c.Artifact.Place, c.Artifact.Manifest.String()
	d := describe(c)
	switch a := t.attestor; {
	case a.Key != nil:
		s.KeyHint = verify.KeyHint(a.Key)
	case a.Certificates != nil && a.Certificates.Leaf != nil:
		s.KeyHint = verify.KeyHint(a.Certificates.Leaf.PublicKey)
	case d.Certificate != nil:
		s.Identities, s.Issuer, s.KeyHint = d.Certificate.Subjects, d.Certificate.Issuer, d.KeyHint
	}
	// With several entries it is not known which of them was found good.
	if len(d.LogEntries) == 1 && d.LogEntries[0].Promised && !t.attestor.IgnoreLog {
		e := d.LogEntries[0]
		s.LogIndex, s.LoggedAt = &e.Index, &e.Time
	}
	return s
}

func candidateOf(t *trial, places []opened) *verify.Candidate {
	for i := range places {
		for k := range places[i].candidates {
			if c := &places[i].candidates[k]; t.repository == places[i].repository && t.candidate == identify(c) {
				return c
			}
		}
	}
	return nil
}

func (j *judgement) place(o opened, a attestors) Place {
	p := Place{Repository: o.repository, Candidates: []Candidate{}}
	if o.err != nil {
		p.Problems = append(p.Problems, problem(o.err))
	}
	if o.attached != nil {
		p.Truncated = o.attached.Truncated
		for _, err := range o.attached.Problems {
			p.Problems = append(p.Problems, problem(err))
		}
	}
	for i := range o.candidates {
		p.Candidates = append(p.Candidates, j.candidate(&o.candidates[i], o.repository, a))
	}
	return p
}

func problem(err error) Problem {
	r := reason.Of(err)
	return Problem{Reason: string(r.Code), Message: r.Text, Unreachable: r.Unreachable}
}

func (j *judgement) candidate(c *verify.Candidate, repository string, a attestors) Candidate {
	d := describe(c)
	out := Candidate{
		Place: c.Artifact.Place, Manifest: c.Artifact.Manifest.String(), Format: d.Format,
		MediaType: c.Artifact.MediaType, ArtifactType: c.Artifact.ArtifactType, Predicate: d.Predicate,
		KeyHint: d.KeyHint, Annotations: d.Annotations, Timestamps: d.Timestamps, Problems: d.Problems,
	}
	if d.Certificate != nil {
		certificate := Certificate(*d.Certificate)
		out.Certificate = &certificate
	}
	for _, e := range d.LogEntries {
		entry := LogEntry{Kind: e.Kind, Index: e.Index}
		if !e.Time.IsZero() {
			entry.Time = &e.Time
		}
		out.LogEntries = append(out.LogEntries, entry)
	}
	if c.Err != nil {
		broken := problem(c.Err)
		out.Broken = &broken
		return out
	}
	out.Judgements = j.judgements(identify(c), repository, a)
	if len(out.Judgements) == 0 {
		out.NotJudged = j.notJudged(c)
	}
	return out
}

func (j *judgement) judgements(candidate, repository string, a attestors) []Judgement {
	var out []Judgement
	for _, t := range j.seen.trials {
		if t.candidate != candidate || t.repository != repository {
			continue
		}
		for _, s := range a[t.attestor] {
			v := Judgement{Attestor: s.rule.Policy.String() + "/" + s.rule.Name + " " + s.path, Accepted: t.err == nil}
			if t.err != nil {
				v.Reason, v.Message = string(t.err.Code), t.err.Text
			}
			out = append(out, v)
		}
	}
	slices.SortStableFunc(out, func(x, y Judgement) int { return cmp.Compare(x.Attestor, y.Attestor) })
	return out
}

func (j *judgement) notJudged(c *verify.Candidate) string {
	switch {
	case len(j.results) == 0:
		return "nobody was named who must have signed"
	case c.Signature || !c.Statement:
		return enough
	}
	var signatures, other bool
	for i := range j.results {
		for _, e := range j.results[i].Rule.Entries {
			if e.Requirement == nil {
				continue
			}
			if len(e.Requirement.Sets) > 0 {
				if e.Requirement.AnyStatement {
					return enough
				}
				signatures = true
			}
			for k := range e.Requirement.Attestations {
				if e.Requirement.Attestations[k].Type == c.Predicate {
					return enough
				}
				other = true
			}
		}
	}
	if other && !signatures {
		return "nobody asks for attestations of this predicate type"
	}
	return "a statement of this predicate type is no image signature, unless the type is SigstoreBundle"
}

// enough is why a candidate was not judged that might have been.
const enough = "nobody had to look at it"

// The ranks of requests, in the order in which explain shows them.
var requestRanks = []string{
	"token", "image tag", "image manifest", "signature tag", "attestation tag", "referrers API", "fallback tag", "manifest",
	"blob",
}

// requests orders what was asked. What was asked several times stays in the order of time.
func (j *judgement) requests(img image.Pinned) []Request {
	out := make([]Request, 0, len(j.seen.requests))
	for _, seen := range j.seen.requests {
		out = append(out, Request{For: asked(seen.URL, string(seen.Kind), img), URL: seen.URL, Status: seen.Status})
	}
	slices.SortStableFunc(out, func(x, y Request) int {
		return cmp.Or(cmp.Compare(slices.Index(requestRanks, x.For), slices.Index(requestRanks, y.For)), cmp.Compare(x.URL, y.URL))
	})
	return out
}

// asked names what a request was for.
func asked(url, kind string, img image.Pinned) string {
	last := url[strings.LastIndexByte(url, '/')+1:]
	tag := "sha256-" + img.Digest().Hex()
	switch {
	case kind == "referrers":
		return "referrers API"
	case kind == "tag" && last == tag+".sig":
		return "signature tag"
	case kind == "tag" && last == tag+".att":
		return "attestation tag"
	case kind == "tag" && last == tag:
		return "fallback tag"
	case kind == "tag":
		return "image tag"
	case kind == "manifest" && last == img.Digest().String():
		return "image manifest"
	}
	return kind
}
