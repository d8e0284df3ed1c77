package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"unicode/utf8"
)

// Each target: never panics; what parses encodes to the same bytes, and is
// JSON for others too.

// addLines gives a target all sample lines and their bad variants.
func addLines(f *testing.F) {
	lines := sampleLines(f)
	for _, line := range lines {
		f.Add(line)
	}
	for base, changes := range refusals() {
		for _, c := range changes {
			f.Add(c.apply(f, lines[base]))
		}
	}
}

func FuzzParse(f *testing.F) {
	addLines(f)
	f.Fuzz(func(t *testing.T, line []byte) {
		input := bytes.Clone(line)
		rec, err := Parse(line)
		if !bytes.Equal(line, input) {
			t.Fatal("the parser changed its input")
		}
		if err != nil {
			if !errors.Is(err, ErrSyntax) || rec != nil {
				t.Fatalf("%v does not wrap ErrSyntax, or a record came too", err)
			}
			return
		}
		again, err := rec.Append(nil)
		if err != nil || !bytes.Equal(again, line) {
			t.Fatalf("%q encodes as %q, %v", line, again, err)
		}
		frame, err := ParseFrame(line)
		if err != nil || frame != rec.Frame() {
			t.Fatalf("frame %+v, %v; record %+v", frame, err, rec)
		}
		if len(line) > MaxLine || !utf8.Valid(line) || bytes.ContainsFunc(line, func(r rune) bool { return r < 0x20 }) {
			t.Fatalf("accepted a line that is none: %q", line)
		}
		if Unsupported(rec) == nil {
			checkJSON(t, line, modelRecord(rec))
			checkCuts(t, rec, line)
		}
	})
}

// checkCuts checks what is cut out of an inline transaction.
func checkCuts(t *testing.T, rec *Record, line []byte) {
	tx, ok := rec.Body.(*Tx)
	if !ok || tx.Wide != nil {
		return
	}
	lines, err := InlineOps(line)
	if err != nil || len(lines) != len(tx.Ops) {
		t.Fatalf("%q has ops %q, %v", line, lines, err)
	}
	for i := range lines {
		want, err := tx.Ops[i].Append(nil)
		if err != nil || !bytes.Equal(lines[i], want) {
			t.Fatalf("op %d is %q, wanted %q, %v", i, lines[i], want, err)
		}
	}
	if err := VerifyOps(tx.Ops); err != nil {
		t.Fatal(err)
	}
}

func FuzzParseFrame(f *testing.F) {
	addLines(f)
	f.Fuzz(func(t *testing.T, line []byte) {
		frame, err := ParseFrame(line)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatalf("%v does not wrap ErrSyntax", err)
			}
			if _, err := Parse(line); err == nil {
				t.Fatalf("%q parses but has no frame", line)
			}
			return
		}
		head := appendFrame(nil, frame.V, frame.Kind, frame.Seq, frame.Time)
		if !bytes.HasPrefix(line, head) || line[len(line)-1] != '}' {
			t.Fatalf("%q has frame %q", line, head)
		}
	})
}

func FuzzParseOp(f *testing.F) {
	for _, op := range sampleOps() {
		line, err := op.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		request, err := RequestOf(line)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
		f.Add(request)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if op, err := ParseRequest(line); err == nil {
			if again, err := op.AppendRequest(nil); err != nil || !bytes.Equal(again, line) {
				t.Fatalf("request %q encodes as %q, %v", line, again, err)
			}
		}
		// The cheap ways must not panic on bytes that are no op line.
		request, cheap := RequestOf(line)
		op, err := ParseOp(line)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatalf("%v does not wrap ErrSyntax", err)
			}
			return
		}
		if again, err := op.Append(nil); err != nil || !bytes.Equal(again, line) {
			t.Fatalf("%q encodes as %q, %v", line, again, err)
		}
		if want, err := op.AppendRequest(nil); cheap != nil || err != nil || !bytes.Equal(request, want) {
			t.Fatalf("%q has request %q, %v; wanted %q, %v", line, request, cheap, want, err)
		}
		if got := FinishOp(nil, request, op.Prev, op.Skip, op.N); !bytes.Equal(got, line) {
			t.Fatalf("%q finished as %q", line, got)
		}
		if !json.Valid(line) {
			t.Fatalf("not JSON: %q", line)
		}
	})
}

