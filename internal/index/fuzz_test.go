package index

import (
	"bytes"
	"testing"

	"graven/internal/segment"
)

// FuzzRow reads any row as one of each table. Nothing panics, and what is read as
// a version or a place is written as the same bytes again.
func FuzzRow(f *testing.F) {
	chunks := idOf("c")
	for _, v := range []Version{
		{Seq: 9, N: 1},
		{Seq: 900, N: 2, Prev: 9, Skip: 9, Op: 3, Live: true, Size: 500, Value: idOf("v"), Type: "a/b"},
		{Seq: 900, N: 2, Prev: 899, Live: true, Size: 500, Value: idOf("v"), Chunks: &chunks},
	} {
		value, err := appendVersion(nil, &v)
		must(f, err)
		f.Add([]byte("key"), v.Seq, value)
	}
	for _, p := range []Place{{ID: idOf("a"), Class: "main", Number: 3, Offset: 5, Size: 6}, {Class: "x", Chunk: true}} {
		f.Add(p.appendKey(nil), uint64(0), p.appendValue(nil))
	}
	f.Add(documentKey("policy", 7), uint64(0), []byte{})
	f.Add(seqKey(rowGrid, "", 256), uint64(0), []byte{0, 1})
	f.Fuzz(func(t *testing.T, key []byte, seq uint64, value []byte) {
		row := segment.Row{Key: key, Seq: seq, Value: value}
		if v, err := parseVersion(seq, value); err == nil {
			if again, err := appendVersion(nil, &v); err != nil || !bytes.Equal(again, value) {
				t.Fatalf("%x becomes %x, %v", value, again, err)
			}
		}
		if p, err := parsePlace(row); err == nil {
			if !bytes.Equal(p.appendKey(nil), key) || !bytes.Equal(p.appendValue(nil), value) {
				t.Fatalf("%x %x becomes %+v", key, value, p)
			}
		}
		_ = new(IDRow).parse(row)
		if len(key) > 0 {
			_ = parseLogRow(row)
		}
	})
}
