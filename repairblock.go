package graven

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/record"
)

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

// look is a check of all but the sealed blocks, which were verified.
func (r *repairer) look(sealed []record.Block) ([]Finding, error) {
	c := &checker{ctx: r.ctx, dir: r.dir, report: &Report{Vault: r.report.Vault}, limit: noLimit}
	c.lookOnly(true)
	c.progress.verified = map[record.ID]bool{}
	for _, rec := range sealed {
		c.progress.verified[rec.ID] = true
	}
	err := c.run()
	return c.report.Findings, err
}

// openDamage says which open blocks are damaged by what the log mentions in them; an
// empty name stands for one that may be missing. It is nil if none is: what a copy has
// in their place does not matter then.
func (r *repairer) openDamage(sealed []record.Block) (damaged map[string]bool, err error) {
	findings, err := r.look(sealed)
	if err != nil {
		return nil, err
	}
	for _, f := range findings {
		name := f.File
		switch {
		case strings.HasPrefix(name, "blocks/open/"):
		case name == "" || name == "blocks" || name == "blocks/open":
			name = ""
		default:
			continue
		}
		if damaged == nil {
			damaged = map[string]bool{}
		}
		damaged[name] = true
	}
	return damaged, nil
}

// openBlocks brings back the artifacts of damaged open blocks, and of those that are
// missing, that the copy has in the same place.
func (r *repairer) openBlocks(sealed, damaged map[string]bool) error {
	entries, err := r.copy.ReadDir("blocks/open")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		name := "blocks/open/" + e.Name
		if sealed[name] || !strings.HasSuffix(name, ".blk") {
			continue
		}
		if exists, err := r.dir.Exists(name); err != nil {
			return err
		} else if exists && !damaged[name] && !(damaged[""] && r.shorter(name)) {
			continue
		}
		if err := r.openBlock(name); err != nil {
			return err
		}
	}
	return nil
}

// shorter reports whether the vault's own file has fewer bytes than the copy's: it may
// have been cut off.
func (r *repairer) shorter(name string) bool {
	theirs, err := r.lengthIn(name)
	info, ownErr := r.dir.Stat(name)
	return err == nil && ownErr == nil && info.Size < theirs
}

func (r *repairer) openBlock(name string) error {
	n, err := r.lengthIn(name)
	if err != nil || n < 0 {
		return err
	}
	if n, err = r.withoutRoom(name, n); err != nil {
		return err
	}
	r.report.Checked++
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
		in, err := r.mix(name, n)
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

// withoutRoom is the length of an open block of the copy without the zeros that are
// reserved behind its last frame, which ends with a newline.
func (r *repairer) withoutRoom(name string, n int64) (int64, error) {
	f, err := r.copy.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for buf := make([]byte, 64<<10); n > 0; {
		part := buf[:min(n, int64(len(buf)))]
		if _, err := f.ReadAt(part, n-int64(len(part))); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if rest := bytes.TrimRight(part, "\x00"); len(rest) > 0 {
			return n - int64(len(part)-len(rest)), nil
		}
		n -= int64(len(part))
	}
	return 0, nil
}

// left names what is still damaged or missing in open blocks, as a check finds it:
// the copy may be older, or end before the damage. Sealed blocks were verified.
func (r *repairer) left(sealed []record.Block) error {
	findings, err := r.look(sealed)
	if err != nil {
		return err
	}
	known := r.report.Failed() // values of a file that was not replaced are missing, too
	missing, first := 0, ""
	for _, f := range findings {
		switch {
		case strings.HasPrefix(f.File, "blocks/open/"):
			if slices.ContainsFunc(r.report.Files, func(done Repaired) bool { return done.File == f.File && done.Err != nil }) {
				continue
			}
			what := f.What
			if f.Offset >= 0 {
				what = fmt.Sprintf("offset %d: %s", f.Offset, what)
			}
			r.report.Files = append(r.report.Files, Repaired{File: f.File, What: what, Err: errNotInCopy})
		case !known && (f.File == "" || f.File == "blocks" || f.File == "blocks/open"):
			if missing++; missing == 1 {
				first = strings.TrimPrefix(f.What, ErrDamaged.Error()+": ")
			}
		}
	}
	if missing > 0 {
		r.report.Files = append(r.report.Files, Repaired{
			File: "blocks", What: fmt.Sprintf("%d things that the log mentions are in none; the first: %s", missing, first), Err: errNotInCopy,
		})
	}
	return nil
}

// errNotInCopy is why damage is left though the copy is sound.
var errNotInCopy = errors.New("the copy does not have it; another one may")

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
