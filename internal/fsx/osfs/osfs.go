//go:build linux || darwin || freebsd

package osfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"graven/internal/fsx"
)

// Disk is a folder of the operating system. It is safe for concurrent use.
type Disk struct {
	root *os.Root
}

var _ fsx.Disk = (*Disk)(nil)

// Open returns an existing folder as a disk. The folder may be moved while it
// is open; the disk stays with it.
func Open(folder string) (*Disk, error) {
	// A pipe of that name would be waited for.
	if info, err := os.Stat(folder); err != nil {
		return nil, failure(err)
	} else if !info.IsDir() {
		return nil, failure(&fs.PathError{Op: "open", Path: folder, Err: syscall.ENOTDIR})
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, failure(err)
	}
	return &Disk{root: root}, nil
}

// Close gives the folder back. Open files stay open.
func (d *Disk) Close() error { return d.root.Close() }

// Open implements fsx.Disk.
func (d *Disk) Open(name string, mode fsx.Mode) (fsx.File, error) {
	if err := fsx.CheckName("open", name); err != nil {
		return nil, err
	}
	var f *os.File
	var err error
	switch mode {
	case fsx.Read:
		f, err = d.openExisting(name, os.O_RDONLY)
	case fsx.ReadWrite:
		f, err = d.openExisting(name, os.O_RDWR)
	case fsx.Create, fsx.CreatePrivate:
		// With O_EXCL nothing that is there is opened, thus nothing to look at.
		perm := os.FileMode(0o644)
		if mode == fsx.CreatePrivate {
			perm = 0o600
		}
		f, err = d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	default:
		err = fs.ErrInvalid
	}
	if err != nil {
		return nil, named("open", name, err)
	}
	return &file{f: f, name: name}, nil
}

// attempts is how often a name that changes under our eyes is looked at.
const attempts = 8

// openExisting opens a regular file and nothing else.
func (d *Disk) openExisting(name string, flag int) (*os.File, error) {
	return d.openSeen(name, flag, fs.FileMode.IsRegular, fsx.ErrNotRegular)
}

// openFolder opens a folder and nothing else.
func (d *Disk) openFolder(name string) (*os.File, error) {
	return d.openSeen(name, os.O_RDONLY|syscall.O_DIRECTORY, fs.FileMode.IsDir, fsx.ErrNotFolder)
}

