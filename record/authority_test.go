package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func mustAuthority(t testing.TB, a *Authority) []byte {
	t.Helper()
	doc, err := a.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func mustPolicy(t testing.TB, y *Policy) []byte {
	t.Helper()
	doc, err := y.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestAuthority(t *testing.T) {
	a := sampleAuthority()
	doc := mustAuthority(t, a)
	want := `{"v":1,"kind":"authority","epoch":0,"threshold":1,"keys":[{"roles":["authority","log"],"vkey":"` + a.Keys[0].VKey +
		`"},{"roles":["cosigner"],"vkey":"` + a.Keys[1].VKey + `"}]}`
	if string(doc) != want {
		t.Errorf("got  %s\nwant %s", doc, want)
	}
	if !json.Valid(doc) {
		t.Error("not valid JSON")
	}
	got, err := ParseAuthority(doc)
	if err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("parsed %+v, %v", got, err)
	}
	if !got.Keys[0].Has(RoleLog) || got.Keys[1].Has(RoleLog) {
		t.Error("Has does not tell roles")
	}
}

func TestPolicy(t *testing.T) {
	y := samplePolicy()
	doc := mustPolicy(t, y)
	want := `{"v":1,"kind":"policy","features":[` + genesisFeatures + `],"classes":["archive","main"]}`
	if string(doc) != want {
		t.Errorf("got  %s\nwant %s", doc, want)
	}
	if got, err := ParsePolicy(doc); err != nil || !reflect.DeepEqual(got, y) {
		t.Errorf("parsed %+v, %v", got, err)
	}
}

func TestPolicyOfSigners(t *testing.T) {
	y := sampleSigners()
	doc := mustPolicy(t, y)
	want := `{"v":2,"kind":"policy","features":[` + genesisFeatures + `],"classes":["archive","main"],"actors":[{"actor":"alice","keys":["` +
		y.Actors[0].Keys[0] + `","` + y.Actors[0].Keys[1] + `"]},{"actor":"clerk 3","keys":[]}],"others":"refuse"}`
	if string(doc) != want {
		t.Errorf("got  %s\nwant %s", doc, want)
	}
	got, err := ParsePolicy(doc)
	if err != nil || !reflect.DeepEqual(got, y) {
		t.Fatalf("parsed %+v, %v", got, err)
	}
	if keys, known := got.Keys("alice"); !known || len(keys) != 2 {
		t.Errorf("alice has %q, known: %v", keys, known)
	}
	if keys, known := got.Keys("clerk 3"); !known || len(keys) != 0 {
		t.Errorf("clerk 3 has %q, known: %v", keys, known)
	}
	if _, known := got.Keys("bob"); known {
		t.Error("bob is known")
	}
	if id := KeyIDOf(y.Actors[0].Keys[0]); !isKeyID(id) || !strings.HasPrefix(y.Actors[0].Keys[0], id+"+") {
		t.Errorf("the key's id is %q", id)
	}
}

func TestDocumentVersions(t *testing.T) {
	for _, doc := range []string{`{"v":2,"kind":"authority","quorum":[]}`, `{"v":0,"kind":"authority"}`} {
		if _, err := ParseAuthority([]byte(doc)); !errors.Is(err, ErrUnknownVersion) || errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v", doc, err)
		}
	}
	if _, err := ParsePolicy([]byte(`{"v":3,"kind":"policy"}`)); !errors.Is(err, ErrUnknownVersion) {
		t.Error(err)
	}
	if _, err := ParsePolicy([]byte(`{"v":2,"kind":"authority"}`)); !errors.Is(err, ErrSyntax) {
		t.Error(err)
	}
}

// The base64 of a key may hold what parts its name from its hash.
func TestPolicyKeyWithPlus(t *testing.T) {
	key := append([]byte{1}, bytes.Repeat([]byte{0x0f, 0x80}, 16)...)
	sum := sha256.Sum256(append([]byte("alice\n"), key...))
	vkey := fmt.Sprintf("alice+%x+%s", sum[:4], base64.StdEncoding.EncodeToString(key))
	if !strings.Contains(vkey[len("alice+00000000+"):], "+") {
		t.Fatalf("%s has no + in its key", vkey)
	}
	y := samplePolicy()
	y.Actors = []PolicyActor{{Actor: "alice", Keys: []string{vkey}}}
	if got, err := ParsePolicy(mustPolicy(t, y)); err != nil || !reflect.DeepEqual(got, y) {
		t.Errorf("parsed %+v, %v", got, err)
	}
}

