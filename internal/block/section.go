package block

import (
	"fmt"
	"slices"

	"graven/record"
)

// section is a run of frames and where it belongs: behind what the block holds,
// or over it.
type section struct {
	class   string
	number  uint64
	offset  int64
	bytes   []byte // with the header line if offset is 0
	entries []Entry
}

// parse checks a section and finds the open block it belongs to. What a sealed
// block holds already is left out of it. Callers hold write.
func (s *Store) parse(class string, number uint64, offset int64, text []byte) (section, error) {
	if !validClass(class) {
		return section{}, invalid("class %q", class)
	}
	if len(text) == 0 {
		return section{class: class, number: number, offset: offset}, nil
	}
	h, entries, err := parseSection(text, offset)
	if err != nil {
		return section{}, fmt.Errorf("%w: section for block %d offset %d of class %s: %w", ErrInvalid, number, offset, class, err)
	}
	if want := s.header(class, number); h != nil && *h != want {
		return section{}, invalid("section for block %d of class %s begins with the header %q, wanted %q", number, class, AppendHeader(nil, *h), AppendHeader(nil, want))
	}
	sec := section{class: class, number: number, offset: offset, bytes: text, entries: entries}
	for {
		sealed, ok := s.sealedOf(class, sec.number)
		if !ok {
			break
		}
		if sec, err = s.behind(sec, sealed); err != nil {
			return section{}, err
		}
	}
	if first := s.headerLen(class, sec.number); sec.offset == first && len(sec.entries) > 0 {
		// What was moved here from the block before may be the first of this one.
		if _, size, _ := s.openAt(class, sec.number); size == 0 {
			sec.bytes = append(AppendHeader(nil, s.header(class, sec.number)), sec.bytes...)
			sec.offset = 0
		}
	}
	return sec, nil
}

// behind translates a section for a block that is sealed: what stands behind
// the frames that the seal covers belongs to the next block, right behind its
// header (docs/format.md §5.2). What the seal covers must be what it holds.
func (s *Store) behind(sec section, sealed *sealedBlock) (section, error) {
	end, err := s.endOf(sealed)
	if err != nil {
		return section{}, err
	}
	i := slices.IndexFunc(sec.entries, func(e Entry) bool { return e.start() >= end })
	if i < 0 {
		i = len(sec.entries)
	}
	if i > 0 {
		if err := s.compareSealed(sec, sealed, sec.entries[:i]); err != nil {
			return section{}, err
		}
	}
	next := section{class: sec.class, number: sec.number + 1, entries: slices.Clone(sec.entries[i:])}
	if len(next.entries) == 0 {
		return next, nil
	}
	start := next.entries[0].start()
	next.bytes = sec.bytes[start-sec.offset:]
	shift := s.headerLen(sec.class, next.number) - end
	next.offset = start + shift
	for i := range next.entries {
		next.entries[i].Offset += shift
	}
	return next, nil
}

// compareSealed refuses entries of a section that a sealed block has not. Those
// of a block that is not in memory are read from its table.
func (s *Store) compareSealed(sec section, sealed *sealedBlock, entries []Entry) error {
	conflict := func(e Entry) error {
		return fmt.Errorf("%s at offset %d: %w: the section has artifact %v there", s.files.path(sealedName(sealed.id)), e.Offset, ErrConflict, e.ID)
	}
	s.mu.RLock()
	frames := sealed.frames
	if frames != nil {
		defer s.mu.RUnlock()
		for _, e := range entries {
			if i := frames.index(Ref{file: frames.source, size: uint32(e.Size), off: e.Offset}); i < 0 || !frames.is(i, e) {
				return conflict(e)
			}
		}
		return nil
	}
	s.mu.RUnlock()
	table, err := s.tableOf(sec.class, sec.number, sealed)
	if err != nil {
		return err
	}
	for _, e := range entries {
		i, ok := slices.BinarySearchFunc(table, e.Offset, func(x Entry, off int64) int { return compareInt(x.Offset, off) })
		if !ok || table[i] != e {
			return conflict(e)
		}
	}
	return nil
}

// tableOf reads the table of contents of a sealed block.
func (s *Store) tableOf(class string, number uint64, b *sealedBlock) ([]Entry, error) {
	name := sealedName(b.id)
	f, err := s.files.openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, _, err := s.readTOC(name, f, record.Block{Number: &number, ID: b.id, Size: b.size, Count: b.count, Class: class})
	return entries, err
}

// header is the header of a numbered block of this vault.
func (s *Store) header(class string, number uint64) Header {
	return Header{Vault: s.vault, Class: class, Number: number}
}

func (s *Store) headerLen(class string, number uint64) int64 {
	return int64(len(AppendHeader(nil, s.header(class, number))))
}

// openAt returns an open block's size and count, and whether there is one.
func (s *Store) openAt(class string, number uint64) (b *openBlock, size int64, count int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if b := s.lookupClass(class).open[number]; b != nil {
		return b, b.size, b.count
	}
	return nil, 0, 0
}

// lookupClass is class without making one. Callers hold mu.
func (s *Store) lookupClass(name string) *class {
	if c := s.classes[name]; c != nil {
		return c
	}
	return &class{}
}
