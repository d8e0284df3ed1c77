package graven

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"time"

	"graven/internal/journal"
	"graven/merkle"
	"graven/record"
)

// scanner reads the lines of a log in order and holds them against each other:
// frames, times, the chain of commits, their hashes and tree roots. It knows
// nothing of artifacts and state. Opening, recovery and check all scan with it.
type scanner struct {
	genesis *record.Genesis
	tree    merkle.Tree
	next    uint64
	time    time.Time
	height  uint64      // of the next commit
	epoch   uint64      // of the newest commit
	prev    merkle.Hash // leaf hash of the newest commit
	group   hash.Hash   // SHA-256 of the lines since it
	state   merkle.Hash // state root of the newest commit
	commit  []byte      // the newest commit line
	size    uint64      // right after it: the records that happened
	end     journal.Pos // behind it
	blocks  []record.Block
	leaf    func(merkle.Hash) // told every leaf hash, if set
	lacks   []string          // features of the log that this program does not know
}

func newScanner() *scanner { return &scanner{group: sha256.New()} }

// lineError is a line that cannot be a record at its place.
func lineError(seq uint64, at journal.Pos, format string, args ...any) error {
	return fmt.Errorf("%w: %s, offset %d, record %d: %s", ErrDamaged, logName(at.File), at.Offset, seq, fmt.Sprintf(format, args...))
}

func logName(first uint64) string { return "log/" + journal.Name(first) }

// line takes the next line of the log. The line is not kept.
func (s *scanner) line(seq uint64, line []byte, at journal.Pos) error {
	f, err := record.ParseFrame(line)
	if err != nil {
		return lineError(seq, at, "%v", err)
	}
	if f.Seq != s.next {
		return lineError(seq, at, "it says seq %d, wanted %d", f.Seq, s.next)
	}
	if f.Time.Before(s.time) {
		return lineError(seq, at, "its time %s goes back behind %s", f.Time.Format(time.RFC3339Nano), s.time.Format(time.RFC3339Nano))
	}
	if (seq == 0) != (f.Kind == record.KindGenesis) {
		return lineError(seq, at, "kind %q; genesis is record 0 and no other", f.Kind)
	}
	leaf := merkle.LeafHash(line)
	if err := s.meaning(f, line, leaf, at); err != nil {
		return err
	}
	s.tree.Append(leaf)
	s.next++
	s.time = f.Time
	if s.leaf != nil {
		s.leaf(leaf)
	}
	if f.Kind == record.KindCommit && f.V == record.Version {
		s.size = s.next
		s.end = journal.Pos{File: at.File, Offset: at.Offset + int64(len(line)) + 1}
		s.commit = append(s.commit[:0], line...)
		s.prev = leaf
		s.group.Reset()
		return nil
	}
	s.group.Write(line)
	s.group.Write([]byte{'\n'})
	return nil
}

// meaning reads what the scan needs of the kinds it knows.
func (s *scanner) meaning(f record.Frame, line []byte, leaf merkle.Hash, at journal.Pos) error {
	known := f.V == record.Version
	switch {
	case known && (f.Kind == record.KindTx || f.Kind == record.KindPolicy):
		return nil // replay parses it; here the frame is enough
	case known && (f.Kind == record.KindGenesis || f.Kind == record.KindCommit || f.Kind == record.KindBlock):
	default:
		if s.genesis != nil {
			s.checkFeature(f)
		}
		return nil
	}
	rec, err := record.Parse(line)
	if err != nil {
		return lineError(f.Seq, at, "%v", err)
	}
	switch b := rec.Body.(type) {
	case *record.Genesis:
		s.genesis = b
		s.lackOf(b.Features)
	case *record.Block:
		s.blocks = append(s.blocks, *b)
	case *record.Commit:
		return s.checkCommit(b, f.Seq, at)
	}
	return nil
}

// knownFeatures are the kinds whose meaning this program applies. Records of
// authority change whose signatures count; this program does not apply them yet
// and so does not write to a vault that holds one.
var knownFeatures = []string{"authority/1", "block/1", "commit/1", "genesis/1", "policy/1", "tx/1"}

// checkFeature notes a record whose meaning is a feature that this program does
// not apply.
func (s *scanner) checkFeature(f record.Frame) {
	if feature := record.Feature(f.Kind, f.V); slices.Contains(s.genesis.Features, feature) {
		s.lack(feature)
	}
}

// lackOf notes those of the features of genesis that this program does not know.
func (s *scanner) lackOf(features []string) {
	for _, f := range features {
		if !slices.Contains(knownFeatures, f) {
			s.lack(f)
		}
	}
}

func (s *scanner) lack(feature string) {
	if !slices.Contains(s.lacks, feature) {
		s.lacks = append(s.lacks, feature)
	}
}

// checkCommit holds a commit line against the lines before it.
func (s *scanner) checkCommit(c *record.Commit, seq uint64, at journal.Pos) error {
	if c.Height != s.height {
		return lineError(seq, at, "commit of height %d, wanted %d", c.Height, s.height)
	}
	if s.height > 0 && *c.Prev != s.prev {
		return lineError(seq, at, "it follows the commit with leaf hash %v, the log holds %v", *c.Prev, s.prev)
	}
	if c.Epoch != s.epoch && (c.Epoch != s.epoch+1 || s.height == 0) {
		return lineError(seq, at, "epoch %d, wanted %d or one more", c.Epoch, s.epoch)
	}
	if got := record.ID(s.group.Sum(nil)); got != c.Lines {
		return lineError(seq, at, "the lines of its group (records %d to %d) have SHA-256 %v, the commit says %v", s.size, seq-1, got, c.Lines)
	}
	if got := s.tree.Root(); got != c.Root {
		return lineError(seq, at, "the tree of %d records has root %v, the commit says %v", seq, got, c.Root)
	}
	s.height++
	s.epoch = c.Epoch
	s.state = c.State
	return nil
}

// tip is the end of the scan as the committer needs it.
func (s *scanner) tip() tip {
	return tip{next: s.next, time: s.time, tree: s.tree, epoch: s.epoch, height: s.height, prev: s.prev}
}
