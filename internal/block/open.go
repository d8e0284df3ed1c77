package block

import (
	"errors"
	"sync"

	"graven/internal/fsx"
	"graven/record"
)

// openBlock is a block that artifacts are appended to, or were until it was full.
//
// Invariant: synced <= written; size is the end of the last registered frame.
type openBlock struct {
	class  string
	number uint64
	source uint32
	frames *frameList // the registered ones; guarded by Store.mu

	// io is held while w is synced, sealed or closed, so that none of these
	// meets another. Writes are kept apart by Store.write.
	io sync.Mutex
	w  fsx.File // nil until something is written

	// Guarded by Store.mu.
	size    int64 // bytes of header and registered frames; 0 before the first
	count   int   // registered frames
	written uint64
	synced  uint64 // the value of written that the last good sync covers
	twin    *twin  // set if the file is published under sealed/ as well: then it must not change
	promise int    // artifacts that a copy holds, or will, whose record is still to come; 0: none
	broken  error  // why LoadOpen found fewer artifacts than it was asked for
	loose   bool   // found on disk: other bytes may stand behind size. Written under write as well

	// Guarded by Store.write.
	reserved int64 // room is reserved up to here
}

// twin is a published file that shares its bytes with an open one.
type twin struct {
	id    record.ID
	count uint64
}

// close trims what was reserved and closes the file for writing.
func (b *openBlock) close() error {
	b.io.Lock()
	defer b.io.Unlock()
	if b.w == nil {
		return nil
	}
	var err error
	if size, sizeErr := b.w.Size(); sizeErr == nil && b.reserved > size {
		err = b.w.Truncate(size) // gives back what lies behind the end
	}
	err = errors.Join(err, b.w.Close())
	b.w = nil
	return err
}

// Tail says where the next artifacts of a class go: the number of the block,
// the offset of their section and how many artifacts stand before them.
// Offset 0 means that the block is new; a section then begins with the header.
func (s *Store) Tail(class string) (number uint64, offset int64, count int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.classes[class]
	if c == nil {
		return 0, 0, 0
	}
	if b := c.open[c.tail]; b != nil {
		return c.tail, b.size, b.count
	}
	return c.tail, 0, 0
}

// Encode returns the section that takes artifacts into the block of the class
// at its present Tail: header if it is new, and frames. It changes nothing.
func (s *Store) Encode(class string, arts []Artifact) []byte {
	number, offset, _ := s.Tail(class)
	return EncodeSection(Header{Vault: s.vault, Class: class, Number: number}, offset, arts)
}

// EncodeSection is Encode for any block and offset.
func EncodeSection(h Header, offset int64, arts []Artifact) []byte {
	size := 0
	if offset == 0 {
		size = maxHeader
	}
	for _, a := range arts {
		size += maxFrameHeader + len(a.Bytes) + 1
	}
	return appendFrames(make([]byte, 0, size), h, offset, arts)
}

// Full reports whether the block that the class appends to has reached the
// threshold, in bytes of the file.
func (s *Store) Full(class string, threshold uint64) bool {
	_, offset, count := s.Tail(class)
	return count > 0 && uint64(offset) >= threshold
}

// rest reports whether the block holds more than a sealed copy of it, so that
// Sealed will move artifacts to the start of the next block. Callers hold mu.
func (b *openBlock) rest() bool { return b.promise > 0 && b.promise < b.count }

// Advance begins the next block of a class, unless the present one is empty, or
// was sealed in part and waits for Sealed: what stands behind the seal must
// become the first of the next block. The block before the new one takes no more
// artifacts and can be sealed whole.
func (s *Store) Advance(class string) {
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.classes[class]; c != nil {
		if b := c.open[c.tail]; b != nil && b.count > 0 && !b.rest() {
			c.tail++
		}
	}
}

