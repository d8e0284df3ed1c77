package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"graven"
	"graven/record"
)

// input opens FILE, or standard input for none or "-".
func (a *app) input(ctx context.Context, argv []string, i int) (io.ReadCloser, error) {
	if len(argv) <= i || argv[i] == "-" {
		if isTerminal(a.in) {
			a.talk("Type the value; end it with Ctrl-D.")
		}
		return untilDone(ctx, a.in), nil
	}
	return openInput(ctx, argv[i])
}

// openInput opens a file that may be anything but a directory. Opening or
// reading a pipe may take for ever, so nobody need wait for either.
func openInput(ctx context.Context, name string) (io.ReadCloser, error) {
	type opened struct {
		f   *os.File
		err error
	}
	result := make(chan opened, 1)
	go func() {
		f, err := os.Open(name)
		result <- opened{f, err}
	}()
	var in opened
	select {
	case in = <-result:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if in.err != nil {
		return nil, in.err
	}
	info, err := in.f.Stat()
	switch {
	case err != nil:
		return nil, errors.Join(err, in.f.Close())
	case info.IsDir():
		return nil, errors.Join(usage("%s is a directory; import takes trees", name), in.f.Close())
	case info.Mode().IsRegular():
		return in.f, nil
	}
	return untilDone(ctx, in.f), nil
}

// untilDone is r until ctx ends: a read of a terminal cannot be interrupted,
// but nobody need wait for it.
func untilDone(ctx context.Context, r io.Reader) io.ReadCloser {
	in, out := io.Pipe()
	stop := context.AfterFunc(ctx, func() { out.CloseWithError(ctx.Err()) })
	go func() {
		_, err := io.Copy(out, r)
		stop()
		out.CloseWithError(err) // nil is the end of the input
	}()
	return in
}

// receipt prints what a commit returned.
func (a *app) receipt(r *graven.Receipt) error {
	return a.print(receiptOf(r), func(w io.Writer) { fmt.Fprintf(w, "seq=%d size=%d root=%v\n", r.Seq, r.Size, r.Root) })
}

// receiptOf is a receipt's JSON.
func receiptOf(r *graven.Receipt) any {
	return struct {
		Seq        uint64 `json:"seq"`
		Size       uint64 `json:"size"`
		Root       string `json:"root"`
		Time       string `json:"time"`
		Replayed   bool   `json:"replayed,omitempty"`
		Commit     string `json:"commit"`
		Checkpoint string `json:"checkpoint"`
	}{r.Seq, r.Size, r.Root.String(), formatTime(r.Time), r.Replayed, string(r.Commit), string(r.Checkpoint)}
}

// commit commits a transaction and prints its receipt. An interrupt does not
// reach into a transaction that is under way.
func (a *app) commit(ctx context.Context, v *graven.Vault, tx *graven.Tx) error {
	if err := a.author(tx); err != nil {
		return err
	}
	r, err := v.Commit(context.WithoutCancel(ctx), tx)
	if err != nil {
		return err
	}
	return a.receipt(r)
}

// idFlag is the idempotency id of the verbs that write one transaction.
func idFlag(cmd *cobra.Command, id *string) {
	cmd.Flags().Var((*idValue)(id), "id", "idempotency id: the same command again gives the first receipt again, another one a conflict")
}

// idValue is an idempotency id. An empty one is a variable that was not set, and
// would be no id at all: whoever gives one relies on it.
type idValue string

func (v *idValue) String() string { return string(*v) }
func (v *idValue) Type() string   { return "string" }

func (v *idValue) Set(s string) error {
	if s == "" {
		return errors.New("at least one byte")
	}
	*v = idValue(s)
	return nil
}

// stage reads a value from FILE or standard input and commits it.
func (a *app) stage(ctx context.Context, argv []string, i int, id string, add func(*graven.Tx, graven.Content)) error {
	in, err := a.input(ctx, argv, i)
	if err != nil {
		return err
	}
	defer in.Close()
	return a.withVault(ctx, false, func(v *graven.Vault) error {
		c, err := v.Stage(ctx, in)
		if err != nil {
			return err
		}
		tx := &graven.Tx{ID: id}
		add(tx, c)
		if err := a.commit(ctx, v, tx); err != nil {
			c.Discard() // does nothing if a transaction took it
			return err
		}
		return nil
	})
}

// condFlags are the conditions on a verb's own key.
type condFlags struct {
	absent bool
	seq    string
}

func (c *condFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.absent, "if-absent", false, "only if the key has no value; otherwise exit with 6")
	cmd.Flags().StringVar(&c.seq, "if-seq", "", "only if record N wrote the key's newest version (0: it never had one); otherwise exit with 6")
}

