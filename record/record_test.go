package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// normal clears what the format does not keep: the space of an append.
func normal(r *Record) *Record {
	tx, ok := r.Body.(*Tx)
	if !ok {
		return r
	}
	out, body := *r, *tx
	body.Ops = append([]Op(nil), tx.Ops...)
	for i := range body.Ops {
		if body.Ops[i].Kind == OpAppend {
			body.Ops[i].Space = 0
		}
	}
	out.Body = &body
	return &out
}

func checkRoundTrip(t interface {
	Helper()
	Fatalf(string, ...any)
}, rec *Record,
) []byte {
	t.Helper()
	prefix := []byte("before ")
	line, err := rec.Append(prefix)
	if err != nil {
		t.Fatalf("encoding %+v: %v", rec, err)
	}
	if !bytes.HasPrefix(line, prefix) {
		t.Fatalf("the encoder lost what stood before the line: %q", line)
	}
	line = line[len(prefix):]
	input := bytes.Clone(line)
	got, err := Parse(input)
	if err != nil {
		t.Fatalf("parsing %s: %v", line, err)
	}
	for i := range input {
		input[i] = 'X' // the record must not refer to it
	}
	if want := normal(rec); !reflect.DeepEqual(got, want) {
		t.Fatalf("%s\nparsed %+v %+v\nwanted %+v %+v", line, got, got.Body, want, want.Body)
	}
	again, err := got.Append(nil)
	if err != nil || !bytes.Equal(again, line) {
		t.Fatalf("encoded again: %s, %v\nwanted %s", again, err, line)
	}
	frame, err := ParseFrame(line)
	if err != nil || frame != rec.Frame() {
		t.Fatalf("frame %+v, %v; wanted %+v", frame, err, rec.Frame())
	}
	checkJSON(t, line, modelRecord(rec))
	return line
}

func TestRoundTrip(t *testing.T) {
	for _, s := range append(samples(), limits()...) {
		t.Run(s.name, func(t *testing.T) {
			checkRoundTrip(t, s.rec)
			if err := Unsupported(s.rec); err != nil {
				t.Errorf("Unsupported: %v", err)
			}
		})
	}
}

func TestLines(t *testing.T) {
	const zero = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	tests := []struct {
		name string
		rec  *Record
		want string
	}{
		{
			"tx",
			New(7, sampleTime, &Tx{Actor: "a", Ops: []Op{{Kind: OpPut, Space: SpaceUser, Key: []byte("k"), Size: 3, Type: "t", N: 1}}}),
			`{"v":1,"kind":"tx","seq":7,"time":"2026-01-02T03:04:05.000000006Z","actor":"a","id":"","req":"` + zero +
				`","ops":[{"op":"put","key":"k","value":"` + zero + `","size":3,"type":"t","prev":0,"skip":0,"n":1}]}`,
		},
		{
			"time in another zone",
			New(1, sampleTime.In(time.FixedZone("", 3600)), &Snapshot{Number: 1, Position: 2}),
			`{"v":1,"kind":"snapshot","seq":1,"time":"2026-01-02T03:04:05.000000006Z","number":1,"position":2,"manifest":"` + zero + `"}`,
		},
	}
	for _, tc := range tests {
		if line := string(mustLine(t, tc.rec)); line != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.name, line, tc.want)
		}
	}
}

func TestUnknown(t *testing.T) {
	for name, text := range unknowns() {
		t.Run(name, func(t *testing.T) {
			line := []byte(text)
			rec, err := Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			u, ok := rec.Body.(*Unknown)
			if !ok || string(u.Line) != text || rec.Seq != 5 || !rec.Time.Equal(sampleTime) {
				t.Fatalf("parsed %+v", rec)
			}
			want := ErrUnknownKind
			if knownKind(rec.Kind) {
				want = ErrUnknownVersion
			}
			err = Unsupported(rec)
			if !errors.Is(err, want) || !strings.Contains(err.Error(), Feature(rec.Kind, rec.V)) {
				t.Errorf("Unsupported: %v, wanted %v naming the feature", err, want)
			}
			line[0] = 'X'
			if again, err := rec.Append(nil); err != nil || string(again) != text {
				t.Errorf("encoded again: %s, %v", again, err)
			}
		})
	}
}

// The longest line there may be, and one byte more.
func TestLineLimit(t *testing.T) {
	short := unknowns()["inert"]
	long := strings.Replace(short, `"text":"`, `"text":"`+strings.Repeat("x", MaxLine-len(short)), 1)
	if _, err := Parse([]byte(long)); err != nil || len(long) != MaxLine {
		t.Errorf("a line of %d bytes: %v", len(long), err)
	}
	if _, err := Parse([]byte(strings.Replace(long, "xx", "xxx", 1))); !errors.Is(err, ErrInvalid) || !errors.Is(err, ErrSyntax) {
		t.Errorf("one byte more: %v", err)
	}
}

