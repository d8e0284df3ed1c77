package graven

import (
	"errors"
	"io"
	"io/fs"
	"math"

	"graven/internal/fsx"
)

// BackupIn reads a backup in a folder: the manifest, and of each file as much as
// it says. What else is there is passed over.
func BackupIn(disk fsx.Disk) BackupReader { return &backupFolder{dir: fsx.NewDir(disk, nil)} }

type backupFolder struct {
	dir  fsx.Dir
	m    *manifest
	next int // file
	f    fsx.File
}

// Next implements [BackupReader].
func (b *backupFolder) Next() (string, io.Reader, error) {
	if b.f != nil {
		if err := b.f.Close(); err != nil {
			return "", nil, err
		}
		b.f = nil
	}
	if b.m == nil {
		in, err := b.dir.Open(manifestFile)
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil, errNoBackup
		}
		if err != nil {
			return "", nil, err
		}
		b.f = in // a backup under way may replace the file, but not this one
		b.m, err = readManifest(io.NewSectionReader(in, 0, math.MaxInt64))
		return manifestFile, io.NewSectionReader(in, 0, math.MaxInt64), err
	}
	for b.next < len(b.m.files) {
		f := b.m.files[b.next]
		b.next++
		name := f.path()
		in, err := b.dir.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the restore names it
		}
		if err != nil {
			return "", nil, err
		}
		b.f = in
		size, err := in.Size()
		if f.grows {
			size = min(size, f.size)
		}
		return name, io.NewSectionReader(in, 0, size), err
	}
	return "", nil, io.EOF
}
