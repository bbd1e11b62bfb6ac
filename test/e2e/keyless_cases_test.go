package e2e

import (
	"maps"
	"strings"
)

// identities are who may have signed: the signer, everybody who is nearly the signer, and patterns.
func (k *keylessWorld) identities() map[string]trial {
	out := map[string]trial{}
	extension := func(key, value string) map[string]any {
		return fields(k.workflow(), map[string]any{"additionalExtensions": map[string]any{key: value}})
	}
	issuer := func(url string) map[string]any { return map[string]any{"issuer": url, "subject": person} }
	for _, way := range []string{"bundle-rekor-v2-stamped", "legacy-rekor-v1"} {
		p, w := "person/"+way, "workflow/"+way
		maps.Copy(out, map[string]trial{
			p: {image: p, keyless: k.person()},
			w: {image: w, keyless: k.workflow()},

			p + ", other subject":     {image: p, keyless: fields(k.person(), map[string]any{"subject": "ops@example.test"}), refused: "subject mismatch: expected ops@example.test, received " + person},
			p + ", other domain":      {image: p, keyless: fields(k.person(), map[string]any{"subject": "dev@example.tes"}), refused: "subject mismatch"},
			p + ", domain pattern":    {image: p, keyless: fields(k.person(), map[string]any{"subject": "*@example.test"})},
			p + ", pattern too long":  {image: p, keyless: fields(k.person(), map[string]any{"subject": "dev@example.test?"}), refused: "subject mismatch"},
			p + ", other issuer":      {image: p, keyless: issuer(k.Workflows.URL), refused: "issuer mismatch: expected " + k.Workflows.URL + ", received " + k.People.URL},
			p + ", issuer's prefix":   {image: p, keyless: issuer("http://127.0.0.1"), refused: "issuer mismatch"},
			p + ", issuer with slash": {image: p, keyless: issuer(k.People.URL + "/"), refused: "issuer mismatch"},
			p + ", both others":       {image: p, keyless: k.workflow(), refused: "subject mismatch"},

			// Regular expressions mean what is written: without anchors, a part is enough.
			p + ", unanchored subject":   {image: p, keyless: map[string]any{"issuer": k.People.URL, "subjectRegExp": `@example\.te`}},
			p + ", anchored subject":     {image: p, keyless: map[string]any{"issuer": k.People.URL, "subjectRegExp": `^dev@example\.test$`}},
			p + ", anchored too early":   {image: p, keyless: map[string]any{"issuer": k.People.URL, "subjectRegExp": `^dev@example$`}, refused: "subject mismatch"},
			p + ", unanchored issuer":    {image: p, keyless: map[string]any{"issuerRegExp": `127\.0\.0`, "subject": person}},
			p + ", anchored issuer":      {image: p, keyless: map[string]any{"issuerRegExp": `^https://`, "subject": person}, refused: "issuer mismatch"},
			p + ", glob and expression":  {image: p, keyless: fields(k.person(), map[string]any{"subjectRegExp": `^ops`}), refused: "subject mismatch"},
			w + ", other workflow":       {image: w, keyless: fields(k.workflow(), map[string]any{"subject": strings.Replace(workflow, "release", "build", 1)}), refused: "subject mismatch"},
			w + ", other tag":            {image: w, keyless: fields(k.workflow(), map[string]any{"subject": strings.Replace(workflow, "v1.2.3", "v1.2.4", 1)}), refused: "subject mismatch"},
			w + ", branch":               {image: w, keyless: fields(k.workflow(), map[string]any{"subject": "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/*"}), refused: "subject mismatch"},
			w + ", other repository":     {image: w, keyless: fields(k.workflow(), map[string]any{"subject": strings.Replace(workflow, "acme/app", "acme/apps", 1)}), refused: "subject mismatch"},
			w + ", any tag":              {image: w, keyless: map[string]any{"issuer": k.Workflows.URL, "subjectRegExp": `^https://github\.com/acme/app/\.github/workflows/release\.yml@refs/tags/v[0-9.]+$`}},
			w + ", issuer of people":     {image: w, keyless: fields(k.workflow(), map[string]any{"issuer": k.People.URL}), refused: "issuer mismatch"},
			w + ", trigger":              {image: w, keyless: extension("githubWorkflowTrigger", trigger)},
			w + ", other trigger":        {image: w, keyless: extension("githubWorkflowTrigger", "schedule"), refused: "extension mismatch: expected schedule for key githubWorkflowTrigger, received push"},
			w + ", repository":           {image: w, keyless: extension("githubWorkflowRepository", "acme/app")},
			w + ", extension repository": {image: w, keyless: extension("githubWorkflowRepository", "acme/other"), refused: "extension mismatch"},
			w + ", extension ref":        {image: w, keyless: extension("githubWorkflowRef", "refs/heads/main"), refused: "extension mismatch"},
		})
	}
	return out
}