// The same for a line that the encoder makes: appends of 102 bytes and more,
// the last one's media type fills up.
func TestEncodedLineLimit(t *testing.T) {
	tx := &Tx{}
	for range 600 {
		tx.Ops = append(tx.Ops, Op{Kind: OpAppend, Size: 1})
	}
	rec := New(1, sampleTime, tx)
	last := &tx.Ops[len(tx.Ops)-1]
	for missing := MaxLine - len(mustLine(t, rec)); missing > 255; missing = MaxLine - len(mustLine(t, rec)) {
		tx.Ops = append(tx.Ops, Op{Kind: OpAppend, Size: 1})
		last = &tx.Ops[len(tx.Ops)-1]
	}
	last.Type = "x"
	last.Type = strings.Repeat("x", 1+MaxLine-len(mustLine(t, rec)))
	if line := mustLine(t, rec); len(line) != MaxLine {
		t.Errorf("a line of %d bytes", len(line))
	}
	last.Type += "x"
	if _, err := rec.Append(nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("one byte more: %v", err)
	}
}

// Each byte at each place of an unknown kind's fields, eight of which are read
// at a time.
func TestUnknownBytes(t *testing.T) {
	line := []byte(strings.Replace(unknowns()["inert"], `"é"`, `"abcdefghijklmnopqrstuvwxyz"`, 1))
	start := bytes.Index(line, []byte("abc"))
	for i := start; i < start+20; i++ {
		for c := range 256 {
			bad := bytes.Clone(line)
			bad[i] = byte(c)
			if _, err := Parse(bad); (err == nil) != (c >= 0x20 && c < 0x80) {
				t.Fatalf("byte %#02x at %d: %v", c, i, err)
			}
		}
	}
}

func TestUnknownAgrees(t *testing.T) {
	parse := func() *Record {
		rec, err := Parse([]byte(unknowns()["inert"]))
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	changes := map[string]func(r *Record){
		"seq":        func(r *Record) { r.Seq++ },
		"version":    func(r *Record) { r.V++ },
		"kind":       func(r *Record) { r.Kind = "other" },
		"time":       func(r *Record) { r.Time = r.Time.Add(1) },
		"no frame":   func(r *Record) { r.Body = &Unknown{Line: []byte("{}")} },
		"known kind": func(r *Record) { r.Body = &Unknown{Line: mustLine(t, typicalTx())} },
	}
	for name, change := range changes {
		rec := parse()
		change(rec)
		if out, err := rec.Append([]byte("x")); !errors.Is(err, ErrInvalid) || string(out) != "x" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

func TestFrameFollows(t *testing.T) {
	first := Frame{V: 1, Kind: "tx", Seq: 4, Time: sampleTime}
	tests := []struct {
		name string
		next Frame
		ok   bool
	}{
		{"same time", Frame{Seq: 5, Time: sampleTime}, true},
		{"later", Frame{Seq: 5, Time: sampleTime.Add(1)}, true},
		{"earlier", Frame{Seq: 5, Time: sampleTime.Add(-1)}, false},
		{"same seq", Frame{Seq: 4, Time: sampleTime}, false},
		{"gap", Frame{Seq: 6, Time: sampleTime}, false},
	}
	for _, tc := range tests {
		if err := tc.next.Follows(first); (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrOrder) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// openEnded reports whether any bytes before a last brace belong to the line:
// nobody knows the fields of an unknown kind.
func openEnded(name string, line []byte) bool {
	return strings.HasPrefix(name, "unknown-") && bytes.Count(line, []byte(",")) > 3
}

func TestTruncations(t *testing.T) {
	for name, line := range sampleLines(t) {
		for n := range line {
			_, err := Parse(line[:n])
			if openEnded(name, line) && n > 0 && line[n-1] == '}' {
				continue
			}
			if !errors.Is(err, ErrSyntax) {
				t.Fatalf("%s: the first %d of %d bytes: %v", name, n, len(line), err)
			}
		}
	}
}

func TestSurplus(t *testing.T) {
	for name, line := range sampleLines(t) {
		for _, surplus := range []string{" ", "\n", "}", ",", "\x00", "x"} {
			_, err := Parse(append(bytes.Clone(line), surplus...))
			if wanted := openEnded(name, line) && surplus == "}"; (err == nil) != wanted {
				t.Errorf("%s with %q behind it: %v", name, surplus, err)
			}
		}
	}
}

// A flipped bit gives a line that is refused, or another record with exactly
// that line.
func TestBitFlips(t *testing.T) {
	accepted := 0
	for name, line := range sampleLines(t) {
		want, err := Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		flipped := bytes.Clone(line)
		for i := range line {
			for bit := range 8 {
				flipped[i] ^= 1 << bit
				if rec, err := Parse(flipped); err == nil {
					accepted++
					if reflect.DeepEqual(rec, want) {
						t.Fatalf("%s: bit %d of byte %d does not matter", name, bit, i)
					}
					if again, err := rec.Append(nil); err != nil || !bytes.Equal(again, flipped) {
						t.Fatalf("%s: %q encodes as %q, %v", name, flipped, again, err)
					}
				} else if !errors.Is(err, ErrSyntax) {
					t.Fatalf("%s: %v does not wrap ErrSyntax", name, err)
				}
				flipped[i] ^= 1 << bit
			}
		}
	}
	if accepted == 0 {
		t.Error("no flipped line was accepted; the test shows nothing")
	}
}

// checkJSON checks that a line is JSON for others too and means the same.
func checkJSON(t interface {
	Helper()
	Fatalf(string, ...any)
}, line []byte, want map[string]any,
) {
	t.Helper()
	if !json.Valid(line) {
		t.Fatalf("not valid JSON: %s", line)
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var got map[string]any
	if err := d.Decode(&got); err != nil {
		t.Fatalf("decoding %s: %v", line, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s\nis %v\nwanted %v", line, got, want)
	}
}
