package webhook

import (
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// a dump is bounded, in one line, and holds nothing of Secrets.
func TestDump(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind, object string
		want, not    string
	}{
		"a Pod":      {"Pod", `{"metadata":{"name":"web"}}`, "web", "old-object"},
		"a Secret":   {"Secret", `{"data":{"password":"aHVudGVyMg=="}}`, `kind\":\"Secret`, "aHVudGVyMg"},
		"very large": {"Pod", `{"x":"` + strings.Repeat("x", 3<<20) + `END"}`, "xxx", "END"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var lines []string
			log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
			raw := runtime.RawExtension{Raw: []byte(c.object)}
			dump(log, &admissionv1.AdmissionRequest{UID: "u", Kind: metav1.GroupVersionKind{Version: "v1", Kind: c.kind}, Object: raw, OldObject: raw})
			if len(lines) != 1 || len(lines[0]) > 3*dumpLimit || !strings.Contains(lines[0], c.want) || strings.Contains(lines[0], c.not) {
				t.Errorf("%d lines, %.300q", len(lines), lines)
			}
		})
	}
}
