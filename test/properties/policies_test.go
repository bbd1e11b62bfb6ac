package properties

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Another policy, of either kind, whatever it does on a violation or an error, admits nothing that was denied, and takes no
// cause out of a denial.
func TestAnotherPolicy(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := l.replica(t, true, true)
	rapid.Check(t, func(rt *rapid.T) {
		policies := l.material.policies(1, 2).Draw(rt, "policies")
		another := l.material.policy(rapid.SampledFrom([]string{"another", "z-another"}).Draw(rt, "name"), 2).Draw(rt, "another policy")
		o := l.material.object().Draw(rt, "object")
		p.force(rt, policies)
		before := p.admit(rt, o)
		alone := map[string]*answer{}
		for _, path := range inOrder() {
			alone[path] = p.ask(rt, path, o)
		}
		p.force(rt, append(slices.Clone(policies), another))
		// What one policy puts in satisfies another that demands a digest: there, only what a path says of the same object counts.
		if after := p.admit(rt, o); after.allowed && !before.allowed && !demandsDigests(policies) {
			rt.Fatalf("denied by %s before, and admitted with another policy", before.by)
		}
		for _, path := range inOrder() {
			then := p.ask(rt, path, o)
			if then.Allowed && !alone[path].Allowed {
				rt.Fatalf("%s denied it before, and not with another policy", path)
			}
			causes := then.causes(rt)
			for rule, text := range alone[path].causes(rt) {
				if causes[rule] != text {
					rt.Fatalf("%s: %s said %q, and with another policy %q", path, rule, text, causes[rule])
				}
			}
			outcomes := then.outcomes()
			for of, status := range alone[path].outcomes() {
				if outcomes[of] != status {
					rt.Fatalf("%s: %s was %s, and with another policy %q", path, of, status, outcomes[of])
				}
			}
		}
	})
}

// demandsDigests tells whether a policy demands digests that it does not put in.
func demandsDigests(policies []*madePolicy) bool {
	for _, p := range policies {
		for _, r := range p.Rules {
			if slices.ContainsFunc(r.Entries, func(e madeEntry) bool { return e.Digest && !e.Mutate }) {
				return true
			}
		}
	}
	return false
}

// An exception changes nothing but the rules it names, and makes nothing worse.
func TestExceptions(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := l.replica(t, true, true)
	rapid.Check(t, func(rt *rapid.T) {
		policies := l.material.policies(1, 3).Draw(rt, "policies")
		for _, one := range policies {
			one.One = false // the rule after one that is left out has its turn: that is another test's
		}
		excepted := rapid.SampledFrom(policies).Draw(rt, "excepted policy")
		rule := rapid.SampledFrom(excepted.Rules).Draw(rt, "excepted rule").Name
		name := excepted.Name
		if excepted.Namespace != "" {
			name = excepted.Namespace + "/" + name
		}
		o := l.material.object().Draw(rt, "object")
		p.force(rt, policies)
		alone := map[string]*answer{}
		for _, path := range inOrder() {
			alone[path] = p.ask(rt, path, o)
		}
		// Of a rule about Pods there is another one for what makes Pods, with a name of its own.
		named := []string{rule, "autogen-" + rule}
		p.force(rt, policies, &madeException{Policy: name, Rule: "*" + rule})
		isNamed := func(of string) bool {
			policy, rest, _ := strings.Cut(of, " ")
			rule, _, _ := strings.Cut(rest, " ")
			return policy == name && slices.Contains(named, rule)
		}
		for _, path := range inOrder() {
			then := p.ask(rt, path, o)
			if alone[path].Allowed && !then.Allowed {
				rt.Fatalf("%s: denied because of an exception", path)
			}
			others := func(a *answer) map[string]string {
				out := a.outcomes()
				maps.DeleteFunc(out, func(of, _ string) bool { return isNamed(of) })
				return out
			}
			if diff := cmp.Diff(others(alone[path]), others(then)); diff != "" {
				rt.Fatalf("%s: the exception changes other rules (-without +with):\n%s", path, diff)
			}
			for of, status := range then.outcomes() {
				if isNamed(of) && status != "skip" {
					rt.Fatalf("%s: %s is %s in spite of the exception", path, of, status)
				}
			}
		}
	})
}

// skipImageReferences changes nothing but what is said of the images that it names, in the rule that has it.
func TestSkips(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := l.replica(t, true, true)
	rapid.Check(t, func(rt *rapid.T) {
		policies := l.material.policies(1, 2).Draw(rt, "policies")
		for _, one := range policies {
			one.One = false
		}
		skipping := rapid.SampledFrom(policies).Draw(rt, "which policy")
		rule := rapid.IntRange(0, len(skipping.Rules)-1).Draw(rt, "which rule")
		entry := rapid.IntRange(0, len(skipping.Rules[rule].Entries)-1).Draw(rt, "which entry")
		left := repository(l.material.image().Draw(rt, "skipped image").name)
		o := l.material.object().Draw(rt, "object")
		p.force(rt, policies)
		alone := map[string]*answer{}
		for _, path := range inOrder() {
			alone[path] = p.ask(rt, path, o)
		}
		e := &skipping.Rules[rule].Entries[entry]
		e.Skip = append(slices.Clone(e.Skip), left+"*")
		p.force(rt, policies)
		key := skipping.Name
		if skipping.Namespace != "" {
			key = skipping.Namespace + "/" + key
		}
		concerned := func(of string) bool {
			parts := strings.SplitN(of, " ", 3)
			return parts[0] == key && strings.HasSuffix(parts[1], skipping.Rules[rule].Name) && strings.HasPrefix(parts[2], left)
		}
		for _, path := range inOrder() {
			then := p.ask(rt, path, o)
			if alone[path].Allowed && !then.Allowed {
				rt.Fatalf("%s: denied because of an image that is skipped", path)
			}
			before, after := alone[path].outcomes(), then.outcomes()
			for _, all := range []map[string]string{before, after} {
				maps.DeleteFunc(all, func(of, _ string) bool { return concerned(of) })
			}
			if diff := cmp.Diff(before, after); diff != "" {
				rt.Fatalf("%s: a skipped image changes what is said of others (-before +after):\n%s", path, diff)
			}
		}
	})
}
