package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	v1 "github.com/signet-policy/signet/api/v1"
)

// The lab's policy gets the new key, and is otherwise the one in config/samples.
func TestWritePolicy(t *testing.T) {
	t.Parallel()
	m := &machine{lab: t.TempDir()}
	const key = "-----BEGIN PUBLIC KEY-----\nbmV3\n-----END PUBLIC KEY-----\n"
	if err := os.WriteFile(filepath.Join(m.lab, "cosign.pub"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.writePolicy(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(m.lab, "verify-signed-images.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var p v1.ClusterPolicy
	if err := yaml.UnmarshalStrict(raw, &p); err != nil {
		t.Fatal(err)
	}
	if got := p.Spec.Rules[0].VerifyImages[0].Attestors[0].Entries[0].Keys.PublicKeys; strings.TrimSpace(got) != strings.TrimSpace(key) {
		t.Errorf("%q", got)
	}
}

// What is missing is told, all of it, and that nothing was checked.
func TestLacking(t *testing.T) {
	t.Parallel()
	if err := lacking(nil); err != nil {
		t.Error(err)
	}
	err := lacking([]string{"not root", "no runc"})
	if err == nil {
		t.Fatal("nothing is missing")
	}
	for _, part := range []string{"NOTHING WAS CHECKED", "not root", "no runc"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}
