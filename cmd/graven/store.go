package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"graven"
	"graven/local"
)

func (a *app) initCommand() *cobra.Command {
	var origin string
	cmd := &cobra.Command{
		Use:   "init [--origin ORIGIN]",
		Short: "Make a store with its first vault",
		Long: "Make a store with its first vault (--vault, default main) in --store, which must be missing or empty, and print\n" +
			"the log's verifier key: who is to verify needs it, by a way that both sides trust. The vault's keys lie in its\n" +
			"folder under meta/keys; the private ones never leave it.",
		Example: "  graven init --store /srv/ledger --origin ledger.example.com/main",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := wantDirectory("--store", a.conf.Store); err != nil {
				return err
			}
			s, err := local.Create(cmd.Context(), a.conf.Store, graven.CreateOptions{Vault: a.conf.Vault, Origin: origin}, graven.Options{})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			return a.welcome(cmd.Context(), s, a.conf.Vault)
		},
	}
	cmd.Flags().StringVar(&origin, "origin", "", "C2SP origin of the log (default graven.local/<vault id>)")
	return cmd
}

// welcome says what was made, and what to keep.
func (a *app) welcome(ctx context.Context, s *graven.Store, name string) error {
	v, err := s.Vault(ctx, name)
	if err != nil {
		return err
	}
	keys := v.VKeys()
	a.talk("Made vault %q in %s.", name, a.conf.Store)
	a.talk("Whoever is to verify needs this key, by a way that you both trust:")
	out := struct {
		Vault  string   `json:"vault"`
		ID     string   `json:"id"`
		Origin string   `json:"origin"`
		Keys   []string `json:"keys"`
	}{name, v.ID().String(), v.Origin(), keys}
	return a.print(out, func(w io.Writer) { fmt.Fprintln(w, keys[0]) })
}

func (a *app) vaultCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vault [list | create NAME]",
		Short: "List vaults, or make one",
		Args:  args(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.listVaults(cmd.Context()) },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List the store's vaults",
		Args:  args(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.listVaults(cmd.Context()) },
	})
	var origin string
	create := &cobra.Command{
		Use:   "create NAME [--origin ORIGIN]",
		Short: "Make another vault in the store",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			if argv[0] == "" {
				return usage("a vault needs a name")
			}
			return a.withStore(cmd.Context(), false, func(s *graven.Store) error {
				if _, err := s.CreateVault(cmd.Context(), graven.CreateOptions{Vault: argv[0], Origin: origin}); err != nil {
					return err
				}
				return a.welcome(cmd.Context(), s, argv[0])
			})
		},
	}
	create.Flags().StringVar(&origin, "origin", "", "C2SP origin of the log (default graven.local/<vault id>)")
	cmd.AddCommand(create)
	return cmd
}

func (a *app) listVaults(ctx context.Context) error {
	return a.withStore(ctx, true, func(s *graven.Store) error {
		names, err := s.Vaults(ctx)
		if err != nil {
			return err
		}
		for _, name := range names {
			item := struct {
				Vault string `json:"vault"`
			}{name}
			if err := a.print(item, func(w io.Writer) { fmt.Fprintln(w, name) }); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how a vault is",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withVault(cmd.Context(), true, func(v *graven.Vault) error {
				st := v.Status()
				out := map[string]any{
					"vault": st.Name, "id": st.Vault, "origin": st.Origin, "size": st.Size, "published": st.Published,
					"height": st.Height, "epoch": st.Epoch, "root": st.Root.String(), "state": st.State.String(),
					"keys": st.Live, "keys_ever": st.Keys, "versions": st.Versions, "artifacts": st.Artifacts,
					"log_bytes": st.LogBytes, "block_bytes": st.BlockBytes, "time": formatTime(st.Time),
				}
				if st.Mirror != "" {
					out["mirror"] = st.Mirror
				}
				out["scrub"] = scrubJSON(st.Scrub)
				if why := notWritable(st); why != "" {
					out["not_writable"] = why
				}
				return a.print(out, func(w io.Writer) {
					fmt.Fprintf(w, "vault      %s  %s\norigin     %s\n", st.Name, st.Vault, oneLine(st.Origin))
					fmt.Fprintf(w, "size       %d records, commit %d, epoch %d\n", st.Size, st.Height, st.Epoch)
					fmt.Fprintf(w, "newest     %s\nroot       %v\nstate      %v\n", formatTime(st.Time), st.Root, st.State)
					fmt.Fprintf(w, "keys       %d now, %d ever, %d versions\n", st.Live, st.Keys, st.Versions)
					fmt.Fprintf(w, "artifacts  %d in blocks of %s; log %s\n", st.Artifacts, formatBytes(st.BlockBytes), formatBytes(st.LogBytes))
					if st.Mirror != "" {
						fmt.Fprintf(w, "mirror     of %s\n", oneLine(st.Mirror))
					}
					fmt.Fprintf(w, "scrub      %s\n", scrubText(st.Scrub))
					for _, f := range st.Scrub.Findings {
						fmt.Fprintf(w, "found      %s\n", oneLine(f.String()))
					}
					if st.Scrub.More > 0 {
						fmt.Fprintf(w, "found      %d more; run check\n", st.Scrub.More)
					}
					if why := notWritable(st); why != "" {
						fmt.Fprintf(w, "writing    not possible: %s\n", oneLine(why))
					}
				})
			})
		},
	}
}

