package block

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"graven/record"
)

// Value reads a chunked value. It keeps one chunk in memory. Ranges may be read
// from several goroutines; they take turns.
type Value struct {
	s    *Store
	list List

	mu   sync.Mutex
	at   uint64 // number of the chunk in buf; meaningful if full
	full bool
	buf  []byte
}

// ReadList reads and parses the list of a chunked value.
func (s *Store) ReadList(id record.ID) (List, error) {
	ref, ok, err := s.lookupPart(id)
	if err != nil {
		return List{}, err
	}
	if !ok {
		return List{}, fmt.Errorf("%w: list %v", ErrNotFound, id)
	}
	if ref.Size() > MaxList {
		return List{}, tooLarge("list "+id.String(), ref.Size(), MaxList)
	}
	b, err := s.Read(ref, id)
	if err != nil {
		return List{}, err
	}
	l, err := ParseList(b)
	if err != nil {
		return List{}, fmt.Errorf("list %v: %w", id, err)
	}
	return l, nil
}

// OpenValue opens a chunked value by its list. Whole and size are what the
// ledger says of it; a list that says otherwise is ErrMismatch.
func (s *Store) OpenValue(list, whole record.ID, size uint64) (*Value, error) {
	l, err := s.ReadList(list)
	if err != nil {
		return nil, err
	}
	if l.Whole != whole || l.Size != size {
		return nil, fmt.Errorf("%w: list %v is of %v with %d bytes, wanted %v with %d", ErrMismatch, list, l.Whole, l.Size, whole, size)
	}
	return &Value{s: s, list: l}, nil
}

// Size is the length of the value in bytes.
func (v *Value) Size() uint64 { return v.list.Size }

// ReadAt reads a range as io.ReaderAt demands. Each chunk that it touches is
// read whole and compared with its hash before any byte of it is returned.
func (v *Value) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, invalid("read a value at offset %d", off)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	n := 0
	for n < len(p) {
		pos := uint64(off) + uint64(n)
		if pos >= v.list.Size {
			return n, io.EOF
		}
		chunk, err := v.chunk(pos / v.list.Chunk)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], chunk[pos%v.list.Chunk:])
	}
	return n, nil
}

// WriteTo writes the whole value, each chunk once it is verified, so that after
// an error w holds a correct prefix. At the end it compares the hash of all with
// the id of the value; a difference (ErrMismatch) says that the list is of
// sound chunks but not of this value.
func (v *Value) WriteTo(w io.Writer) (int64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	whole := sha256.New()
	var total int64
	for i := range v.list.count() {
		chunk, err := v.chunk(i)
		if err != nil {
			return total, err
		}
		whole.Write(chunk)
		n, err := w.Write(chunk)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	if got := record.ID(whole.Sum(nil)); got != v.list.Whole {
		return total, fmt.Errorf("%w: the chunks make %v, the list says %v", ErrMismatch, got, v.list.Whole)
	}
	return total, nil
}

// chunk returns the verified bytes of a chunk, valid until the next call.
// Callers hold mu.
func (v *Value) chunk(i uint64) ([]byte, error) {
	if v.full && v.at == i {
		return v.buf, nil
	}
	v.full = false
	id, size := v.list.Chunks[i], v.list.length(i)
	ref, ok, err := v.s.lookupPart(id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: chunk %d of the value, %v", ErrNotFound, i, id)
	}
	if uint64(ref.Size()) != size {
		return nil, fmt.Errorf("%w: chunk %d, %v, has %d bytes, the list says %d", ErrMismatch, i, id, ref.Size(), size)
	}
	if err := v.fill(ref, id); err != nil {
		return nil, err
	}
	v.full, v.at = true, i
	return v.buf, nil
}

// fill reads an artifact into the buffer, from its healed copy if need be.
func (v *Value) fill(ref Ref, id record.ID) error {
	if cap(v.buf) < int(ref.size) {
		v.buf = make([]byte, ref.size)
	}
	v.buf = v.buf[:ref.size]
	src := v.s.source(ref.file)
	h, err := v.s.files.open(src)
	if err == nil {
		err = v.s.readInto(h, src, ref, id, v.buf)
		v.s.files.release(h)
	}
	if err == nil {
		return nil
	}
	if now, ok := v.s.moved(ref, id); ok {
		return v.fill(now, id)
	}
	healed, healedErr := v.s.readHealed(id, ref.Size())
	if healedErr != nil {
		return err
	}
	if len(healed) != len(v.buf) {
		return errors.Join(err, ErrMismatch)
	}
	v.buf = healed
	return nil
}
