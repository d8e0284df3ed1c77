package block

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"graven/record"
)

// LoadSealed registers the artifacts of a sealed block, numbered or of chunks,
// by its table of contents, which must agree with the record and with itself;
// the artifacts are hashed when they are read.
//
// A *Damage says that the file is not what the record says. What can still be
// located, by the table or else by the frames, is registered all the same: its
// reads are verified. ErrMissing, ErrWrongVault and ErrUnknownVersion register
// nothing. A chunk block that is loaded already is fine.
func (s *Store) LoadSealed(rec record.Block) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.write.Unlock()
	return s.loadSealed(rec)
}

// loadSealed is LoadSealed. Callers hold write.
func (s *Store) loadSealed(rec record.Block) error {
	if known, err := s.checkRecord(rec); known || err != nil {
		return err
	}
	s.mu.Lock()
	c := s.class(rec.Class)
	if rec.Number != nil {
		c.recorded(*rec.Number, rec.Count)
	}
	s.mu.Unlock()
	entries, end, err := s.locate(rec)
	s.mu.Lock()
	defer s.mu.Unlock()
	located := 0
	if err == nil || errors.Is(err, ErrDamaged) && end != 0 {
		located, err = s.registerSealed(c, rec, entries, end, err)
	}
	delete(s.lost, rec.ID)
	if err != nil && uint64(located) != rec.Count {
		s.lost[rec.ID] = err
	}
	return err
}

// checkRecord refuses a block record that cannot be, or that makes a numbered
// block known that is known already. known says that a chunk block is.
func (s *Store) checkRecord(rec record.Block) (known bool, err error) {
	if !validClass(rec.Class) || rec.Number != nil && *rec.Number > maxNumber || rec.Size > record.MaxInt {
		return false, invalid("block record of class %q, %d bytes", rec.Class, rec.Size)
	}
	if rec.Number == nil {
		return s.Admitted(rec.ID), nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.lookupClass(rec.Class)
	_, sealed := c.sealed[*rec.Number]
	_, open := c.open[*rec.Number]
	if sealed || open {
		return false, invalid("block %d of class %s is loaded already", *rec.Number, rec.Class)
	}
	return false, nil
}

// locate finds the artifacts of a sealed block by its table or else by their
// frames, and where the last one ends. With a *Damage it returns what can be
// found all the same; end is 0 if nothing was looked at.
func (s *Store) locate(rec record.Block) (entries []Entry, end int64, err error) {
	name := sealedName(rec.ID)
	f, err := s.files.openFile(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	entries, end, err = s.readTOC(name, f, rec)
	if errors.Is(err, ErrDamaged) && len(entries) == 0 {
		entries, end = s.salvage(f, rec)
	}
	return entries, end, err
}

// registerSealed makes the located artifacts of a sealed block visible. It
// returns how many those are, and the damage that was found before, or else what
// it finds. Callers hold mu.
func (s *Store) registerSealed(c *class, rec record.Block, entries []Entry, end int64, damage error) (located int, err error) {
	name := sealedName(rec.ID)
	source := s.addSource(name)
	into := c.chunks
	var frames *frameList
	if rec.Number != nil {
		into = c.artifacts
		frames = into.newList(source, *rec.Number)
		c.seal(*rec.Number, &sealedBlock{id: rec.ID, size: rec.Size, count: rec.Count, source: source, end: end, frames: frames})
	} else {
		frames = into.newList(source, uint64(len(s.chunks)))
		s.admitted(&chunkBlock{id: rec.ID, size: rec.Size, class: c, source: source, frames: frames})
	}
	for _, e := range entries {
		if rec.Number != nil && into.has(e.ID) {
			if damage == nil {
				damage = &Damage{File: s.files.path(name), Offset: e.start(), What: "frame", ID: e.ID, Wanted: "an artifact that the class does not have yet", Got: "one that it has"}
			}
			continue
		}
		into.put(frames, e.ID, e.Offset, uint32(e.Size))
	}
	return frames.n, damage
}

// admitted makes a chunk block known. Callers hold mu.
func (s *Store) admitted(b *chunkBlock) {
	s.chunkAt[b.id] = uint32(len(s.chunks))
	s.chunks = append(s.chunks, b)
}

// KnowSealed makes a sealed block known, numbered or of chunks, whose artifacts
// the Finder has. It neither opens the file nor looks whether it is there: what
// is wrong with it shows when something of it is read.
//
// A block of which a crash left the open or the waiting file it loads as
// LoadSealed does, with the same errors: those files may be all that there is.
func (s *Store) KnowSealed(rec record.Block) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.write.Unlock()
	if s.leftOf(rec) {
		return s.loadSealed(rec)
	}
	if known, err := s.checkRecord(rec); known || err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.class(rec.Class)
	if rec.Number == nil {
		s.admitted(&chunkBlock{id: rec.ID, size: rec.Size, class: c, source: noSource})
		return nil
	}
	c.seal(*rec.Number, &sealedBlock{id: rec.ID, size: rec.Size, count: rec.Count, source: noSource})
	return nil
}

// leftOf reports whether Open met a file that a sealed block had before.
func (s *Store) leftOf(rec record.Block) bool {
	if rec.Number == nil {
		return slices.Contains(s.Waiting(), rec.ID)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.lookupClass(rec.Class).found[*rec.Number]
}

// headerOf is the header of the block that a record is about.
func (s *Store) headerOf(rec record.Block) Header {
	h := Header{Vault: s.vault, Class: rec.Class, Chunks: rec.Number == nil}
	if rec.Number != nil {
		h.Number = *rec.Number
	}
	return h
}

// readTOC reads and checks header, table of contents and trailer of a sealed
// block against its record. It returns the entries and where the last frame
// ends; together with a *Damage, if there is any, whatever of it is usable.
func (s *Store) readTOC(name string, f io.ReaderAt, rec record.Block) (entries []Entry, end int64, err error) {
	file := s.files.path(name)
	var damage error
	note := func(err error) {
		if damage == nil {
			damage = err
		}
	}
	want := s.headerOf(rec)
	if err := s.checkHeader(f, name, want); err != nil {
		if !errors.Is(err, ErrDamaged) {
			return nil, 0, err
		}
		note(err)
	}
	if sized, ok := f.(interface{ Size() (int64, error) }); ok {
		size, err := sized.Size()
		if err != nil {
			return nil, 0, err
		}
		if uint64(size) != rec.Size {
			note(lengthDamage(file, size, rec))
		}
	}
	size := int64(rec.Size)
	headerLen := int64(len(AppendHeader(nil, want)))
	end, err = readTrailer(file, f, size, headerLen, rec.Count)
	if err == nil {
		entries, err = scanTOC(file, newWindow(f, size-TrailerSize), headerLen, end, rec.Count)
	}
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			return nil, 0, err
		}
		note(err)
		entries = nil
	}
	return entries, end, damage
}

