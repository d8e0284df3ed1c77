package fsx

import (
	"errors"
	"io"
	"io/fs"
	"path"
)

// Under returns the folder of a disk as a disk of its own. The folder need not
// exist yet.
func Under(d Disk, folder string) Disk {
	if u, ok := d.(under); ok {
		return under{disk: u.disk, folder: path.Join(u.folder, folder)}
	}
	return under{disk: d, folder: folder}
}

// under prefixes names. Errors then carry the longer name.
type under struct {
	disk   Disk
	folder string
}

func (u under) name(op, name string) (string, error) {
	if err := CheckName(op, name); err != nil {
		return "", err
	}
	name = path.Join(u.folder, name)
	return name, CheckName(op, name)
}

// entry is name for calls that change a name: not that of the folder itself.
func (u under) entry(op, name string) (string, error) {
	if err := CheckEntry(op, name); err != nil {
		return "", err
	}
	return u.name(op, name)
}

func (u under) Open(name string, mode Mode) (File, error) {
	name, err := u.name("open", name)
	if err != nil {
		return nil, err
	}
	return u.disk.Open(name, mode)
}

func (u under) Link(old, new string) error {
	old, err := u.entry("link", old)
	new, err2 := u.entry("link", new)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	return u.disk.Link(old, new)
}

func (u under) Rename(old, new string) error {
	old, err := u.entry("rename", old)
	new, err2 := u.entry("rename", new)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	return u.disk.Rename(old, new)
}

func (u under) Remove(name string) error {
	name, err := u.entry("remove", name)
	if err != nil {
		return err
	}
	return u.disk.Remove(name)
}

func (u under) Mkdir(name string, private bool) error {
	name, err := u.entry("mkdir", name)
	if err != nil {
		return err
	}
	return u.disk.Mkdir(name, private)
}

func (u under) ReadDir(name string) ([]Entry, error) {
	name, err := u.name("readdir", name)
	if err != nil {
		return nil, err
	}
	return u.disk.ReadDir(name)
}

func (u under) Stat(name string) (Info, error) {
	name, err := u.name("stat", name)
	if err != nil {
		return Info{}, err
	}
	return u.disk.Stat(name)
}

func (u under) SyncDir(name string) error {
	name, err := u.name("syncdir", name)
	if err != nil {
		return err
	}
	return u.disk.SyncDir(name)
}

func (u under) Lock(name, text string) (io.Closer, error) {
	name, err := u.entry("lock", name)
	if err != nil {
		return nil, err
	}
	return u.disk.Lock(name, text)
}

func (u under) LockShared(name string) (io.Closer, error) {
	name, err := u.entry("lock", name)
	if err != nil {
		return nil, err
	}
	return u.disk.LockShared(name)
}

// FailSync implements SyncFailer if the disk below does.
func (u under) FailSync(name string) { failSync(u.disk, path.Join(u.folder, name)) }

// ReadOnly returns a disk that answers every change with ErrReadOnly before it
// reaches d. Shared locks are changes only if their file is missing.
func ReadOnly(d Disk) Disk { return readOnly{d} }

type readOnly struct{ disk Disk }

func (r readOnly) Open(name string, mode Mode) (File, error) {
	if mode != Read {
		return nil, pathError("open", name, ErrReadOnly)
	}
	f, err := r.disk.Open(name, Read)
	if err != nil {
		return nil, err
	}
	return readOnlyFile{f, name}, nil
}

func (r readOnly) Link(old, new string) error { return pairError("link", old, new, ErrReadOnly) }

func (r readOnly) Rename(old, new string) error { return pairError("rename", old, new, ErrReadOnly) }

func (r readOnly) Remove(name string) error { return pathError("remove", name, ErrReadOnly) }

func (r readOnly) Mkdir(name string, _ bool) error { return pathError("mkdir", name, ErrReadOnly) }

func (r readOnly) SyncDir(name string) error         { return pathError("syncdir", name, ErrReadOnly) }
func (r readOnly) Stat(name string) (Info, error)    { return r.disk.Stat(name) }
func (r readOnly) ReadDir(n string) ([]Entry, error) { return r.disk.ReadDir(n) }

func (r readOnly) Lock(name, _ string) (io.Closer, error) {
	return nil, pathError("lock", name, ErrReadOnly)
}

func (r readOnly) LockShared(name string) (io.Closer, error) {
	if _, err := r.disk.Stat(name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = pathError("lock", name, ErrReadOnly)
		}
		return nil, err
	}
	return r.disk.LockShared(name)
}

// readOnlyFile refuses what its disk refuses.
type readOnlyFile struct {
	File
	name string
}

func (f readOnlyFile) WriteAt([]byte, int64) (int, error) {
	return 0, pathError("write", f.name, ErrReadOnly)
}
func (f readOnlyFile) Truncate(int64) error { return pathError("truncate", f.name, ErrReadOnly) }
func (f readOnlyFile) Sync() error          { return pathError("sync", f.name, ErrReadOnly) }
func (f readOnlyFile) Reserve(_, _ int64) error {
	return pathError("reserve", f.name, ErrReadOnly)
}
