package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"graven/internal/fsx"
	"graven/record"
)

// Repaired is a file of a vault that was replaced, or could not be, or not with all
// that the log mentions in it: such a file may be there twice.
type Repaired struct {
	File string // relative to the vault's folder; "log" or "blocks" if nothing tells which
	What string // what was wrong with it
	Kept string // where the damaged file is now; empty if there was none
	Err  error  // why it was not replaced; nil if it was
}

// RepairReport says what a repair did.
type RepairReport struct {
	Vault   string
	Size    uint64 // up to which the log was verified
	Files   []Repaired
	Checked int // files of log and blocks that were looked at
}

// Damaged is how many files were damaged.
func (r *RepairReport) Damaged() int {
	files := map[string]bool{}
	for _, f := range r.Files {
		files[f.File] = true
	}
	return len(files)
}

// Failed reports whether damage was found that is still there.
func (r *RepairReport) Failed() bool {
	return slices.ContainsFunc(r.Files, func(f Repaired) bool { return f.Err != nil })
}

// Repair replaces damaged log files, sealed blocks and open blocks of a vault with
// the bytes of a backup of it, or of any other copy of its folder. Nobody's word
// is taken for those bytes: a log file must continue the chain of commits up to
// the signed checkpoint, a sealed block must have the hash that its record
// says, an artifact in an open block the one of its name. The vault need not open;
// it must not be open in this process.
//
// The damaged file is kept: it gets a second name below meta/host/cut before
// the sound one takes its place, at once. So a crash leaves the one or the other, and
// Repair may be run again. At the end all that the log mentions in open blocks is
// hashed: a copy may end before it. What cannot be replaced is in the report, with why;
// the error is for what ended the work. It matches [ErrConflict] if the copy is of
// another vault.
func (s *Store) Repair(ctx context.Context, name string, from fsx.Disk) (*RepairReport, error) {
	if s.opts.ReadOnly {
		return nil, fmt.Errorf("store: %w", ErrReadOnly)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.vaults[name] != nil:
		return nil, fmt.Errorf("vault %q: %w: it is open here; close it to repair it", name, ErrInvalid)
	}
	if err := s.checkVault(ctx, name); err != nil {
		return nil, err
	}
	disk := fsx.Under(s.host.Disk, vaultsName+"/"+name)
	r := &repairer{
		ctx: ctx, dir: fsx.NewDir(disk, fsx.RepairRules()), copy: fsx.NewDir(from, nil),
		report: &RepairReport{Vault: name},
	}
	err := r.run()
	if err = errors.Join(err, r.note(s.host.Now())); err != nil {
		return r.report, markFull(ofVault(name, err))
	}
	return r.report, nil
}

const (
	repairsFile = "meta/host/repairs"
	maxRepairs  = 1 << 20
)

// note adds a line for each file that was replaced to the vault's list of repairs. A
// crash before it leaves the second names in meta/host/cut, which tell the same.
func (r *repairer) note(now time.Time) error {
	var lines []byte
	for _, f := range r.report.Files {
		if f.Err == nil {
			kept := f.Kept
			if kept == "" {
				kept = "nothing"
			}
			lines = fmt.Appendf(lines, "%s replaced %s (%q), kept %s\n", now.UTC().Format(time.RFC3339), f.File, f.What, kept)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	before, err := r.dir.ReadFile(repairsFile, maxRepairs)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the list of repairs, which is to have %d more lines: %w", bytes.Count(lines, []byte("\n")), err)
	}
	return r.dir.Replace(repairsFile, append(before, lines...))
}

// repairer is one repair under way.
type repairer struct {
	ctx     context.Context
	dir     fsx.Dir // the vault
	copy    fsx.Dir // where sound bytes may be
	m       *manifest
	genesis *record.Genesis
	report  *RepairReport

	theirGenesis bool // the vault's own first line is damaged
	theirHead    bool // the signed checkpoint is the copy's
}

func (r *repairer) run() error {
	// What a repair that was cut off left half written.
	if err := sweepAll(r.dir, []string{"log", "blocks/open", "meta/host/cut"}); err != nil {
		return err
	}
	for _, folder := range []string{"log", "blocks"} {
		if err := mayRead(r.dir, folder); err != nil {
			return err // not damaged as far as anybody knows
		}
	}
	if err := r.identify(); err != nil {
		return err
	}
	scan, err := r.log()
	if err != nil || scan == nil {
		return err
	}
	sealed := map[string]bool{}
	for _, rec := range scan.blocks {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if rec.Number != nil {
			sealed[openBlockName(rec.Class, *rec.Number)] = true
		}
		if err := r.sealed(rec); err != nil {
			return err
		}
	}
	damaged, err := r.openDamage(scan.blocks)
	if err != nil || damaged == nil {
		return err
	}
	if err := r.openBlocks(sealed, damaged); err != nil {
		return err
	}
	return r.left(scan.blocks)
}

// identify reads what both sides are of. The first line of the log may itself
// be what is damaged.
func (r *repairer) identify() error {
	text, err := r.copy.ReadFile(manifestFile, maxManifest)
	if err == nil {
		if r.m, err = parseManifest(text); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	theirs, err := readGenesis(r.copy)
	if errors.Is(err, fs.ErrNotExist) {
		return errNoBackup
	}
	if err != nil {
		return fmt.Errorf("the copy: %w", err)
	}
	r.genesis, err = readGenesis(r.dir)
	if err != nil {
		r.genesis, r.theirGenesis = theirs, true
	}
	if r.genesis.Vault != theirs.Vault {
		return fmt.Errorf("%w: the copy is of vault %v (%s), this is %v (%s)", ErrConflict, theirs.Vault, theirs.Name, r.genesis.Vault, r.genesis.Name)
	}
	return nil
}

// replace keeps the damaged file under a second name and puts a sound one in its
// place. A copy that is not sound, or a full disk, changes nothing.
func (r *repairer) replace(name, what string, write func(io.Writer) error) error {
	done := Repaired{File: name, What: what}
	exists, err := r.dir.Exists(name)
	if err != nil {
		return err
	}
	// First all of the sound file is written and verified, without a name; the
	// second name of the damaged one comes right before it takes its place.
	keep := func(w io.Writer) error {
		if err := write(w); err != nil || !exists {
			return err
		}
		done.Kept, err = r.keep(name)
		return err
	}
	done.Err = r.dir.ReplaceFrom(name, keep)
	r.report.Files = append(r.report.Files, done)
	if errors.Is(done.Err, fsx.ErrNoSpace) || r.ctx.Err() != nil {
		return errors.Join(done.Err, r.ctx.Err())
	}
	return nil
}

// keep gives a damaged file its second name, which follows from its bytes: doing it
// again keeps them once.
func (r *repairer) keep(name string) (kept string, err error) {
	info, err := r.dir.Stat(name)
	if err != nil {
		return "", err
	}
	suffix := "unreadable"
	if id, err := hashOf(r.dir, name, info.Size); err == nil {
		suffix = id.Hex()[:16]
	}
	kept = "meta/host/cut/" + name[strings.LastIndexByte(name, '/')+1:] + "-" + suffix
	if exists, err := r.dir.Exists(kept); err != nil || exists {
		return kept, err
	}
	return kept, r.dir.PublishLink(name, kept)
}
