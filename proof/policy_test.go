package proof

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"reflect"
	"strings"
	"testing"

	"graven/merkle"
)

// policyKeys are the keys that the tests' policies name: $L1 and so on stand for
// the verifier keys. L1 and L2 are of one origin, L3 is of another. W1 to W6 are
// witnesses, the even ones ML-DSA-44.
type policyKeys struct {
	logs      []KeyPair
	witnesses []KeyPair
	words     *strings.Replacer
}

func newPolicyKeys(t testing.TB) *policyKeys {
	t.Helper()
	var k policyKeys
	var words []string
	for i, origin := range []string{"example.com/log", "example.com/log", "example.com/other"} {
		pair := testKeys(t, origin, fmt.Sprint("policy log ", i)).Log
		k.logs = append(k.logs, pair)
		words = append(words, fmt.Sprintf("$L%d", i+1), pair.VKey)
	}
	for i := range 6 {
		typ := []byte{TypeCosignEd25519, TypeMLDSA44}[i%2]
		pair := cosignerKey(t, fmt.Sprintf("witness.example/w%d", i+1), typ, fmt.Sprint("policy witness ", i))
		k.witnesses = append(k.witnesses, pair)
		words = append(words, fmt.Sprintf("$W%d", i+1), pair.VKey)
	}
	w := mustVKey(t, k.witnesses[0].VKey)
	renamed, err := newVKey("witness.example/again", w.typ, w.public)
	if err != nil {
		t.Fatal(err)
	}
	l := mustVKey(t, k.logs[0].VKey)
	moved, err := newVKey("example.com/moved", l.typ, l.public)
	if err != nil {
		t.Fatal(err)
	}
	asWitness, err := newVKey(l.name, TypeCosignEd25519, l.public)
	if err != nil {
		t.Fatal(err)
	}
	words = append(
		words,
		"$AGAIN", renamed.String(), "$MOVED", moved.String(), "$LW", asWitness.String(), "$SECRET", cosignerKey(t, "w", TypeCosignEd25519, "secret").SKey,
		"$COSIGNER", testKeys(t, "example.com/log", "policy log 0").Cosigner.VKey,
	)
	k.words = strings.NewReplacer(words...)
	return &k
}

func (k *policyKeys) text(s string) []byte { return []byte(k.words.Replace(s)) }

func (k *policyKeys) parse(t testing.TB, s string) *Policy {
	t.Helper()
	p, err := ParsePolicy(k.text(s))
	if err != nil {
		t.Fatalf("%v in\n%s", err, s)
	}
	return p
}

// sign returns c signed by some of the logs' keys and cosigned by some witnesses,
// each by its number from 1.
func (k *policyKeys) sign(t testing.TB, c Checkpoint, logs, witnesses []int) []byte {
	t.Helper()
	n := Note{Text: c.Text()}
	for _, i := range logs {
		key := mustSigner(t, k.logs[i-1].SKey).key
		n.Sigs = append(n.Sigs, NoteSignature{Name: key.vkey.name, ID: key.vkey.id, Sig: ed25519.Sign(key.ed, n.Text)})
	}
	if len(n.Sigs) == 0 {
		n.Sigs = append(n.Sigs, NoteSignature{Name: "stranger.example", ID: 1, Sig: []byte{1}})
	}
	out := n.Bytes()
	for _, i := range witnesses {
		out = cosign(t, out, k.witnesses[i-1], uint64(1_700_000_000+i))
	}
	return out
}

// exampleQuorum is the shape that the specification has as its example.
const exampleQuorum = `
witness X1 $W1
witness X2 $W2
witness X3 $W3
group X-witnesses 2 X1 X2 X3

witness Y1 $W4
witness Y2 $W5
witness Y3 $W6
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`

