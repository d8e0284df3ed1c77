package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"

	"graven"
)

// Peer is a store under measurement, open in a directory. Any number of goroutines
// may use it, except for Close, which is last.
type Peer interface {
	// Commit writes the entries as one transaction and returns when they are
	// durable. At most batchSize entries; the peer may keep the slices.
	Commit(ctx context.Context, entries []Entry) error
	// WaitReadable returns when Get finds all that was committed before the call.
	WaitReadable(ctx context.Context) error
	// Get returns the newest value of a key, or errAbsent.
	Get(ctx context.Context, key []byte) ([]byte, error)
	// Find is Get as far as what is known of the key's newest version: its value is
	// named, and not read. It returns nil or errAbsent.
	Find(ctx context.Context, key []byte) error
	// VerifiedGet is Get with a proof, which is made and then checked as a client
	// would who trusts the store with nothing; errNoProofs if there are none. Only
	// entries from before the last WaitReadable may be asked for.
	VerifiedGet(ctx context.Context, key []byte) ([]byte, error)
	// Refused is how often a commit was refused under load and had to be repeated.
	Refused() uint64
	// Close ends the store cleanly.
	Close() error
}

var (
	errAbsent   = errors.New("the key is absent")
	errNoProofs = errors.New("this peer makes no proofs")
)

// The names of the peers. Ratios are of the first that was asked for to each other.
const (
	gravenName = "graven"
	immudbName = "immudb"
	rawName    = "raw"
	// wideName is Graven with as much memory as immudb takes for a million entries.
	wideName = "graven-384M"
)

func allPeers() []string { return append(defaultPeers(), wideName) }

// defaultPeers are measured unless others are asked for: all with their defaults.
func defaultPeers() []string { return []string{gravenName, immudbName, rawName} }

// openPeer opens the store in dir, or makes it there if the directory is missing.
func openPeer(ctx context.Context, name, dir string) (Peer, error) {
	switch name {
	case gravenName:
		return openGraven(ctx, dir, graven.Options{})
	case wideName:
		return openGraven(ctx, dir, graven.Options{CacheBytes: 384 << 20})
	case immudbName:
		return openImmudb(dir)
	case rawName:
		return openRaw(dir)
	}
	return nil, fmt.Errorf("no peer %q: there are %v", name, allPeers())
}

// makesProofs says whether there is anything to measure for the verify workload.
func makesProofs(name string) bool {
	return slices.Contains([]string{gravenName, wideName, immudbName}, name)
}

// diskBytes is what the files below dir occupy: blocks of the file system, not
// lengths, so that reserved room counts and holes do not.
func diskBytes(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: this system does not tell blocks", d.Name())
		}
		sum += stat.Blocks * 512 // the unit of st_blocks, see stat(2)
		return nil
	})
	return sum, err
}
