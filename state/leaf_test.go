package state

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"graven/merkle"
)

// impossibleLeaves are leaves that no log leads to.
func impossibleLeaves() map[string]Leaf {
	key := []byte("ka")
	return map[string]Leaf{
		"no key":             {Seq: 1, N: 1, Created: 1},
		"space alone":        {Key: []byte("k"), Seq: 1, N: 1, Created: 1},
		"long key":           {Key: make([]byte, MaxKey+1), Seq: 1, N: 1, Created: 1},
		"seq 0":              {Key: key, Seq: 0, N: 1, Created: 0},
		"seq 2^53":           {Key: key, Seq: 1 << 53, N: 1, Created: 1 << 53},
		"n 0":                {Key: key, Seq: 1, N: 0, Created: 1},
		"created 0":          {Key: key, Seq: 2, N: 2, Created: 0},
		"created behind seq": {Key: key, Seq: 2, N: 1, Created: 3},
		"version 1 is later": {Key: key, Seq: 3, N: 1, Created: 2},
		"too many versions":  {Key: key, Seq: 4, N: 4, Created: 2},
	}
}

func possibleLeaves() []Leaf {
	return []Leaf{
		{Key: []byte("ka"), Seq: 1, N: 1, Created: 1, Live: true},
		{Key: []byte("ka"), Seq: 1, N: 1, Created: 1},
		{Key: []byte{0, 0}, Digest: merkle.LeafHash(nil), Seq: 3, N: 2, Created: 1, Live: true},
		{Key: []byte{255, 255}, Digest: merkle.LeafHash(nil), Seq: 3, N: 3, Created: 1},
		{Key: bytes.Repeat([]byte{'k'}, MaxKey), Seq: MaxInt, N: MaxInt, Created: 1, Live: true},
		{Key: bytes.Repeat([]byte{0xFF}, 300), Seq: MaxInt, N: 1, Created: MaxInt},
	}
}

func TestLeafBytes(t *testing.T) {
	for _, l := range possibleLeaves() {
		b := l.Bytes()
		if want := naiveLeafBytes(&l); !bytes.Equal(b, want) {
			t.Errorf("%x...: bytes %x, wanted %x", l.Key[:2], b, want)
		}
		if l.Hash() != sha256.Sum256(b) {
			t.Errorf("%x...: the hash is not that of the bytes", l.Key[:2])
		}
		back, err := ParseLeaf(b)
		if err != nil || !equal(back, l) {
			t.Errorf("%x...: parsed to %v, %v", l.Key[:2], back, err)
		}
		b[3] ^= 1
		if back.Key[0] == b[3] {
			t.Error("a parsed leaf shares the input's memory")
		}
	}
}

func TestParseLeafRefuses(t *testing.T) {
	for name, l := range impossibleLeaves() {
		if err := l.Check(); !errors.Is(err, ErrLeaf) {
			t.Errorf("Check, %s: %v", name, err)
		}
		if _, err := ParseLeaf(l.Bytes()); err == nil {
			t.Errorf("ParseLeaf, %s: accepted", name)
		}
	}
	good := possibleLeaves()[2].Bytes()
	at := func(i int, b byte) []byte {
		c := bytes.Clone(good)
		c[i] = b
		return c
	}
	for name, b := range map[string][]byte{
		"nothing":      nil,
		"a tag":        {0x10},
		"inner's tag":  at(0, 0x11),
		"live 2":       at(len(good)-1, 2),
		"longer key":   at(2, 3),
		"shorter key":  at(2, 1),
		"huge key":     at(1, 0xFF),
		"surplus byte": append(bytes.Clone(good), 0),
		"missing byte": good[:len(good)-1],
	} {
		if _, err := ParseLeaf(b); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseLeaf(f *testing.F) {
	for _, l := range possibleLeaves() {
		f.Add(l.Bytes())
	}
	for _, l := range impossibleLeaves() {
		f.Add(l.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLeaf(b)
		if err != nil {
			if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrLeaf) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if !bytes.Equal(l.Bytes(), b) {
			t.Fatalf("%x parses and encodes to %x", b, l.Bytes())
		}
		if l.Hash() != sha256.Sum256(b) {
			t.Fatal("the hash is not that of the bytes")
		}
	})
}
