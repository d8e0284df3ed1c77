package record

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

const layout = "2006-01-02T15:04:05.000000000Z"

func checkTime(t interface {
	Helper()
	Fatalf(string, ...any)
}, at time.Time,
) {
	t.Helper()
	want := at.UTC().Format(layout)
	got := string(appendTime(nil, at))
	if got != want || !inRange(at) {
		t.Fatalf("%v is %s, wanted %s", at, got, want)
	}
	if back, ok := parseTime([]byte(got)); !ok || back != at.UTC() {
		t.Fatalf("%s is read as %v, %t", got, back, ok)
	}
}

// Every day of whole eras of 400 years at both ends and around now, against
// package time.
func TestDays(t *testing.T) {
	for _, years := range [][2]int{{1, 401}, {1800, 2200}, {9600, 9999}} {
		end := time.Date(years[1]+1, 1, 1, 0, 0, 0, 0, time.UTC)
		for at := time.Date(years[0], 1, 1, 0, 0, 0, 0, time.UTC); at.Before(end); at = at.Add(24 * time.Hour) {
			checkTime(t, at)
		}
	}
}

func TestTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.Int64Range(minSeconds, maxSeconds).Draw(t, "seconds")
		n := rapid.Int64Range(0, 999999999).Draw(t, "nanoseconds")
		at := time.Unix(s, n)
		checkTime(t, at.UTC())
		checkTime(t, at.In(time.FixedZone("", rapid.IntRange(-50000, 50000).Draw(t, "zone"))))
	})
}

func TestTimeRange(t *testing.T) {
	first := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	last := time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)
	if !inRange(first) || !inRange(last) || inRange(first.Add(-1)) || inRange(last.Add(1)) {
		t.Error("the range is not the years 1 to 9999")
	}
}

// Whatever the 30 bytes are: accepted means package time writes the same.
func TestParseTimeStrict(t *testing.T) {
	good := "2026-01-02T03:04:05.000000006Z"
	for i := range good {
		for c := range 256 {
			b := []byte(good)
			b[i] = byte(c)
			at, ok := parseTime(b)
			want, err := time.Parse(layout, string(b))
			canonical := err == nil && want.Format(layout) == string(b)
			if ok != canonical || ok && at != want {
				t.Fatalf("%q: accepted %t, wanted %t", b, ok, canonical)
			}
		}
	}
}