// proofs are what a signature carries beside the certificate, and what the policy asks for.
func (k *keylessWorld) proofs() map[string]trial {
	const noLog, noSCT = "the signature carries no transparency log entry", "no certificate log vouches for the certificate"
	with := func(maplets ...map[string]any) map[string]any {
		return fields(append([]map[string]any{k.person()}, maplets...)...)
	}
	ignoreLog := map[string]any{"rekor": map[string]any{"url": k.RekorV1.URL, "ignoreTlog": true}}
	ctlog := func(m map[string]any) map[string]any { return map[string]any{"ctlog": m} }
	stamps := ctlog(map[string]any{"tsaCertChain": k.read(k.TSA.TrustFile)})
	otherCT := ctlog(map[string]any{"pubkey": k.read(k.RekorV1.TrustFile)})
	otherLog := map[string]any{"rekor": map[string]any{"url": k.RekorV1.URL, "pubkey": k.read(k.CT.PublicKeyFile)}}
	otherRoot := map[string]any{"roots": k.read(k.Other.TrustFile)}
	out := map[string]trial{
		"bundle, Rekor v1":            {image: "person/bundle-rekor-v1", keyless: with()},
		"bundle, Rekor v1, timestamp": {image: "person/bundle-rekor-v1-stamped", keyless: with(stamps)},
		"bundle, Rekor v2, timestamp": {image: "person/bundle-rekor-v2-stamped", keyless: with(stamps)},
		"legacy, Rekor v1":            {image: "person/legacy-rekor-v1", keyless: with()},
		"legacy, Rekor v1, timestamp": {image: "person/legacy-rekor-v1-stamped", keyless: with(stamps)},

		"referrer, Rekor v1":       {image: "person/legacy-rekor-v1-referrer", keyless: with()},
		"referrer, other subject":  {image: "person/legacy-rekor-v1-referrer", keyless: with(map[string]any{"subject": "ops@example.test"}), refused: "subject mismatch"},
		"fallback, Rekor v1":       {image: "fallback/bundle-rekor-v1", keyless: k.workflow()},
		"fallback, Rekor v2":       {image: "fallback/bundle-rekor-v2-stamped", keyless: k.workflow()},
		"fallback, other identity": {image: "fallback/bundle-rekor-v1", keyless: with(), refused: "subject mismatch"},
	}
	for _, format := range []string{"bundle", "legacy"} {
		logged, stamped, other := "person/"+format+"-rekor-v1", "person/"+format+"-stamped", "person/"+format+"-rekor-v1-other"
		maps.Copy(out, map[string]trial{
			format + ", no log":                      {image: stamped, keyless: with(), refused: noLog},
			format + ", no log, timestamp":           {image: stamped, keyless: with(stamps), refused: noLog},
			format + ", no log asked for":            {image: stamped, keyless: with(ignoreLog)},
			format + ", timestamp instead of log":    {image: stamped, keyless: with(ignoreLog, stamps)},
			format + ", timestamp asked for":         {image: logged, keyless: with(stamps), refused: "the signature carries no timestamp"},
			format + ", other log key":               {image: logged, keyless: with(otherLog), refused: "no transparency log entry verifies"},
			format + ", other certificate log's key": {image: logged, keyless: with(otherCT), refused: noSCT},
			format + ", other Fulcio":                {image: logged, keyless: with(otherRoot), refused: untrusted},
			format + ", signed by other Fulcio":      {image: other, keyless: with(), refused: untrusted},
			format + ", other Fulcio without SCT":    {image: other, keyless: with(otherRoot), refused: noSCT},
			format + ", other Fulcio, SCT ignored":   {image: other, keyless: with(otherRoot, ctlog(map[string]any{"ignoreSCT": true}))},
			format + ", other subject, SCT ignored": {
				image: other, keyless: with(otherRoot, ctlog(map[string]any{"ignoreSCT": true}), map[string]any{"subject": "ops@example.test"}), refused: "subject mismatch",
			},
		})
	}
	return out
}

