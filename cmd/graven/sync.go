package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"graven"
	"graven/local"
	"graven/proof"
)

// syncOptions are the flags of sync.
type syncOptions struct {
	vkey string
	only string // the vault; empty: all
}

func (a *app) syncCommand() *cobra.Command {
	var o syncOptions
	cmd := &cobra.Command{
		Use:   "sync FROM TO [--vault NAME [--vkey VKEY|@FILE]]",
		Short: "Make mirrors of a store's vaults in another store, or bring them up to date",
		Long: "Make mirrors of the vaults of the store FROM in the store TO, or bring those that are there up to FROM's published\n" +
			"checkpoints: only log lines and artifacts that TO lacks are moved. TO is made if it is missing. A mirror has the\n" +
			"same log, blocks, tiles and index, byte by byte, and its source's checkpoint; everything can be read and proven\n" +
			"there, and nothing written. FROM may be in use, and may hold mirrors itself.\n\n" +
			"Nothing is accepted that FROM's signed checkpoint does not cover, and the key must be the one that the mirror\n" +
			"knows; a new mirror takes the key of its source, or wants the one that --vkey gives. If the histories of FROM and\n" +
			"TO contradict each other, nothing is moved, and both signed checkpoints are kept in TO's vault, under\n" +
			"meta/host/fork. A sync that was interrupted is simply run again.\n\n" +
			"Without --vault all vaults are synced; one that fails keeps none of the others back.",
		Example: "  graven sync /srv/ledger /mnt/mirror\n  graven sync /srv/ledger /mnt/mirror --vault main --vkey @ledger.vkey",
		Args:    args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			if f := cmd.Flags().Lookup("vkey"); f.Changed && o.vkey == "" {
				return usage("--vkey is empty") // a variable that was never set is not to switch a check off
			}
			if f := cmd.Flags().Lookup("vault"); f.Changed {
				o.only = a.conf.Vault
			}
			if o.vkey != "" && o.only == "" {
				return usage("--vkey is the key of one vault: name it with --vault")
			}
			if o.vkey != "" {
				var err error
				if o.vkey, err = a.readVKey(cmd.Context(), o.vkey, proof.TypeEd25519); err != nil {
					return err
				}
				if _, err := proof.ParseVKey(o.vkey); err != nil {
					return usage("--vkey: %w", err)
				}
			}
			return a.sync(cmd.Context(), argv[0], argv[1], o)
		},
	}
	cmd.Flags().StringVar(&o.vkey, "vkey", "", "verifier key that the log must have, or @FILE that holds it")
	return cmd
}

func (a *app) sync(ctx context.Context, from, to string, o syncOptions) (err error) {
	if same(from, to) {
		return usage("FROM and TO are the same directory")
	}
	if err := wantDirectory("FROM", from); err != nil {
		return err
	}
	if err := apart("TO", to, from); err != nil {
		return err
	}
	source, err := local.Open(ctx, from, graven.Options{ReadOnly: true})
	if err != nil {
		return adviseStore(err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	names := []string{o.only}
	if o.only == "" {
		if names, err = source.Vaults(ctx); err != nil {
			return err
		}
	}
	if o.only != "" { // before TO is made for nothing
		if _, err := source.Vault(ctx, o.only); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
	}
	undo := undoing(to)
	defer func() { undo(err) }()
	target, err := local.OpenForSync(ctx, to, graven.Options{LockWait: a.conf.LockWait})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	var failed []error
	for _, name := range names {
		err := a.syncVault(ctx, source, target, name, from, to, o.vkey)
		if ctx.Err() != nil {
			return err
		}
		if err != nil && len(names) > 1 {
			a.talk("graven: %s", oneLine(err.Error()))
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	if len(names) == 1 {
		return failed[0]
	}
	return &firstOf{failed: len(failed), of: len(names), first: failed[0]}
}

// adviseSync gives an error of a sync the advice that fits two stores.
func adviseSync(err error) error {
	switch {
	case errors.Is(err, graven.ErrFork):
		return err
	case errors.Is(err, graven.ErrVaultExists), errors.Is(err, graven.ErrConflict):
		return &advisedError{err, "Sync into another directory: what is there belongs to something else, and was left as it was."}
	case errors.Is(err, graven.ErrFull):
		return &advisedError{err, "Make room there and run the sync again; it goes on where it ended. Readers of the mirror see what it had."}
	case errors.Is(err, graven.ErrDamaged), errors.Is(err, proof.ErrSignature):
		return &advisedError{err, "Look at both with: graven check --store DIR   Readers of the mirror see what it had."}
	}
	return err
}

// adviseStore gives an error about a store that was named as an argument the advice
// for that.
func adviseStore(err error) error {
	if errors.Is(err, graven.ErrNoStore) {
		return &advisedError{err, "FROM must be a store: a directory that graven init or graven sync has made."}
	}
	return err
}

// firstOf says that some of several things failed; its code and advice are those of
// the first.
type firstOf struct {
	failed, of int
	first      error
}

func (e *firstOf) Error() string {
	return fmt.Sprintf("%d of %d vaults were not synced, the first since: %v", e.failed, e.of, e.first)
}
func (e *firstOf) Unwrap() error { return e.first }

// same reports whether two directories are one.
func same(x, y string) bool {
	a, errA := os.Stat(x)
	b, errB := os.Stat(y)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// syncVault syncs one vault and says what moved.
func (a *app) syncVault(ctx context.Context, source, target *graven.Store, name, from, to, vkey string) error {
	v, err := source.Vault(ctx, name)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	where, err := filepath.Abs(from)
	if err != nil {
		where = from
	}
	p := a.newProgress("moved")
	r, err := target.Sync(ctx, v, graven.SyncOptions{
		VKey: vkey, Where: where, Progress: func(done, total int64) { p.show(0, done, total) },
	})
	p.end()
	if err != nil {
		return adviseSync(fullAt(to, err))
	}
	if r.Created && vkey == "" {
		a.talk("vault %q is new in the mirror; its key was taken from the source on trust: %s", name, v.VKeys()[0])
	}
	out := map[string]any{
		"vault": r.Vault, "created": r.Created, "from": r.From, "size": r.Size, "source": r.Source,
		"records": r.Records, "artifacts": r.Artifacts, "bytes": r.Bytes,
	}
	return a.print(out, func(w io.Writer) {
		switch {
		case r.Source < r.Size:
			fmt.Fprintf(w, "%s: nothing to move: the mirror is ahead, with %d records; the source has %d\n", r.Vault, r.Size, r.Source)
		case r.Records == 0:
			fmt.Fprintf(w, "%s: nothing to move: the mirror has all %d records\n", r.Vault, r.Size)
		default:
			fmt.Fprintf(w, "%s: %d records and %d artifacts moved, %s; the mirror has %d records\n", r.Vault, r.Records, r.Artifacts, formatBytes(r.Bytes), r.Size)
		}
	})
}
