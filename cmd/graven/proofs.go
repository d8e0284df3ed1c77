package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"graven"
	"graven/proof"
)

func (a *app) proveCommand() *cobra.Command {
	var out, seq string
	cmd := &cobra.Command{
		Use:   "prove KEY | --record SEQ  [--out FILE]",
		Short: "Make a proof of a key (present or absent) or of a record",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			if (len(argv) == 1) == (seq != "") {
				return usage("prove wants either KEY or --record SEQ")
			}
			return a.withView(cmd.Context(), "", func(w *graven.View) error {
				file, err := a.prove(w, argv, seq)
				if err != nil {
					return err
				}
				if out != "" {
					return writeFile(out, bytesTo(file))
				}
				_, err = a.out.Write(file)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write to this file instead of standard output")
	cmd.Flags().StringVar(&seq, "record", "", "prove this record")
	return cmd
}

func (a *app) prove(w *graven.View, argv []string, seq string) ([]byte, error) {
	if seq != "" {
		n, err := parseSeq(seq)
		if err != nil {
			return nil, err
		}
		return w.ProveRecord(n)
	}
	key, err := parseKey(argv[0])
	if err != nil {
		return nil, err
	}
	return w.ProveKey(key)
}

func (a *app) verifyCommand() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify FILE (--vkey VKEY|@FILE) [--subject KEY] [--value FILE] [--min-size N]",
		Short: "Verify a proof, without a store",
		Long: "Verify a proof file against the log's verifier key, which must have come to you by a way that you trust.\n" +
			"Without --subject a true proof of some other key passes too: look at what it says.",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error { return a.verify(cmd.Context(), argv[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.vkey, "vkey", "", "verifier key of the log, or @FILE that holds it")
	f.StringVar(&o.subject, "subject", "", "the key that the proof must be about, or record:SEQ")
	f.StringVar(&o.value, "value", "", "file that must be the proven value; - for standard input")
	f.Uint64Var(&o.minSize, "min-size", 0, "refuse checkpoints of fewer records")
	return cmd
}

type verifyOptions struct {
	vkey, subject, value string
	minSize              uint64
}

func (a *app) verify(ctx context.Context, name string, o verifyOptions) error {
	if o.vkey == "" {
		return usage("verify wants --vkey VKEY or --vkey @FILE: the key that graven key prints")
	}
	vkey, err := readVKey(o.vkey)
	if err != nil {
		return err
	}
	v, err := proof.NewVerifier(vkey)
	if err != nil {
		return usage("verifier key: %w", err)
	}
	file, err := readProof(name)
	if err != nil {
		return err
	}
	r, err := v.AtLeast(o.minSize).Verify(file)
	if err != nil {
		return err
	}
	if o.subject != "" {
		if err := r.CheckSubject(o.subject); err != nil {
			return err
		}
	}
	if o.value != "" {
		in, err := a.input(ctx, []string{o.value}, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(r.CheckValue(in), in.Close()); err != nil {
			return err
		}
	}
	return a.verdict(r, o)
}

// verdict says what was proven.
func (a *app) verdict(r *proof.Result, o verifyOptions) error {
	out := map[string]any{
		"ok": true, "subject": r.Subject(), "origin": r.Checkpoint().Origin, "size": r.Checkpoint().Size,
		"root": r.Checkpoint().Root.String(), "says": r.Describe(),
	}
	switch c := r.Claim().(type) {
	case proof.RecordProven:
		out["claim"], out["seq"], out["record"] = "record", c.Seq, string(c.Line)
	case proof.Present:
		out["claim"], out["seq"], out["n"], out["value"], out["value_size"] = "present", c.Seq, c.N, c.Value.String(), c.Size
	case proof.Absent:
		out["claim"], out["deleted"] = "absent", c.Deleted
	}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintln(w, "verified")
		if o.subject == "" {
			fmt.Fprintf(w, "%s\n", a.bold("SUBJECT  "+strings.ToUpper(fmt.Sprint(out["claim"]))+"  "+oneLine(r.Subject())))
			a.talk("No --subject was given: make sure that this is what you asked about.")
		}
		for _, line := range r.Describe() {
			fmt.Fprintln(w, oneLine(line))
		}
		if o.value != "" {
			fmt.Fprintf(w, "The bytes of %s are that value.\n", oneLine(o.value))
		}
	})
}

// readVKey takes a key as it is, or the first line with anything on it of @FILE.
func readVKey(s string) (string, error) {
	name, isFile := strings.CutPrefix(s, "@")
	if !isFile {
		return s, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			return line, nil
		}
	}
	return "", usage("%s holds no key", name)
}

// readProof reads a proof file, as much of it as can be one.
func readProof(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, proof.MaxFile+1))
	if err != nil {
		return nil, err
	}
	return b, nil
}
