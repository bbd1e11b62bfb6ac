package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-policy/signet/pkg/trust/trusttest"
	"github.com/signet-policy/signet/test/env"
)

// rooted is a namespace whose policy needs the trusted root, and one whose policy does not.
type rooted struct {
	*user
	t          *testing.T
	signet     *env.Signet
	needs, not string
	image      string
	count      int
	trusted    string
}

// newRooted starts Signet with the arguments. Its tests are not parallel: they need a Signet for themselves.
func newRooted(t *testing.T, args ...string) *rooted {
	t.Helper()
	raw, err := os.ReadFile(shared.cosign.TrustedRoot)
	if err != nil {
		t.Fatal(err)
	}
	r := &rooted{t: t, trusted: string(raw)}
	r.signet = shared.runWith(t, args...)
	r.user = newUser(t)
	r.needs, r.not = namespace(t), namespace(t)
	r.apply(t, rule{}.in(r.needs))
	r.apply(t, rule{keys: map[string]any{"rekor": map[string]any{"ignoreTlog": true}}}.in(r.not))
	// By digest, so that a verdict that was found once would be used again.
	repo := repository(t, "rooted")
	r.image = push(shared.registry, repo, "1", &shared.images.signed) + "@" + shared.images.signed.digest
	return r
}

// try creates a Pod that needs the root.
func (r *rooted) try() error {
	r.t.Helper()
	r.count++
	_, err := r.create(r.t, r.needs, pod(fmt.Sprintf("pod-%d", r.count), r.image))
	return err
}

// admits waits until images that need the root are admitted, refuses until they are refused with the text.
func (r *rooted) admits() {
	r.t.Helper()
	eventually(r.t, "the image to be admitted", r.try)
}

func (r *rooted) refuses(text string) {
	r.t.Helper()
	eventually(r.t, "the image to be refused", func() error {
		if err := r.try(); err == nil || !strings.Contains(unfolded(err.Error()), text) {
			return fmt.Errorf("the answer is %v", err) //nolint:errorlint // may be nil
		}
		return nil
	})
}

// logs waits for a line of Signet's log.
func (r *rooted) logs(text string) {
	r.t.Helper()
	eventually(r.t, "a line of the log: "+text, func() error {
		if tail := r.signet.Tail(200); !strings.Contains(tail, text) {
			return fmt.Errorf("it ends with %.300s", tail)
		}
		return nil
	})
}

// needless creates a Pod that needs no root.
func (r *rooted) needless() {
	r.t.Helper()
	r.count++
	r.mustCreate(r.t, r.not, pod(fmt.Sprintf("pod-%d", r.count), r.image))
}

// set puts the content into the ConfigMap.
func (r *rooted) set(content string) {
	r.t.Helper()
	maps := r.CoreV1().ConfigMaps(env.SystemNamespace)
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "signet-trusted-root"}, Data: map[string]string{"trusted_root.json": content}}
	_, err := maps.Update(r.t.Context(), m, metav1.UpdateOptions{})
	if err != nil {
		_, err = maps.Create(r.t.Context(), m, metav1.CreateOptions{})
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.remove)
}

func (r *rooted) remove() {
	_ = r.CoreV1().ConfigMaps(env.SystemNamespace).Delete(contextOf(r.t), "signet-trusted-root", metav1.DeleteOptions{})
}

const (
	inConfigMap = "--trustedRootConfigMap=" + env.SystemNamespace + "/signet-trusted-root"
	noMirror    = "--tufMirror=http://127.0.0.1:1"
	emptyRoot   = `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`
)

// A-41, VI 6.13(4): the root in a ConfigMap is followed while Signet runs, verdicts change with it, and the last good one
// stays in force when the ConfigMap is spoiled or taken away.
func TestA41TrustedRootConfigMap(t *testing.T) {
	r := newRooted(t, inConfigMap)
	r.needless()
	r.refuses("has given no trusted root yet")
	r.set("{}")
	r.logs("no usable trusted root")
	r.refuses("has given no trusted root yet")
	r.set(r.trusted)
	r.admits()
	r.set("garbage")
	r.logs(`err="the ConfigMap kyverno/signet-trusted-root: not a Sigstore trusted root`)
	r.admits()
	// The verdict of a moment ago is in the cache, and does not count under another root.
	r.set(emptyRoot)
	r.refuses("no transparency log entry verifies")
	r.set(r.trusted)
	r.admits()
	r.remove()
	r.logs("is gone; the last root stays in force")
	r.admits()
	r.needless()
}

// Seed 43: with a root in a ConfigMap, TUF is not asked.
func TestTrustedRootConfigMapBeforeTUF(t *testing.T) {
	r := newRooted(t, "--trustedRootFile="+shared.cosign.TrustedRoot)
	r.set(r.trusted)
	r = newRooted(t, inConfigMap, "--enableTuf", noMirror)
	r.admits()
}

// VI 6.13(3), (4), 6.14(1): a repository that cannot be reached stops nothing but what needs the root, and that is
// "could not check", which the failure policy decides.
func TestTUFUnreachable(t *testing.T) {
	r := newRooted(t, "--enableTuf", noMirror)
	r.needless()
	r.refuses("the TUF repository http://127.0.0.1:1 could not be connected to")
	ns := namespace(t)
	r.apply(t, rule{failure: "Ignore"}.in(ns))
	r.warned()
	r.mustCreate(t, ns, pod("ignored", r.image))
	if w := strings.Join(r.warned(), "\n"); !strings.Contains(w, "could not be connected to") {
		t.Errorf("warnings: %s", w)
	}
}

// VI 6.13(3): the repository is asked when the first image needs the root, and not before (seed 42).
func TestTUF(t *testing.T) {
	raw, err := os.ReadFile(shared.cosign.TrustedRoot)
	if err != nil {
		t.Fatal(err)
	}
	tuf := trusttest.NewRepository(t)
	tuf.Publish(raw)
	r := newRooted(t, "--enableTuf", "--tufMirror="+tuf.Server.URL, "--tufRootRaw="+base64.StdEncoding.EncodeToString(tuf.Initial))
	r.needless()
	if n := tuf.Requests(); n != 0 {
		t.Errorf("%d requests before anybody needed the root", n)
	}
	if err := r.try(); err != nil {
		t.Errorf("the first image that needs the root waits for it: %v", err)
	}
	if tuf.Requests() == 0 {
		t.Error("the repository was not asked")
	}

	file := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(file, trusttest.NewRepository(t).Initial, 0o600); err != nil {
		t.Fatal(err)
	}
	r = newRooted(t, "--enableTuf", "--tufMirror="+tuf.Server.URL, "--tufRoot="+file)
	r.refuses("has metadata that is not signed as its root demands")
}
