package cli

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/signet-policy/signet/pkg/credentials"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/registry"
)

// The words of Credential.Answer.
const (
	answerAccepted  = "accepted"
	answerRefused   = "refused"
	answerOpen      = "open"
	answerMissing   = "not found"
	answerNone      = "no answer"
	answerOther     = "unclear"
	answerDirectory = "a directory"
)

// probe asks every registry that was looked at once more, with each of the credentials that were opened for it, one after
// the other: so it is plain which answer belongs to which.
func (j *judgement) probe(ctx context.Context) {
	refs, before := j.repositories(), len(j.seen.requests)
	for _, v := range slices.Clone(j.seen.views) {
		for _, ref := range refs {
			asked, used := len(j.seen.requests), len(j.seen.uses)
			_, _ = v.reader.Resolve(ctx, ref) // what came of it is in the requests
			for _, c := range answers(j.seen.requests[asked:], j.seen.uses[used:]) {
				if !slices.Contains(j.probed, c) {
					j.probed = append(j.probed, c)
				}
			}
		}
	}
	j.seen.requests = j.seen.requests[:before]
}

// repositories are references to ask for, one for each repository that was looked at: the image's own by its tag, and of
// other ones, or without a tag, the tag of its signatures.
func (j *judgement) repositories() []image.Ref {
	var refs []image.Ref
	add := func(text string) {
		if ref, err := image.Parse(text, image.Options{}); err == nil && !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	signatures := ":sha256-" + j.pinned().Digest().Hex() + ".sig"
	own := j.flags.ref
	if own.RawDigest() == "" {
		refs = append(refs, own)
	} else {
		add(own.Repository() + signatures)
	}
	for _, f := range j.seen.found {
		if f.repository != own.Repository() {
			add(f.repository + signatures)
		}
	}
	return refs
}

// answers joins the sources that were used for a host with what it said.
func answers(requests []registry.Request, uses []credentials.Use) []Credential {
	var hosts []string
	statuses, directory := map[string][]int{}, map[string]bool{}
	token := 0
	for _, r := range requests {
		if r.Kind == registry.KindToken {
			token = r.Status
			continue
		}
		host := keychainHost(r.Host)
		if statuses[host] == nil {
			hosts = append(hosts, host)
		}
		statuses[host] = append(statuses[host], r.Status)
		directory[host] = strings.HasPrefix(r.URL, "oci-layout:")
	}
	var out []Credential
	for _, host := range hosts {
		list := statuses[host]
		c := Credential{Host: host, Status: list[len(list)-1]}
		c.Answer = answerOf(c.Status)
		if directory[host] {
			c.Answer = answerDirectory
		}
		if c.Answer == answerRefused && token >= 400 {
			c.Status = token
		}
		sources := sourcesOf(host, uses)
		if (len(sources) == 0 || sources[len(sources)-1].Source == credentials.None) && c.Answer == answerAccepted {
			c.Answer = answerOpen
		}
		for i, u := range sources {
			found := c
			found.Source, found.Entry = u.Source, u.Entry
			if i < len(sources)-1 {
				found.Answer, found.Status = answerRefused, http.StatusUnauthorized // the next was tried
			}
			out = append(out, found)
		}
		if len(sources) == 0 {
			out = append(out, c)
		}
	}
	return out
}

// sourcesOf are the sources that were used for a host, in order, each once.
func sourcesOf(host string, uses []credentials.Use) []credentials.Use {
	var out []credentials.Use
	for _, u := range uses {
		if keychainHost(u.Host) != host {
			continue
		}
		if u.Source == credentials.DefaultProvider {
			u.Entry = credentials.DockerEntry(u.Host, u.Repository)
		}
		if !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	return out
}

func answerOf(status int) string {
	switch {
	case status == 0:
		return answerNone
	case status < 300:
		return answerAccepted
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return answerRefused
	case status == http.StatusNotFound:
		return answerMissing
	}
	return answerOther
}

// keychainHost is the one name of a host that has several.
func keychainHost(host string) string {
	switch host {
	case "docker.io", "registry-1.docker.io":
		return "index.docker.io"
	}
	return host
}

func (c Credential) text(p *page) {
	source := c.Source
	switch source {
	case "":
		source = "none asked for"
	case credentials.None:
		source = "none known"
	case credentials.DefaultProvider:
		source = "docker configuration"
	default:
		if !strings.HasPrefix(source, "secret ") {
			source = "provider " + source
		}
	}
	if c.Entry != "" {
		source += ": " + c.Entry
	}
	status := "---"
	if c.Status != 0 {
		status = fmt.Sprint(c.Status)
	}
	p.WriteString(clean(fmt.Sprintf("  %s  %-11s %s  %s", status, c.Answer, c.Host, source)) + "\n")
}
