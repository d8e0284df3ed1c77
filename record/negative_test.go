package record

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// change makes a bad line of a sample: the first from becomes to.
type change struct {
	name, from, to string
	reserved       bool // refused by name: ErrUnsupported
}

// refusals lists, for each sample, changes that break one rule each. The golden
// files of invalid lines are made from it.
func refusals() map[string][]change {
	long := func(n int) string { return strings.Repeat("x", n) }
	key64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	return map[string][]change{
		"snapshot": {
			{name: "space before the line", from: `{"v"`, to: ` {"v"`},
			{name: "space after a colon", from: `"v":1`, to: `"v": 1`},
			{name: "space after a comma", from: `,"kind"`, to: `, "kind"`},
			{name: "byte order mark", from: `{"v"`, to: "\ufeff{\"v\""},
			{name: "line feed behind", from: `"}`, to: "\"}\n"},
			{name: "carriage return behind", from: `"}`, to: "\"}\r"},
			{name: "comma before the brace", from: `"}`, to: `",}`},
			{name: "two frames' order", from: `"v":1,"kind":"snapshot"`, to: `"kind":"snapshot","v":1`},
			{name: "two fields' order", from: `"number":4,"position":8`, to: `"position":8,"number":4`},
			{name: "missing field", from: `,"position":8`, to: ``},
			{name: "duplicate field", from: `,"position":8`, to: `,"position":8,"position":8`},
			{name: "unknown field", from: `,"position":8`, to: `,"position":8,"x":1`},
			{name: "field name in capitals", from: `"position"`, to: `"Position"`},
			{name: "field name escaped", from: `"position"`, to: `"\u0070osition"`},
			{name: "null", from: `"number":4`, to: `"number":null`},
			{name: "number as a string", from: `"number":4`, to: `"number":"4"`},
			{name: "leading zero", from: `"number":4`, to: `"number":04`},
			{name: "two zeros", from: `"number":4`, to: `"number":00`},
			{name: "minus", from: `"number":4`, to: `"number":-4`},
			{name: "minus zero", from: `"number":4`, to: `"number":-0`},
			{name: "plus", from: `"number":4`, to: `"number":+4`},
			{name: "fraction", from: `"number":4`, to: `"number":4.0`},
			{name: "exponent", from: `"number":4`, to: `"number":4e0`},
			{name: "2^53", from: `"number":4`, to: `"number":9007199254740992`},
			{name: "2^64", from: `"number":4`, to: `"number":18446744073709551616`},
			{name: "2^64 and 4", from: `"number":4`, to: `"number":18446744073709551620`},
			{name: "no digits", from: `"number":4`, to: `"number":`},
			{name: "version with leading zero", from: `"v":1`, to: `"v":01`},
			{name: "version 2^53", from: `"v":1`, to: `"v":9007199254740992`},
			{name: "seq 0", from: `"seq":9`, to: `"seq":0`},
			{name: "kind in capitals", from: `"kind":"snapshot"`, to: `"kind":"Snapshot"`},
			{name: "empty kind", from: `"kind":"snapshot"`, to: `"kind":""`},
			{name: "kind with a digit first", from: `"kind":"snapshot"`, to: `"kind":"1"`},
			{name: "kind of 33 bytes", from: `"kind":"snapshot"`, to: `"kind":"` + long(33) + `"`},
			{name: "kind escaped", from: `"kind":"snapshot"`, to: `"kind":"\u0073napshot"`},
			{name: "id in capitals", from: `sha256:` + idFor("manifest").Hex(), to: `sha256:` + strings.ToUpper(idFor("manifest").Hex())},
			{name: "id's name in capitals", from: `"sha256:`, to: `"SHA256:`},
			{name: "another hash", from: `"sha256:`, to: `"sha512:`},
			{name: "id too short", from: idFor("manifest").Hex(), to: idFor("manifest").Hex()[1:]},
			{name: "id too long", from: idFor("manifest").Hex(), to: idFor("manifest").Hex() + "0"},
			{name: "id without its name", from: `"sha256:`, to: `"`},
			{name: "time without fraction", from: `05.000000006Z`, to: `05Z`},
			{name: "eight fraction digits", from: `05.000000006Z`, to: `05.00000006Z`},
			{name: "ten fraction digits", from: `05.000000006Z`, to: `05.0000000060Z`},
			{name: "offset", from: `006Z`, to: `006+00:00`},
			{name: "lower-case z", from: `006Z`, to: `006z`},
			{name: "lower-case t", from: `02T03`, to: `02t03`},
			{name: "space for T", from: `02T03`, to: `02 03`},
			{name: "comma for the point", from: `05.0`, to: `05,0`},
			{name: "month 0", from: `2026-01-02`, to: `2026-00-02`},
			{name: "month 13", from: `2026-01-02`, to: `2026-13-02`},
			{name: "day 0", from: `2026-01-02`, to: `2026-01-00`},
			{name: "day 32", from: `2026-01-02`, to: `2026-01-32`},
			{name: "April 31", from: `2026-01-02`, to: `2026-04-31`},
			{name: "February 29 in no leap year", from: `2026-01-02`, to: `2026-02-29`},
			{name: "February 29, 1900", from: `2026-01-02`, to: `1900-02-29`},
			{name: "year 0", from: `2026-01-02`, to: `0000-01-02`},
			{name: "five digits of year", from: `2026-01-02`, to: `12026-01-02`},
			{name: "hour 24", from: `T03:04:05`, to: `T24:00:00`},
			{name: "minute 60", from: `T03:04:05`, to: `T03:60:05`},
			{name: "leap second", from: `T03:04:05`, to: `T23:59:60`},
			{name: "sign in the time", from: `T03:04:05`, to: `T03:+4:05`},
		},
		"tx": {
			{name: "quotation mark escaped short", from: `"alice"`, to: `"a\"b"`},
			{name: "backslash escaped short", from: `"alice"`, to: `"a\\b"`},
			{name: "slash escaped", from: `"alice"`, to: `"a\/b"`},
			{name: "line feed escaped short", from: `"alice"`, to: `"a\nb"`},
			{name: "letter escaped", from: `"alice"`, to: `"\u0061lice"`},
			{name: "escape in capitals", from: `"alice"`, to: `"\u001F"`},
			{name: "escape with a capital U", from: `"alice"`, to: `"\U001f"`},
			{name: "escape above U+009F", from: `"alice"`, to: `"\u00a0"`},
			{name: "escape above U+00FF", from: `"alice"`, to: `"\u2028"`},
			{name: "pair of surrogates", from: `"alice"`, to: `"\ud83d\ude00"`},
			{name: "lone surrogate escaped", from: `"alice"`, to: `"\ud800"`},
			{name: "escape cut off", from: `"alice"`, to: `"\u00"`},
			{name: "backslash at the end", from: `"alice"`, to: `"alice\"`},
			{name: "raw NUL", from: `"alice"`, to: "\"a\x00\""},
			{name: "raw line feed", from: `"alice"`, to: "\"a\n\""},
			{name: "raw tab", from: `"alice"`, to: "\"a\t\""},
			{name: "raw U+007F", from: `"alice"`, to: "\"a\x7f\""},
			{name: "raw U+0080", from: `"alice"`, to: "\"a\u0080\""},
			{name: "raw U+0085", from: `"alice"`, to: "\"a\u0085\""},
			{name: "raw U+009F", from: `"alice"`, to: "\"a\u009f\""},
			{name: "continuation byte alone", from: `"alice"`, to: "\"a\x80\""},
			{name: "sequence cut off", from: `"alice"`, to: "\"a\xe2\x82\""},
			{name: "overlong NUL", from: `"alice"`, to: "\"a\xc0\x80\""},
			{name: "overlong slash", from: `"alice"`, to: "\"a\xe0\x80\xaf\""},
			{name: "surrogate in UTF-8", from: `"alice"`, to: "\"a\xed\xa0\x80\""},
			{name: "above U+10FFFF", from: `"alice"`, to: "\"a\xf4\x90\x80\x80\""},
			{name: "byte ff", from: `"alice"`, to: "\"a\xff\""},
			{name: "actor of 257 bytes", from: `"alice"`, to: `"` + long(257) + `"`},
			{name: "actor of 257 bytes in 129 characters", from: `"alice"`, to: `"x` + strings.Repeat("é", 128) + `"`},
			{name: "id of 257 bytes", from: `"order-7"`, to: `"` + long(257) + `"`},
			{name: "actor missing", from: `"actor":"alice",`, to: ``},
			{name: "actor null", from: `"alice"`, to: `null`},
			{name: "class empty", from: `,"req"`, to: `,"class":"","req"`},
			{name: "class log", from: `,"req"`, to: `,"class":"log","req"`},
			{name: "class in capitals", from: `,"req"`, to: `,"class":"Main","req"`},
			{name: "class with a slash", from: `,"req"`, to: `,"class":"a/b","req"`},
			{name: "class with a mark first", from: `,"req"`, to: `,"class":".a","req"`},
			{name: "class of 64 bytes", from: `,"req"`, to: `,"class":"` + long(64) + `","req"`},
			{name: "class after req", from: `,"ops"`, to: `,"class":"archive","ops"`},
			{name: "no ops", from: `,"ops":[` + txOps + `]`, to: ``},
			{name: "ops empty", from: txOps, to: ``},
			{name: "comma before the first op", from: `"ops":[`, to: `"ops":[,`},
			{name: "comma after the last op", from: `}]}`, to: `},]}`},
			{name: "space between ops", from: `}]}`, to: `} ]}`},
			{name: "unknown op", from: `"op":"put"`, to: `"op":"get"`},
			{name: "op in capitals", from: `"op":"put"`, to: `"op":"Put"`},
			{name: "key twice", from: txOps, to: txOps + `,` + txOps},
			{name: "key both ways", from: `"key":"a"`, to: `"key":"a","key64":"/w=="`},
			{name: "no key", from: `"key":"a",`, to: ``},
			{name: "key empty", from: `"key":"a"`, to: `"key":""`},
			{name: "key null", from: `"key":"a"`, to: `"key":null`},
			{name: "key of 1025 bytes", from: `"key":"a"`, to: `"key":"` + long(1025) + `"`},
			{name: "key64 of 1025 bytes", from: `"key":"a"`, to: `"key64":"` + key64(strings.Repeat("\xff", 1025)) + `"`},
			{name: "key64 of valid UTF-8", from: `"key":"a"`, to: `"key64":"YQ=="`},
			{name: "key64 empty", from: `"key":"a"`, to: `"key64":""`},
			{name: "key64 with trailing bits", from: `"key":"a"`, to: `"key64":"/x=="`},
			{name: "key64 without padding", from: `"key":"a"`, to: `"key64":"/w"`},
			{name: "key64 with padding too much", from: `"key":"a"`, to: `"key64":"/w==="`},
			{name: "key64 for URLs", from: `"key":"a"`, to: `"key64":"_w=="`},
			{name: "key64 with an escaped line feed", from: `"key":"a"`, to: `"key64":"/w\u000a=="`},
			{name: "key64 with a space", from: `"key":"a"`, to: `"key64":"/w ="`},
			{name: "space 6b", from: `"op":"put"`, to: `"op":"put","space":"6b"`},
			{name: "space in capitals", from: `"op":"put"`, to: `"op":"put","space":"FF"`},
			{name: "space of one digit", from: `"op":"put"`, to: `"op":"put","space":"1"`},
			{name: "space of three digits", from: `"op":"put"`, to: `"op":"put","space":"001"`},
			{name: "space empty", from: `"op":"put"`, to: `"op":"put","space":""`},
			{name: "type empty", from: `,"prev"`, to: `,"type":"","prev"`},
			{name: "type of 256 bytes", from: `,"prev"`, to: `,"type":"` + long(256) + `","prev"`},
			{name: "enc empty", from: `,"prev"`, to: `,"enc":"","prev"`},
			{name: "enc in capitals", from: `,"prev"`, to: `,"enc":"AGE","prev"`},
			{name: "enc before type", from: `,"prev"`, to: `,"enc":"a","type":"b","prev"`},
			{name: "chunks null", from: `,"prev"`, to: `,"chunks":null,"prev"`},
			{name: "condition empty", from: `,"prev"`, to: `,"if":{},"prev"`},
			{name: "condition null", from: `,"prev"`, to: `,"if":null,"prev"`},
			{name: "two conditions", from: `,"prev"`, to: `,"if":{"absent":true,"present":true},"prev"`},
			{name: "absent false", from: `,"prev"`, to: `,"if":{"absent":false},"prev"`},
			{name: "condition on a range", from: `,"prev"`, to: `,"if":{"since":1},"prev"`},
			{name: "n 0", from: `"n":1}`, to: `"n":0}`},
			{name: "prev of the first version", from: `"prev":0`, to: `"prev":1`},
			{name: "skip of the first version", from: `"skip":0`, to: `"skip":1`},
			{name: "no prev of the second version", from: `"n":1}`, to: `"n":2}`},
			{name: "no skip of the second version", from: `"prev":0,"skip":0,"n":1`, to: `"prev":4,"skip":0,"n":2`},
			{name: "skip of the second version is not prev", from: `"prev":0,"skip":0,"n":1`, to: `"prev":4,"skip":3,"n":2`},
			{name: "skip of the third version", from: `"prev":0,"skip":0,"n":1`, to: `"prev":4,"skip":3,"n":3`},
			{name: "skip of the sixth version is prev", from: `"prev":0,"skip":0,"n":1`, to: `"prev":6,"skip":6,"n":6`},
			{name: "prev is the record", from: `"prev":0,"skip":0,"n":1`, to: `"prev":7,"skip":7,"n":2`},
			{name: "prev missing", from: `"prev":0,`, to: ``},
			{name: "line too long", from: txOps, to: manyAppends},
			{name: "no brace at the end", from: `]}`, to: `]`},
		},
		"tx-all-ops": {
			{name: "condition after a put", from: `,{"op":"append"`, to: `,{"op":"if","since":1},{"op":"append"`},
			{name: "condition and put on one key", from: `"key":"absent"`, to: `"key":"a"`},
			{name: "key of an older op", from: `"key":"never there"`, to: `"key":"a"`},
			{name: "delete with a value", from: `{"op":"delete","key":"gone"`, to: `{"op":"delete","key":"gone","value":"` + idFor("v").String() + `","size":1`},
			{name: "append with a key", from: `{"op":"append"`, to: `{"op":"append","key":"x"`},
			{name: "append with a space", from: `{"op":"append"`, to: `{"op":"append","space":"00"`},
			{name: "append with a condition", from: `,"type":"a","chunks"`, to: `,"type":"a","if":{"absent":true},"chunks"`},
			{name: "append with links", from: `"enc":"x"}`, to: `"enc":"x","prev":0,"skip":0,"n":1}`},
			{name: "if without a condition", from: `"key":"absent","absent":true`, to: `"key":"absent"`},
			{name: "if with key and range", from: `"key":"absent","absent":true`, to: `"key":"absent","absent":true,"since":5`},
			{name: "range with to before from", from: `"from":"a","to":"b"`, to: `"to":"b","from":"a"`},
			{name: "range with an empty from", from: `"from":"a","to":"b"`, to: `"from":"","to":"b"`},
			{name: "range with an empty to64", from: `"from":"a","to":"b"`, to: `"from":"a","to64":""`},
			{name: "from64 of valid UTF-8", from: `"from":"a","to":"b"`, to: `"from64":"YQ==","to":"b"`},
			{name: "range without since", from: `,"since":5`, to: ``},
			{name: "from of 1025 bytes", from: `"from":"a"`, to: `"from":"` + long(1025) + `"`},
			{name: "condition seq 2^53", from: `"if":{"seq":9}`, to: `"if":{"seq":9007199254740992}`},
		},
		"tx-signed": {
			{name: "key without hash", from: `"alice+0123abcd"`, to: `"alice"`},
			{name: "key hash in capitals", from: `"alice+0123abcd"`, to: `"alice+0123ABCD"`},
			{name: "key hash of seven digits", from: `"alice+0123abcd"`, to: `"alice+0123abc"`},
			{name: "key without a name", from: `"alice+0123abcd"`, to: `"+0123abcd"`},
			{name: "key name with a space", from: `"alice+0123abcd"`, to: `"al ice+0123abcd"`},
			{name: "key name with U+3000", from: `"alice+0123abcd"`, to: `"al` + "\u3000" + `ice+0123abcd"`},
			{name: "key name with plus", from: `"alice+0123abcd"`, to: `"al+ice+0123abcd"`},
			{name: "key name of 256 bytes", from: `"alice+0123abcd"`, to: `"` + long(256) + `+0123abcd"`},
			{name: "signature empty", from: `"AQIDBA=="`, to: `""`},
			{name: "signature of 8193 bytes", from: `"AQIDBA=="`, to: `"` + key64(long(8193)) + `"`},
			{name: "signature with trailing bits", from: `"AQIDBA=="`, to: `"AQIDBB=="`},
			{name: "sig before key", from: `{"key":"alice+0123abcd","sig":"AQIDBA=="}`, to: `{"sig":"AQIDBA==","key":"alice+0123abcd"}`},
			{name: "sig null", from: `{"key":"alice+0123abcd","sig":"AQIDBA=="}`, to: `null`},
		},
		"tx-wide": {
			{name: "count 0", from: `"count":21`, to: `"count":0`},
			{name: "count 100001", from: `"count":21`, to: `"count":100001`},
			{name: "size 0", from: fmt.Sprintf(`"size":%d`, len(opLines(sampleOps()))), to: `"size":0`},
			{name: "ops beside wide", from: `,"wide"`, to: `,"ops":[` + txOps + `],"wide"`},
			{name: "ops behind wide", from: `}}`, to: `},"ops":[` + txOps + `]}`},
		},
		"commit": {
			{name: "no prev above height 0", from: `"prev":"` + hashFor("prev").String() + `",`, to: ``},
			{name: "prev at height 0", from: `"height":3`, to: `"height":0`},
			{name: "prev null", from: `"prev":"` + hashFor("prev").String() + `"`, to: `"prev":null`},
			{name: "root in hex", from: hashFor("root").String(), to: fmt.Sprintf("%x", hashFor("root"))},
			{name: "root with trailing bits", from: hashFor("root").String(), to: flipTrailingBit(hashFor("root").String())},
			{name: "root without padding", from: hashFor("root").String(), to: strings.TrimSuffix(hashFor("root").String(), "=")},
			{name: "root with an escaped line feed", from: hashFor("root").String()[1:], to: hashFor("root").String()[7:] + `\u000a`},
			{name: "root of 31 bytes", from: hashFor("root").String(), to: hashFor("root").String()[:42] + "=="},
			{name: "lines in base64", from: idFor("lines").String(), to: hashFor("lines").String()},
		},
		"block": {
			{name: "number null", from: `"number":0`, to: `"number":null`},
			{name: "class empty", from: `"class":"log"`, to: `"class":""`},
			{name: "class with a slash", from: `"class":"log"`, to: `"class":"a/b"`},
			{name: "class with a space", from: `"class":"log"`, to: `"class":"a b"`},
		},
		"authority": {
			{name: "number 0", from: `"number":1`, to: `"number":0`},
			{name: "no signature", from: sigsOf("authority"), to: ``},
			{name: "signatures not sorted", from: `"key":"a+00000000"`, to: `"key":"c+00000000"`},
			{name: "signature twice", from: `"key":"a+00000000"`, to: `"key":"b+ffffffff"`},
			{name: "sigs missing", from: `,"sigs":[` + sigsOf("authority") + `]`, to: ``},
		},
		"genesis": {
			{name: "seq 1", from: `"seq":0`, to: `"seq":1`},
			{name: "vault in capitals", from: `"vault":"30313233343536373839616263646566"`, to: `"vault":"3031323334353637383961626364656F"`},
			{name: "vault too short", from: `"vault":"30313233343536373839616263646566"`, to: `"vault":"303132333435363738396162636465"`},
			{name: "name empty", from: `"name":"main"`, to: `"name":""`},
			{name: "name with a slash", from: `"name":"main"`, to: `"name":"a/b"`},
			{name: "name with a point first", from: `"name":"main"`, to: `"name":".main"`},
			{name: "name of 64 bytes", from: `"name":"main"`, to: `"name":"` + long(64) + `"`},
			{name: "origin empty", from: `"origin":"example.org/graven/main"`, to: `"origin":""`},
			{name: "origin with a space", from: `"origin":"example.org/graven/main"`, to: `"origin":"a b"`},
			{name: "origin with U+00A0", from: `"origin":"example.org/graven/main"`, to: "\"origin\":\"a\u00a0b\""},
			{name: "origin with U+2028", from: `"origin":"example.org/graven/main"`, to: "\"origin\":\"a\u2028b\""},
			{name: "origin with plus", from: `"origin":"example.org/graven/main"`, to: `"origin":"a+b"`},
			{name: "origin with a control character", from: `"origin":"example.org/graven/main"`, to: `"origin":"a\u0001b"`},
			{name: "origin of 256 bytes", from: `"origin":"example.org/graven/main"`, to: `"origin":"` + long(256) + `"`},
			{name: "region empty", from: `,"hashes"`, to: `,"region":"","hashes"`},
			{name: "region of 64 bytes", from: `,"hashes"`, to: `,"region":"` + long(64) + `","hashes"`},
			{name: "leaf hash reserved", from: `"leaf":"sha256"`, to: `"leaf":"sha512"`, reserved: true},
			{name: "state hash reserved", from: `"state":"sha256"`, to: `"state":"blake3"`, reserved: true},
			{name: "node hash is no name", from: `"node":"sha256"`, to: `"node":"SHA256"`},
			{name: "artifact hash missing", from: `"artifact":"sha256",`, to: ``},
			{name: "no feature", from: genesisFeatures, to: ``},
			{name: "features not sorted", from: `"block/1","commit/1"`, to: `"commit/1","block/1"`},
			{name: "feature twice", from: `"block/1"`, to: `"block/1","block/1"`},
			{name: "feature without version", from: `"block/1"`, to: `"block"`},
			{name: "feature with leading zero", from: `"block/1"`, to: `"block/01"`},
			{name: "feature with two versions", from: `"block/1"`, to: `"block/1/1"`},
			{name: "feature in capitals", from: `"block/1"`, to: `"Block/1"`},
			{name: "feature version 2^53", from: `"block/1"`, to: `"block/9007199254740992"`},
			{name: "index 0", from: `"index":1`, to: `"index":0`},
			{name: "shards 13", from: `"shards":0`, to: `"shards":13`},
			{name: "block 0", from: `"block":67108864`, to: `"block":0`},
			{name: "file records 0", from: `"file":{"records":65536`, to: `"file":{"records":0`},
			{name: "file bytes 0", from: `"bytes":67108864`, to: `"bytes":0`},
			{name: "run records 0", from: `"run":{"records":65536`, to: `"run":{"records":0`},
			{name: "run ops 0", from: `"ops":65536`, to: `"ops":0`},
			{name: "run bytes 0", from: `"bytes":16777216`, to: `"bytes":0`},
			{name: "oplines 0", from: `"oplines":4096`, to: `"oplines":0`},
			{name: "value 0", from: `"value":262144`, to: `"value":0`},
			{name: "chunk less than value", from: `"chunk":8388608`, to: `"chunk":262143`},
			{name: "class empty", from: `"class":"main"`, to: `"class":""`},
			{name: "class log", from: `"class":"main"`, to: `"class":"log"`},
			{name: "sealed values", from: `"sealed":"none"`, to: `"sealed":"values"`, reserved: true},
			{name: "sealed values and keys", from: `"sealed":"none"`, to: `"sealed":"values+keys"`, reserved: true},
			{name: "sealed unknown", from: `"sealed":"none"`, to: `"sealed":"all"`},
		},
		"unknown-inert": {
			{name: "unknown kind with a raw tab", from: `"text":"`, to: "\"text\":\"\t"},
			{name: "unknown kind with bytes that are not UTF-8", from: `"text":"`, to: "\"text\":\"\xff"},
			{name: "unknown kind with an overlong sequence", from: `"text":"`, to: "\"text\":\"\xc0\xaf"},
			{name: "unknown kind without a brace at the end", from: `"}`, to: `"`},
			{name: "unknown kind with a blank behind the frame", from: `006Z",`, to: `006Z" ,`},
			{name: "unknown kind with a colon behind the frame", from: `006Z",`, to: `006Z":`},
			{name: "unknown kind with eight fraction digits", from: `000000006Z`, to: `00000006Z`},
			{name: "unknown kind of 65536 bytes", from: `"text":"`, to: `"text":"` + long(MaxLine+1-len(unknowns()["inert"]))},
		},
	}
}

