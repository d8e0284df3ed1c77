package record

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestSubject(t *testing.T) {
	tests := []struct {
		space byte
		key   string
		want  string
	}{
		{SpaceUser, "a", `{"key":"a"}`},
		{SpaceUser, "\"\n\u0085", `{"key":"\u0022\u000a\u0085"}`},
		{SpaceUser, "\xff", `{"key64":"/w=="}`},
		{SpaceSystem, "a", `{"space":"00","key":"a"}`},
		{0xff, "\x80", `{"space":"ff","key64":"gA=="}`},
		{'l', strings.Repeat("x", 1024), `{"space":"6c","key":"` + strings.Repeat("x", 1024) + `"}`},
	}
	for _, tc := range tests {
		got := FormatSubject(tc.space, []byte(tc.key))
		if got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
		if space, key, err := ParseSubject(got); err != nil || space != tc.space || string(key) != tc.key {
			t.Errorf("%s is %02x, %q, %v", got, space, key, err)
		}
	}
}

func TestSubjectRefuses(t *testing.T) {
	for _, s := range subjectRefusals() {
		if space, key, err := ParseSubject(s); !errors.Is(err, ErrSyntax) || key != nil {
			t.Errorf("%s is %02x, %q, %v", short(s), space, key, err)
		}
	}
}

func subjectRefusals() []string {
	return []string{
		``, `{}`, `{"key":""}`, `{"key64":""}`, `{"key64":"YQ=="}`, `{"key":"a"} `, ` {"key":"a"}`, `{"key":"a",}`,
		`{"key":"a","space":"00"}`, `{"space":"6b","key":"a"}`, `{"space":"00"}`, `{"space":"00"}{"key":"a"}`,
		`{"space":"00""key":"a"}`, `{,"key":"a"}`, `{"space":"0A","key":"a"}`, `{"key":"a","key64":"/w=="}`, `{"key":"\u0061"}`,
		`{"key":"` + strings.Repeat("x", 1025) + `"}`, `{"space":"00","since":1}`, "{\"key\":\"\xff\"}",
	}
}

func TestSubjectBits(t *testing.T) {
	for _, s := range []string{`{"key":"ab\u0085"}`, `{"space":"00","key64":"gIE="}`} {
		for i := range 8 * len(s) {
			bad := []byte(s)
			bad[i/8] ^= 1 << (i % 8)
			space, key, err := ParseSubject(string(bad))
			if err == nil && !bytes.Equal([]byte(FormatSubject(space, key)), bad) {
				t.Errorf("%s is %02x, %q", bad, space, key)
			}
		}
	}
}
