package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/internal/index"
	"graven/internal/journal"
	"graven/internal/statestore"
	"graven/internal/tilestore"
	"graven/internal/wal"
	"graven/merkle"
	"graven/proof"
	"graven/record"
	"graven/state"
)

// Vault is one ledger. It is safe for concurrent use: any number of goroutines
// may commit and read.
//
// Each field names its owner: "fixed" does not change after the vault is open;
// "committer" belongs to the commit loop; "persist" to the one persist that
// runs at a time; "settle" to whoever holds settling; rooms below (journal,
// blocks, tiles, index) have one writer and any number of readers.
type Vault struct {
	name      string          // fixed
	host      Host            // fixed
	opts      Options         // fixed
	dir       fsx.Dir         // fixed
	genesis   *record.Genesis // fixed
	vkeys     []string        // fixed: log, cosigner
	readOnly  string          // fixed: why nothing can be written; empty if something can
	mirror    string          // fixed: what it is a mirror of, for people; empty: it is none
	following bool            // fixed: a mirror, open for a sync, which alone adds to it
	longer    bool            // fixed: it is read while a writer or a sync is at work behind the checkpoint, or was cut off there
	recovered []string        // fixed: what the open put right, in plain words
	found     []string        // fixed: what it met and left as it is
	remade    []Finding       // fixed: derived files that it made again, those that a check asks for
	walLost   bool            // fixed: it was not closed cleanly and has no WAL
	adopting  *adoption       // fixed: it is opened to be adopted; nil otherwise
	audit     *audit          // fixed: what a check wants of a replay; nil: the first missing artifact ends it
	lost      bool            // fixed: a sealed block could not be loaded
	mentioned block.Mark      // fixed: what had entered the blocks when the vault was opened
	first     *policy         // fixed: the policy of genesis
	restoring bool            // fixed: the open writes the WAL's groups again
	signer    signer          // fixed: nil if read-only
	author    messageSigner   // fixed: the same key, for documents
	cosigner  *proof.Cosigner // fixed: nil if read-only, or its key is not here

	authority *record.Authority // fixed once the log is replayed; nil: one that this program does not know

	journal  *journal.Log
	blocks   *block.Store
	tiles    *tilestore.Store
	index    *index.Index
	pages    *statestore.Store
	wal      Persist         // nil if read-only
	indexed  uint64          // fixed: the records that segments covered when the vault was opened
	runs     uint64          // fixed: as many runs
	base     *statestore.Set // fixed: the state pages that the open began with; nil: none
	stumbled uint64          // fixed: the size of the tree at which it could not begin; 0 if it could
	entry    start           // fixed: where the open began

	tip        tip                       // committer
	recent     *recent                   // committer
	pending    map[artifactKey]struct{}  // committer: on their way into blocks
	settled    atomic.Pointer[View]      // the newest that settle has published; stored by settle
	ground     atomic.Pointer[ground]    // from the keeper to the committer
	paged      atomic.Pointer[state.Map] // the newest pages that became a ground; nil: the one of the open holds
	markedOpen bool                      // persist: meta/host/clean says open
	runMark    block.Mark                // persist: what had entered the blocks when the newest ended run ended

	keeping    sync.Mutex        // held while keeping
	runsMu     sync.Mutex        // guards runsEnded
	runsEnded  []*endedRun       // runs whose segments are not made yet
	segmentsTo map[uint64]uint64 // guarded by sealsMu: of each level, the number behind the newest that a record tells of
	segments   []record.Segment  // guarded by sealsMu: made, waiting for the next group to record them

	filing    sync.Mutex               // held by whoever writes or syncs the log files
	settling  sync.Mutex               // held while settling
	sealing   map[block.OpenBlock]bool // settle: blocks that were sealed since the open
	published atomic.Uint64            // size of the published checkpoint; written by settle
	cached    uint64                   // settle: number of the policy in meta/policy; 0 too if nobody has looked
	sealsMu   sync.Mutex               // guards seals
	seals     []record.Block           // sealed, waiting for the next group to record them
	unsealed  map[string]unsealed      // guarded by sealsMu: by class; stored by settle

	condemned condemned  // derived files that were found damaged
	mending   mending    // for those of the index
	checking  sync.Mutex // held by the check that has the scratch folder
	scrub     *scrubber  // fixed

	// Of a mirror that is followed, whose checkpoint comes from its source.
	shown    uint64               // size of the published checkpoint; published says what is synced
	arriving map[record.ID][]byte // artifacts of the group under way, which are in no block yet

	snapping gate                 // held while a snapshot is made or dropped; taken before settling and keeping
	pinsMu   sync.Mutex           // guards pins
	pins     []pin                // the snapshots whose pages are kept, by number
	pinsGone []pin                // open: those whose pages were gone
	lastSnap snapMark             // guarded by snapping: what the policy counts from
	sums     map[string]record.ID // guarded by snapping: SHA-256 of derived files, which do not change

	past     pastStates            // for proofs about the past
	ended    atomic.Bool           // set by close
	recorded []recordedSeal        // guarded by sealsMu: seals whose record is durable, waiting for a checkpoint over it
	view     atomic.Pointer[View]  // newest durable position; stored by persist
	poison   atomic.Pointer[error] // set once, by the first failed write

	queue       chan *request
	dirty       chan struct{}  // buffered 1: something is not published yet
	covered     chan struct{}  // buffered 1: more was published since the keeper looked
	stop        chan struct{}  // closed by close
	stopped     chan struct{}  // closed when the commit loop has ended
	settlerGone chan struct{}  // closed when the settler has ended
	sealed      chan struct{}  // buffered 1: there may be segments to merge
	keepers     sync.WaitGroup // keeper and merger
	stopKeeping func()         // ends what the keeper is at
}

