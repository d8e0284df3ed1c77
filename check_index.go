package graven

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"graven/internal/fsx"
	"graven/internal/index"
	"graven/internal/statestore"
	"graven/record"
)

// checkPages reads index segments and state pages, and says which segments are not
// those that the replay of the log has given.
func (c *checker) checkPages(x *index.Index, pages *statestore.Store) {
	found := func(err error) error {
		var d *index.DamageError
		if errors.As(err, &d) {
			c.findDerived(d.File, d.Offset, "wanted %s, got %s", d.Want, d.Got)
		} else {
			c.findDerived("index", -1, "%v", err)
		}
		return nil
	}
	if err := x.Check(c.ctx, found); err != nil && c.ctx.Err() == nil {
		c.findDerived("index", -1, "%v", err)
	}
	for _, f := range c.suspects {
		if !slices.ContainsFunc(c.report.Findings, func(other Finding) bool { return other.File == f.File }) {
			c.findDerived(f.File, f.Offset, "%s", f.What)
		}
	}
	for _, err := range c.readPages(pages) {
		var d *statestore.DamageError
		if errors.As(err, &d) {
			c.findDerived(d.File, int64(d.Offset), "wanted %s, got %s", d.Wanted, d.Got)
		} else if c.ctx.Err() == nil {
			c.findDerived("state", -1, "%v", err)
		}
	}
}

// readPages reads the newest set of state pages. A writer in another process may have
// removed it since it was listed: then a newer one is read.
func (c *checker) readPages(pages *statestore.Store) []error {
	for tries := 4; ; tries-- {
		found := pages.Check(c.ctx)
		if len(found) == 0 || c.live != nil || tries == 0 || c.ctx.Err() != nil {
			return found
		}
		now, _, err := statestore.Open(c.dir.Sub("state"), c.genesis.Vault, statestore.Options{})
		if err != nil {
			return append(found, err)
		}
		defer now.Close()
		if slices.Equal(now.Sets(), pages.Sets()) {
			return found
		}
		pages = now
	}
}

// findDerived reports damage of a file that can be made again.
func (c *checker) findDerived(file string, offset int64, format string, args ...any) {
	c.remakes = append(c.remakes, len(c.report.Findings))
	c.find(file, offset, format, args...)
}

// remake makes index and state pages again if that is asked for, or if something is
// wrong with them and with nothing else. It needs a vault that this check has opened.
func (c *checker) remake(s *Store) error {
	if c.live == nil || !c.opened || c.broken != noLimit || !c.opts.Rebuild && len(c.remakes) == 0 {
		return nil
	}
	for i, f := range c.report.Findings {
		if !f.Mended && !slices.Contains(c.remakes, i) {
			return nil
		}
	}
	changed, err := s.remake(c.ctx, c.live)
	if err != nil {
		return err
	}
	for _, i := range c.remakes {
		c.report.Findings[i].Mended = true
	}
	c.report.Findings = append(c.report.Findings, changed...)
	c.sayLost("index")
	c.sayLost("state")
	return nil
}

// derivedRooms are index and state pages: those of the open vault, or opened for this.
func (c *checker) derivedRooms() (*index.Index, *statestore.Store) {
	if c.live != nil {
		return c.live.index, c.live.pages
	}
	x, notes, err := index.Open(c.dir.Sub("index"), c.genesis.Vault, index.Options{ShardBits: int(c.genesis.Shards)})
	if err != nil {
		c.find("index", -1, "%v", err)
		return nil, nil
	}
	pages, more, err := statestore.Open(c.dir.Sub("state"), c.genesis.Vault, statestore.Options{})
	if err != nil {
		c.find("state", -1, "%v", err)
		return nil, nil
	}
	for _, n := range append(notes, more...) {
		c.note("%s", n)
	}
	runs := uint64(0)
	for _, b := range x.Borders() {
		if b.To <= c.limit {
			runs = b.Runs
		}
	}
	if err := x.Begin(runs); err != nil {
		c.find("index", -1, "%v", err)
	}
	return x, pages
}

// remake lets go of index and state pages and opens the vault anew, which makes them
// again from the log. It lists the index files that have become others: segments
// follow from the log, byte by byte. Besides other checks, for which it waits, nobody may
// use the vault.
func (s *Store) remake(ctx context.Context, v *Vault) (changed []Finding, err error) {
	s.checks.Lock()
	defer s.checks.Unlock()
	name := v.name
	s.mu.Lock()
	ours := s.vaults[name] == v && !s.closed
	if ours {
		delete(s.vaults, name)
	}
	s.mu.Unlock()
	if !ours {
		return nil, ErrClosed
	}
	if err := v.close(); err != nil {
		return nil, err
	}
	dir := s.vaultDir(name)
	before, err := hashesBelow(dir, "index")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(dir.DiscardAll("index"), dir.DiscardAll("state")); err != nil {
		return nil, err
	}
	if v, err = s.Vault(ctx, name); err != nil {
		return nil, err
	}
	if err := v.makeAll(ctx); err != nil {
		return nil, err
	}
	after, err := hashesBelow(dir, "index")
	for f := range before { // the others are missed
		if _, ok := after[f]; !ok {
			after[f] = record.ID{}
		}
	}
	for _, f := range slices.Sorted(maps.Keys(after)) {
		was, is := before[f], after[f]
		switch {
		case was == is:
		case was == (record.ID{}):
			changed = append(changed, Finding{File: f, Offset: -1, What: "it was missing", Mended: true})
		case is == (record.ID{}):
			changed = append(changed, Finding{File: f, Offset: -1, What: "it was there, and does not follow from the log", Mended: true})
		default:
			changed = append(changed, Finding{File: f, Offset: -1, What: fmt.Sprintf("its SHA-256 was %v, the log gives %v", was, is), Mended: true})
		}
	}
	return changed, err
}

// hashesBelow are the SHA-256 of the files below a folder, which need not exist.
func hashesBelow(dir fsx.Dir, folder string) (map[string]record.ID, error) {
	ids := map[string]record.ID{}
	entries, err := dir.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		name := folder + "/" + e.Name
		if e.Dir {
			below, err := hashesBelow(dir, name)
			if err != nil {
				return nil, err
			}
			maps.Copy(ids, below)
			continue
		}
		if ids[name], _, err = hashFile(context.Background(), dir, name); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
