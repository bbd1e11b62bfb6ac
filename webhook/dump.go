package webhook

import (
	"encoding/json"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// dumpLimit bounds what is logged of one request, in bytes.
const dumpLimit = 64 << 10

// dump logs a request for somebody who searches for a fault. Secrets are left out of it; whatever else an object holds is not.
func dump(log logr.Logger, req *admissionv1.AdmissionRequest) {
	shown := *req
	if req.Kind.Group == "" && req.Kind.Kind == "Secret" {
		shown.Object, shown.OldObject = runtime.RawExtension{}, runtime.RawExtension{}
	}
	raw, err := json.Marshal(&shown)
	if err != nil {
		log.Info("admission request", "uid", req.UID, "unreadable", err.Error())
		return
	}
	log.Info("admission request", "uid", req.UID, "size", len(raw), "payload", oneLine(string(raw[:min(len(raw), dumpLimit)])))
}
