package proof

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"filippo.io/mldsa"
	"filippo.io/torchwood"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"graven/merkle"
)

// Cosignatures, policies and tlog-proofs against two other implementations of
// C2SP: torchwood, and transparency-dev's formats.

// signer is a cosigner of theirs.
type signer struct {
	what   string
	vkey   string
	signer note.Signer
}

// theirCosigners makes cosigners of both implementations and both types.
func theirCosigners(t *testing.T) (out []signer) {
	t.Helper()
	for _, typ := range []byte{TypeCosignEd25519, TypeMLDSA44} {
		pair := cosignerKey(t, "witness.example/theirs", typ, "theirs")
		secret, err := parseSecret(pair.SKey, typ)
		if err != nil {
			t.Fatal(err)
		}
		var key crypto.Signer = secret.ed
		if typ == TypeMLDSA44 {
			if key, err = mldsa.NewPrivateKey(mldsa.MLDSA44(), secret.material); err != nil {
				t.Fatal(err)
			}
		}
		ts, err := torchwood.NewCosignatureSigner("witness.example/theirs", key)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, signer{fmt.Sprint("torchwood, type ", typ), ts.Verifier().String(), ts})
		fs, err := fnote.NewSignerForCosignatureV1(pair.SKey)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, signer{fmt.Sprint("formats, type ", typ), pair.VKey, fs})
	}
	return out
}

func TestCosignaturesAgainstReference(t *testing.T) {
	keys := testKeys(t, "example.com/log", "reference")
	log, err := note.NewVerifier(keys.Log.VKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Checkpoint{sampleCheckpoint(), {Origin: "example.com/log", Root: merkle.EmptyRoot()}, {Origin: "example.com/log", Size: MaxSize}} {
		signed, err := mustSigner(t, keys.Log.SKey).SignCheckpoint(c)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := note.Open(signed, note.VerifierList(log))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range theirCosigners(t) {
			// Theirs, by us: the key's text, the signature, its time.
			out, err := note.Sign(opened, s.signer)
			if err != nil {
				t.Fatalf("%s: %v", s.what, err)
			}
			ver, err := NewVerifier(keys.Log.VKey, s.vkey)
			if err != nil {
				t.Fatalf("%s: %v", s.what, err)
			}
			r, err := ver.open(out)
			if err != nil || r.checkpoint != c || len(r.cosigned) != 1 || r.cosigned[0].Key.String() != s.vkey {
				t.Fatalf("%s: %+v, %v", s.what, r, err)
			}
			n, err := note.Open(out, note.VerifierList(log, mustTheirs(t, s.vkey)))
			if err != nil || len(n.Sigs) != 2 {
				t.Fatalf("%s opens its own: %v", s.what, err)
			}
			if at, err := torchwood.CosignatureTimestamp(n.Sigs[1]); err != nil || uint64(at) != r.cosigned[0].Seconds {
				t.Errorf("%s: time %d, %v, ours %d", s.what, at, err, r.cosigned[0].Seconds)
			}
			changed, err := ParseNote(out)
			if err != nil {
				t.Fatal(err)
			}
			changed.Sigs[1].Sig[7] ^= 1
			if _, err := ver.open(changed.Bytes()); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: another time: %v", s.what, err)
			}
		}
		// Ours, by them.
		for _, typ := range []byte{TypeCosignEd25519, TypeMLDSA44} {
			pair := cosignerKey(t, "witness.example/ours", typ, "ours")
			formats, err := fnote.NewVerifierForCosignatureV1(pair.VKey)
			if err != nil {
				t.Fatal(err)
			}
			for _, seconds := range []uint64{0, 1, 1_700_000_000, MaxSize} {
				out := cosign(t, signed, pair, seconds)
				for _, known := range []note.Verifier{mustTheirs(t, pair.VKey), formats} {
					n, err := note.Open(out, note.VerifierList(log, known))
					if err != nil || len(n.Sigs) != 2 {
						t.Fatalf("%T, type %d, time %d: %v", known, typ, seconds, err)
					}
					if at, err := torchwood.CosignatureTimestamp(n.Sigs[1]); err != nil || uint64(at) != seconds {
						t.Errorf("type %d: time %d, %v, wanted %d", typ, at, err, seconds)
					}
				}
			}
		}
	}
}

func mustTheirs(t testing.TB, vkey string) *torchwood.CosignatureVerifier {
	t.Helper()
	v, err := torchwood.NewCosignatureVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	if ours := mustVKey(t, vkey); v.Name() != ours.Name() || v.KeyHash() != ours.ID() || v.String() != vkey {
		t.Fatalf("torchwood reads %s %08x, we %s", v.Name(), v.KeyHash(), ours.KeyName())
	}
	return v
}

