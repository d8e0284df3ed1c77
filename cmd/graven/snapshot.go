package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"graven"
)

func (a *app) snapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot [list | make | verify [N] | drop N]",
		Short: "List, make and verify snapshots",
		Long: "A snapshot is a position of the log with everything pinned that is needed there: artifacts in sealed blocks, the\n" +
			"state in pages, the index. Its manifest stands in the vault's folder under snapshots/, and a record of the log\n" +
			"names it. A process that keeps a vault open makes one by itself after 10,000 commits, or after 5 minutes in which\n" +
			"something was written; of these the pages of the newest two are kept.\n\n" +
			"With plain tools, in the vault's folder, where N is the number in 8 digits:\n\n" +
			"  sha256sum -c snapshots/snapshot-N/pinned-blocks.txt\n" +
			"  sha256sum -c --ignore-missing snapshots/snapshot-N/pinned-segments.txt",
		Example: "  graven snapshot make\n  graven snapshot verify --replay",
		Args:    args(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listSnapshots(cmd.Context()) },
	}
	list := &cobra.Command{
		Use:   "list",
		Short: "List the snapshots that the log records",
		Args:  args(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.listSnapshots(cmd.Context()) },
	}
	makeOne := &cobra.Command{
		Use:   "make",
		Short: "Make a snapshot of the newest position",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withVault(cmd.Context(), false, func(v *graven.Vault) error {
				info, err := v.Snapshot(cmd.Context())
				if err != nil {
					return err
				}
				return a.printSnapshot(info)
			})
		},
	}
	drop := &cobra.Command{
		Use:   "drop N",
		Short: "Let go of the pages and lists of a snapshot",
		Long: "Let go of the state pages and the lists of pinned files of a snapshot, so that their room can be used again. Its\n" +
			"record and its manifest stay, and it can still be verified: from the log.",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			n, err := snapshotNumber(argv[0])
			if err != nil {
				return err
			}
			return a.withVault(cmd.Context(), false, func(v *graven.Vault) error {
				if err := v.DropSnapshot(cmd.Context(), n); err != nil {
					return adviseSnapshot(err)
				}
				return a.print(map[string]any{"vault": v.Name(), "dropped": n}, func(w io.Writer) {
					fmt.Fprintf(w, "ok: snapshot %d of vault %s keeps no pages and lists any more; its record and its manifest stay\n", n, v.Name())
				})
			})
		},
	}
	for _, c := range []*cobra.Command{list, makeOne, a.snapshotVerifyCommand(), drop} {
		c.DisableFlagsInUseLine = true
		cmd.AddCommand(c)
	}
	return cmd
}

func (a *app) snapshotVerifyCommand() *cobra.Command {
	var replay bool
	cmd := &cobra.Command{
		Use:   "verify [N] [--replay]",
		Short: "Verify a snapshot, the newest if no number is given",
		Long: "Hold a snapshot against the log: its manifest against its record, root and state against what the log has at its\n" +
			"position, every pinned file against its SHA-256, the pages of its state against the state root. Files of the index\n" +
			"that were merged since, and pages that were let go, are no damage: they follow from the log. --replay builds the\n" +
			"state from the first record on, too.\n\n" +
			"Exits with 0 if all is good, with 1 if not; otherwise as graven --help says.",
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) (err error) {
			n := uint64(0)
			if len(argv) == 1 {
				if n, err = snapshotNumber(argv[0]); err != nil {
					return err
				}
			}
			return a.withVault(cmd.Context(), true, func(v *graven.Vault) error {
				return adviseSnapshot(a.verifySnapshot(cmd.Context(), v, n, graven.SnapshotOptions{Replay: replay}))
			})
		},
	}
	cmd.Flags().BoolVar(&replay, "replay", false, "build the state from the first record on, too")
	return cmd
}

// adviseSnapshot says where to look for a snapshot that is not there.
func adviseSnapshot(err error) error {
	if errors.Is(err, graven.ErrNotFound) {
		return &advisedError{err, "See which there are with: graven snapshot list"}
	}
	return err
}

