package proof

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/transparency-dev/formats/proof"

	"graven/merkle"
	"graven/record"
)

func TestVerifyRecord(t *testing.T) {
	v := sampleVault(t)
	ver := v.verifier()
	for size := uint64(1); size <= v.size(); size++ {
		for seq := range size {
			res, err := ver.Verify(v.recordProof(seq, size))
			if err != nil {
				t.Fatalf("record %d of %d: %v", seq, size, err)
			}
			got, ok := res.Claim().(RecordProven)
			if !ok || got.Seq != seq || !bytes.Equal(got.Line, v.lines[seq]) || got.Record.Seq != seq {
				t.Fatalf("record %d of %d: %+v", seq, size, res.Claim())
			}
			want := Checkpoint{Origin: v.origin, Size: size, Root: merkle.RootOf(v.leaves[:size])}
			if res.Checkpoint() != want {
				t.Fatalf("record %d: checkpoint %+v, wanted %+v", seq, res.Checkpoint(), want)
			}
			if _, ok := res.Commit(); ok {
				t.Fatal("a record proof has a commit")
			}
			if want := fmt.Sprintf("record:%d", seq); res.Subject() != want {
				t.Fatalf("subject %q, wanted %q", res.Subject(), want)
			}
		}
	}
}

// Our record proofs are C2SP tlog-proofs: two other implementations read them.
func TestRecordProofAgainstReference(t *testing.T) {
	v := sampleVault(t)
	known, err := note.NewVerifier(v.keys.Log.VKey)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range v.size() {
		file := v.recordProof(seq, v.size())
		var theirs proof.TLogProof
		if err := theirs.Unmarshal(file); err != nil {
			t.Fatal(err)
		}
		if theirs.Index != seq || !bytes.Equal(theirs.ExtraData, v.lines[seq]) {
			t.Fatalf("the reference reads record %d, %s", theirs.Index, theirs.ExtraData)
		}
		if !bytes.Equal(theirs.Marshal(), file) {
			t.Fatalf("the reference writes\n%s, we\n%s", theirs.Marshal(), file)
		}
		opened, err := note.Open(theirs.Checkpoint, note.VerifierList(known))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseCheckpointText([]byte(opened.Text))
		if err != nil {
			t.Fatal(err)
		}
		var p tlog.RecordProof
		for _, h := range theirs.Hashes {
			p = append(p, tlog.Hash(h))
		}
		if err := tlog.CheckRecord(p, int64(c.Size), tlog.Hash(c.Root), int64(seq), tlog.RecordHash(v.lines[seq])); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerifyPresent(t *testing.T) {
	v := sampleVault(t)
	for _, tc := range []struct {
		space       byte
		key, value  string
		n           uint64
		subject     string
		seq, create uint64
	}{
		{'k', "colours/00", "value 0", 1, "colours/00", 2, 2},
		{'k', "colours/03", "fifth", 5, "colours/03", 20, 5},
		{'k', "\xff\x00", "binary", 1, "b64:/wA=", 16, 16},
		{'k', "record:5", "trap", 1, "b64:cmVjb3JkOjU=", 16, 16},
		{'q', "row/1", "sql", 1, "space:71:row/1", 16, 16},
		{0, "system", "", 1, "space:00:system", 16, 16},
	} {
		res, err := v.verifier().Verify(v.keyProof(tc.space, tc.key))
		if err != nil {
			t.Errorf("%q: %v", tc.key, err)
			continue
		}
		history := v.ops[string(append([]byte{tc.space}, tc.key...))]
		want := Present{
			Space: tc.space, Key: []byte(tc.key),
			Value: record.IDOf([]byte(tc.value)), Size: uint64(len(tc.value)), Type: "text/plain",
			Seq: tc.seq, N: tc.n, Created: tc.create, Op: history[len(history)-1].line,
		}
		if !reflect.DeepEqual(res.Claim(), want) {
			t.Errorf("%q: got %+v, wanted %+v", tc.key, res.Claim(), want)
		}
		c, ok := res.Commit()
		if wantCommit := (Commit{Seq: v.size() - 1, Time: v.clock(v.size() - 1), Height: v.commits - 1, State: v.state.Root()}); !ok || c != wantCommit {
			t.Errorf("%q: commit %+v, wanted %+v", tc.key, c, wantCommit)
		}
		if res.Subject() != tc.subject || res.CheckSubject(tc.subject) != nil {
			t.Errorf("%q: subject %q, wanted %q", tc.key, res.Subject(), tc.subject)
		}
		if err := res.CheckSubject(tc.subject + "x"); !errors.Is(err, ErrSubject) {
			t.Errorf("%q: other subject: %v", tc.key, err)
		}
		if err := res.CheckValue(strings.NewReader(tc.value)); err != nil {
			t.Errorf("%q: %v", tc.key, err)
		}
		for _, bad := range []string{tc.value + "x", "x" + tc.value, strings.ToUpper(tc.value) + "\x00", "other"} {
			if err := res.CheckValue(strings.NewReader(bad)); !errors.Is(err, ErrValue) {
				t.Errorf("%q: value %q: %v", tc.key, bad, err)
			}
		}
	}
}

// A value of the right size and other bytes, an endless one, and one that fails.
func TestCheckValue(t *testing.T) {
	v := sampleVault(t)
	res, err := v.verifier().Verify(v.keyProof('k', "colours/03"))
	if err != nil {
		t.Fatal(err)
	}
	if err := res.CheckValue(strings.NewReader("fifti")); !errors.Is(err, ErrValue) {
		t.Errorf("other bytes: %v", err)
	}
	if err := res.CheckValue(&stream{name: "endless"}); !errors.Is(err, ErrValue) {
		t.Errorf("endless: %v", err)
	}
	broken := errors.New("disk")
	if err := res.CheckValue(brokenReader{broken}); !errors.Is(err, broken) || errors.Is(err, ErrValue) {
		t.Errorf("broken reader: %v", err)
	}
	for what, file := range map[string][]byte{"record": v.recordProof(3, v.size()), "absent": v.keyProof('k', "no"), "deleted": v.keyProof('k', "colours/07")} {
		res, err := v.verifier().Verify(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.CheckValue(strings.NewReader("")); !errors.Is(err, ErrValue) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

func TestVerifyAbsent(t *testing.T) {
	v := sampleVault(t)
	line := func(space byte, key string) []byte {
		h := v.ops[string(append([]byte{space}, key...))]
		return h[len(h)-1].line
	}
	for _, tc := range []struct {
		space byte
		key   string
		want  Absent
	}{
		{'k', "colours/07", Absent{Deleted: true, Seq: 18, N: 2, Created: 10, Op: line('k', "colours/07")}},
		{'k', "never there", Absent{Deleted: true, Seq: 19, N: 1, Created: 19, Op: line('k', "never there")}},
		{'k', "colours/", Absent{}},
		{'k', "\x00", Absent{}},
		{'k', "zzz", Absent{}},
		{'k', "\xff\xff", Absent{}},
		{'k', "colours/03\x00", Absent{}},
		{'k', strings.Repeat("x", record.MaxKey), Absent{}},
		{'q', "row/2", Absent{}}, // a space of one leaf: the path has no steps
		{'z', "empty", Absent{}}, // a space without keys
		{1, "empty", Absent{}},
	} {
		tc.want.Space, tc.want.Key = tc.space, []byte(tc.key)
		file := v.keyProof(tc.space, tc.key)
		res, err := v.verifier().Verify(file)
		if err != nil {
			t.Errorf("%.20q: %v", tc.key, err)
			continue
		}
		if !reflect.DeepEqual(res.Claim(), tc.want) {
			t.Errorf("%.20q: got %+v, wanted %+v", tc.key, res.Claim(), tc.want)
		}
		if c, ok := res.Commit(); !ok || c.Seq != v.size()-1 {
			t.Errorf("%.20q: commit %+v", tc.key, c)
		}
	}
	// A vault without any key.
	empty := newVault(t, "example.com/empty", "empty")
	empty.commit()
	res, err := empty.verifier().Verify(empty.keyProof('k', "a"))
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Claim().(Absent); got.Deleted || string(got.Key) != "a" {
		t.Errorf("got %+v", got)
	}
}

// samples are one proof of each shape, named.
func samples(t testing.TB) (*vault, map[string][]byte) {
	v := sampleVault(t)
	one := newVault(t, "example.com/log", "sample") // the same keys, one space
	one.tx(put('k', "a", "1"))
	one.commit()
	return v, map[string][]byte{
		"record":                v.recordProof(6, v.size()),
		"record, first of 1":    v.recordProof(0, 1),
		"record, commit":        v.recordProof(v.size()-1, v.size()),
		"present":               v.keyProof('k', "colours/03"),
		"present, binary key":   v.keyProof('k', "\xff\x00"),
		"present, other space":  v.keyProof('q', "row/1"),
		"present, only key":     one.keyProof('k', "a"),
		"deleted":               v.keyProof('k', "colours/07"),
		"absent by neighbour":   v.keyProof('k', "colours/035"),
		"absent, one leaf":      v.keyProof('q', "row/2"),
		"absent, empty space":   v.keyProof('z', "row/2"),
		"absent, one neighbour": one.keyProof('k', "b"),
	}
}

// Cosignature lines may be added, changed and removed; each must be well formed.
func TestCosignedProofs(t *testing.T) {
	v, files := samples(t)
	cos, err := NewCosigner(v.keys.Cosigner.SKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range files {
		head, checkpoint, _ := bytes.Cut(file, []byte("\n\n"))
		cosigned, err := cos.Cosign(checkpoint, 1_700_000_000)
		if err != nil {
			t.Fatal(err)
		}
		join := func(note []byte) []byte { return bytes.Join([][]byte{head, note}, []byte("\n\n")) }
		both, err := NewVerifier(v.keys.Log.VKey, v.keys.Cosigner.VKey)
		if err != nil {
			t.Fatal(err)
		}
		for _, ver := range []*Verifier{v.verifier(), both} {
			if _, err := ver.Verify(join(cosigned)); err != nil {
				t.Errorf("%s: cosigned: %v", name, err)
			}
			if _, err := ver.Verify(append(bytes.Clone(file), "— witness.example AAAAAQU=\n"...)); err != nil {
				t.Errorf("%s: witnessed: %v", name, err)
			}
			if _, err := ver.Verify(append(bytes.Clone(file), "— witness.example AAAAAQV=\n"...)); !errors.Is(err, ErrFormat) {
				t.Errorf("%s: malformed line: %v", name, err)
			}
		}
		late := bytes.Replace(cosigned, []byte("— example.com/log"), []byte("— example.com/lob"), 1)
		if _, err := v.verifier().Verify(join(late)); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: no log signature: %v", name, err)
		}
	}
}

func TestVerifyVersions(t *testing.T) {
	v, files := samples(t)
	present, rec := string(files["present"]), string(files["record"])
	forged := func(from, to string) string { return string(forge(t, files["present"], from, to)) }
	cases := []struct {
		what, file string
		want       error
	}{
		{"empty", "", ErrFormat},
		{"text", "hello\n", ErrFormat},
		{"next version", forged("graven-proof 1\n", "graven-proof 2\n"), ErrUnknownVersion},
		{"version 10", forged("graven-proof 1\n", "graven-proof 10\n"), ErrUnknownVersion},
		{"version 01", forged("graven-proof 1\n", "graven-proof 01\n"), ErrFormat},
		{"no version", forged("graven-proof 1\n", "graven-proof\n"), ErrFormat},
		{"next version, nothing else", "graven-proof 2", ErrUnknownVersion},
		{"next tlog-proof", strings.Replace(rec, "@v1\n", "@v2\n", 1), ErrUnknownVersion},
		{"tlog-proof without number", strings.Replace(rec, "@v1\n", "@vx\n", 1), ErrFormat},
		{"unknown claim", forged("claim present\n", "claim range-complete\n"), ErrUnknownVersion},
		{"no claim word", forged("claim present\n", "claim \n"), ErrFormat},
		{"claim in capitals", forged("claim present\n", "claim Present\n"), ErrFormat},
		{"other claim", forged("claim present\n", "claim absent\n"), ErrFormat},
		{"too long", present + strings.Repeat("x", MaxFile), ErrFormat},
		{"no extra", rec[:strings.Index(rec, "extra")] + rec[strings.Index(rec, "index"):], ErrFormat},
		{"index with a zero", strings.Replace(rec, "index 6", "index 06", 1), ErrFormat},
		{"index is the size", strings.Replace(rec, "index 6", "index 22", 1), ErrProof},
		{"index beyond", strings.Replace(rec, "index 6", "index 9223372036854775807", 1), ErrProof},
		{"index too great", strings.Replace(rec, "index 6", "index 9223372036854775808", 1), ErrFormat},
		{"64 siblings", string(EncodeRecordProof([]byte("x"), 0, make([]merkle.Hash, 64), v.checkpointAt(1))), ErrFormat},
		{"long record", string(EncodeRecordProof(make([]byte, record.MaxLine+1), 0, nil, v.checkpointAt(1))), ErrFormat},
	}
	if v.size() != 22 {
		t.Fatalf("the sample has %d records", v.size())
	}
	for _, tc := range cases {
		if res, err := v.verifier().Verify([]byte(tc.file)); !errors.Is(err, tc.want) || res != nil || bySum(err) {
			t.Errorf("%s: got %v, wanted %v", tc.what, err, tc.want)
		}
	}
}

func TestVerifyMinSize(t *testing.T) {
	v, files := samples(t)
	for name, file := range files {
		res, err := v.verifier().Verify(file)
		if err != nil {
			t.Fatal(err)
		}
		size := res.Checkpoint().Size
		if _, err := v.verifier().AtLeast(size).Verify(file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		base := v.verifier()
		if _, err := base.AtLeast(size + 1).Verify(file); !errors.Is(err, ErrTooOld) {
			t.Errorf("%s: got %v, wanted ErrTooOld", name, err)
		}
		if _, err := base.Verify(file); err != nil {
			t.Errorf("%s: AtLeast changed its receiver: %v", name, err)
		}
	}
}

// Encode refuses parts that do not fit together, so that a maker finds out first.
func TestEncodeRefuses(t *testing.T) {
	v := sampleVault(t)
	for what, change := range map[string]func(*KeyProof){
		"no key":            func(p *KeyProof) { p.Key = nil },
		"long key":          func(p *KeyProof) { p.Key = make([]byte, record.MaxKey+1) },
		"no op":             func(p *KeyProof) { p.Op = nil },
		"op and no leaf":    func(p *KeyProof) { p.State.Leaf, p.State.Steps = nil, nil },
		"op of another key": func(p *KeyProof) { p.Op = v.ops["kcolours/04"][0].line },
		"op of another version": func(p *KeyProof) {
			p.Op = v.ops["kcolours/03"][1].line
		},
		"op of another space": func(p *KeyProof) { p.Op = v.ops["qrow/1"][0].line },
		"no op line":          func(p *KeyProof) { p.Op = []byte(`{"op":"put"}`) },
		"an append": func(p *KeyProof) {
			p.Op = []byte(`{"op":"append","value":"` + record.IDOf(nil).String() + `","size":0}`)
		},
		"op with a line feed": func(p *KeyProof) { p.Op = append(bytes.Clone(p.Op), '\n') },
		"leaf of another key": func(p *KeyProof) { p.State.Leaf = sure(v.state.Prove([]byte("kcolours/04"))).Leaf },
		"leaf of another op": func(p *KeyProof) {
			l := *p.State.Leaf
			l.Digest[0] ^= 1
			p.State.Leaf = &l
		},
		"deleted leaf": func(p *KeyProof) {
			l := *p.State.Leaf
			l.Live = false
			p.State.Leaf = &l
		},
		"op for an absent key": func(p *KeyProof) {
			*p = v.key('k', "colours/")
			p.Op = v.ops["kcolours/03"][0].line
		},
	} {
		p := v.key('k', "colours/03")
		change(&p)
		if out, err := p.Encode(); !errors.Is(err, ErrInvalid) || out != nil {
			t.Errorf("%s: got %q, %v", what, out, err)
		}
	}
}

func TestSubjectsDiffer(t *testing.T) {
	keys := []string{"a", "record:5", "b64:cmVjb3JkOjU=", "b64:", "space:71:a", "space:", "\xff", "b64:/w==", "a\nb", "\x00"}
	seen := map[string]string{"record:5": "a record"}
	for _, space := range []byte{'k', 'q', 0, 255} {
		for _, key := range keys {
			what := fmt.Sprintf("%02x %q", space, key)
			got := keySubject(space, []byte(key))
			if have, ok := seen[got]; ok {
				t.Errorf("%s and %s are both %q", have, what, got)
			}
			seen[got] = what
		}
	}
}

func TestDescribe(t *testing.T) {
	v, files := samples(t)
	for name, want := range map[string][]string{
		"record":              {"Record 6 ", `"tx"`, "example.com/log", "size 22", "Not proven"},
		"present":             {`"colours/03"`, "5 bytes", record.IDOf([]byte("fifth")).String(), "version 5", "record 20", "record 5", "text/plain", "commit 3", "2026-01-02T03:04:26", "Not proven"},
		"deleted":             {`"colours/07"`, "record 18 deleted", "Not proven"},
		"absent by neighbour": {`"colours/035"`, "never had one", "Not proven"},
	} {
		res, err := v.verifier().Verify(files[name])
		if err != nil {
			t.Fatal(err)
		}
		lines := res.Describe()
		text := strings.Join(lines, "\n")
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: no %q in\n%s", name, part, text)
			}
		}
		for i, line := range lines {
			if strings.Contains(line, "\n") || strings.HasPrefix(line, "Not proven") != (i == len(lines)-1) {
				t.Errorf("%s: line %d: %q", name, i, line)
			}
		}
	}
	// A key cannot write to a terminal.
	v.tx(put('k', "\x1b[2J\n\u202e", "x"))
	v.commit()
	res, err := v.verifier().Verify(v.keyProof('k', "\x1b[2J\n\u202e"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range res.Describe() {
		if strings.ContainsAny(line, "\x1b\n\u202e") {
			t.Errorf("a raw control character in %q", line)
		}
	}
}

// What a result holds stays as it is when its file is overwritten.
func TestResultOwnsItsBytes(t *testing.T) {
	v, files := samples(t)
	for name, file := range files {
		file = bytes.Clone(file)
		res, err := v.verifier().Verify(file)
		if err != nil {
			t.Fatal(err)
		}
		before := fmt.Sprintf("%+v", res.Claim())
		clear(file)
		if after := fmt.Sprintf("%+v", res.Claim()); after != before {
			t.Errorf("%s changed with its file", name)
		}
	}
}
