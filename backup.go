package graven

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/record"
)

// BackupOptions say how to back up a vault.
type BackupOptions struct {
	WithKeys bool                    // the signing keys too: whoever has them can write in the log's name
	Progress func(done, total int64) // told as bytes are copied; may be nil
}

// BackupReport says what a backup holds.
type BackupReport struct {
	Vault   string
	ID      string // of the vault
	Origin  string
	Size    uint64 // records
	Root    merkle.Hash
	Time    time.Time // of the newest record
	Before  uint64    // size of the earlier backup that this one went on from; 0: there was none
	Files   int
	Bytes   int64    // of all files
	Written int64    // of those that had to be written
	Keys    bool     // signing keys are in it
	Notes   []string // what was met and put right on the way
}

// BackupStream takes a backup that goes elsewhere than into a folder, file by
// file, the manifest first.
type BackupStream interface {
	// File begins the next file. Exactly size bytes are written to it before the
	// call that begins the file after it. A private file is for its owner only.
	File(name string, size int64, private bool) (io.Writer, error)
}

// Backup copies a vault into a folder, on its own or going on from an earlier
// backup there, as docs/decisions/0017 describes. It stands at the published
// checkpoint, which it publishes first if this process may write. Everything is
// verified while it is read: a damaged source ends it with [ErrDamaged]. Until it
// ends well the earlier backup is what the folder holds, and can be restored; the
// next Backup goes on from what was written.
//
// Nobody waits for it: other processes may write meanwhile, and a store that was
// opened for reading gives up its lock for that. The error matches [ErrConflict] if the
// folder holds anything else than backups of this vault at or before its
// position, [ErrDamaged] if it holds a backup whose manifest is damaged, and
// [ErrLocked] if another process backs up to it. A report that comes with an error
// says in Before whether there is an earlier backup, which still counts.
func (s *Store) Backup(ctx context.Context, name string, target fsx.Disk, o BackupOptions) (*BackupReport, error) {
	t, err := openBackup(target, s.host.Owner)
	if err != nil {
		return nil, markFull(err)
	}
	report, err := s.backup(ctx, name, t, o)
	return report, markFull(errors.Join(err, t.close()))
}

// BackupStream is Backup into a stream, of everything. If it fails, files that
// the manifest promised are missing from the stream, and it cannot be restored.
func (s *Store) BackupStream(ctx context.Context, name string, to BackupStream, o BackupOptions) (*BackupReport, error) {
	return s.backup(ctx, name, &backupStream{to: to}, o)
}

