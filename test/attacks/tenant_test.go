package attacks_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-containerregistry/pkg/authn"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/signet-policy/signet/pkg/engine"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/registry"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
	"github.com/signet-policy/signet/webhook"
)

// handler is the webhook server in front of the lab's engine.
func (l *lab) handler(log logr.Logger) http.Handler {
	resources := &webhook.Resources{Engine: l.engine}
	s := webhook.NewServer("", nil, func() error { return nil }, log)
	s.Handle(webhook.MutateFail, false, resources.Review(engine.Mutating, policy.Fail))
	s.Handle(webhook.ValidateFail, false, resources.Review(engine.Validating, policy.Fail))
	return s.Handler()
}

// send posts a review, whose request is that of the object with the changes, and wants an answer with its uid.
func send(t *testing.T, h http.Handler, log logr.Logger, path string, object any, changes map[string]any) *admissionv1.AdmissionResponse {
	t.Helper()
	request := map[string]any{
		"uid": "u-1", "operation": "CREATE", "name": "p", "namespace": "default", "object": object,
		"kind":     map[string]any{"group": "", "version": "v1", "kind": "Pod"},
		"resource": map[string]any{"group": "", "version": "v1", "resource": "pods"},
		"userInfo": map[string]any{"username": "somebody"},
	}
	for k, v := range changes {
		request[k] = v
	}
	body, err := json.Marshal(map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(logr.NewContext(r.Context(), log)))
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Response == nil || answer.Response.UID != "u-1" {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return answer.Response
}

// TestA58Requests has admission requests that contradict themselves, or hold no object. Each is answered with its uid, and an
// unsigned image in a Pod is denied whatever stands around it.
func TestA58Requests(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	l := newLab(t, engine.Options{}, enforce(by(t, s)))
	l.PushImage(repo, "v1", nil)
	h := l.handler(logr.Discard())
	unsigned := l.pod(":v1")
	large := l.pod(":v1")
	large["metadata"] = map[string]any{"name": "p", "annotations": map[string]any{"x": strings.Repeat("y", 3<<20)}}
	other := map[string]any{"group": "apps", "version": "v1", "kind": "Deployment"}
	for name, tc := range map[string]struct {
		object  any
		changes map[string]any
	}{
		"as it should be":           {unsigned, nil},
		"no object":                 {nil, nil},
		"a list":                    {[]any{unsigned}, nil},
		"another requestKind":       {unsigned, map[string]any{"requestKind": other}},
		"another requestResource":   {unsigned, map[string]any{"requestResource": map[string]any{"group": "apps", "version": "v1", "resource": "deployments"}}},
		"another resource":          {unsigned, map[string]any{"resource": map[string]any{"group": "", "version": "v1", "resource": "configmaps"}}},
		"no resource":               {unsigned, map[string]any{"resource": nil}},
		"another kind in the Pod":   {map[string]any{"kind": "ConfigMap", "spec": unsigned["spec"], "metadata": map[string]any{}}, nil},
		"another name":              {unsigned, map[string]any{"name": "q", "namespace": "kube-system"}},
		"a dry run":                 {unsigned, map[string]any{"dryRun": true}},
		"an update of nothing":      {unsigned, map[string]any{"operation": "UPDATE", "oldObject": nil}},
		"an old object of its kind": {unsigned, map[string]any{"oldObject": unsigned}},
		"3 MB":                      {large, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, path := range []string{webhook.MutateFail, webhook.ValidateFail} {
				if resp := send(t, h, logr.Discard(), path, tc.object, tc.changes); resp.Allowed || len(resp.Patch) > 0 {
					t.Errorf("%s: %+v", path, resp)
				}
			}
		})
	}
}