// documentRefusals lists changes of the sample documents that break one rule each.
func documentRefusals() (authority, policy []change) {
	a := sampleAuthority()
	first := `{"roles":["authority","log"],"vkey":"` + a.Keys[0].VKey + `"}`
	second := `{"roles":["cosigner"],"vkey":"` + a.Keys[1].VKey + `"}`
	hash := strings.Split(a.Keys[0].VKey, "+")[1]
	authority = []change{
		{name: "threshold 0", from: `"threshold":1`, to: `"threshold":0`},
		{name: "threshold above the authority keys", from: `"threshold":1`, to: `"threshold":2`},
		{name: "epoch 2^53", from: `"epoch":0`, to: `"epoch":9007199254740992`},
		{name: "no keys", from: first + "," + second, to: ``},
		{name: "keys not sorted", from: first + "," + second, to: second + "," + first},
		{name: "key twice", from: second, to: first},
		{name: "roles not sorted", from: `["authority","log"]`, to: `["log","authority"]`},
		{name: "role twice", from: `["cosigner"]`, to: `["cosigner","cosigner"]`},
		{name: "no roles", from: `["cosigner"]`, to: `[]`},
		{name: "unknown role", from: `["cosigner"]`, to: `["witness"]`},
		{name: "key hash of another key", from: "+" + hash + "+", to: "+00000000+"},
		{name: "key hash in capitals", from: "+" + hash + "+", to: "+" + strings.ToUpper(hash) + "+"},
		{name: "key without hash", from: "+" + hash + "+", to: "+"},
		{name: "key of a type alone", from: a.Keys[0].VKey, to: vkeyFor("a", 1, 0)},
		{name: "key without padding", from: a.Keys[1].VKey, to: strings.TrimRight(a.Keys[1].VKey, "=")},
		{name: "key with a space in its name", from: a.Keys[0].VKey, to: vkeyFor("a b", 1, 32)},
		{name: "space", from: `"epoch":0`, to: `"epoch": 0`},
		{name: "line feed behind", from: `]}`, to: "]}\n"},
		{name: "field missing", from: `"epoch":0,`, to: ``},
		{name: "vkey before roles", from: second, to: `{"vkey":"` + a.Keys[1].VKey + `","roles":["cosigner"]}`},
	}
	policy = []change{
		{name: "no features", from: `[` + genesisFeatures + `]`, to: `[]`},
		{name: "features not sorted", from: `"block/1","commit/1"`, to: `"commit/1","block/1"`},
		{name: "no classes", from: `["archive","main"]`, to: `[]`},
		{name: "classes not sorted", from: `["archive","main"]`, to: `["main","archive"]`},
		{name: "class twice", from: `["archive","main"]`, to: `["main","main"]`},
		{name: "class log", from: `["archive","main"]`, to: `["log","main"]`},
		{name: "class empty", from: `["archive","main"]`, to: `["","main"]`},
		{name: "classes before features", from: `"features"`, to: `"classes":["main"],"features"`},
		{name: "comma too much", from: `["archive","main"]`, to: `["archive","main",]`},
		{name: "null", from: `["archive","main"]`, to: `null`},
		{name: "space behind", from: `]}`, to: `]} `},
	}
	return authority, policy
}

// signerRefusals lists changes of the sample policy of version 2 that break one
// rule each.
func signerRefusals() []change {
	y := sampleSigners()
	first, second := y.Actors[0].Keys[0], y.Actors[0].Keys[1]
	keys := `["` + first + `","` + second + `"]`
	twin := func(kind byte, size int) string { return `["` + vkeyFor("alice", kind, size) + `"]` }
	return []change{
		{name: "version 1 with actors", from: `"v":2`, to: `"v":1`},
		{name: "nothing that version 1 cannot say", from: `[{"actor":"alice","keys":` + keys + `},{"actor":"clerk 3","keys":[]}],"others":"refuse"`, to: `[],"others":"allow"`},
		{name: "no actors field", from: `"actors":[{"actor":"alice","keys":` + keys + `},{"actor":"clerk 3","keys":[]}],`, to: ``},
		{name: "no others", from: `,"others":"refuse"`, to: ``},
		{name: "others unknown", from: `"refuse"`, to: `"ask"`},
		{name: "actors not sorted", from: `"alice"`, to: `"david"`},
		{name: "actor twice", from: `"clerk 3"`, to: `"alice"`},
		{name: "actor of 257 bytes", from: `"clerk 3"`, to: `"` + strings.Repeat("x", 257) + `"`},
		{name: "keys not sorted", from: keys, to: `["` + second + `","` + first + `"]`},
		{name: "key twice", from: second, to: first},
		{name: "key of type 4", from: keys, to: twin(4, 32)},
		{name: "key of type 1 with 31 bytes", from: keys, to: twin(1, 31)},
		{name: "key of type 6 with 32 bytes", from: keys, to: twin(6, 32)},
		{name: "key without hash", from: "+" + strings.Split(first, "+")[1] + "+", to: "+"},
		{name: "keys before actor", from: `{"actor":"clerk 3","keys":[]}`, to: `{"keys":[],"actor":"clerk 3"}`},
		{name: "comma before the first actor", from: `"actors":[`, to: `"actors":[,`},
		{name: "comma behind the last actor", from: `"keys":[]}]`, to: `"keys":[]},]`},
		{name: "space", from: `"keys":[]`, to: `"keys": []`},
		{name: "space behind", from: `"refuse"}`, to: `"refuse"} `},
	}
}

