package webhook

// What a decoded review takes in bytes beside its texts, by what is written: an object without fields, one with some, a
// field, a list, and one more of either. A few bytes of JSON make up to forty times as many in memory, and whoever
// makes a request chooses which.
const (
	emptyWeight   = 56
	objectWeight  = 320
	fieldWeight   = 48
	listWeight    = 48
	elementWeight = 24

	// unweighed is the size of reviews that are not looked at, for they are small whatever they hold.
	unweighed = 16 << 10
)

// weight estimates what a review takes while it is judged: its text, which is there up to three times, and what it is
// decoded to.
func weight(body []byte) int64 {
	if len(body) <= unweighed {
		return 0
	}
	sum, quoted := 3*int64(len(body)), false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' && i+1 < len(body) && body[i+1] == '}':
			sum += emptyWeight
		case c == '{':
			sum += objectWeight
		case c == '[':
			sum += listWeight
		case c == ':':
			sum += fieldWeight
		case c == ',':
			sum += elementWeight
		}
	}
	return sum
}