// signer signs checkpoints with the log's key.
type signer interface {
	SignCheckpoint(proof.Checkpoint) ([]byte, error)
	VKey() string
}

// messageSigner signs the records of documents.
type messageSigner interface {
	Sign(message []byte) (record.Sig, error)
}

// Name is the vault's name in its store.
func (v *Vault) Name() string { return v.name }

// ID is the vault's 128 random bits.
func (v *Vault) ID() record.VaultID { return v.genesis.Vault }

// Origin is the C2SP origin of the vault's log.
func (v *Vault) Origin() string { return v.genesis.Origin }

// VKeys are the verifier keys: the log's Ed25519 key first, then the ML-DSA-44 cosigner's.
func (v *Vault) VKeys() []string { return append([]string(nil), v.vkeys...) }

// className is the class that a tx record without a class means.
func (v *Vault) className(class string) string {
	if class == "" {
		return v.genesis.Class
	}
	return class
}

// start begins to take commits.
func (v *Vault) start() {
	v.queue = make(chan *request, v.opts.Queue)
	v.dirty = make(chan struct{}, 1)
	v.stop = make(chan struct{})
	v.stopped = make(chan struct{})
	v.settlerGone = make(chan struct{})
	v.covered = make(chan struct{}, 1)
	v.sealed = make(chan struct{}, 1)
	ctx := v.mending.ctx
	v.scrub = newScrubber(v)
	if v.readOnly != "" || v.opts.scripted || v.following {
		close(v.stopped)
		close(v.settlerGone)
		close(v.scrub.gone)
		return
	}
	go v.commitLoop()
	v.keepers.Add(2)
	go v.keepLoop(ctx)
	go v.mergeLoop(ctx)
	if v.scrub.runs() {
		go v.scrub.loop(ctx)
	} else {
		close(v.scrub.gone)
	}
	if v.host.After == nil {
		close(v.settlerGone)
		return
	}
	go v.settleLoop()
}

// Publish syncs everything that is acknowledged and publishes the checkpoint
// over it. It happens by itself within Options.PublishEvery.
func (v *Vault) Publish() error {
	if err := v.writable(); err != nil {
		return err
	}
	return v.settle()
}

// close ends the vault: it finishes what was taken, settles, and says on disk
// that the log is whole without the WAL.
func (v *Vault) close() error {
	close(v.stop)
	v.stopKeeping()
	<-v.stopped
	<-v.settlerGone
	v.keepers.Wait()
	<-v.scrub.gone
	v.snapping.Lock() // one under way ends first: the committer is gone, so it ends soon
	defer v.snapping.Unlock()
	var errs []error
	if v.wal != nil {
		if v.writable() == nil {
			errs = append(errs, v.closeClean())
		}
	}
	v.settling.Lock() // a Publish under way ends first, a later one finds the vault closed
	defer v.settling.Unlock()
	v.ended.Store(true)
	return errors.Join(append(errs, v.closeRooms())...)
}

