package graven

import (
	"io"
	"log/slog"
	"time"

	"graven/internal/fsx"
	"graven/record"
)

// Host is what the hall may touch: nothing else reaches it from outside. The
// package graven/local makes one for a directory of this machine.
type Host struct {
	// Disk is the store's directory.
	Disk fsx.Disk
	// Now tells the time. It may stand still or jump: nothing is ordered by it.
	Now func() time.Time
	// After returns a channel that receives once, d later. Nil: nothing happens
	// on its own; checkpoints are published only on Publish and Close.
	After func(d time.Duration) <-chan time.Time
	// Rand gives vault ids, keys and WAL salts. It must be fit for keys.
	Rand io.Reader
	// Owner names this process in the lock file, for the people it keeps out.
	Owner string
}

// Options are a store's settings. The zero value is useful.
type Options struct {
	// ReadOnly opens for reading. If no process holds the store, vaults are
	// recovered if that is needed and read whole; if one does, a vault is seen
	// as its newest published checkpoint says.
	ReadOnly bool
	// LockWait is how long Open waits for a store that another process holds.
	LockWait time.Duration
	// PublishEvery is the longest time between a commit and the published
	// checkpoint that covers it. Default: one second.
	PublishEvery time.Duration
	// BatchOps and BatchBytes close a group with the transaction that reaches
	// one of them. Defaults: 4,096 ops, 8 MiB.
	BatchOps   int
	BatchBytes int
	// Queue is how many transactions may wait. Default: 65,536.
	Queue int
	// CacheBytes is the memory, in bytes, for pages of the index and of the state, half each,
	// of each open vault. Default: 128 MiB. Reads are fastest when what they want fits:
	// about 130 bytes a key and value in the index, 180 a key in the state, for proofs.
	CacheBytes int64
	// SnapshotCommits and SnapshotEvery say when a vault makes a snapshot by itself:
	// so many commits after the last one, or so long by the times of the records, if
	// there was a transaction since. Defaults: 10,000 and 5 minutes; below 0: never.
	SnapshotCommits int
	SnapshotEvery   time.Duration
	// SnapshotKeep is of how many of these snapshots, the newest, the state pages and
	// the lists of pinned files are kept. Default: 2. It is fewer while the pages that
	// they alone need take more than an eighth of those of the newest state, and more
	// than 4 MiB. Those that were asked for keep theirs until they are dropped.
	SnapshotKeep int
	// ScrubPeriod is the time in which an open vault is read again as a whole, to
	// find what has rotted. Default: 7 days. Negative: it is not.
	ScrubPeriod time.Duration
	// ScrubRate bounds what that reads, in bytes a second. Default: 8 MiB.
	ScrubRate int64
	// Logger receives what an operator should know. Nil: nothing is logged.
	Logger *slog.Logger

	// walBytes is the size of a write-ahead log file: 8 MiB, less in tests. It
	// may not grow while a vault lives.
	walBytes int64
	// stateBytes is how many bytes of nodes, about, the committer's state may hold
	// beyond its pages before they are written: 32 MiB, less in tests.
	stateBytes int64
	// closePuts is how many puts behind the last pages make a clean end write
	// pages: 1,024, less in tests. Fewer are not worth the syncs.
	closePuts int
	// snapshotBytes is how much the pages for the sake of snapshots may take in any
	// case: 4 MiB, less in tests.
	snapshotBytes uint64
	// scripted vaults have no goroutines of their own: tests drive each step.
	scripted bool
}

func (o Options) withDefaults() Options {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&o.BatchOps, 4096)
	set(&o.BatchBytes, 8<<20)
	o.BatchBytes = min(o.BatchBytes, 512<<20) // a group's frame in the WAL stays below its limit
	set(&o.Queue, 65536)
	if o.CacheBytes <= 0 {
		o.CacheBytes = 128 << 20
	}
	if o.PublishEvery <= 0 {
		o.PublishEvery = time.Second
	}
	if o.ScrubPeriod == 0 {
		o.ScrubPeriod = 7 * 24 * time.Hour
	}
	if o.ScrubRate <= 0 {
		o.ScrubRate = 8 << 20
	}
	if o.walBytes <= 0 {
		o.walBytes = 8 << 20
	}
	if o.stateBytes <= 0 {
		o.stateBytes = 32 << 20
	}
	set(&o.closePuts, 1024)
	if o.SnapshotCommits == 0 {
		o.SnapshotCommits = 10_000
	}
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = 5 * time.Minute
	}
	set(&o.SnapshotKeep, 2)
	if o.snapshotBytes == 0 {
		o.snapshotBytes = 4 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// CreateOptions describe a new vault. The zero value makes the vault "main".
type CreateOptions struct {
	Vault  string // name; default "main"
	Origin string // C2SP origin of the log; default "graven.local/<vault id>"
	Region string // optional, recorded in genesis

	// genesis lets tests set what is fixed at creation.
	genesis func(*record.Genesis)
}
