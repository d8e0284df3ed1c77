package record

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestID(t *testing.T) {
	id := IDOf([]byte("abc"))
	want := "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if id.String() != want || "sha256:"+id.Hex() != want || string(id.Append([]byte("x"))) != "x"+want {
		t.Errorf("id %s, wanted %s", id, want)
	}
	if got, err := ParseID(want); err != nil || got != id || got != sha256.Sum256([]byte("abc")) {
		t.Errorf("%v, %v", got, err)
	}
	hex := id.Hex()
	for _, s := range []string{
		"", hex, "sha256:", "SHA256:" + hex, "sha512:" + hex, want[:70], want + "0", " " + want[1:],
		"sha256:" + strings.ToUpper(hex), "sha256:g" + hex[1:], "sha256:" + hex[:63] + "\n",
	} {
		if _, err := ParseID(s); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestVaultID(t *testing.T) {
	want := "000102030405060708090a0b0c0d0eff"
	v, err := ParseVaultID(want)
	if err != nil || v.String() != want || v[1] != 1 || v[15] != 0xff {
		t.Errorf("%s, %v", v, err)
	}
	for _, s := range []string{"", want[1:], want + "0", strings.ToUpper(want), want[:31] + "g"} {
		if _, err := ParseVaultID(s); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestNibble(t *testing.T) {
	for c := range 256 {
		want := strings.IndexByte("0123456789abcdef", byte(c))
		if got := nibble(byte(c)); got != byte(want) { // -1 is 0xff
			t.Errorf("nibble(%#02x) = %d", c, got)
		}
	}
}

func TestFeature(t *testing.T) {
	for _, s := range []string{"tx/1", "a/0", "x-9/9007199254740991", strings.Repeat("z", 32) + "/1"} {
		kind, v, ok := ParseFeature(s)
		if !ok || Feature(kind, v) != s {
			t.Errorf("%s is %s, %d, %t", s, kind, v, ok)
		}
	}
	for _, s := range []string{
		"", "/", "tx", "tx/", "/1", "tx/01", "tx/1/1", "tx/-1", "Tx/1", "1/1", "t_x/1", "tx/1 ", "tx/9007199254740992",
		strings.Repeat("z", 33) + "/1",
	} {
		if kind, v, ok := ParseFeature(s); ok {
			t.Errorf("%q is %s, %d", s, kind, v)
		}
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("x", 256)
	tests := []struct {
		what  string
		check func(string) error
		good  []string
		bad   []string
	}{
		{"vault name", CheckVaultName, []string{"a", "0", "a.b_c-d", long[:63]}, []string{"", ".a", "-a", "_", "A", "a b", "a/b", "é", long[:64]}},
		{"class", CheckClass, []string{"main", "a.b_c-d", "logs", long[:63]}, []string{"", "log", ".a", "A", "a/b", "a+b", long[:64]}},
		{
			"origin", CheckOrigin,
			[]string{"a", "example.org/log", "é", "\u200b", long[:255]},
			[]string{"", "a b", "a+b", "a\tb", "a\n", "\u0085", "\u00a0", "\u1680", "\u2003", "\u2029", "\u3000", "a\x7f", "\xff", long[:256]},
		},
	}
	for _, tc := range tests {
		for _, s := range tc.good {
			if err := tc.check(s); err != nil {
				t.Errorf("%s %q: %v", tc.what, s, err)
			}
		}
		for _, s := range tc.bad {
			if err := tc.check(s); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s %q: %v", tc.what, s, err)
			}
		}
	}
}

// Errors show the place, what was wanted, what was there, and no more of a
// long value than helps.
func TestErrorTexts(t *testing.T) {
	line := strings.Replace(string(mustLine(t, typicalTx())), `"seq":1234567`, `"seq":01`, 1)
	_, err := Parse([]byte(line))
	for _, part := range []string{"byte 25", "integer", "without leading zeros", `"01,\"time\"`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %s", err, part)
		}
	}
	bad := sampleTx(userPut("a"))
	bad.Actor = strings.Repeat("x", 1000)
	_, err = New(1, sampleTime, bad).Append(nil)
	for _, part := range []string{"actor", `"xxxx`, "(1000 bytes)", "256"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %s", err, part)
		}
	}
	_, err = Parse([]byte(strings.Replace(string(mustLine(t, New(0, sampleTime, sampleGenesis()))), `"none"`, `"values"`, 1)))
	if err == nil || !strings.Contains(err.Error(), `sealed is "values", which is reserved; wanted none`) {
		t.Error(err)
	}
	if text := fmt.Sprint(OpPut, OpDelete, OpAppend, OpIf, OpKind(0)); text != "put delete append if none" {
		t.Error(text)
	}
}
