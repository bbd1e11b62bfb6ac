package e2e

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// What Signet would not evaluate, or cannot read, is refused when somebody wants to store it, with the field's path
// (VI 2.1; seed 44).
func TestRefusedPolicies(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u := newUser(t)
	const at = "spec.rules[0].verifyImages[0]."
	keys := at + "attestors[0].entries[0].keys."
	attestor := func(a map[string]any) map[string]any {
		return map[string]any{"attestors": []any{map[string]any{"entries": []any{a}}}}
	}
	podRule := map[string]any{"any": []any{map[string]any{"resources": map[string]any{"kinds": []any{"Pod"}}}}}
	for name, c := range map[string]struct {
		policy rule
		want   string
	}{
		"not a key": {rule{key: "-----BEGIN X-----\nx"},
			keys + `publicKeys: Invalid value: "-----BEGIN X-----\nx": public key 1: not PEM: no block that begins and ends`},
		"key as a file": {rule{key: "/etc/key.pub"},
			keys + `publicKeys: Invalid value: "/etc/key.pub": file paths and URLs are not accepted as public keys; use PEM, k8s://<namespace>/<name> or a KMS URI`},
		"key as a URL": {rule{key: "https://a.test/key.pub"},
			keys + `publicKeys: Invalid value: "https://a.test/key.pub": file paths and URLs are not accepted as public keys; use PEM, k8s://<namespace>/<name> or a KMS URI`},
		"log key": {rule{keys: map[string]any{"rekor": map[string]any{"pubkey": "x"}}},
			keys + `rekor.pubkey: Invalid value: "x": public key 1: not PEM: the text does not begin with a BEGIN line`},
		"algorithm": {rule{keys: map[string]any{"signatureAlgorithm": "md5"}},
			keys + `signatureAlgorithm: Invalid value: "md5": Invalid signature algorithm provided`},
		"credentials": {rule{entry: map[string]any{"imageRegistryCredentials": map[string]any{"secrets": []any{"a/b/c"}}}},
			at + `imageRegistryCredentials.secrets[0]: Invalid value: "a/b/c": "a/b/c" is not the name of a Secret, or namespace/name`},
		"two kinds of attestors": {rule{entry: attestor(map[string]any{"keys": map[string]any{"publicKeys": shared.images.key}, "keyless": map[string]any{"issuer": "a"}})},
			at + `attestors[0].entries[0]: Invalid value: "": keys, certificates, keyless, or a nested attestor is required`},
		"notary": {rule{entry: map[string]any{"type": "Notary"}},
			at + `attestors[0].entries[0].keys: Forbidden: Keys field is not allowed for type notary`},
		"roles": {rule{spec: map[string]any{"rules": []any{map[string]any{"name": "r",
			"match":        map[string]any{"any": []any{map[string]any{"roles": []any{"a:b"}, "resources": map[string]any{"kinds": []any{"Pod"}}}}},
			"verifyImages": []any{map[string]any{"imageReferences": []any{"*"}, "required": false}}}}, "background": true}},
			`spec.rules[0].match.any[0].roles: Forbidden: only select variables are allowed in background mode. Set spec.background=false, because a background scan knows no user`},
		"validate rule": {rule{spec: map[string]any{"rules": []any{map[string]any{"name": "v", "match": podRule, "validate": map[string]any{"message": "a", "pattern": map[string]any{"a": "b"}}}}}},
			`spec.rules[0].validate: Forbidden: rule "v": validate is not supported, only verifyImages rules are evaluated`},
		"two mistakes": {rule{key: "/etc/key.pub", keys: map[string]any{"signatureAlgorithm": "md5"}},
			"[" + keys + `signatureAlgorithm: Invalid value: "md5": Invalid signature algorithm provided, ` + keys +
				`publicKeys: Invalid value: "/etc/key.pub": file paths and URLs are not accepted as public keys; use PEM, k8s://<namespace>/<name> or a KMS URI]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.policy.name = "refused-" + lower(name)
			p := c.policy.in("")
			_, err := u.dynamic.Resource(clusterPolicies).Create(t.Context(), p, metav1.CreateOptions{})
			if err == nil {
				u.withdraw(t, p)
			}
			wantBlocked(t, err, `admission webhook "validate-policy.kyverno.svc" denied the request: `+c.want)
		})
	}
}

// A policy that deserves a second thought is stored, with a warning that kubectl shows.
func TestPolicyWarnings(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns := newUser(t), namespace(t)
	u.apply(t, rule{failure: "Ignore", entry: map[string]any{"imageReferences": []any{host + "/e2e*"}}}.in(ns))
	warnings := u.warned()
	for _, want := range []string{
		"spec.rules[0].verifyImages[0]: Enforce with failure policy Ignore: images that cannot be checked are admitted",
		`spec.rules[0].verifyImages[0].imageReferences[0]: "` + host + `/e2e*" is not anchored: it also matches longer names`,
	} {
		if !slices.Contains(warnings, want) {
			t.Errorf("no warning %q in %q", want, warnings)
		}
	}
}

// The status tells what was made of a policy, and kubectl shows it.
func TestPolicyStatus(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u := newUser(t)
	p := u.apply(t, rule{name: "e2e-status", resources: map[string]any{"namespaces": []any{"nowhere"}}}.in(""))
	c := readyCondition(p)
	if c["reason"] != "Succeeded" || c["message"] != "Ready" {
		t.Errorf("condition %v", c)
	}
	counts, _, _ := unstructured.NestedMap(p.Object, "status", "rulecount")
	if counts["verifyimages"] != int64(1) || counts["validate"] != int64(0) {
		t.Errorf("rulecount %v", counts)
	}
	rules, _, _ := unstructured.NestedSlice(p.Object, "status", "autogen", "rules")
	var got []string
	for _, r := range rules {
		name, _, _ := unstructured.NestedString(r.(map[string]any), "name")
		match, _, _ := unstructured.NestedSlice(r.(map[string]any), "match", "any")
		kinds, _, _ := unstructured.NestedStringSlice(match[0].(map[string]any), "resources", "kinds")
		got = append(got, name+" "+strings.Join(kinds, ","))
	}
	want := []string{
		"autogen-check apps/v1/DaemonSet,apps/v1/Deployment,batch/v1/Job,apps/v1/StatefulSet,apps/v1/ReplicaSet,v1/ReplicationController",
		"autogen-cronjob-check batch/v1/CronJob",
	}
	if !slices.Equal(got, want) {
		t.Errorf("generated rules\ngot  %q\nwant %q", got, want)
	}
	res, err := shared.cluster.Kubectl(t.Context(), "get", "cpol", "e2e-status")
	if err != nil || res.Code != 0 {
		t.Fatal(err, res.Stderr)
	}
	lines := strings.Split(strings.TrimSpace(res.Stdout), "\n")
	head, row := strings.Fields(lines[0]), strings.Fields(lines[len(lines)-1])
	if want := []string{"NAME", "ADMISSION", "BACKGROUND", "READY", "AGE", "MESSAGE"}; !slices.Equal(head, want) {
		t.Errorf("columns %q, want %q", head, want)
	}
	if len(row) != 6 || !slices.Equal(row[:4], []string{"e2e-status", "true", "false", "True"}) || row[5] != "Ready" {
		t.Errorf("row %q", row)
	}
}

// A policy is enforced as soon as it says that it is ready: not one unsigned Pod comes through after that.
func TestA55ReadyMeansEnforced(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns := newUser(t), namespace(t)
	r := shared.registry
	repo := repository(t, "unsigned")
	r.PushImage(repo, "1", nil)
	image := host + "/" + repo + ":1"
	for _, kind := range []string{"Pod", "ConfigMap"} { // the second policy concerns a kind that no other one is about
		p := rule{name: "ready-" + strings.ToLower(kind), kinds: []any{kind}}.in(ns)
		u.apply(t, p)
		_, err := u.create(t, ns, pod("unsigned-"+strings.ToLower(kind), image))
		wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", "Pod", ns, "unsigned-"+strings.ToLower(kind), said("ready-pod", "check",
			"failed to verify image "+image+": .attestors[0].entries[0].keys: no signatures found")))
	}
	// A policy that is gone asks for nothing.
	if err := u.dynamic.Resource(policies).Namespace(ns).Delete(t.Context(), "ready-pod", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the policy to be forgotten", func() error {
		_, err := u.create(t, ns, pod("free", image))
		return err
	})
}
