package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"graven"
	"graven/internal/fsx/osfs"
)

// Backup backs a vault up into a directory, which is created if it is missing
// and must be empty or hold backups of this vault; see [graven.Store.Backup].
func Backup(ctx context.Context, s *graven.Store, vault, dir string, o graven.BackupOptions) (r *graven.BackupReport, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	err = within(dir, func(d *osfs.Disk) error {
		r, err = s.Backup(ctx, vault, d, o)
		return err
	})
	return r, err
}

// Restore restores a vault into a store from a backup in a directory; see
// [graven.Store.Restore].
func Restore(ctx context.Context, s *graven.Store, dir string, o graven.RestoreOptions) (r *graven.RestoreReport, err error) {
	err = readFrom(dir, func(d *osfs.Disk) error {
		r, err = s.Restore(ctx, graven.BackupIn(d), o)
		return err
	})
	return r, err
}

// Repair replaces damaged files of a vault with those of a backup of it, or of
// another copy of the vault's folder, in a directory; see [graven.Store.Repair].
func Repair(ctx context.Context, s *graven.Store, vault, dir string, o graven.RepairOptions) (r *graven.RepairReport, err error) {
	err = readFrom(dir, func(d *osfs.Disk) error {
		r, err = s.Repair(ctx, vault, d, o)
		return err
	})
	return r, err
}

// OpenForRestore opens the store in dir to restore a vault into. A directory that
// is missing or empty becomes a store.
func OpenForRestore(ctx context.Context, dir string, o graven.Options) (*graven.Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	h, err := host(dir)
	if err != nil {
		return nil, err
	}
	s, err := graven.OpenForRestore(ctx, h, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return s, nil
}

// readFrom runs fn with a directory that is only read: a disk that is full is another.
func readFrom(dir string, fn func(*osfs.Disk) error) error {
	var full error
	err := within(dir, func(d *osfs.Disk) error {
		err := fn(d)
		if errors.Is(err, graven.ErrFull) {
			full = err
			return nil
		}
		return err
	})
	if full != nil {
		return errors.Join(full, err)
	}
	return err
}

// within runs fn with a directory.
func within(dir string, fn func(*osfs.Disk) error) error {
	d, err := osfs.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: there is no such directory: %w", dir, graven.ErrNotFound, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if err := fn(d); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", dir, err), d.Close())
	}
	return d.Close()
}
