package graven

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"graven/internal/block"
	"graven/internal/index"
	"graven/internal/journal"
	"graven/internal/statestore"
	"graven/merkle"
	"graven/record"
)

// checkFolder is where a check replays the log, if it may write: an index and pages of
// the state of its own keep its memory from growing with the log.
const checkFolder = scratch + "/check"

// checkState replays the transactions and holds the state root of every commit
// against the state so far, up to the first record that is damaged. The segments that
// the replay gives are held against those of the index, byte by byte. The error is
// that of the check itself: ctx's, or that of the disk it writes to.
func (c *checker) checkState(v *Vault) (err error) {
	size := c.wholeSize()
	if err := v.openJournal(); err != nil {
		c.find("log", -1, "%v", err)
		return nil
	}
	v.journal.SetGrid(c.gridPlace)
	v.recent, v.segmentsTo = newRecent(0), map[uint64]uint64{}
	if err := c.scratchRooms(v); err != nil {
		return err
	}
	s := &stateChecker{checker: c, v: v, size: size}
	order := block.NewOrder(v.blocks, block.Mark{})
	s.r = &replayer{v: v, mend: v.pages != nil, order: order}
	s.x, s.pages = c.derivedRooms()
	if s.x != nil && c.live == nil {
		defer s.x.Close()
		defer s.pages.Close()
	}
	if s.pages != nil {
		s.sets = s.pages.Sets()
	}
	if s.x != nil {
		s.inPlay = s.x.Ends()
	}
	whole, err := s.replay()
	if err != nil || !whole {
		return err
	}
	if s.docErr == nil && v.first == nil {
		s.documents()
	}
	c.report.State = s.r.state().Root()
	if s.x != nil {
		s.compareEnds()
		c.checkPages(s.x, s.pages)
	}
	if err := order.Finish(); err != nil {
		c.find("blocks", -1, "%v", err)
	}
	if size < c.report.Size {
		c.find("", -1, "the state from record %d on is not checked, since record %d is damaged", size, c.broken)
	}
	if s.docErr != nil {
		c.find("", -1, "%v", s.docErr)
		return nil
	}
	c.checkDocuments(v, size == c.report.Size)
	return nil
}

// gridPlace is the grid of a check's own journal.
func (c *checker) gridPlace(seq uint64) (uint64, journal.Pos, error) {
	i := seq / merkle.TileWidth
	if i >= uint64(len(c.grid)) {
		return 0, journal.Pos{}, fmt.Errorf("%w: record %d was not read", ErrDamaged, seq)
	}
	return i * merkle.TileWidth, c.grid[i], nil
}

// scratchRooms gives the replay its index and state: on disk if this process may write
// here and no other check has them, in memory otherwise.
func (c *checker) scratchRooms(v *Vault) (err error) {
	v.index = index.New()
	if c.live == nil {
		return nil
	}
	if !c.live.checking.TryLock() {
		c.note("another check of this vault is under way; this one replays in memory")
		return nil
	}
	c.scratched = true
	if err := c.dir.DiscardAll(checkFolder); err != nil {
		return err
	}
	cache := c.live.opts.stateBytes // as much as nodes that are not written yet
	empty, _, err := index.Open(c.dir.Sub(checkFolder+"/index"), c.genesis.Vault, index.Options{ShardBits: int(c.genesis.Shards), CacheBytes: min(cache, 32<<20)})
	if err != nil {
		return err
	}
	v.index = empty
	v.pages, _, err = statestore.Open(c.dir.Sub(checkFolder+"/state"), c.genesis.Vault, statestore.Options{CacheBytes: cache})
	v.opts.stateBytes = c.live.opts.stateBytes
	v.blocks.SetFinder(finder{v.index}) // for those that have left memory
	return err
}

// dropScratch removes what scratchRooms made. If the vault was closed meanwhile the
// folder may be another process's, whose open empties it.
func (c *checker) dropScratch() error {
	if !c.scratched {
		return nil
	}
	c.scratched = false
	defer c.live.checking.Unlock()
	if c.live.ended.Load() {
		return nil
	}
	return c.dir.DiscardAll(checkFolder)
}

// stateChecker is the replay of a check.
type stateChecker struct {
	*checker
	v     *Vault // over the same folder, with rooms of its own
	r     *replayer
	size  uint64
	x     *index.Index // the vault's; nil: it cannot be read
	pages *statestore.Store
	sets  []statestore.Set

	inPlay []index.End    // the vault's segments when the check began
	ends   []index.Border // of the runs that the log has
	docErr error          // why authority and policy cannot be read
	held   []byte         // the line before, which is replayed when the journal knows its place
	files  []string
	listed bool
}

