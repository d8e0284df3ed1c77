package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"graven/proof"
)

// SyncOptions say how [Store.Sync] works. The zero value is useful.
type SyncOptions struct {
	// VKey is the verifier key that the log must have. Empty: a new mirror takes the
	// key that the source's genesis names, on trust; one that is there has a genesis,
	// and so a key, already.
	VKey string
	// Where says for people where the source is; it is kept in the mirror.
	Where string
	// Progress is told bytes moved so far and, about, in all. It must be quick.
	Progress func(done, total int64)
}

// SyncReport says what a sync moved.
type SyncReport struct {
	Vault     string
	Created   bool   // the mirror was made
	From      uint64 // records that the mirror had; of a new one 0
	Size      uint64 // of the mirror's checkpoint now
	Source    uint64 // size of the source's checkpoint; below Size if the mirror is ahead
	Records   uint64 // moved
	Artifacts uint64 // moved
	Bytes     int64  // of both
}

// OpenForSync opens a store for writing, or makes dir one that has no vaults yet, to
// sync mirrors into. The directory must hold a store or nothing.
func OpenForSync(ctx context.Context, host Host, o Options) (*Store, error) {
	o.ReadOnly = false
	s, err := Open(ctx, host, o)
	if !errors.Is(err, ErrNoStore) {
		return s, err
	}
	s = newStore(host, o)
	if err := s.vacant(ctx); err != nil {
		return nil, err
	}
	return s, s.takeLock(ctx)
}

// Sync makes a vault of this store a mirror of from, or brings the mirror that it is
// up to from's published checkpoint: log lines and artifacts that it lacks are moved,
// and packed to the same bytes. from is a vault of another store, or a mirror; it may
// be in use meanwhile.
//
// Before anything is moved it must hold that one history extends the other; if not,
// the error is a [*ForkError]. Nothing is written that the source's checkpoint does
// not cover, and readers see the old checkpoint until the new one is covered whole.
// After an interruption, of any kind, the next Sync goes on where the mirror's log
// ends. ctx is looked at between groups and large values. Other calls of this store wait
// meanwhile.
//
// [ErrVaultExists]: the vault of that name is no mirror. [ErrConflict]: it is one of
// another vault. [ErrDamaged]: of what the source has, or the mirror.
func (s *Store) Sync(ctx context.Context, from *Vault, o SyncOptions) (*SyncReport, error) {
	if s.opts.ReadOnly {
		return nil, fmt.Errorf("store: %w", ErrReadOnly)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.vaults[from.name] != nil {
		return nil, fmt.Errorf("vault %q: %w: it is open in the store that is to be synced", from.name, ErrInvalid)
	}
	y := &syncer{s: s, from: from, opts: o, report: &SyncReport{Vault: from.name}}
	err := y.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("sync of vault %q: %w", from.name, err)
	}
	return y.report, nil
}

// syncer is one sync under way.
type syncer struct {
	s      *Store
	from   *Vault
	opts   SyncOptions
	report *SyncReport

	head  proof.Checkpoint // of the source, published
	note  []byte
	to    *Vault // the mirror, open for following
	total int64  // bytes that are to be moved, about
}

func (y *syncer) run(ctx context.Context) (err error) {
	if err := y.readSource(); err != nil {
		return fmt.Errorf("the source: %w", err)
	}
	if err := y.openMirror(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, y.to.close()) }()
	if y.to.readOnly != "" {
		return fmt.Errorf("the mirror: %w: %s", ErrReadOnly, y.to.readOnly)
	}
	if err := y.compare(); err != nil {
		return err
	}
	if err := y.move(ctx); err != nil {
		return err
	}
	return y.end()
}

// readSource reads the source's checkpoint and holds it against the key that its
// genesis names, and that the caller gave.
func (y *syncer) readSource() (err error) {
	v := y.from
	if len(v.vkeys) == 0 || v.authority == nil {
		return fmt.Errorf("%w: its authority is one that this program does not know", ErrUnsupported)
	}
	if want := strings.TrimSpace(y.opts.VKey); want != "" && want != v.vkeys[0] {
		return fmt.Errorf("%w: its log has the key %s, wanted %s", ErrDamaged, v.vkeys[0], want)
	}
	if v.writable() == nil {
		if err := v.Publish(); err != nil {
			return err
		}
	}
	w := v.View()
	keys := v.vkeys[:min(len(v.vkeys), 2)]
	y.head, y.note, err = v.readCheckpointBy(keys...)
	if err == nil && y.head.Size > w.head.Size && w.note != nil {
		// It was replaced since the source was opened for reading.
		if y.note = w.both; y.note == nil {
			y.note = w.note
		}
		y.head, err = openNote(y.note, keys...)
	}
	if err != nil {
		return err
	}
	root, err := v.rootAt(y.head.Size)
	if err != nil {
		return err
	}
	if root != y.head.Root || y.head.Origin != v.genesis.Origin {
		return fmt.Errorf("%w: at size %d its log %s has root %v, its checkpoint says %s and %v", ErrDamaged, y.head.Size, v.genesis.Origin, root, y.head.Origin, y.head.Root)
	}
	y.report.Source = y.head.Size
	return nil
}

