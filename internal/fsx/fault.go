package fsx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// Call is one call on a disk, on a file or on a lock of it.
type Call struct {
	N    int    // running number, from 0
	Op   string // "open", "create", "link", "rename", "remove", "mkdir", "readdir", "stat", "syncdir", "lock", "lockshared", and of files "read", "write", "size", "truncate", "sync", "reserve", "close"
	Name string // of rename and link: the new name
	Off  int64  // read, write, reserve; the new length of truncate
	Len  int    // read, write, reserve
}

func (c Call) String() string {
	return fmt.Sprintf("call %d: %s %s %d+%d", c.N, c.Op, c.Name, c.Off, c.Len)
}

// Mutates reports whether the call changes something or makes it durable.
func (c Call) Mutates() bool {
	switch c.Op {
	case "open", "readdir", "stat", "read", "size", "close":
		return false
	}
	return true
}

// ErrShort tells Fault to let half of a write through and then to fail it.
var ErrShort = errors.New("short write")

// Faults is a disk whose calls fail when told to.
type Faults struct {
	disk   Disk
	decide func(Call) error

	mu sync.Mutex
	n  int
}

// Fault wraps a disk. It asks decide before each call; an error makes the call
// fail with it, wrapped with call and name, and without effect, except that
//   - a write with ErrShort has written its first half,
//   - a sync or syncdir is noted by disks that are SyncFailers: what it should
//     have made durable may be lost, whatever a later sync says,
//   - close closes.
//
// A nil decide only counts. It is called from the goroutines of the callers,
// one at a time.
func Fault(d Disk, decide func(Call) error) *Faults {
	if decide == nil {
		decide = func(Call) error { return nil }
	}
	return &Faults{disk: d, decide: decide}
}

// FailCall makes call n fail with err, and all after it too if onwards is set.
func FailCall(n int, err error, onwards bool) func(Call) error {
	return func(c Call) error {
		if c.N == n || onwards && c.N > n {
			return err
		}
		return nil
	}
}

// Calls returns how many calls were made so far.
func (f *Faults) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// ask numbers a call and decides about it.
func (f *Faults) ask(op, name string, off int64, n int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := Call{N: f.n, Op: op, Name: name, Off: off, Len: n}
	f.n++
	if err := f.decide(c); err != nil {
		return pathError(op, name, err)
	}
	return nil
}

// Open implements Disk.
func (f *Faults) Open(name string, mode Mode) (File, error) {
	op := "open"
	if mode == Create || mode == CreatePrivate {
		op = "create"
	}
	if err := f.ask(op, name, 0, 0); err != nil {
		return nil, err
	}
	file, err := f.disk.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return &faultFile{f: f, file: file, name: name}, nil
}

// Link implements Disk.
func (f *Faults) Link(old, new string) error {
	if err := f.ask("link", new, 0, 0); err != nil {
		return err
	}
	return f.disk.Link(old, new)
}

// Rename implements Disk.
func (f *Faults) Rename(old, new string) error {
	if err := f.ask("rename", new, 0, 0); err != nil {
		return err
	}
	return f.disk.Rename(old, new)
}

// Remove implements Disk.
func (f *Faults) Remove(name string) error {
	if err := f.ask("remove", name, 0, 0); err != nil {
		return err
	}
	return f.disk.Remove(name)
}

// Mkdir implements Disk.
func (f *Faults) Mkdir(name string, private bool) error {
	if err := f.ask("mkdir", name, 0, 0); err != nil {
		return err
	}
	return f.disk.Mkdir(name, private)
}

// ReadDir implements Disk.
func (f *Faults) ReadDir(name string) ([]Entry, error) {
	if err := f.ask("readdir", name, 0, 0); err != nil {
		return nil, err
	}
	return f.disk.ReadDir(name)
}

// Stat implements Disk.
func (f *Faults) Stat(name string) (Info, error) {
	if err := f.ask("stat", name, 0, 0); err != nil {
		return Info{}, err
	}
	return f.disk.Stat(name)
}

// SyncDir implements Disk.
func (f *Faults) SyncDir(name string) error {
	if err := f.ask("syncdir", name, 0, 0); err != nil {
		f.FailSync(name)
		return err
	}
	return f.disk.SyncDir(name)
}

// FailSync implements SyncFailer if the disk below does.
func (f *Faults) FailSync(name string) { failSync(f.disk, name) }

func failSync(on any, name string) {
	if s, ok := on.(SyncFailer); ok {
		s.FailSync(name)
	}
}

// Lock implements Disk.
func (f *Faults) Lock(name, text string) (io.Closer, error) {
	if err := f.ask("lock", name, 0, 0); err != nil {
		return nil, err
	}
	return f.disk.Lock(name, text)
}

// LockShared implements Disk.
func (f *Faults) LockShared(name string) (io.Closer, error) {
	if err := f.ask("lockshared", name, 0, 0); err != nil {
		return nil, err
	}
	return f.disk.LockShared(name)
}

// faultFile is an open file of a Faults.
type faultFile struct {
	f    *Faults
	file File
	name string
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.f.ask("read", f.name, off, len(p)); err != nil {
		return 0, err
	}
	return f.file.ReadAt(p, off)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.f.ask("write", f.name, off, len(p))
	if err == nil {
		return f.file.WriteAt(p, off)
	}
	if errors.Is(err, ErrShort) {
		n, _ := f.file.WriteAt(p[:len(p)/2], off)
		return n, err
	}
	return 0, err
}

func (f *faultFile) Size() (int64, error) {
	if err := f.f.ask("size", f.name, 0, 0); err != nil {
		return 0, err
	}
	return f.file.Size()
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.f.ask("truncate", f.name, size, 0); err != nil {
		return err
	}
	return f.file.Truncate(size)
}

func (f *faultFile) Sync() error {
	if err := f.f.ask("sync", f.name, 0, 0); err != nil {
		f.FailSync("")
		return err
	}
	return f.file.Sync()
}

// FailSync implements SyncFailer if the file below does.
func (f *faultFile) FailSync(string) { failSync(f.file, "") }

func (f *faultFile) Reserve(off, n int64) error {
	if err := f.f.ask("reserve", f.name, off, int(n)); err != nil {
		return err
	}
	return f.file.Reserve(off, n)
}

func (f *faultFile) Close() error {
	err := f.f.ask("close", f.name, 0, 0)
	if closeErr := f.file.Close(); err == nil || errors.Is(closeErr, fs.ErrClosed) {
		return closeErr
	}
	return err
}
