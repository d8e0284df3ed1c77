package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"graven/merkle"
)

func opName(o *Op, i int) string { return fmt.Sprintf("%d-%s", i, o.Kind) }

// Every op as an op line, as a request, and the ways between the two.
func TestOpLines(t *testing.T) {
	for i, op := range sampleOps() {
		t.Run(opName(&op, i), func(t *testing.T) {
			line, err := op.Append([]byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			line = line[1:]
			if got, err := ParseOp(line); err != nil || !reflect.DeepEqual(got, op) {
				t.Fatalf("%s parsed as %+v, %v", line, got, err)
			}
			checkJSON(t, line, modelOp(&op, true))

			request, err := op.AppendRequest([]byte("y"))
			if err != nil {
				t.Fatal(err)
			}
			request = request[1:]
			checkJSON(t, request, modelOp(&op, false))
			bare := op
			bare.Prev, bare.Skip, bare.N = 0, 0, 0
			if got, err := ParseRequest(request); err != nil || !reflect.DeepEqual(got, bare) {
				t.Fatalf("%s parsed as %+v, %v", request, got, err)
			}
			if got := FinishOp([]byte("z"), request, op.Prev, op.Skip, op.N); string(got) != "z"+string(line) {
				t.Errorf("FinishOp gives %s, wanted %s", got, line)
			}
			if got, err := RequestOf(line); err != nil || !bytes.Equal(got, request) {
				t.Errorf("RequestOf gives %s, %v; wanted %s", got, err, request)
			}
			if op.Kind.WritesKey() {
				if _, err := ParseOp(request); !errors.Is(err, ErrSyntax) {
					t.Errorf("a request was taken for an op line: %v", err)
				}
				if _, err := ParseRequest(line); !errors.Is(err, ErrSyntax) {
					t.Errorf("an op line was taken for a request: %v", err)
				}
			}
			if got := OpDigest(line); got != merkle.LeafHash(line) {
				t.Errorf("digest %s", got)
			}
		})
	}
}

func TestOpRefuses(t *testing.T) {
	noKey := Op{Kind: OpPut, Space: SpaceUser, N: 1}
	checkField(t, "key")(noKey.Append([]byte("x")))
	checkField(t, "key")(noKey.AppendRequest([]byte("x")))
	noLinks := userPut("a")
	noLinks.N = 0
	checkField(t, "n")(noLinks.Append([]byte("x")))
	if _, err := noLinks.AppendRequest(nil); err != nil {
		t.Errorf("a request needs no links: %v", err)
	}
}

func TestRequestOfRefuses(t *testing.T) {
	for _, line := range []string{
		``, `{`, `{}`, `x`, `{"op":"`, `{"op":"put"}`, `{"op":"put","prev":0,"skip":0,"n":}`,
		`{"op":"put","prev":0,"skip":0,"n":01}`, `{"op":"put","prev":00,"skip":0,"n":1}`,
		`{"op":"put","prev":0,"skip":0,"n":9007199254740992}`, `{"op":"put","skip":0,"prev":0,"n":1}`,
		`{"op":"delete","prev":0,"n":1}`, `{"op":"delete","prev":0,"skip":0,"n":1} `, `{"op":"put","prev":0,"skip":0,"n":1`,
	} {
		if got, err := AppendRequestOf([]byte("x"), []byte(line)); !errors.Is(err, ErrSyntax) || string(got) != "x" {
			t.Errorf("%s gives %s, %v", line, got, err)
		}
		r := NewReq("", "", "", 1)
		before := r.Sum()
		if err := r.OpLine([]byte(line)); !errors.Is(err, ErrSyntax) || r.Sum() != before {
			t.Errorf("%s was hashed: %v", line, err)
		}
	}
}

func TestInlineOps(t *testing.T) {
	// The strings hold all that the cut looks for, but for quotation marks.
	tricky := sampleTx(userPut(`,"ops":[{"op":"put"`), userPut(`},{"op":"`), userPut(`]}`), userPut("},{"))
	tricky.Actor, tricky.ID = `,"ops":[`, `},{"op":"put"`
	for _, tx := range []*Tx{tricky, sampleTx(sampleOps()...), sampleTx(userPut("a")), {Ops: sampleOps()[19:]}} {
		line := mustLine(t, New(10, sampleTime, tx))
		got, err := InlineOps(line)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Split(bytes.TrimSuffix(opLines(tx.Ops), []byte("\n")), []byte("\n"))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("cut %q, wanted %q", got, want)
		}
	}
	for name, line := range sampleLines(t) {
		if rec, err := Parse(line); err == nil {
			if tx, ok := rec.Body.(*Tx); ok && tx.Wide == nil {
				continue
			}
		}
		if _, err := InlineOps(line); name != "unknown-tx-2" && !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, line := range []string{`,"ops":[]}`, `,"ops":[x]}`, `,"ops":[{"op":"x"},{"op":"]}`} {
		if got, err := InlineOps([]byte(line)); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s gives %q, %v", line, got, err)
		}
	}
}

