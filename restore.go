package graven

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/merkle"
	"graven/proof"
	"graven/record"
	"graven/rescue"
)

// BackupReader gives the files of a backup, one after another, backup.txt first.
type BackupReader interface {
	// Next begins the next file; io.EOF behind the last. The reader is good until
	// the call after it. If it has a method Size() int64, a file whose length is not
	// the one that backup.txt says is refused before its first byte.
	Next() (name string, r io.Reader, err error)
}

// RestoreOptions say how to restore a vault.
type RestoreOptions struct {
	Vault    string                  // refuse a backup of a vault with another name; empty: any
	VKey     string                  // refuse a backup that was not signed by this log key; empty: any
	Progress func(done, total int64) // told as the restored vault is verified; may be nil
}

// RestoreReport says what was restored.
type RestoreReport struct {
	Vault  string // name
	ID     string
	Origin string
	Size   uint64 // records
	Root   merkle.Hash
	Files  int
	Bytes  int64
	VKeys  []string // of the log and its cosigner: what the restored vault is signed by
	Keys   bool     // the signing keys came with it
	Notes  []string
}

// OpenForRestore opens a store to restore a vault into. An empty directory
// becomes a store.
func OpenForRestore(ctx context.Context, host Host, o Options) (*Store, error) {
	s, err := Open(ctx, host, o)
	if !errors.Is(err, ErrNoStore) {
		return s, err
	}
	s = newStore(host, o)
	if err := s.vacant(ctx); err != nil {
		return nil, err
	}
	return s, s.takeLock(ctx)
}

// Restore makes a vault from a backup. Everything is verified before the vault
// has its name, as a check does: hashes, lines, roots, blocks, artifacts, state
// and the checkpoint's signature. A backup that is incomplete, damaged or not of one
// piece is [ErrDamaged], and leaves nothing. One of another log than VKey's is
// [proof.ErrSignature]. A name that is taken is [ErrVaultExists].
//
// The vault cannot be written until it is adopted: records that it lost may
// be known to others (rule 9). See [Store.Adopt].
func (s *Store) Restore(ctx context.Context, src BackupReader, o RestoreOptions) (*RestoreReport, error) {
	if s.opts.ReadOnly {
		return nil, fmt.Errorf("store: %w", ErrReadOnly)
	}
	m, err := firstManifest(src)
	if err != nil {
		return nil, err
	}
	if o.Vault != "" && o.Vault != m.name {
		return nil, fmt.Errorf("%w: this is a backup of vault %q, not of %q; a vault keeps the name that its first record says", ErrInvalid, m.name, o.Vault)
	}
	if o.VKey != "" {
		if _, err := openNote(m.note, strings.TrimSpace(o.VKey)); err != nil {
			return nil, fmt.Errorf("%w: this is a backup of vault %q of log %s, whose checkpoint is not signed by the key %s", proof.ErrSignature, m.name, m.head.Origin, strings.TrimSpace(o.VKey))
		}
	}
	r := &restorer{s: s, ctx: ctx, src: src, m: m, o: o, report: &RestoreReport{
		Vault: m.name, ID: m.vault.String(), Origin: m.head.Origin, Size: m.head.Size, Root: m.head.Root,
	}}
	err = s.dir.PublishFolder(vaultsName+"/"+m.name, r.build)
	if errors.Is(err, fs.ErrExist) {
		err = ErrVaultExists
	}
	if err != nil {
		return nil, markFull(ofVault(m.name, err))
	}
	return r.report, nil
}

// firstManifest reads the manifest, with which every backup begins.
func firstManifest(src BackupReader) (*manifest, error) {
	name, r, err := src.Next()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: the backup is empty", ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	if name != manifestFile {
		return nil, fmt.Errorf("%w: it begins with %q, a backup begins with %s", ErrDamaged, name, manifestFile)
	}
	if folder, ok := src.(*backupFolder); ok {
		return folder.m, nil
	}
	return readManifest(r)
}

// restorer fills the folder of a vault that has no name yet.
type restorer struct {
	s      *Store
	ctx    context.Context
	src    BackupReader
	m      *manifest
	o      RestoreOptions
	report *RestoreReport
}

// build copies what is truth, makes the rest, and verifies the whole.
func (r *restorer) build(d fsx.Disk) error {
	dir := fsx.NewDir(d, fsx.RestoreRules())
	if err := r.copy(dir); err != nil {
		return err
	}
	if err := r.around(dir); err != nil {
		return err
	}
	return r.verify(d)
}

// madeAgain are the files that a restore makes by itself: of those a backup that was
// interrupted may hold newer ones than its manifest says.
func madeAgain(name string) bool {
	switch name {
	case "README.txt", "rescue.sh", "checkpoint", policyFile, cleanFile, restoredFile:
		return true
	}
	return false
}

// copy takes over every file that the manifest lists, and no other, and holds
// each against its hash.
func (r *restorer) copy(dir fsx.Dir) error {
	seen := make([]bool, len(r.m.files))
	for {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		name, in, err := r.src.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		i, listed := r.m.find(name)
		if !listed || seen[i] {
			return fmt.Errorf("%w: the backup holds %q, which %s does not list, or lists once", ErrDamaged, name, manifestFile)
		}
		f := r.m.files[i]
		seen[i] = true
		if madeAgain(name) {
			if err := r.compare(f, in); err != nil {
				return err
			}
			continue
		}
		if err := fits(f, in); err != nil {
			return err
		}
		if err := dir.Publish(name, func(w io.Writer) error { return r.take(f, in, w) }); err != nil {
			return err
		}
	}
	for i, f := range r.m.files {
		if !seen[i] && !madeAgain(f.path()) {
			return fmt.Errorf("%w: %s is missing in the backup, which %s lists", ErrDamaged, f.path(), manifestFile)
		}
	}
	_, r.report.Keys = r.m.file(logKey)
	r.report.Files = len(r.m.files)
	return nil
}

