//go:build linux || darwin || freebsd

package osfs_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"graven/internal/fsx"
	"graven/internal/fsx/fsxtest"
	"graven/internal/fsx/osfs"
)

// TestMain lets the test program be a second process that holds a lock.
func TestMain(m *testing.M) {
	if folder := os.Getenv("OSFS_TEST_LOCK"); folder != "" {
		holdLock(folder)
		return
	}
	os.Exit(m.Run())
}

// holdLock locks, says so, and waits for the end of its input.
func holdLock(folder string) {
	d, err := osfs.Open(folder)
	if err == nil {
		_, err = d.Lock("lock", "the other process")
	}
	fmt.Println(err)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// A lock excludes other processes, and is free when its holder was killed.
func TestLockOfKilledProcess(t *testing.T) {
	folder := t.TempDir()
	d := openDisk(t, folder)
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "OSFS_TEST_LOCK="+folder)
	in, err := other.StdinPipe()
	check(t, err)
	defer in.Close()
	out, err := other.StdoutPipe()
	check(t, err)
	check(t, other.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "<nil>\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	_, err = d.Lock("lock", "me")
	if !errors.Is(err, fsx.ErrLocked) || !strings.Contains(err.Error(), "the other process") {
		t.Errorf("lock held by another process: %v", err)
	}
	check(t, other.Process.Kill())
	_ = other.Wait()
	l, err := d.Lock("lock", "me")
	check(t, err)
	if got := fsxtest.Get(t, d, "lock"); got != "me" {
		t.Errorf("lock file says %q", got)
	}
	check(t, l.Close())
}

// Too many open files is an error like any other.
func TestTooManyFiles(t *testing.T) {
	d := newDisk(t)
	fsxtest.Put(t, d, "f", "x")
	var old syscall.Rlimit
	check(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old))
	low := old
	low.Cur = 64
	check(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low))
	defer func() { check(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)) }()
	var files []fsx.File
	var err error
	for err == nil && len(files) < 100 {
		var f fsx.File
		if f, err = d.Open("f", fsx.Read); err == nil {
			files = append(files, f)
		}
	}
	if !errors.Is(err, fsx.ErrTooManyFiles) || !errors.Is(err, syscall.EMFILE) {
		t.Errorf("after %d files: %v", len(files), err)
	}
	for _, f := range files {
		check(t, f.Close())
	}
	f, err := d.Open("f", fsx.Read)
	check(t, err)
	check(t, f.Close())
}
