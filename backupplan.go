package graven

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/merkle"
	"graven/proof"
	"graven/record"
	"graven/rescue"
)

// planned is a file that a backup is to hold. Everything but the bytes is known
// before the first of them is copied, so the manifest is too.
type planned struct {
	backedUp
	private bool                      // for its owner only
	write   func(w io.Writer) error   // puts out its bytes, as they are now
	explain func(got record.ID) error // what is wrong when they have another hash
}

// backupPlan is a backup at the position of a published checkpoint. The files of
// open blocks stay open, since the vault's owner may seal and remove them at any
// time; close gives them back.
type backupPlan struct {
	v     *Vault // open for reading at that position
	head  proof.Checkpoint
	note  []byte
	time  time.Time
	files []planned // log files last: they are what the rest hangs on
	notes []string
	open  []io.Closer
	total int64 // bytes of all files
}

func (p *backupPlan) close() error {
	var errs []error
	for _, f := range p.open {
		errs = append(errs, f.Close())
	}
	return errors.Join(append(errs, p.v.close())...)
}

// planBackup verifies the log up to the vault's position and lists what belongs
// to it. roots are those at sizes that the caller asks for.
func planBackup(ctx context.Context, v *Vault, o BackupOptions, roots map[uint64]merkle.Hash) (*backupPlan, error) {
	w := v.View()
	p := &backupPlan{v: v, head: w.head, note: w.note}
	if w.both != nil {
		p.note = w.both
	}
	// First of all, before their owner seals them.
	walks, err := p.openBlocks()
	if err != nil {
		return p, err
	}
	l := newLogReader(ctx, v.genesis, w.head.Size, logFilesOf(v.dir))
	l.roots = roots
	if err := l.run(); err != nil {
		return p, err
	}
	if root := l.scan.tree.Root(); root != w.head.Root {
		return p, fmt.Errorf("%w: the first %d records of the log have root %v, the published checkpoint says %v", ErrDamaged, w.head.Size, root, w.head.Root)
	}
	p.time = l.scan.time
	for _, rec := range l.scan.blocks {
		p.add(p.sealed(rec))
	}
	unnamed, err := p.sealedMeanwhile(l.scan.blocks)
	if err != nil {
		return p, err
	}
	walks = append(walks, unnamed...)
	for _, walk := range walks {
		f, err := p.openBlock(ctx, walk)
		if err != nil {
			return p, err
		}
		p.add(f)
	}
	if err := p.around(o); err != nil {
		return p, err
	}
	for _, part := range l.parts {
		p.add(p.logFile(part))
	}
	if len(p.files) > maxBackupFiles {
		return p, fmt.Errorf("%w: the vault has %d files, a backup at most %d", ErrUnsupported, len(p.files), maxBackupFiles)
	}
	return p, nil
}

func (p *backupPlan) add(f planned) {
	p.files = append(p.files, f)
	p.total += f.size
}

// manifest is what the backup will say of itself.
func (p *backupPlan) manifest() *manifest {
	m := &manifest{vault: p.v.genesis.Vault, name: p.v.name, time: p.time, note: p.note, head: p.head}
	files := make([]backedUp, 0, len(p.files))
	for _, f := range p.files {
		files = append(files, f.backedUp)
	}
	m.list(files)
	return m
}

// logFile is a log file as far as it was verified.
func (p *backupPlan) logFile(part logPart) planned {
	f := p.part(part.name(), part.size)
	f.hash = part.hash
	f.explain = func(got record.ID) error {
		return fmt.Errorf("%w: %s: its first %d bytes had SHA-256 %s a moment ago and have %s now", ErrDamaged, part.name(), part.size, part.hash.Hex(), got.Hex())
	}
	return f
}

// part is the beginning of a file of the vault.
func (p *backupPlan) part(name string, size int64) planned {
	f := planned{backedUp: backedUp{name: name, size: size}}
	f.write = func(w io.Writer) error {
		in, err := p.v.dir.Open(name)
		if err != nil {
			return wrapDamage(fmt.Errorf("%s: %w", name, err))
		}
		n, err := io.Copy(w, io.NewSectionReader(in, 0, size))
		if err == nil && n < size {
			err = fmt.Errorf("%w: %s ends at offset %d, wanted %d bytes", ErrDamaged, name, n, size)
		}
		return errors.Join(err, in.Close())
	}
	return f
}

// sealed is a sealed block, whose record says its hash.
func (p *backupPlan) sealed(rec record.Block) planned {
	f := p.part(sealedBlock(rec.ID), int64(rec.Size))
	f.hash = rec.ID
	f.explain = func(got record.ID) error {
		err := fmt.Errorf("%w: %s: its first %d bytes have SHA-256 %s, which is not its name; graven repair --from another backup brings it back", ErrDamaged, f.name, rec.Size, got.Hex())
		p.v.blocks.CheckSealed(rec, func(d *block.Damage) {
			if d.What != "file" {
				err = errors.Join(err, d) // where in it
			}
		})
		return err
	}
	return f
}

