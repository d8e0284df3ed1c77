package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// killAt runs a command and kills it with signal 9 as soon as a file shows up, as a
// pattern names it. It reports whether it was killed before its end.
func killAt(t *testing.T, cmd *exec.Cmd, pattern string) bool {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it was killed
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return !cmd.ProcessState.Success()
		default:
		}
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			_ = cmd.Process.Kill()
			<-ended
			return !cmd.ProcessState.Success()
		}
	}
}

// files lists the files below a directory, without what it may keep.
func files(t *testing.T, dir string, but ...string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		for _, b := range but {
			if name == b {
				return err
			}
		}
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestKillBackup: kill -9 while a backup, a restore and a repair are under way.
// The next one goes well, and nothing is left over.
func TestKillBackup(t *testing.T) {
	dir := t.TempDir()
	store, target, twin := filepath.Join(dir, "store"), filepath.Join(dir, "copy"), filepath.Join(dir, "twin")
	mustRun(t, store, "init")
	kills := 0
	for round, at := range []string{"backup.txt", "blocks/sealed/??/.new-*", "blocks/open/*", "log/*1.jsonl"} {
		mustRun(t, store, "import", sourceTree(t, 400), "--prefix", fmt.Sprintf("r%d/", round))
		if round > 0 {
			at = strings.Replace(at, "log/*1.jsonl", ".new-*-backup.txt", 1)
		}
		if killAt(t, command(t, store, "backup", target, "--with-keys"), filepath.Join(target, at)) {
			kills++
		}
		if round%2 == 1 {
			continue // the next round goes on from what was killed
		}
		mustRun(t, store, "backup", target, "--with-keys")
		mustRun(t, twin, "restore", target)
		if out := mustRun(t, twin, "check"); !strings.HasPrefix(out, "ok: ") {
			t.Errorf("round %d: check of what was restored says %s", round, out)
		}
		if err := os.RemoveAll(twin); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, store, "backup", target)
	want := strings.Count(string(readFile(t, filepath.Join(target, "backup.txt"))), "\n") // more than files
	if got := files(t, target, ".lock", "backup.txt"); len(got) >= want {
		t.Errorf("%d files in the backup, %d lines in its list", len(got), want)
	}
	for _, name := range files(t, target, ".lock", "backup.txt") {
		if !strings.Contains(string(readFile(t, filepath.Join(target, "backup.txt"))), "  "+name+"\n") {
			t.Errorf("%s is left over", name)
		}
	}
	for _, at := range []string{"vaults/.new-*", "vaults/.new-*/log/log-*", "vaults/.new-*/meta/host/restored"} {
		if killAt(t, command(t, twin, "restore", target), filepath.Join(twin, at)) {
			kills++
		}
		if _, err := os.Stat(filepath.Join(twin, "vaults", "main")); err == nil {
			t.Logf("the restore was faster than the kill at %s", at)
			break
		}
	}
	if _, err := os.Stat(filepath.Join(twin, "vaults", "main")); err != nil {
		mustRun(t, twin, "restore", target)
	}
	if entries, err := os.ReadDir(filepath.Join(twin, "vaults")); err != nil || len(entries) != 1 {
		t.Errorf("%v in the store, %v", entries, err)
	}
	mustRun(t, twin, "adopt", "--nothing-newer")
	log := filepath.Join(twin, "vaults", "main", "log", "log-0000000000000000.jsonl")
	text := readFile(t, log)
	text[len(text)/2] ^= 4
	if err := os.WriteFile(log, text, 0o666); err != nil {
		t.Fatal(err)
	}
	if killAt(t, command(t, twin, "repair", "--from", target), filepath.Join(twin, "vaults/main/log/.new-*")) {
		kills++
	}
	mustRun(t, twin, "repair", "--from", target)
	if out := mustRun(t, twin, "check"); !strings.HasPrefix(out, "ok: ") {
		t.Errorf("check of what was repaired says %s", out)
	}
	if kills < 3 {
		t.Errorf("only %d of the commands were killed before they ended", kills)
	}
	t.Logf("%d kills", kills)
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
