package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"graven"
	"graven/proof"
)

// proveOptions say what prove is to prove.
type proveOptions struct {
	record, list, count  string
	history, consistency string
	from, to             string
	op                   string
	at                   string
	limit                int
	cosigned, signed     bool
	reverse, compact     bool
	out                  string
}

func (a *app) proveCommand() *cobra.Command {
	var o proveOptions
	cmd := &cobra.Command{
		Use:   "prove KEY | --record SEQ [--op N | --signed] | --list PREFIX | --count PREFIX | --history KEY | --consistency OLDSIZE  [--at AT] [--out FILE]",
		Short: "Make a proof: of a key, a record, a complete list, a count, a history",
		Long: "Make a file that proves to anybody who has the log's verifier key: that KEY has the value that it has, or is\n" +
			"absent, in the newest state; with --record, that the log holds a record at this place (a C2SP tlog-proof), or\n" +
			"with --op that the transaction in it has this op, counted from 0, without showing the others of a wide one, with\n" +
			"--signed that its actor signed it, with all of its ops; with --list, that these are all keys which begin with\n" +
			"PREFIX and have a value, or the first --limit of them, from the last with --reverse; with --count, how many they\n" +
			"are; with --history, that these are all versions of KEY; with\n" +
			"--consistency, that the log's first OLDSIZE records are those that a checkpoint of that size was over. --compact\n" +
			"leaves runs of deleted keys out of a list's file, by the log's own counts. --at makes the proof of KEY as it was\n" +
			"then, and that of a list or a count as of the last commit at or before AT. Where AT is a seq the proof is about that\n" +
			"record; where it is a time, a date (its end in UTC) or an age, about that instant by the log's own clock.",
		Example: "  graven prove notes/today --out today.proof\n  graven prove --record 2 --out record.proof\n" +
			"  graven prove --list notes/ --at 2026-11-21 --out then.proof",
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			f := cmd.Flags()
			wanted := len(argv)
			for _, name := range []string{"record", "list", "count", "history", "consistency"} {
				if f.Changed(name) {
					wanted++
				}
			}
			if wanted != 1 {
				return usage("wanted one of KEY, --record SEQ, --list PREFIX, --count PREFIX, --history KEY and --consistency OLDSIZE")
			}
			if (o.limit != 0 || o.reverse) && !f.Changed("list") {
				return usage("--limit and --reverse go with --list")
			}
			if (o.from != "" || o.to != "") && !f.Changed("list") && !f.Changed("count") {
				return usage("--from and --to go with --list and --count")
			}
			if o.compact && !f.Changed("list") {
				return usage("--compact goes with --list")
			}
			if (o.op != "" || o.signed) && !f.Changed("record") || o.op != "" && o.signed {
				return usage("--op or --signed goes with --record")
			}
			if o.limit < 0 {
				return usage("--limit %d: wanted at least 0", o.limit)
			}
			if o.at != "" && f.Changed("record") {
				return usage("--at goes with KEY, --list, --count and --history; a record is what it is at any time")
			}
			if o.at != "" && f.Changed("consistency") {
				return usage("--at goes with KEY, --list, --count and --history; to hold two older checkpoints against each other, prove the size of each against now")
			}
			return a.withView(cmd.Context(), o.at, func(w *graven.View) error { return a.prove(cmd, w, argv, o) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.out, "out", "", "write to this file instead of standard output")
	f.StringVar(&o.record, "record", "", "prove this record")
	f.StringVar(&o.op, "op", "", "prove this op of the record, counted from 0")
	f.BoolVar(&o.signed, "signed", false, "prove that the record's transaction bears its actor's signature")
	f.StringVar(&o.list, "list", "", "prove all keys that begin with this")
	f.StringVar(&o.count, "count", "", "prove how many keys begin with this")
	f.StringVar(&o.history, "history", "", "prove all versions of this key")
	f.StringVar(&o.consistency, "consistency", "", "prove that so many records are still what they were")
	f.IntVar(&o.limit, "limit", 0, "list at most so many (0: all)")
	f.BoolVar(&o.reverse, "reverse", false, "list from the last key down")
	f.BoolVar(&o.compact, "compact", false, "leave runs of deleted keys out of the list's file")
	f.BoolVar(&o.cosigned, "cosigned", false, "with the ML-DSA-44 cosignature of the vault's second key (3.3 KB more)")
	atFlag(cmd, &o.at)
	rangeFlags(cmd, &o.from, &o.to)
	return cmd
}

func (a *app) prove(cmd *cobra.Command, w *graven.View, argv []string, o proveOptions) error {
	if o.cosigned {
		var err error
		if w, err = w.Cosigned(); err != nil {
			return err
		}
	}
	file, err := a.proof(cmd, w, argv, o)
	if err != nil {
		return err
	}
	if atEnd := o.at != "" && w.Seq() == w.Size()-1; atEnd && allDigits(o.at) {
		a.talk("Record %d is the newest: the proof is about now, size %d.", w.Seq(), w.Size())
	} else if atEnd {
		a.talk("No record is of a time after %s: the proof is about now, size %d, and not about that time.", oneLine(o.at), w.Size())
	}
	if o.out != "" {
		if err := writeFile(cmd.Context(), o.out, bytesTo(file)); err != nil {
			return err
		}
		a.talk("%s: %d bytes, for size %d; verify it with: graven verify %s --vkey VKEY", oneLine(o.out), len(file), w.Size(), oneLine(o.out))
	}
	if a.json() {
		item := map[string]any{"size": w.Size(), "root": w.Head().Root.String(), "bytes": len(file)}
		if o.out == "" {
			item["proof"] = string(file)
		}
		return a.print(item, nil)
	}
	if o.out == "" {
		_, err = a.out.Write(file)
	}
	return err
}

// proof makes the proof that the flags ask for.
func (a *app) proof(cmd *cobra.Command, w *graven.View, argv []string, o proveOptions) ([]byte, error) {
	f := cmd.Flags()
	switch {
	case f.Changed("record"):
		n, err := parseSeq(o.record)
		if err != nil {
			return nil, err
		}
		if err := reached(w, n); err != nil {
			return nil, err
		}
		if o.signed {
			return w.ProveSigned(n)
		}
		if o.op == "" {
			return w.ProveRecord(n)
		}
		number, err := strconv.ParseUint(o.op, 10, 64)
		if err != nil {
			return nil, usage("op %q: wanted a number from 0", o.op)
		}
		return w.ProveOp(n, number)
	case f.Changed("list"):
		q, err := rangeQuery(o.list, o.from, o.to)
		if err != nil {
			return nil, err
		}
		q.Limit, q.Reverse, q.Compact = o.limit, o.reverse, o.compact
		return w.ProveList(q)
	case f.Changed("count"):
		q, err := rangeQuery(o.count, o.from, o.to)
		if err != nil {
			return nil, err
		}
		return w.ProveCount(q)
	case f.Changed("history"):
		key, err := parseKey(o.history)
		if err != nil {
			return nil, err
		}
		return w.ProveHistory(key)
	case f.Changed("consistency"):
		size, err := parseSeq(o.consistency)
		if err != nil {
			return nil, usage("size %q: wanted a number of records", o.consistency)
		}
		return w.ProveConsistency(size)
	}
	key, err := parseKey(argv[0])
	if err != nil {
		return nil, err
	}
	return w.ProveKey(key)
}

type verifyOptions struct {
	vkey, subject, value string
	old                  string
	cosigner, policy     string
	signer               string
	minSize              uint64
}

func (a *app) verifyCommand() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify FILE (--vkey VKEY|@FILE | --policy FILE) [--subject KEY] [--value FILE] [--min-size N]",
		Short: "Verify a proof, without a store",
		Long: "Verify a proof (FILE, or - for standard input) against the log's verifier key, which must have come to you by\n" +
			"a way that you trust. It needs no store and no network. What was proven is said, and about what: without\n" +
			"--subject a true proof of some other key passes too, so look at the subject. --subject of a record's proof is\n" +
			"record:SEQ, of a list list:PREFIX, of a count count:PREFIX,\n" +
			"of a history history:KEY, of a key in the past past:SEQ:KEY or past:TIME:KEY (2026-11-21T12:00:00Z, or a date: its\n" +
			"end in UTC), of a signed transaction signed:SEQ, of consistency size:N; of any other list or count the JSON that\n" +
			"verify shows of it. --min-size refuses a proof that is older than the log is known to be.\n" +
			"--policy takes a C2SP tlog-policy file in place of the key: it names logs and witnesses, and how many of the\n" +
			"witnesses must have cosigned the checkpoint of the proof. The checkpoint of --old needs the log's signature only.",
		Example: "  graven verify today.proof --vkey @ledger.vkey --subject notes/today --value notes.txt",
		Args:    args(cobra.ExactArgs(1)),
		RunE:    func(cmd *cobra.Command, argv []string) error { return a.verify(cmd.Context(), argv[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.vkey, "vkey", "", "verifier key of the log, or @FILE that holds it")
	f.StringVar(&o.subject, "subject", "", "the key that the proof must be about, or record:SEQ, list:PREFIX, count:PREFIX")
	f.StringVar(&o.value, "value", "", "file that must be the proven value; - for standard input")
	f.StringVar(&o.cosigner, "cosigner", "", "verifier key of a cosigner, or @FILE, which must have signed too")
	f.StringVar(&o.signer, "signer", "", "verifier key of the actor, or @FILE, who must have signed the transaction (signed:SEQ)")
	f.StringVar(&o.policy, "policy", "", "file with a policy: the logs, and the witnesses that must have signed too")
	f.StringVar(&o.old, "old", "", "file with an older checkpoint, for a proof of consistency with it")
	f.Uint64Var(&o.minSize, "min-size", 0, "refuse checkpoints of fewer records")
	return cmd
}

func (a *app) verify(ctx context.Context, name string, o verifyOptions) error {
	t, err := a.trusted(ctx, o)
	if err != nil {
		return err
	}
	subject, err := wantedSubject(o.subject)
	if err != nil {
		return err
	}
	file, err := a.readProof(ctx, name)
	if err != nil {
		return err
	}
	r, err := t.verifier.AtLeast(o.minSize).Verify(file)
	if err == nil && subject != "" {
		err = checkSubject(r, subject)
	}
	if err == nil {
		err = r.CheckCosigners(t.cosigner...)
	}
	if err == nil && o.signer != "" {
		var signer string
		if signer, err = a.readVKey(ctx, o.signer); err == nil {
			err = r.CheckActor(signer)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if o.old != "" {
		if err := a.checkOld(ctx, r, t.verifier, o.old); err != nil {
			return fmt.Errorf("%s: %w", o.old, err)
		}
	}
	if o.value != "" {
		in, err := a.input(ctx, []string{o.value}, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(r.CheckValue(in), in.Close()); err != nil {
			return fmt.Errorf("%s: %w", o.value, err)
		}
	}
	return a.verdict(r, t, o)
}

// checkOld compares an older checkpoint with a proof of consistency.
func (a *app) checkOld(ctx context.Context, r *proof.Result, v *proof.Verifier, name string) error {
	note, err := a.readProof(ctx, name)
	if err != nil {
		return err
	}
	old, err := v.OpenCheckpoint(note)
	if err != nil {
		return err
	}
	return r.CheckOld(old)
}

// verdict says what was proven.
func (a *app) verdict(r *proof.Result, t trust, o verifyOptions) error {
	out := map[string]any{
		"ok": true, "subject": r.Subject(), "origin": r.Checkpoint().Origin, "size": r.Checkpoint().Size,
		"root": r.Checkpoint().Root.String(), "says": r.Describe(),
	}
	claim := ""
	switch c := r.Claim().(type) {
	case proof.RecordProven:
		claim = "is in the log"
		out["claim"], out["seq"], out["record"] = "record", c.Seq, string(c.Line)
	case proof.Present:
		claim = "has a value"
		out["claim"], out["seq"], out["n"], out["value"], out["value_size"] = "present", c.Seq, c.N, c.Value.String(), c.Size
	case proof.Absent:
		claim = "is absent"
		out["claim"], out["deleted"] = "absent", c.Deleted
	case proof.Listed:
		claim = fmt.Sprintf("are %d keys, all that there are", len(c.Entries))
		if c.More {
			claim = fmt.Sprintf("are %d keys, the first there are; more may follow", len(c.Entries))
		}
		entries := []map[string]any{}
		for _, e := range c.Entries {
			entries = append(entries, map[string]any{"key": formatKey(e.Key), "seq": e.Seq, "n": e.N, "value": e.Value.String(), "size": e.Size})
		}
		out["claim"], out["entries"], out["more"] = "list", entries, c.More
		saysWhen(out, c.At, c.Subject.Time)
	case proof.History:
		claim = fmt.Sprintf("are %d versions, all that there are", len(c.Versions))
		versions := []map[string]any{}
		for i := range c.Versions {
			versions = append(versions, versionItem(&c.Versions[i]))
		}
		out["claim"], out["versions"] = "history", versions
	case proof.Past:
		claim = "had no version yet"
		if c.Version.N > 0 {
			claim = "was so then"
			out["version"] = versionItem(&c.Version)
		}
		out["claim"] = "past"
		saysWhen(out, c.At, c.Time)
	case proof.OpProven:
		claim = "is in the log"
		out["claim"], out["seq"], out["op"], out["line"] = "op", c.Seq, c.Number, string(c.Line)
	case proof.Signed:
		claim = "carries a signature that was not checked: give the actor's key with --signer"
		if o.signer != "" {
			claim = "was signed by its actor"
		}
		out["claim"], out["seq"], out["actor"], out["key"], out["checked"] = "signed", c.Seq, c.Actor, c.Key, o.signer != ""
	case proof.Consistent:
		claim = "the log only grew since then"
		out["claim"], out["old_size"], out["old_root"] = "consistency", c.Size, c.Root.String()
		if o.old != "" {
			out["old_file"] = o.old
		}
	case proof.Counted:
		claim = fmt.Sprintf("are %d keys", c.Live)
		out["claim"], out["live"] = "count", c.Live
		saysWhen(out, c.At, c.Subject.Time)
	}
	if c, ok := r.Commit(); ok {
		out["commit"], out["time"] = c.Seq, formatTime(c.Time)
	}
	if o.value != "" {
		out["value_file"] = o.value
	}
	if o.cosigner != "" || o.policy != "" {
		out["cosigned"] = t.cosignedItems(r)
	}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintln(w, "verified")
		if o.subject == "" {
			subject := subjectText(r.Subject())
			bar := strings.Repeat("=", min(max(utf8.RuneCountInString(subject)+4, 40), 120))
			fmt.Fprintf(w, "\n%s\n\n    %s\n    %s\n\n%s\n\n", bar, a.bold(subject), claim, bar)
			a.talk("No --subject was given. A true proof of another key proves nothing: make sure that this is what you asked about.")
		}
		for _, line := range r.Describe() {
			fmt.Fprintln(w, oneLine(line))
		}
		if o.value != "" {
			fmt.Fprintf(w, "The bytes of %s are that value.\n", oneLine(o.value))
		}
		if o.signer != "" {
			fmt.Fprintln(w, "The actor's key that was given has signed it.")
		}
		t.sayCosigned(w, r)
		if o.old != "" {
			fmt.Fprintf(w, "The checkpoint in %s is of the same history.\n", oneLine(o.old))
		}
	})
}

// saysWhen names the position of a claim about the past, and the time that gave it.
func saysWhen(out map[string]any, at uint64, t time.Time) {
	if at > 0 {
		out["at"] = at
	}
	if !t.IsZero() {
		out["at_time"] = formatTime(t)
	}
}

// versionItem is a version as JSON.
func versionItem(v *proof.Version) map[string]any {
	item := map[string]any{"seq": v.Seq, "n": v.N, "live": v.Live}
	if v.Live {
		item["value"], item["size"] = v.Value.String(), v.Size
	}
	return item
}

// readVKey takes a key as it is, or from @FILE: the first line with a key of one of
// the types, so that it may be what graven key prints, or else the first line.
func (a *app) readVKey(ctx context.Context, s string, types ...byte) (string, error) {
	name, isFile := strings.CutPrefix(s, "@")
	if !isFile {
		return s, nil
	}
	f, err := openInput(ctx, name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return "", err
	}
	first := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if k, err := proof.ParseVKey(line); err == nil && slices.Contains(types, k.Type()) {
			return line, nil
		}
		if first == "" {
			first = line
		}
	}
	if first == "" {
		return "", usage("%s holds no key", name)
	}
	return first, nil
}

// readProof reads a proof file, as much of it as can be one.
func (a *app) readProof(ctx context.Context, name string) ([]byte, error) {
	f, err := a.input(ctx, []string{name}, 0)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, proof.MaxFile+1))
	return b, errors.Join(err, f.Close())
}
