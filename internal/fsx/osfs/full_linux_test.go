package osfs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"graven/internal/fsx"
	"graven/internal/fsx/fsxtest"
)

// smallDisk mounts a file system of 256 KiB and 64 inodes.
func smallDisk(t *testing.T) fsx.Disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a full disk needs root, to mount a small tmpfs")
	}
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=256k,nr_inodes=64"); err != nil {
		t.Skipf("a full disk needs a small tmpfs, which cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { check(t, syscall.Unmount(folder, 0)) })
	root := filepath.Join(folder, "root")
	check(t, os.Mkdir(root, 0o755))
	d := openDisk(t, root)
	t.Cleanup(func() { d.Close() })
	return d
}

func TestFullDisk(t *testing.T) {
	d := smallDisk(t)
	noSpace := func(call string, err error) {
		t.Helper()
		if !errors.Is(err, fsx.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s on a full disk: %v", call, err)
		}
	}
	f, err := d.Open("f", fsx.Create)
	check(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("abc"), 0)
	check(t, err)

	noSpace("reserve", f.Reserve(0, 1<<20))
	if got := fsxtest.Get(t, d, "f"); got != "abc" {
		t.Errorf("a refused reserve changed the file: %q", got)
	}
	check(t, f.Reserve(0, 128<<10))
	if n, err := f.Size(); n != 3 || err != nil {
		t.Errorf("size after reserve: %d, %v", n, err)
	}
	// What others write now cannot take the reserved room.
	g, err := d.Open("g", fsx.Create)
	check(t, err)
	n, err := g.WriteAt(make([]byte, 1<<20), 0)
	noSpace("write", err)
	if n >= 1<<20 {
		t.Errorf("a failed write wrote %d bytes", n)
	}
	_, err = f.WriteAt(make([]byte, 128<<10), 0)
	check(t, err)

	vault := fsx.NewDir(d, fsx.VaultRules())
	noSpace("publish", vault.PublishBytes("tile/0/000", make([]byte, 64<<10)))
	if there, err := vault.Exists("tile/0/000"); there || err != nil {
		t.Errorf("half a file was published: %v, %v", there, err)
	}
	check(t, g.Close())
	check(t, d.Remove("g"))
	check(t, vault.PublishBytes("tile/0/000", make([]byte, 64<<10)))

	// No inodes left.
	for i := 0; err == nil; i++ {
		var f fsx.File
		if f, err = d.Open(fmt.Sprint("n", i), fsx.Create); err == nil {
			f.Close()
		}
	}
	noSpace("create", err)
	noSpace("mkdir", d.Mkdir("dir", false))
	_, err = d.Lock("lock", "x")
	noSpace("lock", err)
}

// Reserving room on the disk of the temporary folder leaves the length alone.
func TestReserveOnDisk(t *testing.T) {
	d := newDisk(t)
	f, err := d.Open("f", fsx.Create)
	check(t, err)
	defer f.Close()
	check(t, f.Reserve(0, 1<<20))
	info, err := d.Stat("f")
	if err != nil || info.Size != 0 {
		t.Errorf("reserved: %+v, %v", info, err)
	}
	if err := f.Reserve(0, 1<<59); err == nil {
		t.Error("reserved more than any disk has")
	}
}
