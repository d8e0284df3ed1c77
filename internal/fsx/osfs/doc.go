// Package osfs is the operating system's files as an fsx.Disk.
//
// A disk is an os.Root: no name, and no link on the way, leads out of its
// folder. Links inside it are followed only where they stand for a folder;
// the last element of a name never is one.
//
// What is opened is a regular file or nothing. The name is looked at before
// (so that no device is touched and no pipe waited for), opened without
// waiting, and the open file compared with what was looked at; a name that
// changed in between is looked at again.
//
// Sync is fdatasync on Linux and what os.File.Sync does elsewhere (on macOS
// F_FULLFSYNC). Locks are flock(2) locks: they belong to the open file, so two
// openings in one process exclude each other too, and the kernel gives them
// back when the process ends, however it ends.
//
//	disk, err := osfs.Open("/srv/graven")
//	defer disk.Close()
//	lock, err := disk.Lock("lock", "pid 123 on host a")
package osfs