// cond is the condition that the flags ask for, nil if none.
func (c *condFlags) cond() (*record.Cond, error) {
	switch {
	case c.absent && c.seq != "":
		return nil, usage("--if-absent and --if-seq: wanted one of them")
	case c.absent:
		return &record.Cond{Kind: record.Absent}, nil
	case c.seq != "":
		n, err := parseSeq(c.seq)
		if err != nil {
			return nil, err
		}
		return &record.Cond{Kind: record.AtSeq, Seq: n}, nil
	}
	return nil, nil
}

func (a *app) putCommand() *cobra.Command {
	var media, id string
	var only condFlags
	cmd := &cobra.Command{
		Use:   "put KEY [FILE|-] [--if-absent | --if-seq N] [--id ID]",
		Short: "Set a key to the bytes of a file or of standard input",
		Long: "Set a key to the bytes of FILE, or of standard input, of any length. The value is durable and signed when the\n" +
			"receipt seq=N size=N root=BASE64 appears: record N, the number of records and the root of the tree over them.",
		Example: "  graven put notes/today notes.txt --type text/plain --actor alice\n  date | graven put now",
		Args:    args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			key, err := parseKey(argv[0])
			if err != nil {
				return err
			}
			cond, err := only.cond()
			if err != nil {
				return err
			}
			return a.stage(cmd.Context(), argv, 1, id, func(tx *graven.Tx, c graven.Content) {
				tx.Put(key, c, graven.PutOptions{Type: media, If: cond})
			})
		},
	}
	only.add(cmd)
	cmd.Flags().StringVar(&media, "type", "", "media type of the value, up to 255 bytes")
	idFlag(cmd, &id)
	return cmd
}

func (a *app) appendCommand() *cobra.Command {
	var media, id string
	cmd := &cobra.Command{
		Use:   "append [FILE|-]",
		Short: "Record bytes without a key",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			return a.stage(cmd.Context(), argv, 0, id, func(tx *graven.Tx, c graven.Content) { tx.Append(c, media) })
		},
	}
	cmd.Flags().StringVar(&media, "type", "", "media type of the value, up to 255 bytes")
	idFlag(cmd, &id)
	return cmd
}

func (a *app) deleteCommand() *cobra.Command {
	var ifExists bool
	var id string
	var only condFlags
	cmd := &cobra.Command{
		Use:   "delete KEY [--if-exists] [--if-seq N] [--id ID]",
		Short: "End the life of a key; its history stays",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			key, err := parseKey(argv[0])
			if err != nil {
				return err
			}
			cond, err := only.cond()
			if err != nil {
				return err
			}
			return a.withVault(cmd.Context(), false, func(v *graven.Vault) error {
				if ifExists && id == "" && cond == nil {
					if _, err := v.View().Get(key); errors.Is(err, graven.ErrNotFound) {
						a.talk("%s is absent: nothing to delete", formatKey(key))
						return nil
					}
				}
				tx := &graven.Tx{ID: id}
				tx.Delete(key, graven.DeleteOptions{AllowAbsent: ifExists, If: cond})
				return a.commit(cmd.Context(), v, tx)
			})
		},
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "do nothing if the key is absent")
	cmd.Flags().StringVar(&only.seq, "if-seq", "", "only if record N wrote the key's newest version; otherwise exit with 6")
	idFlag(cmd, &id)
	return cmd
}

func (a *app) getCommand() *cobra.Command {
	var at, out, seq, number, part string
	cmd := &cobra.Command{
		Use:   "get KEY [--at AT] | --record SEQ [--op N]  [--range FIRST-LAST] [--out FILE]",
		Short: "Write a key's value, now or as it was, to standard output or a file",
		Long: "Write a key's value, or with --record one that a transaction carries, as that of an append, which has no key;\n" +
			"--op says which, counted from 0, if there are several. Every byte is hashed again before it is written: damaged\n" +
			"bytes never come out, and the command then exits with 1. --out leaves a whole file or none; standard output may\n" +
			"hold the part before the damage. --range writes a part, and reads no more than the chunks that it touches.",
		Example: "  graven get notes/today\n  graven get notes/today --at 2d --out notes.txt\n  graven get --record 17\n  graven get film --range 0-1023",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			if (len(argv) == 1) == (seq != "") || seq == "" && number != "" || seq != "" && at != "" {
				return usage("wanted KEY, or --record SEQ [--op N] without --at")
			}
			if seq != "" {
				return a.getOp(cmd.Context(), seq, number, part, out)
			}
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
				return a.value(cmd.Context(), w, e, val, part, out)
			})
		},
	}
	atFlag(cmd, &at)
	cmd.Flags().StringVar(&out, "out", "", "write to this file instead")
	cmd.Flags().StringVar(&part, "range", "", "only these bytes, counted from 0; the last may be left out")
	cmd.Flags().StringVar(&seq, "record", "", "write the value that the transaction in this record carries")
	cmd.Flags().StringVar(&number, "op", "", "of this op of the record, counted from 0")
	return cmd
}

