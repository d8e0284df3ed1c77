package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"graven"
	"graven/merkle"
	"graven/record"
)

func parseSeq(s string) (uint64, error) {
	seq, err := strconv.ParseUint(s, 10, 53)
	if err != nil {
		return 0, usage("seq %q: wanted a number", s)
	}
	return seq, nil
}

// reached says whether the log has a record seq.
func reached(w *graven.View, seq uint64) error {
	if seq > w.Seq() {
		return fmt.Errorf("record %d: %w: the newest is %d", seq, graven.ErrFuture, w.Seq())
	}
	return nil
}

func (a *app) logCommand() *cobra.Command {
	var n int
	var from string
	cmd := &cobra.Command{
		Use:   "log [-n N] [--from SEQ]",
		Short: "Show records: the newest first, or upwards from a seq",
		Long: "Show records, one a line: the newest first, or with --from that record and what follows it. As JSON each line\n" +
			"is the record itself, byte for byte.",
		Example: "  graven log -n 20\n  graven log --from 1000 -o json",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n < 0 {
				return usage("n %d: wanted at least 0", n)
			}
			return a.withView(cmd.Context(), "", func(w *graven.View) error {
				seq, step := w.Seq(), -1
				if from != "" {
					var err error
					if seq, err = parseSeq(from); err != nil {
						return err
					}
					if err = reached(w, seq); err != nil {
						return err
					}
					step = 1
				}
				for i := 0; n == 0 || i < n; i++ {
					line, err := w.Record(seq)
					if err == nil {
						err = a.logLine(line)
					}
					if err == nil {
						err = cmd.Context().Err()
					}
					if err != nil {
						return err
					}
					if step < 0 && seq == 0 || step > 0 && seq == w.Seq() {
						break
					}
					seq += uint64(step)
				}
				return nil
			})
		},
	}
	cmd.Flags().IntVarP(&n, "number", "n", 0, "at most so many (0: all)")
	cmd.Flags().StringVar(&from, "from", "", "begin with this seq and go upwards")
	return cmd
}

// logLine shows one record on one line. As JSON it is the record itself.
func (a *app) logLine(line []byte) error {
	return a.print(json.RawMessage(line), func(w io.Writer) {
		rec, err := record.Parse(line)
		if err != nil {
			fmt.Fprintf(w, "? %v\n", err)
			return
		}
		fmt.Fprintf(w, "%-8d %s  %-9s %s\n", rec.Seq, formatTime(rec.Time), rec.Kind, oneLine(summary(rec)))
	})
}

// summary is what a record says, in short.
func summary(rec *record.Record) string {
	switch b := rec.Body.(type) {
	case *record.Genesis:
		return fmt.Sprintf("vault %s, origin %s", b.Name, b.Origin)
	case *record.Commit:
		return fmt.Sprintf("height %d, root of what is before %v", b.Height, b.Root)
	case *record.Tx:
		who := ""
		if b.Actor != "" {
			who = b.Actor + ": "
		}
		if b.Wide != nil {
			return fmt.Sprintf("%s%d ops", who, b.Wide.Count)
		}
		first := opText(&b.Ops[0])
		for i := range b.Ops { // what it did says more than what it demanded
			if b.Ops[i].Kind != record.OpIf {
				first = opText(&b.Ops[i])
				break
			}
		}
		if n := len(b.Ops) - 1; n > 0 {
			return fmt.Sprintf("%s%s, and %d more", who, first, n)
		}
		return who + first
	case *record.Block:
		return fmt.Sprintf("%s block, %d artifacts, %v", b.Class, b.Count, b.ID)
	case *record.Document:
		return fmt.Sprintf("number %d, %v", b.Number, b.Doc)
	}
	return ""
}

