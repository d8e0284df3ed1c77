package block

import (
	"errors"
	"fmt"
	"io"

	"graven/record"
)

// Loaded says what LoadOpen found.
type Loaded struct {
	Count  int   // artifacts that are registered, at most as many as wanted
	End    int64 // of the last of them; 0 if there is none
	Behind int64 // bytes of the file behind End
	// Broken is set if fewer artifacts than wanted were found and the file does
	// not simply end there: it is missing (ErrMissing) or its structure breaks
	// (*Damage). A tear that Restore mends looks the same as damage.
	Broken error
}

// LoadOpen reads the first count artifacts of an open block, as many as the log
// mentions, by their frame headers; the bytes are hashed when they are read. It
// changes no file; what stands behind those artifacts is ignored, and cut by
// CutOpen. Loading a block again forgets what was loaded of it.
//
// If the file shares its bytes with a published block that no record names yet
// (a crash between Seal and its record), the class goes on in the next block
// and this one is among FullBlocks, to be sealed once more.
//
// The error matches ErrWrongVault, ErrUnknownVersion, or ErrDamaged for the
// header of another block, or is one of the disk. Fewer artifacts than wanted
// are no error: see Loaded.
func (s *Store) LoadOpen(class string, number uint64, count int) (Loaded, error) {
	if err := s.begin(); err != nil {
		return Loaded{}, err
	}
	defer s.write.Unlock()
	if !validClass(class) || number > maxNumber || count < 0 {
		return Loaded{}, invalid("load %d artifacts of block %d of class %q", count, number, class)
	}
	s.mu.Lock()
	c := s.class(class)
	if _, ok := c.sealed[number]; ok {
		s.mu.Unlock()
		return Loaded{}, invalid("block %d of class %s is sealed", number, class)
	}
	b := c.open[number]
	if b != nil {
		c.artifacts.cut(b.frames, 0)
		b.size, b.count, b.twin = 0, 0, nil
	} else {
		b = s.newOpen(c, number)
	}
	b.loose = true
	source := s.sources[b.source]
	s.mu.Unlock()

	h, err := s.files.open(source)
	if errors.Is(err, ErrMissing) {
		// A writer may have sealed it meanwhile: then the sealed one is to be loaded.
		s.mu.Lock()
		c.leave(b)
		c.settleTail()
		s.mu.Unlock()
		if count > 0 {
			return Loaded{Broken: err}, nil
		}
		return Loaded{}, nil
	}
	if err != nil {
		return Loaded{}, err
	}
	defer s.files.release(h)
	got, err := s.loadOpen(c, b, h, count)
	s.mu.Lock()
	defer s.mu.Unlock()
	b.broken = got.Broken
	c.settleTail()
	return got, err
}

func (s *Store) loadOpen(c *class, b *openBlock, h *handle, count int) (Loaded, error) {
	name := openName(b.class, b.number)
	size, err := h.Size()
	if err != nil {
		return Loaded{}, err
	}
	got := Loaded{Behind: size}
	_, n, err := readHeader(h, size)
	if err == nil {
		err = s.checkHeader(h, name, s.header(b.class, b.number))
	} else if isSyntax(err) {
		if count > 0 {
			got.Broken = damageOf(s.files.path(name), 0, "header", err)
		}
		return got, nil // a tear of a block's first group
	}
	if err != nil {
		return Loaded{}, fmt.Errorf("%s: %w", s.files.path(name), err)
	}
	walk := frames{w: newWindow(h, size), next: int64(n)}
	var stop error
	var entries []Entry
	seen := map[record.ID]struct{}{}
	for len(entries) < count {
		e, ok, err := walk.read()
		if err == nil && ok {
			err = s.checkFrame(c, e, seen)
		}
		if err != nil && !isSyntax(err) && !errors.Is(err, ErrDamaged) {
			return Loaded{}, err
		}
		if err != nil || !ok {
			stop = err
			break
		}
		seen[e.ID] = struct{}{}
		entries = append(entries, e)
	}
	if stop != nil {
		got.Broken = damageOf(s.files.path(name), 0, "frame", stop)
	}
	s.register(b, section{class: b.class, entries: entries})
	got.Count, got.End, got.Behind = b.count, b.size, size-b.size
	return got, s.findTwin(c, b, h, size)
}

// checkFrame refuses a frame that no block of the class may hold.
func (s *Store) checkFrame(c *class, e Entry, seen map[record.ID]struct{}) error {
	if e.Size > maxArtifact {
		return &syntaxError{what: "frame", offset: e.start(), wanted: fmt.Sprintf("at most %d bytes", int64(maxArtifact)), got: fmt.Sprint(e.Size)}
	}
	s.mu.RLock()
	there := c.artifacts.has(e.ID)
	s.mu.RUnlock()
	if _, twice := seen[e.ID]; twice || there {
		return &syntaxError{what: "frame", offset: e.start(), wanted: "an artifact that the class does not have yet", got: e.ID.String()}
	}
	return nil
}

// checkHeader compares the first line of a block with what it must be.
func (s *Store) checkHeader(r io.ReaderAt, name string, want Header) error {
	text := AppendHeader(nil, want)
	b := make([]byte, maxHeader)
	n, err := r.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	h, used, err := ParseHeader(b[:n])
	switch {
	case err != nil:
		return damageOf(s.files.path(name), 0, "header", err)
	case h.Vault != want.Vault:
		return fmt.Errorf("%s: %w: it belongs to vault %v, this is vault %v", s.files.path(name), ErrWrongVault, h.Vault, want.Vault)
	case h != want:
		return &Damage{File: s.files.path(name), What: "header", Wanted: quoteLine(text), Got: quoteLine(b[:used])}
	}
	return nil
}

// findTwin looks whether a file that was loaded is published already, whole: a
// crash between Seal and its record leaves it so. Its bytes then belong to
// both names. Callers hold write.
func (s *Store) findTwin(c *class, b *openBlock, r io.ReaderAt, size int64) error {
	if size < TrailerSize {
		return nil
	}
	var trailer [TrailerSize]byte
	if err := readFull(r, trailer[:], size-TrailerSize); err != nil {
		return err
	}
	_, count, err := ParseTrailer(trailer[:])
	if err != nil {
		return nil // an open block in the usual form
	}
	id, err := hashFile(r, size)
	if err != nil {
		return err
	}
	there, err := s.dir.Exists(sealedName(id))
	if err != nil || !there {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b.twin = &twin{id: id, count: count}
	c.tail = max(c.tail, b.number+1)
	return nil
}

// twinOf returns the published file that shares its bytes with an open block.
func (s *Store) twinOf(b *openBlock) *twin {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return b.twin
}

// source returns the file behind a Ref's number.
func (s *Store) source(file uint32) *source {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sources[file]
}

func isSyntax(err error) bool { return errors.Is(err, ErrSyntax) }

// quoteLine shows a line without its newline.
func quoteLine(b []byte) string {
	return fmt.Sprintf("%q", trimNewline(b))
}

func trimNewline(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return b[:n-1]
	}
	return b
}
