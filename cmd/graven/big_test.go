package main

import (
	"crypto/sha256"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestBigRoundTrip takes real files all the way: import, backup, import more,
// incremental backup, restore, adopt, sync to a mirror, export, which must give the same
// tree. It takes the Go distribution, with GRAVEN_DEEP all of /usr, or the tree that
// GRAVEN_BIG names.
func TestBigRoundTrip(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: it copies some hundred MiB six times")
	}
	source := os.Getenv("GRAVEN_BIG")
	switch {
	case source != "":
	case os.Getenv("GRAVEN_DEEP") != "":
		source = "/usr"
	default:
		source = goroot(t)
	}
	dir := t.TempDir()
	room := func(name string) string { return filepath.Join(dir, name) }
	most := 0
	step := func(store string, args ...string) string {
		t.Helper()
		cmd := command(t, store, args...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		most = max(most, maxResident(cmd.ProcessState))
		return string(out)
	}
	step(room("store"), "init")
	part, err := os.ReadDir(source)
	if err != nil || len(part) == 0 {
		t.Fatalf("%s: %d entries, %v", source, len(part), err)
	}
	for _, e := range part {
		if e.IsDir() { // first one folder, so that the second backup has something to add
			step(room("store"), "import", filepath.Join(source, e.Name()), "--prefix", "all/"+e.Name()+"/")
			break
		}
	}
	step(room("store"), "backup", room("backup"), "--with-keys")
	step(room("store"), "import", source, "--prefix", "all/")
	step(room("store"), "backup", room("backup"))
	step(room("twin"), "restore", room("backup"))
	step(room("twin"), "adopt", "--nothing-newer")
	step(room("twin"), "put", "after", filepath.Join(room("backup"), "README.txt"))
	step("/nonexistent", "sync", room("twin"), room("mirror"))
	step(room("mirror"), "export", room("out"), "--prefix", "all/")
	if out := step(room("mirror"), "check"); !strings.HasPrefix(out, "ok: ") {
		t.Errorf("check of the mirror says %s", out)
	}
	want, got := sums(t, source), sums(t, room("out"))
	if len(want) == 0 || !maps.Equal(want, got) {
		t.Errorf("%d files in %s, %d in the export, or not the same ones", len(want), source, len(got))
	}
	t.Logf("%d files; the largest process took %d MiB", len(want), most>>10)
	if most > 400<<10 {
		t.Errorf("a process took %d MiB", most>>10)
	}
}

// maxResident is the most that a process had in memory, in KiB.
func maxResident(p *os.ProcessState) int {
	if use, ok := p.SysUsage().(*syscall.Rusage); ok && runtime.GOOS == "linux" {
		return int(use.Maxrss)
	}
	return 0
}

// sums are the SHA-256 of the regular files below a directory.
func sums(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	all := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		all[name] = [32]byte(sum.Sum(nil))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// goroot is the folder of the Go distribution.
func goroot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal("no go command: ", err)
	}
	dir, err := filepath.EvalSymlinks(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
