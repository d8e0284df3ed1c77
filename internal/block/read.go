package block

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"graven/record"
)

// Read returns an artifact's bytes, which are the caller's. They have been
// hashed: if the copy that ref names is not what id says, or cannot be read,
// the copy under healed/ is returned if that one is good.
//
// Otherwise the error is a *Damage with file, offset and both hashes, or what
// the disk said.
func (s *Store) Read(ref Ref, id record.ID) ([]byte, error) {
	for {
		b, err := s.readAt(ref, id)
		if err == nil {
			return b, nil
		}
		// The artifact may have moved to the next block while its own was sealed.
		if now, ok := s.moved(ref, id); ok {
			ref = now
			continue
		}
		if healed, healedErr := s.readHealed(id, ref.Size()); healedErr == nil {
			return healed, nil
		}
		return nil, err
	}
}

// moved returns the present place of an artifact of numbered blocks if it is no
// longer in the file that ref names, though that file stays: it stood behind
// what a seal covers.
func (s *Store) moved(ref Ref, id record.ID) (Ref, bool) {
	class, number, sealed := s.sealedFrom(ref.file)
	if sealed == nil {
		return Ref{}, false
	}
	now, moved, err := s.movedFrom(sealed, Place{Class: class, ID: id, Number: number, Offset: ref.off, Size: ref.size})
	if err != nil || !moved {
		return Ref{}, false
	}
	ref, err = s.resolve(now)
	return ref, err == nil
}

// sealedFrom returns the sealed block that a source is of; nil if it is another's.
func (s *Store) sealedFrom(source uint32) (class string, number uint64, b *sealedBlock) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range s.classes {
		for number, b := range c.sealed {
			if b.source == source {
				return c.name, number, b
			}
		}
	}
	return "", 0, nil
}

// readAt reads one copy and verifies it.
func (s *Store) readAt(ref Ref, id record.ID) ([]byte, error) {
	src := s.source(ref.file)
	h, err := s.files.open(src)
	if err != nil {
		return nil, err
	}
	defer s.files.release(h)
	b := make([]byte, ref.size)
	if err := s.readInto(h, src, ref, id, b); err != nil {
		return nil, err
	}
	return b, nil
}

// readInto fills b with an artifact and verifies it.
func (s *Store) readInto(h *handle, src *source, ref Ref, id record.ID, b []byte) error {
	damage := func(got string) error {
		return &Damage{File: s.files.path(s.files.nameOf(src)), Offset: ref.off, What: "artifact", ID: id, Wanted: id.String(), Got: got}
	}
	err := readFull(h, b, ref.off)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return damage("the end of the file")
	}
	if err != nil {
		return fmt.Errorf("read artifact %v: %w", id, err)
	}
	if got := record.IDOf(b); got != id {
		return damage(got.String())
	}
	return nil
}

// ReadHealed returns the second copy of an artifact, hashed. ErrNotFound if
// there is none.
func (s *Store) ReadHealed(id record.ID) ([]byte, error) { return s.readHealed(id, maxArtifact) }

func (s *Store) readHealed(id record.ID, limit int64) ([]byte, error) {
	name := healedName(id)
	b, err := s.dir.ReadFile(name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %v under %s", ErrNotFound, id, s.files.path("healed"))
	}
	if err != nil {
		return nil, err
	}
	if got := record.IDOf(b); got != id {
		return nil, &Damage{File: s.files.path(name), What: "artifact", ID: id, Wanted: id.String(), Got: got.String()}
	}
	return b, nil
}

// WriteHealed keeps a second copy of an artifact whose first copy rotted: from
// now on Read falls back to it. It is durable when the call returns. Bytes that
// are not those of the id are ErrInvalid. A good copy that is there already is
// fine; a bad one is a *Damage: it has to be removed by hand.
func (s *Store) WriteHealed(id record.ID, bytes []byte) error {
	if got := record.IDOf(bytes); got != id {
		return invalid("heal %v with bytes of %v", id, got)
	}
	if err := s.usable(); err != nil {
		return err
	}
	name := healedName(id)
	err := s.dir.PublishBytes(name, bytes)
	if errors.Is(err, fs.ErrExist) {
		if _, err := s.ReadHealed(id); err != nil {
			return err
		}
		err = s.dir.Sync(name)
	}
	if err == nil {
		s.heals.Add(1)
	}
	return err
}

// Heals counts second copies that were written since Open: when it has grown, a
// block that could not be sealed may be worth another try.
func (s *Store) Heals() uint64 { return s.heals.Load() }
