package graven

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"graven/internal/fsx"
	"graven/internal/journal"
	"graven/internal/tilestore"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

// CheckOptions say how to check a vault.
type CheckOptions struct {
	Quick    bool                    // everything but the bytes of artifacts
	Resume   bool                    // go on with a check that was interrupted: sealed blocks that it verified are not read again
	Rebuild  bool                    // make every derived file that differs again, not only tiles and documents
	Progress func(done, total int64) // told as bytes are read; may be nil
}

// Report is what a check found.
type Report struct {
	Vault     string
	Records   uint64 // lines of the log
	Size      uint64 // records that happened: up to the last commit
	Root      merkle.Hash
	State     merkle.Hash
	Blocks    uint64
	Artifacts uint64
	Tiles     uint64
	Bytes     int64 // read and hashed
	Findings  []Finding
	Notes     []string // what the open that came first did
}

// Finding is one thing that is not as it should be.
type Finding struct {
	File   string // relative to the vault's folder; "" if no file is to blame
	Offset int64  // in bytes; -1 if it concerns the whole file
	What   string
	Mended bool // it was derived data and has been made again
}

func (f Finding) String() string {
	s := f.What
	if f.File != "" {
		s = f.File + ": " + s
		if f.Offset >= 0 {
			s = fmt.Sprintf("%s, offset %d: %s", f.File, f.Offset, f.What)
		}
	}
	if f.Mended {
		s += " (mended)"
	}
	return s
}

// Damaged reports whether anything was found that was not mended.
func (r *Report) Damaged() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return !f.Mended })
}

// Check reads a whole vault again and holds everything in it against
// everything else: lines against tiles and commits, artifacts and blocks against
// their names, the state against its roots, the checkpoint against its
// signature. It lists all damage and never stops at the first. It needs no open
// vault, and works on one that refuses to open; if no other process holds the
// store and the vault opens, it recovers first and mends tiles and the copies of
// documents, which are derived. What that made again is among the findings, mended.
// Files that this process may not read are no findings: the error matches
// [fs.ErrPermission].
func (s *Store) Check(ctx context.Context, name string, o CheckOptions) (*Report, error) {
	s.mu.Lock()
	closed, alone := s.closed, s.lock != nil
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if err := s.checkVault(ctx, name); err != nil {
		return nil, err
	}
	c := &checker{ctx: ctx, opts: o, dir: s.vaultDir(name), report: &Report{Vault: name}, limit: noLimit}
	for _, folder := range []string{"log", "blocks", "wal", "tile", "index", "state", "checkpoint", "meta/authority", "meta/policy", "meta/keys/pub"} {
		if err := mayRead(c.dir, folder); err != nil {
			return nil, ofVault(name, fmt.Errorf("it cannot be checked: %w; check it as a user who may read all of its folder", err))
		}
	}
	err := func() error {
		s.checks.RLock()
		defer s.checks.RUnlock()
		if !alone || s.opts.ReadOnly || !c.openFirst(s, name) {
			c.lookOnly(alone)
		}
		err := c.run()
		return errors.Join(err, c.endRun(err))
	}()
	if err == nil {
		err = c.remake(s)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed // what it found may only be that
	}
	return c.report, err
}

// mayRead looks for files that this process may not open, in a folder or as a file: they
// may be whole. Whatever else is wrong with them is for others to say.
func mayRead(dir fsx.Dir, name string) error {
	f, err := dir.Open(name)
	if err == nil {
		return f.Close()
	}
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	entries, err := dir.ReadDir(name)
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	for _, e := range entries {
		if err := mayRead(dir, name+"/"+e.Name); err != nil {
			return err
		}
	}
	return nil
}

