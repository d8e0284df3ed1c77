package proof

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"graven/merkle"
	"graven/record"
	"graven/state"
)

// A proof of a list or of a count (docs/format.md §10.3):
//
//	graven-proof 1
//	claim list|count
//	subject {"prefix":"…","limit":N}   record.RangeSubject
//	op C D …                       in key order: the op line of each live key that is listed,
//	leaf <b64>                     and every other leaf that is open
//	tree <b64>                     how they hang together; missing where nothing is open
//	space <hex> <b64> <n> <n>      the spaces whose line is not computed, in order
//	commit {"v":1,"kind":"commit",…}
//	next {"v":1,"kind":"commit",…} only about the past: the commit after it
//	then {"v":…}  after {"v":…}    only about a time: see Around
//	sum <16 hex>                   of the SHA-256 of all lines above
//	<b64>                          the hashes that lead from these records' leaves to the root
//	                               (an empty line)
//	<checkpoint>
//
// An op line is the first C bytes of the op line before it, what stands there,
// and that one's last D bytes.

// RangeProof is the content of such a proof. The slices are the maker's own;
// Encode only reads them.
type RangeProof struct {
	Subject  record.RangeSubject
	Counting bool // how many keys are live, not which
	// Ops are the op lines of the live keys that are listed, in key order; none if
	// counting.
	Ops [][]byte
	// State proves the range [Covered] under the commit's state root.
	State state.RangeProof
	// Commit is the line of the commit whose state it is, Next that of the commit
	// after it; nil if Commit is the record with index size-1.
	Commit, Next []byte
	// Around shows which record was the newest at the subject's time.
	Around
	// Path is the merkle.MultiProof of those records.
	Path []merkle.Hash
	// Checkpoint is the signed note.
	Checkpoint []byte
}

const (
	claimList  = "list"
	claimCount = "count"
)

// maxShared bounds what an op line may repeat of the one before it, so that no
// file unfolds to many times its length.
const maxShared = 255

// MaxListed is how many bytes of op lines a list may hold, unfolded: a file is not to
// take many times its length of memory.
const MaxListed = MaxFile

// wholeRange is the range that a subject names, whatever its limit.
func wholeRange(s record.RangeSubject) state.Range {
	key := func(b []byte) []byte { return append([]byte{s.Space}, b...) }
	r := state.Under(key(s.Prefix)).And(state.Range{From: key(s.From)})
	if len(s.To) > 0 {
		r = r.And(state.Range{From: key(nil), To: key(s.To)})
	}
	return r
}

// Covered is the range that a list proof shows whole: that of its subject, or if
// the limit was reached the part of it up to the last key that is listed. first
// and last are the least and the greatest of the live stored keys that are
// listed, live is their number.
func Covered(s record.RangeSubject, live uint64, first, last []byte) state.Range {
	r := wholeRange(s)
	switch {
	case s.Limit == 0 || live < s.Limit:
	case s.Reverse:
		r.From = first
	default:
		r.To = append(bytes.Clone(last), 0)
	}
	return r
}

func (p *RangeProof) aim() state.Aim {
	switch {
	case p.Counting:
		return state.Count
	case p.Subject.Compact:
		return state.Live
	}
	return state.All
}

// covered is Covered by the op lines that are there.
func (p *RangeProof) covered(keys [][]byte) state.Range {
	var first, last []byte
	if len(keys) > 0 {
		first, last = keys[0], keys[len(keys)-1]
	}
	return Covered(p.Subject, uint64(len(keys)), first, last)
}

// Encode returns the proof file. It fails with ErrInvalid if its parts do not fit
// together; whether the hashes lead to the root is the Verifier's to say.
func (p RangeProof) Encode() ([]byte, error) {
	out := append([]byte(keyHeader), "\nclaim "...)
	if p.Counting {
		out = append(out, claimCount...)
	} else {
		out = append(out, claimList...)
	}
	s := p.Subject
	switch {
	case p.Counting && (len(p.Ops) > 0 || s.Limit > 0 || s.Reverse || s.Compact):
		return nil, fmt.Errorf("%w range proof: a count has no op lines, limit and direction, and is not compact", ErrInvalid)
	case s.At > 0 && !s.Time.IsZero():
		return nil, fmt.Errorf("%w range proof: it is about seq %d and a time", ErrInvalid, s.At)
	case !p.Around.fits(s.Time):
		return nil, fmt.Errorf("%w range proof: the records around a time, wanted with one and only with one", ErrInvalid)
	}
	out = append(out, "\nsubject "...)
	out = append(out, s.Format()...)
	out, err := p.appendLeaves(out)
	if err != nil {
		return nil, fmt.Errorf("%w range proof: %w", ErrInvalid, err)
	}
	if len(p.State.Tree) > 0 {
		out = append(out, "\ntree "...)
		out = b64.AppendEncode(out, p.State.Tree)
	}
	for _, line := range p.State.Spaces {
		out = line.Append(append(out, "\nspace "...))
	}
	out = append(append(out, "\ncommit "...), p.Commit...)
	if p.Next != nil {
		out = append(append(out, "\nnext "...), p.Next...)
	}
	return appendEnd(append(p.Around.append(out), '\n'), p.Path, p.Checkpoint), nil
}

