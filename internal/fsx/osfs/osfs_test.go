//go:build linux || darwin || freebsd

package osfs_test

import (
	"testing"

	"graven/internal/fsx"
	"graven/internal/fsx/fsxtest"
	"graven/internal/fsx/osfs"
)

func newDisk(t *testing.T) fsx.Disk {
	t.Helper()
	return openDisk(t, t.TempDir())
}

func openDisk(t *testing.T, folder string) *osfs.Disk {
	t.Helper()
	d, err := osfs.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestConformance(t *testing.T) {
	fsxtest.Disk(t, newDisk)
	fsxtest.Dir(t, newDisk)
}
