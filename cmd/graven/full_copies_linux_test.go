package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// smallDisk mounts a file system of 48 MiB, which the test fills.
func smallDisk(t *testing.T) string {
	t.Helper()
	mount := t.TempDir()
	if err := syscall.Mount("graven-test", mount, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("a small disk needs the right to mount a tmpfs (CAP_SYS_ADMIN): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return mount
}

// room is how many bytes a file system has left.
func room(t *testing.T, dir string) int64 {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

// leave fills a file system but for so many bytes, and returns what frees it again.
func leave(t *testing.T, dir string, bytes int64) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err == nil {
		err = syscall.Fallocate(int(f.Fd()), 0, 0, room(t, dir)-bytes)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// copying is a command that fills a directory on a small disk.
type copying struct {
	name   string
	store  string // GRAVEN_STORE
	args   []string
	target string
	room   []int64 // how many bytes are left in each try; in a last one there is plenty

	stands func(*testing.T) // what was there before is whole, to be read while the disk is full
	later  func(*testing.T) // likewise, when there is room again
	whole  func(*testing.T) // what the command makes is
}

// meetsFullDisks runs a command again and again, until it has room enough. Each try but
// the last says what is full, and harms nothing; the last goes on from all of them.
func (c *copying) meetsFullDisks(t *testing.T, disk, source string) {
	places := map[string]int{} // what was done when the disk was full
	full := 0
	for try := 0; ; try++ {
		free := func() {}
		if try < len(c.room) {
			free = leave(t, disk, c.room[try])
		}
		cmd := command(t, c.store, c.args...)
		out, err := cmd.CombinedOutput()
		if err == nil {
			free()
			break
		}
		if try >= len(c.room) {
			t.Fatalf("with plenty of room: %v: %s", err, out)
		}
		text, code := string(out), cmd.ProcessState.ExitCode()
		if code != exitUnavailable || !strings.HasPrefix(text, "graven: "+c.target+": ") || !strings.Contains(text, "disk full: ") || !strings.Contains(text, "Make room there") {
			t.Errorf("try %d: exit code %d, wanted %d and that %s is full: %s", try, code, exitUnavailable, c.target, text)
		}
		full++
		places[strings.TrimPrefix(strings.SplitN(text, "\n", 2)[0], "graven: "+c.target+": ")]++
		c.stands(t)
		free()
		c.later(t)
		mustCheck(t, source)
		if t.Failed() {
			return
		}
	}
	c.whole(t)
	for _, name := range files(t, c.target) {
		if strings.Contains(name, ".new-") {
			t.Errorf("%s is left over", name)
		}
	}
	t.Logf("%d full disks: %v", full, places)
	if full < 4 || len(places) < 2 {
		t.Errorf("the disk was full %d times, when this was done: %v", full, places)
	}
}

// mustCheck wants a vault to be whole.
func mustCheck(t *testing.T, store string, args ...string) {
	t.Helper()
	if out := mustRun(t, store, append([]string{"check"}, args...)...); !strings.HasPrefix(out, "ok: ") {
		t.Errorf("check of %s says %s", store, out)
	}
}

// TestDiskFullOfCopies: backup, restore and sync meet a disk that becomes full half-way,
// where there is nothing yet, and where something older or other is.
func TestDiskFullOfCopies(t *testing.T) {
	disk := smallDisk(t)
	dir := t.TempDir()
	source, newest := filepath.Join(dir, "source"), filepath.Join(dir, "newest")
	first, second := sourceTree(t, 30), sourceTree(t, 450)
	at := func(name string) string { return filepath.Join(disk, name) }
	mustRun(t, source, "init")
	mustRun(t, source, "import", first, "--prefix", "first/")
	mustRun(t, source, "backup", at("backup"), "--with-keys")
	mustRun(t, source, "sync", source, at("mirror"))
	mustRun(t, at("store"), "init", "--vault", "other")
	mustRun(t, at("store"), "import", first, "--prefix", "other/", "--vault", "other")
	mustRun(t, source, "import", second, "--prefix", "second/")
	mustRun(t, source, "backup", newest)
	packed := newest + ".tar.zst"
	if err := os.WriteFile(packed, []byte(mustRun(t, source, "backup", "-")), 0o666); err != nil {
		t.Fatal(err)
	}

	refused := func(t *testing.T, store string, args ...string) {
		t.Helper()
		if out, err := command(t, store, args...).CombinedOutput(); err == nil {
			t.Errorf("graven %s of half a copy: %s", strings.Join(args, " "), out)
		}
	}
	restored := func(t *testing.T, backup string) string {
		t.Helper()
		to := filepath.Join(t.TempDir(), "store")
		mustRun(t, to, "restore", backup)
		mustCheck(t, to)
		return to
	}
	both := func(t *testing.T, store string) {
		t.Helper()
		mustCheck(t, store)
		sameExport(t, store, first, "first/")
		sameExport(t, store, second, "second/")
	}
	none := func(*testing.T) {}
	// A write-ahead log reserves 8 MiB, and keeps them for the next try.
	const wal, kib = 8 << 20, 1 << 10
	copied := []int64{0, 300 * kib, 600 * kib, 900 * kib, 1200 * kib, 1500 * kib}
	synced := []int64{0, wal / 2, wal + 24*kib, 0, 450 * kib, 1350 * kib, 1800 * kib}
	for _, c := range []copying{
		{
			name: "a backup", store: source, args: []string{"backup", at("backup")}, target: at("backup"), room: copied,
			stands: func(t *testing.T) { sameExport(t, restored(t, at("backup")), first, "first/") },
			whole:  func(t *testing.T) { both(t, restored(t, at("backup"))) },
		},
		{
			name: "a new backup", store: source, args: []string{"backup", at("new-backup")}, target: at("new-backup"), room: copied,
			stands: func(t *testing.T) { refused(t, filepath.Join(t.TempDir(), "store"), "restore", at("new-backup")) },
			whole:  func(t *testing.T) { both(t, restored(t, at("new-backup"))) },
		},
		{
			name: "a restore", store: at("store"), args: []string{"restore", newest}, target: at("store"), room: copied,
			stands: func(t *testing.T) {
				sameExport(t, at("store"), first, "other/", "--vault", "other")
				refused(t, at("store"), "list")
			},
			later: func(t *testing.T) { mustCheck(t, at("store"), "--vault", "other") },
			whole: func(t *testing.T) {
				both(t, at("store"))
				mustCheck(t, at("store"), "--vault", "other")
			},
		},
		{
			name: "a restore into a new store", store: at("new-store"), args: []string{"restore", packed}, target: at("new-store"), room: copied,
			stands: func(t *testing.T) { refused(t, at("new-store"), "list") },
			whole:  func(t *testing.T) { both(t, at("new-store")) },
		},
		{
			name: "a sync", store: source, args: []string{"sync", source, at("mirror")}, target: at("mirror"), room: synced,
			stands: func(t *testing.T) { sameExport(t, at("mirror"), first, "first/") },
			later:  func(t *testing.T) { mustCheck(t, at("mirror")) },
			whole:  func(t *testing.T) { both(t, at("mirror")) },
		},
		{
			name: "a new sync", store: source, args: []string{"sync", source, at("new-mirror")}, target: at("new-mirror"), room: synced,
			stands: func(t *testing.T) { refused(t, at("new-mirror"), "get", "first/00/file 0") },
			whole:  func(t *testing.T) { both(t, at("new-mirror")) },
		},
	} {
		if c.later == nil {
			c.later = none
		}
		t.Run(c.name, func(t *testing.T) { c.meetsFullDisks(t, disk, source) })
	}
}
