package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"graven"
	"graven/record"
)

func (a *app) historyCommand() *cobra.Command {
	var at string
	var limit int
	cmd := &cobra.Command{
		Use:   "history KEY [--at AT] [--limit N]",
		Short: "List the versions of a key, the newest first",
		Long: "List the versions of a key, the newest first, deletions too. Each line is the seq of the record that wrote the\n" +
			"version, its number, its size, that record's time, and the id of the value, or the word deleted.",
		Example: "  graven history notes/today\n  graven get notes/today --at 17   # the value that record 17 wrote",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			key, err := parseKey(argv[0])
			if err != nil {
				return err
			}
			if limit < 0 {
				return usage("limit %d: wanted at least 0", limit)
			}
			return a.withView(cmd.Context(), at, func(w *graven.View) error {
				n := 0
				for e, err := range w.History(key) {
					if err == nil {
						err = cmd.Context().Err()
					}
					if err == nil {
						err = a.version(w, e)
					}
					if err != nil {
						return err
					}
					if n++; n == limit {
						return nil
					}
				}
				return nil
			})
		},
	}
	atFlag(cmd, &at)
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many (0: all)")
	return cmd
}

// version prints one version of a key.
func (a *app) version(w *graven.View, e graven.Entry) error {
	item, err := describe(w, e)
	if err != nil {
		return err
	}
	if !e.Live {
		out := map[string]any{"key": item.Key, "seq": item.Seq, "n": item.N, "time": item.Time, "deleted": true}
		return a.print(out, func(o io.Writer) {
			fmt.Fprintf(o, "%-8d %-4d %10s  %s  deleted\n", item.Seq, item.N, "-", item.Time)
		})
	}
	return a.print(item, func(o io.Writer) {
		fmt.Fprintf(o, "%-8d %-4d %10d  %s  %s\n", item.Seq, item.N, item.Size, item.Time, item.ID)
	})
}

func (a *app) diffCommand() *cobra.Command {
	var from, to string
	var values bool
	cmd := &cobra.Command{
		Use:   "diff [PREFIX] --from AT [--to AT] [--values]",
		Short: "List what changed between two moments",
		Long: "List the keys that begin with PREFIX and differ between two moments, one a line: + for a key that was added, - for\n" +
			"one that was deleted, ~ for one whose value changed. --to is now unless it is given. With --values each line is\n" +
			"followed by the ids of the values before and after. A key that was written again with the same bytes is no change.",
		Example: "  graven diff rules/ --from 2026-01-01 --to 2026-07-01\n  graven diff --from 2h",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			var q graven.Query
			if len(argv) > 0 {
				var err error
				if q.Prefix, err = parsePrefix(argv[0]); err != nil {
					return err
				}
			}
			if from == "" {
				return usage("--from AT is missing: diff compares that moment with --to, or with now")
			}
			return a.withView(cmd.Context(), to, func(after *graven.View) error {
				before, err := viewAt(after, from, time.Now())
				if errors.Is(err, graven.ErrFuture) && to != "" {
					return usage("--from %s lies behind --to", from)
				}
				if err != nil {
					return err
				}
				return a.diff(cmd.Context(), before, after, q, values)
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the earlier moment, like --at of other verbs")
	cmd.Flags().StringVar(&to, "to", "", "the later moment (default: now)")
	cmd.Flags().BoolVar(&values, "values", false, "show the ids of the values too")
	return cmd
}

// diff walks two lists side by side.
func (a *app) diff(ctx context.Context, before, after *graven.View, q graven.Query, values bool) error {
	nextOld, stopOld := iter.Pull2(before.List(q))
	defer stopOld()
	nextNew, stopNew := iter.Pull2(after.List(q))
	defer stopNew()
	old, err1, haveOld := nextOld()
	now, err2, haveNew := nextNew()
	for haveOld || haveNew {
		if err := errors.Join(err1, err2, ctx.Err()); err != nil {
			return err
		}
		order := bytes.Compare(old.Key, now.Key)
		if !haveNew {
			order = -1
		} else if !haveOld {
			order = 1
		}
		var err error
		switch {
		case order < 0:
			err = a.change("-", &old, nil, values)
		case order > 0:
			err = a.change("+", nil, &now, values)
		case old.Value != now.Value:
			err = a.change("~", &old, &now, values)
		}
		if err != nil {
			return err
		}
		if order <= 0 {
			old, err1, haveOld = nextOld()
		}
		if order >= 0 {
			now, err2, haveNew = nextNew()
		}
	}
	return nil
}

// change prints one line of a diff.
func (a *app) change(sign string, old, now *graven.Entry, values bool) error {
	word := map[string]string{"+": "added", "-": "deleted", "~": "changed"}[sign]
	item := map[string]any{"change": word}
	var key string
	if old != nil {
		key = formatKey(old.Key)
		item["old"] = map[string]any{"seq": old.Seq, "value": old.Value.String(), "size": old.Size}
	}
	if now != nil {
		key = formatKey(now.Key)
		item["new"] = map[string]any{"seq": now.Seq, "value": now.Value.String(), "size": now.Size}
	}
	item["key"] = key
	return a.print(item, func(o io.Writer) {
		fmt.Fprintf(o, "%s %s\n", sign, key)
		if values && old != nil {
			fmt.Fprintf(o, "    before  %s\n", old.Value)
		}
		if values && now != nil {
			fmt.Fprintf(o, "    after   %s\n", now.Value)
		}
	})
}

func (a *app) findCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "find sha256:HEX|FILE",
		Short: "Find every record and key that holds these bytes",
		Long: "Find every put and append of a value, by its id or by the bytes of FILE (- for standard input): one a line, the seq\n" +
			"of the record, its time, and the key, or the word append. A line whose key has these bytes still begins with *.",
		Example: "  graven find build/output.tar\n  graven find sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			id, err := a.valueID(cmd.Context(), argv[0])
			if err != nil {
				return err
			}
			return a.withView(cmd.Context(), "", func(w *graven.View) error { return a.find(cmd.Context(), w, id) })
		},
	}
}

