package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"graven/internal/block"
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

// RepairOptions say what a repair goes by besides the vault itself.
type RepairOptions struct {
	// VKey is the log's verifier key. It is wanted where the vault has lost its checkpoint
	// and what names its key; empty: the vault says it.
	VKey string
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
// the vault's own signed checkpoint, a sealed block must have the hash that its
// record says, and the artifacts of open blocks are those that the log mentions,
// taken by their ids. What is sound is not touched, whatever the copy holds. The
// vault need not open; it must not be open in this process.
//
// Without a checkpoint of its own a log that is whole by its commits stays as it is.
// Otherwise the copy's checkpoint is taken if it is signed by the key that the vault's
// first record leads to, or that a person gave: [ErrDamaged] says that neither is there.
//
// The damaged file is kept: it gets a second name below meta/host/cut before
// the sound one takes its place, at once. So a crash leaves the one or the other, and
// Repair may be run again. What cannot be replaced is in the report, with why, and so is
// what nobody has; the error is for what ended the work. It matches [ErrConflict] if the
// copy is of another vault, or of another history where that is in question.
func (s *Store) Repair(ctx context.Context, name string, from fsx.Disk, o RepairOptions) (*RepairReport, error) {
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
		ctx: ctx, opts: s.opts, vkey: strings.TrimSpace(o.VKey),
		dir: fsx.NewDir(disk, fsx.RepairRules()), from: from, copy: fsx.NewDir(from, nil),
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
	ctx    context.Context
	opts   Options
	vkey   string  // of the log, if a person gave it
	dir    fsx.Dir // the vault
	from   fsx.Disk
	copy   fsx.Dir // where sound bytes may be: on from
	report *RepairReport

	m          *manifest // of the copy, if it is a backup
	genesis    *record.Genesis
	ownGenesis bool             // it is the vault's own, and not only the copy's
	taken      map[string]int64 // how much of the copy's log files leads to the signed head; nil: that is not known yet
	closed     bool             // cleanly, where the verified log ends: nothing stands behind it

	own    *block.Store // the vault's blocks, and the copy's, as far as they are asked for
	theirs *block.Store
}

func (r *repairer) run() error {
	for _, folder := range []string{"log", "blocks"} {
		if err := mayRead(r.dir, folder); err != nil {
			return err // not damaged as far as anybody knows
		}
	}
	if err := r.identify(); err != nil {
		return err
	}
	// What a repair that was cut off left half written.
	if err := sweepAll(r.dir, []string{"log", "blocks/open", "meta/host/cut"}); err != nil {
		return err
	}
	l, err := r.log()
	if err != nil || l == nil {
		return err
	}
	for _, rec := range l.scan.blocks {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := r.sealed(rec); err != nil {
			return err
		}
	}
	return r.openBlocks(l)
}

// identify reads what both sides are of. The first line of the log may itself
// be what is damaged.
func (r *repairer) identify() error {
	text, err := r.copy.ReadFile(manifestFile, maxManifest)
	if err == nil {
		if r.m, err = parseManifest(text); err != nil {
			return err
		}
		r.copy = fsx.NewDir(listed{r.from, r.m}, nil)
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
	if r.ownGenesis = err == nil; !r.ownGenesis {
		r.genesis = theirs
	}
	if r.genesis.Vault != theirs.Vault {
		return fmt.Errorf("%w: the copy is of vault %v (%s), this is %v (%s)", ErrConflict, theirs.Vault, theirs.Name, r.genesis.Vault, r.genesis.Name)
	}
	if theirs.Name != r.report.Vault {
		return fmt.Errorf("%w: the copy is of a vault %q, this is %q", ErrConflict, theirs.Name, r.report.Vault)
	}
	return nil
}

// listed is a backup's folder without what its manifest does not list: that means
// nothing.
type listed struct {
	fsx.Disk
	m *manifest
}

func (l listed) Open(name string, mode fsx.Mode) (fsx.File, error) {
	if _, ok := l.m.file(name); !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return l.Disk.Open(name, mode)
}

func (l listed) Stat(name string) (fsx.Info, error) {
	if _, ok := l.m.file(name); !ok {
		return fsx.Info{}, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return l.Disk.Stat(name)
}

func (l listed) ReadDir(name string) ([]fsx.Entry, error) {
	entries, err := l.Disk.ReadDir(name)
	return slices.DeleteFunc(entries, func(e fsx.Entry) bool {
		_, ok := l.m.file(path.Join(name, e.Name))
		return !ok && !e.Dir
	}), err
}

// fail adds damage that is left to the report.
func (r *repairer) fail(name, what string, err error) {
	r.report.Files = append(r.report.Files, Repaired{File: name, What: what, Err: err})
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
