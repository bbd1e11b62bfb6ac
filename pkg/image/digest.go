package image

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
)

// Digest is a sha256 content digest in its one spelling: "sha256:" and 64 lower-case hexadecimal digits. The zero
// value is no digest.
type Digest string

const sha256Prefix = "sha256:"

var errNotSHA256 = errors.New("not a sha256 digest (sha256: and 64 lower-case hexadecimal digits)")

// ParseDigest accepts exactly the spelling that Digest documents; every other algorithm is an error.
func ParseDigest(s string) (Digest, error) {
	hexPart, ok := strings.CutPrefix(s, sha256Prefix)
	if !ok || len(hexPart) != sha256.Size*2 {
		return "", errNotSHA256
	}
	for _, c := range []byte(hexPart) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", errNotSHA256
		}
	}
	return Digest(s), nil
}

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(sha256Prefix + hex.EncodeToString(sum[:]))
}

// Hex returns the 64 hexadecimal digits.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), sha256Prefix) }

func (d Digest) String() string { return string(d) }
