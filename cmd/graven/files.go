package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// writeFile writes to a file: beside it first, so that the name never stands
// for half a value, and nothing is left behind if damage is met. What is there
// and is no regular file (a device, a pipe) is written as it is, not replaced.
func writeFile(ctx context.Context, name string, from io.WriterTo) error {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return usage("%s is a directory; a file's name is wanted", name)
	} else if err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = from.WriteTo(&ctxWriter{ctx, f})
		return errors.Join(err, f.Close())
	}
	f, temp, err := createBeside(name, func(temp string) (*os.File, error) {
		return os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	})
	if err != nil {
		return err
	}
	_, err = from.WriteTo(&ctxWriter{ctx, f})
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// wantDirectory refuses a file where a directory is wanted. What is missing is for
// whoever opens it to say.
func wantDirectory(what, name string) error {
	info, err := os.Stat(name)
	switch {
	case err == nil && !info.IsDir():
		return usage("%s %s is no directory; wanted one", what, name)
	case errors.Is(err, syscall.ENOTDIR):
		return usage("%s %s: a part of this path is no directory; wanted one", what, name)
	}
	return nil
}

// createBeside makes a new file in the folder of name with a name of its own.
func createBeside(name string, create func(temp string) (*os.File, error)) (*os.File, string, error) {
	for n := 0; ; n++ {
		temp := filepath.Join(filepath.Dir(name), fmt.Sprintf(".graven-%d-%d.part", os.Getpid(), n))
		f, err := create(temp)
		if !errors.Is(err, os.ErrExist) || n == 100 {
			var path *fs.PathError
			if errors.As(err, &path) {
				path.Path = name // the name beside it means nothing to whoever gave this one
			}
			return f, temp, err
		}
	}
}

// ctxWriter is a writer until ctx ends, so that an interrupt also ends the
// writing of one long value.
type ctxWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c *ctxWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

// bytesTo is a value in memory as writeFile wants it.
type bytesTo []byte

func (b bytesTo) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b)
	return int64(n), err
}
