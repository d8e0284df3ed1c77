package graven

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"graven/internal/fsx"
)

// restoredFile marks a vault that came from a backup, or whose newest groups may
// be lost, until it is adopted: one line, `restored <size>`, the size at which
// that was. It is host-local and no part of the ledger.
const restoredFile = "meta/host/restored"

func restoredMark(size uint64) []byte { return fmt.Appendf(nil, "restored %d\n", size) }

// readRestored reads the mark. Of one that is garbled the size is [noLimit]: it is
// a mark all the same, which only adopt takes away.
func readRestored(dir fsx.Dir) (size uint64, marked bool, err error) {
	b, err := dir.ReadFile(restoredFile, 64)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, false, nil
	case errors.Is(err, fsx.ErrTooLarge):
		return noLimit, true, nil
	case err != nil:
		return 0, false, err
	}
	size, err = strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(string(b), "restored "), "\n"), 10, 64)
	if err != nil || string(b) != string(restoredMark(size)) {
		size = noLimit
	}
	return size, true, nil
}

// restoredWhy says why a vault with a mark cannot be written.
func restoredWhy(size uint64) string {
	if size == noLimit {
		return "it was restored from a backup, and may have been longer; graven adopt makes it writable"
	}
	return fmt.Sprintf("it was restored from a backup at size %d, and may have been longer; graven adopt makes it writable", size)
}
