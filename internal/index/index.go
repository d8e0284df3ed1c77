// Package index finds the versions of keys: which record holds the newest
// version of a key at or before a position, which keys lie in a range, and
// what a key was in the past.
//
// A [Table] holds, in memory, every version of every stored key (the space
// byte followed by the key) in byte order. It is multi-version: a reader names
// a position and sees only versions whose seq is at or below it, so one table
// serves the newest view and every older one, and the committer may add the
// versions of a group before that group is durable: no view reaches them yet.
//
// The table is derived data. It is filled again from the log when a vault is
// opened, and nothing here is ever the source of truth.
//
//	t := index.New()
//	t.Add(key, index.Version{Seq: 7, N: 1, Live: true, Value: id})
//	v, ok := t.At(key, 7)
//
// Invariants: the versions of a key have rising seqs and n = 1, 2, 3, …;
// a table has one writer and any number of readers.
package index

import (
	"bytes"
	"fmt"
	"sort"
	"sync"

	"github.com/google/btree"

	"graven/record"
)

// Version is one version of a key: what its op line says, and where that line is.
type Version struct {
	Seq, N, Prev, Skip uint64 // as in the op; Seq is the record's
	Size               uint64 // bytes of the value; 0 for a delete
	Value              record.ID
	Chunks             *record.ID // the list of a chunked value; nil otherwise
	Type               string     // media type; empty if none
	Op                 uint32     // position of the op in its transaction
	Live               bool       // false: the version is a delete
}

type entry struct {
	key      []byte
	versions []Version // rising Seq; N = position + 1
}

// at returns the newest version at or before pos.
func (e *entry) at(pos uint64) (Version, bool) {
	// Nearly every reader asks for the newest.
	if n := len(e.versions); n > 0 && e.versions[n-1].Seq <= pos {
		return e.versions[n-1], true
	}
	i := sort.Search(len(e.versions), func(i int) bool { return e.versions[i].Seq > pos })
	if i == 0 {
		return Version{}, false
	}
	return e.versions[i-1], true
}

// Table is the in-memory index. Its zero value is not usable; call [New].
type Table struct {
	mu   sync.RWMutex // guards tree, and through it every entry
	tree *btree.BTreeG[*entry]
	live int // keys whose newest version is live
	all  int // versions
}

// New returns an empty table.
func New() *Table {
	less := func(a, b *entry) bool { return bytes.Compare(a.key, b.key) < 0 }
	return &Table{tree: btree.NewG(32, less)}
}

// Add appends the next version of key. The table keeps its own copy of key.
// Versions out of order are an error: the log they came from is damaged.
func (t *Table) Add(key []byte, v Version) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.tree.Get(&entry{key: key})
	if !ok {
		e = &entry{key: bytes.Clone(key)}
		t.tree.ReplaceOrInsert(e)
	}
	was := false
	if n := len(e.versions); n > 0 {
		last := e.versions[n-1]
		if v.Seq <= last.Seq {
			return fmt.Errorf("index: key %q has a version at seq %d; another at seq %d cannot follow", key, last.Seq, v.Seq)
		}
		was = last.Live
	}
	if want := uint64(len(e.versions) + 1); v.N != want {
		return fmt.Errorf("index: key %q at seq %d: version number %d, wanted %d", key, v.Seq, v.N, want)
	}
	e.versions = append(e.versions, v)
	t.all++
	t.count(was, v.Live)
	return nil
}

func (t *Table) count(was, is bool) {
	if is && !was {
		t.live++
	} else if was && !is {
		t.live--
	}
}

// Cut takes back the versions of key at or above seq: the group that held them
// was refused before its first byte.
func (t *Table) Cut(key []byte, seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.tree.Get(&entry{key: key})
	if !ok {
		return
	}
	for n := len(e.versions); n > 0 && e.versions[n-1].Seq >= seq; n-- {
		before := n > 1 && e.versions[n-2].Live
		t.count(e.versions[n-1].Live, before)
		e.versions = e.versions[:n-1]
		t.all--
	}
	if len(e.versions) == 0 {
		t.tree.Delete(e)
	}
}

// At returns the newest version of key with a seq at or below pos.
func (t *Table) At(key []byte, pos uint64) (Version, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e, ok := t.tree.Get(&entry{key: key})
	if !ok {
		return Version{}, false
	}
	return e.at(pos)
}

// Number returns version n of key (from 1).
func (t *Table) Number(key []byte, n uint64) (Version, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e, ok := t.tree.Get(&entry{key: key})
	if !ok || n == 0 || n > uint64(len(e.versions)) {
		return Version{}, false
	}
	return e.versions[n-1], true
}

// Item is a key and its version at the position that was asked for.
type Item struct {
	Key     []byte // the table's own; not to be changed
	Version Version
}

// batch is how many keys a scan reads under one hold of the lock: a long scan
// must not keep the writer waiting.
const batch = 256

// Scan calls fn for the keys of [from, to) that have a version at or before
// pos, with that version, in byte order or, if reverse, against it. A nil to
// means no upper end. It stops when fn returns false. fn runs without the
// table's lock and may call the table.
func (t *Table) Scan(from, to []byte, pos uint64, reverse bool, fn func(Item) bool) {
	if to != nil && bytes.Compare(from, to) >= 0 {
		return
	}
	items := make([]Item, 0, batch)
	lower, upper := from, to
	for {
		items = items[:0]
		var last []byte // the last key seen, with or without a version at pos
		seen := 0
		visit := func(e *entry) bool {
			seen++
			last = e.key
			if v, ok := e.at(pos); ok {
				items = append(items, Item{Key: e.key, Version: v})
			}
			return seen < batch
		}
		t.mu.RLock()
		if reverse {
			t.descend(lower, upper, visit)
		} else {
			t.ascend(lower, upper, visit)
		}
		t.mu.RUnlock()
		for _, it := range items {
			if !fn(it) {
				return
			}
		}
		if seen < batch {
			return
		}
		if reverse {
			upper = last
		} else {
			lower = append(bytes.Clone(last), 0) // the least key after last
		}
	}
}

func (t *Table) ascend(from, to []byte, visit func(*entry) bool) {
	if to == nil {
		t.tree.AscendGreaterOrEqual(&entry{key: from}, visit)
		return
	}
	t.tree.AscendRange(&entry{key: from}, &entry{key: to}, visit)
}

func (t *Table) descend(from, to []byte, visit func(*entry) bool) {
	within := func(e *entry) bool {
		if bytes.Compare(e.key, from) < 0 {
			return false
		}
		return visit(e)
	}
	if to == nil {
		t.tree.Descend(within)
		return
	}
	t.tree.DescendLessOrEqual(&entry{key: to}, func(e *entry) bool {
		if bytes.Equal(e.key, to) {
			return true // to is excluded
		}
		return within(e)
	})
}

// Changed returns the seq of the newest version at or before pos of any key in
// [from, to), and 0 if there is none.
func (t *Table) Changed(from, to []byte, pos uint64) uint64 {
	newest := uint64(0)
	t.Scan(from, to, pos, false, func(it Item) bool {
		newest = max(newest, it.Version.Seq)
		return true
	})
	return newest
}

// Stats counts what the table holds: keys ever written, keys now live, versions.
func (t *Table) Stats() (keys, live, versions int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.tree.Len(), t.live, t.all
}
