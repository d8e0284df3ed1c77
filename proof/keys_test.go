package proof

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// stream is a reader of fixed, reproducible bytes for keys in tests.
type stream struct {
	name string
	n    uint64
	left []byte
}

func (s *stream) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(s.left) == 0 {
			sum := sha256.Sum256(fmt.Appendf(nil, "graven test keys %s %d", s.name, s.n))
			s.n, s.left = s.n+1, sum[:]
		}
		c := copy(p[n:], s.left)
		s.left, n = s.left[c:], n+c
	}
	return n, nil
}

func testKeys(t testing.TB, origin, material string) Keys {
	t.Helper()
	k, err := GenerateKeys(origin, &stream{name: material})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustVKey(t testing.TB, s string) VKey {
	t.Helper()
	k, err := ParseVKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustSigner(t testing.TB, s string) *Signer {
	t.Helper()
	k, err := NewSigner(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestValidOrigin(t *testing.T) {
	for _, s := range []string{
		"a", "example.com/log", "vault-1.example/ü/日本", strings.Repeat("o", 255), "\u200d",
	} {
		if err := ValidOrigin(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{
		"", strings.Repeat("o", 256), "a b", "a+b", "a\tb", "a\nb", "a\u00a0b", "a\u2028", "\u3000", "a\x00", "a\x7f", "a\u0085", "a\u0090", "\xff", "a\xc0\x80", "\xed\xa0\x80",
	} {
		if err := ValidOrigin(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: got %v, wanted ErrInvalid", s, err)
		}
	}
}

func TestGenerateKeysRoundTrip(t *testing.T) {
	keys := testKeys(t, "example.com/log", "round trip")
	signer := mustSigner(t, keys.Log.SKey)
	if signer.VKey() != keys.Log.VKey || signer.Origin() != "example.com/log" {
		t.Errorf("signer has %s of %s", signer.VKey(), signer.Origin())
	}
	cosigner, err := NewCosigner(keys.Cosigner.SKey)
	if err != nil || cosigner.VKey() != keys.Cosigner.VKey {
		t.Errorf("cosigner: %v", err)
	}
	for _, text := range []string{keys.Log.VKey, keys.Cosigner.VKey} {
		if got := mustVKey(t, text).String(); got != text {
			t.Errorf("%s parses to %s", text, got)
		}
	}
	if got := mustVKey(t, keys.Log.VKey); got.Type() != TypeEd25519 || len(got.Public()) != 32 || got.Name() != "example.com/log" {
		t.Errorf("log key: type %d, %d bytes, name %s", got.Type(), len(got.Public()), got.Name())
	}
	if got := mustVKey(t, keys.Cosigner.VKey); got.Type() != TypeMLDSA44 || len(got.Public()) != 1312 {
		t.Errorf("cosigner key: type %d, %d bytes", got.Type(), len(got.Public()))
	}
	if again := testKeys(t, "example.com/log", "round trip"); again != keys {
		t.Error("the same randomness gives other keys")
	}
	if _, err := NewSigner(keys.Cosigner.SKey); !errors.Is(err, ErrFormat) {
		t.Errorf("a cosigner's key as a log's: %v", err)
	}
	if _, err := NewCosigner(keys.Log.SKey); !errors.Is(err, ErrFormat) {
		t.Errorf("a log's key as a cosigner's: %v", err)
	}
}

func TestGenerateKeysErrors(t *testing.T) {
	if _, err := GenerateKeys("a b", &stream{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("bad origin: %v", err)
	}
	if _, err := GenerateKeys("a", bytes.NewReader(make([]byte, 63))); err == nil {
		t.Error("short randomness was taken")
	}
}

// The reference implementation of signed notes reads our Ed25519 keys and we its.
func TestKeysAgainstReference(t *testing.T) {
	keys := testKeys(t, "example.com/log", "reference")
	v, err := note.NewVerifier(keys.Log.VKey)
	if err != nil {
		t.Fatal(err)
	}
	ours := mustVKey(t, keys.Log.VKey)
	if v.Name() != ours.Name() || v.KeyHash() != ours.ID() {
		t.Errorf("reference: %s %08x, ours: %s %08x", v.Name(), v.KeyHash(), ours.Name(), ours.ID())
	}
	if _, err := note.NewSigner(keys.Log.SKey); err != nil {
		t.Error(err)
	}
	skey, vkey, err := note.GenerateKey(&stream{name: "theirs"}, "sum.example.org")
	if err != nil {
		t.Fatal(err)
	}
	if s := mustSigner(t, skey); s.VKey() != vkey {
		t.Errorf("ours gives %s, reference %s", s.VKey(), vkey)
	}
}

func TestParseVKeyRefuses(t *testing.T) {
	keys := testKeys(t, "example.com/log", "strict")
	good := keys.Log.VKey
	name, rest, _ := strings.Cut(good, "+")
	id, key64, _ := strings.Cut(rest, "+")
	raw, _ := base64.StdEncoding.DecodeString(key64)
	join := func(name, id, key64 string) string { return name + "+" + id + "+" + key64 }
	enc := base64.StdEncoding.EncodeToString
	upper := strings.ToUpper(id)
	if upper == id {
		t.Fatal("pick another key: its id has no letters")
	}
	lattice := func(b []byte) string {
		sum := sha256.Sum256(append([]byte(name+"\n"), b...))
		return join(name, hex.EncodeToString(sum[:4]), enc(b))
	}
	cases := []struct {
		what, vkey string
		want       error
	}{
		{"empty", "", ErrFormat},
		{"name only", name, ErrFormat},
		{"no key", name + "+" + id, ErrFormat},
		{"empty key", join(name, id, ""), ErrFormat},
		{"empty name", join("", id, key64), ErrFormat},
		{"space in the name", join("a b", id, key64), ErrFormat},
		{"other name", join("example.com/lod", id, key64), ErrFormat},
		{"upper-case id", join(name, upper, key64), ErrFormat},
		{"short id", join(name, id[1:], key64), ErrFormat},
		{"long id", join(name, id+"0", key64), ErrFormat},
		{"signed id", join(name, "+"+id[1:], key64), ErrFormat},
		{"other id", join(name, "00000000", key64), ErrFormat},
		{"line feed behind", good + "\n", ErrFormat},
		{"line feed within base64", join(name, id, key64[:8]+"\n"+key64[8:]), ErrFormat},
		{"one character short", good[:len(good)-1], ErrFormat},
		{"URL alphabet", join(name, id, base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, 33))), ErrFormat},
		{"short key", lattice(raw[:32]), ErrFormat},
		{"long key", lattice(append(bytes.Clone(raw), 0)), ErrFormat},
		{"unknown type", lattice(append([]byte{2}, raw[1:]...)), ErrUnknownVersion},
		{"short cosigner's key", lattice(append([]byte{4}, raw[2:]...)), ErrFormat},
		{"long cosigner's key", lattice(append([]byte{4}, raw...)), ErrFormat},
		{"weak cosigner's key", lattice(append([]byte{4}, make([]byte, 32)...)), ErrFormat},
		{"a cosigner's key with the id of a log's", join(name, id, enc(append([]byte{4}, raw[1:]...))), ErrFormat},
		{"type of version+1", lattice(append([]byte{7}, raw[1:]...)), ErrUnknownVersion},
		{"short ML-DSA key", lattice(append([]byte{6}, raw[1:]...)), ErrFormat},
		{"too long", good + strings.Repeat("A", 4096), ErrFormat},
	}
	for _, c := range cases {
		if _, err := ParseVKey(c.vkey); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, wanted %v", c.what, err, c.want)
		}
	}
	// Every changed character of a key is refused, and of a signing key too, with
	// nothing of the secret in the message.
	for i := range len(good) {
		for _, c := range []byte("A+0 \n=b") {
			if good[i] == c {
				continue
			}
			if _, err := ParseVKey(good[:i] + string(c) + good[i+1:]); err == nil {
				t.Errorf("verifier key with %q at %d parses", c, i)
			}
		}
	}
	skey := keys.Log.SKey
	for i := range len(skey) {
		bad := skey[:i] + "!" + skey[i+1:]
		_, err := NewSigner(bad)
		if err == nil {
			t.Fatalf("signing key with ! at %d parses", i)
		}
		if secret := skey[len(skey)-20:]; strings.Contains(err.Error(), secret) {
			t.Fatalf("the error quotes the key: %v", err)
		}
	}
	if _, err := NewSigner(skey + "\n"); !errors.Is(err, ErrFormat) {
		t.Errorf("signing key with a line feed: %v", err)
	}
}

// Each refused Ed25519 key is one under which a signature can be made without any
// secret: S = 0 and R a point of small order. The standard library accepts those.
func TestSmallOrderKeysAreForgeable(t *testing.T) {
	var points [][]byte
	for i := 0; i < len(smallOrder); i += 64 {
		y, err := hex.DecodeString(smallOrder[i : i+64])
		if err != nil || len(y) != 32 {
			t.Fatalf("entry %d: %v", i/64, err)
		}
		flipped := bytes.Clone(y)
		flipped[31] |= 0x80
		points = append(points, y, flipped)
	}
	for _, public := range points {
		if err := checkEd25519(public); !errors.Is(err, errSmallOrder) {
			t.Errorf("%x: %v", public, err)
		}
		id := binary.BigEndian.AppendUint32(nil, 0)
		if _, err := ParseVKey(fmt.Sprintf("a+%x+%s", id, base64.StdEncoding.EncodeToString(append([]byte{1}, public...)))); !errors.Is(err, ErrFormat) {
			t.Errorf("%x: ParseVKey: %v", public, err)
		}
		forged := false
		for n := 0; n < 64 && !forged; n++ {
			msg := fmt.Appendf(nil, "message %d", n)
			for _, r := range points {
				forged = forged || ed25519.Verify(public, msg, append(bytes.Clone(r), make([]byte, 32)...))
			}
		}
		// 0 and p-1 have x = 0 or a fixed sign: some flipped forms decode to no point.
		if !forged && public[31]&0x80 == 0 {
			t.Errorf("%x: no forgery found, so why is it refused?", public)
		}
	}
	// y from p to 2^255-1, with either sign.
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	for d := int64(-3); d < 19; d++ {
		y := new(big.Int).Add(p, big.NewInt(d)).FillBytes(make([]byte, 32))
		for i, j := 0, 31; i < j; i, j = i+1, j-1 {
			y[i], y[j] = y[j], y[i]
		}
		for _, sign := range []byte{0, 0x80} {
			y[31] = y[31]&0x7f | sign
			if err := checkEd25519(y); (d >= 0) != errors.Is(err, errNotCanonical) {
				t.Errorf("p%+d: %v", d, err)
			}
		}
	}
}

func FuzzParseVKey(f *testing.F) {
	keys, err := GenerateKeys("example.com/log", &stream{name: "fuzz"})
	if err != nil {
		f.Fatal(err)
	}
	witness := cosignerKey(f, "witness.example/w1", TypeCosignEd25519, "fuzz")
	for _, s := range []string{keys.Log.VKey, keys.Cosigner.VKey, keys.Log.SKey, witness.VKey, "a+00000000+AQ==", "++", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseVKey(s)
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrUnknownVersion) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if k.String() != s {
			t.Fatalf("%q is spelled %q", s, k.String())
		}
		if k.Type() == TypeEd25519 {
			if _, err := note.NewVerifier(s); err != nil {
				t.Fatalf("the reference refuses %q: %v", s, err)
			}
		}
	})
}

// A signing key that is given as a verifier key is not repeated in the error.
func TestSigningKeyIsNoVerifierKey(t *testing.T) {
	keys, err := GenerateKeys("example.com/log", &stream{name: "mixed up"})
	if err != nil {
		t.Fatal(err)
	}
	witness := cosignerKey(t, "witness.example/w1", TypeCosignEd25519, "mixed up")
	for _, skey := range []string{keys.Log.SKey, keys.Cosigner.SKey, witness.SKey} {
		_, err := ParseVKey(skey)
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "signing key") {
			t.Errorf("got %v", err)
		}
		for i := strings.LastIndexByte(skey, '+') + 1; i+4 <= len(skey); i++ {
			if err != nil && strings.Contains(err.Error(), skey[i:i+4]) {
				t.Fatalf("the error repeats a part of the key: %v", err)
			}
		}
	}
}

func FuzzSigningKey(f *testing.F) {
	keys, err := GenerateKeys("example.com/log", &stream{name: "fuzz"})
	if err != nil {
		f.Fatal(err)
	}
	witness := cosignerKey(f, "witness.example/w1", TypeCosignEd25519, "fuzz")
	for _, s := range []string{keys.Log.SKey, keys.Cosigner.SKey, witness.SKey, keys.Log.VKey, "PRIVATE+KEY+a+00000000+AQ==", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := NewSigner(s); err == nil && k.key.text() != s {
			t.Fatalf("%q is spelled %q", s, k.key.text())
		}
		if k, err := NewCosigner(s); err == nil && k.key.text() != s {
			t.Fatalf("%q is spelled %q", s, k.key.text())
		}
	})
}
