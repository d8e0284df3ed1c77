package graven

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"graven/internal/fsx"
	"graven/internal/journal"
	"graven/merkle"
	"graven/record"
)

// CheckOptions say how to check a vault.
type CheckOptions struct {
	Quick    bool                    // everything but the bytes of artifacts
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
// documents, which are derived.
func (s *Store) Check(ctx context.Context, name string, o CheckOptions) (*Report, error) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if err := s.checkVault(ctx, name); err != nil {
		return nil, err
	}
	c := &checker{ctx: ctx, opts: o, dir: s.vaultDir(name), report: &Report{Vault: name}, limit: noLimit, mend: s.lock != nil && !s.opts.ReadOnly}
	if c.mend {
		c.openFirst(s, name)
	} else if n, clean := readClean(c.dir); s.lock == nil || !clean {
		// Another process may be writing: what it published cannot change.
		c.limit = checkpointSize(c.dir)
	} else {
		c.mark = &n
	}
	return c.report, c.run()
}

// openFirst lets an open bring everything into the files, and notes what it did.
func (c *checker) openFirst(s *Store, name string) {
	// The open publishes a checkpoint anew if it cannot be read; that it could
	// not is damage all the same.
	if _, _, err := (&Vault{dir: c.dir}).readCheckpoint(); errors.Is(err, ErrDamaged) {
		c.find("checkpoint", -1, "%v", err)
	}
	v, err := s.Vault(c.ctx, name)
	if err == nil {
		if err = v.Publish(); errors.Is(err, ErrReadOnly) {
			err = nil
		}
		// This process may go on writing: what is published cannot change.
		if c.limit = v.published.Load(); v.readOnly == "" {
			c.live = v
		}
		c.report.Notes = append(c.report.Notes, v.found...)
	}
	if err != nil {
		c.find("", -1, "the vault does not open: %v", err)
	} else if v.walLost {
		c.find("wal", -1, "%s", v.readOnly)
	}
	c.mend = c.live != nil // what a refused vault holds is evidence
}

// checker is one check under way.
type checker struct {
	ctx    context.Context
	opts   CheckOptions
	dir    fsx.Dir
	mend   bool
	report *Report

	genesis  *record.Genesis
	limit    uint64         // records from here on are not looked at: they may be growing
	mark     *uint64        // the size at which the vault was closed; nil if that does not bind
	live     *Vault         // this process may be writing to it meanwhile; nil if not
	places   []journal.Pos  // of every line
	leaves   []merkle.Hash  // of the records up to the last commit, as the tree has them
	treeLost bool           // leaves do not reach the last commit
	commits  []commitAt     // in order
	blocks   []record.Block // of all block records
	broken   uint64         // the first record that is not what was committed; noLimit if none
	total    int64          // bytes that a check reads, about
}

// commitAt is a commit line's place and claim.
type commitAt struct {
	seq   uint64
	at    journal.Pos
	state merkle.Hash
}

const noLimit = ^uint64(0)

// checkMark holds the mark of a clean end against log and checkpoint.
func (c *checker) checkMark() error {
	if c.mark == nil {
		return nil
	}
	if *c.mark != c.report.Size {
		c.find(cleanFile, 0, "it says that the vault was closed at size %d, the log holds %d records up to its last commit", *c.mark, c.report.Size)
	}
	if size := checkpointSize(c.dir); size != *c.mark {
		c.find("checkpoint", -1, "it is of size %d, the vault was closed at size %d", size, *c.mark)
	}
	return nil
}

func (c *checker) find(file string, offset int64, format string, args ...any) {
	c.report.Findings = append(c.report.Findings, Finding{File: file, Offset: offset, What: fmt.Sprintf(format, args...)})
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
	c.total = c.sizeOf("log") + c.sizeOf("blocks")
	for _, step := range []func() error{c.checkLog, c.checkMark, c.checkCheckpoint, c.checkTiles, c.checkBlocks} {
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
