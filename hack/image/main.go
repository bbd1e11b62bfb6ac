// Command image packs the static binary into a container image, without a container engine: one image per architecture,
// an index over them, all in one OCI archive. The same binaries give the same bytes, so anyone can check a release.
//
//	image --version=v1.0.0 --name=example.test/signet:v1.0.0 --output=signet.oci.tar amd64=PATH arm64=PATH
package main

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// caBundles are where systems keep the public certificate authorities; the first that exists goes into the image.
var caBundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}

func run(args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	version := flags.String("version", "dev", "version label")
	name := flags.String("name", "", "reference that the archive names the image by")
	output := flags.String("output", "signet.oci.tar", "OCI archive to write")
	bundle := flags.String("ca-bundle", firstFile(caBundles), "PEM file with the certificate authorities for registries")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return fmt.Errorf("no binaries: want ARCH=PATH ...")
	}
	c := contents{Version: *version}
	if *bundle == "" {
		fmt.Fprintln(os.Stderr, "image: no certificate authorities found here; mount some and set SSL_CERT_FILE, or registries are not trusted")
	} else {
		raw, err := os.ReadFile(*bundle)
		if err != nil {
			return fmt.Errorf("reading the certificate authorities: %w", err)
		}
		c.Authorities = raw
	}
	for _, arg := range flags.Args() {
		arch, path, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not ARCH=PATH", arg)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading the binary for %s: %w", arch, err)
		}
		c.Binaries = append(c.Binaries, binary{Architecture: arch, Content: raw})
	}
	index, err := c.index()
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return fmt.Errorf("computing the digest: %w", err)
	}
	if err := writeArchive(*output, index, *name); err != nil {
		return fmt.Errorf("writing %s: %w", *output, err)
	}
	info, err := os.Stat(*output)
	if err != nil {
		return err
	}
	fmt.Printf("%s  %.1f MB\n%s@%s\n", *output, float64(info.Size())/1e6, strings.TrimSuffix(*name, ":"+*version), digest)
	return nil
}

func firstFile(paths []string) string {
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			return p
		}
	}
	return ""
}

// epoch is the time of every file and image: contents decide the digest, not when they were packed.
var epoch = time.Unix(0, 0).UTC()

// layoutFiles lists a directory's files in a fixed order, with their slash-separated names.
func layoutFiles(dir layout.Path) (names []string, err error) {
	err = filepath.WalkDir(string(dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(string(dir), path)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	return names, err
}
