package index

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"graven/internal/fsx"
	"graven/internal/segment"
	"graven/record"
)

// Errors of the index.
var (
	// ErrDamaged says that a file of a segment does not hold what was written. The
	// error is a [*DamageError]. Nothing is lost: the log has it.
	ErrDamaged = segment.ErrDamaged
	// ErrClosed says that the index was closed.
	ErrClosed = errors.New("index is closed")
)

// DamageError says which file is damaged, where and how.
type DamageError = segment.DamageError

// File is what a file of the index is read through.
type File = segment.File

// Options of an index. The zero value is a good one.
type Options struct {
	// ShardBits is how many bits of a digest choose the file of an artifact, 0 to
	// 12: genesis says it.
	ShardBits int
	// CacheBytes bounds the pages in memory; 0: 32 MiB.
	CacheBytes int64
}

const (
	defaultCache = 32 << 20
	maxShardBits = 12
)

// Index is the index of one vault. Readers may be any number; see the package's
// documentation for who may write.
type Index struct {
	dir   fsx.Dir // the vault's folder index/
	vault record.VaultID
	opts  Options
	cache *segment.Cache
	name  string // of the folder in errors, if not that of dir; see Fork

	mender Mender // may be nil

	memory   *table        // versions at or above the border, and for a while those of a new segment
	versions atomic.Uint64 // of keys, below the border and above
	set      atomic.Pointer[set]

	sealing sync.Mutex // held by Seal, Begin and Sweep; taken before merging
	merging sync.Mutex // held by Merge, Begin and Sweep; taken before mu
	mu      sync.Mutex // guards found, and changes of set; never held over I/O
	// found has the whole segments that Open met and no Seal has made obsolete, and
	// those in play.
	found map[address]*seg
}

// New returns an index in memory alone, for a log that is replayed on the side.
// It cannot seal.
func New() *Index {
	x := &Index{memory: newTable(), found: map[address]*seg{}, cache: segment.NewCache(0)}
	x.set.Store(newSet(nil))
	return x
}

// Open opens the index in dir, which need not exist. It lists the folder, reads
// the two ends of each file, and changes nothing. Notes say, for people, which
// files cannot be used and why. The error is that of the disk.
//
// Nothing is in play yet: see Borders and Begin.
func Open(dir fsx.Dir, vault record.VaultID, opts Options) (x *Index, notes []string, err error) {
	if opts.ShardBits < 0 || opts.ShardBits > maxShardBits {
		return nil, nil, fmt.Errorf("index: %d bits of a shard, wanted 0 to %d", opts.ShardBits, maxShardBits)
	}
	if opts.CacheBytes == 0 {
		opts.CacheBytes = defaultCache
	}
	x = New()
	x.dir, x.vault, x.opts, x.cache = dir, vault, opts, segment.NewCache(opts.CacheBytes)
	all := map[address]bool{}
	if err := x.list(func(_ string, a address) error { all[a] = true; return nil }); err != nil {
		return nil, nil, err
	}
	problems := map[address][]string{}
	for a := range all {
		s, p, err := x.openSegment(a)
		if err != nil {
			return nil, nil, errors.Join(err, x.Close())
		}
		problems[a] = p
		if s != nil {
			x.found[a] = s
		}
	}
	return x, x.notes(problems), nil
}

// notes are the problems of segments that no whole segment takes the place of,
// and what cannot be reached because of them.
func (x *Index) notes(problems map[address][]string) (notes []string) {
	for _, a := range sorted(problems) {
		if !x.superseded(a) {
			notes = append(notes, problems[a]...)
		}
	}
	reached := x.reach()
	for _, a := range sorted(x.found) {
		if _, ok := reached[a.end()]; !ok {
			notes = append(notes, fmt.Sprintf("segment %v of the index is of no use: those before it are missing or do not fit", a))
		}
	}
	return notes
}

func sorted[V any](m map[address]V) []address {
	list := make([]address, 0, len(m))
	for a := range m {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b address) int {
		return cmp.Or(cmp.Compare(a.start(), b.start()), cmp.Compare(a.level, b.level))
	})
	return list
}

// superseded reports whether a whole segment takes the place of another.
func (x *Index) superseded(a address) bool {
	for a.level < maxLevel {
		a = a.parent()
		if x.found[a] != nil {
			return true
		}
	}
	return false
}

// reach returns, for each number of runs that whole segments cover without a gap,
// the widest segment with which the cover can end.
func (x *Index) reach() map[uint64]*seg {
	list := sorted(x.found)
	slices.SortStableFunc(list, func(a, b address) int {
		return cmp.Or(cmp.Compare(a.end(), b.end()), cmp.Compare(a.level, b.level))
	})
	reached := map[uint64]*seg{0: {}}
	for _, a := range list {
		s := x.found[a]
		if before := reached[a.start()]; before != nil && before.to == s.from {
			reached[a.end()] = s
		}
	}
	return reached
}

// cover returns the fewest segments that cover so many runs.
func cover(reached map[uint64]*seg, runs uint64) []*seg {
	var list []*seg
	for runs > 0 {
		s := reached[runs]
		list = append(list, s)
		runs = s.start()
	}
	slices.Reverse(list)
	return list
}

// whole reports whether a cover has all the ids that count.
func whole(list []*seg) bool {
	for i, s := range list {
		if s.ids == nil && idsNeeded(list, i) {
			return false
		}
	}
	return true
}

// Border is a position up to which there are segments of all records.
type Border struct {
	To       uint64 // the first record that they are not about
	Runs     uint64
	Txs      uint64 // transactions before To
	Versions uint64 // versions of keys before To
}

// border is the border at the end of a segment.
func (s *seg) border() Border {
	return Border{To: s.to, Runs: s.end(), Txs: s.sum.Txs, Versions: s.sum.Versions}
}

// Borders returns where the index can begin, besides 0, in ascending order.
func (x *Index) Borders() []Border {
	x.mu.Lock()
	defer x.mu.Unlock()
	reached := x.reach()
	var list []Border
	for runs, s := range reached {
		if runs > 0 && whole(cover(reached, runs)) {
			list = append(list, s.border())
		}
	}
	slices.SortFunc(list, func(a, b Border) int { return cmp.Compare(a.Runs, b.Runs) })
	return list
}

// Begin puts the segments of the first so many runs in play, which must be a
// border or 0, and empties the memory. The log is to be replayed from the
// border's To. Begin may be called again, with a lower border too.
func (x *Index) Begin(runs uint64) error {
	x.sealing.Lock()
	defer x.sealing.Unlock()
	x.merging.Lock()
	defer x.merging.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	reached := x.reach()
	if reached[runs] == nil {
		return fmt.Errorf("index: no segments cover %d runs", runs)
	}
	list := cover(reached, runs)
	if !whole(list) {
		return fmt.Errorf("index: some of the ids of the first %d runs are missing", runs)
	}
	x.memory = newTable()
	x.versions.Store(reached[runs].sum.Versions)
	x.install(list)
	return nil
}

// Close closes all files, those of readers that are at work behind their back
// when they are done. Later calls are ErrClosed.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	end := newSet(nil)
	end.closed = true
	x.set.Swap(end).release()
	for a, s := range x.found {
		s.release()
		delete(x.found, a)
	}
	return nil
}
