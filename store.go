package graven

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"graven/internal/fsx"
)

const (
	lockFile   = "lock"
	vaultsName = "vaults"
)

// Store is a directory of vaults, owned by one process at a time. It is safe
// for concurrent use.
type Store struct {
	host Host
	opts Options
	dir  fsx.Dir
	lock io.Closer // nil if another process holds the store, or locking is impossible

	mu     sync.Mutex // guards vaults and closed
	vaults map[string]*Vault
	closed bool

	checks sync.RWMutex // held by checks; alone by one that lets go of an open vault
}

// Create makes a store with its first vault, and opens it.
func Create(ctx context.Context, host Host, c CreateOptions, o Options) (*Store, error) {
	s := newStore(host, o)
	if err := s.vacant(ctx); err != nil {
		return nil, err
	}
	if err := s.takeLock(ctx); err != nil {
		return nil, err
	}
	if err := s.dir.Sweep(vaultsName); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if _, err := s.CreateVault(ctx, c); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// vacant refuses a directory that holds anything but what a crash in Create leaves.
func (s *Store) vacant(ctx context.Context) error {
	names, err := s.Vaults(ctx)
	if err == nil && len(names) > 0 {
		return fmt.Errorf("%w, with vault %s; use it, or choose another directory", ErrStoreExists, strings.Join(names, ", "))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := s.host.Disk.ReadDir(".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name != lockFile && e.Name != vaultsName && !strings.HasPrefix(e.Name, ".") {
			return fmt.Errorf("%w: it holds %q", ErrNotEmpty, e.Name)
		}
	}
	return nil
}

// Open opens a store. Vaults are opened when they are asked for.
func Open(ctx context.Context, host Host, o Options) (*Store, error) {
	if info, err := host.Disk.Stat(vaultsName); errors.Is(err, fs.ErrNotExist) || err == nil && !info.Dir {
		return nil, ErrNoStore
	} else if err != nil {
		return nil, err
	}
	s := newStore(host, o)
	if o.ReadOnly {
		return s, s.shareLock()
	}
	if err := s.takeLock(ctx); err != nil {
		return nil, err
	}
	if err := s.dir.Sweep(vaultsName); err != nil { // vaults whose creation a crash cut off
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func newStore(host Host, o Options) *Store {
	return &Store{
		host: host, opts: o.withDefaults(), vaults: map[string]*Vault{},
		dir: fsx.NewDir(host.Disk, fsx.StoreRules()),
	}
}

// takeLock makes this process the owner, waiting up to LockWait.
func (s *Store) takeLock(ctx context.Context) error {
	var waited time.Duration
	for {
		lock, err := s.host.Disk.Lock(lockFile, s.host.Owner)
		if err == nil {
			s.lock = lock
			return nil
		}
		if !errors.Is(err, ErrLocked) || waited >= s.opts.LockWait || s.host.After == nil {
			return err
		}
		const pause = 20 * time.Millisecond
		select {
		case <-s.host.After(pause):
			waited += pause
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// shareLock keeps writers out while this process reads. If a writer is at work,
// or the place cannot be written, the store goes without: published
// checkpoints are a firm ground even then.
func (s *Store) shareLock() error {
	lock, err := s.host.Disk.LockShared(lockFile)
	switch {
	case err == nil:
		s.lock = lock
	case errors.Is(err, ErrLocked), errors.Is(err, fs.ErrPermission), errors.Is(err, fsx.ErrReadOnly), errors.Is(err, fs.ErrNotExist):
	default:
		return err
	}
	return nil
}

var vaultName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// Vaults lists the store's vaults by name.
func (s *Store) Vaults(context.Context) ([]string, error) {
	entries, err := s.dir.ReadDir(vaultsName)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Dir && vaultName.MatchString(e.Name) {
			names = append(names, e.Name)
		}
	}
	return names, nil
}

// checkVault says whether a vault of that name exists.
func (s *Store) checkVault(ctx context.Context, name string) error {
	names, err := s.Vaults(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(names, name) {
		return fmt.Errorf("vault %q: %w; this store has: %s", name, ErrNoVault, strings.Join(names, ", "))
	}
	return nil
}

// Vault opens a vault, or returns it if it is open already. An unknown name is
// [ErrNoVault]; nothing is created.
func (s *Store) Vault(ctx context.Context, name string) (*Vault, error) {
	v, _, err := s.vault(ctx, name)
	return v, err
}

// vault is Vault, and says whether it has opened it.
func (s *Store) vault(ctx context.Context, name string) (v *Vault, opened bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, ErrClosed
	}
	if v, ok := s.vaults[name]; ok {
		return v, false, nil
	}
	if err := s.checkVault(ctx, name); err != nil {
		return nil, false, err
	}
	if v, err = s.open(ctx, name); err != nil {
		return nil, false, ofVault(name, err)
	}
	s.vaults[name] = v
	return v, true, nil
}

// CreateVault makes a vault and opens it.
func (s *Store) CreateVault(ctx context.Context, c CreateOptions) (*Vault, error) {
	if s.opts.ReadOnly {
		return nil, fmt.Errorf("store: %w", ErrReadOnly)
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if c.Vault == "" {
		c.Vault = "main"
	}
	if !vaultName.MatchString(c.Vault) {
		return nil, fmt.Errorf("vault name %q: %w: a name is 1-63 of a-z, 0-9, '.', '_', '-', starting with a letter or digit", c.Vault, ErrInvalid)
	}
	if err := s.make(c); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = ErrVaultExists
		}
		return nil, ofVault(c.Vault, err)
	}
	return s.Vault(ctx, c.Vault)
}

// vaultDir is a vault's folder under its own rules.
func (s *Store) vaultDir(name string) fsx.Dir {
	return fsx.NewDir(fsx.Under(s.host.Disk, vaultsName+"/"+name), fsx.VaultRules())
}

// Close closes the store's vaults, which publishes their last checkpoints, and
// lets go of the lock.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, v := range s.vaults {
		errs = append(errs, v.close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	return errors.Join(errs...)
}
