package block

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"

	"graven/internal/fsx"
	"graven/record"
)

// CheckSealed verifies the sealed block that a record names, whether it is
// loaded or not. See Verify. A missing file is reported as well.
func (s *Store) CheckSealed(rec record.Block, report func(*Damage)) {
	name := sealedName(rec.ID)
	f, size, ok := s.openToCheck(name, report)
	if !ok {
		return
	}
	defer f.Close()
	Verify(s.files.path(name), f, size, s.headerOf(rec), rec, report)
}

// CheckOpen verifies the first count frames of an open block, header and
// artifacts, against what is loaded of it.
func (s *Store) CheckOpen(class string, number uint64, count int, report func(*Damage)) {
	s.CheckOpenThrough(class, number, count, func(r io.ReaderAt) io.ReaderAt { return r }, report)
}

// CheckOpenThrough is CheckOpen for who wants to see, or to slow down, what is read.
func (s *Store) CheckOpenThrough(class string, number uint64, count int, through func(io.ReaderAt) io.ReaderAt, report func(*Damage)) {
	name := openName(class, number)
	f, size, ok := s.openToCheck(name, report)
	if !ok {
		return
	}
	defer f.Close()
	a := &audit{file: s.files.path(name), w: newWindow(through(f), size), report: report}
	s.mu.RLock()
	if b := s.lookupClass(class).open[number]; b != nil {
		a.known = slices.Collect(b.frames.all())
	}
	s.mu.RUnlock()
	header := AppendHeader(nil, s.header(class, number))
	a.text("header", 0, header)
	if found, end, _ := a.frames(int64(len(header)), uint64(count)); len(found) < count {
		report(&Damage{File: a.file, Offset: end, What: "frame", Wanted: strconv.Itoa(count) + " artifacts", Got: strconv.Itoa(len(found))})
	}
}

// openToCheck opens a file or reports why not.
func (s *Store) openToCheck(name string, report func(*Damage)) (f fsx.File, size int64, ok bool) {
	f, err := s.dir.Open(name)
	if err == nil {
		if size, err = f.Size(); err == nil {
			return f, size, true
		}
		f.Close()
	}
	got := err.Error()
	if errors.Is(err, fs.ErrNotExist) {
		got = "nothing"
	}
	report(&Damage{File: s.files.path(name), What: "file", Wanted: "a regular file that can be read", Got: got})
	return nil, 0, false
}

// CheckHealed verifies every second copy.
func (s *Store) CheckHealed(report func(*Damage)) {
	s.folder("healed", report, func(name string) {
		var id record.ID
		if base := path.Base(name); len(base) != 2*len(id) || !decodeHex(id[:], []byte(base)) || healedName(id) != name {
			s.foreign(name, report)
			return
		}
		if _, err := s.ReadHealed(id); err != nil {
			var d *Damage
			if !errors.As(err, &d) {
				d = &Damage{File: s.files.path(name), What: "file", ID: id, Wanted: "a regular file that can be read", Got: err.Error()}
			}
			report(d)
		}
	})
}

// CheckNames reports names under sealed/ that no sealed block has and what is
// not a regular file, and passes the ids of well-named blocks that are not
// loaded to extra. Those are left by a crash between Seal and its record; no
// record names them and nothing reads them.
func (s *Store) CheckNames(report func(*Damage), extra func(id record.ID)) {
	s.mu.RLock()
	loaded := map[record.ID]bool{}
	for _, c := range s.classes {
		for _, b := range c.sealed {
			loaded[b.id] = true
		}
	}
	for id := range s.chunkAt {
		loaded[id] = true
	}
	s.mu.RUnlock()
	s.folder("sealed", report, func(name string) {
		var id record.ID
		base := path.Base(name)
		if len(base) != 2*len(id)+4 || !decodeHex(id[:], []byte(base[:2*len(id)])) || sealedName(id) != name {
			s.foreign(name, report)
		} else if !loaded[id] && extra != nil {
			extra(id)
		}
	})
}

// SealedNames returns the names of the sealed blocks that are known and of those
// that are there, relative to the vault's folder, in byte order.
func (s *Store) SealedNames() []string {
	names := map[string]bool{}
	s.mu.RLock()
	for _, c := range s.classes {
		for _, b := range c.sealed {
			names[sealedName(b.id)] = true
		}
	}
	for id := range s.chunkAt {
		names[sealedName(id)] = true
	}
	s.mu.RUnlock()
	s.folder("sealed", func(*Damage) {}, func(name string) { names[name] = true })
	list := make([]string, 0, len(names))
	for name := range names {
		list = append(list, s.files.path(name))
	}
	slices.Sort(list)
	return list
}

// CheckNamed verifies a sealed block by what the file says of itself and by its id.
func (s *Store) CheckNamed(id record.ID, report func(*Damage)) error {
	rec, err := s.describe(id)
	if err == nil {
		s.CheckSealed(rec, report)
	}
	return err
}

// LoadUnnamed registers the artifacts of well-named sealed blocks that are not
// loaded, by what the files say of themselves. It passes over blocks whose open
// form is loaded, and files that do not parse: a check names those.
func (s *Store) LoadUnnamed() {
	s.CheckNames(func(*Damage) {}, func(id record.ID) {
		if rec, err := s.describe(id); err == nil {
			_ = s.LoadSealed(rec)
		}
	})
}

// LoadUnnamedWithin is LoadUnnamed for the numbered blocks that hold anything before a
// mark.
func (s *Store) LoadUnnamedWithin(m Mark) {
	s.CheckNames(func(*Damage) {}, func(id record.ID) {
		rec, err := s.describe(id)
		if err == nil && rec.Number != nil && *rec.Number <= m.of(rec.Class).Number {
			_ = s.LoadSealed(rec)
		}
	})
}

// describe makes the record of a sealed block from its header and trailer.
func (s *Store) describe(id record.ID) (record.Block, error) {
	f, err := s.files.openFile(sealedName(id))
	if err != nil {
		return record.Block{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return record.Block{}, err
	}
	h, _, err := readHeader(f, size)
	if err != nil || size < TrailerSize {
		return record.Block{}, errors.Join(err, ErrSyntax)
	}
	var trailer [TrailerSize]byte
	if err := readFull(f, trailer[:], size-TrailerSize); err != nil {
		return record.Block{}, err
	}
	_, count, err := ParseTrailer(trailer[:])
	rec := record.Block{ID: id, Size: uint64(size), Count: count, Class: h.Class}
	if !h.Chunks {
		rec.Number = &h.Number
	}
	return rec, err
}

func (s *Store) foreign(name string, report func(*Damage)) {
	report(&Damage{File: s.files.path(name), What: "file", Wanted: "no such name", Got: ErrForeign.Error()})
}

// folder visits the files two levels below a folder, in order.
func (s *Store) folder(top string, report func(*Damage), visit func(name string)) {
	list := func(name string) []fsx.Entry {
		entries, err := s.dir.ReadDir(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			report(&Damage{File: s.files.path(name), What: "file", Wanted: "a folder that can be read", Got: err.Error()})
		}
		return entries
	}
	for _, sub := range list(top) {
		at := path.Join(top, sub.Name)
		if !sub.Dir {
			s.foreign(at, report)
			continue
		}
		for _, e := range list(at) {
			name := path.Join(at, e.Name)
			if !e.Regular {
				report(&Damage{File: s.files.path(name), What: "file", Wanted: "a regular file", Got: fsx.ErrNotRegular.Error()})
				continue
			}
			visit(name)
		}
	}
}
