package block

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	"graven/internal/fsx"
	"graven/record"
)

// Seal ends an open block with its first count artifacts: it reads each of them
// back from the file, compares it with its id, and publishes header, frames,
// table of contents and trailer under their SHA-256. The result goes into the
// block record; until Sealed is told that the record is durable, the open file
// stays and the artifacts are read from it.
//
// Behind the tail of its class (FullBlocks) a block is sealed whole, in place;
// the block at the tail is copied, and more may be appended to it meanwhile; if
// that happens it stays the tail until Sealed.
// Seal runs beside appends, syncs and reads. Repeating it, also after a crash,
// gives the same record.
//
// An artifact that rotted is taken from its second copy (WriteHealed); the block
// is copied then too. A *Damage says that there is none, or that an artifact is not
// in its place any more; nothing was published then.
func (s *Store) Seal(class string, number uint64, count int) (record.Block, error) {
	s.sealing.Lock()
	defer s.sealing.Unlock()
	if err := s.usable(); err != nil {
		return record.Block{}, err
	}
	b, inPlace, err := s.sealable(class, number, count)
	if err != nil {
		return record.Block{}, err
	}
	plan, err := s.seal(b, inPlace, count)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil && !inPlace:
		b.promise = 0
	case err == nil && inPlace && !plan.healed:
		b.twin = &twin{id: plan.rec.ID, count: plan.rec.Count}
	}
	return plan.rec, err
}

// seal is Seal of a block that may be sealed in this way.
func (s *Store) seal(b *openBlock, inPlace bool, count int) (sealPlan, error) {
	h, err := s.files.open(s.source(b.source))
	if err != nil {
		return sealPlan{}, err
	}
	defer s.files.release(h)
	plan, err := s.planSeal(b, h, uint64(count))
	if errors.Is(err, ErrDamaged) {
		plan, err = s.planHealed(b, h, count, err)
	}
	if err != nil {
		return sealPlan{}, err
	}
	inPlace = inPlace && !plan.healed
	to := sealedName(plan.rec.ID)
	if there, err := s.dir.Exists(to); err != nil {
		return sealPlan{}, err
	} else if there {
		err := s.confirm(to, plan.rec)
		if err == nil {
			return plan, nil
		}
		if !inPlace || !errors.Is(err, ErrDamaged) {
			return sealPlan{}, err
		}
		// No record names it yet, and it may be this very file under its other
		// name: writing the ending again mends it then, and nothing else.
	}
	if inPlace {
		err = s.sealInPlace(b, plan)
	} else {
		err = s.sealCopy(plan)
	}
	if errors.Is(err, fs.ErrExist) { // by another process, which the lock keeps out; or a copy of this one
		err = s.confirm(to, plan.rec)
	}
	if err != nil {
		return sealPlan{}, err
	}
	return plan, nil
}

// sealable finds the block and decides how it is sealed. One that is copied
// stays the tail from here on, see Advance.
func (s *Store) sealable(class string, number uint64, count int) (b *openBlock, inPlace bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.lookupClass(class)
	b = c.open[number]
	if b == nil || count < 1 || count > b.count || uint64(count) > maxCount {
		return nil, false, invalid("seal %d artifacts of block %d of class %q: it is not open or has fewer", count, number, class)
	}
	if b.loose {
		return nil, false, invalid("seal block %d of class %s before CutOpen: other bytes may stand behind its artifacts", number, class)
	}
	if number == c.tail {
		b.promise = count
		return b, false, nil // the writer may append to it at any time
	}
	if count != b.count {
		return nil, false, invalid("seal %d of %d artifacts of block %d of class %s: the class is at block %d already, so the rest has no place", count, b.count, number, class, c.tail)
	}
	return b, true, nil
}

// sealPlan is a block that was read back and found good, and how it ends.
type sealPlan struct {
	rec    record.Block
	from   io.ReaderAt // the bytes before the end
	healed bool        // they are not all those of the open file
	end    int64       // behind the last frame
	tail   []byte      // table of contents and trailer
}

// planSeal reads an open block back and verifies all that will be sealed.
func (s *Store) planSeal(b *openBlock, h sized, count uint64) (sealPlan, error) {
	file := s.files.path(openName(b.class, b.number))
	header := AppendHeader(nil, s.header(b.class, b.number))
	if err := s.checkHeader(h, openName(b.class, b.number), s.header(b.class, b.number)); err != nil {
		return sealPlan{}, err
	}
	size, err := h.Size()
	if err != nil {
		return sealPlan{}, err
	}
	whole := sha256.New()
	whole.Write(header)
	entries := make([]Entry, 0, count)
	w := newWindow(h, size)
	end, n, err := hashFrames(w, int64(len(header)), count, whole, func(e Entry, got record.ID) error {
		if err := s.checkSealed(b, file, w, e, got); err != nil {
			return err
		}
		entries = append(entries, e)
		return nil
	})
	if err == nil && n != count {
		err = &Damage{File: file, Offset: end, What: "frame", Wanted: strconv.FormatUint(count, 10) + " artifacts", Got: "the end after " + strconv.FormatUint(n, 10)}
	}
	if err != nil {
		return sealPlan{}, damageOf(file, 0, "frame", err)
	}
	tail := AppendTrailer(AppendTOC(nil, entries), end, count)
	whole.Write(tail)
	number := b.number
	rec := record.Block{Number: &number, ID: record.ID(whole.Sum(nil)), Size: uint64(end) + uint64(len(tail)), Count: count, Class: b.class}
	return sealPlan{rec: rec, from: h, end: end, tail: tail}, nil
}

