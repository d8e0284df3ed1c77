// Package fsx is the only way to files.
//
// It has two layers. A [Disk] is what an operating system offers: open, link,
// rename, remove, and sync, with names relative to one folder. A [Dir] is what
// the rooms of the cellar use: a folder of a disk whose files can change in
// four ways only, and each path in fewer still.
//
//	append   write into a file that grows: log, open block, WAL
//	publish  write beside, sync, link without replacing, sync the folder
//	replace  write beside, sync, rename, sync the folder
//	discard  remove what can be made again
//
// [VaultRules] says which paths allow which; everything else is [ErrRule].
//
// Invariants:
//   - A file that was published is never changed or removed through a Dir,
//     unless its rule says that it can be rebuilt.
//   - When Publish, Replace or a creating Append has returned nil, the file's
//     name, and every folder above it, survive a power cut.
//   - Nothing here follows a link or waits for a pipe: what is not a regular
//     file is [ErrNotRegular].
//   - This package does no I/O of its own. The adapter is fsx/osfs; [Mem] keeps
//     everything in memory, records what was done and enumerates what a power
//     cut may leave; [Fault] and [ReadOnly] wrap any disk.
//
// Example:
//
//	disk := fsx.NewMem()
//	vault := fsx.NewDir(fsx.Under(disk, "vaults/notes"), fsx.VaultRules())
//	err := vault.Sub("tile").PublishBytes("0/000", tile) // durable when nil
//	err = vault.Discard("blocks/sealed/ab/ab….blk")      // ErrRule: sealed
package fsx

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Errors of a disk. Disks wrap them with the call and the name; besides them
// they return fs.ErrExist, fs.ErrNotExist, fs.ErrInvalid (a malformed name or
// argument), fs.ErrPermission and fs.ErrClosed.
var (
	// ErrNoSpace says that the disk or the quota is full.
	ErrNoSpace = errors.New("no space left on the disk")
	// ErrIO says that the device failed to read or write.
	ErrIO = errors.New("input/output error")
	// ErrTooManyFiles says that no more files can be opened now.
	ErrTooManyFiles = errors.New("too many open files")
	// ErrNotRegular says that a name that must be a regular file is a folder, a link, a pipe or a device.
	ErrNotRegular = errors.New("not a regular file")
	// ErrFolder is the ErrNotRegular of a folder that stands in the way of a file.
	ErrFolder error = folderError{}
	// ErrNotFolder says that a name that must be a folder is something else, a link to one too.
	ErrNotFolder = errors.New("not a folder")
	// ErrNotEmpty says that a folder to be removed holds something.
	ErrNotEmpty = errors.New("folder is not empty")
	// ErrLocked says that somebody else holds the lock; the error is a *LockedError.
	ErrLocked = errors.New("locked by another owner")
	// ErrReadOnly says that this disk refuses every change.
	ErrReadOnly = errors.New("disk is read-only")
	// ErrTooLarge says that a file is longer than its reader allows.
	ErrTooLarge = errors.New("file is too large")
	// ErrRule says that a path may not change in this way; the error is a *RuleError.
	ErrRule = errors.New("not allowed by the rules")
)

// Mode says how Disk.Open opens a file.
type Mode uint8

const (
	// Read opens an existing file for reading only.
	Read Mode = iota
	// ReadWrite opens an existing file for reading and writing.
	ReadWrite
	// Create makes a new file for reading and writing; fs.ErrExist if the name is taken.
	Create
	// CreatePrivate is Create for a file that only its owner may read.
	CreatePrivate
)

// Entry is one name in a folder.
type Entry struct {
	Name    string // last element only
	Dir     bool   // a folder
	Regular bool   // a regular file; neither Dir nor Regular: a link, pipe, device, socket
}

// Info describes what a name stands for, without following links.
type Info struct {
	Size    int64 // bytes; only of a regular file
	Dir     bool
	Regular bool
	Private bool // nobody but the owner has any right to it
}