// snapshotNumber reads the number of a snapshot.
func snapshotNumber(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 || !allDigits(s) {
		return 0, usage("snapshot %q: wanted a number from 1", s)
	}
	return n, nil
}

// snapshotItem is a snapshot in JSON.
type snapshotItem struct {
	Number   uint64 `json:"number"`
	Position uint64 `json:"position"`
	Size     uint64 `json:"size"`
	Seq      uint64 `json:"seq"`
	Time     string `json:"time"`
	Manifest string `json:"manifest"`
	Pages    bool   `json:"pages"`
}

func snapshotItemOf(i graven.SnapshotInfo) snapshotItem {
	return snapshotItem{i.Number, i.Position, i.Size, i.Seq, formatTime(i.Time), i.Manifest.String(), i.Pages}
}

func (a *app) printSnapshot(i graven.SnapshotInfo) error {
	return a.print(snapshotItemOf(i), func(w io.Writer) {
		kept := "pages"
		if !i.Pages {
			kept = "log" // from which its state is built
		}
		fmt.Fprintf(w, "%d  position=%d  seq=%d  %s  %-5s  %v\n", i.Number, i.Position, i.Seq, formatTime(i.Time), kept, i.Manifest)
	})
}

func (a *app) listSnapshots(ctx context.Context) error {
	return a.withVault(ctx, true, func(v *graven.Vault) error {
		list, err := v.Snapshots()
		if err != nil {
			return err
		}
		return a.buffered(func() error {
			for _, info := range list {
				if err := a.printSnapshot(info); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// verifySnapshot verifies a snapshot; 0 stands for the newest.
func (a *app) verifySnapshot(ctx context.Context, v *graven.Vault, number uint64, o graven.SnapshotOptions) error {
	if number == 0 {
		list, err := v.Snapshots()
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("vault %q: %w: it has no snapshot", v.Name(), graven.ErrNotFound)
		}
		number = list[len(list)-1].Number
	}
	r, err := v.VerifySnapshot(ctx, number, o)
	if err != nil {
		return err
	}
	for _, note := range r.Notes {
		a.talk("note: %s", oneLine(note))
	}
	found := []finding{}
	for _, f := range r.Findings {
		found = append(found, finding{File: f.File, What: f.What})
	}
	out := struct {
		snapshotItem
		Root     string    `json:"root"`
		State    string    `json:"state"`
		Blocks   int       `json:"blocks"`
		Segments int       `json:"segments"`
		Gone     int       `json:"gone"`
		Bytes    int64     `json:"bytes"`
		Paged    bool      `json:"state_from_pages"`
		Replayed bool      `json:"state_from_log"`
		Findings []finding `json:"findings"`
		OK       bool      `json:"ok"`
	}{snapshotItemOf(r.SnapshotInfo), r.Root.String(), r.State.String(), r.Blocks, r.Segments, r.Gone, r.Bytes, r.Paged, r.Replayed, found, !r.Damaged()}
	if err := a.print(out, func(w io.Writer) {
		for _, f := range r.Findings {
			fmt.Fprintln(w, oneLine(f.String()))
		}
		verdict := "ok"
		if r.Damaged() {
			verdict = "DAMAGED"
		}
		fmt.Fprintf(w, "%s: snapshot %d at position %d: %d blocks, %d files of index and state, %s read; %s; root %v, state %v\n",
			verdict, r.Number, r.Position, r.Blocks, r.Segments, formatBytes(r.Bytes), stateFrom(r), r.Root, r.State)
	}); err != nil {
		return err
	}
	if r.Damaged() {
		return fmt.Errorf("snapshot %d of vault %q: %w: %d findings", r.Number, v.Name(), errDamage, len(r.Findings))
	}
	return nil
}

// stateFrom says where the state was read.
func stateFrom(r *graven.SnapshotReport) string {
	switch {
	case r.Paged && r.Replayed:
		return "the state is that of its pages and of the log"
	case r.Paged:
		return "the state is that of its pages"
	case r.Replayed:
		return "the state is that of the log"
	}
	return "the state was not looked at"
}
