package expr

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// functionCases has cases of every function: the expression and its value as JSON, or its error.
func functionCases() map[string]map[string]string {
	return map[string]map[string]string{
		"abs":  {"abs(`-2`)": `2`, "abs('x')": "error: abs(): argument 1 must be a number, not a string"},
		"avg":  {"avg(`[1,2]`)": `1.5`, "avg(`[]`)": `null`, "avg(names)": "error: must be an array of numbers"},
		"ceil": {"ceil(`1.2`)": `2`, "ceil(text)": "error: must be a number"},
		"contains": {"contains(text, 'b')": `true`, "contains(text, `1`)": `false`, "contains(names, 'a')": `true`, "contains(names, 'z')": `false`,
			"contains(components, components[0])": `true`, "contains(one, 'a')": "error: must be a string or an array, not a number"},
		"ends_with":  {"ends_with(text, 'c')": `true`, "ends_with(one, 'c')": "error: must be a string"},
		"find_first": {"find_first('abcabc', 'c')": `2`, "find_first('abc', 'x')": `null`, "find_first('abc', 'c', `9`)": "error: find_first() failed"},
		"find_last":  {"find_last('abcabc', 'c')": `5`, "find_last(one, 'c')": "error: must be a string"},
		"floor":      {"floor(`1.8`)": `1`, "floor(text)": "error: must be a number"},
		"from_items": {"from_items(`[[\"a\",1]]`)": `{"a":1}`, "from_items(`[[1,1]]`)": "error: from_items()", "from_items(names)": "error: from_items()"},
		"group_by":   {"group_by(`[{\"k\":\"a\"}]`, &k)": `{"a":[{"k":"a"}]}`, "group_by(components, &version)": "error: must evaluate to a string"},
		"items": {"items(`{\"b\":1,\"a\":2}`, 'key', 'value')": `[{"key":"a","value":2},{"key":"b","value":1}]`,
			"items(`[\"x\"]`, 'i', 'v')": `[{"i":0,"v":"x"}]`, "items(text, 'k', 'v')": "error: must be an array or an object", "items(`{}`, 'a')": "error: takes 3 arguments"},
		"join":     {"join('-', names)": `"b-a-c"`, "join('', `[]`)": `""`, "join('-', ports)": "error: must be an array of strings"},
		"keys":     {"keys(`{\"b\":1,\"a\":2}`)": `["a","b"]`, "keys(names)": "error: must be an object"},
		"length":   {"length('äb')": `2`, "length(names)": `3`, "length(`{\"a\":1}`)": `1`, "length(one)": "error: not a number", "length(nothing)": "error: not null"},
		"lower":    {"lower('AB')": `"ab"`, "lower(one)": "error: must be a string"},
		"map":      {"map(&name, components[:1])": `["log"]`, "map(&name, text)": "error: must be an array"},
		"max":      {"max(ports)": `8080`, "max(names)": `"c"`, "max(`[]`)": `null`, "max(`[1,\"a\"]`)": "error: of strings or of numbers"},
		"max_by":   {"max_by(components, &name).name": `"none"`, "max_by(components, &version)": "error: must be string"},
		"merge":    {"merge(`{\"a\":1}`, `{\"a\":2,\"b\":3}`)": `{"a":2,"b":3}`, "merge(`{}`, names)": "error: argument 2 must be an object"},
		"min":      {"min(ports)": `80`, "min(names)": `"a"`, "min(text)": "error: must be an array"},
		"min_by":   {"min_by(components, &name).name": `"http"`, "min_by(components, &version)": "error: must be string"},
		"not_null": {"not_null(nothing, one)": `1`, "not_null(gone)": `null`, "not_null()": "error: at least 1"},
		"pad_left": {"pad_left('a', `3`)": `"  a"`, "pad_left('abc', `2`)": `"abc"`, "pad_left('a', `3`, 'é')": `"ééa"`, "pad_left('a', `-1`)": "error: whole number",
			"pad_left('a', `3`, 'xy')": "error: one character", "pad_left('a', `1e12`)": "error: more than"},
		"pad_right": {"pad_right('a', `3`, '-')": `"a--"`, "pad_right('a', `1.5`)": "error: whole number"},
		"reverse":   {"reverse(names)": `["c","a","b"]`, "reverse('ab')": `"ba"`, "reverse(one)": "error: must be a string or an array"},
		"sort":      {"sort(names)": `["a","b","c"]`, "sort(ports)": `[80,8080]`, "sort(components)": "error: of strings or of numbers"},
		"sort_by": {"sort_by(components, &name)[].name": `["http","log","none"]`, "sort_by(`[{\"n\":2},{\"n\":1}]`, &n)[].n": `[1,2]`,
			"sort_by(components, &version)": "error: cannot sort by null", "sort_by(`[{\"n\":2},{\"n\":\"a\"}]`, &n)": "error: together"},
		"starts_with": {"starts_with(text, 'a')": `true`, "starts_with(text, one)": "error: argument 2"},
		"to_array":    {"to_array(one)": `[1]`, "to_array(names)": `["b","a","c"]`, "to_array()": "error: takes 1"},
		"to_number": {"to_number('1.5')": `1.5`, "to_number('x')": `null`, "to_number('NaN')": `null`, "to_number('1e999')": `null`, "to_number('0x10')": `null`,
			"to_number(one)": `1`, "to_number(names)": `null`, "to_number()": "error: takes 1"},
		"to_string": {"to_string(`1`)": `"1"`, "to_string(`1.5`)": `"1.5"`, "to_string(names)": `"[\"b\",\"a\",\"c\"]"`, "to_string(text)": `"abc"`,
			"to_string(nothing)": `"null"`, "to_string(`5000000000`)": `"5000000000"`, "to_string()": "error: takes 1"},
		"trim_left":  {"trim_left('  a ')": `"a "`, "trim_left(one)": "error: must be a string"},
		"trim_right": {"trim_right(' a ')": `" a"`, "trim_right(one)": "error: must be a string"},
		"type":       {"type(one)": `"number"`, "type(nothing)": `"null"`, "type(yes)": `"boolean"`, "type(names)": `"array"`, "type()": "error: takes 1"},
		"upper":      {"upper('ab')": `"AB"`, "upper(one)": "error: must be a string"},
		"values":     {"values(`{\"b\":1,\"a\":2}`)": `[2,1]`, "values(names)": "error: must be an object"},
		"zip":        {"zip(names, ports)": `[["b",8080],["a",80]]`, "zip(names, one)": "error: argument 2 must be an array"},

		"compare":    {"compare('a','b')": `-1`, "compare('b','a')": `1`, "compare('a','a')": `0`, "compare('a', `1`)": "error: argument 2 must be a string"},
		"equal_fold": {"equal_fold('Pizza','pIzZa')": `true`, "equal_fold('a','b')": `false`, "equal_fold('a', one)": "error: must be a string"},
		"replace": {"replace('a a a','a','b',`2`)": `"b b a"`, "replace('a a','a','b',`-1`)": `"b b"`, "replace('a','a','b',`0`)": `"a"`,
			"replace('a','a','b',`1.5`)": "error: whole number", "replace('a','a','b')": "error: takes 4"},
		"replace_all": {"replace_all('a a','a','bc')": `"bc bc"`, "replace_all('ab','','-')": `"-a-b-"`, "replace_all('a','a',`1`)": "error: argument 3"},
		"to_upper":    {"to_upper('äb')": `"ÄB"`, "to_upper(one)": "error: must be a string"},
		"to_lower":    {"to_lower('AB')": `"ab"`, "to_lower(nothing)": "error: not null"},
		"trim":        {"trim('¡¡Hi!!','!¡')": `"Hi"`, "trim('foocorpcom','mcof')": `"rp"`, "trim('foocorpcom','mo')": `"foocorpc"`, "trim('a')": "error: takes 2"},
		"trim_prefix": {"trim_prefix('docker://a','docker://')": `"a"`, "trim_prefix('a','b')": `"a"`, "trim_prefix(one,'b')": "error: must be a string"},
		"split":       {"split('a,b',',')": `["a","b"]`, "split('','x')": `[""]`, "split('ab','')": `["a","b"]`, "split(one,',')": "error: must be a string"},
		"truncate": {"truncate('foobar',`3`)": `"foo"`, "truncate('äöü',`2`)": `"äö"`, "truncate('a',`9`)": `"a"`, "truncate('a',`-1`)": `""`, "truncate('a',`1.5`)": "error: whole number",
			"truncate('a','1')": "error: must be a number"},
		"path_canonicalize": {"path_canonicalize('/var//lib///x/')": `"/var/lib/x"`, "path_canonicalize('/a/../b')": `"/b"`, "path_canonicalize('')": `""`, "path_canonicalize(one)": "error: must be a string"},
		"to_boolean":        {"to_boolean('TrUe')": `true`, "to_boolean('false')": `false`, "to_boolean('1')": "error: neither", "to_boolean(yes)": "error: must be a string"},
		"base64_encode":     {"base64_encode('hi')": `"aGk="`, "base64_encode(one)": "error: must be a string"},
		"base64_decode":     {"base64_decode('aGk=')": `"hi"`, "base64_decode('?')": "error: base64_decode()"},
		"sha256":            {"sha256('alertmanager-kube-prometheus-stack-alertmanager')": `"75c07bb807f2d80a85d34880b8af0c5f29f7c27577076ed5d0e4b427dee7dbcc"`, "sha256(one)": "error: must be a string"},
		"sha1":              {"sha1('abc')": `"a9993e364706816aba3e25717850c26c9cd0d89d"`, "sha1(one)": "error: must be a string"},
		"md5":               {"md5('abc')": `"900150983cd24fb0d6963f7d28e17f72"`, "md5(one)": "error: must be a string"},
		"pattern_match": {"pattern_match('158-7?-4*','158-73-417')": `true`, "pattern_match('1*',`15`)": `true`, "pattern_match('a','b')": `false`, "pattern_match('[a]','a')": `false`,
			"pattern_match('a',yes)": "error: must be a string or a number"},
		"regex_match": {"regex_match('^[1-7]$',`1`)": `true`, "regex_match('^[1-7]$','8')": `false`, "regex_match('b','abc')": `true`, "regex_match(quote,'a')": `false`, "regex_match('(?=a)','a')": "error: not a regular expression",
			"regex_match(join('',['(']),'a')": "error: not a regular expression", "regex_match('a',names)": "error: argument 2"},
		"regex_replace_all": {"regex_replace_all('([0-9])([0-9])','im 42 old','${1}1')": `"im 41 old"`, "regex_replace_all('a',`12`,`3`)": `"12"`, "regex_replace_all('1',`121`,`3`)": `"323"`,
			"regex_replace_all('x*','ab','-')": `"-a-b-"`, "regex_replace_all('^docker.io/(.*)$','docker.io/a','h/$1')": `"h/a"`, "regex_replace_all('(','a','b')": "error: not a regular expression"},
		"regex_replace_all_literal": {"regex_replace_all_literal('b','abc','$1')": `"a$1c"`, "regex_replace_all_literal('^(\\d{3})$','123','x')": `"x"`,
			"regex_replace_all_literal('b','abc',names)": "error: argument 3"},
		"label_match": {"label_match(`{\"a\":\"1\"}`,`{\"b\":\"2\",\"a\":\"1\"}`)": `true`, "label_match(`{\"a\":\"1\"}`,`{\"a\":\"2\"}`)": `false`, "label_match(`{\"a\":\"1\"}`,`{}`)": `false`,
			"label_match(`{\"a\":1}`,`{}`)": "error: label must be a string", "label_match(names,`{}`)": "error: must be an object"},

		"add": {"add(`1`,`2`)": `3`, "add('10Mi','10Mi')": `"20Mi"`, "add('1h',`5`)": `"1h0m5s"`, "add('1h','30s')": `"1h0m30s"`, "add('1Ki',`1`)": `"1025"`, "add(`1`,'1h')": `"1h0m1s"`,
			"add('1h','1Mi')": "error: cannot add a duration and a quantity", "add('x',`1`)": "error: neither a number nor", "add(yes,`1`)": "error: must be a string or a number",
			"add('2540400h','2540400h')": "error: out of range", "add('1e99999999','1')": "error: neither"},
		"subtract": {"subtract('10Mi','5Ki')": `"10235Ki"`, "subtract(`1`,`2`)": `-1`, "subtract('1h','30s')": `"59m30s"`, "subtract('3',`2`)": `"1"`, "subtract('1h','1')": "error: cannot add"},
		"multiply": {"multiply(`2`,`3`)": `6`, "multiply('2Mi',`2`)": `"4Mi"`, "multiply(`2`,'2Mi')": `"4Mi"`, "multiply('1h',`0.5`)": `"30m0s"`, "multiply('1Mi','1Mi')": "error: cannot multiply", "multiply('1h','1h')": "error: cannot multiply",
			"multiply('1h',`1e30`)": "error: out of range", "multiply(`1e308`,`10`)": "error: not a finite number"},
		"divide": {"divide(`3`,`2`)": `1.5`, "divide('10Mi','5Ki')": `2048`, "divide('10Mi',`2`)": `"5Mi"`, "divide('1h',`2`)": `"30m0s"`, "divide('1h','30s')": `120`, "divide(`1`,'1Mi')": "error: cannot divide", "divide(`1`,`0`)": "error: division by zero",
			"divide('1Mi','0')": "error: division by zero", "divide('1h','0s')": "error: division by zero"},
		"modulo": {"modulo(`10`,`3`)": `1`, "modulo('10Mi','3Ki')": `"1Ki"`, "modulo('1h','7s')": `"2s"`, "modulo('10',`3`)": `"1"`, "modulo('61s',`60`)": `"1s"`, "modulo(`10`,`0`)": "error: division by zero", "modulo('1','0')": "error: division by zero", "modulo('61s',`0`)": "error: division by zero",
			"modulo(`1.5`,`1`)": "error: whole number", "modulo('1h','1')": "error: cannot divide"},
		"sum": {"sum(`[6,3,8]`)": `17`, "sum(['2Ki','5Gi','8Mi'])": `"5251074Ki"`, "sum(['2h','50s','90s'])": `"2h2m20s"`, "sum(`[]`)": `0`, "sum(['1h','1'])": "error: cannot add", "sum(['x'])": "error: neither", "sum(text)": "error: must be an array",
			"sum(['2540400h','2540400h'])": "error: out of range"},
		"round": {"round(`10.125`,`2`)": `10.13`, "round(`-2.5`,`0`)": `-3`, "round(`1.5`,`-1`)": "error: whole number from 0", "round('1',`1`)": "error: must be a number"},

		"parse_json": {"parse_json('{\"a\":[1,2]}').a[1]": `2`, "parse_json('{')": "error: not JSON", "parse_json(one)": "error: must be a string"},
		"parse_yaml": {"parse_yaml('a: {b: [1, yes]}').a.b[0]": `1`, "parse_yaml('a: [')": "error: not YAML", "parse_yaml(one)": "error: must be a string"},
		"lookup": {"lookup(`{\"a\":1}`,'a')": `1`, "lookup(`{\"a\":1}`,'b')": `null`, "lookup(names,`1`)": `"a"`, "lookup(names,`9`)": `null`, "lookup(names,`-1`)": `null`,
			"lookup(names,'a')": "error: must be a number", "lookup(`{}`,`1`)": "error: must be a string", "lookup(names,`1.5`)": "error: whole number", "lookup(text,'a')": "error: must be an array or an object"},
		"object_from_lists": {"object_from_lists(names,ports)": `{"b":8080,"a":80,"c":null}`, "object_from_lists(`[\"a\"]`,ports)": `{"a":8080}`, "object_from_lists(ports,names)": `{"8080":"b","80":"a"}`, "object_from_lists(`[null]`,names)": "error: key must be a string"},
		"semver_compare": {"semver_compare('1.2.3','1.2.4')": `false`, "semver_compare('4.1.3','>=4.1.x')": `true`, "semver_compare('4.1.3','!4.x.x')": `false`, "semver_compare('1.8.6','>1.0.0 <2.0.0')": `true`,
			"semver_compare('2.1.5','<2.0.0 || >=3.0.0')": `false`, "semver_compare('x','1.0.0')": "error: not a semantic version", "semver_compare('1.0.0','x y')": "error: not a range"},
		"x509_decode": {"x509_decode('x')": "error: not a PEM block", "x509_decode(one)": "error: must be a string"},
		"random": {"random('abc')": `"abc"`, "length(random('[a-z0-9]{6}'))": `6`, "regex_match('^[A-Z]{2}-[0-9]+(x|y)?.$', random('[A-Z]{2}-[0-9]+(x|y)?.'))": `true`, "random('(')": "error: not a regular expression",
			"random('\\b')": "error: no text can be made", "random('(a{1000}){1000}')": "error: random()", "random('(aa){900}')": "error: more than 1024 random"},
		"image_normalize": {"image_normalize('nginx')": `"docker.io/nginx:latest"`, "image_normalize('foo/bar:1')": `"docker.io/foo/bar:1"`, "image_normalize('localhost:5000/a/b')": `"localhost:5000/a/b:latest"`,
			"image_normalize('ghcr.io/k/z:v1@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')": `"ghcr.io/k/z@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`,
			"image_normalize('A B')": "error: not an image reference"},
		"is_external_url": {"is_external_url('http://8.8.8.8/x')": `true`, "is_external_url('http://10.0.0.1')": `false`, "is_external_url('http://[::1]:80')": `false`, "is_external_url('http://[::ffff:127.0.0.1]')": `false`,
			"is_external_url('http://169.254.169.254')": `false`, "is_external_url('https://outside.example')": `true`, "is_external_url('https://inside.example')": `false`,
			"is_external_url('https://gone.example')": "error: no such host", "is_external_url('https://empty.example')": "error: no address", "is_external_url('x')": "error: not a URL"},

		"time_since": {"time_since('','2022-04-10T03:14:05-07:00','2022-04-11T03:14:05-07:00')": `"24h0m0s"`, "time_since('Mon Jan _2 15:04:05 MST 2006','Mon Jan 02 15:04:05 MST 2021','Mon Jan 10 03:14:16 MST 2021')": `"180h10m11s"`,
			"time_since('2006-Jan-02','2020-Jan-14','2020-Jan-17')": `"72h0m0s"`, "time_since('','2024-05-06T07:00:00Z','')": `"8m9s"`, "time_since('','x','')": "error: not a time"},
		"time_now":      {"time_now()": `"2024-05-06T07:08:09Z"`, "time_now(one)": "error: takes 0"},
		"time_now_utc":  {"time_now_utc()": `"2024-05-06T07:08:09Z"`, "time_now_utc(one)": "error: takes 0"},
		"time_add":      {"time_add('2023-01-12T12:37:56-05:00','6h')": `"2023-01-12T18:37:56-05:00"`, "time_add('x','1h')": "error: not a time", "time_add('2023-01-12T12:37:56Z','x')": "error: not a duration"},
		"time_truncate": {"time_truncate('2023-01-12T17:37:00Z','1h')": `"2023-01-12T17:00:00Z"`, "time_truncate('2023-01-12T17:37:00Z','2h')": `"2023-01-12T16:00:00Z"`, "time_truncate('2023-01-12T17:37:00Z','0s')": "error: must be positive"},
		"time_parse": {"time_parse('Mon Jan 02 2006 15:04:05 -0700','Wed Jun 22 2022 17:45:00 +0100')": `"2022-06-22T17:45:00+01:00"`, "time_parse('2006-01-02T15:04:05Z07:00','2021-01-02T15:04:05-07:00')": `"2021-01-02T15:04:05-07:00"`,
			"time_parse('1702691171','1702691171')": `"2023-12-16T01:46:11Z"`, "time_parse('1','x')": "error: number of seconds", "time_parse('2006-01','x')": "error: not a time"},
		"time_to_cron": {"time_to_cron('2022-04-11T03:14:05-07:00')": `"14 3 11 4 1"`, "time_to_cron('x')": "error: not a time"},
		"time_utc":     {"time_utc('2021-01-02T18:04:05-05:00')": `"2021-01-02T23:04:05Z"`, "time_utc('x')": "error: not a time"},
		"time_diff":    {"time_diff('2023-01-10T00:00:00Z','2023-01-11T00:00:00Z')": `"24h0m0s"`, "time_diff('2023-01-12T00:00:00Z','2023-01-11T00:00:00Z')": `"-24h0m0s"`, "time_diff('x','x')": "error: not a time"},
		"time_before":  {"time_before('2023-01-12T19:05:59Z','2023-01-13T19:05:59Z')": `true`, "time_before('2023-01-12T19:05:59Z','2023-01-11T19:05:59Z')": `false`, "time_before('x','x')": "error: not a time"},
		"time_after":   {"time_after('2023-01-12T14:07:55-05:00','2023-01-12T19:05:59Z')": `true`, "time_after('2023-01-12T19:05:59Z','2023-01-13T19:05:59Z')": `false`, "time_after('x','x')": "error: not a time"},
		"time_between": {"time_between('2023-01-12T19:05:59Z','2023-01-01T19:05:59Z','2023-01-15T19:05:59Z')": `true`, "time_between('2023-01-12T19:05:59Z','2023-01-01T19:05:59Z','2023-01-11T19:05:59Z')": `false`,
			"time_between('x','x','x')": "error: not a time"},
	}
}

