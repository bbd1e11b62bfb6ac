package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"github.com/signet-policy/signet/pkg/image"
)

const (
	typeIndex = "application/vnd.oci.image.index.v1+json"
	// typeUnknown leaves it to the content to say what it is.
	typeUnknown = "application/octet-stream"
)

// RoundTrip answers a request of the distribution protocol: a manifest by tag or digest, a blob, or the referrers of a
// digest. The host and the path before the kind of document are those of the repository and not looked at.
func (r *repository) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	path := req.URL.Path
	kind, name := "", ""
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		kind, name = path[strings.LastIndexByte(path[:i], '/')+1:i], path[i+1:]
	}
	switch {
	case req.Method != http.MethodGet:
		return refuse(req, http.StatusMethodNotAllowed, "UNSUPPORTED"), nil
	case kind == "manifests":
		return r.manifest(req, name), nil
	case kind == "blobs":
		return r.blob(req, name, typeUnknown), nil
	case kind == "referrers":
		return r.listing(req, name), nil
	}
	return refuse(req, http.StatusNotFound, "UNSUPPORTED"), nil
}

func (r *repository) manifest(req *http.Request, name string) *http.Response {
	if strings.Contains(name, ":") {
		mediaType := ""
		for _, d := range r.sources {
			if mediaType == "" {
				mediaType = d.types[name]
			}
		}
		return r.blob(req, name, mediaType)
	}
	d, ok := r.tags[name]
	if !ok {
		return refuse(req, http.StatusNotFound, "MANIFEST_UNKNOWN")
	}
	return r.blob(req, d.Digest, d.MediaType)
}

// blob is a file's content, from the first directory that has it.
func (r *repository) blob(req *http.Request, text, mediaType string) *http.Response {
	digest, err := image.ParseDigest(text)
	if err != nil {
		return refuse(req, http.StatusNotFound, "DIGEST_INVALID")
	}
	if mediaType == "" {
		mediaType = typeUnknown
	}
	for _, d := range r.sources {
		f, size, err := openFile(d.root, blobPath(digest))
		switch {
		case err == nil:
			resp := answer(req, http.StatusOK, mediaType, f, size)
			resp.Header.Set("Docker-Content-Digest", digest.String())
			return resp
		case !errors.Is(err, fs.ErrNotExist):
			// It is there and may not, or must not, be read.
			return refuse(req, http.StatusForbidden, "DENIED")
		}
	}
	return refuse(req, http.StatusNotFound, "BLOB_UNKNOWN")
}

func (r *repository) listing(req *http.Request, subject string) *http.Response {
	list := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{2, typeIndex, []descriptor{}}
	seen := map[string]bool{}
	for _, d := range r.sources {
		for _, m := range d.referrers[subject] {
			if !seen[m.Digest] {
				seen[m.Digest] = true
				list.Manifests = append(list.Manifests, m)
			}
		}
	}
	// Texts alone: nothing that could fail.
	b, _ := json.Marshal(list)
	return answer(req, http.StatusOK, typeIndex, io.NopCloser(bytes.NewReader(b)), int64(len(b)))
}

func refuse(req *http.Request, status int, code string) *http.Response {
	text := `{"errors":[{"code":"` + code + `"}]}`
	return answer(req, status, "application/json", io.NopCloser(strings.NewReader(text)), int64(len(text)))
}

func answer(req *http.Request, status int, mediaType string, body io.ReadCloser, size int64) *http.Response {
	return &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {mediaType}}, Body: body, ContentLength: size, Request: req,
	}
}