// markFull marks a full disk as such.
func markFull(err error) error {
	if errors.Is(err, fsx.ErrNoSpace) && !errors.Is(err, ErrFull) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// backupTarget is where the files of a plan go.
type backupTarget interface {
	// before is the manifest of the backup that is there; nil if there is none.
	before() *manifest
	// begin is told what will come, before the first file.
	begin(p *backupPlan, m *manifest) error
	// put takes one file and returns how many bytes of it were written.
	put(ctx context.Context, f *planned) (int64, error)
	// finish is called when all are there, and says what it met.
	finish(m *manifest) (notes []string, err error)
}

func (s *Store) backup(ctx context.Context, name string, t backupTarget, o BackupOptions) (report *BackupReport, err error) {
	earlier := t.before()
	roots := map[uint64]merkle.Hash{}
	if earlier != nil {
		roots[earlier.head.Size] = merkle.Hash{}
	}
	report = &BackupReport{Vault: name}
	if earlier != nil {
		report.Before = earlier.head.Size
	}
	p, err := s.planWithTries(ctx, name, o, roots)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	m := p.manifest()
	report.ID, report.Origin, report.Size, report.Root, report.Time = m.vault.String(), m.head.Origin, m.head.Size, m.head.Root, m.time
	report.Notes, report.Bytes = p.notes, p.total
	if earlier != nil {
		if err := goesOn(earlier, m, roots); err != nil {
			return report, err
		}
	}
	if err := t.begin(p, m); err != nil {
		return report, err
	}
	done := int64(0)
	for i := range p.files {
		if err := ctx.Err(); err != nil {
			return report, err
		}
		n, err := t.put(ctx, &p.files[i])
		if err != nil {
			return report, fmt.Errorf("backing up %s: %w", p.files[i].name, err)
		}
		report.Written += n
		if done += p.files[i].size; o.Progress != nil {
			o.Progress(done, p.total)
		}
	}
	notes, err := t.finish(m)
	report.Notes = append(report.Notes, notes...)
	if err != nil {
		return report, err
	}
	report.Files = len(m.files)
	_, report.Keys = m.file(logKey)
	return report, nil
}

// planWithTries opens the vault for reading and plans. Beside a writer an open
// block may be sealed, and its file gone, between the look at the checkpoint and
// the one at the block; then the next checkpoint knows of it.
func (s *Store) planWithTries(ctx context.Context, name string, o BackupOptions, roots map[uint64]merkle.Hash) (*backupPlan, error) {
	for tries := 8; ; {
		v, err := s.readerOf(ctx, name)
		if err != nil {
			return nil, err
		}
		p, err := planBackup(ctx, v, o, roots)
		if err == nil {
			return p, nil
		}
		err = errors.Join(err, p.close())
		if tries--; tries == 0 || ctx.Err() != nil || !errors.Is(err, fs.ErrNotExist) {
			return nil, wrapDamage(err)
		}
	}
}

// readerOf opens a vault as a reader beside a writer does, at its published
// checkpoint, for the caller alone. What is not published yet is published first
// if that is for this process to do.
func (s *Store) readerOf(ctx context.Context, name string) (*Vault, error) {
	if !s.opts.ReadOnly {
		v, err := s.Vault(ctx, name)
		if err != nil {
			return nil, err
		}
		if err := v.Publish(); err != nil && !errors.Is(err, ErrReadOnly) {
			return nil, err
		}
	} else if err := s.letGo(ctx, name); err != nil {
		return nil, err
	}
	beside := &Store{host: s.host, opts: s.opts, dir: s.dir, vaults: map[string]*Vault{}}
	beside.opts.ReadOnly = true
	v, err := beside.open(ctx, name)
	if err != nil {
		return nil, ofVault(name, err)
	}
	return v, nil
}

// letGo recovers a vault that was not closed cleanly, if nobody holds the store,
// and gives up the lock that readers share: it would keep writers out for as long
// as a backup takes.
func (s *Store) letGo(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if err := s.checkVault(ctx, name); err != nil {
		return err
	}
	if s.lock == nil {
		return nil
	}
	if err := s.recoverFirst(ctx, name, s.vaultDir(name)); err != nil {
		return ofVault(name, err)
	}
	if s.lock == nil {
		return nil
	}
	err := s.lock.Close()
	s.lock = nil
	return err
}

// goesOn refuses to write over the backup of something else.
func goesOn(earlier, now *manifest, roots map[uint64]merkle.Hash) error {
	size := earlier.head.Size
	switch {
	case earlier.vault != now.vault:
		return fmt.Errorf("%w: a backup of vault %v (%s) is there, this is %v (%s); choose another directory", ErrConflict, earlier.vault, earlier.name, now.vault, now.name)
	case size > now.head.Size:
		return fmt.Errorf("%w: the backup there is of size %d, the vault has published %d; records that the backup has are lost here, or the vault is an older copy; nothing was changed", ErrConflict, size, now.head.Size)
	case roots[size] != earlier.head.Root:
		return fmt.Errorf("%w: the backup there has root %v at size %d, the vault has %v: they are two histories; nothing was changed, keep both", ErrConflict, earlier.head.Root, size, roots[size])
	}
	return nil
}

// backupStream gives a plan to a stream.
type backupStream struct{ to BackupStream }

func (t *backupStream) before() *manifest { return nil }

func (t *backupStream) begin(_ *backupPlan, m *manifest) error {
	text := m.text()
	w, err := t.to.File(manifestFile, int64(len(text)), false)
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

func (t *backupStream) put(ctx context.Context, f *planned) (int64, error) {
	w, err := t.to.File(f.name, f.size, f.private)
	if err != nil {
		return 0, err
	}
	return f.size, f.copyTo(ctx, w)
}

func (t *backupStream) finish(*manifest) ([]string, error) { return nil, nil }

// copyTo puts out a file's bytes and verifies them. It ends with the context.
func (f *planned) copyTo(ctx context.Context, w io.Writer) error {
	sum := sha256.New()
	if err := f.write(&ctxWriter{ctx, io.MultiWriter(sum, w)}); err != nil {
		return err
	}
	if got := record.ID(sum.Sum(nil)); got != f.hash {
		return f.explain(got)
	}
	return nil
}

// ctxWriter writes until the context ends.
type ctxWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c *ctxWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}
