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

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/internal/index"
	"graven/internal/journal"
	"graven/internal/tilestore"
	"graven/internal/wal"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

// open opens one vault in the mode that the store's lock allows.
func (s *Store) open(ctx context.Context, name string) (*Vault, error) {
	dir := s.vaultDir(name)
	if s.opts.ReadOnly && s.lock != nil {
		if err := s.recoverFirst(ctx, name, dir); err != nil {
			return nil, err
		}
	}
	mirror, err := readMirror(dir)
	if err != nil {
		return nil, err
	}
	o := s.opts
	var put []string // right, before it was opened for reading
	if mirror != "" && !o.ReadOnly {
		if put, err = s.recoverMirror(name); err != nil {
			return nil, err
		}
		o.ReadOnly = true
	}
	// Beside a writer an open block may be sealed, and its open file gone,
	// between the moments when its name and its record are read. Then the next
	// checkpoint knows of it.
	tries := 1
	if s.lock == nil {
		tries = 4
	}
	for {
		v := s.newVault(name, o)
		v.mirror, v.recovered = mirror, put
		err := v.open(s.lock != nil)
		if err == nil {
			v.start()
			return v, nil
		}
		err = errors.Join(v.damaged(err), v.closeRooms())
		if tries--; tries == 0 || ctx.Err() != nil {
			return nil, err
		}
	}
}

// newVault is a vault that is not open yet.
func (s *Store) newVault(name string, o Options) *Vault {
	return &Vault{name: name, host: s.host, opts: o, dir: s.vaultDir(name), sealing: map[block.OpenBlock]bool{}, unsealed: map[string]unsealed{}}
}

// recoverFirst lets a reader see what a crash left in the WAL: if no process
// holds the store and the vault was not closed cleanly, it is opened once for
// writing, which recovers it, and closed.
func (s *Store) recoverFirst(ctx context.Context, name string, dir fsx.Dir) error {
	_, err := readVKey(dir, logPub)
	if n, clean := readClean(dir); clean && checkpointSize(dir) == n && err == nil {
		return nil
	}
	if err := s.lock.Close(); err != nil {
		return err
	}
	s.lock = nil
	o := s.opts
	o.ReadOnly = false
	rw, err := Open(ctx, s.host, o)
	if err == nil {
		_, err = rw.Vault(ctx, name)
		err = errors.Join(err, rw.Close())
	}
	// What keeps this process from writing does not keep it from reading what is published.
	if err == nil || cannotWrite(err) {
		return s.shareLock()
	}
	return err
}

// cannotWrite reports whether an error says that this process may not write
// here, which keeps nobody from reading.
func cannotWrite(err error) bool {
	for _, why := range []error{ErrLocked, ErrReadOnly, ErrInvalid, ErrFull, fs.ErrPermission, fsx.ErrReadOnly, fsx.ErrNoSpace} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
}

// readClean reads meta/host/clean: the size at which the vault was closed, and
// whether it was closed at all.
func readClean(dir fsx.Dir) (size uint64, clean bool) {
	b, err := dir.ReadFile(cleanFile, 64)
	if err != nil {
		return 0, false
	}
	text, ok := strings.CutPrefix(strings.TrimSuffix(string(b), "\n"), "clean ")
	if !ok {
		return 0, false
	}
	size, err = strconv.ParseUint(text, 10, 64)
	return size, err == nil
}

const maxCheckpoint = 1 << 20

