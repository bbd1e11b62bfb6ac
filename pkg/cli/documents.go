package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

const (
	// maxFile bounds a file that a flag names, in bytes.
	maxFile = 8 << 20
	// maxInput bounds standard input, which may be what a cluster printed of itself, in bytes.
	maxInput = 256 << 20
)

// readFile reads a file of at most maxFile bytes.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the caller's own choice
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file, path, maxFile)
}

// readAll reads at most limit bytes; more are an error.
func readAll(r io.Reader, name string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return b, err
}

// manifests are the files that a path stands for: itself, or the YAML and JSON files below a directory, each once. Links to
// files count, as in a directory where a config map is mounted; links to directories are not followed.
func manifests(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	var files []string
	seen := map[string]bool{}
	err = filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)) {
			return err
		}
		real, err := filepath.EvalSymlinks(file)
		if err != nil {
			return err
		}
		if info, err := os.Stat(real); err != nil || !info.Mode().IsRegular() || seen[real] {
			return err
		}
		seen[real] = true
		files = append(files, file)
		return nil
	})
	return files, err
}

// eachDocument reads the documents of a file, or of standard input for -, and the items of those that are lists. Where says
// which one it is.
func eachDocument(file string, stdin io.Reader, use func(where string, raw []byte) error) error {
	var b []byte
	var err error
	if file == "-" {
		b, err = readAll(stdin, "standard input", maxInput)
	} else {
		b, err = readFile(file)
	}
	if err != nil {
		return err
	}
	documents := yamlstream.NewYAMLReader(bufio.NewReader(bytes.NewReader(b)))
	for n := 1; ; n++ {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		where := fmt.Sprintf("%s, document %d", file, n)
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		raw, err := yaml.YAMLToJSONStrict(text)
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		if string(bytes.TrimSpace(raw)) == "null" {
			continue
		}
		if err := eachItem(where, raw, use); err != nil {
			return err
		}
	}
}

// eachItem hands out a document, or the items of a list, as kubectl takes lists apart: whatever the kind of the list, such as
// PodList, and with its kind for items that name none.
func eachItem(where string, raw []byte, use func(where string, raw []byte) error) error {
	var list struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
	}
	var head struct {
		Kind  any `json:"kind"`
		Items any `json:"items"`
	}
	// What is no object, users of documents refuse in their own words.
	_ = kjson.UnmarshalCaseSensitivePreserveInts(raw, &head)
	kind, _ := head.Kind.(string)
	of, isList := strings.CutSuffix(kind, "List")
	if !isList || head.Items == nil && of != "" {
		return use(where, raw)
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &list); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	for i, item := range list.Items {
		at := fmt.Sprintf("%s, items[%d]", where, i)
		var object map[string]any
		if err := kjson.UnmarshalCaseSensitivePreserveInts(item, &object); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if of != "" && object != nil && object["kind"] == nil {
			object["apiVersion"], object["kind"] = list.APIVersion, of
			var err error
			if item, err = json.Marshal(object); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
		}
		if err := eachItem(at, item, use); err != nil {
			return err
		}
	}
	return nil
}
