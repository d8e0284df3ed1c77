package proof

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"filippo.io/mldsa"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"graven/merkle"
)

func sampleCheckpoint() Checkpoint {
	return Checkpoint{Origin: "example.com/log", Size: 1234, Root: merkle.LeafHash([]byte("root"))}
}

func TestCheckpointText(t *testing.T) {
	for _, c := range []Checkpoint{
		sampleCheckpoint(),
		{Origin: "a", Size: 0, Root: merkle.EmptyRoot()},
		{Origin: strings.Repeat("o", 255), Size: 1},
		{Origin: "a", Size: MaxSize},
	} {
		got, err := ParseCheckpointText(c.Text())
		if err != nil || got != c {
			t.Errorf("%+v: got %+v, %v", c, got, err)
		}
	}
	const want = "a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
	if got := string(Checkpoint{Origin: "a", Root: merkle.EmptyRoot()}.Text()); got != want {
		t.Errorf("got %q, wanted %q", got, want)
	}
}

func TestParseCheckpointTextRefuses(t *testing.T) {
	root := merkle.LeafHash([]byte("root")).String()
	for _, s := range []string{
		"", "\n", "a\n", "a\n1\n", "a\n1\n" + root, "a\n1\n" + root + "\n\n", "a\n1\n" + root + "\nextension\n",
		"\n1\n" + root + "\n", "a b\n1\n" + root + "\n", "a+\n1\n" + root + "\n", "a\r\n1\r\n" + root + "\r\n",
		strings.Repeat("o", 256) + "\n1\n" + root + "\n",
		"a\n\n" + root + "\n", "a\n01\n" + root + "\n", "a\n+1\n" + root + "\n", "a\n-1\n" + root + "\n", "a\n 1\n" + root + "\n",
		"a\n1 \n" + root + "\n", "a\n0x1\n" + root + "\n", "a\n1_0\n" + root + "\n", "a\n١\n" + root + "\n",
		"a\n9223372036854775808\n" + root + "\n", "a\n18446744073709551616\n" + root + "\n", "a\n" + strings.Repeat("1", 400) + "\n" + root + "\n",
		"a\n1\n" + root[:43] + "\n", "a\n1\n" + root + "=\n", "a\n1\n" + strings.Repeat("A", 44) + "\n", "a\n1\n" + strings.Repeat("A", 42) + "B=\n",
		"a\n0\n" + root + "\n", "a\n00\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
	} {
		if c, err := ParseCheckpointText([]byte(s)); !errors.Is(err, ErrFormat) {
			t.Errorf("%.100q: got %+v, %v", s, c, err)
		}
	}
}

func FuzzParseCheckpointText(f *testing.F) {
	f.Add(sampleCheckpoint().Text())
	f.Add([]byte("a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"))
	f.Add([]byte("a\n01\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCheckpointText(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if !bytes.Equal(c.Text(), b) {
			t.Fatalf("%q is spelled %q", b, c.Text())
		}
	})
}