// attestations are conditions on a SLSA provenance that a workflow signed.
func (k *keylessWorld) attestations() map[string]trial {
	out := map[string]trial{}
	asks := func(kind, key string, value any) map[string]any {
		return map[string]any{"type": kind, "conditions": []any{map[string]any{"all": []any{
			map[string]any{"key": "{{ " + key + " }}", "operator": "Equals", "value": value},
		}}}}
	}
	const buildType, builder = "buildDefinition.buildType", "runDetails.builder.id"
	for _, w := range []string{
		"workflow/bundle-rekor-v1", "workflow/bundle-rekor-v2-stamped", "workflow/legacy-rekor-v1", "workflow/legacy-rekor-v1-referrer",
		"fallback/bundle-rekor-v2-stamped",
	} {
		maps.Copy(out, map[string]trial{
			w:                    {image: w, keyless: k.workflow(), attested: asks(provenance, buildType, "https://example.test/build/v1")},
			w + ", builder":      {image: w, keyless: k.workflow(), attested: asks(provenance, builder, "https://example.test/builder")},
			w + ", no condition": {image: w, keyless: k.workflow(), attested: map[string]any{"type": provenance}},
			w + ", other value":  {image: w, keyless: k.workflow(), attested: asks(provenance, builder, "https://example.test/other"), refused: "attestation checks failed for"},
			w + ", other type":   {image: w, keyless: k.workflow(), attested: map[string]any{"type": "https://slsa.dev/provenance/v0.2"}, refused: "https://slsa.dev/provenance/v0.2"},
			w + ", other signer": {
				image: w, keyless: k.workflow(), refused: "subject mismatch",
				attested: map[string]any{"type": provenance, "attestors": k.attestors(k.person())["attestors"]},
			},
		})
	}
	p := "person/bundle-rekor-v2-stamped"
	out["without an attestation"] = trial{image: p, keyless: k.person(), attested: map[string]any{"type": provenance}, refused: provenance}
	return out
}

// ownFields are policies that bring all their trust along, under a trusted root that is empty.
func (k *keylessWorld) ownFields() map[string]trial {
	roots := map[string]any{"roots": k.read(k.Fulcio.TrustFile)}
	v1 := map[string]any{"rekor": map[string]any{"url": k.RekorV1.URL, "pubkey": k.read(k.RekorV1.TrustFile)}}
	v2 := map[string]any{"rekor": map[string]any{"url": k.RekorV1.URL, "pubkey": k.read(k.RekorV2.PublicKeyFile)}}
	ct := map[string]any{"ctlog": map[string]any{"pubkey": k.read(k.CT.PublicKeyFile)}}
	stamped := map[string]any{"ctlog": map[string]any{"pubkey": k.read(k.CT.PublicKeyFile), "tsaCertChain": k.read(k.TSA.TrustFile)}}
	with := func(maplets ...map[string]any) map[string]any {
		return fields(append([]map[string]any{k.person()}, maplets...)...)
	}
	other := map[string]any{"subject": "ops@example.test"}
	return map[string]trial{
		"bundle, Rekor v1":            {image: "person/bundle-rekor-v1", keyless: with(roots, v1, ct)},
		"bundle, Rekor v2, timestamp": {image: "person/bundle-rekor-v2-stamped", keyless: with(roots, v2, stamped)},
		"legacy, Rekor v1":            {image: "person/legacy-rekor-v1", keyless: with(roots, v1, ct)},
		"legacy, Rekor v1, timestamp": {image: "person/legacy-rekor-v1-stamped", keyless: with(roots, v1, stamped)},
		"bundle, other subject":       {image: "person/bundle-rekor-v1", keyless: with(roots, v1, ct, other), refused: "subject mismatch"},
		"legacy, other subject":       {image: "person/legacy-rekor-v1", keyless: with(roots, v1, ct, other), refused: "subject mismatch"},
		"no roots":                    {image: "person/bundle-rekor-v1", keyless: with(v1, ct), refused: untrusted},
		"no log key":                  {image: "person/bundle-rekor-v1", keyless: with(roots, ct), refused: "no transparency log entry verifies"},
		"the other log's key":         {image: "person/bundle-rekor-v1", keyless: with(roots, v2, ct), refused: "no transparency log entry verifies"},
		// Where nobody names a certificate log, none is asked for.
		"no certificate log key": {image: "person/bundle-rekor-v1", keyless: with(roots, v1)},
		"another certificate log's key": {
			image: "person/bundle-rekor-v1", refused: "no certificate log vouches for the certificate",
			keyless: with(roots, v1, map[string]any{"ctlog": map[string]any{"pubkey": k.read(k.RekorV1.TrustFile)}}),
		},
		"Rekor v2 without timestamp chain": {image: "person/bundle-rekor-v2-stamped", keyless: with(roots, v2, ct), refused: "neither a log entry nor a timestamp tells when"},
	}
}
