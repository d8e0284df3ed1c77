package graven

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"graven/internal/fsx"
	"graven/merkle"
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