// scrubText says how far the reading of the whole vault over time has come.
func scrubText(s graven.ScrubStatus) string {
	if s.Started.IsZero() {
		return "has not begun; it runs while a process has the vault open for writing"
	}
	text := "no pass was whole yet"
	if !s.Finished.IsZero() {
		text = "last whole pass ended " + formatTime(s.Finished)
	}
	if s.Done < 1 {
		text += fmt.Sprintf("; under way since %s, about %d %%", formatTime(s.Started), int(100*s.Done))
	}
	return text
}

func scrubJSON(s graven.ScrubStatus) map[string]any {
	out := map[string]any{"done": s.Done, "findings": findingsJSON(s.Findings), "more": s.More}
	if !s.Started.IsZero() {
		out["started"] = formatTime(s.Started)
	}
	if !s.Finished.IsZero() {
		out["finished"] = formatTime(s.Finished)
	}
	return out
}

func findingsJSON(list []graven.Finding) []finding {
	found := []finding{}
	for _, f := range list {
		item := finding{File: f.File, What: f.What, Mended: f.Mended}
		if f.Offset >= 0 {
			item.Offset = &f.Offset
		}
		found = append(found, item)
	}
	return found
}

// notWritable says why a vault could not be written. That status itself opened
// it for reading only is no reason.
func notWritable(st graven.Status) string {
	if st.Writable || strings.HasSuffix(st.Why, "it was opened for reading") {
		return ""
	}
	return st.Why
}

func (a *app) keyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "key",
		Short: "Print the vault's verifier keys: the log's first, then the cosigner's",
		Long: "Print the vault's verifier keys, one a line: the log's Ed25519 key, then the ML-DSA-44 key of its cosigner.\n" +
			"verify wants the first. Hand it over by a way that both sides trust: everything else follows from it.",
		Example: "  graven key >ledger.vkey\n  graven verify proof --vkey @ledger.vkey",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withVault(cmd.Context(), true, func(v *graven.Vault) error {
				keys := v.VKeys()
				out := map[string]any{"origin": v.Origin(), "log": keys[0], "cosigners": keys[1:]}
				return a.print(out, func(w io.Writer) { fmt.Fprintln(w, strings.Join(keys, "\n")) })
			})
		},
	}
}

func (a *app) checkpointCommand() *cobra.Command {
	var cosigned bool
	cmd := &cobra.Command{
		Use:   "checkpoint [--cosigned]",
		Short: "Print the newest checkpoint: a signed note over size and root",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withView(cmd.Context(), "", func(w *graven.View) error {
				if cosigned {
					var err error
					if w, err = w.Cosigned(); err != nil {
						return err
					}
				}
				out := struct {
					Origin string `json:"origin"`
					Size   uint64 `json:"size"`
					Root   string `json:"root"`
					Note   string `json:"note"`
				}{w.Head().Origin, w.Head().Size, w.Head().Root.String(), string(w.Checkpoint())}
				return a.print(out, func(o io.Writer) { fmt.Fprintf(o, "%s", w.Checkpoint()) })
			})
		},
	}
	cmd.Flags().BoolVar(&cosigned, "cosigned", false, "with the ML-DSA-44 cosignature of the vault's second key")
	return cmd
}

