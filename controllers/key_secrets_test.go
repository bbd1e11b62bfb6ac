package controllers

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// what may stand in a Secret, and what is made of it.
func TestA40PublicKeyOfSecret(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ data, err string }{
		"key":              {key, ""},
		"blanks around it": {"\n " + key + "\r\n\n", ""},
		"two keys":         {key + "\n" + key, "holds 2 public keys, and a Secret stands for exactly one"},
		"private key":      {"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\neA==\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n", "it is a private key"},
		"key and private":  {key + "\n-----BEGIN EC PRIVATE KEY-----\neA==\n-----END EC PRIVATE KEY-----\n", "it is a private key"},
		"certificate":      {"-----BEGIN CERTIFICATE-----\neA==\n-----END CERTIFICATE-----\n", "it is a certificate, not a public key"},
		"trailing garbage": {key + "\ngarbage", "not PEM"},
		"leading garbage":  {"garbage\n" + key, "not PEM"},
		"garbage":          {"garbage", "not PEM"},
		"empty":            {"", "empty"},
		"blank":            {" \n", "empty"},
		"no such entry":    {"-", "the Secret has no entry cosign.pub"},
		"broken key":       {"-----BEGIN PUBLIC KEY-----\neA==\n-----END PUBLIC KEY-----\n", "malformed"},
		"too long":         {key + strings.Repeat("\n", 300<<10), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			secret := &corev1.Secret{Data: map[string][]byte{"cosign.key": []byte(key), publicKeyEntry: []byte(c.data)}}
			if c.data == "-" {
				delete(secret.Data, publicKeyEntry)
			}
			got, err := publicKeyOf(secret)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || (got == nil) != (err != nil) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// secretAPI is the API server's part about one Secret: a list, and a watch whose events come from a channel.
type secretAPI struct {
	mu     sync.Mutex
	status int
	list   []corev1.Secret
	events chan metav1.WatchEvent
	asked  []string
}

func (a *secretAPI) set(status int, list ...corev1.Secret) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status, a.list = status, list
}

func (a *secretAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	a.mu.Lock()
	status, list := a.status, a.list
	a.asked = append(a.asked, r.URL.Path+" "+q.Get("fieldSelector"))
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if status != 0 {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(&metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(status), Reason: metav1.StatusReason(http.StatusText(status))}) //nolint:gosec // an HTTP status
		return
	}
	if q.Get("watch") == "" {
		_ = json.NewEncoder(w).Encode(&corev1.SecretList{TypeMeta: metav1.TypeMeta{Kind: "SecretList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: list})
		return
	}
	if q.Get("sendInitialEvents") != "" {
		w.WriteHeader(http.StatusUnprocessableEntity) // an API server without that: the list is asked for instead
		_ = json.NewEncoder(w).Encode(&metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: 422, Reason: metav1.StatusReasonInvalid})
		return
	}
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case e, ok := <-a.events:
			if !ok {
				return
			}
			_ = json.NewEncoder(w).Encode(e)
			w.(http.Flusher).Flush()
		}
	}
}

func secretWith(version, text string) corev1.Secret {
	return corev1.Secret{TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "signer", UID: "u", ResourceVersion: version},
		Data:       map[string][]byte{publicKeyEntry: []byte(text)}}
}

func event(t *testing.T, kind string, s corev1.Secret) metav1.WatchEvent {
	t.Helper()
	raw, err := json.Marshal(&s)
	if err != nil {
		t.Fatal(err)
	}
	e := metav1.WatchEvent{Type: kind}
	e.Object.Raw = raw
	return e
}

// a Secret is followed by its name alone, and everything that becomes of it is told.
func TestA41KeySecrets(t *testing.T) {
	t.Parallel()
	api := &secretAPI{events: make(chan metav1.WatchEvent)}
	server := httptest.NewServer(api)
	defer server.Close()
	source, err := NewKeySecrets(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told, ended := make(chan string), make(chan struct{})
	go func() {
		defer close(ended)
		source.Follow(ctx, "k8s://team/signer", func(k crypto.PublicKey, err error) {
			text := "key " + fmt.Sprint(verify.CheckKey(k) == nil)
			if r := reason.Of(err); err != nil {
				text = string(r.Code) + ": " + r.Text
			}
			select {
			case told <- text:
			case <-ctx.Done():
			}
		})
	}()
	const absent = "TrustMaterialUnavailable: the key k8s://team/signer is not available: there is no such Secret"
	expect := func(want string) {
		t.Helper()
		if got := <-told; got != want {
			t.Fatalf("%s", cmp.Diff(want, got))
		}
	}
	expect(absent)
	api.events <- event(t, "ADDED", secretWith("2", key))
	expect("key true")
	api.events <- event(t, "MODIFIED", secretWith("3", ""))
	expect("TrustMaterialInvalid: the key k8s://team/signer: cosign.pub: public keys: empty")
	api.events <- event(t, "MODIFIED", secretWith("4", key))
	expect("key true")
	api.events <- event(t, "DELETED", secretWith("5", key))
	expect(absent)
	api.events <- event(t, "ADDED", secretWith("6", key))
	expect("key true")
	// The permission is taken away: what the Secret holds now nobody knows.
	api.set(http.StatusForbidden)
	close(api.events)
	expect("TrustMaterialUnavailable: the key k8s://team/signer is not available: Signet may not get, list and watch this Secret")
	cancel()
	<-ended
	for _, a := range api.asked {
		if a != "/api/v1/namespaces/team/secrets metadata.name=signer" {
			t.Errorf("asked for %s", a)
		}
	}
}

// What the API server cannot tell is unknown before a key was there, and changes nothing afterwards.
func TestKeySecretTrouble(t *testing.T) {
	t.Parallel()
	var told []*reason.Error
	s := &keySecret{ref: "k8s://team/signer", report: func(_ crypto.PublicKey, err error) { told = append(told, reason.Of(err)) }}
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	source, err := NewKeySecrets(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, refused := source.client.Secrets("team").List(t.Context(), metav1.ListOptions{})
	s.failed(t.Context(), refused)
	if len(told) != 1 || told[0].Code != reason.TrustMaterialUnavailable || !told[0].Unreachable {
		t.Errorf("%v", told)
	}
	secret := secretWith("1", key)
	if err := s.Add(&secret); err != nil {
		t.Fatal(err)
	}
	s.failed(t.Context(), refused)
	if len(told) != 2 || told[1] != nil {
		t.Errorf("%v", told)
	}
	if err := s.Add("no Secret"); err == nil {
		t.Error("no error")
	}
}