// lookOnly prepares a check that changes nothing. alone says that no other
// process can write meanwhile.
func (c *checker) lookOnly(alone bool) {
	mark, clean := readClean(c.dir) // before the checkpoint, which a writer may replace
	c.readCheckpoint()
	c.formerTiles, c.tilesTo = c.namesBelow("tile"), c.head.Size // behind it: tiles are written before what covers them
	if clean && alone {
		c.mark = &mark
		return
	}
	if clean && c.head.Size < mark {
		c.find("checkpoint", -1, "it is of size %d, the vault was closed at size %d", c.head.Size, mark)
	}
	// What is published cannot change; behind it another process may be writing,
	// or a crash may have left what a command that writes will bring in order.
	c.limit = c.head.Size
	c.note("checked up to the published checkpoint, size %d; what stands behind it was not looked at, since %s",
		c.head.Size, map[bool]string{true: "the vault was not closed cleanly", false: "another process may be writing it"}[alone])
}

// readCheckpoint reads the published checkpoint, once: beside a writer the next
// look would find another. Of one that does not verify the size is taken as it
// stands, to know where to look.
func (c *checker) readCheckpoint() {
	c.head, _, c.headErr = (&Vault{dir: c.dir}).readCheckpoint()
	if c.headErr != nil {
		c.head = proof.Checkpoint{Size: checkpointSize(c.dir)}
	}
}

func (c *checker) note(format string, args ...any) {
	c.report.Notes = append(c.report.Notes, fmt.Sprintf(format, args...))
}

// openFirst lets an open bring everything into the files, and notes what it did.
// It reports false if this process may not write here, which is no damage.
func (c *checker) openFirst(s *Store, name string) bool {
	s.mu.Lock()
	isOpen := s.vaults[name] != nil
	s.mu.Unlock()
	if !isOpen {
		c.lookBefore()
	}
	v, opened, err := s.vault(c.ctx, name)
	c.opened = opened
	if err == nil {
		if err = v.Publish(); errors.Is(err, ErrReadOnly) {
			err = nil
		}
		// This process may go on writing: what is published cannot change.
		if v.readOnly == "" {
			c.live = v
		} else if v.mirror != "" {
			c.mirror = v
		}
		c.limit = v.published.Load()
		c.report.Notes = append(append(c.report.Notes, v.recovered...), v.found...)
	} else if !errors.Is(err, ErrDamaged) && cannotWrite(err) {
		c.note("%v", err)
		return false
	}
	if err != nil {
		c.find("", -1, "the vault does not open: %v", err)
	} else if v.walLost {
		c.find("wal", -1, "%s", v.readOnly)
	}
	if err == nil && (c.live != nil || c.mirror != nil) {
		if opened {
			c.report.Findings = append(c.report.Findings, v.remade...)
		}
		c.sayRemade(v)
	}
	c.readCheckpoint()
	if err == nil && c.headErr == nil {
		c.limit = c.head.Size // at least what was published a moment ago
	}
	return true
}

// checker is one check under way.
type checker struct {
	ctx    context.Context
	opts   CheckOptions
	dir    fsx.Dir
	report *Report

	head      proof.Checkpoint // published
	headErr   error            // why head is not verified
	genesis   *record.Genesis
	limit     uint64  // records from here on are not looked at: they may be growing
	mark      *uint64 // the size at which the vault was closed; nil if that does not bind
	opened    bool    // the vault was opened for this check
	remakes   []int   // findings that are about index and state pages
	progress  checkRun
	scratched bool                   // checkFolder is of this check
	suspects  []Finding              // segments that are not what the replay gives
	live      *Vault                 // opened for writing by this process, which may go on meanwhile; nil: nothing is mended
	mirror    *Vault                 // a mirror that this process has alone: copies of documents are made again; nil: it is none
	lines     uint64                 // of the log that were read
	grid      []journal.Pos          // of every 256th line
	lastFile  uint64                 // the log file that the last line stands in
	tiles     *tilestore.Store       // the tree of the records up to the last commit, if no vault is open that has it
	patched   map[uint64]merkle.Hash // leaves of lines that are not what was committed
	grown     uint64                 // leaves of the tree
	headRoot  merkle.Hash            // of the tree at the size of the checkpoint, if grown has reached it
	treeLost  bool                   // the tree does not reach the last commit
	newest    []commitAt             // the last commits, a few
	atHead    []commitAt             // the last commits that the checkpoint covers, a few
	blocks    []record.Block         // of all block records
	broken    uint64                 // the first record that is not what was committed; noLimit if none
	total     int64                  // bytes that a check reads, about

	former      map[string]formerFile // derived files as they were before the open that came first
	formerIndex []string              // the files below index/ and state/, as they were then after a clean end; nil: nobody has looked
	formerTiles []string              // the files below tile/, as they were then; nil: nobody has looked
	tilesTo     uint64                // the size whose tiles were written then
}