// openMirror opens the mirror, which it makes if there is none.
func (y *syncer) openMirror() error {
	there, err := y.s.dir.Exists(vaultsName + "/" + y.from.name)
	if err != nil {
		return err
	}
	if !there {
		if err := y.create(); err != nil {
			return err
		}
	} else if err := y.mirrors(); err != nil {
		return err
	}
	y.to, err = y.s.openFollowing(y.from.name)
	if err != nil {
		return fmt.Errorf("the mirror: %w", err)
	}
	y.report.From = y.to.tip.next
	if y.report.Created {
		y.report.From = 0
	}
	return nil
}

// mirrors refuses a vault that is no mirror, or one of another vault.
func (y *syncer) mirrors() error {
	dir := y.s.vaultDir(y.from.name)
	of, err := readMirror(dir)
	if err != nil {
		return err
	}
	if of == "" {
		return fmt.Errorf("%w: the vault of that name in the store that is to be synced is no mirror, and stays as it is", ErrVaultExists)
	}
	g, err := readGenesis(dir)
	if err != nil {
		return fmt.Errorf("the mirror: %w", err)
	}
	if g.Vault != y.from.genesis.Vault {
		return fmt.Errorf("%w: the mirror is of vault %v, %s; the source is vault %v, %s", ErrConflict, g.Vault, of, y.from.genesis.Vault, y.from.genesis.Origin)
	}
	return nil
}

// create makes the mirror, once its first group is known to be the source's.
func (y *syncer) create() error {
	in := readFrom(y.from, y.head, nil)
	first, err := in.group()
	if err == nil {
		err = in.covered()
	}
	if err == nil && len(first.ends) != 2 {
		err = fmt.Errorf("%w: its first group has %d records, wanted genesis and a commit line", ErrUnsupported, len(first.ends))
	}
	if err != nil {
		return fmt.Errorf("the source: %w", err)
	}
	if err := y.s.makeMirror(y.from, first, y.about()); err != nil {
		return err
	}
	y.report.Created = true
	y.report.Records, y.report.Artifacts, y.report.Bytes = 2, 2, int64(len(first.lines))
	return nil
}

// about says for people of what the mirror is one.
func (y *syncer) about() string {
	text := y.from.genesis.Origin
	if y.opts.Where != "" {
		text += ", from " + strings.Join(strings.Fields(y.opts.Where), " ")
	}
	return text
}

// compare demands that of mirror and source one extends the other.
func (y *syncer) compare() error {
	if theirs, mine := y.from.vkeys[0], y.to.vkeys[0]; theirs != mine {
		return fmt.Errorf("%w: the source's log has the key %s, the mirror's has %s: it is not the same log", ErrDamaged, theirs, mine)
	}
	mine, theirs := y.to.tip.next, y.head.Size
	at := min(mine, theirs)
	a, err := y.to.rootAt(at)
	if err != nil {
		return fmt.Errorf("the mirror: %w", err)
	}
	b, err := y.from.rootAt(at)
	if err != nil {
		return fmt.Errorf("the source: %w", err)
	}
	if a == b {
		return nil
	}
	note, err := y.mirrorNote()
	return errors.Join(err, y.to.fork(note, y.note))
}

// mirrorNote is the checkpoint that covers all of what the mirror has: the published
// one, or if it has more, the one that its last sync went to.
func (y *syncer) mirrorNote() ([]byte, error) {
	for _, name := range []string{"checkpoint", incomingFile} {
		note, err := y.to.dir.ReadFile(name, maxCheckpoint)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if head, err := openNote(note, y.to.vkeys[0]); err == nil && head.Size >= y.to.tip.next {
			return note, nil
		}
	}
	return nil, nil
}

// move brings the groups over that the mirror lacks.
func (y *syncer) move(ctx context.Context) error {
	if y.to.tip.next >= y.head.Size {
		return nil
	}
	if err := y.to.dir.Replace(incomingFile, y.note); err != nil {
		return y.to.behind("keeping the source's checkpoint", err)
	}
	in := readFrom(y.from, y.head, y.to)
	f := &follower{v: y.to, from: y.from}
	y.total = max(0, y.from.bytes()-y.to.bytes())
	before := y.to.tip.next
	defer func() {
		y.report.Records += y.to.tip.next - before
		y.report.Artifacts += f.move.artifacts
		y.report.Bytes += f.move.bytes
	}()
	for {
		groups, err := in.stretch()
		if err != nil {
			return fmt.Errorf("the source: %w", err)
		}
		if len(groups) == 0 {
			return nil
		}
		if in.scan.lacks != nil {
			return fmt.Errorf("%w: the source uses %s", ErrUnsupported, strings.Join(in.scan.lacks, ", "))
		}
		for _, g := range groups {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f.apply(ctx, g); err != nil {
				return err
			}
			if y.opts.Progress != nil {
				y.opts.Progress(f.move.bytes, max(y.total, f.move.bytes))
			}
		}
	}
}

// bytes is what log and blocks come to.
func (v *Vault) bytes() int64 {
	_, n := v.blocks.Stats()
	return n + v.journal.Bytes()
}

// end publishes the source's checkpoint, unless the mirror shows a newer one.
func (y *syncer) end() error {
	y.report.Size = max(y.head.Size, y.to.shown)
	if y.head.Size < y.to.shown {
		return nil // the mirror is ahead
	}
	old, err := y.to.dir.ReadFile("checkpoint", maxCheckpoint)
	if err == nil && bytes.Equal(old, y.note) && y.head.Size == y.to.shown {
		return nil
	}
	if err := y.to.dir.Replace(mirrorFile, []byte(y.about()+"\n")); err != nil {
		return y.to.behind("noting the source", err)
	}
	return y.to.show(y.head, y.note)
}
