package block

import (
	"errors"
	"fmt"

	"graven/internal/fsx"
	"graven/record"
)

// OpenFile opens the file of a sealed block, for somebody who copies it whole. What
// is in it is not looked at. ErrMissing says that it is not there. Close it after use.
func (s *Store) OpenFile(rec record.Block) (fsx.File, error) {
	return s.files.openFile(sealedName(rec.ID))
}

// Receive copies a chunk block that another store of the same vault has admitted. It
// holds the copy against the record, every byte of it, and lets it wait for Admit like
// an upload. DropUpload gives it back.
//
// A *Damage says what of the file is not as the record says; then nothing waits.
func (s *Store) Receive(rec record.Block, from fsx.File) (up Uploaded, err error) {
	if err := s.usable(); err != nil {
		return Uploaded{}, err
	}
	if rec.Number != nil || !validClass(rec.Class) {
		return Uploaded{}, invalid("Receive is for chunk blocks of a class")
	}
	u := &Upload{s: s, name: s.uploads.name(), class: rec.Class}
	f, err := s.dir.Append(u.name, true)
	if err != nil {
		return Uploaded{}, errors.Join(err, s.dir.Discard(u.name))
	}
	u.f = f
	defer func() { err = errors.Join(err, u.Abort()) }() // removes the name that it was written under
	size, err := from.Size()
	if err != nil {
		return Uploaded{}, err
	}
	name := s.files.path(sealedName(rec.ID))
	if uint64(size) != rec.Size {
		return Uploaded{}, lengthDamage(name, size, rec)
	}
	if err := copyRange(f, from, size); err != nil {
		return Uploaded{}, err
	}
	if err := f.Sync(); err != nil {
		return Uploaded{}, fmt.Errorf("sync %s: %w", s.files.path(u.name), err) // only this copy is lost
	}
	var first error
	Verify(name, f, size, s.headerOf(rec), rec, func(d *Damage) {
		if first == nil {
			first = d
		}
	})
	if first != nil {
		return Uploaded{}, first
	}
	up = Uploaded{Class: rec.Class, Block: rec}
	up.Known, err = s.wait(u, rec)
	return up, err
}
