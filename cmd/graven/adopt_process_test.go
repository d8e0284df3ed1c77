package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKillAdopt: kill -9 while a restored vault is adopted. Either nothing was adopted or
// all of it was; the next adopt ends what was begun, with one new epoch.
func TestKillAdopt(t *testing.T) {
	dir := t.TempDir()
	store, backup := filepath.Join(dir, "store"), filepath.Join(dir, "backup")
	mustRun(t, store, "init")
	mustRun(t, store, "import", sourceTree(t, 100), "--prefix", "r/")
	mustRun(t, store, "backup", backup, "--with-keys")
	kills := 0
	for _, at := range []string{"wal/*", "wal/.new-*", "index", "meta/host/.new-*", "tmp", "state"} {
		twin := filepath.Join(dir, "twin")
		mustRun(t, twin, "restore", backup)
		if killAt(t, command(t, twin, "adopt", "--nothing-newer"), filepath.Join(twin, "vaults", "main", at)) {
			kills++
		}
		if _, err := os.Stat(filepath.Join(twin, "vaults", "main", "meta", "host", "restored")); err == nil {
			mustRun(t, twin, "adopt", "--nothing-newer")
		}
		mustRun(t, twin, "put", "after", filepath.Join(backup, "README.txt"))
		log := mustRun(t, twin, "log", "--from", "0", "-o", "json")
		if n := strings.Count(log, `"epoch":1,`); n != 2 || strings.Contains(log, `"epoch":2,`) {
			t.Errorf("killed at %s: %d commits of epoch 1, wanted that of the adoption and one more", at, n)
		}
		if out := mustRun(t, twin, "check"); !strings.HasPrefix(out, "ok: ") {
			t.Errorf("killed at %s: check says %s", at, out)
		}
		if err := os.RemoveAll(twin); err != nil {
			t.Fatal(err)
		}
	}
	if kills == 0 {
		t.Error("every adoption ended before it was killed")
	}
	t.Logf("%d kills", kills)
}
