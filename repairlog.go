package graven

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

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
	if err := r.onlyDamaged(own.scan.size); err != nil {
		return nil, err
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

// onlyDamaged refuses the checkpoint of a copy if what is whole of the vault's own log
// is not the beginning of what that checkpoint is over: then it is not damaged, it is
// another history.
func (r *repairer) onlyDamaged(size uint64) error {
	if !r.theirHead || size == 0 {
		return nil
	}
	own := newLogReader(r.ctx, r.genesis, size, logFilesOf(r.dir))
	mixed := newLogReader(r.ctx, r.genesis, size, r.mixed)
	if err := errors.Join(own.run(), mixed.run()); err != nil {
		return err
	}
	if ours, theirs := own.scan.tree.Root(), mixed.scan.tree.Root(); ours != theirs {
		return fmt.Errorf("%w: of the first %d records the vault has root %v, the copy %v: they are two histories, and nothing was changed; keep both, and bring the vault's own checkpoint back", ErrConflict, size, ours, theirs)
	}
	return nil
}

// head is the vault's own checkpoint, if it verifies, and else the copy's. What counts
// is the signature of the keys that the vault's genesis names: the copy may be anybody's.
func (r *repairer) head() (signedHead, error) {
	keys, keysErr := r.vkeys()
	own := &Vault{dir: r.dir}
	read := own.readCheckpoint
	if keysErr == nil {
		read = func() (proof.Checkpoint, []byte, error) { return own.readCheckpointBy(keys...) }
	}
	head, _, err := read()
	if err != nil {
		if keysErr == nil && r.theirGenesis {
			// The first line is damaged, too. The key is what is left to know the vault by.
			if key, keyErr := readVKey(r.dir, logPub); keyErr != nil || key != keys[0] {
				keysErr = fmt.Errorf("%w: the first record is damaged, and %s does not say that the copy's key is this vault's", ErrDamaged, logPub)
			}
		}
		if keysErr != nil {
			return signedHead{}, errors.Join(err, fmt.Errorf("the copy's checkpoint cannot take its place: %w", keysErr))
		}
		theirs, _, theirErr := (&Vault{dir: r.copy}).readCheckpointBy(keys...)
		if theirErr != nil {
			return signedHead{}, errors.Join(err, fmt.Errorf("the copy: %w", theirErr))
		}
		head, r.theirHead = theirs, true
	}
	if head.Origin != r.genesis.Origin {
		return signedHead{}, fmt.Errorf("%w: the checkpoint is of origin %q, the vault of %q", ErrDamaged, head.Origin, r.genesis.Origin)
	}
	return signedHead{head.Size, head.Root}, nil
}

// vkeys are the log's key and maybe the cosigner's, by the authority document that
// genesis names, of which here or in the copy may be the text.
func (r *repairer) vkeys() ([]string, error) {
	for _, dir := range []fsx.Dir{r.dir, r.copy} {
		text, err := dir.ReadFile(authorityFile, maxSetAside)
		if err != nil {
			continue
		}
		text = bytes.TrimSuffix(text, []byte("\n"))
		if record.IDOf(text) != r.genesis.Authority {
			continue
		}
		a, err := record.ParseAuthority(text)
		if err != nil {
			return nil, err
		}
		if keys := vkeysOf(a); len(keys) > 0 {
			return keys, nil
		}
	}
	return nil, fmt.Errorf("%w: the authority %v, which names the log's key, is neither in the vault's nor in the copy's %s", ErrDamaged, r.genesis.Authority, authorityFile)
}

// lengthIn is how much of a file of the copy counts; -1 if it is not there, or not
// listed in a backup.
func (r *repairer) lengthIn(name string) (int64, error) {
	if _, listed := r.m.file(name); r.m != nil && !listed {
		return -1, nil
	}
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
	return r.mix(logName(first), math.MaxInt64)
}

// mix opens a file with the bytes of the copy up to a limit, as far as they go.
func (r *repairer) mix(name string, limit int64) (io.ReadCloser, error) {
	m := &mixture{}
	n, err := r.lengthIn(name)
	if err != nil {
		return nil, err
	}
	n = min(n, limit)
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
		in, err := r.mix(name, part.size) // what the copy has behind it nobody signed
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