func FuzzWideOps(f *testing.F) {
	f.Add(opLines(sampleOps()))
	f.Add([]byte(txOps + "\n"))
	f.Add(mustLine(f, typicalTx()))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, artifact []byte) {
		if lines, err := WideOps(artifact); err == nil && !bytes.Equal(append(bytes.Join(lines, []byte("\n")), '\n'), artifact) {
			t.Fatalf("%q is cut into %q", artifact, lines)
		}
		if lines, err := InlineOps(artifact); err == nil && !bytes.Contains(artifact, bytes.Join(lines, []byte(","))) {
			t.Fatalf("%q is cut into %q", artifact, lines)
		}
		w, err := NewWide(artifact)
		if err != nil {
			return
		}
		if ops, _, err := w.Open(artifact); err == nil && !bytes.Equal(opLines(ops), artifact) {
			t.Fatalf("%q encodes as %q", artifact, opLines(ops))
		}
	})
}

func FuzzParseAuthority(f *testing.F) {
	f.Add(mustAuthority(f, sampleAuthority()))
	small := sampleAuthority()
	small.Keys = small.Keys[:1]
	f.Add(mustAuthority(f, small))
	f.Add([]byte(`{"v":2,"kind":"authority"}`))
	changes, _ := documentRefusals()
	for _, c := range changes {
		f.Add(c.apply(f, mustAuthority(f, sampleAuthority())))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		checkDocument(t, doc, reencodeAuthority)
	})
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(mustPolicy(f, samplePolicy()))
	f.Add([]byte(`{"v":3,"kind":"policy"}`))
	f.Add(mustPolicy(f, sampleSigners()))
	for _, c := range signerRefusals() {
		f.Add(c.apply(f, mustPolicy(f, sampleSigners())))
	}
	_, changes := documentRefusals()
	for _, c := range changes {
		f.Add(c.apply(f, mustPolicy(f, samplePolicy())))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		checkDocument(t, doc, reencodePolicy)
	})
}

func checkDocument(t *testing.T, doc []byte, reencode func([]byte) ([]byte, error)) {
	again, err := reencode(doc)
	if err != nil {
		if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrUnknownVersion) {
			t.Fatalf("%v wraps neither ErrSyntax nor ErrUnknownVersion", err)
		}
		return
	}
	if !bytes.Equal(again, doc) || !json.Valid(doc) {
		t.Fatalf("%q encodes as %q", doc, again)
	}
}

func FuzzParseSubject(f *testing.F) {
	for _, key := range []string{"a", "\xff", "\"\\\n\u0085", "é"} {
		f.Add(FormatSubject(SpaceUser, []byte(key)))
		f.Add(FormatSubject(SpaceSystem, []byte(key)))
	}
	for _, s := range subjectRefusals() {
		f.Add(s)
	}
	f.Add(FormatSubjectAt(SpaceUser, []byte("a"), Moment{At: 17}))
	f.Add(FormatSubjectAt(SpaceSystem, []byte("\xff"), Moment{Time: sampleTime}))
	f.Fuzz(func(t *testing.T, s string) {
		if space, key, m, err := ParseSubjectAt(s); err == nil && (FormatSubjectAt(space, key, m) != s || !json.Valid([]byte(s))) {
			t.Fatalf("%q is %02x, %q, %+v", s, space, key, m)
		}
		space, key, err := ParseSubject(s)
		if err != nil {
			if !errors.Is(err, ErrSyntax) || key != nil {
				t.Fatalf("%v does not wrap ErrSyntax, or a key came too", err)
			}
			return
		}
		if again := FormatSubject(space, key); again != s || !json.Valid([]byte(s)) {
			t.Fatalf("%q is formatted as %q", s, again)
		}
	})
}

// Strings of any bytes: what the scanner reads the encoder writes.
func FuzzString(f *testing.F) {
	for _, s := range []string{`""`, `"a"`, `"\u0000"`, "\"\u0085\"", `"\u009f"`, "\"é😀\"", `"\n"`, "\"\xff\"", `"a`, `"\u00`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := scanner{b: b}
		text := slices.Clone(p.text(""))
		if p.end() != nil {
			return
		}
		if !utf8.Valid(text) || !bytes.Equal(AppendString(nil, string(text)), b) {
			t.Fatalf("%q is read as %q", b, text)
		}
		var std string
		if err := json.Unmarshal(b, &std); err != nil || std != string(text) {
			t.Fatalf("%q is %q here and %q, %v by encoding/json", b, text, std, err)
		}
	})
}