// open reads the vault's files and makes them a view. alone says that no other
// process can write meanwhile.
func (v *Vault) open(alone bool) error {
	v.mending.ctx, v.stopKeeping = context.WithCancel(context.Background())
	v.mending.tries = map[string]int{}
	genesis, err := readGenesis(v.dir)
	if err != nil {
		return err
	}
	v.genesis = genesis
	if genesis.Name != v.name {
		return fmt.Errorf("%w: this folder holds the vault %q, not %q; folders were exchanged, or one was copied, and two vaults that write under one key would be two histories", ErrDamaged, genesis.Name, v.name)
	}
	if err := v.openJournal(); err != nil {
		return err
	}
	if v.blocks, err = block.Open(v.dir.Sub("blocks"), genesis.Vault); err != nil {
		return v.damaged(err)
	}
	v.segmentsTo = map[uint64]uint64{}
	_, marked, err := readRestored(v.dir)
	if err != nil {
		return err
	}
	if v.opts.ReadOnly || marked && v.adopting == nil {
		v.opts.ReadOnly = true
		return v.openReading(alone)
	}
	return v.openWriting()
}

// openReading loads what is there and changes nothing. Beside a writer, or
// after an unclean end that could not be recovered, it stops at the published
// checkpoint: all below it is synced and can no longer change.
func (v *Vault) openReading(alone bool) error {
	v.readOnly = "it was opened for reading"
	if size, marked, err := readRestored(v.dir); err != nil {
		return err
	} else if marked {
		v.readOnly = restoredWhy(size)
	}
	if v.mirror != "" {
		v.readOnly = "it is a mirror of " + v.mirror + "; only graven sync adds to it"
	}
	head, note, err := v.readCheckpoint()
	if v.mirror != "" && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: its first sync did not come to its end; run graven sync again", ErrUnfinished)
	}
	if err != nil {
		return err
	}
	// After a clean end nothing may stand behind the checkpoint, or it is an older one.
	limit, until := head.Size, head.Size
	if n, clean := readClean(v.dir); alone && clean {
		if err := errors.Join(agree(n, head), v.walWithin(n)); err != nil {
			return err
		}
		until = noLimit
	} else if alone && v.mirror != "" {
		v.note("a sync of this mirror did not come to its end; it is read up to the published checkpoint, newer records are left out")
	} else if alone {
		v.note("it was not closed cleanly and could not be recovered; it is read up to the published checkpoint, newer records are left out")
	}
	v.longer = until != noLimit
	if err := v.openDerived(limit); err != nil {
		return err
	}
	s, tail, err := v.scan(until)
	if err == nil && until == noLimit {
		err = errors.Join(endsAt(limit, s, tail), v.wasNoLonger(s))
	}
	if err != nil {
		return err
	}
	if s.size != limit || s.next != limit {
		return fmt.Errorf("%w: the log holds %d records up to its last commit; the published checkpoint is of size %d", ErrDamaged, s.size, head.Size)
	}
	if root := s.tree.Root(); root != head.Root {
		return fmt.Errorf("%w: the first %d records of the log have root %v, the published checkpoint says %v", ErrDamaged, limit, root, head.Root)
	}
	if s, err = v.loadOrStartOver(s, false); err != nil {
		return err
	}
	own, both, err := v.splitNote(note)
	if err != nil {
		return err
	}
	v.published.Store(head.Size)
	v.view.Store(&View{
		vault: v, head: head, note: own, both: both, at: s.time, commit: s.commit, pos: head.Size - 1, state: v.tip.state,
		tree: v.tiles.Snapshot(), height: s.height, epoch: s.epoch, policy: v.tip.policy, versions: v.tip.versions, newest: true,
	})
	return nil
}

// walWithin refuses a mark of a clean end behind which the WAL holds groups: it
// is an older one. A WAL that cannot be read says nothing.
func (v *Vault) walWithin(mark uint64) error {
	if err := v.openWAL(); err != nil {
		return nil
	}
	held, err := v.survey()
	err = errors.Join(err, v.wal.Close())
	if v.wal = nil; err == nil && held.next > mark {
		return fmt.Errorf("%w: meta/host/clean says size %d, but the write-ahead log holds records up to %d; a command that writes brings them back", ErrDamaged, mark, held.next)
	}
	return nil
}

