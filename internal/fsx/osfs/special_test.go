//go:build linux || darwin || freebsd

package osfs_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"graven/internal/fsx"
	"graven/internal/fsx/fsxtest"
)

// What is not a regular file is refused, at once, whatever it is.
func TestNotRegular(t *testing.T) {
	folder := t.TempDir()
	d := openDisk(t, folder)
	fsxtest.Put(t, d, "target", "content")
	check(t, d.Mkdir("dir", false))
	in := func(name string) string { return filepath.Join(folder, name) }
	check(t, syscall.Mkfifo(in("fifo"), 0o644))
	for name, target := range map[string]string{
		"link": "target", "dangling": "none", "to dir": "dir", "outside": "/etc/passwd", "loop": "loop", "up": "../" + filepath.Base(folder) + "/target",
	} {
		check(t, os.Symlink(target, in(name)))
	}
	names := []string{"fifo", "link", "dangling", "to dir", "outside", "loop", "up", "dir"}
	if l, err := net.Listen("unix", in("socket")); err == nil {
		defer l.Close()
		names = append(names, "socket")
	}
	if err := syscall.Mknod(in("zero"), syscall.S_IFCHR|0o666, 1<<8|5); err == nil {
		names = append(names, "zero")
	} else {
		t.Logf("without a device: %v", err)
	}
	vault := fsx.NewDir(d, fsx.Rules{{Pattern: "**", Verbs: fsx.Append | fsx.Publish | fsx.Source}})
	for _, name := range names {
		_, err := d.Open(name, fsx.Read)
		wantNotRegular(t, name, "read", err)
		_, err = d.Open(name, fsx.ReadWrite)
		wantNotRegular(t, name, "write", err)
		_, err = d.Lock(name, "x")
		wantNotRegular(t, name, "lock", err)
		_, err = d.LockShared(name)
		wantNotRegular(t, name, "shared lock", err)
		wantNotRegular(t, name, "link", d.Link(name, "new"))
		_, err = vault.ReadFile(name, 1<<20)
		wantNotRegular(t, name, "read whole", err)
		_, err = vault.Append(name, true)
		wantNotRegular(t, name, "append", err)
		wantNotRegular(t, name, "publish link", vault.PublishLink(name, "new"))
		if _, err := d.Open(name, fsx.Create); !errors.Is(err, fs.ErrExist) {
			t.Errorf("create over %s: %v", name, err)
		}
		if err := vault.PublishBytes(name, nil); !errors.Is(err, fs.ErrExist) {
			t.Errorf("publish over %s: %v", name, err)
		}
		info, err := d.Stat(name)
		if err != nil || info.Regular || info.Size != 0 || info.Dir != (name == "dir") {
			t.Errorf("stat %s: %+v, %v", name, info, err)
		}
	}
	list, err := d.ReadDir(".")
	check(t, err)
	for _, e := range list {
		if e.Regular != (e.Name == "target") || e.Dir != (e.Name == "dir") {
			t.Errorf("listed: %+v", e)
		}
	}
	if _, err := d.ReadDir("to dir"); !errors.Is(err, fsx.ErrNotFolder) {
		t.Errorf("listing a link: %v", err)
	}
	if err := d.SyncDir("to dir"); !errors.Is(err, fsx.ErrNotFolder) {
		t.Errorf("syncing a link: %v", err)
	}
	if got := fsxtest.Get(t, d, "target"); got != "content" {
		t.Errorf("the target of a link holds %q", got)
	}
}

func wantNotRegular(t *testing.T, name, call string, err error) {
	t.Helper()
	if !errors.Is(err, fsx.ErrNotRegular) {
		t.Errorf("%s %s: %v, want ErrNotRegular", call, name, err)
	}
}

// Nothing leads out of the folder.
func TestNoEscape(t *testing.T) {
	outer := t.TempDir()
	check(t, os.Mkdir(filepath.Join(outer, "secret"), 0o755))
	check(t, os.WriteFile(filepath.Join(outer, "secret", "f"), []byte("x"), 0o644))
	check(t, os.Mkdir(filepath.Join(outer, "root"), 0o755))
	check(t, os.Symlink("../secret", filepath.Join(outer, "root", "way")))
	check(t, os.Symlink(filepath.Join(outer, "secret"), filepath.Join(outer, "root", "absolute")))
	d := openDisk(t, filepath.Join(outer, "root"))
	for _, way := range []string{"way", "absolute"} {
		_, read := d.Open(way+"/f", fsx.Read)
		_, create := d.Open(way+"/g", fsx.Create)
		_, list := d.ReadDir(way)
		_, stat := d.Stat(way + "/f")
		for call, err := range map[string]error{
			"read": read, "create": create, "list": list, "stat": stat,
			"remove": d.Remove(way + "/f"), "mkdir": d.Mkdir(way+"/d", false), "rename": d.Rename(way+"/f", "f"),
		} {
			if err == nil {
				t.Errorf("%s through %s", call, way)
			}
		}
	}
	list, err := os.ReadDir(filepath.Join(outer, "secret"))
	if err != nil || len(list) != 1 {
		t.Errorf("outside there is now %v, %v", list, err)
	}
}

// A folder that was replaced by a link to another does not lead a discard, or
// any other change, there.
func TestLinkedFolders(t *testing.T) {
	folder := t.TempDir()
	d := openDisk(t, folder)
	check(t, d.Mkdir("log", false))
	fsxtest.Put(t, d, "log/log-0.jsonl", "truth")
	for _, name := range []string{"tmp", "tile", "wal", "meta"} {
		check(t, os.Symlink("log", filepath.Join(folder, name)))
	}
	vault := fsx.NewDir(d, fsx.VaultRules())
	_, appended := vault.Append("wal/wal-1", true)
	for call, err := range map[string]error{
		"discard all": vault.DiscardAll("tmp"), "discard": vault.Discard("tmp/log-0.jsonl"), "sweep": vault.Sweep("tile"),
		"publish": vault.PublishBytes("tile/000", nil), "append": appended, "replace": vault.Replace("meta/host/clean", nil),
	} {
		if !errors.Is(err, fsx.ErrNotFolder) {
			t.Errorf("%s: %v, want ErrNotFolder", call, err)
		}
	}
	list, err := d.ReadDir("log")
	if err != nil || len(list) != 1 || fsxtest.Get(t, d, "log/log-0.jsonl") != "truth" {
		t.Errorf("the log's folder holds %v, %v", list, err)
	}
	// A link among what is discarded goes; what it points to stays.
	check(t, os.Remove(filepath.Join(folder, "tmp")))
	check(t, d.Mkdir("tmp", false))
	check(t, os.Symlink("../log", filepath.Join(folder, "tmp", "way")))
	check(t, vault.DiscardAll("tmp"))
	if fsxtest.Get(t, d, "log/log-0.jsonl") != "truth" {
		t.Error("a discard went through a link")
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