// replay reads the log once: each line is held against frame, time, chain and roots,
// and is replayed one line later. It reports false if damage, which it has reported,
// has ended it.
func (s *stateChecker) replay() (whole bool, err error) {
	scan, line, finish, err := s.v.newScan()
	if err != nil {
		s.find("tile", -1, "%v", err)
		return false, nil
	}
	var stop error
	_, err = s.v.journal.ScanFrom(journal.Start{}, func(seq uint64, text []byte, at journal.Pos) error {
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if seq > 0 && seq <= s.size {
			if stop = s.line(seq - 1); stop != nil {
				return errEnough
			}
		}
		if seq >= s.size {
			return errEnough
		}
		s.held = append(s.held[:0], text...)
		return line(seq, text, at)
	})
	finish()
	if s.ctx.Err() != nil {
		return false, s.ctx.Err() // half a replay says nothing
	}
	if err == nil && stop == nil && scan.next == s.size && s.size > 0 { // the log ends here
		stop = s.line(s.size - 1)
	}
	if err != nil && !errors.Is(err, errEnough) {
		s.find("log", -1, "%v", s.v.damaged(err))
		return false, nil
	}
	var out *outside
	if errors.As(stop, &out) {
		return false, out.error
	}
	if stop != nil && !errors.Is(stop, errEnough) {
		s.find("", -1, "%v", stop)
	}
	return stop == nil, nil
}

// outside is an error that is not about the vault.
type outside struct{ error }

// documents reads authority and first policy, which genesis names.
func (s *stateChecker) documents() {
	if s.docErr = s.v.loadDocuments(); s.docErr != nil {
		s.v.authority, s.v.first = nil, &policy{lacks: "it cannot be read"}
	}
	s.v.tip.policy = s.v.first
}

// line replays the line that is held.
func (s *stateChecker) line(seq uint64) error {
	if seq == 0 {
		s.documents()
	}
	if err := s.r.line(seq, s.held); err != nil {
		if cannotWrite(err) {
			return &outside{fmt.Errorf("replaying the log in %s: %w", checkFolder, err)}
		}
		return fmt.Errorf("%w; the state behind record %d is not checked", err, seq)
	}
	f, err := record.ParseFrame(s.held)
	if err != nil || f.Kind != record.KindCommit {
		return err
	}
	rec, err := record.Parse(s.held)
	if err != nil {
		return err
	}
	c, ok := rec.Body.(*record.Commit)
	if !ok {
		return nil
	}
	if got := s.r.state().Root(); got != c.State {
		at := journal.Pos{}
		if p, err := s.v.journal.Position(seq); err == nil {
			at = p
		}
		s.find(logName(at.File), at.Offset, "record %d: the state root is %v, the commit says %v", seq, got, c.State)
		return errEnough
	}
	if runs := s.v.tip.run.number; runs > uint64(len(s.ends)) {
		s.ends = append(s.ends, index.Border{To: seq + 1, Runs: runs, Txs: s.v.recent.transactions(), Versions: s.v.tip.versions})
	}
	for _, set := range s.sets {
		if set.Position == seq+1 && set.Root != c.State {
			s.findDerived(fmt.Sprintf("state/%08d.pages", set.Number), -1, "it holds state root %v for the first %d records, their last commit says %v", set.Root, set.Position, c.State)
		}
	}
	return s.compareMade()
}

// compareMade merges what the replay has sealed, and holds each new segment against
// the vault's own of the same name.
func (s *stateChecker) compareMade() error {
	if s.v.pages == nil {
		return nil
	}
	made := s.v.segments
	s.v.segments = nil
	for _, m := range made {
		if err := s.compareSegment(m.Level, m.Number); err != nil {
			return err
		}
	}
	if len(made) == 0 {
		return nil
	}
	for level := uint64(1); ; level++ {
		merged, err := s.v.index.MergeTo(s.ctx, level)
		if err != nil {
			return &outside{err}
		}
		for _, m := range merged {
			if err := s.compareSegment(m.Level, m.Number); err != nil {
				return err
			}
		}
		if len(merged) == 0 {
			return nil
		}
	}
}

// compareEnds names the segments of the vault that do not end where the log says that
// their last run ends.
func (s *stateChecker) compareEnds() {
	for _, e := range s.inPlay {
		switch {
		case e.To > s.limit || e.To > s.size && s.size < s.report.Size:
			continue // made meanwhile, or nobody knows
		case e.Runs > uint64(len(s.ends)):
			s.suspects = append(s.suspects, Finding{File: e.File, Offset: -1, What: fmt.Sprintf("it says that run %d ends at record %d; the log up to record %d has %d runs", e.Runs-1, e.To, s.size, len(s.ends))})
		case e.Border != s.ends[e.Runs-1]:
			s.suspects = append(s.suspects, Finding{File: e.File, Offset: -1, What: fmt.Sprintf("it ends with %+v, the log gives %+v", e.Border, s.ends[e.Runs-1])})
		}
	}
}

// compareSegment compares the files of a segment with the vault's, byte by byte.
func (s *stateChecker) compareSegment(level, number uint64) error {
	if s.x == nil {
		return nil
	}
	if !s.listed {
		s.listed = true
		s.files, _ = s.x.Files(noLimit)
	}
	for _, name := range s.v.index.FilesOf(level, number) {
		file := "index/" + name
		if _, inPlay := slices.BinarySearch(s.files, file); !inPlay {
			continue
		}
		got, _, err := hashFile(s.ctx, s.dir, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // merged meanwhile
		}
		want, _, ownErr := hashFile(s.ctx, s.dir, checkFolder+"/"+file)
		if ownErr != nil {
			return &outside{ownErr}
		}
		if err != nil || got != want {
			s.suspects = append(s.suspects, Finding{File: file, Offset: -1, What: fmt.Sprintf("its SHA-256 is %v, the log gives %v", got, want)})
		}
	}
	return nil
}
