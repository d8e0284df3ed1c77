// Package local opens Graven stores in directories of this machine. It is what
// an embedding program calls, and the only place where the hall meets the
// operating system: files (through os.Root, so that nothing outside the
// directory can be reached), the clock, randomness.
//
//	store, err := local.Create(ctx, "ledger", graven.CreateOptions{}, graven.Options{})
//	...
//	vault, err := store.Vault(ctx, "main")
//	tx := &graven.Tx{Actor: "me"}
//	tx.Put([]byte("greeting"), graven.Bytes([]byte("hello")), graven.PutOptions{})
//	receipt, err := vault.Commit(ctx, tx)
//	...
//	err = store.Close()
package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"graven"
	"graven/internal/fsx/osfs"
)

// Create makes a store in dir, which is created if it is missing and must be
// empty, and opens it. Close it after use.
func Create(ctx context.Context, dir string, c graven.CreateOptions, o graven.Options) (*graven.Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	h, err := host(dir)
	if err != nil {
		return nil, err
	}
	s, err := graven.Create(ctx, h, c, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return s, nil
}

// Open opens the store in dir. Close it after use. The error is
// [graven.ErrNoStore] if there is none, and [graven.ErrLocked] if another
// process owns it for longer than Options.LockWait, which is zero unless it is set.
func Open(ctx context.Context, dir string, o graven.Options) (*graven.Store, error) {
	h, err := host(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = graven.ErrNoStore
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	s, err := graven.Open(ctx, h, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return s, nil
}

// OpenForSync opens the store in dir to sync mirrors into it, or makes one without
// vaults; dir is created if it is missing, and must hold a store or nothing.
func OpenForSync(ctx context.Context, dir string, o graven.Options) (*graven.Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	h, err := host(dir)
	if err != nil {
		return nil, err
	}
	s, err := graven.OpenForSync(ctx, h, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return s, nil
}

// host lends the hall what it needs of this machine.
func host(dir string) (graven.Host, error) {
	disk, err := osfs.Open(dir)
	if err != nil {
		return graven.Host{}, err
	}
	name, err := os.Hostname()
	if err != nil {
		name = "this host"
	}
	return graven.Host{
		Disk: disk, Now: time.Now, After: time.After, Rand: rand.Reader,
		Owner: fmt.Sprintf("process %d on %s", os.Getpid(), name),
	}, nil
}
