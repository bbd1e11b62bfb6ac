package corpus

// Policy states the case's requirement as a kyverno.io/v1 ClusterPolicy of the name, in its JSON form: Enforce, judging
// every image at the registry. TrustedRoot is the process's matter and not in it.
func (c *Case) Policy(name, registry string) (map[string]any, error) {
	var attestors []any
	for i := range c.Requirement.Signatures {
		set, err := c.Requirement.Signatures[i].policy(registry)
		if err != nil {
			return nil, err
		}
		attestors = append(attestors, set)
	}
	entry := map[string]any{
		"imageReferences": []any{registry + "/*"},
		"failureAction":   "Enforce",
		"mutateDigest":    true,
		"verifyDigest":    true,
		"required":        true,
		"attestors":       attestors,
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
	text, err := a.PublicKeys()
	if err != nil {
		return nil, err
	}
	rekor := map[string]any{"ignoreTlog": a.IgnoreTlog, "url": ""}
	ctlog := map[string]any{"ignoreSCT": true}
	keys := map[string]any{"publicKeys": text, "rekor": rekor, "ctlog": ctlog}
	if a.Hash != "" {
		keys["signatureAlgorithm"] = a.Hash
	}
	if a.RekorKey != "" {
		if rekor["pubkey"], err = Read(a.RekorKey); err != nil {
			return nil, err
		}
	}
	if a.TSAChain != "" {
		if ctlog["tsaCertChain"], err = Read(a.TSAChain); err != nil {
			return nil, err
		}
	}
	entry["keys"] = keys
	put(entry, "annotations", a.Annotations)
	if a.Repository != "" {
		entry["repository"] = registry + "/" + a.Repository
	}
	return entry, nil
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