// TestA59DirectCalls has somebody who can reach the webhook's port and says anything there. The answers help nobody, and what is
// remembered of them changes no later verdict: the cache holds what was verified, by digest, and nothing that a request claims.
func TestA59DirectCalls(t *testing.T) {
	t.Parallel()
	s, stranger := newSigner(t), newSigner(t)
	l := newLab(t, engine.Options{}, enforce(by(t, s)))
	good, evil := l.PushImage(repo, "good", []byte("good")), l.PushImage(repo, "evil", []byte("evil"))
	l.AttachTag(repo, good, "sig", s.layer(t, good))
	l.AttachTag(repo, evil, "sig", stranger.layer(t, evil))
	h := l.handler(logr.Discard())
	pod := l.pod(":evil")
	forged := l.pod("@"+evil, ":evil")
	forged["metadata"] = map[string]any{"name": "p", "annotations": map[string]any{
		"kyverno.io/verify-images": fmt.Sprintf(`{"%s/%s:evil":"pass","%s/%s@%s":"pass"}`, l.Host(), repo, l.Host(), repo, evil)}}
	for i, changes := range []map[string]any{
		nil, {"operation": "UPDATE", "oldObject": forged}, {"userInfo": map[string]any{"username": "system:apiserver", "groups": []any{"system:masters", "system:nodes"}}},
		{"namespace": "kube-system"}, {"dryRun": true}, {"operation": "DELETE"}, {"operation": "CONNECT"}, {"subResource": "ephemeralcontainers", "operation": "UPDATE", "oldObject": forged},
		{"kind": map[string]any{"group": "", "version": "v1", "kind": "ConfigMap"}},
	} {
		for _, path := range []string{webhook.MutateFail, webhook.ValidateFail} {
			send(t, h, logr.Discard(), path, forged, changes)
			if resp := send(t, h, logr.Discard(), path, pod, nil); resp.Allowed {
				t.Errorf("after call %d the image is allowed", i)
			}
		}
	}
	// Nor does a denial that somebody provoked stick to what is signed.
	remove := l.Fault(registrytest.Match{}, registrytest.Status(503, ""))
	if resp := send(t, h, logr.Discard(), webhook.MutateFail, l.pod(":good"), nil); resp.Allowed {
		t.Error("allowed without a registry")
	}
	remove()
	if resp := send(t, h, logr.Discard(), webhook.MutateFail, l.pod(":good"), nil); !resp.Allowed {
		t.Errorf("%+v", resp.Result)
	}
	// And nobody is asked where no reference may lead.
	l.ResetLog()
	resp := send(t, h, logr.Discard(), webhook.MutateFail, l.pod("169.254.169.254/latest/meta-data:v1"), nil)
	if resp.Allowed || !strings.Contains(resp.Result.Message, "address refused") || len(l.Log()) > 0 {
		t.Errorf("%+v", resp)
	}
}

