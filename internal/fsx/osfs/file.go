//go:build linux || darwin || freebsd

package osfs

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
)

// file is an open regular file.
type file struct {
	f    *os.File
	name string
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.f.ReadAt(p, off)
	if err == io.EOF { // must stay itself
		return n, err
	}
	return n, named("read", f.name, err)
}

// WriteAt implements io.WriterAt. os.File goes on after a short write until
// all is written or an error says why not.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > math.MaxInt64-int64(len(p)) {
		return 0, named("write", f.name, fs.ErrInvalid)
	}
	n, err := f.f.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, named("write", f.name, err)
}

// Close implements io.Closer.
func (f *file) Close() error { return named("close", f.name, f.f.Close()) }

// Size implements fsx.File.
func (f *file) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, named("stat", f.name, err)
	}
	return info.Size(), nil
}

// Truncate implements fsx.File.
func (f *file) Truncate(size int64) error {
	if size < 0 {
		return named("truncate", f.name, fs.ErrInvalid)
	}
	return named("truncate", f.name, f.f.Truncate(size))
}

// Sync implements fsx.File.
func (f *file) Sync() error { return named("sync", f.name, syncData(f.f)) }

// Reserve implements fsx.File.
func (f *file) Reserve(off, n int64) error {
	if off < 0 || n < 0 || off > math.MaxInt64-n {
		return named("reserve", f.name, fs.ErrInvalid)
	}
	if n == 0 {
		return nil
	}
	return named("reserve", f.name, reserve(f.f, off, n))
}

// named gives an error our call and name in place of the system's, and fsx's
// words for what it knows. A nil error stays nil.
func named(op, name string, err error) error {
	if err == nil {
		return nil
	}
	var p *fs.PathError
	var l *os.LinkError
	var s *os.SyscallError
	switch {
	case errors.As(err, &p):
		err = p.Err
	case errors.As(err, &l):
		err = l.Err
	case errors.As(err, &s):
		err = s.Err
	}
	return &fs.PathError{Op: op, Path: name, Err: failure(err)}
}
