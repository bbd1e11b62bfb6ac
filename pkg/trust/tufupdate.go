package trust

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"
)

const (
	// target is the only file that is taken from a repository.
	target = "trusted_root.json"
	// maxRoot bounds a root.json in bytes, as the TUF library does.
	maxRoot = 512000
	// maxRotations bounds how many newer root.json files are followed in one update.
	maxRotations = 256
	maxDelegated = 32
)

var errRolledBack = errors.New("older content after newer")

// files are the documents of one repository state, by their URL.
type files map[string][]byte

// known is what has been verified of one repository: what nothing older may replace. The TUF library knows of earlier
// content only from a directory, which there may be none of, so it is remembered here.
type known struct {
	// root is the newest root.json that was verified.
	root []byte
	// timestamp and snapshot are the newest that were verified.
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	// files are those of the last good update, and all newer roots since the initial one.
	files files
	// expires is when the first of the metadata of the last good update does.
	expires time.Time
}

// fetch gets a document of at most so many bytes. It is the library's Fetcher.
type fetch func(url string, limit int64) ([]byte, error)

// DownloadFile is the library's name for it. The library gives no time limit of its own.
func (f fetch) DownloadFile(url string, limit int64, _ time.Duration) ([]byte, error) {
	return f(url, limit)
}

// checkInitial tells whether a root.json can be what a repository is verified by.
func checkInitial(b []byte) (err error) {
	defer recovered(&err)
	if len(b) > maxRoot {
		return fmt.Errorf("the initial root is larger than %d bytes", maxRoot)
	}
	if _, err := trustedmetadata.New(b); err != nil {
		return fmt.Errorf("the initial root is unusable: %w", err)
	}
	return nil
}

// update runs the TUF client workflow and returns the verified target. What was verified before something went wrong
// counts as known from then on, as the workflow demands.
func (k *known) update(mirror string, get fetch) (content []byte, err error) {
	defer recovered(&err)
	cfg, err := config.New(mirror, k.root)
	if err != nil {
		return nil, err
	}
	seen := files{}
	cfg.Fetcher = fetch(func(u string, limit int64) ([]byte, error) {
		b, err := get(u, limit)
		if err == nil {
			seen[u] = b
		}
		return b, err
	})
	cfg.RootMaxLength, cfg.MaxRootRotations, cfg.MaxDelegations = maxRoot, maxRotations, maxDelegated
	cfg.DisableLocalCache = true
	// The library looks for local files all the same; below this there can be none.
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = os.DevNull, os.DevNull
	up, err := updater.New(cfg)
	if err != nil {
		return nil, err
	}
	refreshed := up.Refresh()
	set := up.GetTrustedMetadataSet()
	if err := k.advance(&set, seen, mirror); err != nil {
		return nil, err
	}
	if refreshed != nil {
		return nil, refreshed
	}
	info, err := up.GetTargetInfo(target)
	if err != nil {
		return nil, err
	}
	if info.Length > maxSize {
		return nil, fmt.Errorf("the target is larger than %d bytes", maxSize)
	}
	_, content, err = up.DownloadTarget(info, "", "")
	if err != nil {
		return nil, err
	}
	if _, err := parse(content); err != nil {
		return nil, err
	}
	k.keep(up, seen, mirror)
	return content, nil
}

// advance refuses a set that is older than what is known, and else makes it what is known. A timestamp or snapshot counts
// as long as the root in force would still accept its signatures: keys that were compromised and replaced may have
// signed any version.
func (k *known) advance(set *trustedmetadata.TrustedMetadata, seen files, mirror string) error {
	if b := seen[rootURL(mirror, set.Root.Signed.Version)]; b != nil {
		k.root = b
		if k.files == nil {
			k.files = files{}
		}
		// What lies beyond the newest one that was verified is not kept.
		for v := set.Root.Signed.Version; seen[rootURL(mirror, v)] != nil; v-- {
			k.files[rootURL(mirror, v)] = seen[rootURL(mirror, v)]
		}
	}
	if k.timestamp != nil && set.Root.VerifyDelegate(metadata.TIMESTAMP, k.timestamp) != nil {
		k.timestamp = nil
	}
	if k.snapshot != nil && set.Root.VerifyDelegate(metadata.SNAPSHOT, k.snapshot) != nil {
		k.snapshot = nil
	}
	if set.Timestamp == nil {
		return nil
	}
	if old := k.timestamp; old != nil {
		if set.Timestamp.Signed.Version < old.Signed.Version {
			return fmt.Errorf("timestamp: %w", errRolledBack)
		}
		if version(set.Timestamp.Signed.Meta, metadata.SNAPSHOT) < version(old.Signed.Meta, metadata.SNAPSHOT) {
			return fmt.Errorf("snapshot: %w", errRolledBack)
		}
	}
	if set.Snapshot != nil && k.snapshot != nil {
		for name := range k.snapshot.Signed.Meta {
			role := strings.TrimSuffix(name, ".json")
			if version(set.Snapshot.Signed.Meta, role) < version(k.snapshot.Signed.Meta, role) {
				return fmt.Errorf("%.40q: %w", role, errRolledBack)
			}
		}
	}
	k.timestamp = set.Timestamp
	if set.Snapshot != nil {
		k.snapshot = set.Snapshot
	}
	return nil
}

// version is that of a role in a list of metadata; zero where it is not listed.
func version(list map[string]*metadata.MetaFiles, role string) int64 {
	if m := list[role+".json"]; m != nil {
		return m.Version
	}
	return 0
}

// keep remembers what a good update consisted of.
func (k *known) keep(up *updater.Updater, seen files, mirror string) {
	kept := maps.Clone(seen)
	for u, b := range k.files {
		if isRoot(mirror, u) {
			kept[u] = b
		}
	}
	k.files = kept
	set := up.GetTrustedMetadataSet()
	k.expires = set.Root.Signed.Expires
	for _, t := range []time.Time{set.Timestamp.Signed.Expires, set.Snapshot.Signed.Expires} {
		if t.Before(k.expires) {
			k.expires = t
		}
	}
	for _, t := range set.Targets {
		if t.Signed.Expires.Before(k.expires) {
			k.expires = t.Signed.Expires
		}
	}
}

var rootName = regexp.MustCompile(`^[0-9]+\.root\.json$`)

func rootURL(mirror string, v int64) string {
	return fmt.Sprintf("%s/%d.root.json", strings.TrimSuffix(mirror, "/"), v)
}

func isRoot(mirror, u string) bool {
	name, ok := strings.CutPrefix(u, strings.TrimSuffix(mirror, "/")+"/")
	return ok && rootName.MatchString(name)
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = errors.New("malformed TUF metadata")
	}
}
