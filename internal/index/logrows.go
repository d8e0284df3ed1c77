package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"graven/internal/segment"
	"graven/record"
)

// Rows of `log` have seq 0 and a key that begins with what they are about:
//
//	p  seq, 8 bytes big-endian      the log file's first seq and the offset in it, varints
//	b  seq                          nothing: the record is of kind block
//	d  kind, a zero byte, seq       nothing: the record is of that kind, in version 1
//	s  req, 32 bytes                seq, a varint, of the transaction that spent it
//	f  a feature, "kind/version"    seq, a varint, of its first record in the segment
//	e  the end of a run, a class    number, count and total, varints: how far its blocks had come
const (
	rowGrid     = 'p'
	rowBlock    = 'b'
	rowDocument = 'd'
	rowSigned   = 's'
	rowFeature  = 'f'
	rowEntered  = 'e'
)

// GridStep is how far the records are apart whose places are in the index.
const GridStep = 256

// Grid is the place of a record in the log: its seq is a multiple of GridStep.
type Grid struct {
	Seq    uint64
	File   uint64 // the first seq of the log file
	Offset int64  // in that file, in bytes
}

// Document is a record of version 1 of a kind other than tx, commit and block:
// those that are about something outside of the log (authority, policy, witness,
// snapshot, segment), and genesis and unknown ones, which nobody asks for.
type Document struct {
	Kind string
	Seq  uint64
}

// Signed is a transaction with an actor's signature, by its request.
type Signed struct {
	Req record.ID
	Seq uint64
}

// Feature is a kind and version, as `tx/1`, and the first record of it.
type Feature struct {
	Name string
	Seq  uint64
}

// Entered is how far the blocks of a class had come when a run ended: the newest
// artifact is that with a count in a block with a number, and the class has so many
// in total. With an empty class the total is that of the chunk blocks.
type Entered struct {
	Class                string
	Number, Count, Total uint64
}

// seqKey is a key with a seq at its end.
func seqKey(kind byte, name string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{kind}, name...), seq)
}

func documentKey(kind string, seq uint64) []byte { return seqKey(rowDocument, kind+"\x00", seq) }

func signedKey(req record.ID) []byte { return append([]byte{rowSigned}, req[:]...) }

// logRows makes the rows of `log`. They are not in order.
func (run *Run) logRows() ([]segment.Row, error) {
	rows := make([]segment.Row, 0, len(run.Grid)+len(run.Blocks)+len(run.Documents)+len(run.Signed)+len(run.Features))
	var outside error
	add := func(seq uint64, key, value []byte) {
		if seq < run.From || seq >= run.To {
			outside = fmt.Errorf("index: run %d: record %d is not in [%d, %d)", run.Number, seq, run.From, run.To)
		}
		rows = append(rows, segment.Row{Key: key, Value: value})
	}
	for _, g := range run.Grid {
		if g.Seq%GridStep != 0 || g.Offset < 0 || g.File > g.Seq {
			return nil, fmt.Errorf("index: run %d: %+v is not of the grid", run.Number, g)
		}
		value := binary.AppendUvarint(binary.AppendUvarint(nil, g.File), uint64(g.Offset))
		add(g.Seq, seqKey(rowGrid, "", g.Seq), value)
	}
	for _, seq := range run.Blocks {
		add(seq, seqKey(rowBlock, "", seq), nil)
	}
	for _, d := range run.Documents {
		add(d.Seq, documentKey(d.Kind, d.Seq), nil)
	}
	for _, s := range run.Signed {
		add(s.Seq, signedKey(s.Req), binary.AppendUvarint(nil, s.Seq))
	}
	for _, f := range run.Features {
		add(f.Seq, append([]byte{rowFeature}, f.Name...), binary.AppendUvarint(nil, f.Seq))
	}
	for _, e := range run.Entered {
		value := binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, e.Number), e.Count), e.Total)
		rows = append(rows, segment.Row{Key: append(seqKey(rowEntered, "", run.To), e.Class...), Value: value})
	}
	return rows, outside
}

func parseEntered(r segment.Row) (Entered, error) {
	d := decoder{rest: r.Value}
	e := Entered{Number: d.uvarint(), Count: d.uvarint(), Total: d.uvarint()}
	if len(r.Key) < 9 || d.bad || len(d.rest) > 0 {
		return Entered{}, errors.New("how far the blocks of a class had come")
	}
	e.Class = string(r.Key[9:])
	return e, nil
}

// seqOfKey is the seq at the end of a key with so many bytes before it.
func seqOfKey(key []byte, before int) (uint64, error) {
	if len(key) != before+8 {
		return 0, fmt.Errorf("a key of %d bytes", before+8)
	}
	return binary.BigEndian.Uint64(key[before:]), nil
}

func parseGrid(r segment.Row) (Grid, error) {
	seq, err := seqOfKey(r.Key, 1)
	d := decoder{rest: r.Value}
	g := Grid{Seq: seq, File: d.uvarint(), Offset: int64(d.uvarint())}
	if err != nil || d.bad || len(d.rest) > 0 || g.Offset < 0 {
		return Grid{}, errors.New("the place of a record")
	}
	return g, nil
}

// parseSeq is the value that is a seq.
func parseSeq(value []byte) (uint64, error) {
	d := decoder{rest: value}
	seq := d.uvarint()
	if d.bad || len(d.rest) > 0 {
		return 0, errors.New("a seq")
	}
	return seq, nil
}

// parseLogRow returns what a row of `log` should be, if it is not.
func parseLogRow(r segment.Row) error {
	var err error
	switch r.Key[0] {
	case rowGrid:
		_, err = parseGrid(r)
	case rowBlock:
		_, err = seqOfKey(r.Key, 1)
	case rowDocument:
		_, err = seqOfKey(r.Key, bytes.IndexByte(r.Key, 0)+1)
	case rowSigned, rowFeature:
		_, err = parseSeq(r.Value)
	case rowEntered:
		_, err = parseEntered(r)
	default:
		err = errors.New("a row that begins with p, b, d, s, f or e")
	}
	return err
}
