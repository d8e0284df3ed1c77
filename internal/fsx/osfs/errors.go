//go:build linux || darwin || freebsd

package osfs

import (
	"errors"
	"io/fs"
	"syscall"

	"graven/internal/fsx"
)

// systemError is an error of the system that fsx has a word for. It matches both.
type systemError struct {
	word  error
	cause error
}

func (e *systemError) Error() string   { return e.cause.Error() }
func (e *systemError) Unwrap() []error { return []error{e.word, e.cause} }

// failure adds fsx's word to an error of the system.
func failure(err error) error {
	var number syscall.Errno
	if !errors.As(err, &number) {
		return err
	}
	var word error
	switch number {
	case syscall.ENOSPC, syscall.EDQUOT:
		word = fsx.ErrNoSpace
	case syscall.EIO:
		word = fsx.ErrIO
	case syscall.EMFILE, syscall.ENFILE:
		word = fsx.ErrTooManyFiles
	case syscall.EROFS:
		word = fsx.ErrReadOnly
	case syscall.ENOTDIR:
		word = fsx.ErrNotFolder
	case syscall.EISDIR:
		word = fsx.ErrNotRegular
	case syscall.ENOTEMPTY:
		word = fsx.ErrNotEmpty
	case syscall.EINVAL:
		word = fs.ErrInvalid
	default:
		return err
	}
	return &systemError{word: word, cause: err}
}
