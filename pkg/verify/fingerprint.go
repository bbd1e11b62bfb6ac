package verify

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"regexp"
	"slices"
)

// Fingerprint hashes what decides the outcome of a requirement. Every part is preceded by its length or number, so that
// no two different requirements are written the same way. Paths are left out: they appear in messages alone.
func Fingerprint(r *Requirement) string {
	w := writer{sha256.New()}
	w.text("signet/requirement/4")
	w.flag(r.Notary)
	w.flag(r.AnyStatement)
	w.number(len(r.Sets))
	for i := range r.Sets {
		w.set(&r.Sets[i])
	}
	w.number(len(r.Attestations))
	for i := range r.Attestations {
		a := &r.Attestations[i]
		w.text(a.Name)
		w.text(a.Type)
		w.flag(a.Read)
		w.number(len(a.Sets))
		for k := range a.Sets {
			w.set(&a.Sets[k])
		}
	}
	return hex.EncodeToString(w.h.Sum(nil))
}

type writer struct{ h hash.Hash }

func (w writer) number(n int) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	w.h.Write(b[:])
}

func (w writer) bytes(b []byte) {
	w.number(len(b))
	w.h.Write(b)
}

func (w writer) text(s string) { w.bytes([]byte(s)) }

func (w writer) flag(f bool) {
	if f {
		w.number(1)
	} else {
		w.number(0)
	}
}

func (w writer) set(s *Set) {
	w.number(s.Count)
	w.number(len(s.Entries))
	for i := range s.Entries {
		e := &s.Entries[i]
		w.flag(e.Nested != nil)
		if e.Nested != nil {
			w.set(e.Nested)
		}
		w.flag(e.Attestor != nil)
		if e.Attestor != nil {
			w.attestor(e.Attestor)
		}
	}
}

func (w writer) attestor(a *Attestor) {
	w.key(a.Key)
	w.flag(a.missing() != nil)
	if a.missing() != nil {
		w.text(string(a.Reference))
		w.flag(a.Missing != nil)
	}
	w.number(int(a.Hash))
	w.number(len(a.Annotations))
	for _, k := range slices.Sorted(maps.Keys(a.Annotations)) {
		w.text(k)
		w.text(a.Annotations[k])
	}
	w.text(a.Repository.Repository())
	w.flag(a.IgnoreLog)
	w.text(a.LogURL)
	w.number(len(a.LogKeys))
	for _, k := range a.LogKeys {
		w.key(k)
	}
	w.certificates(a.TSAChain)
	w.flag(a.IgnoreSCT)
	w.number(len(a.CTLogKeys))
	for _, k := range a.CTLogKeys {
		w.key(k)
	}
	w.flag(a.Certificates != nil)
	if c := a.Certificates; c != nil {
		w.flag(c.Leaf != nil)
		if c.Leaf != nil {
			w.bytes(c.Leaf.Raw)
		}
		w.certificates(c.Intermediates)
		w.certificates(c.Roots)
	}
	w.flag(a.Keyless != nil)
	if k := a.Keyless; k != nil {
		w.certificates(k.Roots)
		w.identity(&k.Identity)
	}
}

func (w writer) certificates(list []*x509.Certificate) {
	w.number(len(list))
	for _, c := range list {
		w.bytes(c.Raw)
	}
}

func (w writer) identity(id *Identity) {
	w.text(id.Issuer.String())
	w.text(id.Subject.String())
	for _, r := range []*regexp.Regexp{id.IssuerRegExp, id.SubjectRegExp} {
		w.flag(r != nil)
		if r != nil {
			w.text(r.String())
		}
	}
	w.number(len(id.Extensions))
	for _, e := range id.Extensions {
		w.text(e.Key)
		w.text(e.OID)
		w.text(e.Value.String())
	}
}

// key writes the PKIX form, which is empty for no key and for one that has none; such a key verifies nothing.
func (w writer) key(k crypto.PublicKey) {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		der = nil
	}
	w.bytes(der)
}