var (
	txOps           = strings.TrimSuffix(string(opLines([]Op{userPut("a")})), "\n")
	genesisFeatures = `"` + strings.Join(DefaultGenesis().Features, `","`) + `"`
	manyAppends     = strings.Repeat(`{"op":"append","value":"`+idFor("v").String()+`","size":1},`, 640) + txOps
)

func sigsOf(name string) string {
	for _, s := range samples() {
		if s.name == name {
			line := string(appendSigs(nil, s.rec.Body.(*Document).Sigs))
			return strings.TrimSuffix(strings.TrimPrefix(line, `,"sigs":[`), `]`)
		}
	}
	return ""
}

// flipTrailingBit sets a bit of the last character that carries data where it
// carries none.
func flipTrailingBit(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	i := len(strings.TrimRight(s, "=")) - 1
	return s[:i] + string(alphabet[strings.IndexByte(alphabet, s[i])+1]) + s[i+1:]
}

func (c change) apply(t testing.TB, line []byte) []byte {
	t.Helper()
	if !strings.Contains(string(line), c.from) {
		t.Fatalf("%s: %q is not in %s", c.name, c.from, short(line))
	}
	return []byte(strings.Replace(string(line), c.from, c.to, 1))
}

func TestRefusals(t *testing.T) {
	lines := sampleLines(t)
	for base, changes := range refusals() {
		for _, c := range changes {
			t.Run(base+"/"+c.name, func(t *testing.T) {
				line := c.apply(t, lines[base])
				rec, err := Parse(line)
				if err == nil {
					t.Fatalf("accepted %s as %s/%d", short(line), rec.Kind, rec.V)
				}
				if !errors.Is(err, ErrSyntax) || rec != nil {
					t.Errorf("%v does not wrap ErrSyntax, or a record came too", err)
				}
				if errors.Is(err, ErrUnsupported) != c.reserved {
					t.Errorf("%v: wraps ErrUnsupported: %t", err, !c.reserved)
				}
			})
		}
	}
}

