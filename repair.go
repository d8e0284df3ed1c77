package graven

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/merkle"
	"graven/record"
)

// Repaired is a file of a vault that was replaced, or could not be.
type Repaired struct {
	File string // relative to the vault's folder
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
// Repair may be run again. What cannot be replaced is in the report, with why;
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
	if err := r.run(); err != nil {
		return r.report, full(fmt.Errorf("vault %q: %w", name, err))
	}
	return r.report, nil
}

// repairer is one repair under way.
type repairer struct {
	ctx     context.Context
	dir     fsx.Dir // the vault
	copy    fsx.Dir // where sound bytes may be
	m       *manifest
	genesis *record.Genesis
	report  *RepairReport
}

func (r *repairer) run() error {
	// What a repair that was cut off left half written.
	if err := sweepAll(r.dir, []string{"log", "blocks/open", "meta/host/cut"}); err != nil {
		return err
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
	return r.openBlocks(sealed)
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
		r.genesis = theirs
	}
	if r.genesis.Vault != theirs.Vault {
		return fmt.Errorf("%w: the copy is of vault %v (%s), this is %v (%s)", ErrConflict, theirs.Vault, theirs.Name, r.genesis.Vault, r.genesis.Name)
	}
	return nil
}

// log verifies the log up to the signed checkpoint, as it is and, if it is not
// whole, with the bytes of the copy where both differ. It returns nil if neither
// is whole.
func (r *repairer) log() (*scanner, error) {
	head, err := r.head()
	if err != nil {
		return nil, err
	}
	r.report.Size = head.size
	own := newLogReader(r.ctx, r.genesis, head.size, logFilesOf(r.dir))
	ownErr := head.holds(own)
	if ownErr == nil {
		r.report.Checked += len(own.parts)
		return own.scan, nil
	}
	if r.ctx.Err() != nil {
		return nil, r.ctx.Err()
	}
	mixed := newLogReader(r.ctx, r.genesis, head.size, r.mixed)
	if err := head.holds(mixed); err != nil {
		r.report.Files = append(r.report.Files, Repaired{
			File: "log", What: ownErr.Error(),
			Err: fmt.Errorf("with the bytes of the copy it is not whole either: %w", err),
		})
		return nil, r.ctx.Err()
	}
	r.report.Checked += len(mixed.parts)
	for _, part := range mixed.parts {
		if err := r.replaceLog(part); err != nil {
			return nil, err
		}
	}
	return mixed.scan, nil
}

// signedHead is what a log must come to.
type signedHead struct {
	size uint64
	root merkle.Hash
}

// holds reads a log and holds it against the head.
func (h signedHead) holds(l *logReader) error {
	if err := l.run(); err != nil {
		return err
	}
	if root := l.scan.tree.Root(); root != h.root {
		return fmt.Errorf("%w: the first %d records have root %v, the signed checkpoint says %v", ErrDamaged, h.size, root, h.root)
	}
	return nil
}

// head is the vault's own checkpoint, if it verifies, and else the copy's.
func (r *repairer) head() (signedHead, error) {
	head, _, err := (&Vault{dir: r.dir}).readCheckpoint()
	if err != nil {
		theirs, _, theirErr := (&Vault{dir: r.copy}).readCheckpoint()
		if theirErr != nil {
			return signedHead{}, errors.Join(err, fmt.Errorf("the copy: %w", theirErr))
		}
		head = theirs
	}
	if head.Origin != r.genesis.Origin {
		return signedHead{}, fmt.Errorf("%w: the checkpoint is of origin %q, the vault of %q", ErrDamaged, head.Origin, r.genesis.Origin)
	}
	return signedHead{head.Size, head.Root}, nil
}

// lengthIn is how much of a file of the copy counts; -1 if it is not there.
func (r *repairer) lengthIn(name string) (int64, error) {
	info, err := r.copy.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return 0, err
	}
	if f, ok := r.m.file(name); ok && f.grows {
		return min(f.size, info.Size), nil
	}
	return info.Size, nil
}

// mixed opens a log file with the bytes of the copy as far as they go, and the
// vault's own behind them.
func (r *repairer) mixed(first uint64) (io.ReadCloser, error) {
	return r.mix(logName(first))
}

func (r *repairer) mix(name string) (io.ReadCloser, error) {
	m := &mixture{}
	n, err := r.lengthIn(name)
	if err != nil {
		return nil, err
	}
	var parts []io.Reader
	if n > 0 {
		f, err := r.copy.Open(name)
		if err != nil {
			return nil, err
		}
		m.files = append(m.files, f)
		parts = append(parts, io.NewSectionReader(f, 0, n))
	}
	own, err := r.dir.Open(name)
	switch {
	case err == nil:
		m.files = append(m.files, own)
		size, err := own.Size()
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		if from := max(n, 0); size > from {
			parts = append(parts, io.NewSectionReader(own, from, size-from))
		}
	case !errors.Is(err, fs.ErrNotExist) || n < 0:
		return nil, errors.Join(err, m.Close())
	}
	m.Reader = io.MultiReader(parts...)
	return m, nil
}

