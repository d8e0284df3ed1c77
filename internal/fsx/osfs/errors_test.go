//go:build linux || darwin || freebsd

package osfs

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"graven/internal/fsx"
)

func TestErrorWords(t *testing.T) {
	for number, word := range map[syscall.Errno]error{
		syscall.ENOSPC: fsx.ErrNoSpace, syscall.EDQUOT: fsx.ErrNoSpace, syscall.EIO: fsx.ErrIO,
		syscall.EMFILE: fsx.ErrTooManyFiles, syscall.ENFILE: fsx.ErrTooManyFiles, syscall.EROFS: fsx.ErrReadOnly,
		syscall.ENOTDIR: fsx.ErrNotFolder, syscall.EISDIR: fsx.ErrNotRegular, syscall.ENOTEMPTY: fsx.ErrNotEmpty,
		syscall.EEXIST: fs.ErrExist, syscall.ENOENT: fs.ErrNotExist, syscall.EACCES: fs.ErrPermission, syscall.EINVAL: fs.ErrInvalid,
	} {
		for _, err := range []error{
			number,
			&fs.PathError{Op: "openat", Path: "secret place", Err: number},
			&os.LinkError{Op: "linkat", Old: "secret place", New: "b", Err: number},
			os.NewSyscallError("fdatasync", number),
		} {
			got := named("write", "our name", err)
			if !errors.Is(got, word) || !errors.Is(got, number) {
				t.Errorf("%v became %v, which is not %v", err, got, word)
			}
			if text := got.Error(); !strings.HasPrefix(text, "write our name: ") || strings.Contains(text, "secret") {
				t.Errorf("text %q", text)
			}
		}
	}
	if err := named("write", "x", nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}
