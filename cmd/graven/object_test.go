package main

import (
	"errors"
	"strings"
	"testing"
)

func TestHalfSurrogate(t *testing.T) {
	for text, want := range map[string]bool{
		`""`: false, `"a"`: false, `"\\ud800"`: false, `"\ufffd"`: false, `"\ud83d\ude00"`: false, `"\uD83D\uDE00\ud83d\ude00"`: false,
		`"\ud800"`: true, `"\ude00"`: true, `"\ud83dx"`: true, `"\ud83d\n"`: true, `"\ud83d\u0041"`: true, `"\ude00\ud83d"`: true,
		`"\ud83d\ud83d\ude00"`: true, `"\\\ud800"`: true, `"\\\\ud800"`: false,
	} {
		if got := halfSurrogate([]byte(text)); got != want {
			t.Errorf("halfSurrogate(%s) = %v", text, got)
		}
	}
}

// FuzzObject: whatever comes, reading ends with members or with an error of use.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"s":"a","n":17,"f":true,"o":{"s":"\ud83d\ude00"}}`, `{"s":1}`, `{"n":-1}`, `{"a":1,}`, `{"s":"a"}}`, `[]`, ``, `{1:2}`, `{"s":"a","s":"b"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := parseObject(text)
		if err == nil {
			o.text("s")
			o.number("n")
			o.flag("f")
			if inner := o.object("o"); inner != nil {
				inner.text("s")
			}
			err = o.end()
		}
		var u *usageError
		if err != nil && (!errors.As(err, &u) || strings.Contains(err.Error(), "Go ")) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
