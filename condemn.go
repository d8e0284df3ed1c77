package graven

import (
	"errors"
	"slices"
	"sync"

	"graven/internal/index"
	"graven/internal/statestore"
	"graven/state"
)

// condemned are the derived files that were found damaged while they were read. What
// needed them has failed, with an error that names them; they are removed, and the
// next open for writing makes them again from the log.
type condemned struct {
	mu    sync.Mutex // guards what follows
	files []string   // of the index
	pages bool       // pages of the state
}

// condemn notes the derived file that an error says is damaged, if it does.
func (v *Vault) condemn(err error) {
	var d *index.DamageError
	file := errors.As(err, &d)
	pages := errors.Is(err, state.ErrPage) || errors.Is(err, statestore.ErrDamaged)
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

// discardCondemned removes what was found damaged. It reports whether anything was:
// then nothing more is built on index and pages until the vault is opened again.
// Callers hold keeping.
func (v *Vault) discardCondemned() (any bool, err error) {
	c := &v.condemned
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, file := range c.files {
		err = errors.Join(err, v.index.Discard(file))
	}
	if c.pages {
		err = errors.Join(err, v.pages.Reset())
	}
	return len(c.files) > 0 || c.pages, err
}