// getOp writes the value of an op; without a number of the one that carries any.
func (a *app) getOp(ctx context.Context, record, number, part, out string) error {
	seq, err := parseSeq(record)
	if err != nil {
		return err
	}
	wanted := -1
	if number != "" {
		if wanted, err = strconv.Atoi(number); err != nil || wanted < 0 {
			return usage("op %q: wanted a number from 0", number)
		}
	}
	return a.withView(ctx, "", func(w *graven.View) error {
		if err := reached(w, seq); err != nil {
			return err
		}
		ops, err := w.Ops(seq)
		if err != nil {
			return err
		}
		if wanted >= len(ops) {
			return fmt.Errorf("op %d of record %d: %w: it has %d", wanted, seq, graven.ErrNotFound, len(ops))
		}
		values := 0
		for i := range ops {
			if ops[i].HasValue() {
				values++
				if number == "" {
					wanted = i
				}
			}
		}
		if number == "" && values != 1 {
			return usage("record %d carries %d values; say which with --op N, see graven show %d", seq, values, seq)
		}
		op := &ops[wanted]
		val, err := w.ValueOf(op)
		if err != nil {
			return fmt.Errorf("op %d of record %d: %w", wanted, seq, err)
		}
		e := graven.Entry{Key: op.Key, Seq: seq, N: op.N, Live: true, Value: op.Value, Size: op.Size, Type: op.Type}
		return a.value(ctx, w, e, val, part, out)
	})
}

// valueSource is what value writes: a value, or a part of one.
type valueSource interface {
	io.WriterTo
	Size() uint64
}

// valuePart is a part of a value.
type valuePart struct {
	value       *graven.Value
	first, size uint64
}

// partOf is the part of a value that a range names: first and last byte, counted from
// 0, as in HTTP.
func partOf(val *graven.Value, text string) (valueSource, error) {
	if text == "" {
		return val, nil
	}
	from, to, ok := strings.Cut(text, "-")
	first, err := strconv.ParseUint(from, 10, 63)
	last := max(val.Size(), 1) - 1
	if err == nil && to != "" {
		last, err = strconv.ParseUint(to, 10, 63)
	}
	if !ok || err != nil || to != "" && first > last {
		return nil, usage("range %q: wanted FIRST-LAST, or FIRST- to the end, counted from 0", text)
	}
	if first >= val.Size() {
		return nil, usage("range %q: the value has %d bytes", text, val.Size())
	}
	return valuePart{val, first, min(last, val.Size()-1) - first + 1}, nil
}

// Size is how many bytes the part has.
func (p valuePart) Size() uint64 { return p.size }

// WriteTo writes the part, a chunk or so at a time.
func (p valuePart) WriteTo(w io.Writer) (written int64, err error) {
	buf := make([]byte, min(p.size, 8<<20))
	for done := uint64(0); done < p.size; done += uint64(len(buf)) {
		buf = buf[:min(uint64(len(buf)), p.size-done)]
		if _, err := p.value.ReadAt(buf, int64(p.first+done)); err != nil && !errors.Is(err, io.EOF) {
			return written, err
		}
		n, err := w.Write(buf)
		if written += int64(n); err != nil {
			return written, err
		}
	}
	return written, nil
}