// draft is a policy that is being made.
type draft struct {
	lines  []string
	quorum string
	nodes  []string // names of witnesses and groups
	free   []string // those that are members of no group
}

// newDraft makes a valid policy of one log and some of the witnesses.
func newDraft(rnd *rand.Rand, k *policyKeys) *draft {
	d := &draft{lines: []string{"log " + k.logs[0].VKey}}
	if rnd.IntN(2) == 0 {
		d.lines[0] += " https://log.example/"
	}
	for i := range 1 + rnd.IntN(len(k.witnesses)) {
		name := fmt.Sprintf("w%d", i+1)
		line := "witness " + name + " " + k.witnesses[i].VKey
		if rnd.IntN(2) == 0 {
			line += " https://witness.example/"
		}
		d.lines, d.nodes, d.free = append(d.lines, line), append(d.nodes, name), append(d.free, name)
	}
	for i := range rnd.IntN(4) {
		rnd.Shuffle(len(d.free), func(i, j int) { d.free[i], d.free[j] = d.free[j], d.free[i] })
		n := 1 + rnd.IntN(len(d.free))
		need := []string{"any", "all", fmt.Sprint(1 + rnd.IntN(n))}[rnd.IntN(3)]
		name := fmt.Sprintf("g%d", i+1)
		d.lines = append(d.lines, "group "+name+" "+need+" "+strings.Join(d.free[:n], " "))
		d.nodes, d.free = append(d.nodes, name), append(slices.Clone(d.free[n:]), name)
	}
	d.quorum = "none"
	if rnd.IntN(6) > 0 {
		d.quorum = d.nodes[rnd.IntN(len(d.nodes))]
	}
	d.lines = append(d.lines, "quorum "+d.quorum)
	return d
}

// text writes the policy with comments, empty lines and white space here and there.
func (d *draft) text(rnd *rand.Rand) string {
	var b strings.Builder
	space := func() string { return []string{"", "", " ", "\t", " \t "}[rnd.IntN(5)] }
	for _, line := range d.lines {
		switch rnd.IntN(6) {
		case 0:
			b.WriteString(space() + "# a comment of log and quorum\n")
		case 1:
			b.WriteString(space() + "\n")
		}
		b.WriteString(space() + strings.ReplaceAll(line, " ", " "+space()) + space() + "\n")
	}
	return b.String()
}

