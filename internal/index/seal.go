package index

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"

	"graven/internal/fsx"
	"graven/internal/segment"
	"graven/merkle"
	"graven/record"
)

// Run is what a segment of level 0 is made of, besides the versions of keys.
// The lists may be in any order. Where two artifacts have the same digest, class
// and kind of block, or two features the same name, the one that comes first counts.
type Run struct {
	Number    uint64 // from 0
	From, To  uint64 // its records
	Txs       uint64 // transactions before To, those of earlier runs too
	Versions  uint64 // versions of keys before To, likewise
	Artifacts []Place
	IDs       []IDRow
	Grid      []Grid
	Blocks    []uint64
	Documents []Document
	Signed    []Signed
	Features  []Feature
	Entered   []Entered // at To
}

// Made is a segment that was written: what a `segment` record says of it.
type Made struct {
	Level, Number uint64
	// Root is the RFC 6962 root over the lines `<64 hex>  <name>` of its files,
	// names relative to the vault's folder, in byte order of the names.
	Root merkle.Hash
}

// Seal makes the next run's segment: it writes its files, puts them in play, and
// then lets go of the versions of keys in memory that are before run.To. The run
// must begin at the border, and must be durable in the log. The same run gives
// the same bytes, whether it was written just now or replayed.
//
// After an error nothing has changed for readers, and Seal may be called again.
// What it or a crash leaves is some of the files, each whole; keys are the last.
// An open calls such a segment missing, and the next Seal of the run takes them
// if they are the same, and makes them again if not.
func (x *Index) Seal(run Run) (Made, error) {
	x.sealing.Lock()
	defer x.sealing.Unlock()
	now, err := x.acquire()
	if err != nil {
		return Made{}, err
	}
	defer now.release()
	tables, err := x.tablesOf(&run, now)
	if err != nil {
		return Made{}, err
	}
	sum := segment.Summary{Txs: run.Txs, Versions: run.Versions}
	s, made, err := x.make(address{0, run.Number}, run.From, run.To, sum, tables)
	if err != nil {
		return Made{}, err
	}
	x.mu.Lock()
	if err := x.replace(s); err != nil {
		x.mu.Unlock()
		return Made{}, err
	}
	x.forget()
	x.mu.Unlock()
	x.memory.purge(run.To) // not before the segment is in play: see At
	return made, nil
}

// rows are the rows of a table to be written.
type rows struct {
	keys uint64 // see segment.Filter
	each segment.Rows
}

// tablesOf makes the rows of a run's tables, and holds it against what is there.
func (x *Index) tablesOf(run *Run, now *set) (map[string]rows, error) {
	before := now.last()
	if x.vault == (record.VaultID{}) {
		return nil, errors.New("index: an index in memory cannot seal")
	}
	if run.Number != now.runs() || run.From != before.to || run.To <= run.From || run.Number > maxNumber {
		return nil, fmt.Errorf("index: run %d of records [%d, %d) does not follow run %d, which ends at %d", run.Number, run.From, run.To, now.runs(), before.to)
	}
	keys, versions := x.memory.count(run.From, run.To)
	if run.Txs < before.sum.Txs || before.sum.Versions+versions != run.Versions {
		return nil, fmt.Errorf("index: run %d has %d versions of keys, %d before it, wanted %d in all", run.Number, versions, before.sum.Versions, run.Versions)
	}
	logRows, err := run.logRows()
	if err != nil {
		return nil, err
	}
	tables := map[string]rows{
		tableKeys: {keys: keys, each: x.memory.rows(run.From, run.To)},
		tableLog:  sortedRows(logRows, tableLog),
		tableIDs:  sortedRows(run.idRows(), tableIDs),
	}
	for shard, list := range run.shardRows(x.opts.ShardBits) {
		tables[shardTable(shard)] = sortedRows(list, shardTable(shard))
	}
	return tables, nil
}

// shardRows makes the rows of each shard. They are not in order.
func (run *Run) shardRows(bits int) [][]segment.Row {
	shards := make([][]segment.Row, 1<<bits)
	for i := range shards {
		shards[i] = make([]segment.Row, 0, len(run.Artifacts)>>bits)
	}
	arena := make([]byte, 0, 64*len(run.Artifacts)) // keys and values, one behind the other
	for i := range run.Artifacts {
		p := &run.Artifacts[i]
		start := len(arena)
		arena = p.appendKey(arena)
		key := len(arena)
		arena = p.appendValue(arena)
		shard := shardOf(p.ID, bits)
		shards[shard] = append(shards[shard], segment.Row{Key: arena[start:key:key], Value: arena[key:len(arena):len(arena)]})
	}
	return shards
}

func (run *Run) idRows() []segment.Row {
	list := make([]segment.Row, len(run.IDs))
	for i := range run.IDs {
		r := &run.IDs[i]
		list[i] = segment.Row{Key: idKey(r.Actor, r.ID), Seq: r.Seq, Value: r.appendValue(nil)}
	}
	return list
}

