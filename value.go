package graven

import (
	"bytes"
	"fmt"
	"io"

	"graven/internal/block"
	"graven/merkle"
	"graven/record"
)

// Value is a stored value, ready to be read. Every byte that it hands out has
// been hashed again and belongs to the id that the ledger names.
type Value struct {
	size   uint64
	whole  []byte       // a value that lies in one artifact
	chunks *block.Value // a chunked one
}

// Value opens the value of an entry.
func (w *View) Value(e Entry) (*Value, error) {
	if !e.Live {
		return nil, fmt.Errorf("key %s: %w: record %d deletes it", keyText(e.Key), ErrNotFound, e.Seq)
	}
	return w.vault.value(e.Value, e.Size, e.Chunks)
}

// ValueOf opens the value that an op carries, of a put or an append.
func (w *View) ValueOf(op *record.Op) (*Value, error) {
	if !op.HasValue() {
		return nil, fmt.Errorf("op %s: %w: it carries no value", op.Kind, ErrNotFound)
	}
	return w.vault.value(op.Value, op.Size, op.Chunks)
}

func (v *Vault) value(id record.ID, size uint64, chunks *record.ID) (*Value, error) {
	if chunks != nil {
		c, err := v.blocks.OpenValue(*chunks, id, size)
		if err != nil {
			return nil, v.damaged(err)
		}
		return &Value{size: size, chunks: c}, nil
	}
	b, err := v.artifact(id)
	if err != nil {
		return nil, err
	}
	if uint64(len(b)) != size {
		return nil, fmt.Errorf("%w: value %v has %d bytes, its record says %d", ErrDamaged, id, len(b), size)
	}
	return &Value{size: size, whole: b}, nil
}

// Size is the length of the value in bytes.
func (v *Value) Size() uint64 { return v.size }

// WriteTo writes the whole value. Of a chunked value it writes each chunk once
// that chunk is verified, so after an error w holds a correct prefix.
func (v *Value) WriteTo(w io.Writer) (int64, error) {
	if v.chunks != nil {
		n, err := v.chunks.WriteTo(w)
		return n, wrapDamage(err)
	}
	n, err := w.Write(v.whole)
	return int64(n), err
}

// ReadAt reads a range. Of a chunked value it reads and verifies only the
// chunks that the range touches.
func (v *Value) ReadAt(p []byte, off int64) (int, error) {
	if v.chunks != nil {
		n, err := v.chunks.ReadAt(p, off)
		return n, wrapDamage(err)
	}
	return bytes.NewReader(v.whole).ReadAt(p, off)
}

// artifact reads an artifact of any class and hashes it again.
func (v *Vault) artifact(id record.ID) ([]byte, error) {
	if b, ok := v.arriving[id]; ok {
		return b, nil // hashed when it arrived
	}
	ref, ok, err := v.blocks.LookupAny(id)
	if err != nil {
		return nil, v.damaged(err)
	}
	if !ok {
		return nil, fmt.Errorf("%w: artifact %v is in no block of vault %q", ErrDamaged, id, v.name)
	}
	b, err := v.blocks.Read(ref, id)
	if err != nil {
		return nil, v.damaged(err)
	}
	return b, nil
}

// opsOf gives the ops of a transaction's record and their lines. The op lines of
// a wide one are read and checked against the record.
func (v *Vault) opsOf(line []byte, seq uint64, tx *record.Tx) (ops []record.Op, lines [][]byte, err error) {
	if tx.Wide == nil {
		lines, err = record.InlineOps(line)
		ops = tx.Ops
	} else {
		var b []byte
		if b, err = v.artifact(tx.Wide.Lines); err != nil {
			return nil, nil, fmt.Errorf("op lines of record %d: %w", seq, err)
		}
		ops, lines, err = tx.Wide.Open(b)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: op lines of record %d: %w", ErrDamaged, seq, err)
	}
	return ops, lines, nil
}

// digestsOf are the RFC 6962 leaf hashes of op lines.
func digestsOf(lines [][]byte) []merkle.Hash {
	digests := make([]merkle.Hash, len(lines))
	for i, line := range lines {
		digests[i] = record.OpDigest(line)
	}
	return digests
}