// commitAt is a commit line's place.
type commitAt struct {
	seq uint64
	at  journal.Pos
}

const noLimit = ^uint64(0)

// fewCommits is how many commits are kept: which of the last is damaged turns out one
// commit later, or when the checkpoint has been looked at.
const fewCommits = 3

// commit remembers a commit.
func (c *checker) commit(at commitAt) {
	keep := func(list []commitAt) []commitAt {
		if len(list) == fewCommits {
			list = slices.Delete(list, 0, 1)
		}
		return append(list, at)
	}
	c.newest = keep(c.newest)
	if at.seq < c.head.Size {
		c.atHead = keep(c.atHead)
	}
}

// wholeSize is the size behind the last commit before anything that is damaged; 0 if
// that is not among those kept.
func (c *checker) wholeSize() (size uint64) {
	for _, commit := range slices.Concat(c.atHead, c.newest) {
		if commit.seq < c.broken {
			size = max(size, commit.seq+1)
		}
	}
	return size
}

// checkMark holds the mark of a clean end against log and checkpoint.
func (c *checker) checkMark() error {
	if c.mark == nil {
		return nil
	}
	if *c.mark != c.report.Size {
		c.find(cleanFile, 0, "it says that the vault was closed at size %d, the log holds %d records up to its last commit", *c.mark, c.report.Size)
	}
	if errors.Is(c.headErr, fs.ErrNotExist) {
		c.note("there is no checkpoint; a command that writes publishes one")
	} else if c.head.Size != *c.mark {
		c.find("checkpoint", -1, "it is of size %d, the vault was closed at size %d", c.head.Size, *c.mark)
	}
	return nil
}

func (c *checker) find(file string, offset int64, format string, args ...any) {
	c.add(Finding{File: file, Offset: offset, What: fmt.Sprintf(format, args...)})
}

// add takes a finding into the report, as one line: errors that were joined have several.
func (c *checker) add(f Finding) {
	f.What = strings.ReplaceAll(f.What, "\n", "; ")
	c.report.Findings = append(c.report.Findings, f)
}

// read notes that n more bytes were read.
func (c *checker) read(n int64) error {
	c.report.Bytes += n
	if c.opts.Progress != nil {
		c.opts.Progress(c.report.Bytes, max(c.total, c.report.Bytes))
	}
	return c.ctx.Err()
}

func (c *checker) run() error {
	c.broken = noLimit
	g, err := readGenesis(c.dir)
	if err != nil {
		c.find(logName(0), 0, "%v", err)
		return nil // without genesis nothing says what the rest should be
	}
	c.genesis = g
	if g.Name != c.report.Vault {
		c.find(logName(0), 0, "it is the ledger of vault %q, not of %q", g.Name, c.report.Vault)
	}
	if err := c.beginRun(); err != nil {
		return err
	}
	c.total = c.sizeOf("log") + c.sizeOf("blocks")
	defer c.closeTiles()
	for _, step := range []func() error{c.checkLog, c.checkMark, c.checkCheckpoint, c.checkTiles, c.checkBlocks, c.checkRescue} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// sizeOf is what a folder's files come to, for the progress only.
func (c *checker) sizeOf(folder string) (n int64) {
	entries, err := c.dir.ReadDir(folder)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if e.Dir {
			n += c.sizeOf(folder + "/" + e.Name)
		} else if info, err := c.dir.Stat(folder + "/" + e.Name); err == nil {
			n += info.Size
		}
	}
	return n
}