func TestParsePolicy(t *testing.T) {
	k := newPolicyKeys(t)
	for _, tc := range []struct {
		what, text string
		logs       int
		witnesses  string
		quorum     string
	}{
		{"the least", "log $L1\nquorum none\n", 1, "", ""},
		{"the example", "log $L1\n" + exampleQuorum, 1, "X1 X2 X3 Y1 Y2 Y3", "X-and-Y"},
		{"a single witness", "log $L1\nwitness w $W1\nquorum w\n", 1, "w", "w"},
		{"a witness that does not count", "log $L1\nwitness v $W2\nwitness w $W1\nquorum w\n", 1, "(v) w", "w"},
		{"none counts", "log $L1\nwitness v $W2\nquorum none\n", 1, "(v)", ""},
		{"several logs", "log $L1\nlog $L2\nlog $L3\nquorum none\n", 3, "", ""},
		{"URLs", "log $L1 https://log.example/#part\nwitness w $W1 not:a:url\nquorum w\n", 1, "w", "w"},
		{"spaces and tabs", " \t log\t\t$L1 \t\n\t\n   \nwitness \t w $W1\t\n quorum w \n", 1, "w", "w"},
		{"comments", "# one\n\t # two\n#log\nlog $L1\n#\nquorum none\n# \x80\xff ü\n", 1, "", ""},
		{"quorum before the logs", "witness w $W1\nquorum w\nlog $L1\nwitness v $W2\n", 1, "w (v)", "w"},
		{"words as names", "log $L1\nwitness any $W1\nwitness all $W2\nwitness 1 $W3\nwitness quorum $W4\ngroup group 2 any all 1 quorum\nquorum group\n", 1, "any all 1 quorum", "group"},
		{"octets as names", "log $L1\nwitness \xff\xfe $W1\nwitness \u212a $W2\nwitness K $W3\nwitness a\u00a0b $W4\nwitness a#b $W5\ngroup \u3000 5 \xff\xfe \u212a K a\u00a0b a#b\nquorum \u3000\n", 1, "\xff\xfe \u212a K a\u00a0b a#b", "\u3000"},
		{"a group in a group in a group", "log $L1\nwitness w $W1\ngroup a any w\ngroup b 1 a\ngroup c all b\nquorum c\n", 1, "w", "c"},
		{"the quorum within a group", "log $L1\nwitness w $W1\nwitness v $W2\ngroup a any w\ngroup b any a v\nquorum a\n", 1, "w (v)", "a"},
		{"one public key as a log's and a witness's", "log $L1\nwitness w $LW\nquorum w\n", 1, "w", "w"},
	} {
		p, err := ParsePolicy(k.text(tc.text))
		if err != nil {
			t.Errorf("%s: %v", tc.what, err)
			continue
		}
		var witnesses []string
		for _, w := range p.Witnesses() {
			if !w.Counts {
				w.Name = "(" + w.Name + ")"
			}
			witnesses = append(witnesses, w.Name)
		}
		name, ok := p.Quorum()
		if got := strings.Join(witnesses, " "); got != tc.witnesses || len(p.Logs()) != tc.logs || name != tc.quorum || ok != (tc.quorum != "") {
			t.Errorf("%s: %d logs, witnesses %q, quorum %q %v", tc.what, len(p.Logs()), got, name, ok)
		}
	}
	p := k.parse(t, "log $L1 https://log.example/#part\nwitness w $W2 not:a:url\nwitness v $W1\nquorum w\n")
	if l := p.Logs()[0]; l.URL != "https://log.example/#part" || l.Key.String() != k.logs[0].VKey {
		t.Errorf("%+v", l)
	}
	want := []PolicyWitness{
		{Name: "w", Key: mustVKey(t, k.witnesses[1].VKey), URL: "not:a:url", Counts: true},
		{Name: "v", Key: mustVKey(t, k.witnesses[0].VKey)},
	}
	if got := p.Witnesses(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	p.Witnesses()[0].Name, p.Logs()[0].URL = "changed", "changed"
	if p.Witnesses()[0].Name != "w" || p.Logs()[0].URL == "changed" {
		t.Error("a caller can change the policy")
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	k := newPolicyKeys(t)
	const ok = "log $L1\nwitness a $W1\nwitness b $W2\n" // three lines
	for _, tc := range []struct {
		what, text string
		line       int // that the message names, 0: none
		says       string
	}{
		{"empty", "", 0, "no `log`"},
		{"comments only", "# log $L1\n# quorum none\n", 0, "no `log` in 2 lines"},
		{"no log", "witness a $W1\nquorum a\n", 0, "no `log`"},
		{"no quorum", ok, 0, "no `quorum` in 3 lines"},
		{"two quorums", ok + "quorum a\nquorum a\n", 5, "the first is on line 4"},
		{"two quorums, the first none", ok + "quorum none\nquorum a\n", 5, "a second quorum"},
		{"cut off", ok + "quorum a", 4, "line feed"},
		{"cut in a comment", ok + "quorum a\n# the en", 5, "line feed"},
		{"CRLF", "log $L1\r\nquorum none\r\n", 1, "0x0d"},
		{"a NUL in a comment", "# \x00\n" + ok + "quorum a\n", 1, "0x00"},
		{"DEL", ok + "quorum \x7f\n", 4, "0x7f"},
		{"form feed between words", "log\f$L1\nquorum none\n", 1, "0x0c"},
		{"U+00A0 between words", "log\u00a0$L1\nquorum none\n", 1, "wanted `log`, `witness`"},
		{"byte-order mark", "\ufefflog $L1\nquorum none\n", 1, "wanted `log`, `witness`"},
		{"unknown word", ok + "mirror m $W3\nquorum a\n", 4, `"mirror m `},
		{"capitals", "Log $L1\nquorum none\n", 1, "wanted `log`"},
		{"word alone", ok + "log\nquorum a\n", 4, "1 words"},
		{"a log with a name", ok + "log one $L2 https://log.example\nquorum a\n", 4, "4 words"},
		{"a log with a comment", ok + "log $L2 https://log.example # ours\nquorum a\n", 4, "a comment has a line of its own"},
		{"a log that is no key", ok + "log log.example\nquorum a\n", 4, "verifier key"},
		{"a witness's key as a log's", ok + "log $W3\nquorum a\n", 4, "type 4, wanted 1"},
		{"an ML-DSA-44 key as a log's", ok + "log $COSIGNER\nquorum a\n", 4, "type 6, wanted 1"},
		{"the log's key under type 4 as a log's", ok + "log $LW\nquorum a\n", 4, "type 4, wanted 1"},
		{"a log twice", ok + "log $L2\nlog $L1\nquorum a\n", 5, "public key of line 1"},
		{"a log twice under two names", ok + "log $MOVED\nquorum a\n", 4, "public key of line 1"},
		{"a witness without a name", ok + "witness $W3\nquorum a\n", 4, "2 words"},
		{"a witness with a comment", ok + "witness c $W3 # theirs\nquorum a\n", 4, "5 words"},
		{"a witness that is no key", ok + "witness c d\nquorum a\n", 4, "verifier key"},
		{"a log's key as a witness's", ok + "witness c $L2\nquorum a\n", 4, "type 1, wanted 4 or 6"},
		{"a witness twice", ok + "witness c $W1\nquorum a\n", 4, "public key of line 2"},
		{"a witness twice under two names", ok + "witness c $AGAIN\nquorum a\n", 4, "public key of line 2"},
		{"an ML-DSA-44 witness twice", ok + "witness c $W2\nquorum a\n", 4, "public key of line 3"},
		{"a name twice", ok + "witness a $W3\nquorum a\n", 4, `a second "a"`},
		{"a group of a witness's name", ok + "group a any b\nquorum a\n", 4, `a second "a"`},
		{"a witness of a group's name", ok + "group g any b\nwitness g $W3\nquorum a\n", 5, `a second "g"`},
		{"a witness called none", ok + "witness none $W3\nquorum a\n", 4, "no quorum"},
		{"a group called none", ok + "group none any a\nquorum none\n", 4, "no quorum"},
		{"none as a member", ok + "group g any none\nquorum g\n", 4, `member "none"`},
		{"a group without members", ok + "group g any\nquorum g\n", 4, "3 words"},
		{"a group without a rule", ok + "group g a b\nquorum g\n", 4, `"a" of 1 members`},
		{"0 of 2", ok + "group g 0 a b\nquorum g\n", 4, "1 to 2"},
		{"3 of 2", ok + "group g 3 a b\nquorum g\n", 4, "1 to 2"},
		{"01 of 2", ok + "group g 01 a b\nquorum g\n", 4, "1 to 2"},
		{"+1 of 2", ok + "group g +1 a b\nquorum g\n", 4, "1 to 2"},
		{"-1 of 2", ok + "group g -1 a b\nquorum g\n", 4, "1 to 2"},
		{"0x1 of 2", ok + "group g 0x1 a b\nquorum g\n", 4, "1 to 2"},
		{"2^64+1 of 2", ok + "group g 18446744073709551617 a b\nquorum g\n", 4, "1 to 2"},
		{"very many of 2", ok + "group g " + strings.Repeat("9", 900) + " a b\nquorum g\n", 4, "1 to 2"},
		{"All", ok + "group g All a b\nquorum g\n", 4, "`all`"},
		{"an unknown member", ok + "group g any a c\nquorum g\n", 4, `member "c"`},
		{"a member of a line below", ok + "group g any c\nwitness c $W3\nquorum g\n", 4, `member "c"`},
		{"a group within itself", ok + "group g any g a\nquorum g\n", 4, `member "g"`},
		{"a member twice in a group", ok + "group g 2 a a\nquorum g\n", 4, "in this group already"},
		{"a member of two groups", ok + "group g any a\ngroup h any a b\nquorum g\n", 5, `in group "g" already`},
		{"a group in two groups", ok + "group g any a\ngroup h any g\ngroup i any b g\nquorum h\n", 6, `in group "h" already`},
		{"a comment behind a group", ok + "group g any a b # both\nquorum g\n", 4, `member "#"`},
		{"a comment behind the quorum", ok + "quorum a # the first\n", 4, "a comment has a line of its own"},
		{"a quorum of two", ok + "quorum a b\n", 4, "3 words"},
		{"quorum without a name", ok + "quorum\n", 4, "1 words"},
		{"an unknown quorum", ok + "quorum c\n", 4, "of a line above"},
		{"a quorum of a line below", "log $L1\nquorum a\nwitness a $W1\n", 2, "of a line above"},
		{"a key as the quorum", ok + "quorum $W1\n", 4, "of a line above"},
		{"a log as the quorum", "log $L1 a\nquorum a\n", 2, "of a line above"},
		{"too long", "log $L1\nquorum none\n" + strings.Repeat("#\n", MaxPolicy/2), 0, "wanted at most 1048576"},
	} {
		p, err := ParsePolicy(k.text(tc.text))
		if !errors.Is(err, ErrFormat) || errors.Is(err, ErrUnknownVersion) || p != nil {
			t.Errorf("%s: got %v", tc.what, err)
			continue
		}
		if where := fmt.Sprintf("line %d, ", tc.line); !strings.Contains(err.Error(), tc.says) || (tc.line > 0) != strings.Contains(err.Error(), where) || len(err.Error()) > 600 {
			t.Errorf("%s: got %v, wanted line %d and %q", tc.what, err, tc.line, tc.says)
		}
	}
	// A key of another type may be fine.
	public := bytes.Repeat([]byte{7}, 32)
	unknown := fmt.Sprintf("x+%08x+%s", keyID("x", 7, public), b64.EncodeToString(append([]byte{7}, public...)))
	for _, line := range []string{"log " + unknown, "witness c " + unknown} {
		if _, err := ParsePolicy(k.text(ok + line + "\nquorum a\n")); !errors.Is(err, ErrUnknownVersion) || errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "line 4, ") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// Whoever puts a signing key into a policy does not find it in a log of errors.
func TestPolicyErrorsQuoteNoSecret(t *testing.T) {
	k := newPolicyKeys(t)
	secret := string(k.text("$SECRET")) // its name is short, so that a quoted line would reach the secret
	for _, text := range []string{
		"log $SECRET\nquorum none\n", "log $L1\nwitness w $SECRET\nquorum w\n", "log $L1\nwitness $SECRET\nquorum none\n",
		"log $L1\nquorum $SECRET\n", "$SECRET\n", "log $L1\ngroup g any $SECRET\nquorum g\n", "log $L1\nquorum none $SECRET", "log $SECRET\x00\n",
	} {
		_, err := ParsePolicy(k.text(text))
		if !errors.Is(err, ErrFormat) {
			t.Fatalf("%q: %v", text, err)
		}
		for i := strings.LastIndexByte(secret, '+') + 1; i+6 <= len(secret); i++ {
			if strings.Contains(err.Error(), secret[i:i+6]) {
				t.Fatalf("%q: the error repeats a part of the key: %v", text, err)
			}
		}
	}
}

// Two keys of one name and id, which cost seconds to find, would leave open whose a
// signature is.
func TestPolicyRefusesEqualIDs(t *testing.T) {
	var keys []KeyPair
	for _, n := range []uint32{88939, 106782} {
		var seed [secretSize]byte
		binary.BigEndian.PutUint32(seed[:], n)
		k, err := keyPair("w", TypeCosignEd25519, seed[:])
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	if a, b := mustVKey(t, keys[0].VKey), mustVKey(t, keys[1].VKey); a.ID() != b.ID() || a.equal(b) {
		t.Fatalf("%s and %s", a, b)
	}
	text := fmt.Sprintf("log %s\nwitness a %s\nwitness b %s\nquorum a\n", testKeys(t, "a", "ids").Log.VKey, keys[0].VKey, keys[1].VKey)
	if _, err := ParsePolicy([]byte(text)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "line 3") || !strings.Contains(err.Error(), "those of line 2") {
		t.Errorf("got %v", err)
	}
}

// manyWitnesses writes so many witnesses w0, w1 and so on.
func manyWitnesses(t testing.TB, b *strings.Builder, n int) (keys []KeyPair) {
	for i := range n {
		k := cosignerKey(t, fmt.Sprintf("witness.example/%d", i), TypeCosignEd25519, fmt.Sprint("many ", i))
		keys = append(keys, k)
		fmt.Fprintf(b, "witness w%d %s\n", i, k.VKey)
	}
	return keys
}

func TestPolicyBounds(t *testing.T) {
	k := newPolicyKeys(t)
	// C2SP wants 32 of each.
	var b strings.Builder
	for i := range 32 {
		fmt.Fprintf(&b, "log %s\n", testKeys(t, fmt.Sprintf("example.com/%d", i), fmt.Sprint("bounds ", i)).Log.VKey)
	}
	manyWitnesses(t, &b, 32)
	for i := range 31 {
		fmt.Fprintf(&b, "group g%d any w%d\n", i, i)
	}
	b.WriteString("group all all")
	for i := range 31 {
		fmt.Fprintf(&b, " g%d", i)
	}
	b.WriteString(" w31\nquorum all\n")
	if p, err := ParsePolicy([]byte(b.String())); err != nil || len(p.Logs()) != 32 || len(p.Witnesses()) != 32 || len(p.nodes) != 64 || len(NewPolicyVerifier(p).keys) != 64 {
		t.Errorf("32 of each: %v", err)
	}
	// A chain of groups as deep as the bound allows, met and not met.
	deep := func(groups int) string {
		b.Reset()
		b.WriteString("log $L1\nwitness w $W1\ngroup g0 any w\n")
		for i := 1; i < groups; i++ {
			fmt.Fprintf(&b, "group g%d all g%d\n", i, i-1)
		}
		fmt.Fprintf(&b, "quorum g%d\n", groups-1)
		return b.String()
	}
	if _, err := ParsePolicy(k.text(deep(maxPolicyEntries - 1))); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "more than 4096") {
		t.Errorf("one entry too many: %v", err)
	}
	ver := NewPolicyVerifier(k.parse(t, deep(maxPolicyEntries-2)))
	c := sampleCheckpoint()
	if _, err := ver.open(k.sign(t, c, []int{1}, []int{1})); err != nil {
		t.Errorf("a deep quorum: %v", err)
	}
	if _, err := ver.open(k.sign(t, c, []int{1}, nil)); !errors.Is(err, ErrQuorum) || len(err.Error()) > 6000 {
		t.Errorf("a deep quorum, not met: %d bytes, %v", len(fmt.Sprint(err)), errors.Is(err, ErrQuorum))
	}
	// A broad one: the message does not name all.
	b.Reset()
	b.WriteString("log $L1\n")
	keys := manyWitnesses(t, &b, 200)
	b.WriteString("group g 90")
	for i := range keys {
		fmt.Fprintf(&b, " w%d", i)
	}
	b.WriteString("\nquorum g\n")
	ver = NewPolicyVerifier(k.parse(t, b.String()))
	note := k.sign(t, c, []int{1}, nil)
	for _, w := range keys[:89] {
		note = cosign(t, note, w, 1)
	}
	if _, err := ver.open(note); !errors.Is(err, ErrQuorum) || !strings.Contains(err.Error(), `1 more of "g" ("w89", "w90"`) || !strings.Contains(err.Error(), "73 others") || len(err.Error()) > 1200 {
		t.Errorf("89 of 90: %v", err)
	}
	if _, err := ver.open(cosign(t, note, keys[199], 1)); err != nil {
		t.Errorf("90 of 90: %v", err)
	}
}

// All sets of signatures of up to six witnesses, against a rule written by hand.
func TestPolicyQuorum(t *testing.T) {
	k := newPolicyKeys(t)
	c := sampleCheckpoint()
	// Cosigning each once is enough: the lines do not depend on each other.
	base := k.sign(t, c, []int{1}, nil)
	var lines []string
	for i := range k.witnesses {
		lines = append(lines, strings.TrimPrefix(string(cosign(t, base, k.witnesses[i], 5)), string(base)))
	}
	const six = "log $L1\nwitness a $W1\nwitness b $W2\nwitness c $W3\nwitness d $W4\nwitness e $W5\nwitness f $W6\n"
	count := func(set uint, of uint) int { return bits.OnesCount(set & of) }
	for _, tc := range []struct {
		text string
		met  func(set uint) bool
	}{
		{"quorum none\n", func(uint) bool { return true }},
		{"quorum c\n", func(s uint) bool { return s&4 != 0 }},
		{"group g all a b c d e f\nquorum g\n", func(s uint) bool { return s == 63 }},
		{"group g any a b c d e f\nquorum g\n", func(s uint) bool { return s != 0 }},
		{"group g 4 a b c d e f\nquorum g\n", func(s uint) bool { return count(s, 63) >= 4 }},
		{"group g 1 f\nquorum g\n", func(s uint) bool { return s&32 != 0 }},
		{"group x 2 a b c\ngroup y any d e f\ngroup q all x y\nquorum q\n", func(s uint) bool { return count(s, 7) >= 2 && s&56 != 0 }},
		{"group x 2 a b c\ngroup y any d e f\ngroup q all x y\nquorum y\n", func(s uint) bool { return s&56 != 0 }},
		{"group x all a b\ngroup y all c d\ngroup z all e f\ngroup q 2 z x y\nquorum q\n", func(s uint) bool {
			n := 0
			for _, pair := range []uint{3, 12, 48} {
				if s&pair == pair {
					n++
				}
			}
			return n >= 2
		}},
		{"group x any a b c\ngroup q 2 x d\nquorum q\n", func(s uint) bool { return s&7 != 0 && s&8 != 0 }},
	} {
		ver := NewPolicyVerifier(k.parse(t, six+tc.text))
		met := 0
		for set := range uint(64) {
			note := string(base)
			for i, line := range lines {
				if set&(1<<i) != 0 {
					note += line
				}
			}
			r, err := ver.open([]byte(note))
			want := tc.met(set)
			if (err == nil) != want || err != nil && !errors.Is(err, ErrQuorum) {
				t.Fatalf("%q, signed by %06b: %v", tc.text, set, err)
			}
			if err == nil && len(r.Cosigners()) != bits.OnesCount(set) {
				t.Fatalf("%q, signed by %06b: %d cosigners", tc.text, set, len(r.Cosigners()))
			}
			if want {
				met++
			}
		}
		if met == 0 {
			t.Errorf("%q is never met", tc.text)
		}
	}
}

func TestPolicyVerifier(t *testing.T) {
	k := newPolicyKeys(t)
	c := sampleCheckpoint()
	other := Checkpoint{Origin: "example.com/other", Size: 7, Root: c.Root}
	third := Checkpoint{Origin: "example.com/third", Size: 7, Root: c.Root}
	moved := c
	moved.Size++
	lineOf := func(note []byte, at int) string { return strings.SplitAfter(string(note), "\n")[4+at] }
	two := "log $L1\nlog $L2\nlog $L3\nwitness a $W1\nwitness b $W2\nwitness v $W3\ngroup g all a b\nquorum g\n"
	one := "log $L1\nwitness a $W1\nquorum a\n"
	none := "log $L1\nwitness a $W1\nquorum none\n"
	good := k.sign(t, c, []int{1}, []int{1, 2})
	for _, tc := range []struct {
		what, policy, note string
		want               error
	}{
		{"log and quorum", two, string(good), nil},
		{"the other key of the log", two, string(k.sign(t, c, []int{2}, []int{1, 2})), nil},
		{"both keys of the log", two, string(k.sign(t, c, []int{1, 2}, []int{2, 1})), nil},
		{"the other log", two, string(k.sign(t, other, []int{3}, []int{1, 2})), nil},
		{"one witness more", two, string(k.sign(t, c, []int{1}, []int{1, 2, 3, 4})), nil},
		{"one witness", two, string(k.sign(t, c, []int{1}, []int{1})), ErrQuorum},
		{"the witness that does not count", two, string(k.sign(t, c, []int{1}, []int{1, 3})), ErrQuorum},
		{"no witness", two, string(k.sign(t, c, []int{1}, nil)), ErrQuorum},
		{"strangers", two, string(k.sign(t, c, []int{1}, []int{4, 5})), ErrQuorum},
		{"no log", two, string(k.sign(t, c, nil, []int{1, 2})), ErrSignature},
		{"the key of the other log", two, string(k.sign(t, c, []int{3}, []int{1, 2})), ErrSignature},
		{"an origin that is none of them", two, string(k.sign(t, third, []int{1}, []int{1, 2})), ErrOrigin},
		{"the other log, unknown", one, string(k.sign(t, other, []int{3}, []int{1})), ErrOrigin},
		{"a key of the log that the policy does not have", one, string(k.sign(t, c, []int{2}, []int{1})), ErrSignature},
		{"no witness asked for", none, string(k.sign(t, c, []int{1}, nil)), nil},
		{"no witness asked for, none of the log", none, string(k.sign(t, c, nil, []int{1})), ErrSignature},
		{"a cosignature of another size", two, string(good) + lineOf(k.sign(t, moved, []int{1}, []int{3}), 1), ErrSignature},
		{"the same, of a stranger", two, string(good) + lineOf(k.sign(t, moved, []int{1}, []int{5}), 1), nil},
		{"the same, no witness asked for", none, string(k.sign(t, c, []int{1}, nil)) + lineOf(k.sign(t, moved, []int{1}, []int{1}), 1), ErrSignature},
		{"a cosignature twice", two, string(good) + lineOf(good, 1), ErrFormat},
		{"one cosignature twice for two", two, string(k.sign(t, c, []int{1}, []int{1})) + lineOf(good, 1), ErrFormat},
		{"a bad signature of the other key of the log", two, string(good) + lineOf(k.sign(t, moved, []int{2}, nil), 0), ErrSignature},
		{"the name of a witness, another id", two, string(k.sign(t, c, []int{1}, []int{1})) + "— witness.example/w2 AAAAAQU=\n", ErrQuorum},
		{"the name of another witness", two, strings.Replace(string(good), "witness.example/w2", "witness.example/w4", 1), ErrQuorum},
	} {
		ver := NewPolicyVerifier(k.parse(t, tc.policy))
		r, err := ver.open([]byte(tc.note))
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, wanted %v", tc.what, err, tc.want)
		}
		if err != nil && !reflect.DeepEqual(r, Result{}) {
			t.Errorf("%s: an error and %+v", tc.what, r)
		}
		// Without the quorum the outcome is the same but for ErrQuorum.
		_, err = ver.OpenCheckpoint([]byte(tc.note))
		if want := tc.want; want != ErrQuorum && !errors.Is(err, want) || want == ErrQuorum && err != nil {
			t.Errorf("%s: without the quorum: %v", tc.what, err)
		}
	}
	ver := NewPolicyVerifier(k.parse(t, two))
	if _, err := ver.AtLeast(c.Size).open(good); err != nil {
		t.Error(err)
	}
	if _, err := ver.AtLeast(c.Size + 1).open(good); !errors.Is(err, ErrTooOld) {
		t.Errorf("too old: %v", err)
	}
	if _, err := ver.AtLeast(c.Size + 1).open(k.sign(t, c, []int{1}, nil)); !errors.Is(err, ErrQuorum) {
		t.Errorf("AtLeast loses the policy: %v", err)
	}
	if _, err := ver.AtLeast(c.Size + 1).OpenCheckpoint(good); err != nil {
		t.Errorf("an older checkpoint: %v", err)
	}
	if _, err := NewPolicyVerifier(&Policy{}).open(good); !errors.Is(err, ErrOrigin) {
		t.Errorf("an empty policy: %v", err)
	}
	r, err := ver.open(k.sign(t, c, []int{2}, []int{3, 2, 4, 1}))
	if err != nil {
		t.Fatal(err)
	}
	var who []string
	for _, c := range r.Cosigners() {
		who = append(who, fmt.Sprintf("%s@%d", c.Key.Name(), c.Seconds))
	}
	if got, want := strings.Join(who, " "), "witness.example/w3@1700000003 witness.example/w2@1700000002 witness.example/w1@1700000001"; got != want {
		t.Errorf("cosigners %s, wanted %s", got, want)
	}
}

// The error says who has signed and what is missing.
func TestQuorumError(t *testing.T) {
	k := newPolicyKeys(t)
	ver := NewPolicyVerifier(k.parse(t, "log $L1\n"+exampleQuorum))
	single := NewPolicyVerifier(k.parse(t, "log $L1\nwitness the-one $W1\nwitness beside $W3\nquorum the-one\n"))
	for _, tc := range []struct {
		ver       *Verifier
		witnesses []int
		want      string
	}{
		{ver, nil, `cosigned by none of its witnesses; missing: 2 more of "X-and-Y" (2 more of "X-witnesses" ("X1", "X2", "X3"), 1 more of "Y-witnesses" ("Y1", "Y2", "Y3"))`},
		{ver, []int{3, 4}, `cosigned by "X3", "Y1"; missing: 1 more of "X-and-Y" (1 more of "X-witnesses" ("X1", "X2"))`},
		{ver, []int{1, 2, 3}, `cosigned by "X1", "X2", "X3"; missing: 1 more of "X-and-Y" (1 more of "Y-witnesses" ("Y1", "Y2", "Y3"))`},
		{single, []int{2, 3}, `cosigned by none of its witnesses; missing: "the-one"`},
	} {
		_, err := tc.ver.open(k.sign(t, sampleCheckpoint(), []int{1}, tc.witnesses))
		want := `proof: quorum not met: the checkpoint of "example.com/log" at size 1234 is ` + tc.want
		if !errors.Is(err, ErrQuorum) || err.Error() != want {
			t.Errorf("signed by %v:\n%v\nwanted\n%s", tc.witnesses, err, want)
		}
	}
}

// Proof files of every kind verify under a policy as they do under the log's key,
// if enough witnesses have cosigned the checkpoint in them.
func TestPolicyProofs(t *testing.T) {
	v, files := samples(t)
	k := newPolicyKeys(t)
	p := k.parse(t, "log "+v.keys.Log.VKey+"\nwitness a $W1\nwitness b $W2\ngroup g all a b\nquorum g\n")
	ver := NewPolicyVerifier(p)
	for name, file := range files {
		if name == "present, only key" || name == "absent, one neighbour" {
			continue // of another vault with the same keys
		}
		if _, err := ver.Verify(file); !errors.Is(err, ErrQuorum) {
			t.Errorf("%s: not cosigned: %v", name, err)
		}
		head, note, _ := bytes.Cut(file, []byte("\n\n"))
		note = cosign(t, cosign(t, note, k.witnesses[0], 1), k.witnesses[1], 2)
		res, err := ver.Verify(bytes.Join([][]byte{head, note}, []byte("\n\n")))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		truth(t, v, res)
	}
}

// FuzzParsePolicy: nothing panics, errors are of this package, and what is accepted
// means the same without its comments and with single spaces, makes a verifier, and
// that one accepts no checkpoint that no log has signed.
func FuzzParsePolicy(f *testing.F) {
	k := newPolicyKeys(f)
	for _, text := range []string{
		"log $L1\nquorum none\n", "log $L1\n" + exampleQuorum, "# c\n\tlog\t$L3 u \nwitness \xff $W1 \nquorum \xff\n",
		"log $L1\nwitness a $W1\nwitness b $W2\ngroup g 2 a b\nquorum g\n", "log $L1\nquorum g", "", "\n", "group g 99999999999999999999 g\n",
	} {
		f.Add(k.text(text))
	}
	c := Checkpoint{Origin: "example.com/log", Size: 1, Root: merkle.LeafHash(nil)}
	signed, unsigned := k.sign(f, c, []int{1}, []int{1, 2, 3, 4, 5, 6}), k.sign(f, c, nil, []int{1, 2, 3, 4, 5, 6})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePolicy(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrUnknownVersion) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		var plain []byte
		for line := range bytes.Lines(b) {
			words := bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
			if len(words) > 0 && words[0][0] != '#' {
				plain = append(append(plain, bytes.Join(words, []byte{' '})...), '\n')
			}
		}
		again, err := ParsePolicy(plain)
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("%q means something else as %q: %v", b, plain, err)
		}
		ver := NewPolicyVerifier(p)
		if _, err := ver.open(unsigned); err == nil {
			t.Fatalf("%q accepts what no log has signed", b)
		}
		if _, err := ver.open(signed); err != nil && !typed(err) {
			t.Fatalf("untyped error %v", err)
		}
	})
}
