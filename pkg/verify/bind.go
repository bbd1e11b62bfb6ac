package verify

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"

	"github.com/signet-policy/signet/pkg/reason"
)

// Key is a public key that was found by its reference.
type Key struct {
	Public crypto.PublicKey
	// ID tells keys apart; it is the key's hint.
	ID string
}

// NewKey returns the key if it is fit to verify signatures with.
func NewKey(public crypto.PublicKey) (*Key, error) {
	if err := CheckKey(public); err != nil {
		return nil, err
	}
	return &Key{Public: public, ID: KeyHint(public)}, nil
}

// Keys supplies keys by reference. The error is a *reason.Error of the code TrustMaterialUnavailable or
// TrustMaterialInvalid. Only a key that is asked for for the first time is waited for.
type Keys interface {
	Key(ctx context.Context, ref Reference) (*Key, error)
}

// Bind returns the requirement with the keys in the place of their references, or with the reasons why there are none.
// Its fingerprint is that of the same requirement with the keys written out, so that nothing that was verified with one
// key counts for another. Lookup is called once per attestor; a requirement without references is returned as it is.
func Bind(r *Requirement, lookup func(Reference) (*Key, error)) *Requirement {
	if len(r.References) == 0 {
		return r
	}
	bound := *r
	bound.References = nil
	bound.Sets = bindSets(r.Sets, lookup)
	bound.Attestations = make([]Attestation, len(r.Attestations))
	for i := range r.Attestations {
		bound.Attestations[i] = r.Attestations[i]
		bound.Attestations[i].Sets = bindSets(r.Attestations[i].Sets, lookup)
	}
	bound.Fingerprint = Fingerprint(&bound)
	return &bound
}

func bindSets(sets []Set, lookup func(Reference) (*Key, error)) []Set {
	out := make([]Set, len(sets))
	for i := range sets {
		out[i] = bindSet(&sets[i], lookup)
	}
	return out
}

func bindSet(s *Set, lookup func(Reference) (*Key, error)) Set {
	out := Set{Count: s.Count, Entries: make([]Entry, len(s.Entries))}
	for i, e := range s.Entries {
		switch {
		case e.Nested != nil:
			nested := bindSet(e.Nested, lookup)
			e.Nested = &nested
		case e.Attestor != nil && e.Attestor.Reference != "":
			a := *e.Attestor
			a.bind(lookup)
			e.Attestor = &a
		}
		out.Entries[i] = e
	}
	return out
}

func (a *Attestor) bind(lookup func(Reference) (*Key, error)) {
	key, err := lookup(a.Reference)
	switch {
	case err != nil:
		a.Missing = reason.Of(err)
		return
	case key == nil:
		a.Missing = notSupplied(a.Reference)
		return
	}
	a.Key = key.Public
	switch a.Reference.Scheme() {
	case AWSScheme, AzureScheme, GCPScheme:
		// These services sign with the hash of the key's own algorithm, whatever the default in the schema says.
		if k, ok := a.Key.(*ecdsa.PublicKey); ok && a.Hash == crypto.SHA256 {
			switch k.Curve {
			case elliptic.P384():
				a.Hash = crypto.SHA384
			case elliptic.P521():
				a.Hash = crypto.SHA512
			}
		}
	}
}

// missing is why the attestor has no key although it refers to one; nil for every other attestor.
func (a *Attestor) missing() *reason.Error {
	switch {
	case a.Reference == "" || a.Key != nil:
		return nil
	case a.Missing != nil:
		return a.Missing
	}
	return notSupplied(a.Reference)
}

func notSupplied(ref Reference) *reason.Error {
	return reason.New(reason.TrustMaterialUnavailable, "the key "+string(ref)+" is not available: nobody supplies keys by reference here")
}

// CollectReferences returns the references in a requirement, each once, in their order; it is for whoever compiles one.
func CollectReferences(r *Requirement) []Reference {
	var refs []Reference
	seen := map[Reference]bool{}
	var collect func([]Set)
	collect = func(sets []Set) {
		for i := range sets {
			for _, e := range sets[i].Entries {
				if e.Nested != nil {
					collect([]Set{*e.Nested})
				}
				if a := e.Attestor; a != nil && a.Reference != "" && !seen[a.Reference] {
					seen[a.Reference] = true
					refs = append(refs, a.Reference)
				}
			}
		}
	}
	collect(r.Sets)
	for i := range r.Attestations {
		collect(r.Attestations[i].Sets)
	}
	return refs
}