func (a *app) rebuildCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rebuild",
		Short: "Make every derived file again from log and blocks",
		Long: "Check everything, as check does, and make again what follows from log and blocks and is missing or differs: tiles,\n" +
			"index and state, the copies of documents, the verifier keys, log/current, the checkpoint; README.txt and rescue.sh\n" +
			"too. Each is listed. What stood there is kept in meta/host/cut; tiles, index and state apart, which follow from the\n" +
			"log. Nothing is made again from a log or blocks that are damaged: then bring the damaged files back from a copy first.\n\n" +
			"Exits with 0 if all is whole, or was mended; with 1 if damage is left; otherwise as graven --help says.",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			s, err := a.open(cmd.Context(), false)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			return a.check(cmd.Context(), s, graven.CheckOptions{Rebuild: true})
		},
	}
}

func (a *app) checkCommand() *cobra.Command {
	var quick, resume bool
	cmd := &cobra.Command{
		Use:   "check [--quick] [--resume]",
		Short: "Read everything again and list all damage",
		Long: "Read everything again and hold it against everything else: lines, tiles, commits, artifacts, blocks,\n" +
			"the state behind every commit, the checkpoint, index and state on disk. All damage is listed, with file and\n" +
			"offset. Tiles, the checkpoint, the verifier keys, the copies of documents, index and state are derived data: what of\n" +
			"them is damaged is made again if no other process holds the store, and listed as mended. graven rebuild does\n" +
			"that for the rest, and for index and state also if they are not damaged.\n\n" +
			"Exits with 0 if all is whole, or was mended; with 1 if damage is left; otherwise as graven --help says.",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			// With the lock a check can recover and mend; without it, it only looks.
			s, err := a.open(cmd.Context(), false)
			if errors.Is(err, graven.ErrLocked) || err != nil && code(err) == exitDenied {
				a.talk("the store cannot be had for writing (%v): checking what is published, mending nothing", err)
				s, err = a.open(cmd.Context(), true)
			}
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			return a.check(cmd.Context(), s, graven.CheckOptions{Quick: quick, Resume: resume})
		},
	}
	cmd.Flags().BoolVar(&quick, "quick", false, "leave out the bytes of values")
	cmd.Flags().BoolVar(&resume, "resume", false, "go on with a check that was interrupted: sealed blocks that it verified are not read again")
	return cmd
}

// finding is one line of a check's JSON.
type finding struct {
	File   string `json:"file,omitempty"`
	Offset *int64 `json:"offset,omitempty"`
	What   string `json:"what"`
	Mended bool   `json:"mended"`
}

func (a *app) check(ctx context.Context, s *graven.Store, o graven.CheckOptions) error {
	p := a.newProgress("checked")
	o.Progress = func(done, total int64) { p.show(0, done, total) }
	r, err := s.Check(ctx, a.conf.Vault, o)
	p.end()
	if err != nil {
		return err
	}
	for _, note := range r.Notes {
		a.talk("note: %s", oneLine(note))
	}
	found := findingsJSON(r.Findings)
	out := map[string]any{
		"vault": r.Vault, "size": r.Size, "records": r.Records, "root": r.Root.String(), "blocks": r.Blocks,
		"artifacts": r.Artifacts, "tiles": r.Tiles, "bytes": r.Bytes, "findings": found, "ok": !r.Damaged(),
	}
	if err := a.print(out, func(w io.Writer) {
		for _, f := range r.Findings {
			fmt.Fprintln(w, oneLine(f.String()))
		}
		verdict := "ok"
		if r.Damaged() {
			verdict = "DAMAGED"
		}
		fmt.Fprintf(w, "%s: %d records, %d artifacts in %d blocks, %d tiles, %s read; root %v\n",
			verdict, r.Size, r.Artifacts, r.Blocks, r.Tiles, formatBytes(r.Bytes), r.Root)
	}); err != nil {
		return err
	}
	if r.Damaged() {
		return fmt.Errorf("vault %q: %w: %d findings", r.Vault, errDamage, len(r.Findings))
	}
	return nil
}
