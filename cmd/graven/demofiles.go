package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// What the demonstration takes of a directory, and how far it looks for it.
const (
	demoFiles   = 1000
	demoBytes   = 64 << 20
	demoEntries = 100_000
)

// copied counts what copyTree took and what it left.
type copied struct {
	dir   string
	files int
	bytes int64
	more  bool // there was more than the limits allow
	own   bool // there was nothing, so a file of our own stands in
}

func (c copied) String() string {
	if c.own {
		return fmt.Sprintf("%s has no regular files, so one was made up", c.dir)
	}
	text := fmt.Sprintf("%d files (%s) of %s, without .git, copied to a temporary directory", c.files, formatBytes(c.bytes), c.dir)
	if c.more {
		text += fmt.Sprintf(" (at most %d files and %s; the rest was left out)", demoFiles, formatBytes(demoBytes))
	}
	return text
}

// copyTree copies regular files below dir to a new folder, within the limits.
// What cannot be read is left out, and so are version control and stores.
func copyTree(ctx context.Context, dir, to string) (copied, error) {
	took := copied{dir: dir}
	if err := os.Mkdir(to, 0o777); err != nil {
		return took, err
	}
	self, err := filepath.Abs(".")
	if err != nil {
		return took, err
	}
	entries := 0
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if entries++; ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case err != nil && path == dir:
			return err
		case err != nil:
			return nil
		case e.IsDir() && (e.Name() == ".git" || e.Name() == defaultStore || path == self):
			return fs.SkipDir
		case took.files == demoFiles || entries > demoEntries:
			took.more = true
			return fs.SkipAll
		case !e.Type().IsRegular():
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		if took.bytes+info.Size() > demoBytes {
			took.more = true
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		n, ok, err := copyFile(path, filepath.Join(to, rel))
		if ok {
			took.files++
			took.bytes += n
		}
		return err
	})
	if err == nil && took.files == 0 {
		took.own = true
		err = os.WriteFile(filepath.Join(to, "hello.txt"), []byte("hello\n"), 0o666)
	}
	return took, err
}

// copyFile copies one file; ok is false if it could not be read.
func copyFile(from, to string) (n int64, ok bool, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, false, nil
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return 0, false, err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return 0, false, err
	}
	n, err = io.Copy(out, io.LimitReader(in, demoBytes))
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	return n, err == nil, err
}
