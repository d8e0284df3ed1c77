package proof

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"graven/record"
)

// openPart is a line of a list between its subject and its tree: an op line that is
// listed, in full, or what stands behind `leaf`.
type openPart struct {
	op   bool
	line []byte
}

// takeApart reads the open leaves of a list; head and tail are what stands around
// them.
func takeApart(t *testing.T, file []byte) (head []byte, parts []openPart, tail []byte) {
	t.Helper()
	var before []byte
	lines := bytes.SplitAfter(file, []byte("\n"))
	for i, line := range lines {
		text, isOp := bytes.CutPrefix(line, []byte("op "))
		leaf, isLeaf := bytes.CutPrefix(line, []byte("leaf "))
		switch {
		case isOp:
			whole, ok := readShared(before, bytes.TrimSuffix(text, []byte("\n")))
			if !ok {
				t.Fatalf("line %d: %s", i+1, line)
			}
			parts, before = append(parts, openPart{true, whole}), whole
		case isLeaf:
			parts = append(parts, openPart{false, bytes.TrimSuffix(leaf, []byte("\n"))})
		case parts == nil:
			head = append(head, line...)
		default:
			tail = append(tail, line...)
		}
	}
	return head, parts, tail
}

// putTogether writes the file of other leaves, as somebody who knows the format
// would: op lines shortened against the one before, and a new sum.
func putTogether(head []byte, parts []openPart, tail []byte) []byte {
	out := bytes.Clone(head)
	var before []byte
	for _, p := range parts {
		if p.op {
			out = append(appendShared(append(out, "op "...), before, p.line), '\n')
			before = p.line
		} else {
			out = append(append(append(out, "leaf "...), p.line...), '\n')
		}
	}
	return resum(append(out, tail...))
}

// TestElementsOfAList omits, adds, repeats, exchanges and replaces each of the 100
// keys of a proven list: no such list verifies.
func TestElementsOfAList(t *testing.T) {
	v := newVault(t, "example.com/log", "sample")
	v.commit()
	for i := range 300 {
		v.tx(put('k', fmt.Sprintf("rows/%03d", i), fmt.Sprint(i)))
	}
	for i := 0; i < 300; i += 7 {
		v.tx(put('k', fmt.Sprintf("rows/%03d", i), "newer"))
	}
	v.commit()
	ver := v.verifier()
	subject := record.RangeSubject{Space: 'k', Prefix: []byte("rows/1")}
	file := mustEncodeRange(t, v.rangeProof(subject, false))
	head, parts, tail := takeApart(t, file)
	if again := putTogether(head, parts, tail); !bytes.Equal(again, file) {
		t.Fatalf("put together again it is another file:\n%s", again)
	}
	foreign := put('k', "rows/1500", "added")
	foreign.N = 1
	added, err := foreign.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	tried, listed := 0, 0
	refuse := func(what string, i int, changed []openPart) {
		t.Helper()
		tried++
		if res, err := ver.Verify(putTogether(head, changed, tail)); err == nil {
			t.Errorf("element %d %s: it verifies: %v", i, what, res.Describe())
		} else if bySum(err) {
			t.Fatalf("element %d %s: only the sum refuses it", i, what)
		}
	}
	for i, p := range parts {
		if !p.op {
			continue
		}
		listed++
		refuse("omitted", i, slices.Delete(slices.Clone(parts), i, i+1))
		refuse("repeated", i, slices.Insert(slices.Clone(parts), i, p))
		refuse("added", i, slices.Insert(slices.Clone(parts), i, openPart{true, added}))
		key := string(keyOf(t, p.line))
		if have := v.ops["k"+key]; len(have) > 1 {
			older := slices.Clone(parts)
			older[i].line = have[0].line
			refuse("replaced by an older version", i, older)
		}
		other := slices.Clone(parts)
		other[i].line = bytes.Replace(p.line, []byte(`"size":`), []byte(`"size":1`), 1)
		refuse("of another size", i, other)
		for j := range parts {
			if j == i || j != i+1 && (i+j)%11 > 0 {
				continue
			}
			swapped := slices.Clone(parts)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			refuse(fmt.Sprint("swapped with ", j), i, swapped)
		}
	}
	if listed != 100 || tried < 1_400 {
		t.Errorf("%d keys are listed, %d lists tried", listed, tried)
	}
}

func keyOf(t *testing.T, line []byte) []byte {
	t.Helper()
	op, err := record.ParseOp(line)
	if err != nil {
		t.Fatal(err)
	}
	return op.Key
}

// TestListsAtTheEdges proves lists and counts of nothing, of the first and the last
// key, of prefixes of 0xFF, in a vault with and without keys.
func TestListsAtTheEdges(t *testing.T) {
	empty := newVault(t, "example.com/log", "sample")
	empty.commit()
	v := newVault(t, "example.com/log", "sample")
	last := bytes.Repeat([]byte{0xFF}, record.MaxKey)
	v.tx(put('k', "\x00", "first"), put('k', "a", "1"), put('k', "b", "2"), put('k', "\xff", "3"), put('k', "\xff\xff", "4"), put('k', string(last), "last"))
	v.tx(del('k', "b"))
	v.commit()
	for _, c := range []struct {
		name string
		s    record.RangeSubject
		live int // of v
	}{
		{"everything", record.RangeSubject{}, 5},
		{"nothing between two keys", record.RangeSubject{Prefix: []byte("aa")}, 0},
		{"only a deleted key", record.RangeSubject{Prefix: []byte("b")}, 0},
		{"before the first", record.RangeSubject{To: []byte{0}}, 0},
		{"the first", record.RangeSubject{Limit: 1}, 1},
		{"the last", record.RangeSubject{Limit: 1, Reverse: true}, 1},
		{"prefix 0xFF", record.RangeSubject{Prefix: []byte{0xFF}}, 3},
		{"prefix 0xFF 0xFF", record.RangeSubject{Prefix: []byte{0xFF, 0xFF}}, 2},
		{"prefix of 1,024 0xFF", record.RangeSubject{Prefix: last}, 1},
		{"behind the last", record.RangeSubject{From: last, To: last}, 0},
		{"from behind to before", record.RangeSubject{From: []byte("b"), To: []byte("a")}, 0},
	} {
		for _, compact := range []bool{false, true} {
			c.s.Space, c.s.Compact = 'k', compact
			for _, vault := range []*vault{v, empty} {
				want := c.live
				if vault == empty {
					want = 0
				}
				res, err := vault.verifier().Verify(mustEncodeRange(t, vault.rangeProof(c.s, false)))
				if err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				if got := len(res.Claim().(Listed).Entries); got != want {
					t.Errorf("%s, compact %v: %d keys, wanted %d", c.name, compact, got, want)
				}
			}
		}
		if c.s.Compact = false; c.s.Limit == 0 {
			res, err := v.verifier().Verify(mustEncodeRange(t, v.rangeProof(c.s, true)))
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if got := res.Claim().(Counted).Live; got != uint64(c.live) {
				t.Errorf("%s: %d keys are counted, wanted %d", c.name, got, c.live)
			}
		}
	}
}
