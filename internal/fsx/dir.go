package fsx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
)

// Dir is a folder of a disk that changes by the four verbs and their rules
// only. It is a small value: copies and Subs share one record of which folders
// are known to be durable. It is safe for concurrent use; two Dirs made by
// NewDir over one folder at the same time are not.
type Dir struct {
	disk Disk
	path string // from the folder of the rules to this one; "." is that folder
	book *book
}

// book is what all Dirs of one NewDir share.
type book struct {
	rules Rules

	making sync.Mutex // held while folders are made and synced

	mu sync.Mutex // guards the maps
	// synced holds folders whose entries, as far as this process did not make
	// them itself, have been synced. An entry found on the disk may be one that
	// an earlier process made and never synced, so each folder is synced once
	// before anything is built on what it holds.
	synced map[string]bool
	// known holds folders whose own entry, and those above, are durable.
	known map[string]bool
	// real holds folders that were seen to be folders, not links.
	real map[string]bool
	// busy holds temporary names in use.
	busy map[string]bool
}

// NewDir returns the disk's folder "." under the rules, whose patterns are
// relative to it.
func NewDir(d Disk, rules Rules) Dir {
	return Dir{disk: d, path: ".", book: &book{
		rules:  rules,
		synced: map[string]bool{},
		known:  map[string]bool{".": true},
		real:   map[string]bool{},
		busy:   map[string]bool{},
	}}
}

// Sub returns a folder below this one. It need not exist yet. The rules stay
// relative to the folder of NewDir.
func (d Dir) Sub(name string) Dir {
	d.path = path.Join(d.path, name)
	return d
}

// Path returns where the folder is below that of NewDir, "." for that one.
func (d Dir) Path() string { return d.path }

// full returns a name relative to the folder of the rules.
func (d Dir) full(op, name string) (string, error) {
	if err := CheckName(op, name); err != nil {
		return "", err
	}
	name = path.Join(d.path, name)
	return name, CheckName(op, name)
}

// allow is full after a look at the rules.
func (d Dir) allow(v Verb, name string) (string, error) {
	name, err := d.full(v.String(), name)
	if err == nil && !d.book.rules.Allows(v, name) {
		err = &RuleError{Verb: v, Path: name}
	}
	return name, err
}

// Open opens a file for reading.
func (d Dir) Open(name string) (File, error) {
	name, err := d.full("open", name)
	if err != nil {
		return nil, err
	}
	return d.disk.Open(name, Read)
}

// ReadFile returns a file's content; ErrTooLarge if it has more than max bytes.
func (d Dir) ReadFile(name string, max int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > max {
		return nil, fmt.Errorf("read %s: %w: %d bytes, at most %d", path.Join(d.path, name), ErrTooLarge, size, max)
	}
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data[:n], nil // shorter if the file was cut meanwhile
}

// ReadDir lists this folder's subfolder name ("." for itself), sorted. Names that
// begin with a dot are left out: temporary ones, and what editors leave behind.
func (d Dir) ReadDir(name string) ([]Entry, error) {
	name, err := d.full("readdir", name)
	if err != nil {
		return nil, err
	}
	list, err := d.disk.ReadDir(name)
	if err != nil {
		return nil, err
	}
	kept := list[:0]
	for _, e := range list {
		if !strings.HasPrefix(e.Name, ".") {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

// Stat describes a name without following links.
func (d Dir) Stat(name string) (Info, error) {
	name, err := d.full("stat", name)
	if err != nil {
		return Info{}, err
	}
	return d.disk.Stat(name)
}

// Exists reports whether there is anything with this name.
func (d Dir) Exists(name string) (bool, error) {
	_, err := d.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Append opens a file for reading and writing at any position. With create it
// makes the file, and the folders above it, if there is none; fs.ErrNotExist
// otherwise. The file's name is durable when Append returns; what is written is
// so after Sync.
func (d Dir) Append(name string, create bool) (File, error) {
	name, err := d.allow(Append, name)
	if err != nil {
		return nil, err
	}
	folder, _ := split(name)
	f, err := d.disk.Open(name, ReadWrite)
	switch {
	case err == nil:
		// A file of an earlier process: its name may not be durable yet.
		if err = d.makeFolder(folder); err == nil {
			err = d.syncFound(folder)
		}
	case create && errors.Is(err, fs.ErrNotExist):
		if err = d.makeFolder(folder); err != nil {
			return nil, err
		}
		if f, err = d.disk.Open(name, d.createMode(name)); err == nil {
			err = d.syncFolder(folder)
		}
	}
	if err != nil && f != nil {
		f.Close()
		f = nil
	}
	return f, err
}

// createMode is CreatePrivate for a path that the rules call private.
func (d Dir) createMode(name string) Mode {
	if d.book.rules.private(name) {
		return CreatePrivate
	}
	return Create
}

// Discard removes a file, or an empty folder, that can be made again. A missing
// one is fine. It is not synced: after a power cut it may be back.
func (d Dir) Discard(name string) error {
	name, err := d.allow(Discard, name)
	if err != nil {
		return err
	}
	folder, _ := split(name)
	if err := d.reach(folder); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	d.book.forget(name)
	return d.remove(name)
}

// remove takes a name away if it is there.
func (d Dir) remove(name string) error {
	if err := d.disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Sync makes a file that was found on the disk durable, content and name. After
// a crash of the process what can be read may not have reached the disk.
func (d Dir) Sync(name string) error {
	name, err := d.full("sync", name)
	if err != nil {
		return err
	}
	if err := d.syncFile(name); err != nil {
		return err
	}
	folder, _ := split(name)
	if err := d.makeFolder(folder); err != nil {
		return err
	}
	return d.syncFolder(folder)
}

// syncFile makes the content of a file durable.
func (d Dir) syncFile(name string) error {
	f, err := d.disk.Open(name, Read)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
