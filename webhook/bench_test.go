package webhook_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/webhook"
)

// empty is a webhook that reads the review and allows it, the least that a webhook can do.
func empty(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(raw, &review); err != nil || review.Request == nil {
		http.Error(w, "no review", http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	review.Request = nil
	out, err := json.Marshal(&review)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(out)
}

// benchReview is the review of a Pod with one image by digest, of the size that such Pods have.
func benchReview(b *testing.B) []byte {
	b.Helper()
	img := "ghcr.io/acme/app:v1@" + string(image.DigestOf([]byte("app")))
	pod := corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: "web-7d4b9c", Namespace: "prod", Labels: map[string]string{"app": "web", "pod-template-hash": "7d4b9c"}},
		Spec: corev1.PodSpec{ServiceAccountName: "web", NodeName: "n1", Containers: []corev1.Container{{
			Name: "app", Image: img, Args: []string{"--listen=:8080"}, Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
			Env:          []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}},
			VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
		}}, Volumes: []corev1.Volume{{Name: "data"}}},
	}
	raw, err := json.Marshal(&pod)
	if err != nil {
		b.Fatal(err)
	}
	body, err := json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "705ab4f5-6393-11e8-b7cc-42010a800002", Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Name: pod.Name, Namespace: pod.Namespace,
			Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return body
}

// BenchmarkReview compares a warm review with an empty webhook, each by its handler alone and over TLS on loopback, with
// policies that do not match beside the one that does.
func BenchmarkReview(b *testing.B) {
	body := benchReview(b)
	handlers := []struct {
		name, path string
		handler    http.Handler
	}{{"empty", "/", http.HandlerFunc(empty)}}
	for _, n := range []int{0, 500} {
		store := policy.NewStore()
		store.Put(compiled(b, "signed", "Pod"))
		for i := range n {
			store.Put(compiled(b, fmt.Sprintf("other-%03d", i), "Service"))
		}
		store.Sync()
		h := server(b, store, nil).Handler()
		handlers = append(handlers, []struct {
			name, path string
			handler    http.Handler
		}{{fmt.Sprintf("mutate-%d", n), webhook.MutateFail, h}, {fmt.Sprintf("validate-%d", n), webhook.ValidateFail, h}}...)
	}
	for _, x := range handlers {
		b.Run("handler/"+x.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, x.path+"?timeout=10s", bytes.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				x.handler.ServeHTTP(w, r)
				if w.Code != http.StatusOK || !bytes.Contains(w.Body.Bytes(), []byte(`"allowed":true`)) {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
	for _, x := range handlers {
		b.Run("tls/"+x.name, func(b *testing.B) {
			s := httptest.NewUnstartedServer(x.handler)
			s.EnableHTTP2 = true
			s.StartTLS()
			defer s.Close()
			client := s.Client()
			b.ReportAllocs()
			for b.Loop() {
				resp, err := client.Post(s.URL+x.path+"?timeout=10s", "application/json", bytes.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				answer, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !bytes.Contains(answer, []byte(`"allowed":true`)) {
					b.Fatalf("%s, %v", answer, err)
				}
			}
		})
	}
}