// sortedRows puts rows in order; of equal ones the first stays.
func sortedRows(list []segment.Row, table string) rows {
	slices.SortStableFunc(list, func(a, b segment.Row) int {
		return cmp.Or(bytes.Compare(a.Key, b.Key), cmp.Compare(b.Seq, a.Seq))
	})
	list = slices.CompactFunc(list, func(a, b segment.Row) bool { return a.Seq == b.Seq && bytes.Equal(a.Key, b.Key) })
	filter := segment.Filter{Prefix: filterPrefix(table)}
	keys := uint64(0)
	for i := range list {
		if i == 0 || !bytes.Equal(filter.Part(list[i].Key), filter.Part(list[i-1].Key)) {
			keys++
		}
	}
	return rows{keys: keys, each: func() iter.Seq2[segment.Row, error] {
		return func(yield func(segment.Row, error) bool) {
			for _, row := range list {
				if !yield(row, nil) {
					return
				}
			}
		}
	}}
}

// make writes the files of a segment and opens them. The segment has a reference,
// the caller's.
func (x *Index) make(a address, from, to uint64, sum segment.Summary, tables map[string]rows) (*seg, Made, error) {
	var lines []string
	for _, table := range x.tables() {
		name := fileName(table, a)
		h := segment.Header{Vault: x.vault, Table: table, Level: a.level, Number: a.number, From: from, To: to}
		id, err := x.publish(name, h, sum, tables[table])
		if err != nil {
			return nil, Made{}, fmt.Errorf("writing %s: %w", x.path(name), err)
		}
		lines = append(lines, x.path(name)+"\x00"+id.Hex())
	}
	s, problems, err := x.openSegment(a)
	if err == nil && (len(problems) > 0 || s.ids == nil) {
		err = fmt.Errorf("index: segment %v was written and cannot be read back: %q", a, problems)
	}
	if err != nil {
		return nil, Made{}, err
	}
	slices.Sort(lines)
	leaves := make([]merkle.Hash, len(lines))
	for i, line := range lines {
		name, id, _ := bytes.Cut([]byte(line), []byte{0})
		leaves[i] = merkle.LeafHash(fmt.Appendf(nil, "%s  %s", id, name))
	}
	return s, Made{Level: a.level, Number: a.number, Root: merkle.RootOf(leaves)}, nil
}

// publish writes a file, durably, and returns its SHA-256. If the name is taken
// by the same bytes that is as good; if by others they go, since all of this is
// derived.
func (x *Index) publish(name string, h segment.Header, sum segment.Summary, r rows) (id record.ID, err error) {
	write := func(w io.Writer) (err error) {
		filter := segment.Filter{Keys: r.keys, Prefix: filterPrefix(h.Table)}
		id, err = segment.Write(w, h, sum, filter, r.each)
		return err
	}
	err = x.dir.Publish(name, write)
	if !errors.Is(err, fs.ErrExist) {
		return id, err
	}
	if err := write(io.Discard); err != nil {
		return id, err
	}
	same, err := x.holds(name, id)
	if err != nil {
		return id, err
	}
	if same { // it may be in the page cache only, left by a process that was killed
		return id, x.dir.Sync(name)
	}
	if err := x.discard(name); err != nil {
		return id, err
	}
	return id, x.dir.Publish(name, write)
}

// holds reports whether a file has these bytes.
func (x *Index) holds(name string, want record.ID) (bool, error) {
	f, err := x.dir.Open(name)
	if errors.Is(err, fsx.ErrNotRegular) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	sha := sha256.New()
	if _, err := io.Copy(sha, io.NewSectionReader(f, 0, size)); err != nil {
		return false, err
	}
	return record.ID(sha.Sum(nil)) == want, nil
}

// discard removes a file, or what else has its name.
func (x *Index) discard(name string) error {
	err := x.dir.Discard(name)
	if errors.Is(err, fsx.ErrNotEmpty) {
		if err = x.dir.DiscardAll(name); err == nil {
			err = x.dir.Discard(name)
		}
	}
	return err
}

// replace puts a new segment in play, in the place of those that it covers. The
// reference of the caller goes to found. It fails if the index was closed
// meanwhile. The caller holds mu.
func (x *Index) replace(s *seg) error {
	current := x.set.Load()
	if current.closed {
		s.release()
		return ErrClosed
	}
	var list []*seg
	for _, old := range current.segs {
		if old.start() < s.start() || old.start() >= s.end() {
			list = append(list, old)
		}
	}
	list = append(list, s)
	slices.SortFunc(list, func(a, b *seg) int { return cmp.Compare(a.start(), b.start()) })
	x.install(list)
	if old := x.found[s.address]; old != nil {
		old.release()
	}
	x.found[s.address] = s
	return nil
}

// forget lets go of the segments that are not in play. The caller holds mu.
func (x *Index) forget() {
	for a, s := range x.found {
		if !slices.Contains(x.set.Load().segs, s) {
			s.release()
			delete(x.found, a)
		}
	}
}