// sized is a file as far as it is read.
type sized interface {
	io.ReaderAt
	Size() (int64, error)
}

// checkSealed compares a frame that was read back with what was appended.
func (s *Store) checkSealed(b *openBlock, file string, w *window, e Entry, got record.ID) error {
	if got != e.ID {
		return &Damage{File: file, Offset: e.Offset, What: "artifact", ID: e.ID, Wanted: e.ID.String(), Got: got.String()}
	}
	if ref, ok := s.inMemory(b.class, e.ID); !ok || ref.file != b.source || ref.off != e.Offset || ref.Size() != e.Size {
		return &Damage{File: file, Offset: e.start(), What: "frame", ID: e.ID, Wanted: "the artifact that was appended there", Got: "another"}
	}
	last, err := w.peek(e.end()-1, 1)
	if err == nil && string(last) != "\n" {
		err = &Damage{File: file, Offset: e.end() - 1, What: "frame", ID: e.ID, Wanted: "a newline behind the artifact", Got: strconv.Quote(string(last))}
	}
	return err
}

// sealInPlace ends the open file itself and gives it its published name. A
// crash leaves a part of the ending, which sealing again overwrites, or a whole
// file under both names.
func (s *Store) sealInPlace(b *openBlock, plan sealPlan) error {
	b.io.Lock()
	defer b.io.Unlock()
	name := openName(b.class, b.number)
	if b.w == nil {
		w, err := s.dir.Append(name, false)
		if err != nil {
			return s.failUnless(err, name)
		}
		b.w = w
	}
	if _, err := b.w.WriteAt(plan.tail, plan.end); err != nil {
		return err
	}
	if err := b.w.Truncate(int64(plan.rec.Size)); err != nil { // also gives back what was reserved
		return err
	}
	if err := b.w.Sync(); err != nil {
		return s.fail(fmt.Errorf("sync %s: %w", s.files.path(name), err))
	}
	return s.publish(name, b.w, plan.rec)
}

// sealCopy writes the sealed form beside the open file.
func (s *Store) sealCopy(plan sealPlan) error {
	name := s.uploads.name()
	defer func() { _ = s.dir.Discard(name) }() // worthless now; swept at the next open
	w, err := s.dir.Append(name, true)
	if err != nil {
		return s.failUnless(err, name)
	}
	defer w.Close()
	if err := copyRange(w, plan.from, plan.end); err != nil {
		return err
	}
	if _, err := w.WriteAt(plan.tail, plan.end); err != nil {
		return err
	}
	if err := w.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.files.path(name), err) // only this copy is lost
	}
	return s.publish(name, w, plan.rec)
}

// copyRange copies the first n bytes of a file.
func copyRange(to fsx.File, from io.ReaderAt, n int64) error {
	buf := make([]byte, 1<<20)
	for off := int64(0); off < n; {
		part := buf[:min(int64(len(buf)), n-off)]
		if err := readFull(from, part, off); err != nil {
			return err
		}
		if _, err := to.WriteAt(part, off); err != nil {
			return err
		}
		off += int64(len(part))
	}
	return nil
}

// publish reads a finished and synced file once more and links it under
// sealed/ if it is what its name will say.
func (s *Store) publish(name string, f fsx.File, rec record.Block) error {
	if err := s.checkFile(name, f, rec); err != nil {
		return err
	}
	to := sealedName(rec.ID)
	// A crash before this link leaves an open block as before; after it, a
	// published block that no record names, which nobody reads.
	if err := s.dir.PublishLink(name, to); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return err
		}
		return s.failUnless(err, to)
	}
	return nil
}

// confirm makes sure that a sealed file which is there already is whole and durable.
func (s *Store) confirm(name string, rec record.Block) error {
	f, err := s.dir.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.checkFile(name, f, rec); err != nil {
		return err
	}
	if err := s.dir.Sync(name); err != nil {
		return s.fail(err)
	}
	return nil
}

// checkFile compares length and hash of a whole file with its record.
func (s *Store) checkFile(name string, f fsx.File, rec record.Block) error {
	file := s.files.path(name)
	size, err := f.Size()
	if err != nil {
		return err
	}
	if uint64(size) != rec.Size {
		return lengthDamage(file, size, rec)
	}
	got, err := hashFile(f, size)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	if got != rec.ID {
		return &Damage{File: file, What: "file", Wanted: rec.ID.String(), Got: got.String()}
	}
	return nil
}

func lengthDamage(file string, size int64, rec record.Block) *Damage {
	return &Damage{
		File: file, Offset: min(size, int64(rec.Size)), What: "length",
		Wanted: strconv.FormatUint(rec.Size, 10) + " bytes", Got: strconv.FormatInt(size, 10),
	}
}
