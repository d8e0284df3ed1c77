package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDiskFull: a full disk refuses a write with a code of its own and harms
// nothing, and the refusal ends by itself when there is room.
func TestDiskFull(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("graven-test", mount, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("no small disk can be made here: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	}()
	store := filepath.Join(mount, "store")
	mustRun(t, store, "init")
	value := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(value, make([]byte, 200_000), 0o666); err != nil {
		t.Fatal(err)
	}
	// Each put is another value, so that each needs room.
	put := func(i int) (string, int) {
		data := make([]byte, 200_000)
		data[0], data[1] = byte(i), byte(i>>8)
		if err := os.WriteFile(value, data, 0o666); err != nil {
			t.Fatal(err)
		}
		cmd := command(t, store, "put", "k", value)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	n := 0
	for ; ; n++ {
		out, code := put(n)
		if code == 0 && n < 200 {
			continue
		}
		if code != exitUnavailable || !strings.Contains(out, "graven: ") || !strings.Contains(out, "Make room") {
			t.Fatalf("put %d: exit code %d, want %d: %s", n, code, exitUnavailable, out)
		}
		break
	}
	if n == 0 {
		t.Fatal("the disk was full at once")
	}
	mustRun(t, store, "get", "k", "--out", os.DevNull)
	mustRun(t, store, "check")
	if err := syscall.Mount("graven-test", mount, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if out, code := put(n); code != 0 {
		t.Fatalf("with room again: exit code %d: %s", code, out)
	}
	mustRun(t, store, "check")
}