// golang.org/x/mod opens our checkpoints, and we those that it signs.
func TestCheckpointAgainstReference(t *testing.T) {
	keys := testKeys(t, "example.com/log", "reference")
	c := sampleCheckpoint()
	signed, err := mustSigner(t, keys.Log.SKey).SignCheckpoint(c)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := note.NewVerifier(keys.Log.VKey)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(signed, note.VerifierList(theirs))
	if err != nil || n.Text != string(c.Text()) || len(n.Sigs) != 1 {
		t.Fatalf("the reference opens it to %+v, %v", n, err)
	}
	// The sum database's tree is the same text under a fixed origin.
	tree := tlog.FormatTree(tlog.Tree{N: int64(c.Size), Hash: tlog.Hash(c.Root)})
	if _, tail, _ := strings.Cut(string(tree), "\n"); !strings.HasSuffix(string(c.Text()), "\n"+tail) {
		t.Errorf("ours %q, the reference's %q", c.Text(), tree)
	}
	signer, err := note.NewSigner(keys.Log.SKey)
	if err != nil {
		t.Fatal(err)
	}
	again, err := note.Sign(&note.Note{Text: string(c.Text())}, signer)
	if err != nil || !bytes.Equal(again, signed) {
		t.Errorf("the reference signs %q, we %q (%v)", again, signed, err)
	}
	if got, err := OpenCheckpoint(again, mustVKey(t, keys.Log.VKey)); err != nil || got != c {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestSignCheckpointRefuses(t *testing.T) {
	s := mustSigner(t, testKeys(t, "example.com/log", "signer").Log.SKey)
	c := sampleCheckpoint()
	for what, tc := range map[string]struct {
		c    Checkpoint
		want error
	}{
		"other origin":     {Checkpoint{Origin: "example.com/lod", Size: c.Size, Root: c.Root}, ErrOrigin},
		"bad origin":       {Checkpoint{Origin: "a b", Size: c.Size, Root: c.Root}, ErrInvalid},
		"lines in origin":  {Checkpoint{Origin: "example.com/log\n5", Size: c.Size, Root: c.Root}, ErrInvalid},
		"size too great":   {Checkpoint{Origin: c.Origin, Size: MaxSize + 1, Root: c.Root}, ErrInvalid},
		"size 0 with root": {Checkpoint{Origin: c.Origin, Root: c.Root}, ErrInvalid},
	} {
		if out, err := s.SignCheckpoint(tc.c); !errors.Is(err, tc.want) || out != nil {
			t.Errorf("%s: got %q, %v", what, out, err)
		}
	}
}

func TestOpenCheckpoint(t *testing.T) {
	keys := testKeys(t, "example.com/log", "log")
	spare := testKeys(t, "example.com/log", "spare")
	other := testKeys(t, "example.com/other", "other")
	log, spareLog, otherLog, cosigner := mustVKey(t, keys.Log.VKey), mustVKey(t, spare.Log.VKey), mustVKey(t, other.Log.VKey), mustVKey(t, keys.Cosigner.VKey)
	c := sampleCheckpoint()
	sign := func(k Keys, c Checkpoint) []byte {
		out, err := mustSigner(t, k.Log.SKey).SignCheckpoint(c)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	signed := sign(keys, c)
	line := func(b []byte) string {
		_, sigs, _ := strings.Cut(string(b), "\n\n")
		return sigs
	}
	cos, err := NewCosigner(keys.Cosigner.SKey)
	if err != nil {
		t.Fatal(err)
	}
	cosigned, err := cos.Cosign(signed, 1_700_000_000)
	if err != nil {
		t.Fatal(err)
	}
	moved := c
	moved.Size++
	wrongLog := string(c.Text()) + "\n" + line(sign(keys, moved))
	wrongCos, err := cos.Cosign(sign(keys, moved), 1_700_000_000)
	if err != nil {
		t.Fatal(err)
	}
	wrongCosLine := strings.SplitAfter(string(wrongCos), "\n")[5]
	badText := func(text string) []byte {
		n := &note.Note{Text: text}
		s, err := note.NewSigner(keys.Log.SKey)
		if err != nil {
			t.Fatal(err)
		}
		out, err := note.Sign(n, s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	all := []VKey{log, spareLog, otherLog, cosigner}
	cases := []struct {
		what  string
		note  string
		vkeys []VKey
		want  error
	}{
		{"signed", string(signed), []VKey{log}, nil},
		{"signed, several keys", string(signed), all, nil},
		{"the same key twice", string(signed), []VKey{log, log}, nil},
		{"by the spare key", string(sign(spare, c)), all, nil},
		{"by both keys", string(signed) + line(sign(spare, c)), all, nil},
		{"by the spare key, unknown", string(sign(spare, c)), []VKey{log}, ErrSignature},
		{"cosigned", string(cosigned), []VKey{log}, nil},
		{"cosigned, known", string(cosigned), all, nil},
		{"unknown key", string(signed) + "— witness.example AAAAAQU=\n", all, nil},
		{"the log's name, unknown id", string(signed) + sampleSig, all, nil},
		{"16 cosignatures", string(signed) + strings.Repeat("— witness.example "+base64.StdEncoding.EncodeToString(make([]byte, 2432))+"\n", 16), all, nil},
		{"no key", string(signed), nil, ErrOrigin},
		{"cosigner's key only", string(cosigned), []VKey{cosigner}, ErrOrigin},
		{"other log's key", string(signed), []VKey{otherLog}, ErrOrigin},
		{"other origin under the log's key", string(badText("example.com/lod\n1\n" + c.Root.String() + "\n")), all, ErrOrigin},
		{"other signer's line", string(c.Text()) + "\n" + line(sign(other, Checkpoint{"example.com/other", c.Size, c.Root})), all, ErrSignature},
		{"no log signature, cosigned", string(c.Text()) + "\n" + strings.SplitAfter(string(cosigned), "\n")[5], all, ErrSignature},
		{"signature of another checkpoint", wrongLog, []VKey{log}, ErrSignature},
		{"signed twice", string(signed) + line(signed), []VKey{log}, ErrFormat},
		{"good, then bad", string(signed) + line(sign(keys, moved)), []VKey{log}, ErrFormat},
		{"bad cosignature, unknown", string(signed) + wrongCosLine, []VKey{log}, nil},
		{"bad cosignature, known", string(signed) + wrongCosLine, all, ErrSignature},
		{"bad spare signature", string(signed) + line(sign(spare, moved)), all, ErrSignature},
		{"extension line", string(badText(string(c.Text()) + "ext\n")), all, ErrFormat},
		{"empty line in the text", string(badText(string(c.Text()) + "\nmore\n")), all, ErrFormat},
		{"malformed unknown line", string(signed) + "— witness.example AAAAAQ==\n", all, ErrFormat},
		{"CRLF", strings.ReplaceAll(string(signed), "\n", "\r\n"), all, ErrFormat},
	}
	for _, tc := range cases {
		got, err := OpenCheckpoint([]byte(tc.note), tc.vkeys...)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, wanted %v", tc.what, err, tc.want)
		}
		if err == nil && got != c {
			t.Errorf("%s: got %+v", tc.what, got)
		}
		if err != nil && got != (Checkpoint{}) {
			t.Errorf("%s: an error and %+v", tc.what, got)
		}
	}
	// Size 0 is a checkpoint like any other.
	empty := Checkpoint{Origin: c.Origin, Root: merkle.EmptyRoot()}
	if got, err := OpenCheckpoint(sign(keys, empty), log); err != nil || got != empty {
		t.Errorf("size 0: %+v, %v", got, err)
	}
}

// Every changed bit, every cut and every byte more makes a checkpoint worthless.
func TestOpenCheckpointBits(t *testing.T) {
	keys := testKeys(t, "example.com/log", "bits")
	signed, err := mustSigner(t, keys.Log.SKey).SignCheckpoint(sampleCheckpoint())
	if err != nil {
		t.Fatal(err)
	}
	log := mustVKey(t, keys.Log.VKey)
	refuseChanges(t, signed, func(b []byte) error {
		_, err := OpenCheckpoint(b, log)
		return err
	})
}

// refuseChanges checks that check accepts good, and refuses, with an error of this
// package, each flipped bit, each cut, each removed byte, and bytes added anywhere.
func refuseChanges(t *testing.T, good []byte, check func([]byte) error) {
	t.Helper()
	if err := check(good); err != nil {
		t.Fatalf("the original: %v", err)
	}
	refused := func(b []byte, how string, at int) {
		err := check(b)
		if err == nil {
			t.Fatalf("%s at byte %d verifies", how, at)
		}
		for _, typed := range []error{ErrFormat, ErrUnknownVersion, ErrSignature, ErrOrigin, ErrProof, ErrDamaged} {
			if errors.Is(err, typed) {
				return
			}
		}
		t.Fatalf("%s at byte %d: untyped error %v", how, at, err)
	}
	b := bytes.Clone(good)
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			refused(b, fmt.Sprintf("bit %d", bit), i)
			b[i] ^= 1 << bit
		}
		refused(good[:i], "a cut", i)
		refused(append(bytes.Clone(good[:i]), good[i+1:]...), "a removed byte", i)
	}
	for i := 0; i <= len(good); i++ {
		for _, add := range []string{"\n", " ", "A", "0"} {
			if i > 0 && i < len(good) && good[i] == add[0] {
				continue // the same bytes as adding it one place later
			}
			refused([]byte(string(good[:i])+add+string(good[i:])), fmt.Sprintf("%q added", add), i)
		}
	}
	refused(append(bytes.Clone(good), good...), "doubled", len(good))
}

func TestCosign(t *testing.T) {
	keys := testKeys(t, "example.com/log", "cosign")
	c := sampleCheckpoint()
	signed, err := mustSigner(t, keys.Log.SKey).SignCheckpoint(c)
	if err != nil {
		t.Fatal(err)
	}
	cos, err := NewCosigner(keys.Cosigner.SKey)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cos.Cosign(signed, 1_700_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := cos.Cosign(signed, 1_700_000_000); !bytes.Equal(again, out) {
		t.Error("cosigning is not deterministic")
	}
	n, err := ParseNote(out)
	if err != nil || len(n.Sigs) != 2 || !bytes.HasPrefix(out, signed) {
		t.Fatalf("%d signatures, %v", len(n.Sigs), err)
	}
	// The message, written out again from the specification.
	sig := n.Sigs[1].Sig
	var msg bytes.Buffer
	msg.WriteString("subtree/v1\n")
	msg.WriteByte(0)
	msg.WriteByte(15)
	msg.WriteString("example.com/log")
	binary.Write(&msg, binary.BigEndian, uint64(1_700_000_000))
	msg.WriteByte(15)
	msg.WriteString("example.com/log")
	binary.Write(&msg, binary.BigEndian, []uint64{0, 1234})
	msg.Write(c.Root[:])
	vkey := mustVKey(t, keys.Cosigner.VKey)
	pub, err := mldsa.NewPublicKey(mldsa.MLDSA44(), vkey.Public())
	if err != nil {
		t.Fatal(err)
	}
	if len(sig) != 2428 || binary.BigEndian.Uint64(sig) != 1_700_000_000 {
		t.Fatalf("%d bytes at %d", len(sig), binary.BigEndian.Uint64(sig))
	}
	if err := mldsa.Verify(pub, msg.Bytes(), sig[8:], nil); err != nil {
		t.Error(err)
	}
	log := mustVKey(t, keys.Log.VKey)
	if _, err := OpenCheckpoint(out, log, vkey); err != nil {
		t.Error(err)
	}
	// With the cosigner's key known, no part of its signature is free: time,
	// signature, length. A sample of the bits, as each costs a verification.
	reSign := func(sig []byte) error {
		m := n
		m.Sigs = []NoteSignature{n.Sigs[0], {Name: n.Sigs[1].Name, ID: n.Sigs[1].ID, Sig: sig}}
		_, err := OpenCheckpoint(m.Bytes(), log, vkey)
		return err
	}
	for i := 0; i < len(sig)*8; i += 61 {
		bad := bytes.Clone(sig)
		bad[i/8] ^= 1 << (i % 8)
		if err := reSign(bad); !errors.Is(err, ErrSignature) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	for _, bad := range [][]byte{sig[:len(sig)-1], append(bytes.Clone(sig), 0), sig[:8], sig[:1]} {
		if err := reSign(bad); !errors.Is(err, ErrSignature) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	future := binary.BigEndian.AppendUint64(nil, math.MaxInt64+1)
	raw, err := cos.key.lattice.SignDeterministic(cosignMessage("example.com/log", math.MaxInt64+1, c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := reSign(append(future, raw...)); !errors.Is(err, ErrSignature) {
		t.Errorf("time 2^63: %v", err)
	}
	if _, err := cos.Cosign(out, 1); !errors.Is(err, ErrInvalid) {
		t.Errorf("cosigned twice: %v", err)
	}
	if _, err := cos.Cosign(signed, math.MaxInt64+1); !errors.Is(err, ErrInvalid) {
		t.Errorf("time 2^63: %v", err)
	}
	if _, err := cos.Cosign([]byte("text\n\n"+sampleSig), 1); !errors.Is(err, ErrFormat) {
		t.Errorf("no checkpoint: %v", err)
	}
	full := append(bytes.Clone(signed), strings.Repeat(sampleSig, MaxSignatures-1)...)
	if _, err := cos.Cosign(full, 1); !errors.Is(err, ErrInvalid) {
		t.Errorf("no room: %v", err)
	}
}
