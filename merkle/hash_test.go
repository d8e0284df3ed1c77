package merkle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func TestHashesOfRFC6962(t *testing.T) {
	// From the RFC's definition, computed with sha256sum.
	for _, tt := range []struct {
		name string
		got  Hash
		want string
	}{
		{"empty root", EmptyRoot(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"empty leaf", LeafHash(nil), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
		{"leaf", LeafHash([]byte("L123456")), "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"},
	} {
		if got := hex.EncodeToString(tt.got[:]); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	if got, want := EmptyRoot().String(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; got != want {
		t.Errorf("empty root is %s, want %s", got, want)
	}
}

func TestLeafHashOfEveryLength(t *testing.T) {
	data := make([]byte, 2*shortLeaf+2)
	for i := range data {
		data[i] = byte(i * 7)
	}
	for n := range len(data) + 1 {
		want := Hash(sha256.Sum256(append([]byte{0}, data[:n]...)))
		if got := LeafHash(data[:n]); got != want {
			t.Fatalf("leaf of %d bytes: got %v, want %v", n, got, want)
		}
	}
	l, r := LeafHash(data), LeafHash(nil)
	if got, want := NodeHash(l, r), naiveNode(l, r); got != want {
		t.Errorf("node: got %v, want %v", got, want)
	}
}

func TestHashingAllocatesNothing(t *testing.T) {
	short, long := make([]byte, shortLeaf), make([]byte, 65535)
	var h Hash
	var tree Tree
	for name, fn := range map[string]func(){
		"short leaf": func() { h = LeafHash(short) },
		"long leaf":  func() { h = LeafHash(long) },
		"node":       func() { h = NodeHash(h, h) },
		"append":     func() { tree.Append(h) },
		"root":       func() { h = tree.Root() },
	} {
		if n := testing.AllocsPerRun(100, fn); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestParseHash(t *testing.T) {
	for _, h := range append(testLeaves(50), Hash{}, EmptyRoot()) {
		got, err := ParseHash(h.String())
		if err != nil || got != h {
			t.Errorf("ParseHash(%v) = %v, %v", h, got, err)
		}
		if got := string(h.Append([]byte("x"))); got != "x"+h.String() {
			t.Errorf("Append gave %q", got)
		}
	}
	good := EmptyRoot().String()
	for name, s := range map[string]string{
		"empty":              "",
		"short":              good[:43],
		"long":               good + "=",
		"no padding":         good[:43] + "A",
		"two paddings":       good[:42] + "==",
		"trailing bits":      good[:42] + "V=",
		"url alphabet":       strings.NewReplacer("+", "-", "/", "_").Replace(good),
		"newline inside":     good[:20] + "\n" + good[20:43],
		"newline at the end": good[:43] + "\n",
		"only newlines":      strings.Repeat("\n", 44),
		"crlf for 4":         good[:40] + "\r\n\r\n",
		"space":              " " + good[:43],
		"not ASCII":          good[:42] + "é",
		"33 bytes":           strings.Repeat("A", 44),
	} {
		if h, err := ParseHash(s); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: ParseHash(%q) = %v, %v; want ErrSyntax", name, s, h, err)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	good := EmptyRoot().String()
	for _, s := range []string{"", good, good[:43] + "\n", good[:42] + "V=", good[:42] + "==", strings.Repeat("A", 44)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHash(s)
		if err != nil {
			if !errors.Is(err, ErrSyntax) || h != (Hash{}) {
				t.Fatalf("ParseHash(%q) = %v, %v", s, h, err)
			}
			return
		}
		if h.String() != s || !bytes.Equal(h.Append(nil), []byte(s)) {
			t.Fatalf("ParseHash(%q) encodes to %q", s, h)
		}
	})
}