// TestA44References has references that lead inside. What is link-local is refused, by every spelling, with a violation that no failure
// policy admits; and what some service answers stands in no text.
func TestA44References(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	kubelet := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"errors":[{"code":"HUNTER2","message":"hunter2"}],"secret":"hunter2"}`))
	}))
	t.Cleanup(kubelet.Close)
	at := strings.TrimPrefix(kubelet.URL, "http://")
	port := at[strings.LastIndexByte(at, ':'):]
	for ref, code := range map[string]string{
		"169.254.169.254/latest/meta-data:v1": "RegistryUnavailable",
		"169.254.169.254:80/latest/x":         "RegistryUnavailable",
		"[fe80::1]:80/x":                      "RegistryUnavailable",
		"[::ffff:a9fe:a9fe]:80/x":             "RegistryUnavailable",
		"[fd00:ec2::254]:80/x":                "RegistryUnavailable",
		"2852039166:80/x":                     "RegistryUnavailable", // 169.254.169.254 as one number
		"0xa9fea9fe:80/x":                     "RegistryUnavailable",
		"kubernetes.default.svc/x":            "RegistryUnavailable",
		"metadata.google.internal:80/x":       "RegistryUnavailable",
		"localhost" + port + "/x":             "RegistryUnavailable",
		at + "/api/v1/secrets":                "RegistryUnavailable",
		at + "/pods@sha256:" + hexOf("x"):     "RegistryUnavailable",
		"user:hunter2@" + at + "/x":           "InvalidImageReference",
		"http://" + at + "/x":                 "InvalidImageReference",
		"169.254.169.254/../x":                "InvalidImageReference",
		"169.254.169.254%2flatest/x":          "InvalidImageReference",
		"[fe80::1%25eth0]:80/x":               "InvalidImageReference",
	} {
		t.Run(ref, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, engine.Options{Timeout: time.Minute}, enforce(by(t, s)))
			d := l.judge(t, ref)
			if len(d.Results) != 1 || d.Allowed || string(d.Results[0].Reason) != code {
				t.Fatalf("allowed %v, %+v", d.Allowed, d.Results)
			}
			if !strings.Contains(ref, "hunter2") && strings.Contains(strings.ToLower(d.Message+d.Results[0].Message), "hunter2") {
				t.Errorf("what the service said: %s", d.Message)
			}
			if near := strings.Contains(d.Message, "address refused"); strings.Contains(ref, "169.254") && code == "RegistryUnavailable" && (!near || d.Results[0].Status != engine.Fail) {
				t.Errorf("%v: %s", d.Results[0].Status, d.Message)
			}
		})
	}
}

func hexOf(s string) string { return strings.TrimPrefix(registrytest.DigestOf([]byte(s)), "sha256:") }

// TestA63Secrets reads with credentials from a registry that plays with them, and looks for them, and for what the registry said,
// in everything that people get to see: the answer, the results, the log, and what observers are told of requests.
func TestA63Secrets(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	const secret = "hunter2"
	for name, fault := range map[string]func(l *lab) registrytest.Fault{
		"a redirect with a query": func(l *lab) registrytest.Fault {
			return registrytest.Redirect(307, l.URL()+"/v2/hunter2?token=hunter2")
		},
		"a redirect with a user": func(*lab) registrytest.Fault {
			return registrytest.Redirect(307, "https://me:hunter2@elsewhere.test/x")
		},
		"a redirect to nobody": func(*lab) registrytest.Fault {
			return registrytest.Redirect(307, "https://hunter2.invalid/hunter2?hunter2")
		},
		"a realm with a user": func(l *lab) registrytest.Fault {
			return registrytest.Challenge("http://me:hunter2@"+l.Host()+"/token", "")
		},
		"a realm with a query": func(l *lab) registrytest.Fault {
			return registrytest.Challenge(l.URL()+"/token?hunter2=hunter2", "repository:hunter2:pull")
		},
		"a realm elsewhere": func(*lab) registrytest.Fault {
			return registrytest.Challenge("https://hunter2.invalid/hunter2", "hunter2")
		},
		"words with a refusal": func(*lab) registrytest.Fault {
			return registrytest.Body(403, "application/json", []byte(`{"errors":[{"code":"hunter2","message":"hunter2"}]}`))
		},
		"words with an error":          func(*lab) registrytest.Fault { return registrytest.Body(500, "text/plain", []byte("hunter2")) },
		"words in place of a manifest": func(*lab) registrytest.Fault { return registrytest.Body(200, ociManifest, []byte(`{"hunter2":`)) },
		"words in headers": func(*lab) registrytest.Fault {
			return registrytest.Body(200, "hunter2/hunter2", nil, "Docker-Content-Digest", "hunter2")
		},
		"words in place of HTTP": func(*lab) registrytest.Fault { return registrytest.Raw("hunter2 hunter2\r\n\r\n") },
		"words in the status": func(*lab) registrytest.Fault {
			return registrytest.Raw("HTTP/1.1 418 hunter2\r\nContent-Length: 0\r\n\r\n")
		},
		"words in the encoding": func(*lab) registrytest.Fault {
			return registrytest.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: hunter2\r\n\r\n")
		},
		"what it was asked, said back": func(*lab) registrytest.Fault {
			return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, r.Header.Get("Authorization"))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, engine.Options{}, enforce(by(t, s)))
			digest := l.PushImage(repo, "v1", nil)
			l.AttachTag(repo, digest, "sig", s.layer(t, digest))
			var mu sync.Mutex
			var shown []string
			show := func(text string) {
				mu.Lock()
				defer mu.Unlock()
				shown = append(shown, text)
			}
			client, err := registry.New(registry.Options{
				ConfigDir: t.TempDir(), Keychain: keys{l.Host(): {Username: "me", Password: secret}}, Limits: registry.Limits{Pause: time.Millisecond},
				Observe: func(r registry.Request) { show(fmt.Sprint(r.Host, " ", r.Kind, " ", r.URL)) },
			})
			if err != nil {
				t.Fatal(err)
			}
			l.engineBy(client, engine.Options{Timeout: time.Minute})
			log := funcr.New(func(_, args string) { show(args) }, funcr.Options{Verbosity: 9})
			// The registry is a registry until it has been asked for the tag; then it plays.
			for _, match := range []registrytest.Match{{}, {Kind: registrytest.Tag, Skip: 1}, {Kind: registrytest.Blob}} {
				remove := l.Fault(match, registrytest.Unless(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/token") }, fault(l)))
				resp := send(t, l.handler(log), log, webhook.MutateFail, l.pod(":v1"), nil)
				remove()
				text, _ := json.Marshal(resp)
				show(string(text))
				if resp.Allowed {
					t.Errorf("%+v: allowed", match)
				}
			}
			if len(shown) < 6 {
				t.Errorf("only %q", shown)
			}
			for _, line := range shown {
				// The name of a host that a registry names may be told, of those who observe requests.
				if line = strings.ReplaceAll(line, "hunter2.invalid", ""); strings.Contains(line, secret) || strings.Contains(line, "bWU6aHVudGVyMg") {
					t.Errorf("shown: %s", line)
				}
			}
		})
	}
}

// keys holds credentials by host.
type keys map[string]authn.AuthConfig

func (k keys) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if c, ok := k[r.RegistryStr()]; ok {
		return authn.FromConfig(c), nil
	}
	return authn.Anonymous, nil
}
