package fsx_test

import (
	"testing"

	"graven/internal/fsx"
	"graven/internal/fsx/fsxtest"
)

func newMem(*testing.T) fsx.Disk { return fsx.NewMem() }

func newRecording(*testing.T) fsx.Disk {
	m := fsx.NewMem()
	m.Record()
	return m
}

func newFault(*testing.T) fsx.Disk { return fsx.Fault(fsx.NewMem(), nil) }

func newUnder(t *testing.T) fsx.Disk {
	m := fsx.NewMem()
	for _, name := range []string{"vaults", "vaults/a"} {
		if err := m.Mkdir(name, false); err != nil {
			t.Fatal(err)
		}
	}
	return fsx.Under(fsx.Under(m, "vaults"), "a")
}

func TestConformance(t *testing.T) {
	for name, newDisk := range map[string]func(*testing.T) fsx.Disk{
		"memory": newMem, "recording": newRecording, "fault": newFault, "under": newUnder,
	} {
		t.Run(name, func(t *testing.T) {
			fsxtest.Disk(t, newDisk)
			fsxtest.Dir(t, newDisk)
		})
	}
}
