package main

import (
	"errors"
	"testing"

	"graven/record"
)

func TestWantedSubject(t *testing.T) {
	for in, want := range map[string]string{
		"":                "",
		"a b":             "a b",
		"b64:YQ==":        "a",
		"b64:bGlzdDo=":    "b64:bGlzdDo=",
		"record:017":      "record:17",
		"signed:17":       "signed:17",
		"size:17":         "size:17",
		"list:":           "list:{}",
		"list:a/":         `list:{"prefix":"a/"}`,
		"list:{}":         "list:{}",
		`list: { }`:       "list:{}",
		`count:{"to":""}`: "count:{}",
		`list:{"time":"2026-11-21T12:00:00Z", "reverse":true, "limit":3, "prefix":"a/"}`: `list:{"prefix":"a/","limit":3,"reverse":true,"time":"2026-11-21T12:00:00.000000000Z"}`,
		`count:{"at":17,"from64":"YQ==","to":"\u0062"}`:                                  `count:{"from":"a","to":"b","at":17}`,
		`list:{"space":"6B","compact":true}`:                                             `list:{"compact":true}`,
		`list:{"space":"00","time":"2026-11-21"}`:                                        `list:{"space":"00","time":"2026-11-21T23:59:59.999999999Z"}`,
		"history:k":                   `history:{"key":"k"}`,
		`history:{ "key64":"/w==" }`:  `history:{"key64":"/w=="}`,
		`history:{"at":17,"key":"k"}`: `history:{"key":"k","at":17}`,
		"past:17:k":                   `past:{"key":"k","at":17}`,
		`past:{"at":17,"key":"k"}`:    `past:{"key":"k","at":17}`,
		`past:{"time":"2026-11-21T13:00:00.5+01:00","key":"k"}`: `past:{"key":"k","time":"2026-11-21T12:00:00.500000000Z"}`,
		`op:{"op":3, "seq":17}`:                                 `op:{"seq":17,"op":3}`,

		"record:x": "!", "record:": "!", "size:-1": "!", "op:17": "!", `op:{"seq":17}`: "!", `op:{"seq":17,"op":3,"x":1}`: "!",
		`list:{"prefix":"a/"`: "!", `list:{"prefix":"a/"}}`: "!", `list:{"prefix":"a/","prefix":"b/"}`: "!", `list:{"Prefix":"a/"}`: "!",
		`list:{"prefix":"a/","prefix64":"YQ=="}`: "!", `list:{"at":17,"time":"2026-11-21"}`: "!", `list:{"at":0}`: "!", `list:{"time":"2h"}`: "!",
		`list:{"space":"6"}`: "!", `list:{"prefix64":"YR=="}`: "!", `count:{"limit":3}`: "!", `history:{}`: "!", `history:{"key":""}`: "!",
		`history:{"key":"k","at":0}`: "!", `past:{"key":"k"}`: "!", `past:{"at":17}`: "!", "past:k": "!", `list:{"prefix":"\ud800"}`: "!",
	} {
		got, err := wantedSubject(in)
		var u *usageError
		if err != nil && errors.As(err, &u) {
			got = "!"
		}
		if got != want {
			t.Errorf("wantedSubject(%s) = %s, %v; want %s", in, got, err, want)
		}
	}
}

// FuzzSubjectText: what is shown of a subject is one line, and --subject takes it again.
func FuzzSubjectText(f *testing.F) {
	for _, s := range []string{"a", " a", "new\nline", "\u200b", "\U000e0001", "\xff", "list:", "{", "\u0085", "'"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		if len(key) == 0 || len(key) > record.MaxKey {
			return
		}
		subject, err := plainSubject(formatKey(key))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			subject,
			"history:" + record.FormatSubject(record.SpaceUser, key),
			"past:" + record.FormatSubjectAt(record.SpaceUser, key, record.Moment{At: 17}),
			"list:" + record.RangeSubject{Space: record.SpaceUser, Prefix: key}.Format(),
		} {
			text := subjectText(want)
			if got, err := wantedSubject(text); err != nil || got != want || oneLine(text) != text {
				t.Errorf("%q is shown as %q, which is %q, %v", want, text, got, err)
			}
		}
	})
}