// policyDefects are the ways to spoil a policy. Where torchwood takes it all the
// same, it reads the specification more loosely than we do; this is the list of
// the differences.
var policyDefects = []struct {
	what   string
	theirs bool // torchwood accepts it
	spoil  func(k *policyKeys, d *draft)
}{
	{"unknown word", false, func(_ *policyKeys, d *draft) { d.lines[0] = "Log" + d.lines[0][3:] }},
	{"no quorum", false, func(_ *policyKeys, d *draft) { d.lines = d.lines[:len(d.lines)-1] }},
	{"two quorums", false, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "quorum none") }},
	{"unknown quorum", false, func(_ *policyKeys, d *draft) { d.lines[len(d.lines)-1] = "quorum nobody" }},
	{"quorum without a name", false, func(_ *policyKeys, d *draft) { d.lines[len(d.lines)-1] = "quorum" }},
	{"log without a key", false, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "log") }},
	{"log with a witness's key", false, func(k *policyKeys, d *draft) { d.lines = append(d.lines, "log "+k.witnesses[4].VKey) }},
	{"log with an ML-DSA-44 key", false, func(k *policyKeys, d *draft) { d.lines = append(d.lines, "log "+k.witnesses[1].VKey) }},
	{"witness without a key", false, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "witness x") }},
	{"witness with a log's key", false, func(k *policyKeys, d *draft) { d.lines = append(d.lines, "witness x "+k.logs[1].VKey) }},
	{"witness of a name that is taken", false, func(k *policyKeys, d *draft) { d.lines = append(d.lines, string(k.text("witness w1 $LW"))) }},
	{"group of a name that is taken", false, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "group w1 any "+d.free[0]) }},
	{"group without members", false, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "group x any") }},
	{"group of none of its members", false, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "group x 0 "+d.free[0]) }},
	{"group of too many of its members", false, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "group x 2 "+d.free[0]) }},
	{"group with a rule that is none", false, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "group x most "+d.free[0]) }},
	{"group with an unknown member", false, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "group x any nobody") }},
	{"group within itself", false, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "group x any x") }},
	{"another id", false, func(k *policyKeys, d *draft) {
		d.lines = append(d.lines, "witness x "+strings.Replace(k.witnesses[0].VKey, "w1+", "w7+", 1))
	}},

	{"no log", true, func(_ *policyKeys, d *draft) { d.lines = d.lines[1:] }},
	{"a quorum of a line below", true, func(_ *policyKeys, d *draft) {
		d.lines = slices.Insert(d.lines[:len(d.lines)-1], 1, "quorum "+d.nodes[len(d.nodes)-1])
	}},
	{"a log twice", true, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, d.lines[0]) }},
	{"a log twice under two names", true, func(k *policyKeys, d *draft) { d.lines = append(d.lines, string(k.text("log $MOVED"))) }},
	{"a witness's key twice", true, func(k *policyKeys, d *draft) { d.lines = append(d.lines, string(k.text("witness x $W1"))) }},
	{"a witness's key twice under two names", true, func(k *policyKeys, d *draft) { d.lines = append(d.lines, string(k.text("witness x $AGAIN"))) }},
	{"a witness called none", true, func(k *policyKeys, d *draft) { d.lines = append(d.lines, string(k.text("witness none $LW"))) }},
	{"a member twice", true, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "group x 2 "+d.free[0]+" "+d.free[0]) }},
	{"a member of two groups", true, func(_ *policyKeys, d *draft) {
		d.lines = append(d.lines, "group x any "+d.free[0], "group y any "+d.free[0])
	}},
	{"a number with a zero", true, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "group x 01 "+d.free[0]) }},
	{"a number with a sign", true, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "group x +1 "+d.free[0]) }},
	{"words behind a log", true, func(_ *policyKeys, d *draft) { d.lines[0] += " two three" }},
	{"words behind a witness", true, func(_ *policyKeys, d *draft) { d.lines[1] += " two three" }},
	{"words behind the quorum", true, func(_ *policyKeys, d *draft) { d.lines[len(d.lines)-1] += " none" }},
	{"a comment behind words", true, func(_ *policyKeys, d *draft) { d.lines[len(d.lines)-1] += " # a comment" }},
	{"carriage returns", true, func(_ *policyKeys, d *draft) { d.lines[0] += "\r" }},
	{"a control character in a comment", true, func(_ *policyKeys, d *draft) { d.lines = append(d.lines, "# \x1b[2J") }},
	{"a form feed between words", true, func(_ *policyKeys, d *draft) { d.lines[len(d.lines)-1] = "quorum\f" + d.quorum }},
	{"U+00A0 between words", true, func(_ *policyKeys, d *draft) { d.lines[len(d.lines)-1] = "quorum\u00a0" + d.quorum }},
	{"a key's id in capitals", true, func(k *policyKeys, d *draft) {
		name, rest, _ := strings.Cut(string(k.text("$LW")), "+")
		id, key, _ := strings.Cut(rest, "+")
		d.lines = append(d.lines, "witness x "+name+"+"+strings.ToUpper(id)+"+"+key)
	}},
	{"a witness's key that anybody can sign for", true, func(_ *policyKeys, d *draft) {
		weak := make([]byte, 32)
		d.lines = append(d.lines, fmt.Sprintf("witness x x+%08x+%s", keyID("x", 4, weak), b64.EncodeToString(append([]byte{4}, weak...))))
	}},
}

// Policies with one defect each, around random ones.
func TestPolicyDefectsAgainstReference(t *testing.T) {
	k := newPolicyKeys(t)
	if id := mustVKey(t, string(k.text("$LW"))).KeyName(); strings.ToUpper(id[len(id)-8:]) == id[len(id)-8:] {
		t.Fatal("pick another key: its id has no letters")
	}
	rnd := rand.New(rand.NewPCG(4, 6))
	for _, defect := range policyDefects {
		for round := range 8 {
			d := newDraft(rnd, k)
			defect.spoil(k, d)
			text := d.text(rnd)
			if _, err := ParsePolicy([]byte(text)); err == nil {
				t.Errorf("%s, round %d: accepted\n%s", defect.what, round, text)
			}
			if _, err := torchwood.ParsePolicy([]byte(text)); (err == nil) != defect.theirs {
				t.Errorf("%s, round %d: torchwood accepts it: %v, %v\n%s", defect.what, round, err == nil, err, text)
			}
		}
	}
	// The last line without its line feed, and what torchwood takes a # and other
	// white space for.
	for _, tc := range []struct {
		text         string
		ours, theirs bool
	}{
		{"log $L1\nquorum none", false, true},
		{"log $L1\nwitness a#b $W1\nquorum a#b\n", true, false},
		{"log $L1\nwitness a\u00a0b $W1\nquorum a\u00a0b\n", true, false},
	} {
		_, ours := ParsePolicy(k.text(tc.text))
		_, theirs := torchwood.ParsePolicy(k.text(tc.text))
		if (ours == nil) != tc.ours || (theirs == nil) != tc.theirs {
			t.Errorf("%q: ours %v, theirs %v", tc.text, ours, theirs)
		}
	}
}

