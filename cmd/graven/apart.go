package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"graven"
)

// apart refuses a directory that is to be written if it is the source or lies in it, or
// in another store or backup: what a copy puts there is no part of that, and neither
// check nor restore would take it for one. Links are followed. source may be empty.
func apart(what, target, source string) error {
	if err := wantDirectory(what, target); err != nil {
		return err
	}
	dir, err := realPath(target)
	if err != nil {
		return nil // whoever opens it says what is wrong
	}
	for itself := true; ; itself = false {
		kind := ""
		switch {
		case source != "" && same(dir, source):
			kind = "the source"
		case itself: // a store that is added to, or a backup that is gone on from
		case isStore(dir):
			kind = "the store"
		case isBackup(dir):
			kind = "the backup"
		}
		switch {
		case kind != "" && itself:
			return usage("%s %s is the source itself; name a directory outside of it", what, target)
		case kind != "":
			return usage("%s %s lies in %s %s; name a directory outside of it", what, target, kind, dir)
		}
		up := filepath.Dir(dir)
		if up == dir {
			return nil
		}
		dir = up
	}
}

// realPath is the absolute path of a directory without links. What of it is not there
// yet stands as it is.
func realPath(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	path, err := filepath.EvalSymlinks(dir)
	if up := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && up != dir {
		path, err = realPath(up)
		path = filepath.Join(path, filepath.Base(dir))
	}
	return path, err
}

// isStore reports whether a directory is a store, and not some other with a folder
// named vaults.
func isStore(dir string) bool {
	if !isDirectory(filepath.Join(dir, "vaults")) {
		return false
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); err == nil {
		return true
	}
	vaults, err := os.ReadDir(filepath.Join(dir, "vaults"))
	return err == nil && slices.ContainsFunc(vaults, func(v fs.DirEntry) bool {
		return isDirectory(filepath.Join(dir, "vaults", v.Name(), "log"))
	})
}

func isDirectory(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// isBackup reports whether a directory holds the manifest of a backup.
func isBackup(dir string) bool {
	name := filepath.Join(dir, "backup.txt")
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return false // opening a pipe would wait
	}
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	const begins = "# graven-backup "
	head := make([]byte, len(begins))
	_, err = io.ReadFull(f, head)
	return err == nil && bytes.Equal(head, []byte(begins))
}

// undoing looks at a directory that a command is about to fill, and returns what takes
// away again what the command made there before it was refused with an error: lock
// files, an empty vaults/, the directory itself and those above it. Whatever holds more
// stays. A lock file may go, since who locks one locks its folder too; where another
// process is at work nothing goes.
func undoing(dir string) func(error) {
	var made []string // of the directory and those above it: what is missing now
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, at)
	}
	var names []string
	for _, name := range []string{"vaults", "lock", ".lock"} { // once vaults/ is gone there is no store
		if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			names = append(names, name)
		}
	}
	return func(err error) {
		if err == nil || errors.Is(err, graven.ErrLocked) {
			return
		}
		now, err := os.ReadDir(dir)
		if err != nil || slices.ContainsFunc(now, func(e fs.DirEntry) bool { return !slices.Contains(names, e.Name()) }) {
			return
		}
		for _, name := range names {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return
			}
		}
		for _, at := range made {
			if os.Remove(at) != nil {
				return
			}
		}
	}
}