// readTrailer returns the offset of the table of contents.
func readTrailer(file string, f io.ReaderAt, size, headerLen int64, count uint64) (toc int64, err error) {
	at := size - TrailerSize
	if at < headerLen {
		return 0, &Damage{File: file, Offset: size, What: "length", Wanted: "at least " + strconv.FormatInt(headerLen+TrailerSize, 10) + " bytes", Got: strconv.FormatInt(size, 10)}
	}
	var b [TrailerSize]byte
	if err := readFull(f, b[:], at); errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, &Damage{File: file, Offset: at, What: "trailer", Wanted: "32 bytes", Got: "the end"}
	} else if err != nil {
		return 0, err
	}
	toc, n, err := ParseTrailer(b[:])
	if err != nil {
		return 0, damageOf(file, at, "trailer", err)
	}
	if toc < headerLen || toc >= at || n != count {
		return 0, &Damage{
			File: file, Offset: at, What: "trailer", Got: quoteLine(b[:]),
			Wanted: fmt.Sprintf("a table between offsets %d and %d, and %d artifacts", headerLen, at, count),
		}
	}
	return toc, nil
}

// scanTOC reads the table of contents that stands from toc to the limit of w.
func scanTOC(file string, w *window, headerLen, toc int64, count uint64) ([]Entry, error) {
	bad := func(at int64, err error) error { return damageOf(file, at, "toc", err) }
	b, err := w.peek(toc, maxTOCLine)
	if err != nil {
		return nil, err
	}
	n, used, err := parseTOCHead(b)
	if err != nil {
		return nil, bad(toc, err)
	}
	if n != count {
		return nil, &Damage{File: file, Offset: toc, What: "toc", Wanted: strconv.FormatUint(count, 10) + " lines", Got: strconv.FormatUint(n, 10)}
	}
	at := toc + int64(used)
	if most := uint64(w.limit-at) / minTOCLine; n > most {
		return nil, &Damage{File: file, Offset: toc, What: "toc", Wanted: "at most " + strconv.FormatUint(most, 10) + " lines", Got: strconv.FormatUint(n, 10)}
	}
	chain := tocChain{next: headerLen}
	entries := make([]Entry, 0, min(n, 1<<16))
	for range n {
		b, err := w.peek(at, maxTOCLine)
		if err != nil {
			return nil, err
		}
		e, used, err := parseTOCLine(b)
		if err == nil {
			err = chain.follow(e)
		}
		if err == nil && e.Size > maxArtifact {
			err = &syntaxError{what: "toc", wanted: "an artifact of at most 4 GiB", got: strconv.FormatInt(e.Size, 10)}
		}
		if err != nil {
			return nil, bad(at, err)
		}
		entries = append(entries, e)
		at += int64(used)
	}
	if chain.next != toc || at != w.limit {
		return nil, &Damage{File: file, Offset: at, What: "toc", Wanted: "frames up to the table and lines up to the trailer", Got: fmt.Sprintf("frames up to %d, lines up to %d", chain.next, at)}
	}
	return entries, nil
}

// salvage finds the artifacts of a block whose table of contents is damaged by
// their frames, up to the first that is damaged too.
func (s *Store) salvage(f io.ReaderAt, rec record.Block) (entries []Entry, end int64) {
	walk := frames{w: newWindow(f, int64(rec.Size)), next: int64(len(AppendHeader(nil, s.headerOf(rec))))}
	for uint64(len(entries)) < rec.Count {
		e, ok, err := walk.read()
		if err != nil || !ok || e.Size > maxArtifact {
			break
		}
		entries = append(entries, e)
	}
	return entries, walk.next
}
