package fsx

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// MakeFolder makes a folder and those above it, durably. One that is there is fine.
func (d Dir) MakeFolder(name string) error {
	name, err := d.full("mkdir", name)
	if err != nil {
		return err
	}
	return d.makeFolder(name)
}

// makeFolder makes sure that a folder exists and that its name, and those of
// the folders above it, are durable. It asks the disk only once per folder.
func (d Dir) makeFolder(name string) error {
	if d.book.isKnown(name) {
		return nil
	}
	// One at a time: who finds a folder that another call has just made must
	// not go on before that call has synced it.
	d.book.making.Lock()
	defer d.book.making.Unlock()
	return d.makeUnknown(name)
}

func (d Dir) makeUnknown(name string) error {
	if d.book.isKnown(name) {
		return nil
	}
	parent, _ := split(name)
	if err := d.makeUnknown(parent); err != nil {
		return err
	}
	err := d.disk.Mkdir(name, d.book.rules.private(name))
	switch {
	case err == nil:
		err = d.syncFolder(parent)
	case errors.Is(err, fs.ErrExist):
		info, statErr := d.disk.Stat(name)
		if statErr != nil {
			return statErr
		}
		if !info.Dir {
			return pathError("mkdir", name, ErrNotFolder)
		}
		err = d.syncFound(parent)
	}
	if err == nil {
		d.book.note(name, d.book.known)
	}
	return err
}

// reach looks at a folder and those above it, once: each must be a folder and
// no link to one, or removing what is in it would remove something elsewhere.
func (d Dir) reach(name string) error {
	d.book.mu.Lock()
	done := d.book.known[name] || d.book.real[name]
	d.book.mu.Unlock()
	if done {
		return nil
	}
	parent, _ := split(name)
	if err := d.reach(parent); err != nil {
		return err
	}
	info, err := d.disk.Stat(name)
	if err != nil {
		return err
	}
	if !info.Dir {
		return pathError("discard", name, ErrNotFolder)
	}
	d.book.note(name, d.book.real)
	return nil
}

// syncFolder syncs the names in a folder.
func (d Dir) syncFolder(name string) error {
	if err := d.disk.SyncDir(name); err != nil {
		d.book.mu.Lock()
		defer d.book.mu.Unlock()
		delete(d.book.synced, name)
		return err
	}
	d.book.note(name, d.book.synced)
	return nil
}

// syncFound syncs a folder unless this process did so before: then everything
// that earlier processes left in it is durable already.
func (d Dir) syncFound(name string) error {
	d.book.mu.Lock()
	done := d.book.synced[name]
	d.book.mu.Unlock()
	if done {
		return nil
	}
	return d.syncFolder(name)
}

func (b *book) isKnown(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known[name]
}

func (b *book) note(name string, in map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	in[name] = true
}

// forget drops what is known of a folder that goes, and of those below it.
func (b *book) forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.known[name] && !b.real[name] {
		return // a file
	}
	for _, m := range []map[string]bool{b.known, b.synced, b.real} {
		for known := range m {
			if known == name || strings.HasPrefix(known, name+"/") {
				delete(m, known)
			}
		}
	}
}

// PublishFolder makes a whole folder appear at once. Build fills it through a
// disk of its own and must leave everything in it durable, as a Dir does; then
// the folder gets its name. A name that is taken is fs.ErrExist and left alone.
// A crash leaves either the whole folder or a temporary name for Sweep.
func (d Dir) PublishFolder(name string, build func(Disk) error) error {
	name, err := d.allow(Publish, name)
	if err != nil {
		return err
	}
	if err := d.vacant(name); err != nil {
		return err
	}
	parent, _ := split(name)
	if err := d.makeFolder(parent); err != nil {
		return err
	}
	temp, release := d.book.temp(name)
	defer release()
	if err := d.removeAll(temp); err != nil {
		return err
	}
	err = d.disk.Mkdir(temp, d.book.rules.private(name))
	if err == nil {
		err = build(Under(d.disk, temp))
	}
	if err == nil {
		err = d.disk.Rename(temp, name) // replaces no folder
	}
	if err != nil {
		_ = d.removeAll(temp) // best effort; Sweep removes it too
		return err
	}
	return d.syncFolder(parent)
}

// Sweep removes the temporary names, files and folders, that a crash left in a
// folder. Call it only while nothing is being published there. A missing folder
// is fine.
func (d Dir) Sweep(name string) error {
	full, err := d.full("discard", name)
	if err != nil {
		return err
	}
	list, err := d.listFolder(full)
	for _, e := range list {
		child := path.Join(full, e.Name)
		if _, ok := tempTarget(e.Name); ok && d.book.rules.Allows(Discard, child) {
			if err := d.removeAll(child); err != nil {
				return err
			}
		}
	}
	return err
}

// listFolder lists a folder in which something is to be removed; nothing if it
// is missing.
func (d Dir) listFolder(name string) ([]Entry, error) {
	err := d.reach(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return d.disk.ReadDir(name)
}

// DiscardAll removes everything in a folder, and its folders, but not the
// folder itself. Each path must allow it; the first that does not ends the
// work. A missing folder is fine. Folders that are links are removed, not entered.
func (d Dir) DiscardAll(name string) error {
	full, err := d.full("discard", name)
	if err != nil {
		return err
	}
	list, err := d.listFolder(full)
	if err != nil {
		return err
	}
	for _, e := range list {
		child := path.Join(name, e.Name)
		if e.Dir {
			if err := d.DiscardAll(child); err != nil {
				return err
			}
		}
		if err := d.Discard(child); err != nil {
			return err
		}
	}
	return nil
}

// removeAll takes away a temporary name and everything below it.
func (d Dir) removeAll(name string) error {
	info, err := d.disk.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Dir {
		list, err := d.disk.ReadDir(name)
		if err != nil {
			return err
		}
		for _, e := range list {
			if err := d.removeAll(path.Join(name, e.Name)); err != nil {
				return err
			}
		}
	}
	return d.remove(name)
}
