package graven

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"graven/record"
)

// sealed brings back a sealed block.
func (r *repairer) sealed(rec record.Block) error {
	name := sealedBlock(rec.ID)
	r.report.Checked++
	return r.sealedFrom(rec, func(w io.Writer) error {
		in, err := r.copy.Open(name)
		if err != nil {
			return fmt.Errorf("the copy: %w", err)
		}
		_, err = io.Copy(w, io.NewSectionReader(in, 0, int64(rec.Size)))
		return errors.Join(err, in.Close())
	})
}

// sealedFrom puts other bytes in the place of a sealed block if it is damaged, and if
// they are what its record says.
func (r *repairer) sealedFrom(rec record.Block, other func(io.Writer) error) error {
	name := sealedBlock(rec.ID)
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
		sum := &hashing{w: w, left: int64(rec.Size)}
		if err := other(sum); err != nil {
			return err
		}
		if sum.sum() != rec.ID {
			return fmt.Errorf("%w: what there is of it elsewhere has SHA-256 %s", ErrDamaged, sum.sum().Hex())
		}
		return nil
	})
}
