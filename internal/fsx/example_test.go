package fsx_test

import (
	"fmt"

	"graven/internal/fsx"
)

// A program that says "saved" before it syncs the folder loses what it saved in
// one of the states that a power cut may leave.
func ExampleMem_CrashStates() {
	disk := fsx.NewMem()
	disk.Record()
	f, _ := disk.Open("note", fsx.Create)
	_, _ = f.WriteAt([]byte("hello"), 0)
	_ = f.Sync()
	disk.Mark("saved") // too early: SyncDir(".") is missing

	for state := range disk.CrashStates(fsx.CrashOptions{}) {
		if len(state.Events) == 0 {
			continue // nothing was said yet
		}
		if _, err := state.Disk.Stat("note"); err != nil {
			fmt.Println(state.Desc)
		}
	}
	// Output:
	// after #3 mark saved; 1 more unsynced: absent
}
