package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/signet-policy/signet/controllers"
	"github.com/signet-policy/signet/pkg/trust"
)

// newRoots makes the trusted root that the flags and the environment ask for, and what has to run to keep it current
// (VI 6.13(1) and (2)).
func newRoots(ctx context.Context, config *rest.Config, f *serveFlags, getenv func(string) string, log logr.Logger) (trust.Root, []manager.Runnable, error) {
	log = log.WithName("trusted-root")
	overrides := trust.Overrides{
		Authorities: getenv("SIGSTORE_ROOT_FILE"),
		Rekor:       getenv("SIGSTORE_REKOR_PUBLIC_KEY"),
		CTLog:       getenv("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE"),
	}
	direct := f.trustedRootFile != "" || f.trustedRootConfigMap != ""
	if direct && overrides != (trust.Overrides{}) {
		return nil, nil, errors.New("--trustedRootFile and --trustedRootConfigMap give the whole root: they cannot be used with SIGSTORE_ROOT_FILE, SIGSTORE_REKOR_PUBLIC_KEY or SIGSTORE_CT_LOG_PUBLIC_KEY_FILE in the environment")
	}
	if (f.tufMirror != "" || f.tufRoot != "" || f.tufRootRaw != "") && (direct || !f.enableTUF) {
		log.Info("the flags of the TUF repository have no effect", "enableTuf", f.enableTUF)
	}
	switch {
	case f.trustedRootFile != "":
		source, err := trust.FromFile(f.trustedRootFile)
		if err != nil {
			return nil, nil, fmt.Errorf("--trustedRootFile: %w", err)
		}
		return source, nil, nil
	case f.trustedRootConfigMap != "":
		live := trust.NewLive("the ConfigMap " + f.trustedRootConfigMap)
		namespace, name, _ := strings.Cut(f.trustedRootConfigMap, "/")
		follow, err := controllers.NewTrustedRoot(config, namespace, name, live.Set)
		if err != nil {
			return nil, nil, err
		}
		follow.Load(ctx)
		return live, []manager.Runnable{follow}, nil
	case f.enableTUF:
		repository, err := newTUF(f, getenv, log)
		if err != nil {
			return nil, nil, err
		}
		roots, err := overrides.Override(repository)
		return roots, []manager.Runnable{repository}, err
	}
	roots, err := overrides.Override(trust.Public())
	return roots, nil, err
}

func newTUF(f *serveFlags, getenv func(string) string, log logr.Logger) (*trust.TUF, error) {
	options := trust.TUFOptions{
		Mirror: f.tufMirror, RootLocation: f.tufRoot, CacheDir: getenv("TUF_ROOT"), UserAgent: "signet/" + version,
		Observe: func(err error) {
			if err != nil {
				log.Error(err, "the trusted root could not be fetched or refreshed; the last good one stays in force")
				return
			}
			log.V(1).Info("the trusted root is current")
		},
	}
	if no, err := strconv.ParseBool(getenv("SIGSTORE_NO_CACHE")); err == nil && no {
		options.CacheDir = ""
	}
	if f.tufRootRaw != "" {
		var err error
		if options.Root, err = base64.StdEncoding.DecodeString(f.tufRootRaw); err != nil || len(options.Root) == 0 {
			return nil, errors.New("--tufRootRaw: not base64")
		}
	}
	repository, err := trust.NewTUF(options)
	if err != nil {
		return nil, fmt.Errorf("--enableTuf: %w", err)
	}
	return repository, nil
}
