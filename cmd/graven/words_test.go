package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"graven/record"
)

// What shows nothing is not shown as nothing.
func TestOneLineHidesNothing(t *testing.T) {
	for _, r := range []rune{0x00, 0x1b, 0x85, 0xa0, 0x200b, 0x202e, 0x2060, 0x034f, 0x115f, 0x17b4, 0x180b, 0x2800, 0x3164, 0xfe0f, 0xffa0, 0xe0100} {
		if s := "report/2026" + string(r); oneLine(s) == s || plain(s) {
			t.Errorf("%U is shown as it is", r)
		}
	}
	for _, s := range []string{"käse", "北京", "a b", "ñ", "€"} {
		if oneLine(s) != s {
			t.Errorf("%q is shown as %q", s, oneLine(s))
		}
	}
}

func TestParseKey(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string // "" for wrong use
	}{
		{"a", "a"},
		{"a/b c", "a/b c"},
		{"日本", "日本"},
		{"b64", "b64"},
		{"b64:YQ==", "a"},
		{"b64:/wA=", "\xff\x00"},
		{"", ""},
		{"b64:", ""},
		{"b64:YQ", ""},
		{"b64:YR==", ""}, // trailing bits
		{"b64:Y Q==", ""},
		{"b64:YQ==\n", ""},
		{"b64:-_==", ""},
	} {
		key, err := parseKey(c.in)
		if string(key) != c.want || (err != nil) != (c.want == "") {
			t.Errorf("parseKey(%q) = %q, %v; want %q", c.in, key, err, c.want)
		}
		var u *usageError
		if err != nil && !errors.As(err, &u) {
			t.Errorf("parseKey(%q): %v is not an error of use", c.in, err)
		}
	}
}

func FuzzKey(f *testing.F) {
	for _, s := range []string{"a", "b64:", "b64:YQ==", "\xff", "new\nline", "\u0085", "\u200b", "é", "", "\x1b[31m"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		if len(key) == 0 {
			return
		}
		text := formatKey(key)
		if !utf8.ValidString(text) || text != oneLine(text) || strings.Contains(text, "\n") {
			t.Errorf("formatKey(%q) = %q: not one line of text", key, text)
		}
		back, err := parseKey(text)
		if err != nil || !bytes.Equal(back, key) {
			t.Errorf("parseKey(formatKey(%q)) = %q, %v", key, back, err)
		}
		if _, err := parseKey(string(key)); err != nil && !strings.HasPrefix(string(key), keyPrefix) {
			t.Errorf("parseKey(%q): %v", key, err)
		}
	})
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 8, time.FixedZone("", 3600))
	for in, want := range map[string]string{
		"2026-03-04":                     "2026-03-04T23:59:59.999999999Z",
		"2024-02-29":                     "2024-02-29T23:59:59.999999999Z",
		"2026-03-04T05:06:07Z":           "2026-03-04T05:06:07Z",
		"2026-03-04T05:06:07.25+02:00":   "2026-03-04T03:06:07.25Z",
		"2026-03-04T05:06:07.123456789Z": "2026-03-04T05:06:07.123456789Z",
		"0s":                             "2026-03-04T04:06:07.000000008Z",
		"2h":                             "2026-03-04T02:06:07.000000008Z",
		"90m":                            "2026-03-04T02:36:07.000000008Z",
		"1h30m":                          "2026-03-04T02:36:07.000000008Z",
		"3d":                             "2026-03-01T04:06:07.000000008Z",
		"":                               "",
		"-2h":                            "",
		"-3d":                            "",
		"d":                              "",
		"3":                              "",
		"1.5d":                           "",
		"3w":                             "",
		"100001d":                        "",
		"99999999999999999999d":          "",
		"9999999999h":                    "",
		"2026-3-4":                       "",
		"2025-02-29":                     "",
		"2026-03-04T05:06":               "",
		"2026-03-04 05:06:07Z":           "",
		"now":                            "",
	} {
		got, err := parseTime(in, now)
		if want == "" {
			if err == nil {
				t.Errorf("parseTime(%q) = %v, want an error", in, got)
			}
			continue
		}
		if err != nil || formatTime(got) != want {
			t.Errorf("parseTime(%q) = %v, %v; want %s", in, formatTime(got), err, want)
		}
	}
}

func TestParseMoment(t *testing.T) {
	for in, want := range map[string]string{
		"17:k":                       `{"key":"k","at":17}`,
		"17:a:b":                     `{"key":"a:b","at":17}`,
		"2026:k":                     `{"key":"k","at":2026}`,
		"2026-03-04:k":               `{"key":"k","time":"2026-03-04T23:59:59.999999999Z"}`,
		"2026-03-04:T:Z:k":           `{"key":"T:Z:k","time":"2026-03-04T23:59:59.999999999Z"}`,
		"2026-03-04T05:06:07Z:k":     `{"key":"k","time":"2026-03-04T05:06:07.000000000Z"}`,
		"2026-03-04T05:06:07.25Z:Z:": `{"key":"Z:","time":"2026-03-04T05:06:07.250000000Z"}`,

		"k": "", "0:k": "", "17": "", ":k": "", "-1:k": "", "2h:k": "", "3d:k": "", "999999999s:k": "", "18446744073709551616:k": "",
		"2026-03-04": "", "2026-02-30:k": "", "2026-03-04T05:06:07:k": "", "2026-03-04T05:06:07+02:00:k": "", "2026-03-04T05:06Z:k": "",
		"0000-03-04:k": "", "0001-01-01T00:00:00Z:k": "", "T:k": "",
	} {
		m, key, ok := parseMoment(in)
		if ok != (want != "") || ok && record.FormatSubjectAt(record.SpaceUser, []byte(key), m) != want {
			t.Errorf("parseMoment(%q) = %+v, %q, %v; want %s", in, m, key, ok, want)
		}
	}
}

func TestFormatBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 5 << 30: "5.0 GiB", 1 << 62: "4096.0 PiB",
	} {
		if got := formatBytes(n); got != want {
			t.Errorf("formatBytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	a := &app{err: &out}
	p := a.newProgress("imported")
	if got, want := p.text(12, 3<<20, 9<<20, 3*time.Second), "imported 12 files, 3.0 MiB of 9.0 MiB, 1.0 MiB/s, 6s left"; got != want {
		t.Errorf("progress %q, want %q", got, want)
	}
	if got, want := p.text(0, 0, 9<<20, time.Second), "imported 0 B of 9.0 MiB, 0 B/s"; got != want {
		t.Errorf("progress %q, want %q", got, want)
	}
	p.show(1, 1, 2)
	if out.Len() > 0 {
		t.Errorf("progress at once: %q", &out)
	}
	p.shown = time.Now().Add(-time.Minute)
	p.show(1, 1, 2)
	a.talk("done")
	if got := out.String(); !strings.HasPrefix(got, "imported 1 files, 1 B of 2 B") || !strings.HasSuffix(got, "left\ndone\n") {
		t.Errorf("progress %q", got)
	}

	out.Reset()
	p.term, p.shown = true, time.Now().Add(-time.Second)
	p.show(1, 1, 2)
	a.talk("done")
	if got := out.String(); !strings.HasPrefix(got, "\r\x1b[Kimported") || !strings.HasSuffix(got, "left\r\x1b[Kdone\n") {
		t.Errorf("progress on a terminal %q", got)
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"plain-1.2/x@y:z,a=b%+_": "plain-1.2/x@y:z,a=b%+_", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$HOME": "'$HOME'", "é": "'é'", "*": "'*'",
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}