// Random policies, and notes with random signatures: both accept the same, but for
// a bad cosignature of a witness that does not count. Torchwood does not know that
// one; we do, and refuse the note.
func TestPoliciesAgainstReference(t *testing.T) {
	k := newPolicyKeys(t)
	rnd := rand.New(rand.NewPCG(8, 15))
	c := sampleCheckpoint()
	moved := c
	moved.Size++
	base := k.sign(t, c, []int{1}, nil)
	text, logLine, _ := strings.Cut(string(base), "\n\n")
	_, badLogLine, _ := strings.Cut(string(k.sign(t, moved, []int{1}, nil)), "\n\n")
	_, otherLogLine, _ := strings.Cut(string(k.sign(t, c, []int{3}, nil)), "\n\n")
	var good, bad []string
	for _, w := range k.witnesses {
		good = append(good, strings.TrimPrefix(string(cosign(t, base, w, 1_700_000_000)), string(base)))
		late := k.sign(t, moved, []int{1}, nil)
		bad = append(bad, strings.TrimPrefix(string(cosign(t, late, w, 1_700_000_000)), string(late)))
	}
	rounds := 400
	if testing.Short() {
		rounds = 100
	}
	accepted, refused, stricter := 0, 0, 0
	for round := range rounds {
		d := newDraft(rnd, k)
		policy := d.text(rnd)
		p, err := ParsePolicy([]byte(policy))
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, policy)
		}
		theirs, err := torchwood.ParsePolicy([]byte(policy))
		if err != nil {
			t.Fatalf("round %d: torchwood: %v\n%s", round, err, policy)
		}
		witnesses, ver := p.Witnesses(), NewPolicyVerifier(p)
		for range 8 {
			var lines []string
			passedOver := false // a bad cosignature that torchwood does not look at
			switch rnd.IntN(12) {
			case 0:
				lines = append(lines, otherLogLine)
			case 1:
				lines = append(lines, badLogLine)
			default:
				lines = append(lines, logLine)
			}
			for i := range k.witnesses {
				known := slices.IndexFunc(witnesses, func(w PolicyWitness) bool { return w.Key.String() == k.witnesses[i].VKey })
				switch n := rnd.IntN(20); {
				case n == 0:
					lines = append(lines, bad[i])
					passedOver = passedOver || known >= 0 && !witnesses[known].Counts
				case n < 14:
					lines = append(lines, good[i])
				}
			}
			rnd.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
			signed := []byte(text + "\n\n" + strings.Join(lines, ""))
			_, ours := ver.open(signed)
			_, _, err := torchwood.VerifyCheckpoint(signed, theirs)
			switch {
			case passedOver && errors.Is(ours, ErrSignature) && err == nil:
				stricter++
			case (ours == nil) != (err == nil):
				t.Fatalf("round %d: ours %v, torchwood's %v\n%s\n%s", round, ours, err, policy, signed)
			case ours == nil:
				accepted++
			default:
				refused++
			}
		}
	}
	t.Logf("%d notes accepted, %d refused, %d by us alone", accepted, refused, stricter)
	if accepted < rounds || refused < rounds || stricter == 0 {
		t.Errorf("%d notes accepted, %d refused, %d by us alone: too few", accepted, refused, stricter)
	}
}

// Where the outcomes differ by what is signed: torchwood wants every log of a
// policy to have signed, so that two of different origin accept nothing, and takes
// the same line twice.
func TestPolicyDifferences(t *testing.T) {
	k := newPolicyKeys(t)
	c := sampleCheckpoint()
	signed := k.sign(t, c, []int{1}, []int{1})
	_, line, _ := strings.Cut(string(signed), "\n\n")
	for _, tc := range []struct {
		what, policy string
		note         []byte
		ours, theirs bool
	}{
		{"one log of two", "log $L1\nlog $L3\nwitness a $W1\nquorum a\n", signed, true, false},
		{"one key of two", "log $L1\nlog $L2\nwitness a $W1\nquorum a\n", signed, true, false},
		{"both keys", "log $L1\nlog $L2\nwitness a $W1\nquorum a\n", k.sign(t, c, []int{1, 2}, []int{1}), true, true},
		{"every line twice", "log $L1\nwitness a $W1\nquorum a\n", append(bytes.Clone(signed), line...), false, true},
	} {
		theirs, err := torchwood.ParsePolicy(k.text(tc.policy))
		if err != nil {
			t.Fatal(err)
		}
		_, ours := NewPolicyVerifier(k.parse(t, tc.policy)).open(tc.note)
		if _, _, err := torchwood.VerifyCheckpoint(tc.note, theirs); (ours == nil) != tc.ours || (err == nil) != tc.theirs {
			t.Errorf("%s: ours %v, torchwood's %v", tc.what, ours, err)
		}
	}
}