// valueID is the id that an argument of find names.
func (a *app) valueID(ctx context.Context, s string) (id record.ID, err error) {
	if strings.HasPrefix(s, "sha256:") {
		if id, err = record.ParseID(s); err != nil {
			return id, usage("%w", err)
		}
		return id, nil
	}
	if info, err := os.Stat(s); err == nil && info.IsDir() {
		return id, usage("%s is a directory; wanted a file, or the id of a value: sha256:HEX", s)
	}
	in, err := a.input(ctx, []string{s}, 0)
	if _, bare := record.ParseID("sha256:" + s); bare == nil && errors.Is(err, fs.ErrNotExist) {
		return id, usage("there is no file %s; the id of a value is written sha256:%s", s, s)
	}
	if err != nil {
		return id, err
	}
	h := sha256.New()
	_, err = io.Copy(&ctxWriter{ctx, h}, in)
	return record.ID(h.Sum(nil)), errors.Join(err, in.Close())
}

// find looks through all transactions. The error is that nothing was found.
func (a *app) find(ctx context.Context, w *graven.View, id record.ID) error {
	found := 0
	for seq := uint64(0); seq <= w.Seq(); seq++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := w.Record(seq)
		if err != nil {
			return err
		}
		f, err := record.ParseFrame(line)
		if err != nil || f.Kind != record.KindTx || f.V != record.Version {
			continue
		}
		ops, err := w.Ops(seq)
		if err != nil {
			return err
		}
		for i := range ops {
			if op := &ops[i]; (op.Kind == record.OpPut || op.Kind == record.OpAppend) && op.Value == id {
				found++
				if err := a.hit(w, seq, f, op); err != nil {
					return err
				}
			}
		}
	}
	if found == 0 {
		return fmt.Errorf("value %s: %w in any of %d records", id, graven.ErrNotFound, w.Size())
	}
	return nil
}

// hit prints where a value was found.
func (a *app) hit(w *graven.View, seq uint64, f record.Frame, op *record.Op) error {
	item := map[string]any{"seq": seq, "time": formatTime(f.Time), "size": op.Size}
	what, mark := "append", " "
	if op.Kind == record.OpPut {
		what = formatKey(op.Key)
		now, err := w.Get(op.Key)
		current := err == nil && now.Value == op.Value
		item["key"], item["n"], item["current"] = what, op.N, current
		if current {
			mark = "*"
		}
	}
	return a.print(item, func(o io.Writer) { fmt.Fprintf(o, "%s %-8d %s  %s\n", mark, seq, formatTime(f.Time), what) })
}
