package osfs

import (
	"errors"
	"os"
	"syscall"
)

// syncData makes content and length durable. fdatasync leaves out times and
// rights, which nothing here depends on, and saves a journal write.
func syncData(f *os.File) error {
	return control(f, syscall.Fdatasync)
}

// keepSize is FALLOC_FL_KEEP_SIZE of fallocate(2).
const keepSize = 1

// reserve allocates room without changing the length.
func reserve(f *os.File, off, n int64) error {
	err := control(f, func(fd int) error { return syscall.Fallocate(fd, keepSize, off, n) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil // the file system cannot; the write itself will find out
	}
	return err
}
