package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// apart refuses a directory that is to be written if it is the source or lies in it, or
// in another store or backup: what a copy puts there is no part of that, and neither
// check nor restore would take it for one. Links are followed. source may be empty.
func apart(what, target, source string) error {
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
	if info, err := os.Stat(filepath.Join(dir, "vaults")); err != nil || !info.IsDir() {
		return false
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); err == nil {
		return true
	}
	vaults, err := os.ReadDir(filepath.Join(dir, "vaults"))
	return err == nil && slices.ContainsFunc(vaults, func(v fs.DirEntry) bool {
		_, err := os.Stat(filepath.Join(dir, "vaults", v.Name(), "log"))
		return err == nil
	})
}

// isBackup reports whether a directory holds the manifest of a backup.
func isBackup(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "backup.txt"))
	if err != nil {
		return false
	}
	defer f.Close()
	const begins = "# graven-backup "
	head := make([]byte, len(begins))
	_, err = io.ReadFull(f, head)
	return err == nil && bytes.Equal(head, []byte(begins))
}