// agree holds the mark of a clean end against the published checkpoint: closing
// writes the one after the other, for the same size.
func agree(mark uint64, head proof.Checkpoint) error {
	if mark != head.Size {
		return fmt.Errorf("%w: the vault was closed at size %d, its checkpoint is of size %d; one of meta/host/clean and checkpoint is not the newest, bring it back from a copy", ErrDamaged, mark, head.Size)
	}
	return nil
}

// endsAt holds the log of a vault that was closed cleanly against the mark.
func endsAt(mark uint64, s *scanner, tail journal.Tail) error {
	if s.size != mark || s.next != mark || tail.Junk != 0 {
		return fmt.Errorf("%w: the vault was closed at size %d, its log holds %d records up to the last commit, %d behind it and %d bytes more; bring the right log files back from a copy",
			ErrDamaged, mark, s.size, s.next-s.size, tail.Junk)
	}
	return nil
}

// wasNoLonger refuses a log whose tiles know of records behind its end.
func (v *Vault) wasNoLonger(s *scanner) error {
	if name := v.tiles.Beyond(); name != "" {
		return fmt.Errorf("%w: %s holds hashes of records behind the log's end at size %d, so the log was longer; bring its files back from a copy, or if there is none move the tile away", ErrDamaged, name, s.size)
	}
	return nil
}

// openWriting recovers if that is needed, loads, and makes the vault ready to commit.
func (v *Vault) openWriting() error {
	if info, err := v.dir.Stat(cleanFile); err == nil && info.Dir {
		return fmt.Errorf("%s: %w", cleanFile, fsx.ErrFolder) // before a group needs it
	}
	if !v.following {
		if err := v.loadSigner(); err != nil {
			return err
		}
	}
	for _, folder := range []string{".", "log", "meta/authority", "meta/policy", "meta/host", forkFolder} {
		if err := v.dir.Sweep(folder); err != nil { // what a crash left half published
			return err
		}
	}
	if err := v.dir.DiscardAll("tmp"); err != nil {
		return err
	}
	s, err := v.recover()
	if err != nil {
		return err
	}
	if err := errors.Join(v.index.Sweep(), v.pages.Collect()); err != nil {
		return err
	}
	// Before blocks are cut or uploads swept away: log and WAL
	// apart, which recovery only completes, a vault that is refused or may not be
	// written is left as it was found.
	if err := errors.Join(v.wasNoLonger(s), v.coverPublished(s)); err != nil {
		return err
	}
	if err := v.judgeAdoption(s); err != nil {
		return err
	}
	if s, err = v.loadOrStartOver(s, v.readOnly == "" && len(s.lacks) == 0); err != nil {
		return err
	}
	if v.readOnly == "" {
		if err := v.writePublicKeys(); err != nil {
			return err
		}
		if err := v.wal.Reset(); err != nil {
			return err
		}
		v.keepPages()
		if err := v.dropGone(); err != nil {
			return err
		}
	}
	view, err := v.newView(v.tip, s.commit)
	if err != nil {
		return err
	}
	v.view.Store(view)
	if v.readOnly != "" {
		return nil
	}
	v.index.SetMender(v.mendIndex)
	if err := v.mendTiles(view); err != nil {
		return v.damaged(err)
	}
	return v.settle()
}

// readGenesis reads the first line of the log.
func readGenesis(dir fsx.Dir) (*record.Genesis, error) {
	name := logName(0)
	f, err := dir.Open(name)
	if errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s, where the ledger begins: %w", ErrDamaged, name, err)
	}
	defer f.Close()
	head := make([]byte, record.MaxLine+1)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	line, _, ok := bytes.Cut(head[:n], []byte{'\n'})
	if !ok {
		return nil, fmt.Errorf("%w: %s: its first line does not end", ErrDamaged, name)
	}
	rec, err := record.Parse(line)
	if err != nil {
		return nil, fmt.Errorf("%w: %s, line 1: %w", ErrDamaged, name, err)
	}
	if err := record.Unsupported(rec); err != nil {
		return nil, fmt.Errorf("%w: %s, line 1: %w", ErrUnsupported, name, err)
	}
	g, ok := rec.Body.(*record.Genesis)
	if !ok {
		return nil, fmt.Errorf("%w: %s begins with a record of kind %s, wanted genesis", ErrDamaged, name, rec.Kind)
	}
	return g, nil
}

