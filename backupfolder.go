package graven

import (
	"bytes"
	"errors"
	"io"
	"io/fs"

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
		text, err := b.dir.ReadFile(manifestFile, maxManifest)
		if errors.Is(err, fs.ErrNotExist) {
			err = errNoBackup
		}
		if err == nil {
			b.m, err = parseManifest(text)
		}
		return manifestFile, bytes.NewReader(text), err
	}
	for b.next < len(b.m.files) {
		f := b.m.files[b.next]
		b.next++
		in, err := b.dir.Open(f.name)
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
		return f.name, io.NewSectionReader(in, 0, size), err
	}
	return "", nil, io.EOF
}
