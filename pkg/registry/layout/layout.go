// Package layout serves OCI image layouts, directories with images and their signatures, by the requests of the
// distribution protocol that a registry client makes.
//
// A directory stands for the repositories that its index.json names, or for the one that the user names. Its tags are the
// names in index.json; what refers to an image is what names it as its subject there. Nothing outside of a directory is
// ever read, wherever its links lead. Content is handed out as it is: whoever asks checks it by its digest.
package layout

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/signet-policy/signet/pkg/image"
)

// Set is what some directories hold, by repository. It does not change and is safe for concurrent use.
type Set struct {
	repositories map[string]*repository
	roots        []*os.Root
}

// repository is what one or more directories hold of a repository.
type repository struct {
	name string
	// tags are descriptors of manifests by tag.
	tags map[string]descriptor
	// sources are the directories, each as far as it is about this repository.
	sources []*directory
}

// Open reads the directories that the texts name. Each is a directory whose index.json gives full names, as DIR; or one
// that stands for a repository whatever the names in it say, as HOST/REPOSITORY=DIR; or the same with a tag for the one
// image in it that has no name, as HOST/REPOSITORY:TAG=DIR. Several may be about the same repository, unless they disagree
// about a tag. The set has to be closed.
func Open(specs []string) (*Set, error) {
	s := &Set{repositories: map[string]*repository{}}
	for _, text := range specs {
		if err := s.open(text); err != nil {
			return nil, errors.Join(fmt.Errorf("%.200q: %w", text, err), s.Close())
		}
	}
	return s, nil
}

// Close ends the reading of the directories.
func (s *Set) Close() error {
	var errs []error
	for _, r := range s.roots {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// Repository is what answers for a repository of a registry host in place of the registry; nil when no directory is
// about it.
func (s *Set) Repository(host, path string) http.RoundTripper {
	if r := s.repositories[key(host, path)]; r != nil {
		return r
	}
	return nil
}

// key is the one spelling of a repository's name.
func key(host, path string) string {
	host = strings.ToLower(host)
	switch host {
	case "", "index.docker.io", "registry-1.docker.io":
		host = image.DefaultRegistry
	}
	if host == image.DefaultRegistry && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	return host + "/" + path
}

// named is a repository with a tag, empty for none.
type named struct{ repository, tag string }

// parseName reads HOST/REPOSITORY[:TAG].
func parseName(text string) (named, error) {
	ref, err := image.Parse(text, image.Options{})
	if err != nil {
		return named{}, err
	}
	if ref.RawDigest() != "" {
		return named{}, errors.New("a name without a digest is expected before the =")
	}
	n := named{repository: key(ref.Registry(), ref.Path())}
	if strings.Contains(text[strings.LastIndexByte(text, '/')+1:], ":") {
		n.tag = ref.Tag()
	}
	return n, nil
}

// open adds the directory that a text names.
func (s *Set) open(text string) error {
	path, given := text, named{}
	if name, dir, found := strings.Cut(text, "="); found && !isDirectory(text) {
		var err error
		if given, err = parseName(name); err != nil {
			return err
		}
		path = dir
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	s.roots = append(s.roots, root)
	d, err := read(root)
	if err != nil {
		return err
	}
	if given.repository == "" {
		return s.byNames(d)
	}
	if given.tag != "" {
		if err := d.call(given.tag); err != nil {
			return err
		}
	}
	for _, e := range d.entries {
		if err := s.tag(given.repository, e.tag, e.descriptor); err != nil {
			return err
		}
	}
	s.source(given.repository, d)
	return nil
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// byNames adds a directory for all the repositories that it names. What has a tag and no full name, as signatures have, is
// about all of them.
func (s *Set) byNames(d *directory) error {
	found := map[string]bool{}
	for _, e := range d.entries {
		if e.repository != "" {
			found[e.repository] = true
		}
	}
	if len(found) == 0 {
		return errors.New("its index.json gives no image a full name; say which repository it is by HOST/REPOSITORY=DIRECTORY, " +
			"or by HOST/REPOSITORY:TAG=DIRECTORY for a single image without a tag")
	}
	for name := range found {
		for _, e := range d.entries {
			if e.repository != "" && e.repository != name {
				continue
			}
			if err := s.tag(name, e.tag, e.descriptor); err != nil {
				return err
			}
		}
		s.source(name, d)
	}
	return nil
}

func (s *Set) repository(name string) *repository {
	r := s.repositories[name]
	if r == nil {
		r = &repository{name: name, tags: map[string]descriptor{}}
		s.repositories[name] = r
	}
	return r
}

func (s *Set) tag(name, tag string, d descriptor) error {
	r := s.repository(name)
	if tag == "" {
		return nil
	}
	if before, ok := r.tags[tag]; ok && before.Digest != d.Digest {
		return fmt.Errorf("the tag %.128q of %s is both %s and %s", tag, name, before.Digest, d.Digest)
	}
	r.tags[tag] = d
	return nil
}

func (s *Set) source(name string, d *directory) {
	r := s.repository(name)
	r.sources = append(r.sources, d)
}