// scan reads the log from the start of the open up to a size.
func (v *Vault) scan(limit uint64) (*scanner, journal.Tail, error) {
	s, line, finish, err := v.newScan()
	if v.entry.size > 0 && errors.Is(err, index.ErrDamaged) {
		return v.scanAll(limit, err)
	}
	if err != nil {
		return nil, journal.Tail{}, err
	}
	tail, err := v.journal.ScanFrom(v.entry.from, func(seq uint64, text []byte, at journal.Pos) error {
		if seq >= limit {
			return errEnough
		}
		return line(seq, text, at)
	})
	if v.entry.size > 0 && (errors.Is(err, errStart) || errors.Is(err, journal.ErrPosition) || s.size == 0) {
		// Whatever it is, it lies before the start, or beside the log.
		return v.scanAll(limit, err)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return s, tail, v.damaged(err)
	}
	finish()
	return s, tail, nil
}

// scanAll is scan from the first record on, and says why.
func (v *Vault) scanAll(limit uint64, why error) (*scanner, journal.Tail, error) {
	v.note("%v; the log is read from its beginning", why)
	v.stumbled, v.entry = v.entry.size-1, start{}
	return v.scan(limit)
}

// newScan is a scanner that feeds the tree. It begins at the start of the open: line
// takes the lines from there on. Call finish at the end of the scan.
func (v *Vault) newScan() (s *scanner, line journal.LineFunc, finish func(), err error) {
	s = newScanner()
	if v.entry.size > 0 {
		s.genesis = v.genesis
		if err := v.features(s); err != nil {
			return nil, nil, nil, err
		}
	}
	if v.tiles, err = tilestore.Open(v.dir.Sub("tile")); err != nil {
		return nil, nil, nil, err
	}
	leaves := make([]merkle.Hash, 0, 512)
	finish = func() {
		v.tiles.Append(leaves)
		leaves = leaves[:0]
	}
	s.leaf = func(h merkle.Hash) {
		if leaves = append(leaves, h); len(leaves) == cap(leaves) {
			finish()
		}
	}
	before := approach{start: v.entry, tiles: v.tiles, scan: s}
	line = func(seq uint64, text []byte, at journal.Pos) error {
		if seq < v.entry.size {
			return before.line(seq, text, at)
		}
		return s.line(seq, text, at)
	}
	return s, line, finish, nil
}

// openJournal opens the log files, anew if they are open.
func (v *Vault) openJournal() (err error) {
	if v.journal != nil {
		if err := v.journal.Close(); err != nil {
			return err
		}
	}
	v.journal, err = journal.Open(v.dir.Sub("log"), journal.Options{FileRecords: v.genesis.FileRecords, FileBytes: v.genesis.FileBytes})
	if err != nil {
		return v.damaged(err)
	}
	if v.index != nil {
		v.journal.SetGrid(v.gridOr0)
	}
	return nil
}

var errEnough = errors.New("enough") // ends a scan; never leaves this package

