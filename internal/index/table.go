package index

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"sort"
	"sync"

	"github.com/google/btree"

	"graven/internal/segment"
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

// entry is a key and its versions in memory.
//
// Invariant: there is a version; their seqs rise; their N follow one another.
type entry struct {
	key      []byte // never changed
	versions []Version
}

// upTo returns how many versions are at or before pos.
func (e *entry) upTo(pos uint64) int {
	// Nearly every reader asks for the newest.
	if n := len(e.versions); n > 0 && e.versions[n-1].Seq <= pos {
		return n
	}
	return sort.Search(len(e.versions), func(i int) bool { return e.versions[i].Seq > pos })
}

// at returns the newest version at or before pos.
func (e *entry) at(pos uint64) (Version, bool) {
	i := e.upTo(pos)
	if i == 0 {
		return Version{}, false
	}
	return e.versions[i-1], true
}

// table is the versions that no segment has yet, in byte order of their keys.
type table struct {
	mu    sync.RWMutex // guards what follows, and through it every entry; never held over I/O
	tree  *btree.BTreeG[*entry]
	byKey map[string]*entry // the same entries
}

func newTable() *table {
	less := func(a, b *entry) bool { return bytes.Compare(a.key, b.key) < 0 }
	return &table{tree: btree.NewG(32, less), byKey: map[string]*entry{}}
}

// add appends the next version of key. The table keeps its own copy of key.
func (t *table) add(key []byte, v Version) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.byKey[string(key)]
	if e == nil {
		e = &entry{key: bytes.Clone(key), versions: []Version{v}}
		t.tree.ReplaceOrInsert(e)
		t.byKey[string(key)] = e
		return nil
	}
	last := e.versions[len(e.versions)-1]
	if v.Seq <= last.Seq {
		return fmt.Errorf("index: key %q has a version at seq %d; another at seq %d cannot follow", key, last.Seq, v.Seq)
	}
	if want := last.N + 1; v.N != want {
		return fmt.Errorf("index: key %q at seq %d: version number %d, wanted %d", key, v.Seq, v.N, want)
	}
	e.versions = append(e.versions, v)
	return nil
}

// cut takes back the versions of key at or above seq, and returns how many.
func (t *table) cut(key []byte, seq uint64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.byKey[string(key)]
	if e == nil {
		return 0
	}
	n := len(e.versions)
	for len(e.versions) > 0 && e.versions[len(e.versions)-1].Seq >= seq {
		e.versions = e.versions[:len(e.versions)-1]
	}
	if len(e.versions) == 0 {
		t.drop(e)
	}
	return n - len(e.versions)
}

// drop lets go of an entry. The caller holds mu.
func (t *table) drop(e *entry) {
	t.tree.Delete(e)
	delete(t.byKey, string(e.key))
}

// at returns the newest version of key with a seq at or below pos.
func (t *table) at(key []byte, pos uint64) (Version, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := t.byKey[string(key)]
	if e == nil {
		return Version{}, false
	}
	return e.at(pos)
}

// history returns the versions of key at or before pos, the newest first, at most max.
func (t *table) history(key []byte, pos uint64, max int) []Version {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := t.byKey[string(key)]
	if e == nil {
		return nil
	}
	n := e.upTo(pos)
	list := slices.Clone(e.versions[n-min(n, max) : n])
	slices.Reverse(list)
	return list
}

// Item is a key and its version at the position that was asked for.
type Item struct {
	Key     []byte // the index's own; not to be changed
	Version Version
}

// batch is how many keys are read under one hold of the lock: a long scan must
// not keep the writer waiting.
const batch = 256

// scan returns items of the first keys of [from, to), or, if reverse, of the
// last ones, that have a version at or before pos. It looks at up to batch keys:
// if there may be more, last is the last that it looked at.
func (t *table) scan(from, to []byte, pos uint64, reverse bool) (items []Item, last []byte) {
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
	defer t.mu.RUnlock()
	if reverse {
		t.descend(from, to, visit)
	} else {
		t.ascend(from, to, visit)
	}
	if seen < batch {
		return items, nil
	}
	return items, last
}

func (t *table) ascend(from, to []byte, visit func(*entry) bool) {
	if to == nil {
		t.tree.AscendGreaterOrEqual(&entry{key: from}, visit)
		return
	}
	t.tree.AscendRange(&entry{key: from}, &entry{key: to}, visit)
}

func (t *table) descend(from, to []byte, visit func(*entry) bool) {
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

// each calls fn for every key from the least on, a batch under each hold of the
// lock, which is shared. It stops when fn returns false.
func (t *table) each(fn func(*entry) bool) {
	for lower := []byte{}; lower != nil; {
		seen, goOn := 0, true
		var last []byte
		t.mu.RLock()
		t.ascend(lower, nil, func(e *entry) bool {
			seen++
			last = e.key
			goOn = fn(e)
			return goOn && seen < batch
		})
		t.mu.RUnlock()
		if !goOn || seen < batch {
			return
		}
		lower = after(last)
	}
}

// after is the least key behind key.
func after(key []byte) []byte { return append(append(make([]byte, 0, len(key)+1), key...), 0) }

// purge lets go of the versions below to, which a segment has now.
func (t *table) purge(to uint64) {
	var old []*entry
	t.each(func(e *entry) bool {
		if e.versions[0].Seq < to {
			old = append(old, e)
		}
		return true
	})
	for some := range slices.Chunk(old, batch) {
		t.mu.Lock()
		for _, e := range some {
			n := 0
			for n < len(e.versions) && e.versions[n].Seq < to {
				n++
			}
			e.versions = slices.Clone(e.versions[n:])
			if len(e.versions) == 0 {
				t.drop(e)
			}
		}
		t.mu.Unlock()
	}
}

// count returns how many versions there are in [from, to), and of how many keys.
func (t *table) count(from, to uint64) (keys, versions uint64) {
	t.each(func(e *entry) bool {
		if n := e.upTo(to-1) - e.below(from); n > 0 {
			keys++
			versions += uint64(n)
		}
		return true
	})
	return keys, versions
}

// below returns how many versions are before seq.
func (e *entry) below(seq uint64) int {
	if seq == 0 {
		return 0
	}
	return e.upTo(seq - 1)
}

// rows are the rows of `keys` for the versions in [from, to), which must not
// change any more. No lock is held while one is being written.
func (t *table) rows(from, to uint64) segment.Rows {
	return func() iter.Seq2[segment.Row, error] {
		return func(yield func(segment.Row, error) bool) {
			for lower := []byte{}; lower != nil; {
				list, next, err := t.someRows(lower, from, to)
				for _, row := range list {
					if !yield(row, nil) {
						return
					}
				}
				if err != nil {
					yield(segment.Row{}, err)
					return
				}
				lower = next
			}
		}
	}
}

// someRows are the rows of the next keys from lower on. The one behind them is
// next; nil: there is none.
func (t *table) someRows(lower []byte, from, to uint64) (list []segment.Row, next []byte, err error) {
	seen := 0
	var values []byte
	t.mu.RLock()
	defer t.mu.RUnlock()
	t.ascend(lower, nil, func(e *entry) bool {
		if seen++; seen > batch {
			next = e.key
			return false
		}
		for i := e.upTo(to-1) - 1; i >= e.below(from) && err == nil; i-- {
			start := len(values)
			values, err = appendVersion(values, &e.versions[i])
			list = append(list, segment.Row{Key: e.key, Seq: e.versions[i].Seq, Value: values[start:len(values):len(values)]})
		}
		return err == nil
	})
	return list, next, err
}