// closeClean settles and marks the vault clean. If it fails, the next open recovers.
func (v *Vault) closeClean() error {
	if err := v.settle(); err != nil {
		return err
	}
	if err := v.keepAtEnd(); err != nil {
		v.opts.Logger.Error("index and state on disk are behind; the next open takes longer", "vault", v.name, "err", err)
	}
	if err := v.retainPins(); err != nil {
		v.opts.Logger.Error("old snapshots still hold pages", "vault", v.name, "err", err)
	}
	if n, clean := readClean(v.dir); clean && n == v.View().Size() {
		return nil
	}
	if v.following && v.shown != v.View().Size() {
		return nil // the checkpoint is of less: the next sync goes on, and readers are told
	}
	if err := v.dir.Replace(cleanFile, fmt.Appendf(nil, "clean %d\n", v.View().Size())); err != nil {
		return err
	}
	if err := errors.Join(v.wal.Shrink(), v.pages.Finish()); err != nil {
		v.opts.Logger.Error("not all room was given back", "vault", v.name, "err", err)
	}
	return nil
}

// Stage reads a value for a transaction of the default class: see StageFor.
func (v *Vault) Stage(ctx context.Context, r io.Reader) (Content, error) {
	return v.StageFor(ctx, r, "")
}

// StageFor reads a value to the end of r. A value up to the vault's value limit
// stays in memory and travels with its transaction; a longer one goes to a
// chunk block on disk, synced, with the memory of one chunk. Use the Content in
// one transaction of that class, or Discard it.
func (v *Vault) StageFor(ctx context.Context, r io.Reader, class string) (Content, error) {
	if err := v.writable(); err != nil {
		return Content{}, err
	}
	head, err := io.ReadAll(io.LimitReader(r, int64(v.genesis.ValueLimit)+1))
	if err != nil {
		return Content{}, err
	}
	if uint64(len(head)) <= v.genesis.ValueLimit {
		return Bytes(head), nil
	}
	up, err := v.upload(ctx, io.MultiReader(bytes.NewReader(head), r), v.className(class))
	if err != nil {
		return Content{}, err
	}
	return Content{id: up.Whole, size: up.Size, upload: up, vault: v, use: &use{}}, nil
}

func (v *Vault) upload(ctx context.Context, r io.Reader, class string) (*block.Uploaded, error) {
	full := func(err error) error {
		if errors.Is(err, fsx.ErrNoSpace) {
			return fmt.Errorf("vault %q: %w: staging a value: %w", v.name, ErrFull, err)
		}
		return err
	}
	up, err := v.blocks.NewUpload(class, v.genesis.ChunkSize)
	if err != nil {
		return nil, full(err)
	}
	buf := make([]byte, 256<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := up.Write(buf[:n]); err != nil {
				return nil, errors.Join(full(err), up.Abort())
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, errors.Join(err, up.Abort())
		}
	}
	done, err := up.Finish()
	if err != nil {
		return nil, errors.Join(full(err), up.Abort())
	}
	return &done, nil
}

// Discard gives up a staged value. A transaction that is on its way, or durable,
// keeps it; calling it again does nothing.
func (c Content) Discard() {
	if c.use != nil && c.use.drop() {
		c.remove()
	}
}

// heal looks, before a transaction is queued, at values that the vault holds
// already: a hit is read and hashed again before anything relies on it, and a
// rotten one gets a second copy. What is not there it notes in the request.
func (v *Vault) heal(r *request) error {
	r.forgotten = v.blocks.Forgotten()
	r.absent = make([]bool, len(r.contents))
	for i := range r.contents {
		c := &r.contents[i]
		if c.bytes == nil {
			continue
		}
		ref, ok, err := v.blocks.Lookup(v.className(r.class), c.id)
		if err != nil {
			return v.damaged(err)
		}
		if !ok {
			r.absent[i] = true
			continue
		}
		if _, err := v.blocks.Read(ref, c.id); err == nil {
			continue
		} else if !errors.Is(err, block.ErrDamaged) {
			return v.damaged(err)
		}
		if err := v.blocks.WriteHealed(c.id, c.bytes); err != nil {
			return err
		}
		v.opts.Logger.Warn("a damaged artifact was healed from a new write of the same bytes", "vault", v.name, "id", c.id)
	}
	return nil
}