func opText(op *record.Op) string {
	only := ""
	if op.If != nil {
		only = " if " + condText(op.If)
	}
	switch op.Kind {
	case record.OpPut:
		return fmt.Sprintf("put %s (%d bytes, version %d)%s", formatKey(op.Key), op.Size, op.N, only)
	case record.OpDelete:
		return "delete " + formatKey(op.Key) + only
	case record.OpAppend:
		return fmt.Sprintf("append %v (%d bytes)", op.Value, op.Size)
	case record.OpIf:
		if op.If != nil {
			return "if " + formatKey(op.Key) + " is " + condText(op.If)
		}
		return fmt.Sprintf("if nothing changed from %q to %q since %d", op.From, op.To, op.Since)
	}
	return fmt.Sprint("an op of kind ", op.Kind)
}

// condText is a condition on a key in words.
func condText(c *record.Cond) string {
	switch c.Kind {
	case record.Absent:
		return "absent"
	case record.Present:
		return "present"
	case record.AtSeq:
		return fmt.Sprintf("at seq %d", c.Seq)
	case record.HasValue:
		return c.Value.String()
	}
	return "?"
}

func (a *app) showCommand() *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use:   "show SEQ [--raw]",
		Short: "Show one record, or exactly the leaf's bytes",
		Long: "Show one record with its ops, also of a transaction whose ops stand in an artifact. --raw prints the leaf's\n" +
			"bytes and nothing else, no line end either; their hash with a zero byte before them is the leaf's hash.",
		Example: "  graven show 2\n  { printf '\\000'; graven show 2 --raw; } | sha256sum",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			seq, err := parseSeq(argv[0])
			if err != nil {
				return err
			}
			return a.withView(cmd.Context(), "", func(w *graven.View) error {
				if err := reached(w, seq); err != nil {
					return err
				}
				line, err := w.Record(seq)
				if err != nil {
					return err
				}
				if raw {
					_, err := a.out.Write(line)
					return err
				}
				if a.json() {
					return a.showJSON(w, seq, line)
				}
				return a.print(nil, func(o io.Writer) { showRecord(o, w, line) })
			})
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "the leaf's bytes, nothing else")
	return cmd
}

// showJSON prints a record, and the ops that stand in an artifact beside it.
func (a *app) showJSON(w *graven.View, seq uint64, line []byte) error {
	out := struct {
		Record json.RawMessage   `json:"record"`
		Leaf   string            `json:"leaf"`
		Ops    []json.RawMessage `json:"ops,omitempty"`
	}{Record: line, Leaf: merkle.LeafHash(line).String()}
	rec, err := record.Parse(line)
	if err != nil {
		return err
	}
	if tx, ok := rec.Body.(*record.Tx); ok && tx.Wide != nil {
		ops, err := w.Ops(seq)
		if err != nil {
			return err
		}
		for i := range ops {
			op, err := ops[i].Append(nil)
			if err != nil {
				return err
			}
			out.Ops = append(out.Ops, op)
		}
	}
	return a.print(out, nil)
}

// showRecord writes a record for people: its fields, and each op on a line.
func showRecord(o io.Writer, w *graven.View, line []byte) {
	rec, err := record.Parse(line)
	if err != nil {
		fmt.Fprintf(o, "%v\n%s\n", err, oneLine(string(line)))
		return
	}
	field := func(name string, value any) { fmt.Fprintf(o, "%-8s%s\n", name, oneLine(fmt.Sprint(value))) }
	field("record", rec.Seq)
	field("kind", rec.Kind)
	field("time", formatTime(rec.Time))
	field("leaf", merkle.LeafHash(line))
	tx, ok := rec.Body.(*record.Tx)
	if !ok {
		fmt.Fprintf(o, "%s\n", oneLine(string(line)))
		return
	}
	if tx.Actor != "" {
		field("actor", tx.Actor)
	}
	if tx.ID != "" {
		field("id", tx.ID)
	}
	field("req", tx.Req)
	if tx.Sig != nil {
		field("signed", tx.Sig.Key)
	}
	ops, err := w.Ops(rec.Seq)
	if err != nil {
		field("ops", err)
		return
	}
	for i := range ops {
		op := &ops[i]
		text := opText(op)
		if op.Kind == record.OpPut {
			text += fmt.Sprintf("  %v", op.Value)
		}
		field(fmt.Sprintf("op %d", i), text)
	}
}