// TestFunctions has cases of every function, an error at least among them.
func TestFunctions(t *testing.T) {
	t.Parallel()
	table := functionCases()
	for _, name := range Functions() {
		failing := false
		for _, want := range table[name] {
			failing = failing || strings.HasPrefix(want, "error: ")
		}
		if len(table[name]) < 2 || !failing {
			t.Errorf("%s() has no test, or none of an error", name)
		}
	}
	for name, cases := range table {
		if !slices.Contains(Functions(), name) {
			t.Errorf("%s() does not exist", name)
		}
		for source, want := range cases {
			t.Run(source, func(t *testing.T) {
				t.Parallel()
				got, err := query(t, testScope(t), source)
				check(t, got, err, want)
			})
		}
	}
}

// TestContractFunctions names the functions that VI 6.8(5) requires besides the standard ones.
func TestContractFunctions(t *testing.T) {
	t.Parallel()
	for name := range strings.FieldsSeq(`compare equal_fold replace replace_all to_upper to_lower trim trim_prefix split
		regex_replace_all regex_replace_all_literal regex_match pattern_match label_match to_boolean add sum subtract multiply
		divide modulo round base64_decode base64_encode path_canonicalize truncate semver_compare parse_json parse_yaml lookup
		items object_from_lists random x509_decode image_normalize is_external_url sha256 sha1 md5 time_since time_now
		time_now_utc time_add time_parse time_to_cron time_utc time_diff time_before time_after time_between time_truncate
		abs avg ceil contains ends_with floor join keys length map max max_by merge min min_by not_null reverse sort sort_by
		starts_with to_array to_number to_string type values`) {
		if lookupFunction(name) == nil {
			t.Errorf("%s() is missing", name)
		}
	}
}

