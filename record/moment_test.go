package record

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestMoments(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tc := range []struct {
		m    Moment
		want string
	}{
		{Moment{At: 1}, `{"key":"a","at":1}`},
		{Moment{At: MaxInt}, `{"key":"a","at":9007199254740991}`},
		{Moment{Time: at("2026-01-02T03:04:05.000000006Z")}, `{"key":"a","time":"2026-01-02T03:04:05.000000006Z"}`},
		{Moment{Time: at("2026-01-02T03:04:05+02:00").UTC()}, `{"key":"a","time":"2026-01-02T01:04:05.000000000Z"}`},
		{Moment{Time: at("0001-01-01T00:00:00.000000001Z")}, `{"key":"a","time":"0001-01-01T00:00:00.000000001Z"}`},
		{Moment{Time: at("9999-12-31T23:59:59.999999999Z")}, `{"key":"a","time":"9999-12-31T23:59:59.999999999Z"}`},
	} {
		got := FormatSubjectAt(SpaceUser, []byte("a"), tc.m)
		if got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
		if space, key, m, err := ParseSubjectAt(got); err != nil || space != SpaceUser || string(key) != "a" || m != tc.m {
			t.Errorf("%s is %02x, %q, %+v, %v", got, space, key, m, err)
		}
		if _, _, err := ParseSubject(got); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s as a subject of now: %v", got, err)
		}
		s := RangeSubject{Space: SpaceUser, Prefix: []byte("a"), At: tc.m.At, Time: tc.m.Time}
		if text := s.Format(); text != strings.Replace(tc.want, "key", "prefix", 1) {
			t.Errorf("%+v is %s", s, text)
		} else if again, err := ParseRangeSubject(text); err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%s is %+v, %v", text, again, err)
		}
	}
	if got, want := FormatSubjectAt(SpaceUser, []byte("a"), Moment{At: 7, Time: sampleTime}), FormatSubjectAt(SpaceUser, []byte("a"), Moment{Time: sampleTime}); got != want {
		t.Errorf("a time whose record is known is %s, wanted %s", got, want)
	}
}

// Each refusal differs from a good subject in one place.
func TestMomentRefuses(t *testing.T) {
	for _, m := range []string{
		``, `,"at":0`, `,"at":01`, `,"at":9007199254740992`, `,"at":"1"`, `,"at":1,"at":1`, `,"at":1,`,
		`,"time":""`, `,"time":0`, `,"time":"2026-01-02"`, `,"time":"2026-01-02T03:04:05Z"`,
		`,"time":"2026-01-02T03:04:05.00000006Z"`, `,"time":"2026-01-02T03:04:05.0000000060Z"`,
		`,"time":"2026-01-02T03:04:05.000000006+00:00"`, `,"time":"2026-01-02t03:04:05.000000006z"`,
		`,"time":"2026-02-29T03:04:05.000000006Z"`, `,"time":"2026-01-02T24:00:00.000000000Z"`,
		`,"time":"0001-01-01T00:00:00.000000000Z"`, `,"time":"0000-12-31T23:59:59.999999999Z"`,
		`,"time":"2026-01-02T03:04:05.000000006Z`, `,"time":2026-01-02T03:04:05.000000006Z`,
		`,"time":"2026-01-02T03:04:05.000000006Z","at":1`, `,"at":1,"time":"2026-01-02T03:04:05.000000006Z"`,
		`, "time":"2026-01-02T03:04:05.000000006Z"`, `,"Time":"2026-01-02T03:04:05.000000006Z"`,
	} {
		if m == `` {
			continue // now
		}
		if space, key, got, err := ParseSubjectAt(`{"key":"a"` + m + `}`); !errors.Is(err, ErrSyntax) || key != nil {
			t.Errorf("key with %s is %02x, %q, %+v, %v", m, space, key, got, err)
		}
		if s, err := ParseRangeSubject(`{"prefix":"a"` + m + `}`); !errors.Is(err, ErrSyntax) {
			t.Errorf("range with %s is %+v, %v", m, s, err)
		}
	}
}

func TestCompactSubjects(t *testing.T) {
	whole := `{"space":"00","prefix":"a","from64":"/w==","to":"b","limit":3,"reverse":true,"compact":true,"at":9}`
	s, err := ParseRangeSubject(whole)
	if err != nil || !s.Compact || !s.Reverse || s.At != 9 || s.Format() != whole {
		t.Errorf("%s is %+v, %v", whole, s, err)
	}
	if s, err := ParseRangeSubject(`{"compact":true}`); err != nil || !reflect.DeepEqual(s, RangeSubject{Space: SpaceUser, Compact: true}) {
		t.Errorf("%+v, %v", s, err)
	}
	for _, text := range []string{
		`{"compact":false}`, `{"compact":1}`, `{"compact":"true"}`, `{"compact":true,"reverse":true}`, `{"compact":true,"limit":3}`,
		`{"at":9,"compact":true}`, `{"compact":true,"compact":true}`, `{"compact":true,}`,
	} {
		if s, err := ParseRangeSubject(text); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s is %+v, %v", text, s, err)
		}
	}
}