// value writes a value, or a part, to a file or to standard output. As JSON it is the
// entry, and the bytes in base64 unless they go to a file.
func (a *app) value(ctx context.Context, w *graven.View, e graven.Entry, whole *graven.Value, part, out string) error {
	val, err := partOf(whole, part)
	if err != nil {
		return err
	}
	item, err := describe(w, e)
	if err != nil {
		return err
	}
	switch {
	case out != "":
		if err := writeFile(ctx, out, val); err != nil {
			return fmt.Errorf("key %s: nothing was written: %w", item.Key, err)
		}
		if a.json() {
			return a.print(item, nil)
		}
		return nil
	case a.json():
		head, err := json.Marshal(item)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(a.out, `%s,"bytes":"`, strings.TrimSuffix(string(head), "}")); err != nil {
			return err
		}
		to := base64.NewEncoder(base64.StdEncoding, &ctxWriter{ctx, a.out})
		if n, err := val.WriteTo(to); err != nil {
			return fmt.Errorf("key %s: the output is incomplete, %d of %d bytes: %w", item.Key, n, val.Size(), err)
		}
		if err := to.Close(); err != nil {
			return err
		}
		_, err = io.WriteString(a.out, "\"}\n")
		return err
	}
	if n, err := val.WriteTo(&ctxWriter{ctx, a.out}); err != nil {
		return fmt.Errorf("key %s: the output is incomplete, %d of %d bytes: %w", item.Key, n, val.Size(), err)
	}
	return nil
}

func atFlag(cmd *cobra.Command, at *string) {
	cmd.Flags().StringVar(at, "at", "", "as it was: a seq, a time, a date (its end in UTC), or how long ago (2h)")
}

// listed is an entry as JSON.
type listed struct {
	Key  string `json:"key"`
	Seq  uint64 `json:"seq"`
	N    uint64 `json:"n"`
	Time string `json:"time"`
	ID   string `json:"value"`
	Size uint64 `json:"size"`
	Type string `json:"type,omitempty"`
}

// describe is an entry with the time of its record.
func describe(w *graven.View, e graven.Entry) (listed, error) {
	line, err := w.Record(e.Seq)
	if err != nil {
		return listed{}, err
	}
	f, err := record.ParseFrame(line)
	if err != nil {
		return listed{}, fmt.Errorf("record %d: %w: %w", e.Seq, graven.ErrDamaged, err)
	}
	return listed{Key: formatKey(e.Key), Seq: e.Seq, N: e.N, Time: formatTime(f.Time), ID: e.Value.String(), Size: e.Size, Type: e.Type}, nil
}

// rangeFlags are the bounds of a list or a count.
func rangeFlags(cmd *cobra.Command, from, to *string) {
	cmd.Flags().StringVar(from, "from", "", "only keys from this one on")
	cmd.Flags().StringVar(to, "to", "", "only keys before this one")
}

// rangeQuery is the query for keys between bounds that begin with a prefix; each
// may be missing.
func rangeQuery(prefix, from, to string) (q graven.Query, err error) {
	var errs [3]error
	q.Prefix, errs[0] = parsePrefix(prefix)
	q.From, errs[1] = parsePrefix(from)
	q.To, errs[2] = parsePrefix(to)
	return q, errors.Join(errs[:]...)
}

func (a *app) listCommand() *cobra.Command {
	var at, from, to string
	var limit int
	var reverse, long bool
	cmd := &cobra.Command{
		Use:   "list [PREFIX] [--from KEY] [--to KEY] [--at AT] [--limit N] [--reverse] [--long]",
		Short: "List keys in byte order",
		Long: "List the keys that begin with PREFIX, in byte order, one a line; of them those from --from up to, and not\n" +
			"including, --to. With --long each line is the seq of the key's\n" +
			"newest record, its version, its size, that record's time, and the key.",
		Example: "  graven list notes/ --long\n  graven list --at 2026-11-21 --reverse --limit 10",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			q, err := rangeQuery("", from, to)
			if err != nil {
				return err
			}
			q.Limit, q.Reverse = limit, reverse
			if limit < 0 {
				return usage("limit %d: wanted at least 0", limit)
			}
			if len(argv) > 0 {
				if q.Prefix, err = parsePrefix(argv[0]); err != nil {
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
					if !long && !a.json() {
						if _, err := fmt.Fprintln(a.out, formatKey(e.Key)); err != nil {
							return err
						}
						continue
					}
					item, err := describe(w, e)
					if err != nil {
						return err
					}
					if err := a.print(item, func(o io.Writer) {
						fmt.Fprintf(o, "%-8d %-4d %10d  %s  %s\n", item.Seq, item.N, item.Size, item.Time, item.Key)
					}); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	atFlag(cmd, &at)
	rangeFlags(cmd, &from, &to)
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many (0: all)")
	cmd.Flags().BoolVar(&reverse, "reverse", false, "from the last key down")
	cmd.Flags().BoolVarP(&long, "long", "l", false, "with seq, version, size and time")
	return cmd
}