// Disk is a folder of some storage and the primitives on it.
//
// Names are relative to that folder, separated by slashes and clean (see
// fs.ValidPath); "." is the folder itself. Other names are fs.ErrInvalid.
// Parents are never made. Disks are safe for concurrent use.
//
// Durability: what is written to a file survives a power cut only after a
// later successful Sync of that file; what happened to a name (create, link,
// rename, remove, mkdir) only after a later successful SyncDir of its folder.
type Disk interface {
	// Open opens a regular file; anything else is ErrNotRegular. It never
	// follows a link in the last element and never waits.
	Open(name string, mode Mode) (File, error)
	// Link gives the file old a second name; fs.ErrExist if it is taken.
	Link(old, new string) error
	// Rename moves a file or folder. A file replaces a file; a folder is never
	// replaced, even an empty one: fs.ErrExist.
	Rename(old, new string) error
	// Remove takes away a name: of a file, or of an empty folder.
	Remove(name string) error
	// Mkdir makes one folder; fs.ErrExist if the name is taken.
	Mkdir(name string, private bool) error
	// ReadDir lists a folder, sorted by name.
	ReadDir(name string) ([]Entry, error)
	// Stat describes a name without following it.
	Stat(name string) (Info, error)
	// SyncDir makes the names in a folder durable.
	SyncDir(name string) error
	// Lock takes an exclusive lock on a file, which it makes if needed, without
	// waiting. The text goes into the file, if there is room for it, and names
	// the owner to others. If somebody holds it the error is a *LockedError.
	// Closing, or the end of the process, gives it back. A folder has one lock.
	Lock(name, text string) (io.Closer, error)
	// LockShared is Lock for many owners at once. It leaves the text alone.
	LockShared(name string) (io.Closer, error)
}

// File is an open regular file. Reads and writes are positional, and safe for
// concurrent use; a file outlives the removal of its name.
type File interface {
	io.ReaderAt
	// WriteAt writes all of p or returns an error; then any part may be written.
	io.WriterAt
	io.Closer
	// Size returns the length in bytes.
	Size() (int64, error)
	// Truncate cuts the file, or extends it with zeros.
	Truncate(size int64) error
	// Sync makes content and length durable. After an error nothing written
	// before is durable, whatever a later Sync says: do not retry.
	Sync() error
	// Reserve makes sure that writing [off, off+n) needs no more room on the
	// disk, without changing the length. ErrNoSpace changes nothing. Where the
	// system cannot do it, it does nothing.
	Reserve(off, n int64) error
}

// LockedError is returned when a lock is held. It matches ErrLocked.
type LockedError struct {
	Name  string // the lock file
	Owner string // its text: who holds it; empty if unknown
}

func (e *LockedError) Error() string {
	owner := e.Owner
	if owner == "" {
		owner = "one that did not leave its name, as commands that read"
	}
	return e.Name + ": " + ErrLocked.Error() + ": " + owner
}

// Is reports whether target is ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// CheckName returns an error wrapping fs.ErrInvalid unless name is a proper
// name of a disk. Every disk checks every name with it.
func CheckName(op, name string) error {
	if !fs.ValidPath(name) || strings.IndexByte(name, 0) >= 0 {
		return pathError(op, name, fs.ErrInvalid)
	}
	return nil
}

// CheckEntry is CheckName for calls that change a name: "." is refused too.
func CheckEntry(op, name string) error {
	if name == "." {
		return pathError(op, name, fs.ErrInvalid)
	}
	return CheckName(op, name)
}

type folderError struct{}

func (folderError) Error() string { return "a directory stands where a file is wanted; move it away" }

// Is makes errors.Is(err, ErrNotRegular) hold.
func (folderError) Is(target error) bool { return target == ErrNotRegular }

// pathError wraps err with the call and the name.
func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// pairError is pathError for calls with two names.
func pairError(op, old, new string, err error) error {
	return &fs.PathError{Op: op, Path: old + " to " + new, Err: err}
}

// split returns the folder and the last element of a checked name.
func split(name string) (dir, base string) { return path.Dir(name), path.Base(name) }

// SyncFailer is implemented by disks and files that simulate failing syncs.
// Fault calls it instead of the sync, so that a recording disk knows that what
// was written so far stays optional for ever.
type SyncFailer interface {
	// FailSync notes a failed Sync of this file (name is ignored), or a failed
	// SyncDir of the disk's folder with that name.
	FailSync(name string)
}
