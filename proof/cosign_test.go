package proof

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
)

// cosignerKey makes a cosigner's keys of either type.
func cosignerKey(t testing.TB, name string, typ byte, material string) KeyPair {
	t.Helper()
	var seed [secretSize]byte
	if _, err := io.ReadFull(&stream{name: material}, seed[:]); err != nil {
		t.Fatal(err)
	}
	k, err := keyPair(name, typ, seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// cosign adds a cosignature.
func cosign(t testing.TB, note []byte, k KeyPair, seconds uint64) []byte {
	t.Helper()
	s, err := NewCosigner(k.SKey)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Cosign(note, seconds)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// cosignatureLine is a line of a note with a type 4 key's cosignature of a text,
// whatever the text and the time are.
func cosignatureLine(k KeyPair, seconds uint64, text []byte) string {
	return signedLine(k, seconds, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", seconds, text))
}

// textSignatureLine is one whose signature is of the text alone, as a log's is.
func textSignatureLine(k KeyPair, seconds uint64, text []byte) string {
	return signedLine(k, seconds, text)
}

func signedLine(k KeyPair, seconds uint64, msg []byte) string {
	key, err := parseSecret(k.SKey, TypeCosignEd25519)
	if err != nil {
		panic(err)
	}
	sig := append(binary.BigEndian.AppendUint64(nil, seconds), ed25519.Sign(key.ed, msg)...)
	return string(NoteSignature{Name: key.vkey.name, ID: key.vkey.id, Sig: sig}.append(nil))
}

func TestCosignEd25519(t *testing.T) {
	keys := testKeys(t, "example.com/log", "cosign")
	witness := cosignerKey(t, "witness.example/w1", TypeCosignEd25519, "witness")
	c := sampleCheckpoint()
	signed, err := mustSigner(t, keys.Log.SKey).SignCheckpoint(c)
	if err != nil {
		t.Fatal(err)
	}
	cos, err := NewCosigner(witness.SKey)
	if err != nil || cos.VKey() != witness.VKey || cos.Type() != TypeCosignEd25519 {
		t.Fatalf("%+v, %v", cos, err)
	}
	const at = 1_700_000_000
	out := cosign(t, signed, witness, at)
	if again := cosign(t, signed, witness, at); !bytes.Equal(again, out) {
		t.Error("cosigning is not deterministic")
	}
	n, err := ParseNote(out)
	if err != nil || len(n.Sigs) != 2 || !bytes.HasPrefix(out, signed) {
		t.Fatalf("%d signatures, %v", len(n.Sigs), err)
	}
	// The message, written out again from the specification.
	log, vkey := mustVKey(t, keys.Log.VKey), mustVKey(t, witness.VKey)
	sig := n.Sigs[1].Sig
	msg := "cosignature/v1\ntime 1700000000\nexample.com/log\n1234\n" + c.Root.String() + "\n"
	if len(sig) != 72 || binary.BigEndian.Uint64(sig) != at || !ed25519.Verify(vkey.Public(), []byte(msg), sig[8:]) {
		t.Fatalf("%d bytes at %d", len(sig), binary.BigEndian.Uint64(sig))
	}
	if _, err := OpenCheckpoint(out, log, vkey); err != nil {
		t.Error(err)
	}
	reSign := func(sig []byte) error {
		m := n
		m.Sigs = []NoteSignature{n.Sigs[0], {Name: n.Sigs[1].Name, ID: n.Sigs[1].ID, Sig: sig}}
		_, err := OpenCheckpoint(m.Bytes(), log, vkey)
		return err
	}
	for i := range len(sig) * 8 {
		bad := bytes.Clone(sig)
		bad[i/8] ^= 1 << (i % 8)
		if err := reSign(bad); !errors.Is(err, ErrSignature) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	for _, bad := range [][]byte{sig[:71], append(bytes.Clone(sig), 0), sig[:8], sig[:7], sig[:1], sig[8:]} {
		if err := reSign(bad); !errors.Is(err, ErrSignature) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	for what, line := range map[string]string{
		"time 2^63":             cosignatureLine(witness, math.MaxInt64+1, c.Text()),
		"the text alone":        textSignatureLine(witness, at, c.Text()),
		"a time with a zero":    signedLine(witness, at, []byte("cosignature/v1\ntime 01700000000\n"+string(c.Text()))),
		"another label":         signedLine(witness, at, []byte("cosignature/v2\ntime 1700000000\n"+string(c.Text()))),
		"the whole note":        signedLine(witness, at, []byte("cosignature/v1\ntime 1700000000\n"+string(signed))),
		"a text of other bytes": cosignatureLine(witness, at, []byte("example.com/log\n1235\n"+c.Root.String()+"\n")),
	} {
		if _, err := OpenCheckpoint([]byte(string(signed)+line), log, vkey); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := OpenCheckpoint([]byte(string(signed)+line), log); err != nil {
			t.Errorf("%s, of an unknown key: %v", what, err)
		}
	}
	for _, seconds := range []uint64{0, 1, math.MaxInt64} {
		if _, err := OpenCheckpoint(cosign(t, signed, witness, seconds), log, vkey); err != nil {
			t.Errorf("time %d: %v", seconds, err)
		}
	}
	if _, err := cos.Cosign(out, 1); !errors.Is(err, ErrInvalid) {
		t.Errorf("cosigned twice: %v", err)
	}
	if _, err := cos.Cosign(signed, math.MaxInt64+1); !errors.Is(err, ErrInvalid) {
		t.Errorf("time 2^63: %v", err)
	}
}

// A cosigner's Ed25519 key is never taken for a log's, though it may have the log's
// name and even its public key.
func TestCosignerIsNoLog(t *testing.T) {
	keys := testKeys(t, "example.com/log", "cosigner")
	log := mustVKey(t, keys.Log.VKey)
	secret, err := parseSecret(keys.Log.SKey, TypeEd25519)
	if err != nil {
		t.Fatal(err)
	}
	same, err := keyPair("example.com/log", TypeCosignEd25519, secret.material)
	if err != nil {
		t.Fatal(err)
	}
	vkey := mustVKey(t, same.VKey)
	if vkey.ID() == log.ID() || !bytes.Equal(vkey.Public(), log.Public()) {
		t.Fatalf("%s and %s", vkey, log)
	}
	c := sampleCheckpoint()
	signed, err := mustSigner(t, keys.Log.SKey).SignCheckpoint(c)
	if err != nil {
		t.Fatal(err)
	}
	alone := string(c.Text()) + "\n" + cosignatureLine(same, 1, c.Text())
	for what, tc := range map[string]struct {
		note  string
		vkeys []VKey
		want  error
	}{
		"both":                           {string(cosign(t, signed, same, 1)), []VKey{log, vkey}, nil},
		"cosigned only":                  {alone, []VKey{log, vkey}, ErrSignature},
		"cosigned only, no log's key":    {alone, []VKey{vkey}, ErrOrigin},
		"signed, no log's key":           {string(signed), []VKey{vkey}, ErrOrigin},
		"the log's line under its id":    {string(c.Text()) + "\n" + textSignatureLine(same, 1, c.Text()), []VKey{log, vkey}, ErrSignature},
		"its signature under the log's":  {string(c.Text()) + "\n" + string(NoteSignature{Name: log.name, ID: log.id, Sig: ed25519.Sign(secret.ed, cosignText(1, c.Text()))}.append(nil)), []VKey{log}, ErrSignature},
		"both, the cosigner not known":   {string(cosign(t, signed, same, 1)), []VKey{log}, nil},
		"both, only the cosigner known":  {string(cosign(t, signed, same, 1)), []VKey{vkey}, ErrOrigin},
		"both, the cosigner known first": {string(cosign(t, signed, same, 1)), []VKey{vkey, log}, nil},
	} {
		if _, err := OpenCheckpoint([]byte(tc.note), tc.vkeys...); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, wanted %v", what, err, tc.want)
		}
	}
	if _, err := NewSigner(same.SKey); !errors.Is(err, ErrFormat) {
		t.Errorf("as a log's signing key: %v", err)
	}
	if _, err := NewVerifier(same.VKey, keys.Log.VKey); !errors.Is(err, ErrInvalid) {
		t.Errorf("as a log's verifier key: %v", err)
	}
	if _, err := NewCosigner(keys.Log.SKey); !errors.Is(err, ErrFormat) {
		t.Errorf("a log's key as a cosigner's: %v", err)
	}
}

// A result tells who has cosigned and when, of those that the verifier knows.
func TestCosigners(t *testing.T) {
	v, files := samples(t)
	w1 := cosignerKey(t, "witness.example/w1", TypeCosignEd25519, "w1")
	w2 := cosignerKey(t, "witness.example/w2", TypeMLDSA44, "w2")
	w3 := cosignerKey(t, "witness.example/w3", TypeCosignEd25519, "w3")
	ver, err := NewVerifier(v.keys.Log.VKey, w1.VKey, w2.VKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range files {
		res, err := ver.Verify(file)
		if err != nil || len(res.Cosigners()) != 0 {
			t.Fatalf("%s: %v", name, err)
		}
		head, note, _ := bytes.Cut(file, []byte("\n\n"))
		note = cosign(t, cosign(t, cosign(t, note, w2, 0), w3, 7), w1, 1_700_000_000)
		if res, err = ver.Verify(bytes.Join([][]byte{head, note}, []byte("\n\n"))); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		have := res.Cosigners()
		if len(have) != 2 || have[0].Key.String() != w2.VKey || have[0].Seconds != 0 || have[1].Key.String() != w1.VKey || have[1].Seconds != 1_700_000_000 {
			t.Errorf("%s: %+v", name, have)
		}
		have[0].Seconds = 1
		if res.Cosigners()[0].Seconds != 0 {
			t.Errorf("%s: the caller can change the result", name)
		}
		if err := res.CheckCosigners(w1.VKey, w2.VKey); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := res.CheckCosigners(v.keys.Log.VKey); !errors.Is(err, ErrSignature) {
			t.Errorf("the log's own key passes for a cosigner's: %v", err)
		}
		if err := res.CheckCosigners(w3.VKey); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: an unknown cosigner: %v", name, err)
		}
	}
}
