package record

import (
	"bytes"
	"fmt"
	"time"
)

// Record is one line of the log.
type Record struct {
	// V is the version of the kind; [Version] for every kind known here.
	V uint64
	// Kind names the kind. Invariant: it is the kind of Body.
	Kind string
	// Seq is the position in the log, 0 to [MaxInt]. Only a genesis has 0.
	Seq uint64
	// Time lies in the years 1 to 9999 of UTC. Only the instant counts.
	Time time.Time
	// Body holds the kind's fields.
	Body Body
}

// Body is the part of a record that depends on its kind: a [*Genesis], [*Tx],
// [*Commit], [*Block], [*Segment], [*Snapshot], [*Document] or [*Unknown].
type Body interface {
	// kindOf returns the record's kind.
	kindOf() string
	// check returns the first broken rule of a body at position seq.
	check(seq uint64) *FieldError
	// appendFields appends the fields, each with a comma before it.
	appendFields(dst []byte) []byte
}

// Unknown is a line whose kind or version is not known here. It is hashed,
// stored, mirrored and proven like any other.
type Unknown struct {
	// Line is the whole line. Encoding copies it; nothing makes a new one.
	Line []byte
}

// New returns a record of version 1 for a body that is not an [*Unknown].
func New(seq uint64, at time.Time, body Body) *Record {
	return &Record{V: Version, Kind: body.kindOf(), Seq: seq, Time: at, Body: body}
}

// Frame returns what the record shares with all others.
func (r *Record) Frame() Frame { return Frame{V: r.V, Kind: r.Kind, Seq: r.Seq, Time: r.Time} }

// Append appends the record's line, without a line feed, to dst. If the record
// breaks a rule it returns dst as it was and an error that wraps [ErrInvalid].
func (r *Record) Append(dst []byte) ([]byte, error) {
	if u, ok := r.Body.(*Unknown); ok {
		if err := r.checkUnknown(u); err != nil {
			return dst, err
		}
		return append(dst, u.Line...), nil
	}
	if e := r.check(); e != nil {
		return dst, e
	}
	start := len(dst)
	dst = appendFrame(dst, r.V, r.Kind, r.Seq, r.Time)
	dst = r.Body.appendFields(dst)
	return finishLine(dst, start)
}

// finishLine closes a line that began at start, unless it is too long.
func finishLine(dst []byte, start int) ([]byte, error) {
	dst = append(dst, '}')
	if n := len(dst) - start; n > MaxLine {
		return dst[:start], invalidInt("the line's length", uint64(n), "at most 65535 bytes")
	}
	return dst, nil
}

func (r *Record) check() *FieldError {
	if r.Body == nil {
		return invalid("body", "nil", "the fields of a kind")
	}
	if kind := r.Body.kindOf(); r.Kind != kind {
		return invalidText("kind", r.Kind, short(kind)+", the kind of the body")
	}
	if r.V != Version {
		return invalidInt("v", r.V, "1")
	}
	if e := checkPlace(r.Kind, r.Seq, r.Time); e != nil {
		return e
	}
	return r.Body.check(r.Seq)
}

// checkPlace checks seq and time. Position 0 is genesis and nothing else is.
func checkPlace(kind string, seq uint64, at time.Time) *FieldError {
	switch {
	case seq > MaxInt:
		return invalidInt("seq", seq, limitInt)
	case kind == KindGenesis && seq != 0:
		return invalidInt("seq", seq, "0 for a genesis")
	case kind != KindGenesis && seq == 0:
		return invalidInt("seq", seq, "at least 1 for any kind but genesis")
	case !inRange(at):
		return invalid("time", at.UTC().Format(time.RFC3339Nano), "the years 0001 to 9999")
	}
	return nil
}

// Parse reads one line, without its line feed, and accepts exactly what
// [Record.Append] writes. A line with a valid frame whose kind or version is
// not known gives an [*Unknown] body and no error; see [Unsupported]. Any
// other failure wraps [ErrSyntax] and gives the offset, and wraps [ErrInvalid]
// too where a value breaks a rule. The record does not refer to line.
func Parse(line []byte) (*Record, error) {
	p := scanner{b: line}
	f := p.frame()
	if p.err != nil {
		return nil, p.err
	}
	r := &Record{V: f.V, Kind: f.Kind, Seq: f.Seq, Time: f.Time}
	if !known(f.Kind, f.V) {
		p.rest()
		r.Body = &Unknown{Line: bytes.Clone(line)}
		return orNil(r, p.err)
	}
	p.refuse(0, checkPlace(f.Kind, f.Seq, f.Time))
	r.Body = p.body(f)
	p.lit("}")
	return orNil(r, p.end())
}

func orNil(r *Record, err error) (*Record, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// body reads the fields of a known kind.
func (p *scanner) body(f Frame) Body {
	switch f.Kind {
	case KindTx:
		return p.tx(f.Seq)
	case KindCommit:
		return p.commit()
	case KindBlock:
		return p.block()
	case KindGenesis:
		return p.genesis()
	case KindSegment:
		return p.segment()
	case KindSnapshot:
		return p.snapshot()
	}
	return p.document(f.Kind)
}

// knownKind reports whether version 1 of the kind is known here.
func knownKind(kind string) bool {
	switch kind {
	case KindGenesis, KindTx, KindCommit, KindBlock, KindSegment, KindSnapshot, KindAuthority, KindPolicy, KindWitness:
		return true
	}
	return false
}

func known(kind string, v uint64) bool { return v == Version && knownKind(kind) }

// Unsupported returns nil for a record whose meaning is known. For an
// [*Unknown] it returns an error that wraps [ErrUnknownVersion] if another
// version of the kind is known, or [ErrUnknownKind], and names the feature.
// Such a record is inert unless its feature is among the vault's.
func Unsupported(r *Record) error {
	if _, ok := r.Body.(*Unknown); !ok {
		return nil
	}
	if knownKind(r.Kind) {
		return fmt.Errorf("%w: record %d is %s, wanted %s", ErrUnknownVersion,
			r.Seq, Feature(r.Kind, r.V), Feature(r.Kind, Version))
	}
	return fmt.Errorf("%w: record %d is %s", ErrUnknownKind, r.Seq, Feature(r.Kind, r.V))
}

// checkUnknown checks that the line is one of an unknown kind or version, and
// that the record says the same as its frame.
func (r *Record) checkUnknown(u *Unknown) error {
	f, err := ParseFrame(u.Line)
	if err != nil {
		return fmt.Errorf("%w: %w", invalidText("line", u.Line, "a line with a valid frame"), err)
	}
	if known(f.Kind, f.V) {
		return invalidText("line", u.Line, "an unknown kind or version, not "+Feature(f.Kind, f.V))
	}
	if f.V != r.V || f.Kind != r.Kind || f.Seq != r.Seq || !f.Time.Equal(r.Time) {
		return invalidText("line", u.Line, "the frame of the record")
	}
	return nil
}

func (*Unknown) kindOf() string                 { return "" }
func (*Unknown) check(uint64) *FieldError       { return nil }
func (*Unknown) appendFields(dst []byte) []byte { return dst }