func TestDocumentRefusals(t *testing.T) {
	authority, policy := documentRefusals()
	base := mustAuthority(t, sampleAuthority())
	for _, c := range authority {
		if _, err := ParseAuthority(c.apply(t, base)); !errors.Is(err, ErrSyntax) {
			t.Errorf("authority, %s: %v", c.name, err)
		}
	}
	base = mustPolicy(t, samplePolicy())
	for _, c := range policy {
		if _, err := ParsePolicy(c.apply(t, base)); !errors.Is(err, ErrSyntax) {
			t.Errorf("policy, %s: %v", c.name, err)
		}
	}
	base = mustPolicy(t, sampleSigners())
	for _, c := range signerRefusals() {
		if _, err := ParsePolicy(c.apply(t, base)); !errors.Is(err, ErrSyntax) {
			t.Errorf("policy of signers, %s: %v", c.name, err)
		}
	}
}

func TestDocumentEncoderRefuses(t *testing.T) {
	authorities := map[string]func(a *Authority){
		"threshold":     func(a *Authority) { a.Threshold = 2 },
		"epoch":         func(a *Authority) { a.Epoch = MaxInt + 1 },
		"keys[0].roles": func(a *Authority) { a.Keys[0].Roles = nil },
		"keys[1].vkey":  func(a *Authority) { a.Keys[1].VKey = "x" },
	}
	for field, change := range authorities {
		a := sampleAuthority()
		change(a)
		checkField(t, field)(a.Append([]byte("x")))
	}
	policies := map[string]func(y *Policy){
		"features":   func(y *Policy) { y.Features = nil },
		"classes[0]": func(y *Policy) { y.Classes = []string{"log"} },
		"classes[1]": func(y *Policy) { y.Classes = []string{"b", "a"} },
		"actors[1].actor": func(y *Policy) {
			y.Actors = []PolicyActor{{Actor: "b"}, {Actor: "a"}}
		},
		"actors[0].keys[1]": func(y *Policy) {
			y.Actors = []PolicyActor{{Actor: "b", Keys: []string{vkeyFor("b", 1, 32), vkeyFor("a", 1, 32)}}}
		},
	}
	for field, change := range policies {
		y := samplePolicy()
		change(y)
		checkField(t, field)(y.Append([]byte("x")))
	}
}

// checkField checks that an encoder left "x" as it was and named the field.
func checkField(t *testing.T, field string) func([]byte, error) {
	return func(out []byte, err error) {
		t.Helper()
		var e *FieldError
		if !errors.As(err, &e) || e.Field != field || string(out) != "x" {
			t.Errorf("%q, %v; wanted an error about %s", out, err, field)
		}
	}
}

// Truncations and flipped bits, as for records.
func TestDocumentDamage(t *testing.T) {
	small := sampleAuthority()
	small.Keys = small.Keys[:1]
	tests := []struct {
		name string
		doc  []byte
		read func([]byte) ([]byte, error)
	}{
		{"authority", mustAuthority(t, small), reencodeAuthority},
		{"policy", mustPolicy(t, samplePolicy()), reencodePolicy},
		{"policy of signers", mustPolicy(t, sampleSigners()), reencodePolicy},
	}
	for _, tc := range tests {
		for n := range tc.doc {
			if _, err := tc.read(tc.doc[:n]); !errors.Is(err, ErrSyntax) {
				t.Errorf("%s: the first %d bytes: %v", tc.name, n, err)
			}
		}
		for i := range 8 * len(tc.doc) {
			bad := bytes.Clone(tc.doc)
			bad[i/8] ^= 1 << (i % 8)
			if again, err := tc.read(bad); err == nil && !bytes.Equal(again, bad) {
				t.Errorf("%s: bit %d: %s encodes as %s", tc.name, i, bad, again)
			}
		}
	}
}

func reencodeAuthority(doc []byte) ([]byte, error) {
	a, err := ParseAuthority(doc)
	if err != nil {
		return nil, err
	}
	return a.Append(nil)
}

func reencodePolicy(doc []byte) ([]byte, error) {
	y, err := ParsePolicy(doc)
	if err != nil {
		return nil, err
	}
	return y.Append(nil)
}
