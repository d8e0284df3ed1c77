package graven

import (
	"errors"
	"slices"
	"sync"

	"graven/internal/index"
	"graven/internal/statestore"
	"graven/state"
)

// condemned are the derived files that were found damaged while they were read, and
// could not be made again at once. What needed them has failed, with an error that
// names them; they are removed, and the next open for writing makes them again from
// the log.
type condemned struct {
	mu    sync.Mutex // guards what follows
	files []string   // of the index
	pages bool       // pages of the state
}

// isPageDamage reports whether an error is about pages of the state.
func isPageDamage(err error) bool {
	return errors.Is(err, state.ErrPage) || errors.Is(err, statestore.ErrDamaged)
}

// isDerivedDamage reports whether an error is about files of index or state, which
// follow from the log.
func isDerivedDamage(err error) bool { return isPageDamage(err) || errors.Is(err, index.ErrDamaged) }

// condemn notes the derived file that an error says is damaged, if it does.
func (v *Vault) condemn(err error) {
	var d *index.DamageError
	file, pages := errors.As(err, &d), isPageDamage(err)
	if !file && !pages || v.readOnly != "" {
		return
	}
	c := &v.condemned
	c.mu.Lock()
	defer c.mu.Unlock()
	if file && !slices.Contains(c.files, d.File) {
		c.files = append(c.files, d.File)
	}
	c.pages = c.pages || pages
}

// discardCondemned removes what was found damaged. It reports whether files of the
// index were: then nothing more is built on it until the vault is opened again. Of
// pages see stateCondemned. Callers hold keeping.
func (v *Vault) discardCondemned() (files bool, err error) {
	c := &v.condemned
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, file := range c.files {
		err = errors.Join(err, v.index.Discard(file))
	}
	if c.pages {
		err = errors.Join(err, v.pages.Reset())
	}
	return len(c.files) > 0, err
}

// stateCondemned reports whether pages of the state were found damaged: then none are
// written until the vault is opened again.
func (v *Vault) stateCondemned() bool {
	v.condemned.mu.Lock()
	defer v.condemned.mu.Unlock()
	return v.condemned.pages
}

// abandonCondemned removes, at the end of a vault, the pages of a state that was found
// damaged: until then the views of this process may stand on those that are whole.
func (v *Vault) abandonCondemned() error {
	v.condemned.mu.Lock()
	defer v.condemned.mu.Unlock()
	if !v.condemned.pages {
		return nil
	}
	return v.pages.Abandon()
}
