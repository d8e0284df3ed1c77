package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGoTree takes the Go toolchain's own source, over 10,000 files, in and out
// again: identical, now and as it was before a change; a second import writes
// nothing.
func TestGoTree(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 files")
	}
	src := filepath.Join(goroot(t), "src")
	store := filepath.Join(t.TempDir(), "store")
	mustRun(t, store, "init")
	mustRun(t, store, "import", src, "--prefix", "src/")
	if n := strings.Count(mustRun(t, store, "list"), "\n"); n < 10_000 {
		t.Fatalf("%d keys, want over 10,000", n)
	}
	sameExport(t, store, src, "src/")
	before := mustRun(t, store, "-o", "json", "status")
	if out := mustRun(t, store, "import", src, "--prefix", "src/"); out != "" {
		t.Errorf("the second import wrote %s", out)
	}
	if after := mustRun(t, store, "-o", "json", "status"); after != before {
		t.Errorf("the second import changed the vault: %s, was %s", after, before)
	}

	size := strings.Split(mustRun(t, store, "checkpoint"), "\n")[1]
	change := t.TempDir()
	for _, name := range []string{"fmt/print.go", "a new file", "os/exec/exec.go"} {
		name = filepath.Join(change, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("changed\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	first := parseReceipt(t, strings.TrimSpace(mustRun(t, store, "import", change, "--prefix", "src/")))
	if size != uintText(first.seq) {
		t.Fatalf("the change is record %d, the size before it was %s", first.seq, size)
	}
	mustRun(t, store, "delete", "src/go.mod")
	sameExport(t, store, src, "src/", "--at", uintText(first.seq-1))
	for _, c := range []struct{ prefix, name string }{{"src/fmt/", "print.go"}, {"src/a", " new file"}, {"src/os/exec/", "exec.go"}} {
		now := t.TempDir()
		mustRun(t, store, "export", now, "--prefix", c.prefix)
		if b, err := os.ReadFile(filepath.Join(now, c.name)); string(b) != "changed\n" {
			t.Errorf("%s%s: %q, %v", c.prefix, c.name, b, err)
		}
	}
	if out := mustRun(t, store, "list", "src/go.mod"); out != "" {
		t.Errorf("a deleted key is listed: %s", out)
	}
}