// appendEnd appends the sum over all lines of a file, and its tail.
func appendEnd(out []byte, path []merkle.Hash, checkpoint []byte) []byte {
	sum := sumOf(out)
	return appendTail(append(append(append(out, "sum "...), sum...), '\n'), path, checkpoint)
}

// appendLeaves appends the lines of the open leaves, each listed one by its op.
func (p *RangeProof) appendLeaves(out []byte) ([]byte, error) {
	keys := make([][]byte, len(p.Ops))
	leaves := make([]state.Leaf, len(p.Ops))
	for i, line := range p.Ops {
		_, leaf, err := opLeaf(line, nil)
		if err != nil {
			return nil, err
		}
		keys[i], leaves[i] = leaf.Key, leaf
	}
	r := p.covered(keys)
	var before []byte
	next := 0
	for i := range p.State.Leaves {
		l := &p.State.Leaves[i]
		if !l.Live || p.Counting || !r.Holds(l.Key) {
			out = append(out, "\nleaf "...)
			out = b64.AppendEncode(out, l.Bytes())
			continue
		}
		if next == len(p.Ops) {
			return nil, fmt.Errorf("no op line for the leaf of key %x", l.Key)
		}
		if o := &leaves[next]; !bytes.Equal(o.Key, l.Key) || o.Digest != l.Digest || o.N != l.N || !o.Live {
			return nil, fmt.Errorf("op line %d is not that of the leaf of key %x", next, l.Key)
		}
		out = append(out, "\nop "...)
		out = appendShared(out, before, p.Ops[next])
		before = p.Ops[next]
		next++
	}
	if next < len(p.Ops) {
		return nil, fmt.Errorf("%d op lines for %d leaves", len(p.Ops), next)
	}
	return out, nil
}

// shared is how much of a line is taken from the line before it: as many bytes of
// its beginning as are equal, then of its end, whole characters, at most maxShared
// each.
func shared(before, line []byte) (head, tail int) {
	most := min(len(before), len(line))
	for head < most && head < maxShared && before[head] == line[head] {
		head++
	}
	for head > 0 && head < len(line) && !utf8.RuneStart(line[head]) {
		head--
	}
	for tail < most-head && tail < maxShared && before[len(before)-1-tail] == line[len(line)-1-tail] {
		tail++
	}
	for tail > 0 && !utf8.RuneStart(line[len(line)-tail]) {
		tail--
	}
	return head, tail
}

func appendShared(out, before, line []byte) []byte {
	head, tail := shared(before, line)
	out = strconv.AppendUint(out, uint64(head), 10)
	out = strconv.AppendUint(append(out, ' '), uint64(tail), 10)
	return append(append(out, ' '), line[head:len(line)-tail]...)
}

// readShared is the line that text stands for.
func readShared(before, text []byte) ([]byte, bool) {
	first, rest, ok1 := bytes.Cut(text, []byte{' '})
	second, rest, ok2 := bytes.Cut(rest, []byte{' '})
	head, ok3 := parseDecimal(first, maxShared)
	tail, ok4 := parseDecimal(second, maxShared)
	if !ok1 || !ok2 || !ok3 || !ok4 || head+tail > uint64(len(before)) {
		return nil, false
	}
	return slices.Concat(before[:head], rest, before[uint64(len(before))-tail:]), true
}

// parseRangeProof parses a proof of a list or of a count. What it accepts,
// Encode spells the same way.
func parseRangeProof(file []byte) (p RangeProof, err error) {
	r := lineReader{rest: file}
	if err := r.header(keyHeader); err != nil {
		return p, err
	}
	claim, err := r.claim()
	if err != nil {
		return p, err
	}
	p.Counting = claim == claimCount
	text, ok := r.field("subject ")
	if !ok {
		return p, r.fail("behind it: wanted `subject {…}`")
	}
	if p.Subject, err = record.ParseRangeSubject(string(text)); err != nil {
		return p, r.fail("subject: %s", err)
	}
	if err := p.parseState(&r); err != nil {
		return p, err
	}
	if p.Commit, ok = r.field("commit "); !ok {
		return p, r.fail("behind it: wanted `commit {…}`")
	}
	p.Next, _ = r.field("next ")
	if p.Around, err = r.around(p.Subject.Time); err != nil {
		return p, err
	}
	if err := r.sum(file); err != nil {
		return p, err
	}
	if p.Path, p.Checkpoint, err = r.tail(4 * maxSiblings); err != nil {
		return p, err
	}
	if again, err := p.Encode(); err != nil || !bytes.Equal(again, file) {
		return p, fmt.Errorf("%w proof file: it is not spelled as its content is", ErrFormat)
	}
	return p, nil
}

// sum takes the sum over all lines of the file above it.
func (r *lineReader) sum(file []byte) error {
	covered := file[:len(file)-len(r.rest)]
	sum, ok := r.field("sum ")
	if !ok {
		return r.fail("behind it: wanted `sum <16 hex digits>`")
	}
	if want := sumOf(covered); string(sum) != want {
		return r.fail("sum %s, but that of the lines above is %s: the file was changed on the way", clip(sum), want)
	}
	return nil
}

