package graven

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"graven/internal/fsx"
	"graven/record"
)

// backupLock is held while a backup is written. Names with a dot in front are
// passed over everywhere.
const backupLock = ".lock"

// backupDir is a backup in a folder.
//
// Until the manifest is replaced, which is the last step, the earlier backup is
// what counts: sealed blocks are only added, log files and open blocks only grow
// behind the length that the earlier manifest says, and what is replaced before
// (checkpoint, copies of documents, marks) a restore makes from the manifest and
// the ledger. So a crash at any point leaves the earlier backup, and what was
// written beyond it is used by the next one.
type backupDir struct {
	dir     fsx.Dir
	lock    io.Closer
	earlier *manifest // nil: there is none that counts
	vault   fsx.Dir   // what is backed up, once begin was told
}

// openBackup takes hold of a folder that is empty or holds a backup.
func openBackup(disk fsx.Disk, owner string) (*backupDir, error) {
	t := &backupDir{dir: fsx.NewDir(disk, fsx.BackupRules())}
	if err := t.look(); err != nil {
		return nil, err // before the lock leaves a file in a folder that is not ours
	}
	var err error
	if t.lock, err = disk.Lock(backupLock, owner); err != nil {
		return nil, err
	}
	if err := t.look(); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func (t *backupDir) close() error { return t.lock.Close() }

// look reads the manifest of the earlier backup. One that says unfinished counts as
// none. One that is damaged ends the work: it is replaced at once, so no crash leaves
// that, and nothing else says whether the files are of a longer backup, of another
// history, or have keys among them.
func (t *backupDir) look() (err error) {
	t.earlier, err = manifestIn(t.dir)
	switch {
	case err == nil, errors.Is(err, errBegun):
		return nil
	case errors.Is(err, ErrDamaged):
		return fmt.Errorf("%w; nothing was written, since this may be a longer backup, or one of another history; keep it, and back up to another directory", err)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	entries, err := t.dir.ReadDir(".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		return fmt.Errorf("%w: it holds %q and no %s, so it is no backup to go on from", ErrNotEmpty, e.Name, manifestFile)
	}
	return nil
}

func (t *backupDir) before() *manifest { return t.earlier }

// begin says in an empty folder that it is going to be a backup, so that a later
// one may go on from it. Where a first backup was cut off the log says of which vault
// the rest is.
func (t *backupDir) begin(p *backupPlan, _ *manifest) error {
	t.vault = p.v.dir
	folders := []string{".", "meta/authority", "meta/policy", "meta/host", "meta/keys/pub", "meta/keys/priv"}
	if err := sweepAll(t.dir, folders); err != nil {
		return err
	}
	if t.earlier != nil {
		return nil
	}
	if exists, err := t.dir.Exists(logName(0)); err != nil {
		return err
	} else if exists {
		g, err := readGenesis(t.dir)
		if err == nil && g.Vault != p.v.genesis.Vault {
			return fmt.Errorf("%w: files of vault %v (%s) are there, this is %v (%s); choose another directory", ErrConflict, g.Vault, g.Name, p.v.genesis.Vault, p.v.name)
		}
	}
	if exists, err := t.dir.Exists(manifestFile); err != nil || exists {
		return err
	}
	return t.dir.Replace(manifestFile, []byte(unfinished))
}

// sweepAll removes the temporary names that a crash left in folders and in those of
// sealed blocks.
func sweepAll(dir fsx.Dir, folders []string) error {
	shards, err := dir.ReadDir("blocks/sealed")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range shards {
		folders = append(folders, "blocks/sealed/"+e.Name)
	}
	for _, folder := range folders {
		if err := dir.Sweep(folder); err != nil {
			return err
		}
	}
	return nil
}

// put implements backupTarget.
func (t *backupDir) put(ctx context.Context, f *planned) (int64, error) {
	size := int64(-1) // of what is there
	if info, err := t.dir.Stat(f.name); err == nil {
		if !info.Regular {
			return 0, fmt.Errorf("%s: %w", f.name, fsx.ErrNotRegular)
		}
		size = info.Size
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	had, listed := t.earlier.file(f.name)
	sealed := strings.HasPrefix(f.name, "blocks/sealed/")
	if listed && had.hash == f.hash && size == f.size {
		if sealed {
			return 0, nil // most of a backup, and not read again: docs/decisions/0017
		}
		if got, err := hashOf(t.dir, f.name, size); err != nil || got == f.hash {
			return 0, err
		}
	}
	switch {
	case sealed:
		return t.putSealed(ctx, f, size)
	case strings.HasPrefix(f.name, "log/"), strings.HasPrefix(f.name, "blocks/open/"):
		return t.grow(ctx, f, had, size)
	}
	return f.size, t.dir.ReplaceFrom(f.name, func(w io.Writer) error { return f.copyTo(ctx, w) })
}

// putSealed publishes a sealed block. One that an interrupted backup left is
// taken if it is what its name says.
func (t *backupDir) putSealed(ctx context.Context, f *planned, size int64) (int64, error) {
	if size == f.size {
		got, err := hashFirst(ctx, t.dir, f.name, size)
		if err != nil {
			return 0, err
		}
		if got == f.hash {
			return 0, t.dir.Sync(f.name)
		}
	}
	if size >= 0 {
		// It is not what the earlier manifest, if any, says it is.
		if err := t.dir.Discard(f.name); err != nil {
			return 0, err
		}
	}
	return f.size, t.dir.Publish(f.name, func(w io.Writer) error { return f.copyTo(ctx, w) })
}

// grow writes what a file has more than in the earlier backup, behind that. size
// is the length of what is there, -1 if nothing is.
func (t *backupDir) grow(ctx context.Context, f *planned, had backedUp, size int64) (written int64, err error) {
	keep := had.size
	if !had.grows {
		keep = 0
	}
	if keep > 0 {
		if size < keep || keep > f.size {
			keep = 0
		} else if got, err := hashFirst(ctx, t.dir, f.name, keep); err != nil {
			return 0, err
		} else if got != had.hash {
			keep = 0 // it rotted: all of it is written again
		}
	}
	out, err := t.dir.Append(f.name, true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := &tailWriter{out: out, keep: keep, want: had.hash, head: sha256.New()}
	err = f.copyTo(ctx, w)
	if err == nil && w.other {
		err = fmt.Errorf("%w: %s in the backup has other bytes than the vault before offset %d", ErrConflict, f.name, keep)
	}
	if err == nil {
		err = out.Truncate(f.size)
	}
	if err == nil {
		err = out.Sync()
	}
	if err != nil && keep > 0 {
		// Best effort: the manifest says how much of the file counts.
		err = errors.Join(err, out.Truncate(keep))
	}
	return f.size - keep, err
}

// tailWriter passes over the first bytes, which are there, and writes the rest.
type tailWriter struct {
	out  fsx.File
	at   int64
	keep int64     // so many are there
	want record.ID // and have this hash
	head interface {
		io.Writer
		Sum([]byte) []byte
	}
	other bool // those that came were others
}

func (w *tailWriter) Write(p []byte) (int, error) {
	n := len(p)
	if w.at < w.keep {
		part := p[:min(int64(len(p)), w.keep-w.at)]
		w.head.Write(part)
		w.at += int64(len(part))
		p = p[len(part):]
		if w.at == w.keep && record.ID(w.head.Sum(nil)) != w.want {
			w.other = true
		}
	}
	if w.other || len(p) == 0 {
		return n, nil // nothing is written behind what does not fit
	}
	if _, err := w.out.WriteAt(p, w.at); err != nil {
		return 0, err
	}
	w.at += int64(len(p))
	return n, nil
}

// hashOf is the SHA-256 of a file's first bytes.
func hashOf(dir fsx.Dir, name string, size int64) (record.ID, error) {
	return hashFirst(context.Background(), dir, name, size)
}

// hashFirst is hashOf that ends with the context.
func hashFirst(ctx context.Context, dir fsx.Dir, name string, size int64) (record.ID, error) {
	f, err := dir.Open(name)
	if err != nil {
		return record.ID{}, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(&ctxWriter{ctx, sum}, io.NewSectionReader(f, 0, size)); err != nil {
		return record.ID{}, err
	}
	return record.ID(sum.Sum(nil)), nil
}

// finish makes the new backup count, and only then takes away open blocks that
// it does not have any more.
func (t *backupDir) finish(m *manifest) (notes []string, err error) {
	if notes, err = t.keepKeys(m); err != nil {
		return notes, err
	}
	if text := m.text(); t.earlier == nil || string(t.earlier.text()) != string(text) {
		if err := t.dir.Replace(manifestFile, text); err != nil {
			return notes, err
		}
	}
	return notes, errors.Join(t.dropUnlisted("blocks/open", m), t.dropUnlisted("meta/keys/priv", m))
}

// dropUnlisted discards what the manifest does not list: open blocks that are sealed by
// now, and keys that a backup wrote that was cut off. A key that the vault does not have
// may be the only one, and stays.
func (t *backupDir) dropUnlisted(folder string, m *manifest) error {
	entries, err := t.dir.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		name := folder + "/" + e.Name
		if _, ok := m.file(name); ok || !e.Regular || !fsx.BackupRules().Allows(fsx.Discard, name) {
			continue
		}
		if folder == "meta/keys/priv" && !t.hasSame(name) {
			continue
		}
		err = errors.Join(err, t.dir.Discard(name))
	}
	return err
}

// hasSame reports whether the vault has a key with the same bytes.
func (t *backupDir) hasSame(name string) bool {
	const maxKey = 8192
	ours, err := t.vault.ReadFile(name, maxKey)
	there, thereErr := t.dir.ReadFile(name, maxKey)
	return err == nil && thereErr == nil && bytes.Equal(ours, there)
}

// keepKeys lists signing keys that an earlier backup put there: one that goes
// without does not take them away. Of those that are not what it put there a restore
// could make nothing, and a note says so.
func (t *backupDir) keepKeys(m *manifest) (notes []string, err error) {
	for _, name := range []string{cosignerKey, logKey} {
		had, listed := t.earlier.file(name)
		i, ok := m.find(name)
		if ok || !listed {
			continue
		}
		got, _, err := hashFile(context.Background(), t.dir, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			notes = append(notes, name+" is gone from the backup, and is not listed any more; to have it there back up --with-keys")
		case err != nil:
			return notes, err
		case got != had.hash:
			notes = append(notes, fmt.Sprintf("%s in the backup has SHA-256 %s, an earlier backup put one with %s there; it is not listed any more, and left as it is; to have the vault's there back up --with-keys", name, got.Hex(), had.hash.Hex()))
		default:
			m.files = slices.Insert(m.files, i, had)
		}
	}
	return notes, nil
}