func TestX509Decode(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "signer"}, DNSNames: []string{"a.example"},
		NotBefore: clock, NotAfter: clock.Add(48 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	certificate := func(pub, key any) string {
		der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "asker"}}, ecKey)
	if err != nil {
		t.Fatal(err)
	}
	s := testScope(t)
	s.Set("rsa", certificate(&rsaKey.PublicKey, rsaKey))
	s.Set("ec", certificate(&ecKey.PublicKey, ecKey))
	s.Set("ed", certificate(edKey.Public(), edKey))
	s.Set("request2", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
	s.Set("key", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	s.Set("broken", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	for source, want := range map[string]string{
		"x509_decode(rsa).Subject.CommonName":                                   `"signer"`,
		"x509_decode(rsa).PublicKey.E":                                          `65537`,
		"x509_decode(rsa).DNSNames":                                             `["a.example"]`,
		"x509_decode(rsa).IsCA":                                                 `true`,
		"x509_decode(rsa).time_since('',NotBefore,NotAfter)":                    `"48h0m0s"`,
		"x509_decode(ec).PublicKey.Curve":                                       `"P-256"`,
		"x509_decode(ed).PublicKey.Ed25519 | length(@)":                         `44`,
		"x509_decode(request2).Subject.CommonName":                              `"asker"`,
		"x509_decode(key)":                                                      "error: neither a certificate nor a certificate request",
		"x509_decode(broken)":                                                   "error: not a certificate",
		"base64_decode('{{ base64_encode(rsa) }}').x509_decode(@).SerialNumber": `7`,
	} {
		t.Run(source, func(t *testing.T) {
			got, err := query(t, s, source)
			check(t, got, err, want)
		})
	}
}
