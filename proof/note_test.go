package proof

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

const sampleSig = "— example.com/log AAAAAQU=\n"

func TestParseNoteRoundTrip(t *testing.T) {
	for _, s := range []string{
		"text\n\n" + sampleSig,
		"a\n\nb\n\n" + sampleSig, // the last empty line parts text and signatures
		"\n\n" + sampleSig,
		"ü日本\n\n— ключ/1 AAAAAQU=\n" + sampleSig + sampleSig,
		"text\n\n" + strings.Repeat(sampleSig, MaxSignatures),
	} {
		n, err := ParseNote([]byte(s))
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		if got := string(n.Bytes()); got != s {
			t.Errorf("%q is spelled %q", s, got)
		}
	}
	n, err := ParseNote([]byte("text\n\n" + sampleSig))
	if err != nil || len(n.Sigs) != 1 {
		t.Fatal(n, err)
	}
	if s := n.Sigs[0]; s.Name != "example.com/log" || s.ID != 1 || !bytes.Equal(s.Sig, []byte{5}) || string(n.Text) != "text\n" {
		t.Errorf("parsed as %+v", n)
	}
}

func TestParseNoteRefuses(t *testing.T) {
	for _, s := range []string{
		"", "\n", "\n\n", "text\n", "text\n\n", "text\n" + sampleSig,
		"text\n\n" + strings.TrimSuffix(sampleSig, "\n"),
		"text\n\n" + sampleSig + "\n",
		"text\n\n" + sampleSig + "junk\n",
		"text\r\n\r\n" + sampleSig,
		"text\n\n" + strings.TrimSuffix(sampleSig, "\n") + "\r\n",
		"te\x00xt\n\n" + sampleSig,
		"te\txt\n\n" + sampleSig,
		"te\xffxt\n\n" + sampleSig,
		"te\xed\xa0\x80xt\n\n" + sampleSig,
		"text\n\n- example.com/log AAAAAQU=\n",      // a hyphen
		"text\n\n– example.com/log AAAAAQU=\n",      // U+2013
		"text\n\n—example.com/log AAAAAQU=\n",       // no space
		"text\n\n—\u00a0example.com/log AAAAAQU=\n", // another space
		"text\n\n—  AAAAAQU=\n",                     // no name
		"text\n\n— example.com/log\n",               // no signature
		"text\n\n— example.com/log \n",              // an empty one
		"text\n\n— example.com/log  AAAAAQU=\n",     // two spaces
		"text\n\n— example.com/log AAAAAQU= \n",     // a space behind
		"text\n\n— example.com/log AAAAAQU= AAAA\n", // a third field
		"text\n\n— a+b AAAAAQU=\n",                  // + in a name
		"text\n\n— a\u2003b AAAAAQU=\n",             // a Unicode space in a name
		"text\n\n— example.com/log AAAAAQ==\n",      // id only
		"text\n\n— example.com/log AAAA\n",          // less than an id
		"text\n\n— example.com/log AAAAAQU\n",       // no padding
		"text\n\n— example.com/log AAAAAQV=\n",      // trailing bits
		"text\n\n— example.com/log AAAAA-U=\n",      // URL alphabet
		"text\n\n" + strings.Repeat(sampleSig, 1+MaxSignatures),
		strings.Repeat("x", MaxNote) + "\n\n" + sampleSig,
	} {
		if _, err := ParseNote([]byte(s)); !errors.Is(err, ErrFormat) {
			t.Errorf("%.80q: got %v, wanted ErrFormat", s, err)
		}
	}
}

// What we parse, the reference implementation parses to the same parts.
func FuzzParseNote(f *testing.F) {
	keys, err := GenerateKeys("example.com/log", &stream{name: "fuzz"})
	if err != nil {
		f.Fatal(err)
	}
	signer, err := NewSigner(keys.Log.SKey)
	if err != nil {
		f.Fatal(err)
	}
	signed, err := signer.SignCheckpoint(Checkpoint{Origin: "example.com/log", Size: 7})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add([]byte("text\n\n" + sampleSig))
	f.Add([]byte("a\n\nb\n\n" + sampleSig + sampleSig))
	f.Add([]byte("text\n\n— example.com/log AAAAAQV=\n"))
	vkey, err := ParseVKey(keys.Log.VKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := OpenCheckpoint(b, vkey); err == nil && !bytes.HasPrefix(b, c.Text()) {
			t.Fatalf("%q opens to %+v", b, c)
		}
		n, err := ParseNote(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if !bytes.Equal(n.Bytes(), b) {
			t.Fatalf("%q is spelled %q", b, n.Bytes())
		}
		_, err = note.Open(b, note.VerifierList())
		var unverified *note.UnverifiedNoteError
		if !errors.As(err, &unverified) {
			t.Fatalf("the reference says %v", err)
		}
		if unverified.Note.Text != string(n.Text) {
			t.Fatalf("text %q, the reference has %q", n.Text, unverified.Note.Text)
		}
		seen := map[string]bool{}
		var distinct []string
		for _, s := range n.Sigs {
			line := string(s.append(nil))
			if !seen[line] {
				seen[line] = true
				distinct = append(distinct, line)
			}
		}
		if len(distinct) != len(unverified.Note.UnverifiedSigs) {
			t.Fatalf("%d signatures, the reference has %d", len(distinct), len(unverified.Note.UnverifiedSigs))
		}
		for i, s := range unverified.Note.UnverifiedSigs {
			if want := fmt.Sprintf("— %s %s\n", s.Name, s.Base64); distinct[i] != want {
				t.Fatalf("signature %d: %q, the reference has %q", i, distinct[i], want)
			}
		}
	})
}

func FuzzBase64(f *testing.F) {
	for _, s := range []string{"", "AA==", "AB==", "A\nA==", "AAA=", "AAAA", "AAA=\n", "====", "-_-_"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		raw, ok := decodeB64(s)
		if ok && base64.StdEncoding.EncodeToString(raw) != string(s) {
			t.Fatalf("%q decodes to %x", s, raw)
		}
		if again, ok := decodeB64([]byte(base64.StdEncoding.EncodeToString(s))); !ok || !bytes.Equal(again, s) {
			t.Fatalf("%x does not survive", s)
		}
	})
}