// mixture reads two files as one.
type mixture struct {
	io.Reader
	files []fsx.File
}

func (m *mixture) Close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// replaceLog puts the verified bytes of a log file in its place, unless they are
// there.
func (r *repairer) replaceLog(part logPart) error {
	name := part.name()
	if info, err := r.dir.Stat(name); err == nil && info.Size >= part.size {
		got, err := hashOf(r.dir, name, part.size)
		if err != nil {
			return err
		}
		if got == part.hash {
			return nil
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return r.replace(name, "it is not what the commits and the signed checkpoint say", func(w io.Writer) error {
		in, err := r.mix(name)
		if err != nil {
			return err
		}
		// What was verified, and behind it what the vault had there.
		head := &hashing{w: w, left: part.size}
		_, err = io.Copy(head, in)
		if err == nil && (head.left > 0 || head.sum() != part.hash) {
			err = fmt.Errorf("%w: %s changed while it was read", ErrDamaged, name)
		}
		return errors.Join(err, in.Close())
	})
}

// sealed brings back a sealed block.
func (r *repairer) sealed(rec record.Block) error {
	name := sealedBlock(rec.ID)
	r.report.Checked++
	what := ""
	info, err := r.dir.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		what = "it is missing"
	case err != nil:
		return err
	case uint64(info.Size) != rec.Size:
		what = fmt.Sprintf("it has %d bytes, its record says %d", info.Size, rec.Size)
	default:
		got, err := hashOf(r.dir, name, info.Size)
		if err == nil && got == rec.ID {
			return nil
		}
		if what = fmt.Sprintf("its SHA-256 is %s", got.Hex()); err != nil {
			what = err.Error()
		}
	}
	return r.replace(name, what, func(w io.Writer) error {
		in, err := r.copy.Open(name)
		if err != nil {
			return fmt.Errorf("the copy: %w", err)
		}
		sum := &hashing{w: w, left: int64(rec.Size)}
		_, err = io.Copy(sum, io.NewSectionReader(in, 0, int64(rec.Size)+1))
		if err == nil && sum.sum() != rec.ID {
			err = fmt.Errorf("%w: the copy of %s has SHA-256 %s", ErrDamaged, name, sum.sum().Hex())
		}
		return errors.Join(err, in.Close())
	})
}

// openBlocks brings back the artifacts of open blocks that the copy has in the
// same place.
func (r *repairer) openBlocks(sealed map[string]bool) error {
	entries, err := r.copy.ReadDir("blocks/open")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		name := "blocks/open/" + e.Name
		if sealed[name] || !strings.HasSuffix(name, ".blk") {
			continue
		}
		if err := r.openBlock(name); err != nil {
			return err
		}
	}
	return nil
}

func (r *repairer) openBlock(name string) error {
	r.report.Checked++
	n, err := r.lengthIn(name)
	if err != nil {
		return err
	}
	theirs, theirErr := r.frames(r.copy, name, n)
	own, ownErr := r.frames(r.dir, name, n)
	if theirErr == nil && ownErr == nil && own == theirs {
		return nil
	}
	if ownErr == nil {
		ownErr = fmt.Errorf("%w: it holds other artifacts than the copy", ErrDamaged)
	}
	return r.replace(name, ownErr.Error(), func(w io.Writer) error {
		if theirErr != nil {
			return fmt.Errorf("the copy: %w", theirErr)
		}
		in, err := r.mix(name)
		if err != nil {
			return err
		}
		head := &hashing{w: w, left: n}
		_, err = io.Copy(head, in)
		if err == nil && head.sum() != theirs {
			err = fmt.Errorf("%w: the copy of %s changed while it was read", ErrDamaged, name)
		}
		return errors.Join(err, in.Close())
	})
}

// frames verifies an open block up to a length, and returns the hash of that much.
func (r *repairer) frames(dir fsx.Dir, name string, length int64) (record.ID, error) {
	in, err := dir.Open(name)
	if err != nil {
		return record.ID{}, err
	}
	defer in.Close()
	class, number, ok := parseOpenBlock(name)
	if !ok {
		return record.ID{}, fmt.Errorf("%w: %s is no open block", ErrDamaged, name)
	}
	sum := &hashing{left: length}
	w := &openWalk{name: name, in: in, header: block.AppendHeader(nil, block.Header{Vault: r.genesis.Vault, Class: class, Number: number}), until: length}
	if _, err := w.copy(sum); err != nil {
		return record.ID{}, err
	}
	if sum.left > 0 {
		return record.ID{}, fmt.Errorf("%w: %s ends %d bytes too early", ErrDamaged, name, sum.left)
	}
	return sum.sum(), nil
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

// parseOpenBlock reads what openBlockName returns.
func parseOpenBlock(name string) (class string, number uint64, ok bool) {
	base, ok := strings.CutSuffix(strings.TrimPrefix(name, "blocks/open/"), ".blk")
	i := strings.LastIndexByte(base, '-')
	if !ok || i < 0 {
		return "", 0, false
	}
	number, err := strconv.ParseUint(base[i+1:], 10, 64)
	return base[:i], number, err == nil && openBlockName(base[:i], number) == name
}
