package verify_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

func identity(t testing.TB, text verify.IdentityText) verify.Identity {
	t.Helper()
	id, bad := verify.CompileIdentity(text)
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return id
}

// TestA33NearMisses says what patterns match that look alike.
func TestA33NearMisses(t *testing.T) {
	t.Parallel()
	const workflow = "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"
	subject := func(s string) verify.IdentityText { return verify.IdentityText{Subject: s} }
	expression := func(s string) verify.IdentityText { return verify.IdentityText{SubjectRegExp: s} }
	tests := map[string]struct {
		text verify.IdentityText
		name string
		want bool
	}{
		"exact":                                {subject(workflow), workflow, true},
		"exact, another branch":                {subject(workflow), strings.Replace(workflow, "main", "main2", 1), false},
		"exact, a pull request":                {subject(workflow), strings.Replace(workflow, "heads/main", "pull/1/merge", 1), false},
		"exact, more in front":                 {subject(workflow), "x" + workflow, false},
		"case":                                 {subject("Dev@corp.com"), "dev@corp.com", false},
		"star crosses a slash":                 {subject("https://github.com/acme*"), "https://github.com/acme-evil/app", true},
		"star after a slash":                   {subject("https://github.com/acme/*"), "https://github.com/acme-evil/app", false},
		"domain":                               {subject("*@corp.com"), "x@corp.com", true},
		"domain, more behind":                  {subject("*@corp.com"), "x@corp.com.evil", false},
		"domain, another in front":             {subject("*@corp.com"), "x@evil.test@corp.com", true},
		"domain, a dot is no wildcard":         {subject("*@corp.com"), "x@corpscom", false},
		"question mark":                        {subject("dev?@corp.com"), "dev1@corp.com", true},
		"question mark, nothing":               {subject("dev?@corp.com"), "dev@corp.com", false},
		"brackets stand for themselves":        {subject("[a-z]@corp.com"), "a@corp.com", false},
		"brackets, literally":                  {subject("dependabot[bot]@*"), "dependabot[bot]@github.com", true},
		"percent-encoding is not decoded":      {subject("https://github.com/acme/app@refs/heads/a/b"), "https://github.com/acme/app@refs/heads/a%2Fb", false},
		"reusable workflow, not the caller":    {subject("https://github.com/acme/app/*"), "https://github.com/acme/shared/.github/workflows/build.yml@refs/heads/main", false},
		"expression is not anchored":           {expression("https://github.com/acme/app"), "https://github.com/acme/app-evil/x", true},
		"expression in the middle":             {expression("github.com/acme"), "https://evil.test/github.com/acme", true},
		"expression, anchored":                 {expression("^https://github\\.com/acme/app/.*$"), "https://github.com/acme/app-evil/x", false},
		"expression, unescaped dot":            {expression("^https://github.com/"), "https://githubXcom/", true},
		"glob and expression, one and one":     {verify.IdentityText{Subject: "*@corp.com", SubjectRegExp: "^dev@"}, "dev@corp.com", true},
		"glob holds, expression not":           {verify.IdentityText{Subject: "*@corp.com", SubjectRegExp: "^dev@"}, "ops@corp.com", false},
		"expression holds, glob not":           {verify.IdentityText{Subject: "*@corp.com", SubjectRegExp: "^dev@"}, "dev@corp.org", false},
		"everything":                           {subject("*"), "x", true},
		"nothing asked for":                    {verify.IdentityText{}, "x", true},
		"issuer":                               {verify.IdentityText{Issuer: "https://*.corp.com"}, "", true},
		"issuer, more behind":                  {verify.IdentityText{Issuer: "https://id.corp.co"}, "", false},
		"issuer, slash at the end":             {verify.IdentityText{Issuer: "https://id.corp.com/"}, "", false},
		"issuer expression":                    {verify.IdentityText{IssuerRegExp: "^https://id\\."}, "", true},
		"issuer expression, no match":          {verify.IdentityText{IssuerRegExp: "^http://"}, "", false},
		"issuer glob holds, expression not":    {verify.IdentityText{Issuer: "*", IssuerRegExp: "^http://"}, "", false},
		"subject of no name, issuer asked for": {verify.IdentityText{Issuer: "*", Subject: "*"}, "", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &verify.Certified{Issuer: "https://id.corp.com"}
			if tc.name != "" {
				c.Subjects = []string{tc.name}
			}
			id := identity(t, tc.text)
			err := id.Check(c)
			if (err == nil) != tc.want {
				t.Errorf("%v, want a match: %v", err, tc.want)
			}
			if err != nil && err.Code != reason.IdentityMismatch {
				t.Errorf("code %s", err.Code)
			}
		})
	}
}

