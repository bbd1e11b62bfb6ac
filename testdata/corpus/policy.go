package corpus

// Policy states the case's requirement as a kyverno.io/v1 ClusterPolicy of the name, in its JSON form: Enforce, judging
// every image at the registry. TrustedRoot is the process's matter and not in it.
func (c *Case) Policy(name, registry string) (map[string]any, error) {
	attestors, err := policies(c.Requirement.Signatures, registry)
	if err != nil {
		return nil, err
	}
	attestations, err := c.attestations(registry)
	if err != nil {
		return nil, err
	}
	entry := map[string]any{
		"imageReferences": []any{registry + "/*"},
		"failureAction":   "Enforce",
		"mutateDigest":    true,
		"verifyDigest":    true,
		"required":        true,
	}
	if attestors != nil {
		entry["attestors"] = attestors
	}
	if attestations != nil {
		entry["attestations"] = attestations
	}
	put(entry, "annotations", c.Requirement.Annotations)
	if c.Requirement.Hint != "" {
		entry["type"] = c.Requirement.Hint
	}
	if r := c.Requirement.SignatureRepository; r != "" {
		entry["repository"] = registry + "/" + r
	}
	return map[string]any{
		"apiVersion": "kyverno.io/v1",
		"kind":       "ClusterPolicy",
		"metadata":   map[string]any{"name": name},
		"spec": map[string]any{
			"background":    false,
			"failurePolicy": "Fail",
			"rules": []any{map[string]any{
				"name":         "signed",
				"match":        map[string]any{"any": []any{map[string]any{"resources": map[string]any{"kinds": []any{"Pod"}}}}},
				"verifyImages": []any{entry},
			}},
		},
	}, nil
}

// attestations are the attestations of the entry, with the conditions as variables of the predicate.
func (c *Case) attestations(registry string) ([]any, error) {
	var out []any
	for _, a := range c.Requirement.Attestations {
		attestors, err := policies(a.Attestors, registry)
		if err != nil {
			return nil, err
		}
		one := map[string]any{"type": a.PredicateType, "attestors": attestors}
		var all []any
		for _, cond := range a.Conditions {
			all = append(all, map[string]any{"key": "{{ " + cond.Path + " }}", "operator": "Equals", "value": cond.Equals})
		}
		if all != nil {
			one["conditions"] = []any{map[string]any{"all": all}}
		}
		out = append(out, one)
	}
	return out, nil
}

func policies(sets []Set, registry string) ([]any, error) {
	var out []any
	for i := range sets {
		set, err := sets[i].policy(registry)
		if err != nil {
			return nil, err
		}
		out = append(out, set)
	}
	return out, nil
}

func (s *Set) policy(registry string) (map[string]any, error) {
	var entries []any
	for i := range s.Attestors {
		entry, err := s.Attestors[i].policy(registry)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	set := map[string]any{"entries": entries}
	if s.Count > 0 {
		set["count"] = int64(s.Count)
	}
	return set, nil
}

func (a *Attestor) policy(registry string) (map[string]any, error) {
	entry := map[string]any{}
	if a.Nested != nil {
		nested, err := a.Nested.policy(registry)
		entry["attestor"] = nested
		return entry, err
	}
	if a.Notary != nil {
		store, err := a.TrustStore()
		entry["certificates"] = map[string]any{"cert": store}
		return entry, err
	}
	kind, field, err := a.signer()
	if err != nil {
		return nil, err
	}
	rekor := map[string]any{"ignoreTlog": a.IgnoreTlog, "url": ""}
	if a.Keyless != nil {
		rekor["url"] = "https://rekor.example.test"
	}
	ctlog := map[string]any{"ignoreSCT": a.IgnoreSCT}
	field["rekor"], field["ctlog"] = rekor, ctlog
	for _, file := range []struct {
		in         map[string]any
		name, path string
	}{{rekor, "pubkey", a.RekorKey}, {ctlog, "pubkey", a.CTLogKey}, {ctlog, "tsaCertChain", a.TSAChain}} {
		if err := putFile(file.in, file.name, file.path); err != nil {
			return nil, err
		}
	}
	entry[kind] = field
	put(entry, "annotations", a.Annotations)
	if a.Repository != "" {
		entry["repository"] = registry + "/" + a.Repository
	}
	return entry, nil
}

// signer is the attestor's kind, and who must have signed.
func (a *Attestor) signer() (kind string, field map[string]any, err error) {
	field = map[string]any{}
	switch {
	case a.Keyless != nil:
		k := a.Keyless
		for name, value := range map[string]string{
			"issuer": k.Issuer, "issuerRegExp": k.IssuerRegExp, "subject": k.Subject, "subjectRegExp": k.SubjectRegExp,
		} {
			if value != "" {
				field[name] = value
			}
		}
		put(field, "additionalExtensions", k.Extensions)
		return "keyless", field, putFile(field, "roots", k.Roots)
	case a.Certificates != nil:
		if err := putFile(field, "cert", a.Certificates.Certificate); err != nil {
			return "", nil, err
		}
		return "certificates", field, putFile(field, "certChain", a.Certificates.Chain)
	default:
		if a.Hash != "" {
			field["signatureAlgorithm"] = a.Hash
		}
		field["publicKeys"], err = a.PublicKeys()
		return "keys", field, err
	}
}

// putFile sets a file's text, unless there is no file.
func putFile(object map[string]any, field, file string) (err error) {
	if file != "" {
		object[field], err = Read(file)
	}
	return err
}

// put sets a map of texts, unless there is none.
func put(object map[string]any, field string, values map[string]string) {
	if values == nil {
		return
	}
	m := make(map[string]any, len(values))
	for k, v := range values {
		m[k] = v
	}
	object[field] = m
}