// Append writes a section at the tail of its class and registers its
// artifacts; it does not sync. Number and offset are those of Tail when the
// section was encoded. Offset 0 of the number after the tail advances as well;
// a section for a block that was sealed meanwhile goes to where the format puts
// it, behind what the seal covers.
//
// After an error nothing is registered and the same call may be tried again.
// The error matches ErrInvalid if number and offset are not the tail, or an
// artifact is already in memory; then nothing was written. The Finder is not
// asked: whoever appends has asked Mentioned, before the point of no return.
func (s *Store) Append(class string, number uint64, offset int64, section []byte) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.write.Unlock()
	sec, err := s.parse(class, number, offset, section)
	if err != nil || len(sec.entries) == 0 {
		return err
	}
	b, err := s.appendable(sec)
	if err != nil {
		return err
	}
	w, err := s.writer(b)
	if err != nil {
		return err
	}
	// A crash from here on leaves any part of the section behind the frames that
	// the log mentions. CutOpen removes it, or Restore writes it again.
	if _, err := w.WriteAt(sec.bytes, sec.offset); err != nil {
		return err
	}
	s.register(b, sec)
	return nil
}

// appendable returns the block that a section is appended to. Callers hold write.
func (s *Store) appendable(sec section) (*openBlock, error) {
	s.mu.RLock()
	c := s.lookupClass(sec.class)
	tail := c.tail
	waits := sec.number > tail && c.open[tail] != nil && c.open[tail].rest()
	s.mu.RUnlock()
	if waits {
		return nil, invalid("append to block %d of class %s: block %d was sealed in part, and what stands behind the seal comes first", sec.number, sec.class, tail)
	}
	b, err := s.target(sec)
	if err != nil {
		return nil, err
	}
	if b.size != sec.offset || b.loose || sec.number < tail {
		return nil, invalid("append at block %d offset %d of class %s; block %d ends at %d, other bytes behind it: %t, the class is at block %d",
			sec.number, sec.offset, sec.class, b.number, b.size, b.loose, tail)
	}
	return b, s.checkNew(sec)
}

// target returns the open block of a section, making it if its number is the
// next one. Callers hold write.
func (s *Store) target(sec section) (*openBlock, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.class(sec.class)
	if b := c.open[sec.number]; b != nil {
		return b, nil
	}
	before := c.open[c.tail]
	next := sec.number == c.tail || sec.number == c.tail+1 && before != nil && before.count > 0
	if !next || sec.offset != 0 || sec.number > maxNumber {
		return nil, invalid("no open block %d of class %s, where a section at offset %d belongs; the class is at block %d", sec.number, sec.class, sec.offset, c.tail)
	}
	return s.newOpen(c, sec.number), nil
}

// newOpen makes an open block without artifacts. Callers hold write and mu.
func (s *Store) newOpen(c *class, number uint64) *openBlock {
	source := s.addSource(openName(c.name, number))
	b := &openBlock{class: c.name, number: number, source: source, frames: c.artifacts.newList(source, number), loose: c.found[number]}
	c.open[number] = b
	delete(c.found, number)
	return b
}

// leave takes an open block that holds nothing out of its class. Callers hold mu.
func (c *class) leave(b *openBlock) {
	delete(c.open, b.number)
	c.artifacts.drop(b.frames)
}

// writer returns the block's file for writing, making it if needed. Callers hold write.
func (s *Store) writer(b *openBlock) (fsx.File, error) {
	b.io.Lock()
	defer b.io.Unlock()
	if b.w != nil {
		return b.w, nil
	}
	name := openName(b.class, b.number)
	w, err := s.dir.Append(name, true)
	if err != nil {
		return nil, s.failUnless(err, name)
	}
	b.w = w
	return w, nil
}

// checkNew refuses artifacts that the class has already, or twice in a section.
func (s *Store) checkNew(sec section) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.classes[sec.class]
	seen := make(map[record.ID]struct{}, len(sec.entries))
	for _, e := range sec.entries {
		_, twice := seen[e.ID]
		if twice || c.artifacts.has(e.ID) {
			return invalid("artifact %v is already in a block of class %s", e.ID, sec.class)
		}
		seen[e.ID] = struct{}{}
	}
	return nil
}

// register makes the artifacts of a written section visible.
func (s *Store) register(b *openBlock, sec section) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.classes[sec.class]
	for _, e := range sec.entries {
		if e.end() > b.size {
			c.artifacts.put(b.frames, e.ID, e.Offset, uint32(e.Size))
			b.count++
			b.size = e.end()
		}
	}
	b.written++
	if b.count > 0 {
		c.tail = max(c.tail, b.number)
	}
}
