package graven

import (
	"fmt"
	"strconv"
	"strings"

	"graven/internal/fsx"
)

// restoredFile marks a vault that came from a backup, or whose newest groups may
// be lost, until it is adopted: one line, `restored <size>`, the size at which
// that was. It is host-local and no part of the ledger.
const restoredFile = "meta/host/restored"

func restoredMark(size uint64) []byte { return fmt.Appendf(nil, "restored %d\n", size) }

// readRestored reads the mark. One that cannot be read counts as one: only adopt
// takes it away.
func readRestored(dir fsx.Dir) (size uint64, marked bool) {
	if exists, err := dir.Exists(restoredFile); err == nil && !exists {
		return 0, false
	}
	b, err := dir.ReadFile(restoredFile, 64)
	if err != nil {
		return 0, true
	}
	size, _ = strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(string(b), "restored "), "\n"), 10, 64)
	return size, true
}

// restoredWhy says why a vault with a mark cannot be written.
func restoredWhy(size uint64) string {
	return fmt.Sprintf("it was restored from a backup at size %d, and may have been longer; graven adopt makes it writable", size)
}