// parseState reads the lines from `op` to `space`.
func (p *RangeProof) parseState(r *lineReader) error {
	var before []byte
	unfolded := 0
	for {
		if text, ok := r.field("op "); ok {
			line, ok := readShared(before, text)
			if !ok {
				return r.fail("wanted `op`, how many bytes the op line shares with the beginning and the end of the one before it, and the rest")
			}
			if unfolded += len(line); unfolded > MaxListed {
				return r.fail("the op lines unfold to more than %d bytes", MaxListed)
			}
			_, leaf, err := opLeaf(line, nil)
			if err != nil {
				return r.fail("%s", err)
			}
			p.Ops, before = append(p.Ops, line), line
			p.State.Leaves = append(p.State.Leaves, leaf)
		} else if text, ok := r.field("leaf "); ok {
			leaf, err := r.leaf(text)
			if err != nil {
				return err
			}
			p.State.Leaves = append(p.State.Leaves, leaf)
		} else {
			break
		}
	}
	if text, ok := r.field("tree "); ok {
		if p.State.Tree, ok = decodeB64(text); !ok || len(text) == 0 {
			return r.fail("`tree` is not canonical base64 of at least one byte")
		}
	}
	var err error
	p.State.Spaces, err = r.spaces()
	return err
}

// verifyRange verifies a proof of a list or of a count.
func (v *Verifier) verifyRange(file []byte) (*Result, error) {
	p, err := parseRangeProof(file)
	if err != nil {
		return nil, err
	}
	r, err := v.open(p.Checkpoint)
	if err != nil {
		return nil, err
	}
	at, records := p.Subject.At, recordSet{}
	if t := p.Subject.Time; !t.IsZero() {
		if at, err = p.Around.position(t, records); err != nil {
			return nil, err
		}
	}
	if r.commit, err = proveCommits(p.Commit, p.Next, at, records, p.Path, r.checkpoint); err != nil {
		return nil, err
	}
	r.hasCommit, r.past = true, p.Next != nil
	if r.claim, err = p.prove(r.commit, at); err != nil {
		return nil, err
	}
	return &r, nil
}

// prove checks the range under the commit's state root. The claim is about a
// position; 0: about now.
func (p *RangeProof) prove(commit Commit, at uint64) (Claim, error) {
	ops := make([]record.Op, len(p.Ops))
	keys := make([][]byte, len(p.Ops))
	for i, line := range p.Ops {
		op, _, err := opLeaf(line, nil)
		if err != nil {
			return nil, fmt.Errorf("%w proof file: %w", ErrFormat, err) // it was parsed a moment ago
		}
		ops[i], keys[i] = op, op.StoredKey()
	}
	if s := p.Subject; s.Limit > 0 && uint64(len(ops)) > s.Limit {
		return nil, fmt.Errorf("%w: %d keys are listed, the limit is %d", ErrProof, len(ops), s.Limit)
	}
	whole := wholeRange(p.Subject)
	for _, key := range keys {
		if !whole.Holds(key) {
			return nil, fmt.Errorf("%w: key %x is listed and not in the range", ErrProof, key)
		}
	}
	got, err := p.State.Verify(p.covered(keys), p.aim(), commit.State)
	if err != nil {
		return nil, fmt.Errorf("%w: state: %w", ErrProof, err)
	}
	for _, l := range p.State.Leaves {
		if l.Seq >= commit.Seq {
			return nil, newerLeaf(l, commit)
		}
	}
	if p.Counting {
		return Counted{Subject: p.Subject, At: at, Live: got.Live}, nil
	}
	list := Listed{Subject: p.Subject, At: at, More: p.Subject.Limit > 0 && uint64(len(ops)) == p.Subject.Limit}
	for _, l := range got.Leaves {
		if l.Seq >= commit.Seq {
			return nil, newerLeaf(l, commit)
		}
		if !l.Live {
			continue
		}
		i := len(list.Entries)
		if i == len(ops) || !bytes.Equal(keys[i], l.Key) {
			return nil, fmt.Errorf("%w: key %x is live and not listed", ErrProof, l.Key)
		}
		if err := checkLinks(ops[i], l); err != nil {
			return nil, err
		}
		list.Entries = append(list.Entries, present(&ops[i], l, p.Ops[i]))
	}
	if len(list.Entries) != len(ops) {
		return nil, fmt.Errorf("%w: %d keys are listed, %d are there", ErrProof, len(ops), len(list.Entries))
	}
	if p.Subject.Reverse {
		for i, j := 0, len(list.Entries)-1; i < j; i, j = i+1, j-1 {
			list.Entries[i], list.Entries[j] = list.Entries[j], list.Entries[i]
		}
	}
	return list, nil
}

func newerLeaf(l state.Leaf, commit Commit) error {
	return fmt.Errorf("%w: the leaf of key %x is of record %d, the commit is record %d", ErrProof, l.Key, l.Seq, commit.Seq)
}