func sealedBlock(id record.ID) string {
	return "blocks/sealed/" + id.Hex()[:2] + "/" + id.Hex() + ".blk"
}

func openBlockName(class string, number uint64) string {
	return fmt.Sprintf("blocks/open/%s-%08d.blk", class, number)
}

// openBlocks opens the files of all open blocks that hold what the log mentions.
func (p *backupPlan) openBlocks() (walks []*openWalk, err error) {
	for _, b := range p.v.blocks.OpenBlocks() {
		if b.Count == 0 {
			continue
		}
		in, err := p.v.dir.Open(openBlockName(b.Class, b.Number))
		if err != nil {
			return nil, err
		}
		p.open = append(p.open, in)
		walks = append(walks, p.walk(in, b.Class, b.Number, b.Count))
	}
	return walks, nil
}

// sealedMeanwhile opens the blocks that no record before the position names, and that were
// sealed, and their open files removed, before this reader came. In the backup they are
// open blocks, as they were at the position.
func (p *backupPlan) sealedMeanwhile(named []record.Block) (walks []*openWalk, err error) {
	ids := map[record.ID]bool{}
	for _, rec := range named {
		ids[rec.ID] = true
	}
	for _, at := range p.v.mentioned.Classes {
		for number := range at.Number + 1 {
			id, count, ok := p.v.blocks.SealedOf(at.Class, number)
			if !ok || ids[id] {
				continue
			}
			if number == at.Number {
				count = at.Count
			}
			in, err := p.v.dir.Open(sealedBlock(id))
			if err != nil {
				return nil, err
			}
			p.open = append(p.open, in)
			walks = append(walks, p.walk(in, at.Class, number, int(count)))
		}
	}
	return walks, nil
}

// walk reads the first frames of a numbered block from a file.
func (p *backupPlan) walk(in fsx.File, class string, number uint64, count int) *openWalk {
	w := &openWalk{name: openBlockName(class, number), in: in, count: count, mend: p.healed}
	w.header = block.AppendHeader(nil, block.Header{Vault: p.v.genesis.Vault, Class: class, Number: number})
	return w
}

// healed is the second copy of an artifact; nil if there is none.
func (p *backupPlan) healed(id record.ID) []byte {
	b, err := p.v.blocks.ReadHealed(id)
	if err != nil {
		return nil
	}
	return b
}

// openBlock is the part of an open block that the log mentions, every artifact
// of it hashed.
func (p *backupPlan) openBlock(ctx context.Context, w *openWalk) (planned, error) {
	name := w.name
	sum := sha256.New()
	size, err := w.copy(&ctxWriter{ctx, sum})
	if err != nil {
		return planned{}, err
	}
	if w.mended > 0 {
		p.notes = append(p.notes, fmt.Sprintf("%s: %d damaged artifacts have a second copy, and stand sound in the backup", name, w.mended))
	}
	f := planned{backedUp: backedUp{name: name, hash: record.ID(sum.Sum(nil)), size: size}}
	f.write = func(to io.Writer) error {
		_, err := w.copy(to)
		return err
	}
	f.explain = func(record.ID) error { return fmt.Errorf("%w: %s changes while it is read", ErrDamaged, name) }
	return f, nil
}

// around are the files that stand around log and blocks.
func (p *backupPlan) around(o BackupOptions) error {
	v := p.v
	readme, script := rescue.Files()
	authority, err := v.artifact(v.genesis.Authority)
	if err != nil {
		return err
	}
	p.bytes("README.txt", readme)
	p.bytes("rescue.sh", script)
	p.bytes("checkpoint", p.note)
	p.bytes(authorityFile, append(slices.Clone(authority), '\n'))
	p.bytes(policyFile, append(slices.Clone(v.View().policy.text), '\n'))
	for i, name := range []string{logPub, cosignerPub} {
		if i < len(v.vkeys) {
			p.bytes(name, []byte(v.vkeys[i]+"\n"))
		}
	}
	p.bytes(cleanFile, fmt.Appendf(nil, "clean %d\n", p.head.Size))
	// Whoever puts the folder itself into a store has made a restore, too.
	p.bytes(restoredFile, restoredMark(p.head.Size))
	if !o.WithKeys {
		return nil
	}
	for _, name := range []string{logKey, cosignerKey} {
		b, err := v.dir.ReadFile(name, 8192)
		if errors.Is(err, fs.ErrNotExist) && name == cosignerKey {
			p.notes = append(p.notes, name+" is not here, and so not in the backup")
			continue
		}
		if err != nil {
			return fmt.Errorf("a signing key is to go into the backup: %w", err)
		}
		p.bytes(name, b)
		p.files[len(p.files)-1].private = true
	}
	return nil
}

// bytes adds a small file.
func (p *backupPlan) bytes(name string, b []byte) {
	p.add(planned{
		backedUp: backedUp{name: name, hash: record.IDOf(b), size: int64(len(b))},
		write:    func(w io.Writer) error { _, err := w.Write(b); return err },
		explain:  func(record.ID) error { return fmt.Errorf("%w: %s changed in memory", ErrDamaged, name) },
	})
}
