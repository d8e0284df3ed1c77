package proof

import (
	"bytes"
	"fmt"
	"strings"

	"graven/merkle"
	"graven/record"
)

// A proof of one op of a transaction (docs/format.md §10.7):
//
//	graven-proof 1
//	claim op
//	subject {"seq":S,"op":I}
//	record {"v":1,"kind":"tx",…}
//	wide I {"op":…}                of a wide transaction: the op line, and
//	siblings <b64>                 its siblings among the op lines, from the leaf up
//	sum <16 hex>
//	<b64>                          siblings of the record's leaf, from the leaf up
//	                               (an empty line)
//	<checkpoint>

// OpProof is the content of such a proof.
type OpProof struct {
	Number     uint64 // of the op, from 0
	Evidence   Evidence
	Path       []merkle.Hash
	Checkpoint []byte
}

const claimOp = "op"

// OpProven: op Number of the transaction in record Seq is this.
type OpProven struct {
	Seq, Number uint64
	Op          record.Op
	// Line is the op line, Record the transaction's.
	Line   []byte
	Record *record.Record
}

func (OpProven) isClaim() {}

func opSubject(seq, number uint64) string { return fmt.Sprintf(`{"seq":%d,"op":%d}`, seq, number) }

// Encode returns the proof file of an op of the record at seq.
func (p OpProof) Encode(seq uint64) []byte {
	out := fmt.Appendf(nil, "%s\nclaim %s\nsubject %s", keyHeader, claimOp, opSubject(seq, p.Number))
	return appendEnd(append(p.Evidence.append(out), '\n'), p.Path, p.Checkpoint)
}

func parseOpProof(file []byte) (p OpProof, seq uint64, err error) {
	r := lineReader{rest: file}
	if err := r.header(keyHeader); err != nil {
		return p, 0, err
	}
	if _, err := r.claim(); err != nil {
		return p, 0, err
	}
	text, _ := r.field("subject ")
	inner, isObject := strings.CutSuffix(strings.TrimPrefix(string(text), `{"seq":`), "}")
	first, second, isPair := strings.Cut(inner, `,"op":`)
	seq, ok1 := parseDecimal([]byte(first), MaxSize)
	number, ok2 := parseDecimal([]byte(second), record.MaxOps)
	if !isObject || !isPair || !ok1 || !ok2 {
		return p, 0, r.fail("subject %s, wanted {\"seq\":S,\"op\":I}", clip(text))
	}
	p.Number = number
	var ok bool
	if p.Evidence, ok, err = r.evidence(); err != nil || !ok {
		if err == nil {
			err = r.fail("behind it: wanted `record {…}`")
		}
		return p, 0, err
	}
	if err := r.sum(file); err != nil {
		return p, 0, err
	}
	if p.Path, p.Checkpoint, err = r.tail(maxSiblings); err != nil {
		return p, 0, err
	}
	if !bytes.Equal(p.Encode(seq), file) {
		return p, 0, fmt.Errorf("%w proof file: it is not spelled as its content is", ErrFormat)
	}
	return p, seq, nil
}

func (v *Verifier) verifyOp(file []byte) (*Result, error) {
	p, seq, err := parseOpProof(file)
	if err != nil {
		return nil, err
	}
	r, err := v.open(p.Checkpoint)
	if err != nil {
		return nil, err
	}
	if err := checkInclusion("record", p.Evidence.Record, seq, p.Path, r.checkpoint); err != nil {
		return nil, err
	}
	rec, tx, err := p.Evidence.transaction()
	if err != nil {
		return nil, err
	}
	if rec.Seq != seq {
		return nil, fmt.Errorf("%w %d of %q: it says that it is record %d", ErrDamaged, seq, r.checkpoint.Origin, rec.Seq)
	}
	line := p.Evidence.Op
	if tx.Wide == nil {
		lines, err := record.InlineOps(p.Evidence.Record)
		if err != nil {
			return nil, fmt.Errorf("%w proof file: record %d: %w", ErrFormat, seq, err)
		}
		if p.Number >= uint64(len(lines)) {
			return nil, fmt.Errorf("%w: op %d, but record %d has %d", ErrProof, p.Number, seq, len(lines))
		}
		line = lines[p.Number]
	} else if p.Evidence.Number != p.Number {
		return nil, fmt.Errorf("%w: op %d is shown, the claim is about op %d", ErrProof, p.Evidence.Number, p.Number)
	}
	op, err := record.ParseOp(line)
	if err != nil {
		return nil, fmt.Errorf("%w %d: op %d: %w", ErrDamaged, seq, p.Number, err)
	}
	r.claim = OpProven{Seq: seq, Number: p.Number, Op: op, Line: line, Record: rec}
	return &r, nil
}