// openSeen opens what a look at the name has found to be of the right kind.
func (d *Disk) openSeen(name string, flag int, right func(fs.FileMode) bool, wrong error) (*os.File, error) {
	for range attempts {
		before, err := d.root.Lstat(name)
		if err != nil {
			return nil, err
		}
		if !right(before.Mode()) {
			return nil, fmt.Errorf("%w: %v", wrong, before.Mode())
		}
		f, err := d.root.OpenFile(name, flag|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		after, err := f.Stat()
		if err == nil && os.SameFile(before, after) {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: replaced while it was opened, %d times", wrong, attempts)
}

// Link implements fsx.Disk.
func (d *Disk) Link(old, new string) error {
	if err := errors.Join(fsx.CheckEntry("link", old), fsx.CheckEntry("link", new)); err != nil {
		return err
	}
	info, err := d.root.Lstat(old)
	switch {
	case err != nil:
	case info.Mode().IsRegular():
		err = d.root.Link(old, new)
	default:
		err = fsx.ErrNotRegular
	}
	return named("link", old+" to "+new, err)
}

// Rename implements fsx.Disk.
func (d *Disk) Rename(old, new string) error {
	if err := errors.Join(fsx.CheckEntry("rename", old), fsx.CheckEntry("rename", new)); err != nil {
		return err
	}
	return named("rename", old+" to "+new, d.root.Rename(old, new))
}

// Remove implements fsx.Disk.
func (d *Disk) Remove(name string) error {
	if err := fsx.CheckEntry("remove", name); err != nil {
		return err
	}
	return named("remove", name, d.root.Remove(name))
}

// Mkdir implements fsx.Disk.
func (d *Disk) Mkdir(name string, private bool) error {
	if err := fsx.CheckEntry("mkdir", name); err != nil {
		return err
	}
	perm := os.FileMode(0o755)
	if private {
		perm = 0o700
	}
	return named("mkdir", name, d.root.Mkdir(name, perm))
}

// ReadDir implements fsx.Disk.
func (d *Disk) ReadDir(name string) ([]fsx.Entry, error) {
	if err := fsx.CheckName("readdir", name); err != nil {
		return nil, err
	}
	f, err := d.openFolder(name)
	if err != nil {
		return nil, named("readdir", name, err)
	}
	defer f.Close()
	found, err := f.ReadDir(-1)
	if err != nil {
		return nil, named("readdir", name, err)
	}
	list := make([]fsx.Entry, len(found))
	for i, e := range found {
		list[i] = fsx.Entry{Name: e.Name(), Dir: e.IsDir(), Regular: e.Type().IsRegular()}
	}
	slices.SortFunc(list, func(a, b fsx.Entry) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Stat implements fsx.Disk.
func (d *Disk) Stat(name string) (fsx.Info, error) {
	if err := fsx.CheckName("stat", name); err != nil {
		return fsx.Info{}, err
	}
	info, err := d.root.Lstat(name)
	if err != nil {
		return fsx.Info{}, named("stat", name, err)
	}
	i := fsx.Info{Dir: info.IsDir(), Regular: info.Mode().IsRegular(), Private: info.Mode().Perm()&0o077 == 0}
	if i.Regular {
		i.Size = info.Size()
	}
	return i, nil
}

// SyncDir implements fsx.Disk.
func (d *Disk) SyncDir(name string) error {
	if err := fsx.CheckName("syncdir", name); err != nil {
		return err
	}
	f, err := d.openFolder(name)
	if err != nil {
		return named("syncdir", name, err)
	}
	err = f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return named("syncdir", name, err)
}

// Lock implements fsx.Disk.
func (d *Disk) Lock(name, text string) (io.Closer, error) {
	h, err := d.lockBoth(name, os.O_RDWR, syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	// The text is a hint for people: a full disk, which has no room for it, can
	// be locked all the same.
	if _, err := h.f.WriteAt([]byte(text), 0); err == nil {
		_ = h.f.Truncate(int64(len(text)))
	}
	return h, nil
}

// LockShared implements fsx.Disk.
func (d *Disk) LockShared(name string) (io.Closer, error) {
	return d.lockBoth(name, os.O_RDONLY, syscall.LOCK_SH)
}

// lockBoth locks the file and the folder that it is in, so that a second owner
// stays out even if somebody removes the file. Where folders cannot be locked
// (some network file systems) the file alone must do.
func (d *Disk) lockBoth(name string, flag, how int) (*held, error) {
	f, err := d.lock(name, flag, how)
	if err != nil {
		return nil, err
	}
	h := &held{f: f, exclusive: how == syscall.LOCK_EX}
	folder, err := d.openFolder(path.Dir(name))
	if err != nil {
		f.Close()
		return nil, named("lock", name, err)
	}
	switch err := flock(folder, how); {
	case err == nil:
		h.folder = folder
	case errors.Is(err, syscall.EWOULDBLOCK):
		folder.Close()
		f.Close()
		return nil, &fsx.LockedError{Name: name, Owner: "somebody who locks the folder itself (flock, as wrappers of backups do), or whose lock file was removed"}
	default:
		folder.Close()
	}
	return h, nil
}

// maxOwner bounds what is read of another owner's text.
const maxOwner = 1024

// lock opens or makes the lock file and locks it.
func (d *Disk) lock(name string, flag, how int) (*os.File, error) {
	if err := fsx.CheckEntry("lock", name); err != nil {
		return nil, err
	}
	for range attempts {
		f, err := d.openExisting(name, flag)
		if errors.Is(err, fs.ErrNotExist) {
			f, err = d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, fs.ErrExist) {
				continue // somebody else made it just now
			}
		}
		if err != nil {
			return nil, named("lock", name, err)
		}
		if err := flock(f, how); err != nil {
			owner := make([]byte, maxOwner)
			n, _ := f.ReadAt(owner, 0)
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, &fsx.LockedError{Name: name, Owner: strings.TrimSpace(string(owner[:n]))}
			}
			return nil, named("lock", name, err)
		}
		// A lock on a file that no longer has the name excludes nobody.
		there, err1 := d.root.Lstat(name)
		opened, err2 := f.Stat()
		if err1 == nil && err2 == nil && os.SameFile(there, opened) {
			return f, nil
		}
		f.Close()
	}
	return nil, named("lock", name, fmt.Errorf("%w: the file changed %d times", fsx.ErrLocked, attempts))
}

// flock locks an open file without waiting.
func flock(f *os.File, how int) error {
	return control(f, func(fd int) error { return syscall.Flock(fd, how|syscall.LOCK_NB) })
}

// held is a lock. The end of the open files is the end of the lock.
type held struct {
	f         *os.File
	folder    *os.File // nil if folders cannot be locked
	exclusive bool
}

func (h *held) Close() error {
	if h.exclusive {
		_ = h.f.Truncate(0) // the text is for others while we hold it
	}
	if h.folder != nil {
		_ = h.folder.Close()
	}
	return h.f.Close()
}

// control runs a system call on an open file, again while signals interrupt it.
func control(f *os.File, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Control(func(fd uintptr) {
		for {
			if result = call(int(fd)); result != syscall.EINTR {
				return
			}
		}
	})
	if err != nil {
		return fs.ErrClosed // its only cause
	}
	return result
}
