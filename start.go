package graven

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"graven/internal/block"
	"graven/internal/index"
	"graven/internal/journal"
	"graven/internal/statestore"
	"graven/internal/tilestore"
	"graven/merkle"
	"graven/record"
	"graven/state"
)

// start is where an open begins to read the log: not later than where index
// segments and state pages end, right behind a commit. What comes before is taken as
// it is until it is read (docs/decisions/0015).
type start struct {
	size uint64 // records before it; 0: the log is read from its first
	// from is a record at most 256 before, where the last tile begins: the lines
	// from there on give the rest of the tree.
	from journal.Start
}

// openDerived opens index and state pages, and chooses how much of them counts: what
// stands behind a size is not known to be synced, and is left out of play. A writer in
// another process may remove files between the moments when they are listed and opened;
// then others have taken their place.
func (v *Vault) openDerived(limit uint64) error {
	for tries := 4; ; tries-- {
		notes, err := v.openRooms()
		if err != nil {
			return err
		}
		err = v.choose(limit)
		if err == nil && v.opts.ReadOnly && v.base != nil {
			err = v.pages.Hold(*v.base)
		}
		if tries > 1 && v.opts.ReadOnly && (len(notes) > 0 || errors.Is(err, statestore.ErrDamaged)) {
			err = v.index.Close()
			v.pages.Close()
			if err == nil {
				continue
			}
		}
		for _, n := range notes {
			v.note("%s", n)
		}
		return err
	}
}

// openRooms opens index and pages, and says what it met.
func (v *Vault) openRooms() (notes []string, err error) {
	if v.index, notes, err = index.Open(v.dir.Sub("index"), v.genesis.Vault, index.Options{ShardBits: int(v.genesis.Shards), CacheBytes: v.opts.CacheBytes / 2}); err != nil {
		return nil, err
	}
	pages, more, err := statestore.Open(v.dir.Sub("state"), v.genesis.Vault, statestore.Options{CacheBytes: v.opts.CacheBytes / 2})
	if err != nil {
		return nil, err
	}
	v.pages = pages
	v.readPins()
	v.journal.SetGrid(v.gridOr0)
	v.blocks.SetFinder(finder{v.index})
	return append(notes, more...), nil
}

// choose takes of index and state pages what lies within a size, and begins there.
func (v *Vault) choose(limit uint64) error {
	var border index.Border
	for _, b := range v.index.Borders() {
		if b.To <= limit {
			border = b
		}
	}
	if err := v.index.Begin(border.Runs); err != nil {
		return err
	}
	v.indexed, v.runs, v.tip.versions = border.To, border.Runs, border.Versions
	v.recent = newRecent(border.Txs)
	v.base, v.entry = nil, start{}
	for _, s := range v.pages.Sets() {
		if s.Position <= limit {
			v.base = &s
		}
	}
	if v.base != nil {
		v.keepPages(v.base.Position) // until the write-ahead log may go
	} else {
		v.keepPages()
	}
	if v.base == nil || border.To == 0 {
		return nil
	}
	return v.startAt(min(border.To, v.base.Position))
}

// startAt lets scans begin at a size.
func (v *Vault) startAt(size uint64) error {
	at, pos, err := v.gridPlace(size - 1)
	if errors.Is(err, index.ErrDamaged) {
		v.note("%v; the log is read from its beginning", err)
		return nil
	}
	if err == nil {
		v.entry = start{size: size, from: journal.Start{Seq: at, Pos: pos}}
	}
	return err
}

// gridPlace is the journal's grid: the place of a record at most 255 before seq.
func (v *Vault) gridPlace(seq uint64) (at uint64, pos journal.Pos, err error) {
	row, ok, err := v.index.Grid(seq)
	if err == nil && !ok {
		err = fmt.Errorf("%w: no place of a record at or before %d", index.ErrDamaged, seq)
	}
	return row.Seq, journal.Pos{File: row.File, Offset: row.Offset}, err
}

// finder finds artifacts in the index.
type finder struct{ x *index.Index }

// Find implements [block.Finder].
func (f finder) Find(id record.ID) iter.Seq2[block.Place, error] {
	return func(yield func(block.Place, error) bool) {
		for p, err := range f.x.Artifact(id) {
			place := block.Place{
				Class: p.Class, ID: p.ID, Number: p.Number, Chunks: p.Chunk, Block: p.Block, Offset: p.Offset, Size: uint32(p.Size),
			}
			if !yield(place, err) {
				return
			}
		}
	}
}

// baseState is the state that the open goes on from.
func (v *Vault) baseState() (m state.Map, size uint64, err error) {
	if v.base == nil {
		return state.Map{}, 0, nil
	}
	m, err = v.pages.Map(*v.base)
	return m, v.base.Position, err
}

// errStart says that the records before a start do not fit to what the tiles say.
var errStart = errors.New("the log cannot be read from here on")

// approach reads the lines before a start, from where the last tile begins, and with
// the commit line at their end sets up scanner and tree.
type approach struct {
	start  start
	tiles  *tilestore.Store
	scan   *scanner
	leaves []merkle.Hash
}

