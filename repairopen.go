package graven

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"graven/internal/block"
	"graven/record"
)

// openBlocks brings back the artifacts of open blocks, and says which are still
// damaged or missing then. The class log comes first: the op lines of wide transactions
// stand there, and say what the other classes hold.
func (r *repairer) openBlocks(l *wholeLog) error {
	if len(l.scan.lacks) > 0 {
		r.fail("blocks/open", "it was not looked at", fmt.Errorf("%w: the ledger uses %s, which this program does not know; repair it with a newer one", ErrUnsupported, strings.Join(l.scan.lacks, ", ")))
		return nil
	}
	defer r.closeBlocks()
	d, err := r.demands(l)
	if err != nil {
		return err
	}
	before := len(r.report.Files)
	if err := r.class(d[classLog]); err != nil {
		return err
	}
	if d.blind() && len(r.report.Files) > before { // op lines may be back
		if d, err = r.demands(l); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d)) {
		if name == classLog {
			continue
		}
		if err := r.class(d[name]); err != nil {
			return err
		}
	}
	return nil
}

// class brings back the open blocks of a class.
func (r *repairer) class(c *classDemand) error {
	list, err := r.blocks(c)
	if err != nil {
		return err
	}
	for i := range list {
		if err := r.openBlock(&list[i]); err != nil {
			return err
		}
	}
	if c.blind != nil {
		r.fail("blocks/open", fmt.Sprintf("class %s was not looked at to its end", c.class), c.blind)
	}
	return nil
}

// ownBlocks makes known what stands in the vault's own blocks, as far as a repair asks
// for it: op lines and documents, and blocks that were sealed behind the checkpoint.
func (r *repairer) ownBlocks(sealed []record.Block) (err error) {
	r.closeBlocks()
	if r.own, err = block.Open(r.dir.Sub("blocks"), r.genesis.Vault); err != nil {
		return wrapDamage(err)
	}
	for _, rec := range sealed {
		load := r.own.KnowSealed
		if rec.Class == classLog {
			load = r.own.LoadSealed
		}
		_ = load(rec) // what is wrong with it was said, and what it lacks will be
	}
	r.own.LoadUnnamed()
	_ = r.own.LoadFound()
	return nil
}

// theirBlocks makes known what stands in the copy's blocks, all of it: a newer copy has
// sealed what is open here.
func (r *repairer) theirBlocks() (*block.Store, error) {
	if r.theirs == nil {
		s, err := block.Open(r.copy.Sub("blocks"), r.genesis.Vault)
		if err != nil {
			return nil, err
		}
		s.LoadUnnamed()
		_ = s.LoadFound() // what cannot be read there is missed if it is wanted
		r.theirs = s
	}
	return r.theirs, nil
}

// closeBlocks closes what was only read.
func (r *repairer) closeBlocks() {
	for _, s := range []*block.Store{r.own, r.theirs} {
		if s != nil {
			_ = s.Close()
		}
	}
	r.own, r.theirs = nil, nil
}

// errNotInCopy is why damage is left though the copy is sound.
var errNotInCopy = errors.New("the copy does not have it; another one may")

// fetch finds an artifact by its id: in the vault, second copies too, or else in the
// copy of it. It was hashed.
func (r *repairer) fetch(w wanted) ([]byte, error) {
	right := func(b []byte, err error) bool { return err == nil && (w.size == unknown || w.size == int64(len(b))) }
	if b, err := r.own.ReadHealed(w.id); right(b, err) {
		return b, nil
	}
	if b, err := readAny(r.own, w.id); right(b, err) {
		return b, nil
	}
	s, err := r.theirBlocks()
	if err == nil {
		var b []byte
		if b, err = readAny(s, w.id); right(b, err) {
			return b, nil
		}
	}
	switch {
	case errors.Is(err, block.ErrMissing):
		return nil, errNotInCopy
	case err != nil:
		return nil, fmt.Errorf("the copy: %w", err)
	}
	return nil, fmt.Errorf("%w: artifact %v is not of %d bytes, as the log says", ErrDamaged, w.id, w.size)
}

func readAny(s *block.Store, id record.ID) ([]byte, error) {
	ref, ok, err := s.LookupAny(id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, block.ErrMissing
	}
	return s.Read(ref, id)
}
