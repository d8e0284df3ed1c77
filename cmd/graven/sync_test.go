package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"graven"
)

// TestKillSync: kill -9 at several moments of syncs. The next sync goes on, nothing
// is lost or left over, and in the end the mirror has its source's bytes.
func TestKillSync(t *testing.T) {
	dir := sourceTree(t, 1500)
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
	mustRun(t, from, "init")
	mustRun(t, from, "import", dir, "--prefix", "r/")
	kills, begun := 0, 0
	for wait := 20 * time.Millisecond; ; wait += 8 * time.Millisecond {
		cmd := command(t, to, "sync", from, to)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		if !timer.Stop() && err != nil {
			kills++
			if _, err := os.Stat(filepath.Join(to, "vaults", "main")); err == nil {
				begun++
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	t.Logf("%d syncs were killed, %d of them with a mirror begun", kills, begun)
	if begun == 0 {
		t.Error("no sync was killed at work")
	}
	mustRun(t, to, "check")
	sameExport(t, to, dir, "r/")
	want, err := tree(filepath.Join(from, "vaults", "main"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := tree(filepath.Join(to, "vaults", "main"))
	if err != nil {
		t.Fatal(err)
	}
	for _, files := range []map[string]string{want, got} {
		for name := range files {
			for _, own := range []string{"wal/", "meta/host/", "meta/keys/priv/", "state/"} {
				if strings.HasPrefix(name, own) {
					delete(files, name)
				}
			}
		}
	}
	if why := differ(want, got); why != "" {
		t.Errorf("mirror and source differ: %s", why)
	}
}

// TestAdviceWithoutRoom: what is said of a transaction is not said of a sync.
func TestAdviceWithoutRoom(t *testing.T) {
	a := &app{}
	for what, err := range map[string]error{
		"sync": adviseSync(graven.ErrFull), "repair": repairAdvice(graven.ErrFull), "restore": restoreAdvice(graven.ErrFull),
		"backup": backupAdvice(graven.ErrFull, nil),
	} {
		if hint := a.hint(err); code(err) != exitUnavailable || strings.Contains(hint, "transaction") || strings.Contains(hint, "still good") {
			t.Errorf("%s: code %d, %q", what, code(err), hint)
		}
	}
}
