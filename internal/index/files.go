package index

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync/atomic"

	"graven/internal/fsx"
	"graven/internal/segment"
	"graven/record"
)

// The tables, besides the shards. They are folders.
const (
	tableKeys = "keys"
	tableIDs  = "ids"
	tableLog  = "log"
)

func shardTable(shard int) string { return fmt.Sprintf("shard-%03x", shard) }

// shardOf is the shard of a digest: its first bits.
func shardOf(id record.ID, bits int) int { return (int(id[0])<<8 | int(id[1])) >> (16 - bits) }

// filterPrefix is how much of a key the filter of a table is about: artifacts are
// looked up by their digest alone.
func filterPrefix(table string) int {
	if strings.HasPrefix(table, "shard-") {
		return len(record.ID{})
	}
	return 0
}

// tables are all tables of a segment; keys come last.
func (x *Index) tables() []string {
	list := []string{tableLog, tableIDs}
	for shard := range 1 << x.opts.ShardBits {
		list = append(list, shardTable(shard))
	}
	return append(list, tableKeys)
}

// address is a segment: which level, which number of that level.
type address struct{ level, number uint64 }

const (
	fanout    = 16         // segments that one of the next level takes the place of
	maxLevel  = 9          // one digit in a file's name, and more than there will ever be
	maxNumber = 99_999_999 // eight digits
)

// width is how many runs a segment of a level covers.
func width(level uint64) uint64 { return 1 << (4 * level) }

func (a address) start() uint64   { return a.number * width(a.level) }
func (a address) end() uint64     { return (a.number + 1) * width(a.level) }
func (a address) parent() address { return address{a.level + 1, a.number / fanout} }
func (a address) String() string  { return fmt.Sprintf("%d/%d", a.level, a.number) }

// fileName is the name of a segment's table, relative to the index's folder.
func fileName(table string, a address) string {
	return table + "/" + baseName(a) + ".seg"
}

// baseName is the name of a segment's files without what stands around it.
func baseName(a address) string { return fmt.Sprintf("%d-%08d", a.level, a.number) }

// parseFileName reads the last element of what fileName makes.
func parseFileName(name string) (address, bool) {
	level, number, ok := strings.Cut(strings.TrimSuffix(name, ".seg"), "-")
	l, err1 := strconv.ParseUint(level, 10, 8)
	n, err2 := strconv.ParseUint(number, 10, 64)
	a := address{l, n}
	return a, ok && err1 == nil && err2 == nil && l <= maxLevel && n <= maxNumber && fileName("", a) == "/"+name
}

// file is an open file of a segment. It is closed when the last segment in memory
// that has it goes.
type file struct {
	*segment.Reader
	handle fsx.File
	refs   atomic.Int32
}

func (f *file) release() {
	if f != nil && f.refs.Add(-1) == 0 {
		f.Release()
		_ = f.handle.Close() // only read
	}
}

// openFile opens a segment's table. It is segment.Open's error, or fs.ErrNotExist.
func (x *Index) openFile(table string, a address) (*file, error) {
	name := fileName(table, a)
	handle, err := x.dir.Open(name)
	if errors.Is(err, fsx.ErrNotRegular) {
		return nil, &DamageError{File: x.path(name), Want: "a regular file", Got: "something else"}
	}
	if err != nil {
		return nil, err
	}
	want := segment.Header{Vault: x.vault, Table: table, Level: a.level, Number: a.number}
	r, err := segment.Open(handle, x.path(name), want, filterPrefix(table), x.cache)
	if err != nil {
		return nil, errors.Join(err, handle.Close())
	}
	f := &file{Reader: r, handle: handle}
	f.refs.Store(1)
	return f, nil
}

// path is the name of a file relative to the vault's folder.
func (x *Index) path(name string) string {
	if x.name != "" {
		return path.Join(x.name, name)
	}
	return path.Join(x.dir.Path(), name)
}

// unusable reports whether an error is about a file rather than about the disk.
func unusable(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, segment.ErrForeign) ||
		errors.Is(err, segment.ErrVersion) || errors.Is(err, fs.ErrNotExist)
}

// list calls fn for all that has the name of a segment's file.
func (x *Index) list(fn func(table string, a address) error) error {
	for _, table := range x.tables() {
		entries, err := x.dir.ReadDir(table)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("listing index table %s: %w", table, err)
		}
		for _, e := range entries {
			if a, ok := parseFileName(e.Name); ok {
				if err := fn(table, a); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
