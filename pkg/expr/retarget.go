package expr

import (
	"strings"
)

// Retarget rewrites a text of a rule that is written for Pods, so that its expressions read the Pod template of a controller
// (VI 4.5(5)): request.object.spec becomes request.object.spec.<template>.spec and request.object.metadata becomes
// request.object.spec.<template>.metadata, and so for request.oldObject. The template is the path below spec, such as
// "template" or "jobTemplate.spec.template". Other fields of the object are left as they are.
func Retarget(s, template string) string {
	const object, oldObject = "request.object.", "request.oldObject."
	var b strings.Builder
	for {
		i, prefix := strings.Index(s, object), object
		if j := strings.Index(s, oldObject); j >= 0 && (i < 0 || j < i) {
			i, prefix = j, oldObject
		}
		if i < 0 {
			return b.String() + s
		}
		end := i + len(prefix)
		field := s[end:]
		field = field[:len(field)-len(strings.TrimLeftFunc(field, inName))]
		b.WriteString(s[:end])
		if (field == "spec" || field == "metadata") && !follows(s[:i]) {
			b.WriteString("spec." + template + ".")
		}
		s = s[end:]
	}
}

func inName(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// follows tells whether what comes after s goes on with a name or a path.
func follows(s string) bool {
	return s != "" && (inName(rune(s[len(s)-1])) || s[len(s)-1] == '.')
}
