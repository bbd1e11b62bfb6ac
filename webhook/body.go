package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"
)

const (
	// maxBody is the largest review that is read, in bytes: an object and its old version, each as large as etcd stores one
	// (1.5 MiB) and with six bytes for every byte of its texts, for that is what JSON makes of "<"; and room for the rest.
	maxBody = 20 << 20
	// maxDepth is the nesting that the decoder reads.
	maxDepth = 10_000

	// Reviews that take no more than small, in bytes of memory, are not counted, and all others that are held at once take no
	// more than maxHeld together, which leaves room below the limit of the container.
	small   = 1 << 20
	maxHeld = 256 << 20

	// maxHead is how far into a review its UID is looked for; maxRest is how much of what is not read is waited for, so that
	// whoever sends it listens to the answer.
	maxHead = 64 << 10
	maxRest = 128 << 20
)

var (
	errBody = errors.New("the body is no admission.k8s.io/v1 AdmissionReview with a request and a uid")

	// Who makes a request decides how large and how deep it is. Were it only not judged, failure policy Ignore would admit
	// whatever is large or deep enough.
	errBeyond = errors.New("it is larger, or nested deeper, or of more parts, than what Signet reads")
	errBusy   = errors.New("there are too many large requests at once; try again")
)

// beyond tells whether the error is that of a request which is refused whatever the failure policy.
func beyond(err error) bool { return errors.Is(err, errBeyond) || errors.Is(err, errBusy) }

// bodies reads reviews, and bounds what the large ones take together. The zero value is ready.
type bodies struct{ held atomic.Int64 }

// read reads the review that a request holds. Until release is called it counts as held. With an error that is beyond, the
// review's UID is there and nothing else of it.
func (b *bodies) read(r *http.Request) (req *admissionv1.AdmissionRequest, release func(), err error) {
	var held int64
	release = func() { b.held.Add(-held) }
	hold := func(n int64) bool {
		if n <= small || n <= held {
			return true
		}
		if b.held.Add(n-held) > maxHeld {
			b.held.Add(held - n)
			return false
		}
		held = n
		return true
	}
	if ct, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); ct != "application/json" {
		return nil, release, fmt.Errorf("content type %.64q is not application/json", ct)
	}
	size := r.ContentLength
	switch {
	case size > maxBody:
		req, err = cutShort(r.Body, errBeyond)
		return req, release, err
	case size < 0:
		size = maxBody // nobody says how long it will be
	}
	if !hold(size) {
		req, err = cutShort(r.Body, errBusy)
		return req, release, err
	}
	var body []byte
	if n := r.ContentLength; n > 0 {
		body = make([]byte, n)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	}
	switch {
	case err != nil:
		return nil, release, fmt.Errorf("cannot read the body: %w", err)
	case len(body) > maxBody:
		req, err = cutShort(io.MultiReader(bytes.NewReader(body), r.Body), errBeyond)
		return req, release, err
	}
	switch w := weight(body); {
	case w > maxHeld:
		req, err = cutShort(bytes.NewReader(body), errBeyond)
	case !hold(w):
		req, err = cutShort(bytes.NewReader(body), errBusy)
	default:
		req, err = decode(body)
	}
	return req, release, err
}

// review is the part of an AdmissionReview that is read.
type review struct {
	metav1.TypeMeta `json:",inline"`
	Request         *admissionv1.AdmissionRequest `json:"request"`
}

func decode(body []byte) (*admissionv1.AdmissionRequest, error) {
	var in review
	if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &in); err != nil {
		if tooDeep(body) {
			return cutShort(bytes.NewReader(body), errBeyond)
		}
		return nil, fmt.Errorf("%w: %w", errBody, err)
	}
	if in.Request == nil || in.Request.UID == types.UID("") || in.APIVersion != admissionv1.SchemeGroupVersion.String() || in.Kind != "AdmissionReview" {
		return nil, errBody
	}
	return in.Request, nil
}

// tooDeep tells whether JSON text is nested deeper than the decoder reads.
func tooDeep(text []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return false
}

// cutShort is the request of a review that is not read, with its UID alone, so that it can be answered, and why. What has no
// UID is no review.
func cutShort(body io.Reader, why error) (*admissionv1.AdmissionRequest, error) {
	head, err := io.ReadAll(io.LimitReader(body, maxHead))
	if err != nil {
		return nil, fmt.Errorf("cannot read the body: %w", err)
	}
	uid := uidOf(head)
	if uid == "" {
		return nil, errBody
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(body, maxRest)); err != nil {
		return nil, fmt.Errorf("cannot read the body: %w", err)
	}
	return &admissionv1.AdmissionRequest{UID: uid}, why
}

// uidOf is the UID of a review by its beginning, where the API server writes it; empty when it is not there.
func uidOf(head []byte) types.UID {
	d := json.NewDecoder(bytes.NewReader(head))
	object := func() bool {
		t, err := d.Token()
		return err == nil && t == json.Delim('{')
	}
	field := func(name string) bool {
		for d.More() {
			key, err := d.Token()
			if err != nil || key == name {
				return err == nil
			}
			var other json.RawMessage
			if d.Decode(&other) != nil {
				return false
			}
		}
		return false
	}
	var uid string
	if !object() || !field("request") || !object() || !field("uid") || d.Decode(&uid) != nil {
		return ""
	}
	return types.UID(uid)
}
