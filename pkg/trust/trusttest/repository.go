// Package trusttest makes TUF repositories for tests, and mirrors that serve them well or badly.
package trusttest

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// EmptyRoot is a usable trusted root without anything in it; the spaces make another of it.
func EmptyRoot(spaces int) []byte {
	return []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"` + strings.Repeat(" ", spaces) + `}`)
}

// Roles are those of a repository.
func Roles() []string {
	return []string{metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS}
}

// Repository is a TUF repository with a key per role, and a mirror that serves it.
type Repository struct {
	// Keys are those of the roles, and Root is the newest root.json.
	Keys map[string]ed25519.PrivateKey
	Root *metadata.Metadata[metadata.RootType]
	// Initial is the first root.json.
	Initial []byte
	// Timestamp, Snapshot and Targets are the versions of what Publish makes, and Expires is its end.
	Timestamp, Snapshot, Targets int64
	Expires                      time.Time
	// Server is the mirror.
	Server *httptest.Server

	t      testing.TB
	mu     sync.Mutex
	files  map[string][]byte
	asked  []string
	answer http.HandlerFunc // instead of the files, when set
}

// NewRepository makes a repository without content. Its mirror serves until the test ends.
func NewRepository(t testing.TB) *Repository {
	t.Helper()
	r := &Repository{
		t: t, Keys: map[string]ed25519.PrivateKey{}, files: map[string][]byte{},
		Timestamp: 1, Snapshot: 1, Targets: 1, Expires: time.Now().Add(48 * time.Hour),
	}
	r.Root = metadata.Root(r.Expires)
	for _, role := range Roles() {
		r.newKey(role)
	}
	r.Initial = r.SignRoot(r.Keys[metadata.ROOT])
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Server.Close)
	return r
}

// ServeHTTP answers as the mirror.
func (r *Repository) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	answer, b := r.answer, r.files[req.URL.Path]
	r.asked = append(r.asked, req.URL.Path)
	r.mu.Unlock()
	switch {
	case answer != nil:
		answer(w, req)
	case b == nil:
		http.NotFound(w, req)
	default:
		_, _ = w.Write(b)
	}
}

// Requests is how often the mirror was asked.
func (r *Repository) Requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.asked)
}

// Instead makes the mirror answer otherwise; nil lets it serve the repository again.
func (r *Repository) Instead(h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = h
}

// Put replaces one file of the mirror; nil removes it.
func (r *Repository) Put(name string, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b == nil {
		delete(r.files, "/"+name)
		return
	}
	r.files["/"+name] = b
}

// State is what the mirror serves, to go back to.
func (r *Repository) State() map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.files)
}

// GoBack makes the mirror serve an earlier state.
func (r *Repository) GoBack(state map[string][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files = maps.Clone(state)
}

// newKey gives a role a new key in the place of its old one.
func (r *Repository) newKey(role string) {
	r.t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	key, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, id := range r.Root.Signed.Roles[role].KeyIDs {
		if err := r.Root.Signed.RevokeKey(id, role); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := r.Root.Signed.AddKey(key, role); err != nil {
		r.t.Fatal(err)
	}
	r.Keys[role] = private
}

// SignRoot is the root.json, signed by all the keys.
func (r *Repository) SignRoot(keys ...ed25519.PrivateKey) []byte {
	r.t.Helper()
	r.Root.ClearSignatures()
	for _, k := range keys {
		sign(r.t, r.Root, k)
	}
	return encode(r.t, r.Root)
}

// Rotate publishes the next root.json, in which the roles have new keys.
func (r *Repository) Rotate(changed ...string) {
	r.t.Helper()
	old := r.Keys[metadata.ROOT]
	for _, role := range changed {
		r.newKey(role)
	}
	r.Root.Signed.Version++
	r.Root.Signed.Expires = r.Expires
	keys := []ed25519.PrivateKey{r.Keys[metadata.ROOT]}
	if !old.Equal(keys[0]) {
		keys = append(keys, old)
	}
	r.Put(fmt.Sprintf("%d.root.json", r.Root.Signed.Version), r.SignRoot(keys...))
}

// Publish serves the content as trusted_root.json, under the current versions.
func (r *Repository) Publish(content []byte) {
	r.t.Helper()
	file, err := metadata.TargetFile().FromBytes("trusted_root.json", content, "sha256", "sha512")
	if err != nil {
		r.t.Fatal(err)
	}
	targets := metadata.Targets(r.Expires)
	targets.Signed.Version, targets.Signed.Targets["trusted_root.json"] = r.Targets, file
	snapshot := metadata.Snapshot(r.Expires)
	snapshot.Signed.Version, snapshot.Signed.Meta["targets.json"] = r.Snapshot, metadata.MetaFile(r.Targets)
	timestamp := metadata.Timestamp(r.Expires)
	timestamp.Signed.Version, timestamp.Signed.Meta["snapshot.json"] = r.Timestamp, metadata.MetaFile(r.Snapshot)
	sign(r.t, targets, r.Keys[metadata.TARGETS])
	sign(r.t, snapshot, r.Keys[metadata.SNAPSHOT])
	sign(r.t, timestamp, r.Keys[metadata.TIMESTAMP])
	r.Put(fmt.Sprintf("%d.targets.json", r.Targets), encode(r.t, targets))
	r.Put(fmt.Sprintf("%d.snapshot.json", r.Snapshot), encode(r.t, snapshot))
	r.Put("timestamp.json", encode(r.t, timestamp))
	for _, sum := range file.Hashes {
		r.Put(fmt.Sprintf("targets/%x.trusted_root.json", []byte(sum)), content)
	}
}

// Next publishes the content as a newer state.
func (r *Repository) Next(content []byte) {
	r.t.Helper()
	r.Timestamp++
	r.Snapshot++
	r.Targets++
	r.Publish(content)
}

func sign[T metadata.Roles](t testing.TB, m *metadata.Metadata[T], key crypto.PrivateKey) {
	t.Helper()
	signer, err := signature.LoadSigner(key, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Sign(signer); err != nil {
		t.Fatal(err)
	}
}

func encode[T metadata.Roles](t testing.TB, m *metadata.Metadata[T]) []byte {
	t.Helper()
	b, err := m.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