// fits refuses a file of another length than the one that is listed.
func fits(f backedUp, in io.Reader) error {
	if s, ok := in.(interface{ Size() int64 }); ok && s.Size() != f.size {
		return fmt.Errorf("%w: %s of the backup has %d bytes, %s says %d", ErrDamaged, f.path(), s.Size(), manifestFile, f.size)
	}
	return nil
}

// take copies a file and holds it against its hash. It takes no byte more than are listed.
func (r *restorer) take(f backedUp, in io.Reader, w io.Writer) error {
	sum := sha256.New()
	in = &ctxReader{r.ctx, in}
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(in, f.size))
	if err == nil && n == f.size {
		var more int64
		more, err = io.CopyN(io.Discard, in, 1)
		if n += more; errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.path(), err)
	}
	if n != f.size {
		return fmt.Errorf("%w: %s of the backup has %d bytes or more, %s says %d", ErrDamaged, f.path(), n, manifestFile, f.size)
	}
	r.report.Bytes += n
	if got := record.ID(sum.Sum(nil)); got != f.hash {
		return fmt.Errorf("%w: %s of the backup, %d bytes, has SHA-256 %s, %s says %s", ErrDamaged, f.path(), n, got.Hex(), manifestFile, f.hash.Hex())
	}
	return nil
}

// compare looks at a file that a restore does not need.
func (r *restorer) compare(f backedUp, in io.Reader) error {
	err := fits(f, in)
	if err == nil {
		err = r.take(f, in, io.Discard)
	}
	if errors.Is(err, ErrDamaged) {
		r.report.Notes = append(r.report.Notes, fmt.Sprintf("%v; it was made again", err))
		return nil
	}
	return err
}

// ctxReader reads until the context ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// around makes what stands around log and blocks.
func (r *restorer) around(dir fsx.Dir) error {
	readme, script := rescue.Files()
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"README.txt", readme},
		{"rescue.sh", script},
		{"checkpoint", r.m.note},
		{cleanFile, fmt.Appendf(nil, "clean %d\n", r.m.head.Size)},
		{restoredFile, restoredMark(r.m.head.Size)},
	} {
		if err := dir.PublishBytes(f.name, f.data); err != nil {
			return err
		}
	}
	return nil
}

// verify reads the new folder as a check reads a vault, and opens it.
func (r *restorer) verify(d fsx.Disk) error {
	dir := fsx.NewDir(d, fsx.VaultRules())
	c := &checker{ctx: r.ctx, opts: CheckOptions{Progress: r.o.Progress}, dir: dir, report: &Report{Vault: r.m.name}, limit: noLimit}
	c.lookOnly(true)
	if err := c.run(); err != nil {
		return err
	}
	for _, f := range c.report.Findings {
		if f.File == policyFile {
			continue // made below
		}
		return fmt.Errorf("%w: the backup is not whole, %d findings; the first: %v", ErrDamaged, len(c.report.Findings), f)
	}
	o := r.s.opts
	o.ReadOnly, o.scripted = true, true
	v := &Vault{name: r.m.name, host: r.s.host, opts: o, dir: dir, sealing: map[block.OpenBlock]bool{}, unsealed: map[string]unsealed{}}
	if err := v.open(true); err != nil {
		return errors.Join(err, v.closeRooms())
	}
	w := v.View()
	err := errors.Join(r.isWhat(v, w), r.nothingElse(v))
	if err == nil {
		err = dir.Replace(policyFile, append(bytes.Clone(w.policy.text), '\n'))
	}
	r.report.VKeys = v.VKeys()
	return errors.Join(err, v.closeRooms())
}

// isWhat holds the opened vault against what the manifest and the caller say.
func (r *restorer) isWhat(v *Vault, w *View) error {
	switch {
	case v.genesis.Vault != r.m.vault:
		return manifestError("it is of vault %v, the log of %v", r.m.vault, v.genesis.Vault)
	case w.head != r.m.head:
		return manifestError("its checkpoint is of size %d and root %v, the log of %d and %v", r.m.head.Size, r.m.head.Root, w.head.Size, w.head.Root)
	case r.o.VKey != "" && strings.TrimSpace(r.o.VKey) != v.vkeys[0]:
		return fmt.Errorf("%w: the backup is signed by the log key %s, wanted %s", proof.ErrSignature, v.vkeys[0], strings.TrimSpace(r.o.VKey))
	}
	return nil
}

// nothingElse demands that every sealed block is one that a record names, that every
// open one is mentioned, and that nothing stands behind what is mentioned of it. Of
// the other files the names are fixed, and the check has read the log's.
func (r *restorer) nothingElse(v *Vault) (err error) {
	more := func(name, what string) {
		if err == nil {
			err = fmt.Errorf("%w: the backup holds %s, %s", ErrDamaged, name, what)
		}
	}
	v.blocks.CheckNames(func(d *block.Damage) { more(d.File, d.Error()) }, func(id record.ID) { more(sealedBlock(id), "which no record names") })
	for _, f := range r.m.files {
		base, open := strings.CutPrefix(f.name, "blocks/open/")
		if !open {
			continue
		}
		switch size := v.blocks.OpenSize(base); size {
		case f.size:
		case 0:
			more(f.name, "of which the log mentions nothing")
		default:
			more(f.name, fmt.Sprintf("of which the log mentions %d bytes and not all %d", size, f.size))
		}
	}
	return err
}
