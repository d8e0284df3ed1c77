package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"graven"
	"graven/local"
)

func (a *app) initCommand() *cobra.Command {
	var origin string
	cmd := &cobra.Command{
		Use:   "init [--origin ORIGIN]",
		Short: "Make a store with its first vault",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
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
		RunE: func(cmd *cobra.Command, argv []string) (err error) {
			s, err := a.open(cmd.Context(), false)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			if _, err := s.CreateVault(cmd.Context(), graven.CreateOptions{Vault: argv[0], Origin: origin}); err != nil {
				return err
			}
			return a.welcome(cmd.Context(), s, argv[0])
		},
	}
	create.Flags().StringVar(&origin, "origin", "", "C2SP origin of the log (default graven.local/<vault id>)")
	cmd.AddCommand(create)
	return cmd
}

func (a *app) listVaults(ctx context.Context) (err error) {
	s, err := a.open(ctx, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	names, err := s.Vaults(ctx)
	if err != nil {
		return err
	}
	return a.print(names, func(w io.Writer) {
		for _, name := range names {
			fmt.Fprintln(w, name)
		}
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
				return a.print(out, func(w io.Writer) {
					fmt.Fprintf(w, "vault      %s  %s\norigin     %s\n", st.Name, st.Vault, st.Origin)
					fmt.Fprintf(w, "size       %d records, commit %d, epoch %d\n", st.Size, st.Height, st.Epoch)
					fmt.Fprintf(w, "newest     %s\nroot       %v\nstate      %v\n", formatTime(st.Time), st.Root, st.State)
					fmt.Fprintf(w, "keys       %d now, %d ever, %d versions\n", st.Live, st.Keys, st.Versions)
					fmt.Fprintf(w, "artifacts  %d in blocks of %s; log %s\n", st.Artifacts, formatBytes(st.BlockBytes), formatBytes(st.LogBytes))
				})
			})
		},
	}
}

func (a *app) keyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "key",
		Short: "Print the vault's verifier keys: the log's first, then the cosigner's",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withVault(cmd.Context(), true, func(v *graven.Vault) error {
				return a.print(v.VKeys(), func(w io.Writer) {
					for _, k := range v.VKeys() {
						fmt.Fprintln(w, k)
					}
				})
			})
		},
	}
}

func (a *app) checkpointCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "checkpoint",
		Short: "Print the newest checkpoint: a signed note over size and root",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withView(cmd.Context(), "", func(w *graven.View) error {
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
}

func (a *app) checkCommand() *cobra.Command {
	var quick bool
	cmd := &cobra.Command{
		Use:   "check [--quick]",
		Short: "Read everything again and list all damage",
		Long: "Read everything again and hold it against everything else: lines, tiles, commits, artifacts, blocks,\n" +
			"the state behind every commit, the checkpoint. All damage is listed, with file and offset. Tiles are\n" +
			"derived data: damaged ones are made again if no other process holds the store.",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			// With the lock a check can recover and mend; without it, it only looks.
			s, err := local.Open(cmd.Context(), a.conf.Store, graven.Options{})
			if errors.Is(err, graven.ErrLocked) || code(err) == exitDenied {
				a.talk("another process holds the store: checking what is published, mending nothing")
				s, err = a.open(cmd.Context(), true)
			}
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			return a.check(cmd.Context(), s, quick)
		},
	}
	cmd.Flags().BoolVar(&quick, "quick", false, "leave out the bytes of values")
	return cmd
}

// finding is one line of a check's JSON.
type finding struct {
	File   string `json:"file,omitempty"`
	Offset *int64 `json:"offset,omitempty"`
	What   string `json:"what"`
	Mended bool   `json:"mended"`
}

func (a *app) check(ctx context.Context, s *graven.Store, quick bool) error {
	p := a.newProgress("checked")
	r, err := s.Check(ctx, a.conf.Vault, graven.CheckOptions{Quick: quick, Progress: func(done, total int64) { p.show(0, done, total) }})
	p.end()
	if err != nil {
		return err
	}
	for _, note := range r.Notes {
		a.talk("recovered: %s", note)
	}
	found := []finding{}
	for _, f := range r.Findings {
		item := finding{File: f.File, What: f.What, Mended: f.Mended}
		if f.Offset >= 0 {
			item.Offset = &f.Offset
		}
		found = append(found, item)
	}
	out := map[string]any{
		"vault": r.Vault, "size": r.Size, "records": r.Records, "root": r.Root.String(), "blocks": r.Blocks,
		"artifacts": r.Artifacts, "tiles": r.Tiles, "bytes": r.Bytes, "findings": found, "ok": !r.Damaged(),
	}
	if err := a.print(out, func(w io.Writer) {
		for _, f := range r.Findings {
			fmt.Fprintln(w, f)
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