// Status is what an operator wants to know of a vault at a glance.
type Status struct {
	Name, Vault, Origin  string
	Size                 uint64 // records
	Published            uint64 // size of the published checkpoint
	Height, Epoch        uint64 // of the newest commit
	Root, State          merkle.Hash
	Keys, Live, Versions uint64 // keys ever written, keys that have a value, versions
	Artifacts            uint64
	LogBytes, BlockBytes int64
	Time                 time.Time // of the newest record
	Writable             bool
	Why                  string   // why it is not writable
	Mirror               string   // of what it is a mirror; empty: of nothing
	Recovered            []string // what the open put right
	Notes                []string // what it met and left as it is
	Scrub                ScrubStatus
}

// Status describes the vault now.
func (v *Vault) Status() Status {
	w := v.View()
	at, _ := w.Time()
	artifacts, blockBytes := v.blocks.Stats()
	st := Status{
		Name: v.name, Vault: v.genesis.Vault.String(), Origin: v.genesis.Origin,
		Size: w.head.Size, Published: v.published.Load(), Height: w.height - 1, Epoch: w.epoch,
		Root: w.head.Root, State: w.state.Root(), Keys: w.state.Len(), Live: w.state.Live(), Versions: w.versions,
		Artifacts: artifacts, LogBytes: v.journal.Bytes(), BlockBytes: blockBytes, Time: at,
		Writable: true, Mirror: v.mirror, Recovered: v.recovered, Notes: v.found,
		Scrub: v.scrub.status(),
	}
	if err := v.writable(); err != nil {
		st.Writable, st.Why = false, err.Error()
	}
	return st
}

// damaged makes an error of a lower room one of the hall's. Derived files that are
// damaged are noted, to be made again.
func (v *Vault) damaged(err error) error {
	if err == nil || errors.Is(err, ErrDamaged) {
		return err
	}
	v.condemn(err)
	return v.wayOut(wrapDamage(err))
}

// wrapDamage marks the rooms' reports of damage as [ErrDamaged]. What this process may
// not read may be whole.
func wrapDamage(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	if errors.Is(err, block.ErrUnknownVersion) || errors.Is(err, wal.ErrUnknownVersion) || errors.Is(err, record.ErrUnknownVersion) {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	for _, damage := range []error{
		block.ErrDamaged, block.ErrMissing, block.ErrNotFound, block.ErrMismatch, block.ErrWrongVault, block.ErrForeign, block.ErrConflict,
		journal.ErrDamaged, journal.ErrGap, journal.ErrForeignFile, journal.ErrConflict, tilestore.ErrDamaged,
		index.ErrDamaged, state.ErrPage, statestore.ErrDamaged,
		wal.ErrForeignVault, wal.ErrForeignFile, wal.ErrMissing, wal.ErrLength, wal.ErrTwins,
		fs.ErrNotExist, fsx.ErrNotRegular, fsx.ErrNotFolder, // of a name that the vault must have
	} {
		if errors.Is(err, damage) {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return err
}

// ofVault says of which vault an error is, unless it does so already.
func ofVault(name string, err error) error {
	prefix := fmt.Sprintf("vault %q: ", name)
	if strings.HasPrefix(err.Error(), prefix) {
		return err
	}
	return fmt.Errorf("%s%w", prefix, err)
}

// leafDamage says where the bytes lie that are not the leaf they should be.
func (v *Vault) leafDamage(seq uint64, want merkle.Hash, line []byte) error {
	at, err := v.journal.Position(seq)
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s, offset %d: record %d has leaf hash %v, the tree says %v",
		ErrDamaged, logName(at.File), at.Offset, seq, merkle.LeafHash(line), want)
}

// keyText writes a key for people, quoted.
func keyText(key []byte) string { return strconv.Quote(string(key)) }
