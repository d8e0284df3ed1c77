package fsx

import (
	"errors"
	"io"
	"io/fs"
	"math"
)

// memLimit is the longest file of a Mem; longer ones are ErrNoSpace.
const memLimit = 1 << 31

var errWriteOnly = errors.New("file was opened for reading")

// memFile is an open file of a Mem.
type memFile struct {
	m      *Mem
	n      *node
	name   string // as opened; for errors and the trace
	life   uint64
	write  bool
	closed bool // guarded by m.mu
}

// check says whether the handle may be used. Callers hold the lock.
func (f *memFile) check(op string, write bool) error {
	switch {
	case f.closed || f.life != f.m.life:
		return pathError(op, f.name, fs.ErrClosed)
	case write && !f.write:
		return pathError(op, f.name, errors.Join(fs.ErrPermission, errWriteOnly))
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("read", f.name, fs.ErrInvalid)
	}
	if off >= int64(len(f.n.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt.
func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	if off < 0 || off > math.MaxInt64-int64(len(p)) {
		return 0, pathError("write", f.name, fs.ErrInvalid)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if off+int64(len(p)) > memLimit {
		return 0, pathError("write", f.name, ErrNoSpace)
	}
	f.n.write(p, int(off))
	f.m.record(Op{Kind: OpWrite, Name: f.name, Inode: f.n.id, Off: off, Data: p})
	return len(p), nil
}

// Size implements File.
func (f *memFile) Size() (int64, error) {
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	if err := f.check("stat", false); err != nil {
		return 0, err
	}
	return int64(len(f.n.data)), nil
}

// Truncate implements File.
func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return pathError("truncate", f.name, fs.ErrInvalid)
	}
	if size > memLimit {
		return pathError("truncate", f.name, ErrNoSpace)
	}
	f.n.resize(int(size))
	f.m.record(Op{Kind: OpTruncate, Name: f.name, Inode: f.n.id, Size: size})
	return nil
}

// Sync implements File.
func (f *memFile) Sync() error { return f.sync(false) }

// FailSync implements SyncFailer.
func (f *memFile) FailSync(string) { _ = f.sync(true) }

func (f *memFile) sync(failed bool) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("sync", false); err != nil {
		return err
	}
	f.m.record(Op{Kind: OpSync, Name: f.name, Inode: f.n.id, Failed: failed})
	return nil
}

// Reserve implements File. Memory has room or the program ends; only the
// arguments are checked, and the trace shows that it was asked for.
func (f *memFile) Reserve(off, n int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("reserve", true); err != nil {
		return err
	}
	if off < 0 || n < 0 || off > math.MaxInt64-n {
		return pathError("reserve", f.name, fs.ErrInvalid)
	}
	if off+n > memLimit {
		return pathError("reserve", f.name, ErrNoSpace)
	}
	f.m.record(Op{Kind: OpReserve, Name: f.name, Inode: f.n.id, Off: off, Size: n})
	return nil
}

// Close implements io.Closer.
func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("close", false); err != nil {
		return err
	}
	f.closed = true
	return nil
}

// write puts p at off, with zeros before it if the file is shorter.
func (n *node) write(p []byte, off int) {
	if size := max(len(n.data), off+len(p)); n.shared || size > cap(n.data) {
		room := size
		if size > len(n.data) {
			room += size / 4 // appends cost a copy only now and then
		}
		data := make([]byte, len(n.data), room)
		copy(data, n.data)
		n.data, n.shared = data, false
	}
	if off+len(p) > len(n.data) {
		n.grow(off + len(p))
	}
	copy(n.data[off:], p)
}

// grow extends unshared data with zeros within its capacity, which may hold
// what an earlier cut left behind.
func (n *node) grow(size int) {
	old := len(n.data)
	n.data = n.data[:size]
	clear(n.data[old:])
}

// resize cuts data or extends it with zeros.
func (n *node) resize(size int) {
	switch {
	case size <= len(n.data):
		if n.shared {
			n.data = n.data[:size:size]
		} else {
			n.data = n.data[:size]
		}
	case n.shared || size > cap(n.data):
		data := make([]byte, size)
		copy(data, n.data)
		n.data, n.shared = data, false
	default:
		n.grow(size)
	}
}
