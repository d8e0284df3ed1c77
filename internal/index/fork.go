package index

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"graven/internal/fsx"
	"graven/internal/segment"
	"graven/record"
)

// Mender makes the segment again to which a damaged file belongs, and reports whether
// a read is worth another try. It may be called by any reader, who holds no lock of
// the index.
type Mender func(*DamageError) bool

// SetMender lets reads that meet damage be tried once more when it has been mended.
// Call it before readers come.
func (x *Index) SetMender(m Mender) { x.mender = m }

// again reports whether a read that failed is worth another try.
func (x *Index) again(err error) bool {
	var d *DamageError
	return err != nil && x.mender != nil && errors.As(err, &d) && x.mender(d)
}

// Span says which runs and records a segment in play is about, by the name of one of
// its files; ok is false if it is not in play.
type Span struct {
	Level, Number uint64
	Before        Border // where it begins
	To            uint64 // the first record behind it
}

// Span returns the span of the segment in play to which a file belongs.
func (x *Index) Span(file string) (sp Span, ok bool, err error) {
	s, err := x.acquire()
	if err != nil {
		return Span{}, false, err
	}
	defer s.release()
	for i, g := range s.segs {
		for _, table := range x.tables() {
			if x.path(fileName(table, g.address)) != file {
				continue
			}
			sp = Span{Level: g.level, Number: g.number, To: g.to, Before: Border{Runs: g.start(), To: g.from}}
			if i > 0 {
				sp.Before.Txs, sp.Before.Versions = s.segs[i-1].sum.Txs, s.segs[i-1].sum.Versions
			}
			return sp, true, nil
		}
	}
	return Span{}, false, nil
}

// Fork returns an index on the side, for a log that is replayed from a border on: the
// segments of the first so many runs are in play in it too, and what it seals and
// merges goes to another folder. Its files have the same bytes, and in errors the same
// names, as those of x would have. Nothing that it does is seen by x.
func (x *Index) Fork(dir fsx.Dir, runs uint64) (*Index, error) {
	s, err := x.acquire()
	if err != nil {
		return nil, err
	}
	defer s.release()
	var list []*seg
	for _, g := range s.segs {
		if g.end() <= runs {
			list = append(list, g)
		}
	}
	before := newSet(list)
	defer before.release()
	if before.runs() != runs {
		return nil, fmt.Errorf("index: no segment in play ends with run %d", runs)
	}
	f := New()
	f.dir, f.vault, f.opts, f.name = dir, x.vault, x.opts, x.path("")
	f.cache = segment.NewCache(forkCache)
	f.versions.Store(before.last().sum.Versions)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.install(list)
	return f, nil
}

const forkCache = 8 << 20

// EnteredAt is Entered for the border at the end of a segment in play; none if there
// is no such segment. It is not tried twice.
func (x *Index) EnteredAt(to uint64) ([]Entered, error) {
	s, err := x.acquire()
	if err != nil {
		return nil, err
	}
	defer s.release()
	for _, g := range s.segs {
		if g.to == to {
			return g.entered()
		}
	}
	return nil, nil
}

// MergeTo is Merge up to segments of a level.
func (x *Index) MergeTo(ctx context.Context, level uint64) ([]Made, error) {
	return x.merge(ctx, level)
}

// Take puts a segment that a fork has made in the place of the one in play, which is
// damaged. Files that have other bytes are written again; readers at work keep those
// that they have open. If no such segment is in play any more nothing happens.
//
// A crash may leave some of the files missing: the next open makes them again.
func (x *Index) Take(from *Index, level, number uint64) error {
	x.sealing.Lock()
	defer x.sealing.Unlock()
	x.merging.Lock()
	defer x.merging.Unlock()
	a := address{level, number}
	old := x.inPlay(a)
	if old == nil {
		return nil
	}
	for _, table := range x.tables() {
		if table == tableIDs && old.ids == nil {
			continue // they have left the window
		}
		if err := x.takeFile(from, fileName(table, a)); err != nil {
			return err
		}
	}
	s, problems, err := x.openSegment(a)
	if err == nil && len(problems) > 0 {
		err = fmt.Errorf("index: segment %v was made again and cannot be read back: %q", a, problems)
	}
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.replace(s)
}

// inPlay returns the segment in play with an address, nil if there is none.
func (x *Index) inPlay(a address) *seg {
	for _, g := range x.set.Load().segs {
		if g.address == a {
			return g
		}
	}
	return nil
}

// takeFile writes a file of a fork in the place of the own one, if it differs.
func (x *Index) takeFile(from *Index, name string) error {
	f, err := from.dir.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	sha := sha256.New()
	if _, err := io.Copy(sha, io.NewSectionReader(f, 0, size)); err != nil {
		return err
	}
	same, err := x.holds(name, record.ID(sha.Sum(nil)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) || same {
		return err
	}
	if err := x.discard(name); err != nil {
		return err
	}
	return x.dir.Publish(name, func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(f, 0, size))
		return err
	})
}

// FilesOf returns the names of the files of a segment in play, relative to the
// index's folder.
func (x *Index) FilesOf(level, number uint64) (names []string) {
	g := x.inPlay(address{level, number})
	if g == nil {
		return nil
	}
	for _, f := range g.files() {
		if f != nil {
			names = append(names, strings.TrimPrefix(f.Name(), x.path("")+"/"))
		}
	}
	return names
}