func TestMismatchTexts(t *testing.T) {
	t.Parallel()
	c := &verify.Certified{
		Subjects: []string{"a@x.test", "https://x.test/b"}, Misleading: []string{"https://x.test/b"}, Issuer: "https://id.test",
		Extensions: map[string]string{"1.3.6.1.4.1.57264.1.2": "push"},
	}
	hostile := &verify.Certified{Subjects: []string{"a\nFAKE: allowed\x1b[31m" + strings.Repeat("x", 5000)}, Issuer: "i\r\n"}
	extension := func(key, value string) verify.IdentityText {
		return verify.IdentityText{AdditionalExtensions: map[string]string{key: value}}
	}
	for name, tc := range map[string]struct {
		text verify.IdentityText
		c    *verify.Certified
		want string
	}{
		"subject":              {verify.IdentityText{Subject: "b"}, c, "subject mismatch: expected b, received a@x.test, https://x.test/b"},
		"misleading subject":   {verify.IdentityText{Subject: "https://*"}, c, "subject mismatch: expected https://*, received a@x.test, https://x.test/b"},
		"expression":           {verify.IdentityText{SubjectRegExp: "^b"}, c, "subject mismatch: expected ^b, received a@x.test, https://x.test/b"},
		"expression behind":    {verify.IdentityText{Subject: "a*", SubjectRegExp: "^b"}, c, "subject mismatch: expected ^b, received a@x.test, https://x.test/b"},
		"issuer":               {verify.IdentityText{Issuer: "b"}, c, "issuer mismatch: expected b, received https://id.test"},
		"issuer by expression": {verify.IdentityText{IssuerRegExp: "^b"}, c, "issuer mismatch: expected ^b, received https://id.test"},
		"extension":            {extension("githubWorkflowTrigger", "pull*"), c, "extension mismatch: expected pull* for key githubWorkflowTrigger, received push"},
		"extension's number":   {extension("1.3.6.1.4.1.57264.1.2", "pull*"), c, "extension mismatch: expected pull* for key 1.3.6.1.4.1.57264.1.2, received push"},
		"extension not there":  {extension("githubWorkflowRef", "*"), c, "extension mismatch: expected * for key githubWorkflowRef, received "},
		"extension unknown":    {extension("githubWorkflowref", "*"), c, "invalid certificate extension githubWorkflowref"},
		"subject first":        {verify.IdentityText{Subject: "b", Issuer: "b"}, c, "subject mismatch: expected b, received a@x.test, https://x.test/b"},
		"hostile issuer":       {verify.IdentityText{Issuer: "b"}, hostile, "issuer mismatch: expected b, received i  "},
	} {
		id := identity(t, tc.text)
		if err := id.Check(tc.c); err == nil || err.Text != tc.want {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
	id := identity(t, verify.IdentityText{Subject: "b"})
	if err := id.Check(hostile); err == nil || strings.ContainsAny(err.Text, "\n\x1b") || len(err.Text) > 700 {
		t.Errorf("a certificate writes the message: %q", err)
	}
}

func TestCompileIdentity(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text verify.IdentityText
		want []string
	}{
		"nothing":               {verify.IdentityText{}, nil},
		"all":                   {verify.IdentityText{Issuer: "a*", IssuerRegExp: "a", Subject: "?", SubjectRegExp: "(?i)a", AdditionalExtensions: map[string]string{"k": "v"}}, nil},
		"issuer expression":     {verify.IdentityText{IssuerRegExp: "("}, []string{"issuerRegExp"}},
		"subject expression":    {verify.IdentityText{SubjectRegExp: "(?=a)"}, []string{"subjectRegExp"}},
		"both expressions":      {verify.IdentityText{SubjectRegExp: "[", IssuerRegExp: "a{2000}"}, []string{"issuerRegExp", "subjectRegExp"}},
		"line break in issuer":  {verify.IdentityText{Issuer: "a\n"}, []string{"issuer"}},
		"NUL in subject":        {verify.IdentityText{Subject: "a\x00"}, []string{"subject"}},
		"empty extension":       {verify.IdentityText{AdditionalExtensions: map[string]string{"k": "", "l": "\t", "m": "x"}}, []string{"additionalExtensions[k]", "additionalExtensions[l]"}},
		"long subject":          {verify.IdentityText{Subject: strings.Repeat("a", 4097)}, []string{"subject"}},
		"long expression":       {verify.IdentityText{SubjectRegExp: strings.Repeat("a", 4097)}, []string{"subjectRegExp"}},
		"longest":               {verify.IdentityText{Subject: strings.Repeat("a", 4096), SubjectRegExp: strings.Repeat("a", 4096)}, nil},
		"unknown key of an own": {verify.IdentityText{AdditionalExtensions: map[string]string{"nonsense": "x"}}, nil},
	} {
		id, bad := verify.CompileIdentity(tc.text)
		var got []string
		for _, e := range bad {
			field := e.Field
			if e.Key != "" {
				field += "[" + e.Key + "]"
			}
			got = append(got, field)
			if e.Err == nil || !strings.HasPrefix(e.Error(), field+": ") {
				t.Errorf("%s: %v", name, e)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if len(bad) > 0 && (id.SubjectRegExp != nil || id.Extensions != nil || id.Subject.String() != "") {
			t.Errorf("%s: half an identity", name)
		}
	}
}
