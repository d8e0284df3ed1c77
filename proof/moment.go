package proof

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"graven/merkle"
	"graven/record"
)

// A claim about a time (docs/format.md §10.8) is one about a position, which two
// records side by side show:
//
//	then {"v":…}                   record S, of a time at or before the claim's
//	after {"v":…}                  record S+1, of a later one
//
// Only their frames are looked at: they may be of any kind and version.

// Around are the two records; both nil of a claim that names no time.
type Around struct {
	Then, After []byte
}

// fits reports whether the lines are there exactly if a claim names a time.
func (a Around) fits(t time.Time) bool {
	return (a.Then != nil) == !t.IsZero() && (a.After != nil) == !t.IsZero()
}

// append appends the lines, each with a line feed before it.
func (a Around) append(out []byte) []byte {
	if a.Then != nil {
		out = append(append(out, "\nthen "...), a.Then...)
	}
	if a.After != nil {
		out = append(append(out, "\nafter "...), a.After...)
	}
	return out
}

// around takes the two lines, of a claim that names a time.
func (r *lineReader) around(t time.Time) (a Around, err error) {
	if t.IsZero() {
		return a, nil
	}
	var ok bool
	if a.Then, ok = r.field("then "); !ok {
		return a, r.fail("behind it: wanted `then {…}`")
	}
	if a.After, ok = r.field("after "); !ok {
		return a, r.fail("behind it: wanted `after {…}`")
	}
	return a, nil
}

// position is the seq of the record that was the newest at a time, if the lines
// are those of the log: the caller proves it of the records.
func (a Around) position(t time.Time, records recordSet) (uint64, error) {
	then, err := record.ParseFrame(a.Then)
	if err != nil {
		return 0, fmt.Errorf("%w proof file: then: %w", ErrFormat, err)
	}
	after, err := record.ParseFrame(a.After)
	if err != nil {
		return 0, fmt.Errorf("%w proof file: after: %w", ErrFormat, err)
	}
	switch at := t.UTC().Format(time.RFC3339Nano); {
	case after.Seq != then.Seq+1:
		return 0, fmt.Errorf("%w: record %d does not stand right behind record %d", ErrProof, after.Seq, then.Seq)
	case then.Time.After(t):
		return 0, fmt.Errorf("%w: the claim is about %s, record %d came later", ErrProof, at, then.Seq)
	case !after.Time.After(t):
		return 0, fmt.Errorf("%w: the claim is about %s, record %d came no later", ErrProof, at, after.Seq)
	case then.Seq == 0:
		return 0, fmt.Errorf("%w: the claim is about %s, when the log held its first record alone", ErrProof, at)
	}
	if err := records.add(then.Seq, a.Then); err != nil {
		return 0, err
	}
	return then.Seq, records.add(after.Seq, a.After)
}

// recordSet is the records of a file that one multiproof is over, by the seq that
// each says it has. One that the file holds twice is one record.
type recordSet map[uint64][]byte

func (s recordSet) add(seq uint64, line []byte) error {
	if have, ok := s[seq]; ok && !bytes.Equal(have, line) {
		return fmt.Errorf("%w: two lines are both record %d", ErrProof, seq)
	}
	s[seq] = line
	return nil
}

// prove checks that the records are in the log. If the last of them is the last
// that the checkpoint covers, before is the root of all records before it.
func (s recordSet) prove(path []merkle.Hash, c Checkpoint) (before merkle.Hash, err error) {
	indices := slices.Sorted(maps.Keys(s))
	leaves := make([]merkle.Hash, len(indices))
	for i, seq := range indices {
		leaves[i] = merkle.LeafHash(s[seq])
	}
	root, before, err := merkle.MultiRoot(indices, c.Size, leaves, path)
	if err != nil {
		return before, fmt.Errorf("%w: records %d: %w", ErrProof, indices, err)
	}
	if root != c.Root {
		return before, fmt.Errorf("%w: records %d are not in the log with root %s at size %d", ErrProof, indices, c.Root, c.Size)
	}
	return before, nil
}
