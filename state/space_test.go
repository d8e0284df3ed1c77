package state

import (
	"errors"
	"strings"
	"testing"

	"graven/merkle"
)

const zeroHash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

func TestSpaceLine(t *testing.T) {
	var h merkle.Hash
	for i := range h {
		h[i] = 0xFB
	}
	for _, c := range []struct {
		line SpaceLine
		text string
	}{
		{SpaceLine{}, "00 " + zeroHash + " 0 0"},
		{SpaceLine{Space: 'k', Live: 1}, "6b " + zeroHash + " 1 0"},
		{SpaceLine{Space: 0xFF, Hash: h, Live: 1 << 20, Height: 20}, "ff " + h.String() + " 1048576 20"},
		{SpaceLine{Space: 0xAB, Live: 1<<64 - 1, Height: 91}, "ab " + zeroHash + " 18446744073709551615 91"},
		{SpaceLine{Space: 1, Live: 1 << 63, Height: 63}, "01 " + zeroHash + " 9223372036854775808 63"},
	} {
		if got := c.line.String(); got != c.text {
			t.Errorf("%+v: %q, wanted %q", c.line, got, c.text)
		}
		if got, err := ParseSpaceLine([]byte(c.text)); err != nil || got != c.line {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
}

// badSpaceLines are texts that are no line.
func badSpaceLines() []string {
	good := "6b " + zeroHash + " 1 1"
	return []string{
		"", "6b", good + "\n", good + " ", " " + good, good[:len(good)-1], good[:len(good)-2], good + "x",
		"6B " + zeroHash + " 1 1", "g0 " + zeroHash + " 1 1", "6  " + zeroHash + " 1 1",
		"6b\t" + zeroHash + " 1 1", "6b " + zeroHash + "  1 1", "6b " + zeroHash + "\t1 1", "6b " + zeroHash + " 1  1", "6b " + zeroHash + " 1\t1",
		"6b " + zeroHash + " 01 1", "6b " + zeroHash + " +1 1", "6b " + zeroHash + " -1 1", "6b " + zeroHash + " 1. 1", "6b " + zeroHash + "  1", "6b " + zeroHash + " 0x1 1",
		"6b " + zeroHash + " 1 01", "6b " + zeroHash + " 1 +1", "6b " + zeroHash + " 1 92", "6b " + zeroHash + " 1 256", "6b " + zeroHash + " 1 1 1",
		"6b " + zeroHash + " 3 1", "6b " + zeroHash + " 2 0", "6b " + zeroHash + " 18446744073709551616 91", "6b " + zeroHash + " 99999999999999999999 91",
		"6b " + strings.Replace(zeroHash, "A=", "B=", 1) + " 1 1", "6b " + strings.Replace(zeroHash, "A=", "==", 1) + " 1 1",
		"6b " + strings.Replace(zeroHash, "AA", "A\n", 1) + " 1 1", "6b " + strings.Replace(zeroHash, "AA", "-_", 1) + " 1 1",
		"6b " + zeroHash + " " + strings.Repeat("1", 25) + " 1",
	}
}

func TestParseSpaceLineRefuses(t *testing.T) {
	for _, text := range badSpaceLines() {
		if s, err := ParseSpaceLine([]byte(text)); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
	for _, s := range []SpaceLine{{Height: 92}, {Height: 3, Live: 9}} {
		if err := s.Check(); !errors.Is(err, ErrSyntax) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func FuzzParseSpaceLine(f *testing.F) {
	f.Add([]byte("00 " + zeroHash + " 0 0"))
	f.Add([]byte("ab " + zeroHash + " 18446744073709551615 91"))
	for _, text := range badSpaceLines() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSpaceLine(b)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if s.String() != string(b) {
			t.Fatalf("%q parses and encodes to %q", b, s.String())
		}
	})
}
