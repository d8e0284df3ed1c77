package proof

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"graven/merkle"
	"graven/record"
)

// MaxFile is the greatest length of a proof file in bytes; one of a record or of
// a single key has at most maxKeyFile.
const (
	MaxFile    = 64 << 20
	maxKeyFile = 1 << 20
)

// First lines of the two kinds of proof file.
const (
	recordHeader = "c2sp.org/tlog-proof@v1"
	keyHeader    = "graven-proof 1"
)

// maxSiblings bounds the siblings of a leaf: no tree of at most 2^63-1 leaves has
// more.
const maxSiblings = 63

// A record proof is a C2SP tlog-proof whose `extra` is the record's line:
//
//	c2sp.org/tlog-proof@v1
//	extra <b64 of the record's bytes>
//	index <seq>
//	<b64>                          siblings, from the leaf up, none at size 1
//	                               (an empty line)
//	<checkpoint>                   a signed note
type recordProof struct {
	record     []byte
	index      uint64
	path       []merkle.Hash
	checkpoint []byte
}

// EncodeRecordProof returns the proof file for the record (its line without the
// line feed) at index. path has its siblings from the leaf up, checkpoint is the
// signed note that they lead to. Nothing is checked; a Verifier does that.
func EncodeRecordProof(record []byte, index uint64, path []merkle.Hash, checkpoint []byte) []byte {
	out := append([]byte(recordHeader), "\nextra "...)
	out = b64.AppendEncode(out, record)
	out = append(out, "\nindex "...)
	out = strconv.AppendUint(out, index, 10)
	out = append(out, '\n')
	return appendTail(out, path, checkpoint)
}

// appendTail appends what both kinds of proof file end with.
func appendTail(out []byte, path []merkle.Hash, checkpoint []byte) []byte {
	for _, h := range path {
		out = append(h.Append(out), '\n')
	}
	out = append(out, '\n')
	return append(out, checkpoint...)
}

func parseRecordProof(file []byte) (recordProof, error) {
	r := lineReader{rest: file}
	var p recordProof
	if err := r.header(recordHeader); err != nil {
		return p, err
	}
	extra, ok := r.field("extra ")
	if !ok {
		return p, r.fail("no `extra` line: the proof does not carry the record")
	}
	if len(extra) > b64.EncodedLen(record.MaxLine) {
		return p, r.fail("`extra` has %d characters, a record has at most %d bytes", len(extra), record.MaxLine)
	}
	if p.record, ok = decodeB64(extra); !ok {
		return p, r.fail("`extra` is not canonical base64")
	}
	index, ok := r.field("index ")
	if !ok {
		return p, r.fail("wanted `index <number>`")
	}
	if p.index, ok = parseDecimal(index, MaxSize); !ok {
		return p, r.fail("index %s, wanted a decimal number", clip(index))
	}
	var err error
	p.path, p.checkpoint, err = r.tail(maxSiblings)
	return p, err
}

// lineReader reads a proof file line by line. Every line ends with a line feed.
type lineReader struct {
	rest []byte
	line int // number of lines read
}

// fail returns an error that names the last line read.
func (r *lineReader) fail(format string, args ...any) error {
	return fmt.Errorf("%w proof file: line %d: %s", ErrFormat, r.line, fmt.Sprintf(format, args...))
}

// header takes the first line, which must be wanted.
func (r *lineReader) header(wanted string) error {
	line, rest, ok := cutLine(r.rest)
	r.line++
	if !ok || string(line) != wanted {
		return r.fail("%s, wanted %q", clip(line), wanted)
	}
	r.rest = rest
	return nil
}

// field takes the next line if it begins with name and returns what follows.
func (r *lineReader) field(name string) ([]byte, bool) {
	line, rest, ok := cutLine(r.rest)
	if !ok || !bytes.HasPrefix(line, []byte(name)) {
		return nil, false
	}
	r.rest, r.line = rest, r.line+1
	return line[len(name):], true
}

// tail takes at most so many siblings, the empty line, and the checkpoint behind
// it.
func (r *lineReader) tail(most int) (path []merkle.Hash, checkpoint []byte, err error) {
	for {
		line, rest, ok := cutLine(r.rest)
		r.rest, r.line = rest, r.line+1
		switch {
		case !ok:
			return nil, nil, r.fail("the file ends before the empty line and the checkpoint")
		case len(line) == 0:
			return path, r.rest, nil
		case len(path) == most:
			return nil, nil, r.fail("more than %d siblings", most)
		}
		h, err := merkle.ParseHash(string(line))
		if err != nil {
			return nil, nil, r.fail("%s, wanted a sibling's hash or the empty line", clip(line))
		}
		path = append(path, h)
	}
}

// prove checks that the record is the leaf at its index and is in its place. The
// checkpoint is verified already.
func (p recordProof) prove(c Checkpoint) (RecordProven, error) {
	if err := checkInclusion("record", p.record, p.index, p.path, c); err != nil {
		return RecordProven{}, err
	}
	rec, err := record.Parse(p.record)
	if err != nil {
		return RecordProven{}, fmt.Errorf("%w %d of %q: %w", ErrDamaged, p.index, c.Origin, err)
	}
	if rec.Seq != p.index {
		return RecordProven{}, fmt.Errorf("%w %d of %q: it says that it is record %d", ErrDamaged, p.index, c.Origin, rec.Seq)
	}
	return RecordProven{Seq: p.index, Line: p.record, Record: rec}, nil
}

// checkInclusion checks that line is the leaf at index under the checkpoint.
func checkInclusion(what string, line []byte, index uint64, path []merkle.Hash, c Checkpoint) error {
	if index >= c.Size {
		return fmt.Errorf("%w: %s %d, but the checkpoint covers %d records", ErrProof, what, index, c.Size)
	}
	if want := merkle.InclusionLen(index, c.Size); len(path) != want {
		return fmt.Errorf("%w: %d siblings for %s %d of %d, wanted %d", ErrProof, len(path), what, index, c.Size, want)
	}
	err := merkle.VerifyInclusion(index, c.Size, merkle.LeafHash(line), c.Root, path)
	if errors.Is(err, merkle.ErrRoot) {
		return fmt.Errorf("%w: %s %d is not in the log with root %s at size %d: %w", ErrProof, what, index, c.Root, c.Size, err)
	}
	if err != nil {
		return fmt.Errorf("%w: %s %d: %w", ErrProof, what, index, err)
	}
	return nil
}
