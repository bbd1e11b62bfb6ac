package extract

// PullLimit is the largest number of pull secrets of one object that are looked at.
const PullLimit = 32

// Pull is what a pod spec says about the credentials that its images are pulled with.
type Pull struct {
	// Found tells that the object has a pod spec.
	Found bool
	// Secrets are the names in imagePullSecrets, in order, each once, at most PullLimit of them. What is no name is
	// passed over.
	Secrets []string
	// ServiceAccount is the name of the service account; empty where it is not said.
	ServiceAccount string
}

// PullSecrets reads the credentials of the object's pod spec. What cannot be read gives none: fewer credentials admit
// nothing that more would refuse.
func PullSecrets(kind string, object map[string]any) Pull {
	path := base[kind]
	if path == nil {
		return Pull{}
	}
	spec := object
	for _, field := range path {
		next, ok, err := mapField(spec, field)
		if err != nil || !ok {
			return Pull{}
		}
		spec = next
	}
	p := Pull{Found: true}
	p.ServiceAccount, _ = spec["serviceAccountName"].(string)
	if p.ServiceAccount == "" {
		p.ServiceAccount, _ = spec["serviceAccount"].(string)
	}
	list, _ := spec["imagePullSecrets"].([]any)
	seen := map[string]bool{}
	for _, e := range list {
		entry, _ := e.(map[string]any)
		name, _ := entry["name"].(string)
		if name == "" || seen[name] {
			continue
		}
		if len(p.Secrets) == PullLimit {
			break
		}
		seen[name] = true
		p.Secrets = append(p.Secrets, name)
	}
	return p
}
