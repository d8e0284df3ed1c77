package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"graven"
	"graven/record"
)

// input opens FILE, or standard input for none or "-".
func (a *app) input(argv []string, i int) (io.ReadCloser, error) {
	if len(argv) <= i || argv[i] == "-" {
		return io.NopCloser(a.in), nil
	}
	f, err := os.Open(argv[i])
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return nil, errors.Join(usage("%s is a directory; use import for trees", argv[i]), f.Close())
	}
	return f, nil
}

// receipt prints what a commit returned.
func (a *app) receipt(r *graven.Receipt) error {
	out := struct {
		Seq        uint64 `json:"seq"`
		Size       uint64 `json:"size"`
		Root       string `json:"root"`
		Time       string `json:"time"`
		Replayed   bool   `json:"replayed,omitempty"`
		Commit     string `json:"commit"`
		Checkpoint string `json:"checkpoint"`
	}{r.Seq, r.Size, r.Root.String(), formatTime(r.Time), r.Replayed, string(r.Commit), string(r.Checkpoint)}
	return a.print(out, func(w io.Writer) { fmt.Fprintf(w, "seq=%d size=%d root=%v\n", r.Seq, r.Size, r.Root) })
}

// commit commits a transaction and prints its receipt.
func (a *app) commit(ctx context.Context, v *graven.Vault, tx *graven.Tx) error {
	tx.Actor = a.conf.Actor
	r, err := v.Commit(ctx, tx)
	if err != nil {
		return err
	}
	return a.receipt(r)
}

// stage reads a value from FILE or standard input and commits it.
func (a *app) stage(ctx context.Context, argv []string, i int, add func(*graven.Tx, graven.Content)) error {
	in, err := a.input(argv, i)
	if err != nil {
		return err
	}
	defer in.Close()
	return a.withVault(ctx, false, func(v *graven.Vault) error {
		c, err := v.Stage(ctx, in)
		if err != nil {
			return err
		}
		tx := &graven.Tx{}
		add(tx, c)
		if err := a.commit(ctx, v, tx); err != nil {
			c.Discard()
			return err
		}
		return nil
	})
}

func (a *app) putCommand() *cobra.Command {
	var media string
	cmd := &cobra.Command{
		Use:   "put KEY [FILE|-]",
		Short: "Set a key to the bytes of a file or of standard input",
		Args:  args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			key, err := parseKey(argv[0])
			if err != nil {
				return err
			}
			return a.stage(cmd.Context(), argv, 1, func(tx *graven.Tx, c graven.Content) {
				tx.Put(key, c, graven.PutOptions{Type: media})
			})
		},
	}
	cmd.Flags().StringVar(&media, "type", "", "media type of the value")
	return cmd
}

func (a *app) appendCommand() *cobra.Command {
	var media string
	cmd := &cobra.Command{
		Use:   "append [FILE|-]",
		Short: "Record bytes without a key",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			return a.stage(cmd.Context(), argv, 0, func(tx *graven.Tx, c graven.Content) { tx.Append(c, media) })
		},
	}
	cmd.Flags().StringVar(&media, "type", "", "media type of the value")
	return cmd
}

func (a *app) deleteCommand() *cobra.Command {
	var ifExists bool
	cmd := &cobra.Command{
		Use:   "delete KEY [--if-exists]",
		Short: "End the life of a key; its history stays",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			key, err := parseKey(argv[0])
			if err != nil {
				return err
			}
			return a.withVault(cmd.Context(), false, func(v *graven.Vault) error {
				if ifExists {
					if _, err := v.View().Get(key); errors.Is(err, graven.ErrNotFound) {
						a.talk("%s is absent: nothing to delete", formatKey(key))
						return nil
					}
				}
				tx := &graven.Tx{}
				tx.Delete(key, graven.DeleteOptions{AllowAbsent: ifExists})
				return a.commit(cmd.Context(), v, tx)
			})
		},
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "do nothing if the key is absent")
	return cmd
}

func (a *app) getCommand() *cobra.Command {
	var at, out string
	cmd := &cobra.Command{
		Use:   "get KEY [--at AT] [--out FILE]",
		Short: "Write a key's value, now or as it was, to standard output or a file",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			key, err := parseKey(argv[0])
			if err != nil {
				return err
			}
			return a.withView(cmd.Context(), at, func(w *graven.View) error {
				e, err := w.Get(key)
				if err != nil {
					return err
				}
				val, err := w.Value(e)
				if err != nil {
					return err
				}
				if out != "" {
					return writeFile(out, val)
				}
				if n, err := val.WriteTo(a.out); err != nil {
					return fmt.Errorf("after %d of %d bytes: %w", n, val.Size(), err)
				}
				return nil
			})
		},
	}
	atFlag(cmd, &at)
	cmd.Flags().StringVar(&out, "out", "", "write to this file instead")
	return cmd
}

func atFlag(cmd *cobra.Command, at *string) {
	cmd.Flags().StringVar(at, "at", "", "as it was: a seq, a time, a date (its end in UTC), or how long ago (2h)")
}

// listed is an entry as JSON.
type listed struct {
	Key   string    `json:"key"`
	Seq   uint64    `json:"seq"`
	N     uint64    `json:"n"`
	Value record.ID `json:"-"`
	ID    string    `json:"value"`
	Size  uint64    `json:"size"`
	Type  string    `json:"type,omitempty"`
}

func (a *app) listCommand() *cobra.Command {
	var at string
	var limit int
	var reverse bool
	cmd := &cobra.Command{
		Use:   "list [PREFIX] [--at AT] [--limit N] [--reverse]",
		Short: "List keys in byte order",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			q := graven.Query{Limit: limit, Reverse: reverse}
			if limit < 0 {
				return usage("limit %d: wanted at least 0", limit)
			}
			if len(argv) > 0 && argv[0] != "" {
				var err error
				if q.Prefix, err = parseKey(argv[0]); err != nil {
					return err
				}
			}
			return a.withView(cmd.Context(), at, func(w *graven.View) error {
				for e, err := range w.List(q) {
					if err == nil {
						err = cmd.Context().Err()
					}
					if err != nil {
						return err
					}
					item := listed{Key: formatKey(e.Key), Seq: e.Seq, N: e.N, ID: e.Value.String(), Size: e.Size, Type: e.Type}
					if err := a.print(item, func(o io.Writer) {
						fmt.Fprintf(o, "%s\n", item.Key)
					}); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	atFlag(cmd, &at)
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many (0: all)")
	cmd.Flags().BoolVar(&reverse, "reverse", false, "from the last key down")
	return cmd
}