// line takes one of the lines before the start.
func (a *approach) line(seq uint64, line []byte, at journal.Pos) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", errStart, lineError(seq, at, format, args...))
	}
	leaf := merkle.LeafHash(line)
	if seq+1 < a.start.size {
		if f, err := record.ParseFrame(line); err != nil || f.Seq != seq {
			return refuse("it is not record %d", seq)
		}
		a.leaves = append(a.leaves, leaf)
		return nil
	}
	rec, err := record.Parse(line)
	if err != nil {
		return refuse("%v", err)
	}
	commit, ok := rec.Body.(*record.Commit)
	if !ok || rec.Seq != seq {
		return refuse("wanted the commit line that is record %d", seq)
	}
	if err := a.tiles.Resume(seq, a.leaves); err != nil {
		return fmt.Errorf("%w: %w", errStart, err)
	}
	tree := a.tiles.Tree()
	if got := tree.Root(); got != commit.Root {
		return refuse("the tiles give root %v for the records before it, it says %v", got, commit.Root)
	}
	a.tiles.Append([]merkle.Hash{leaf})
	a.scan.goOn(rec.Frame(), commit, line, leaf, at, a.tiles.Tree())
	return nil
}

// goOn makes the scanner stand behind a commit line.
func (s *scanner) goOn(f record.Frame, c *record.Commit, line []byte, leaf merkle.Hash, at journal.Pos, tree merkle.Tree) {
	s.tree = tree
	s.next, s.size = f.Seq+1, f.Seq+1
	s.time, s.epoch, s.height = f.Time, c.Epoch, c.Height+1
	s.prev, s.state = leaf, c.State
	s.commit = append(s.commit[:0], line...)
	s.end = journal.Pos{File: at.File, Offset: at.Offset + int64(len(line)) + 1}
}

// features are those of the log that this program does not know, as far as its
// records before the start tell.
func (v *Vault) features(s *scanner) error {
	s.lackOf(v.genesis.Features)
	seen, err := v.index.Features()
	if err != nil {
		return err
	}
	for _, f := range seen {
		if applied := f.Name != "authority/1" && slices.Contains(knownFeatures, f.Name); !applied && slices.Contains(v.genesis.Features, f.Name) {
			s.lack(f.Name)
		}
	}
	return nil
}

// blocksBefore returns the block records before the start, in order.
func (v *Vault) blocksBefore() (recs []record.Block, err error) {
	if v.entry.size == 0 {
		return nil, nil
	}
	for seq, err := range v.index.Blocks() {
		if err != nil {
			return nil, err
		}
		if seq >= v.entry.size {
			break // it comes with the scan
		}
		rec, err := v.recordAt(seq)
		if err != nil {
			return nil, err
		}
		b, ok := rec.Body.(*record.Block)
		if !ok {
			return nil, fmt.Errorf("%w: record %d is a %s, the index says block", index.ErrDamaged, seq, rec.Kind)
		}
		recs = append(recs, *b)
	}
	return recs, nil
}

// recordAt reads and parses a record.
func (v *Vault) recordAt(seq uint64) (*record.Record, error) {
	line, err := v.journal.Line(seq)
	if err != nil {
		return nil, v.damaged(err)
	}
	rec, err := record.Parse(line)
	if err != nil {
		return nil, fmt.Errorf("%w: record %d: %w", ErrDamaged, seq, err)
	}
	return rec, nil
}

// begin sets the replay up: what the index knows of the records before it, and what
// documents before the start have put into force.
func (v *Vault) begin() (*block.Order, error) {
	v.runsMu.Lock()
	v.runsEnded = nil // those of a replay before this one, which came to nothing
	v.runsMu.Unlock()
	v.tip.run = run{number: v.runs, from: v.indexed}
	v.tip.policy = v.first
	if v.entry.size > 0 {
		if err := errors.Join(v.policyBefore(), v.authorityBefore(), v.segmentsBefore()); err != nil {
			return nil, err
		}
	}
	return block.NewOrder(v.blocks, v.runMark), nil
}

// documents returns the newest records of a kind before the start, at most so many.
func (v *Vault) documents(kind string, most int) (seqs []uint64, err error) {
	for seq, err := range v.index.Documents(kind) {
		if err != nil {
			return nil, err
		}
		if seq < v.entry.size {
			if seqs = append(seqs, seq); len(seqs) == most {
				break
			}
		}
	}
	return seqs, nil
}

// policyBefore puts the policy in force at the start into the tip.
func (v *Vault) policyBefore() error {
	seqs, err := v.documents(record.KindPolicy, 1)
	if err != nil || len(seqs) == 0 {
		return err
	}
	line, err := v.journal.Line(seqs[0])
	if err != nil {
		return v.damaged(err)
	}
	rec, err := record.Parse(line)
	if err != nil {
		return fmt.Errorf("%w: record %d: %w", ErrDamaged, seqs[0], err)
	}
	doc, ok := rec.Body.(*record.Document)
	if !ok {
		return fmt.Errorf("%w: record %d is a %s, the index says policy", index.ErrDamaged, seqs[0], rec.Kind)
	}
	v.tip.policy, err = v.readPolicy(doc.Doc, &policy{number: doc.Number, seq: seqs[0], leaf: merkle.LeafHash(line)})
	return err
}

// authorityBefore forgets the first authority if another one followed before the start.
func (v *Vault) authorityBefore() error {
	seqs, err := v.documents(record.KindAuthority, 1)
	if len(seqs) > 0 {
		v.authority = nil // not applied yet: the vault is read-only
	}
	return err
}

// segmentsBefore finds, of each level, the newest segment that a record before the
// start tells of. Among so many are some of every level that matters; of one that is
// missed a record is written again, which is only evidence.
func (v *Vault) segmentsBefore() error {
	const enough = 64
	seqs, err := v.documents(record.KindSegment, enough)
	if err != nil {
		return err
	}
	for _, seq := range seqs {
		rec, err := v.recordAt(seq)
		if err != nil {
			return err
		}
		if s, ok := rec.Body.(*record.Segment); ok {
			v.segmentsTo[s.Level] = max(v.segmentsTo[s.Level], s.Number+1)
		}
	}
	return nil
}