func TestWide(t *testing.T) {
	ops := sampleOps()
	artifact := opLines(ops)
	w, err := NewWide(artifact)
	if err != nil {
		t.Fatal(err)
	}
	got, lines, err := w.Open(artifact)
	if err != nil || !reflect.DeepEqual(got, ops) || len(lines) != len(ops) {
		t.Fatalf("%d ops and %d lines, %v", len(got), len(lines), err)
	}
	var tree merkle.Tree
	for i, line := range lines {
		want, err := ops[i].Append(nil)
		if err != nil || !bytes.Equal(line, want) {
			t.Errorf("line %d is %s, wanted %s", i, line, want)
		}
		tree.Append(OpDigest(line))
	}
	if w.Root != tree.Root() || w.Count != uint64(len(ops)) || w.Size != uint64(len(artifact)) || w.Lines != IDOf(artifact) {
		t.Errorf("wide is %+v", w)
	}
	for i := range artifact {
		bad := bytes.Clone(artifact)
		bad[i] ^= 1
		if _, _, err := w.Open(bad); err == nil {
			t.Fatalf("byte %d does not matter", i)
		}
	}
	wrong := map[string]func(w *Wide){
		"root":  func(w *Wide) { w.Root[0] ^= 1 },
		"count": func(w *Wide) { w.Count++ },
		"size":  func(w *Wide) { w.Size++ },
		"lines": func(w *Wide) { w.Lines[0] ^= 1 },
	}
	for name, change := range wrong {
		bad := *w
		change(&bad)
		if _, _, err := bad.Open(artifact); !errors.Is(err, ErrMismatch) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

func TestWideRefuses(t *testing.T) {
	line := txOps
	tests := []struct {
		name, artifact string
		cut            bool // refused when it is cut, not only when it is read
	}{
		{"empty", "", true},
		{"a line feed", "\n", true},
		{"no line feed", line, true},
		{"an empty line", line + "\n\n", true},
		{"carriage return", line + "\r\n", true},
		{"space", " " + line + "\n", true},
		{"a request", strings.Replace(line, `,"prev":0,"skip":0,"n":1`, "", 1) + "\n", false},
		{"one key twice", line + "\n" + line + "\n", false},
		{"condition last", line + "\n" + `{"op":"if","since":1}` + "\n", false},
		{"an op of no kind", `{"op":"get"}` + "\n", false},
		{"too many lines", strings.Repeat(`{"op":"x"}`+"\n", MaxOps+1), true},
	}
	for _, tc := range tests {
		w, err := NewWide([]byte(tc.artifact))
		if (err != nil) != tc.cut {
			t.Errorf("%s: cut: %v", tc.name, err)
			continue
		}
		if err == nil {
			_, _, err = w.Open([]byte(tc.artifact))
		}
		if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestVerifyOps(t *testing.T) {
	many := func(n int, change func(ops []Op)) []Op {
		ops := make([]Op, n)
		for i := range ops {
			ops[i] = userPut(fmt.Sprintf("key %d", i))
		}
		change(ops)
		return ops
	}
	none := func([]Op) {}
	cond := func(key string) Op {
		return Op{Kind: OpIf, Space: SpaceUser, Key: []byte(key), If: &Cond{Kind: Absent}}
	}
	for _, n := range []int{2, fewOps, fewOps + 1, 200} {
		last := n - 1
		tests := []struct {
			name   string
			change func(ops []Op)
			field  string // of the error; empty: allowed
		}{
			{"fine", none, ""},
			{"same key, other space", func(ops []Op) { ops[last] = sizedPut(0, []byte("key 0")) }, ""},
			{"append twice", func(ops []Op) { ops[0], ops[last] = Op{Kind: OpAppend}, Op{Kind: OpAppend} }, ""},
			{"range conditions twice", func(ops []Op) { ops[0], ops[1] = Op{Kind: OpIf}, Op{Kind: OpIf} }, ""},
			{"condition first", func(ops []Op) { ops[0] = cond("other") }, ""},
			{"condition last", func(ops []Op) { ops[last] = cond("other") }, fmt.Sprintf("ops[%d].op", last)},
			{"put twice", func(ops []Op) { ops[last] = userPut("key 0") }, fmt.Sprintf("ops[%d].key", last)},
			{"delete and put", func(ops []Op) { ops[last] = Op{Kind: OpDelete, Space: SpaceUser, Key: []byte("key 0")} }, fmt.Sprintf("ops[%d].key", last)},
			{"condition and put", func(ops []Op) { ops[0] = cond(fmt.Sprintf("key %d", last)) }, fmt.Sprintf("ops[%d].key", last)},
		}
		for _, tc := range tests {
			err := VerifyOps(many(n, tc.change))
			var field *FieldError
			if tc.field == "" && err != nil || tc.field != "" && (!errors.As(err, &field) || field.Field != tc.field) {
				t.Errorf("%d ops, %s: %v, wanted an error about %q", n, tc.name, err, tc.field)
			}
		}
	}
	if err := VerifyOps(nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("no ops: %v", err)
	}
	if err := VerifyOps(many(MaxOps, none)); err != nil {
		t.Errorf("the greatest number of ops: %v", err)
	}
	if err := VerifyOps(many(MaxOps+1, none)); !errors.Is(err, ErrInvalid) {
		t.Errorf("one op too many: %v", err)
	}
}

func TestStoredKey(t *testing.T) {
	op := userPut("abc")
	stored := op.StoredKey()
	if string(stored) != "kabc" {
		t.Errorf("stored key %q", stored)
	}
	stored[1] = 'X'
	if string(op.Key) != "abc" {
		t.Error("the stored key shares memory with the key")
	}
}

func TestCheckChunks(t *testing.T) {
	list := ptr(idFor("list"))
	tests := []struct {
		op Op
		ok bool
	}{
		{Op{Kind: OpPut, Size: 10}, true},
		{Op{Kind: OpPut, Size: 11}, false},
		{Op{Kind: OpPut, Size: 10, Chunks: list}, false},
		{Op{Kind: OpPut, Size: 11, Chunks: list}, true},
		{Op{Kind: OpAppend, Size: 11}, false},
		{Op{Kind: OpDelete}, true},
	}
	for _, tc := range tests {
		if err := tc.op.CheckChunks(10); (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", tc.op, err)
		}
	}
}

// An append has no space: any is ignored.
func TestAppendSpace(t *testing.T) {
	op := Op{Kind: OpAppend, Space: SpaceUser, Value: idFor("v"), Size: 1}
	line, err := op.Append(nil)
	if err != nil || strings.Contains(string(line), "space") {
		t.Fatalf("%s, %v", line, err)
	}
	if got, err := ParseOp(line); err != nil || got.Space != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// The strings of lines are as short and as plain as the format says.
func TestAppendString(t *testing.T) {
	for r := rune(0); r <= 0x10ffff; r++ {
		if r == 0xd800 {
			r = 0xe000
		}
		got := string(AppendString(nil, string(r)))
		want := `"` + string(r) + `"`
		if r < 0x20 || r == '"' || r == '\\' || r >= 0x7f && r < 0xa0 {
			want = fmt.Sprintf(`"\u%04x"`, r)
		}
		if got != want {
			t.Fatalf("U+%04X is %s, wanted %s", r, got, want)
		}
		p := scanner{b: []byte(got)}
		if text := p.string(""); text != string(r) || p.end() != nil {
			t.Fatalf("U+%04X is read as %q, %v", r, text, p.err)
		}
	}
	mixed := "a\x00é\u0080\u0081b\"\\\u00a0\u009f"
	var back string
	if err := json.Unmarshal(AppendString(nil, mixed), &back); err != nil || back != mixed {
		t.Errorf("%q came back as %q, %v", mixed, back, err)
	}
}