// loadOrStartOver loads what was scanned. If that fails on what index and pages say,
// they are let go, and everything is loaded from the log.
func (v *Vault) loadOrStartOver(s *scanner, mend bool) (*scanner, error) {
	err := v.load(s, mend)
	if !errors.Is(v.damaged(err), ErrDamaged) || v.indexed == 0 && v.base == nil {
		return s, err
	}
	v.note("%v; index and state are made again from the log", err)
	if err := errors.Join(v.openJournal(), v.blocks.Close()); err != nil {
		return nil, err
	}
	if v.blocks, err = block.Open(v.dir.Sub("blocks"), v.genesis.Vault); err != nil {
		return nil, v.damaged(err)
	}
	v.blocks.SetFinder(finder{v.index})
	v.condemned.files = nil // they are made again on the way
	if mend && v.condemned.pages {
		if err := v.pages.Reset(); err != nil {
			return nil, err
		}
		v.condemned.pages, v.pinsGone = false, nil
		v.readPins() // whose pages have gone too
	}
	size := s.size
	if err := v.choose(0); err != nil {
		return nil, err
	}
	if s, _, err = v.scan(size); err != nil {
		return nil, err
	}
	return s, v.load(s, mend)
}

// load fills blocks, index and state from a scanned log.
func (v *Vault) load(s *scanner, mend bool) error {
	if len(s.lacks) > 0 {
		v.readOnly = "its ledger uses " + strings.Join(s.lacks, ", ") + ", which this program does not know; open it with a newer one"
	}
	if s.size < v.indexed || v.base != nil && s.size < v.base.Position {
		// The log is shorter than index or pages: they are of what was lost.
		if err := v.choose(s.size); err != nil {
			return err
		}
		v.entry = start{} // all of it was scanned
	}
	if err := v.loadBlocks(s.blocks, mend); err != nil {
		return v.damaged(err)
	}
	if err := v.loadDocuments(); err != nil {
		return err
	}
	versions := v.tip.versions
	v.tip = s.tip()
	v.tip.versions = versions
	return v.replay(s.size, s.state, mend)
}

// loadBlocks makes the artifacts of sealed and open blocks known. A sealed
// block that is damaged or missing is noted, and met again when one of its
// artifacts is read; the rest of the vault is not held up by it.
func (v *Vault) loadBlocks(sealed []record.Block, mend bool) error {
	before, err := v.blocksBefore()
	if err != nil {
		return err
	}
	entered, err := v.index.Entered()
	if err != nil {
		return err
	}
	v.runMark = markOf(entered)
	for i, rec := range append(before, sealed...) {
		load := v.blocks.LoadSealed
		if rec.Number == nil && i < len(before) || v.runMark.Covers(rec) {
			load = v.blocks.KnowSealed
		}
		err := load(rec)
		if errors.Is(err, block.ErrMissing) && rec.Number == nil && mend {
			err = v.blocks.Admit(rec) // a crash between its group and its publication
		}
		// The record holds the file's hash: a file that says that it is of
		// another vault or version is not the file that was recorded.
		for _, met := range []error{block.ErrDamaged, block.ErrMissing, block.ErrWrongVault, block.ErrUnknownVersion} {
			if errors.Is(err, met) {
				v.note("%v", err)
				v.lost, err = true, nil
			}
		}
		if err != nil {
			return err
		}
	}
	if mend {
		if err := v.blocks.Settle(); err != nil {
			return err
		}
	}
	if err := v.blocks.LoadFound(); err != nil {
		return err
	}
	if v.longer {
		// A block may be sealed by a record behind the checkpoint, and its open file
		// gone; sealed files never go.
		v.blocks.LoadUnnamed()
	}
	if !mend {
		return nil
	}
	if v.restoring {
		if err := v.restoreBlocks(); err != nil {
			return err
		}
	}
	return v.blocks.SweepUploads(func(record.ID) bool { return false })
}

// closeRooms closes what an open that failed had opened.
func (v *Vault) closeRooms() error {
	var errs []error
	if v.wal != nil {
		errs = append(errs, v.wal.Close())
	}
	if v.journal != nil {
		errs = append(errs, v.journal.Close())
	}
	if v.blocks != nil {
		errs = append(errs, v.blocks.Close())
	}
	if v.index != nil {
		errs = append(errs, v.index.Close())
	}
	if v.pages != nil {
		v.pages.Close()
	}
	return errors.Join(errs...)
}

var _ Persist = (*wal.WAL)(nil)