// Our record proofs are torchwood's tlog-proofs, byte for byte, and each verifies
// the other's, under a policy.
func TestTlogProofsAgainstTorchwood(t *testing.T) {
	v := sampleVault(t)
	k := newPolicyKeys(t)
	text := "log " + v.keys.Log.VKey + "\nwitness a $W1\nwitness b $W2\nwitness c $W3\ngroup g 2 a b c\nquorum g\n"
	theirs, err := torchwood.ParsePolicy(k.text(text))
	if err != nil {
		t.Fatal(err)
	}
	ours := NewPolicyVerifier(k.parse(t, text))
	verified := 0
	for seq := range v.size() {
		for _, witnesses := range [][]int{{1}, {1, 2}, {3, 2, 4}} {
			signed := v.checkpointAt(v.size())
			for _, i := range witnesses {
				signed = cosign(t, signed, k.witnesses[i-1], 1_700_000_000)
			}
			siblings := path(seq, v.leaves)
			file := EncodeRecordProof(v.lines[seq], seq, siblings, signed)
			var p tlog.RecordProof
			for _, h := range siblings {
				p = append(p, tlog.Hash(h))
			}
			if formatted := torchwood.FormatProofWithExtraData(int64(seq), v.lines[seq], p, signed); !bytes.Equal(formatted, file) {
				t.Fatalf("torchwood writes\n%s, we\n%s", formatted, file)
			}
			if extra, err := torchwood.ProofExtraData(file); err != nil || !bytes.Equal(extra, v.lines[seq]) {
				t.Fatalf("torchwood reads %q, %v", extra, err)
			}
			met := len(witnesses) > 1
			res, err := ours.Verify(file)
			if met != (err == nil) || !met && !errors.Is(err, ErrQuorum) {
				t.Fatalf("record %d, signed by %v: %v", seq, witnesses, err)
			}
			if err := torchwood.VerifyProof(theirs, tlog.RecordHash(v.lines[seq]), file); met != (err == nil) {
				t.Fatalf("record %d, signed by %v: torchwood: %v", seq, witnesses, err)
			}
			// Another place is refused by both; a proof without the record is one of theirs
			// alone, since ours carry it.
			moved := EncodeRecordProof(v.lines[seq], (seq+1)%v.size(), siblings, signed)
			if _, err := ours.Verify(moved); err == nil {
				t.Fatalf("record %d verifies as the next", seq)
			}
			if err := torchwood.VerifyProof(theirs, tlog.RecordHash(v.lines[seq]), moved); err == nil {
				t.Fatalf("record %d verifies as the next with torchwood", seq)
			}
			if _, err := ours.Verify(torchwood.FormatProof(int64(seq), p, signed)); !errors.Is(err, ErrFormat) {
				t.Fatalf("record %d, without `extra`: %v", seq, err)
			}
			if met {
				truth(t, v, res)
				verified++
			}
		}
	}
	if verified < 20 {
		t.Errorf("%d proofs", verified)
	}
}

// Cosigners' keys of torchwood's making are ours, and no log's.
func TestCosignerKeysAgainstReference(t *testing.T) {
	rnd := rand.New(rand.NewChaCha8([32]byte{4}))
	n := 0
	for range 50 {
		var seed [32]byte
		for i := range seed {
			seed[i] = byte(rnd.Uint32())
		}
		v, err := torchwood.NewCosignatureVerifierFromKey("witness.example/ü", ed25519.NewKeyFromSeed(seed[:]).Public())
		if err != nil {
			t.Fatal(err)
		}
		k, err := ParseVKey(v.String())
		if err != nil || k.Type() != TypeCosignEd25519 || k.ID() != v.KeyHash() || k.Name() != v.Name() {
			t.Fatalf("%s: %v", v, err)
		}
		if _, err := NewVerifier(v.String()); !errors.Is(err, ErrInvalid) {
			t.Fatalf("%s as a log's: %v", v, err)
		}
		n++
	}
	if n == 0 {
		t.Error("no keys")
	}
}