// What the encoder refuses, with the field that its error names.
func TestEncoderRefuses(t *testing.T) {
	long := strings.Repeat("x", 10000)
	op := func(change func(o *Op)) *Record {
		o := userPut("a")
		change(&o)
		return New(7, sampleTime, sampleTx(o))
	}
	tx := func(change func(tx *Tx)) *Record {
		tx := sampleTx(userPut("a"))
		change(tx)
		return New(7, sampleTime, tx)
	}
	gen := func(change func(g *Genesis)) *Record {
		g := sampleGenesis()
		change(g)
		return New(0, sampleTime, g)
	}
	tests := []struct {
		name, field string
		rec         *Record
	}{
		{"no body", "body", &Record{V: 1, Kind: "tx", Seq: 1, Time: sampleTime}},
		{"another kind", "kind", &Record{V: 1, Kind: "commit", Seq: 1, Time: sampleTime, Body: sampleTx(userPut("a"))}},
		{"a reserved kind", "kind", New(1, sampleTime, &Document{Kind: "hold", Number: 1, Sigs: []Sig{{"a+00000000", []byte{1}}}})},
		{"version 0", "v", &Record{Kind: "tx", Seq: 1, Time: sampleTime, Body: sampleTx(userPut("a"))}},
		{"version 2", "v", &Record{V: 2, Kind: "tx", Seq: 1, Time: sampleTime, Body: sampleTx(userPut("a"))}},
		{"seq 2^53", "seq", New(MaxInt+1, sampleTime, sampleTx(userPut("a")))},
		{"tx at 0", "seq", New(0, sampleTime, sampleTx(userPut("a")))},
		{"genesis at 1", "seq", New(1, sampleTime, sampleGenesis())},
		{"year 10000", "time", New(1, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), sampleTx(userPut("a")))},
		{"year 0", "time", New(1, time.Date(0, 12, 31, 23, 59, 59, 999999999, time.UTC), sampleTx(userPut("a")))},
		{"year 0 in UTC", "time", New(1, time.Date(1, 1, 1, 0, 0, 0, 0, time.FixedZone("", 60)), sampleTx(userPut("a")))},
		{"long actor", "actor", tx(func(tx *Tx) { tx.Actor = long[:257] })},
		{"actor not UTF-8", "actor", tx(func(tx *Tx) { tx.Actor = "\xff" })},
		{"long id", "id", tx(func(tx *Tx) { tx.ID = long[:257] })},
		{"class log", "class", tx(func(tx *Tx) { tx.Class = "log" })},
		{"class in capitals", "class", tx(func(tx *Tx) { tx.Class = "Main" })},
		{"sig without hash", "sig.key", tx(func(tx *Tx) { tx.Sig = &Sig{Key: "a", Sig: []byte{1}} })},
		{"sig empty", "sig.sig", tx(func(tx *Tx) { tx.Sig = &Sig{Key: "a+00000000"} })},
		{"no ops", "ops", tx(func(tx *Tx) { tx.Ops = nil })},
		{"ops and wide", "ops", tx(func(tx *Tx) { tx.Wide = &Wide{Size: 1, Count: 1} })},
		{"wide of nothing", "wide.size", New(1, sampleTime, &Tx{Wide: &Wide{Count: 1}})},
		{"wide of no ops", "wide.count", New(1, sampleTime, &Tx{Wide: &Wide{Size: 1}})},
		{"wide of too many", "wide.count", New(1, sampleTime, &Tx{Wide: &Wide{Size: 1, Count: 100001}})},
		{"key twice", "ops[1].key", tx(func(tx *Tx) { tx.Ops = append(tx.Ops, userPut("a")) })},
		{"line too long", "the line's length", tx(func(tx *Tx) {
			tx.Ops = nil
			for i := range 600 {
				tx.Ops = append(tx.Ops, userPut(fmt.Sprintf("%d", i)))
			}
		})},
		{"op of no kind", "ops[0].op", op(func(o *Op) { o.Kind = 0 })},
		{"op of kind 5", "ops[0].op", op(func(o *Op) { o.Kind = 5 })},
		{"no key", "ops[0].key", op(func(o *Op) { o.Key = nil })},
		{"long key", "ops[0].key", op(func(o *Op) { o.Key = []byte(long[:1025]) })},
		{"put with from", "ops[0].from", op(func(o *Op) { o.From = []byte("a") })},
		{"put with to", "ops[0].to", op(func(o *Op) { o.To = []byte("a") })},
		{"put with since", "ops[0].since", op(func(o *Op) { o.Since = 1 })},
		{"size 2^53", "ops[0].size", op(func(o *Op) { o.Size = MaxInt + 1 })},
		{"long type", "ops[0].type", op(func(o *Op) { o.Type = long[:256] })},
		{"type not UTF-8", "ops[0].type", op(func(o *Op) { o.Type = "\xff" })},
		{"enc in capitals", "ops[0].enc", op(func(o *Op) { o.Enc = "AGE" })},
		{"delete with a value", "ops[0].value", op(func(o *Op) { o.Kind = OpDelete })},
		{"append with a key", "ops[0].key", op(func(o *Op) { o.Kind = OpAppend })},
		{"append with links", "ops[0].n", op(func(o *Op) { o.Kind, o.Key = OpAppend, nil })},
		{"append with a condition", "ops[0].if", op(func(o *Op) { o.Kind, o.Key, o.N, o.If = OpAppend, nil, 0, &Cond{Kind: Absent} })},
		{"if without a condition", "ops[0].if", New(7, sampleTime, sampleTx(Op{Kind: OpIf, Key: []byte("a")}))},
		{"if on an empty key", "ops[0].key", New(7, sampleTime, sampleTx(Op{Kind: OpIf, Key: []byte{}}))},
		{"if on a range with a condition", "ops[0].if", New(7, sampleTime, sampleTx(Op{Kind: OpIf, If: &Cond{Kind: Absent}}))},
		{"if with a long from", "ops[0].from", New(7, sampleTime, sampleTx(Op{Kind: OpIf, From: []byte(long[:1025])}))},
		{"if with a long to", "ops[0].to", New(7, sampleTime, sampleTx(Op{Kind: OpIf, To: []byte(long[:1025])}))},
		{"if since 2^53", "ops[0].since", New(7, sampleTime, sampleTx(Op{Kind: OpIf, Since: MaxInt + 1}))},
		{"condition of no kind", "ops[0].if", op(func(o *Op) { o.If = &Cond{} })},
		{"condition with surplus seq", "ops[0].if.seq", op(func(o *Op) { o.If = &Cond{Kind: Absent, Seq: 1} })},
		{"condition with surplus value", "ops[0].if.value", op(func(o *Op) { o.If = &Cond{Kind: AtSeq, Value: idFor("v")} })},
		{"condition seq 2^53", "ops[0].if.seq", op(func(o *Op) { o.If = &Cond{Kind: AtSeq, Seq: MaxInt + 1} })},
		{"n 0", "ops[0].n", op(func(o *Op) { o.N = 0 })},
		{"n 2^53", "ops[0].n", op(func(o *Op) { o.N = MaxInt + 1 })},
		{"prev of version 1", "ops[0].prev", op(func(o *Op) { o.Prev = 1 })},
		{"prev 2^53", "ops[0].prev", op(func(o *Op) { o.N, o.Prev, o.Skip = 2, MaxInt+1, MaxInt+1 })},
		{"no skip", "ops[0].skip", op(func(o *Op) { o.N, o.Prev = 2, 3 })},
		{"skip behind prev", "ops[0].skip", op(func(o *Op) { o.N, o.Prev, o.Skip = 6, 3, 4 })},
		{"prev is the record", "ops[0].prev", op(func(o *Op) { o.N, o.Prev, o.Skip = 2, 7, 7 })},
		{"commit with prev at 0", "prev", New(1, sampleTime, &Commit{Prev: ptr(hashFor(""))})},
		{"commit without prev", "prev", New(1, sampleTime, &Commit{Height: 1})},
		{"commit epoch", "epoch", New(1, sampleTime, &Commit{Epoch: MaxInt + 1})},
		{"commit height", "height", New(1, sampleTime, &Commit{Height: MaxInt + 1, Prev: ptr(hashFor(""))})},
		{"block number", "number", New(1, sampleTime, &Block{Number: ptr(uint64(MaxInt + 1)), Class: "main"})},
		{"block size", "size", New(1, sampleTime, &Block{Size: MaxInt + 1, Class: "main"})},
		{"block count", "count", New(1, sampleTime, &Block{Count: MaxInt + 1, Class: "main"})},
		{"block class", "class", New(1, sampleTime, &Block{})},
		{"segment level", "level", New(1, sampleTime, &Segment{Level: MaxInt + 1})},
		{"segment format", "format", New(1, sampleTime, &Segment{Format: MaxInt + 1})},
		{"snapshot position", "position", New(1, sampleTime, &Snapshot{Position: MaxInt + 1})},
		{"document number", "number", New(1, sampleTime, &Document{Kind: "policy", Sigs: []Sig{{"a+00000000", []byte{1}}}})},
		{"document unsigned", "sigs", New(1, sampleTime, &Document{Kind: "policy", Number: 1})},
		{"document signed twice", "sigs[1].key", New(1, sampleTime, &Document{Kind: "policy", Number: 1, Sigs: []Sig{{"a+00000000", []byte{1}}, {"a+00000000", []byte{2}}}})},
		{"document with a long signature", "sigs[0].sig", New(1, sampleTime, &Document{Kind: "policy", Number: 1, Sigs: []Sig{{"a+00000000", []byte(long[:8193])}}})},
		{"genesis name", "name", gen(func(g *Genesis) { g.Name = "" })},
		{"genesis origin", "origin", gen(func(g *Genesis) { g.Origin = "a b" })},
		{"genesis region", "region", gen(func(g *Genesis) { g.Region = long[:64] })},
		{"genesis features", "features", gen(func(g *Genesis) { g.Features = nil })},
		{"genesis features unsorted", "features[1]", gen(func(g *Genesis) { g.Features = []string{"b/1", "a/1"} })},
		{"genesis feature without version", "features[0]", gen(func(g *Genesis) { g.Features = []string{"b"} })},
		{"genesis shards", "shards", gen(func(g *Genesis) { g.Shards = 13 })},
		{"genesis limit 0", "run.bytes", gen(func(g *Genesis) { g.RunBytes = 0 })},
		{"genesis limit 2^53", "file.records", gen(func(g *Genesis) { g.FileRecords = MaxInt + 1 })},
		{"genesis chunk", "chunk", gen(func(g *Genesis) { g.ChunkSize = g.ValueLimit - 1 })},
		{"genesis class", "class", gen(func(g *Genesis) { g.Class = "log" })},
		{"genesis sealed", "sealed", gen(func(g *Genesis) { g.Sealed = "values" })},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			out, err := tc.rec.Append([]byte("kept"))
			var field *FieldError
			if !errors.Is(err, ErrInvalid) || !errors.As(err, &field) || string(out) != "kept" {
				t.Fatalf("got %q, %v", out, err)
			}
			if field.Field != tc.field || field.Value == "" || field.Limit == "" {
				t.Errorf("the error names %q, wanted %q: %v", field.Field, tc.field, err)
			}
			if len(err.Error()) > 400 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}
