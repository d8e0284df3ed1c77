package record

import (
	"bytes"
	"fmt"
	"strconv"

	"graven/merkle"
)

// Wide stands for the ops of a transaction that lie in an artifact: op lines,
// each with a line feed.
type Wide struct {
	// Lines is the artifact, of class `log`.
	Lines ID
	// Size is its length in bytes, at least 1.
	Size uint64
	// Count is the number of op lines, 1 to [MaxOps].
	Count uint64
	// Root is the RFC 6962 root over the op lines without their line feeds.
	Root merkle.Hash
}

// NewWide returns what a transaction says about an artifact of op lines.
func NewWide(artifact []byte) (*Wide, error) {
	lines, err := WideOps(artifact)
	if err != nil {
		return nil, err
	}
	leaves := make([]merkle.Hash, len(lines))
	for i, line := range lines {
		leaves[i] = OpDigest(line)
	}
	return &Wide{
		Lines: IDOf(artifact),
		Size:  uint64(len(artifact)),
		Count: uint64(len(lines)),
		Root:  merkle.RootOf(leaves),
	}, nil
}

// Open reads the ops from the artifact's bytes after it has checked all that w
// says about them; the second result are their lines, which refer to artifact.
// Errors wrap [ErrMismatch] or what [ParseOp] and [VerifyOps] return.
func (w *Wide) Open(artifact []byte) ([]Op, [][]byte, error) {
	got, err := NewWide(artifact)
	if err != nil {
		return nil, nil, err
	}
	if *got != *w {
		return nil, nil, fmt.Errorf("%w: op lines %s of %d bytes, %d lines, root %s; wanted %s of %d bytes, %d lines, root %s",
			ErrMismatch, got.Lines, got.Size, got.Count, got.Root, w.Lines, w.Size, w.Count, w.Root)
	}
	lines, err := WideOps(artifact)
	if err != nil {
		return nil, nil, err
	}
	ops := make([]Op, len(lines))
	for i, line := range lines {
		if ops[i], err = ParseOp(line); err != nil {
			return nil, nil, fmt.Errorf("op line %d: %w", i, err)
		}
	}
	if err := VerifyOps(ops); err != nil {
		return nil, nil, err
	}
	return ops, lines, nil
}

// WideOps cuts an artifact into its op lines, 1 to [MaxOps], which refer to
// it. It checks how each begins and ends; [ParseOp] reads one.
func WideOps(artifact []byte) ([][]byte, error) {
	count := bytes.Count(artifact, []byte{'\n'})
	if len(artifact) == 0 || artifact[len(artifact)-1] != '\n' || count > MaxOps {
		return nil, fmt.Errorf("%w: op lines of %d bytes with %d line feeds, wanted 1 to 100000 lines with a line feed each",
			ErrSyntax, len(artifact), count)
	}
	lines := make([][]byte, 0, count)
	for at := 0; at < len(artifact); {
		n := bytes.IndexByte(artifact[at:], '\n')
		line := artifact[at : at+n : at+n]
		if !framedOp(line) {
			return nil, fmt.Errorf("%w: byte %d: wanted an op line, got %s", ErrSyntax, at, short(line))
		}
		lines = append(lines, line)
		at += n + 1
	}
	return lines, nil
}

// InlineOps cuts the op lines out of the line of an inline transaction; they
// refer to it. The line must be one that [Parse] accepts: a raw quotation mark
// is never part of a string, so two literals tell where the ops are. Other
// lines, and those of wide transactions, give an error that wraps [ErrSyntax].
func InlineOps(line []byte) ([][]byte, error) {
	const before, between, after = `,"ops":[`, `},{"op":"`, `]}`
	start := bytes.Index(line, []byte(before))
	if start < 0 || !bytes.HasSuffix(line, []byte(after)) {
		return nil, fmt.Errorf("%w: %s has no ops", ErrSyntax, short(line))
	}
	rest := line[start+len(before) : len(line)-len(after)]
	lines := make([][]byte, 0, 1+bytes.Count(rest, []byte(between)))
	for {
		n := bytes.Index(rest, []byte(between))
		if n < 0 {
			break
		}
		lines = append(lines, rest[:n+1:n+1])
		rest = rest[n+2:]
	}
	lines = append(lines, rest)
	for i, op := range lines {
		if !framedOp(op) {
			return nil, fmt.Errorf("%w: op %d is %s", ErrSyntax, i, short(op))
		}
	}
	return lines, nil
}

// framedOp reports whether a line begins and ends as op lines do.
func framedOp(line []byte) bool {
	const before = `{"op":"`
	return len(line) > len(before) && string(line[:len(before)]) == before && line[len(line)-1] == '}'
}

func (w *Wide) check() *FieldError {
	if e := checkOne("size", w.Size); e != nil {
		return e
	}
	if w.Count < 1 || w.Count > MaxOps {
		return invalidInt("count", w.Count, "1 to "+strconv.Itoa(MaxOps))
	}
	return nil
}

func (w *Wide) append(dst []byte) []byte {
	dst = appendID(dst, `,"wide":{"lines":`, &w.Lines)
	dst = appendInt(dst, `,"size":`, w.Size)
	dst = appendInt(dst, `,"count":`, w.Count)
	dst = appendHash(dst, `,"root":`, &w.Root)
	return append(dst, '}')
}

func (p *scanner) wide() *Wide {
	at := p.i
	w := new(Wide)
	p.id(`{"lines":`, &w.Lines)
	w.Size = p.int(`,"size":`)
	w.Count = p.int(`,"count":`)
	p.hash(`,"root":`, &w.Root)
	p.lit("}")
	p.refuse(at, w.check().in("wide"))
	return w
}
