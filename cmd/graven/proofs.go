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
		Use:   "prove KEY | --record SEQ [--op N | --signed] | --list PREFIX | --count PREFIX | --history KEY | --consistency OLDSIZE  [--at AT] [--cosigned] [--out FILE]",
		Short: "Make a proof: of a key, a record, a complete list, a count, a history",
		Long: "Make a file that proves one thing to anybody who has the log's verifier key:\n\n" +
			"  KEY                    that KEY has this value, or is absent\n" +
			"  --record SEQ           that the log holds this record at this place (a C2SP tlog-proof)\n" +
			"  --record SEQ --op N    that the transaction in it has this op, counted from 0; the others of a wide one are not shown\n" +
			"  --record SEQ --signed  that the transaction in it, with all of its ops, bears its actor's signature\n" +
			"  --list PREFIX          that these are all keys which begin with PREFIX and have a value; --from and --to are bounds;\n" +
			"                         with --limit N the first N of them, with --reverse from the last one down; --compact leaves\n" +
			"                         runs of deleted keys out of the file, by the log's own counts\n" +
			"  --count PREFIX         how many keys these are\n" +
			"  --history KEY          that these are all versions of KEY\n" +
			"  --consistency OLDSIZE  that the first OLDSIZE records are those that a checkpoint of that size was over\n\n" +
			"It is so in the newest state, or with --at as it was then: a list or a count as of the last commit at or before AT.\n" +
			"Where AT is a seq the proof is about that record; where it is a time, a date (its end in UTC) or an age, about that\n" +
			"instant by the log's own clock.",
		Example: "  graven prove notes/today --out today.proof\n" +
			"  graven prove --record 2 --out record.proof\n" +
			"  graven prove --record 2 --op 0 --out op.proof\n" +
			"  graven prove --record 2 --signed --out signed.proof\n" +
			"  graven prove --list notes/ --at 2026-11-21 --out list.proof\n" +
			"  graven prove --count notes/ --out count.proof\n" +
			"  graven prove --history notes/today --out history.proof\n" +
			"  graven prove --consistency 17 --out grown.proof",
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
			if (o.op != "" || o.signed) && !f.Changed("record") {
				return usage("--op and --signed go with --record")
			}
			if o.op != "" && o.signed {
				return usage("--op and --signed: wanted one of them")
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
			return a.withVaultAt(cmd.Context(), o.at, func(v *graven.Vault, w *graven.View) error { return a.prove(cmd, v, w, argv, o) })
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

func (a *app) prove(cmd *cobra.Command, v *graven.Vault, w *graven.View, argv []string, o proveOptions) error {
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
		line, err := verifyLine(v, file, o.out)
		if err != nil {
			return err
		}
		if err := writeFile(cmd.Context(), o.out, bytesTo(file)); err != nil {
			return err
		}
		a.talk("%s: %d bytes, for size %d; verify it with: %s", oneLine(o.out), len(file), w.Size(), line)
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

// verifyLine is the command that verifies a proof. It verifies the proof to learn
// what it is about, so that none is handed out of which that would fail.
func verifyLine(v *graven.Vault, file []byte, name string) (string, error) {
	verifier, err := proof.NewVerifier(v.VKeys()[0])
	if err != nil {
		return "", err
	}
	r, err := verifier.Verify(file)
	if err != nil {
		return "", err
	}
	line := fmt.Sprintf("graven verify %s --vkey VKEY --subject %s", quote(oneLine(name)), quote(subjectText(r.Subject())))
	switch r.Claim().(type) {
	case proof.Signed:
		line += " --signer ACTORKEY"
	case proof.Consistent:
		line += " --old CHECKPOINT"
	}
	return line, nil
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
			file, err := w.ProveSigned(n)
			return file, noTransaction(err, n)
		}
		if o.op == "" {
			return w.ProveRecord(n)
		}
		number, err := strconv.ParseUint(o.op, 10, 64)
		if err != nil {
			return nil, usage("op %q: wanted a number from 0", o.op)
		}
		file, err := w.ProveOp(n, number)
		return file, noTransaction(err, n)
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

// noTransaction says what to do about a record without what was to be proven of it.
func noTransaction(err error, seq uint64) error {
	if errors.Is(err, graven.ErrNotFound) {
		return &advisedError{err, fmt.Sprintf("See what it is with: graven show %d; the transactions with: graven log. Without --op and --signed the record itself is proven.", seq)}
	}
	return err
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
		Use: "verify FILE (--vkey VKEY|@FILE [--cosigner VKEY|@FILE] | --policy FILE) [--subject SUBJECT] [--value FILE] " +
			"[--signer VKEY|@FILE] [--old FILE] [--min-size N]",
		Short: "Verify a proof, without a store",
		Long: "Verify a proof (FILE, or - for standard input) against the log's verifier key, which must have come to you by\n" +
			"a way that you trust. It needs no store and no network. What was proven is said, and about what: without\n" +
			"--subject a true proof of some other key passes too, so look at the subject. SUBJECT is one of:\n\n" +
			"  KEY                    a key, which has a value or is absent\n" +
			"  record:SEQ             a record\n" +
			"  list:PREFIX            all keys that begin with PREFIX; count:PREFIX, how many they are\n" +
			"  list:{…} count:{…}     with bounds, limit or position: the JSON that verify and prove show, in any spelling\n" +
			"  history:KEY            all versions of a key\n" +
			"  past:SEQ:KEY           a key as it was after a record\n" +
			"  past:TIME:KEY          a key at a time in UTC (2026-11-21T12:00:00Z), or at the end of a date (2026-11-21)\n" +
			"  op:{\"seq\":SEQ,\"op\":N}  op N of the transaction in record SEQ\n" +
			"  signed:SEQ             the transaction in record SEQ, with its actor's signature; --signer is his verifier key\n" +
			"  size:N                 that the first N records are those of an older checkpoint, which --old names\n\n" +
			"--min-size refuses a proof that is older than the log is known to be. --cosigner wants the cosignature of this key\n" +
			"too. --policy takes a C2SP tlog-policy file in place of the key: it names logs and witnesses, and how many of the\n" +
			"witnesses must have cosigned the checkpoint of the proof:\n\n" +
			"  log VKEY\n" +
			"  witness one VKEY\n" +
			"  witness two VKEY\n" +
			"  quorum one                             (or a line before it: group both all one two)\n\n" +
			"The checkpoint of --old needs the log's signature only.",
		Example: "  graven verify today.proof --vkey @ledger.vkey --subject notes/today --value notes.txt\n" +
			"  graven verify list.proof --policy ledger.policy --subject list:notes/ --min-size 17\n" +
			"  graven verify signed.proof --vkey @ledger.vkey --subject signed:4 --signer @alice.vkey\n" +
			"  graven verify grown.proof --vkey @ledger.vkey --subject size:17 --old my.checkpoint",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			// A variable that was never set is not to switch a check off.
			for _, name := range []string{"vkey", "cosigner", "policy", "subject", "value", "signer", "old"} {
				if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
					return usage("--%s is empty", name)
				}
			}
			return a.verify(cmd.Context(), argv[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.vkey, "vkey", "", "verifier key of the log, or @FILE that holds it")
	f.StringVar(&o.subject, "subject", "", "what the proof must be about: a key, record:SEQ, list:PREFIX and so on, see above")
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
		if err = r.CheckCosigners(t.cosigner...); err != nil {
			err = fmt.Errorf("%w; make the proof with --cosigned", err)
		}
	}
	if err == nil && t.signer != "" {
		err = r.CheckActor(t.signer)
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
	var checked []proof.Checked
	if t.signer != "" {
		checked = append(checked, proof.ActorChecked)
	}
	if o.old != "" {
		checked = append(checked, proof.OldChecked)
	}
	says := r.Describe(checked...)
	out := map[string]any{
		"ok": true, "subject": r.Subject(), "origin": r.Checkpoint().Origin, "size": r.Checkpoint().Size,
		"root": r.Checkpoint().Root.String(), "says": says,
	}
	claim := claimWords(r.Claim(), o, out)
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
		if o.subject == "" && o.old == "" { // the older checkpoint says what was asked
			subject := subjectText(r.Subject())
			bar := strings.Repeat("=", min(max(utf8.RuneCountInString(subject)+4, 40), 120))
			beside := ""
			if strings.HasSuffix(subject, ":{}") {
				beside = "  (every key)"
			}
			fmt.Fprintf(w, "\n%s\n\n    %s%s\n    %s\n\n%s\n\n", bar, a.bold(subject), beside, claim, bar)
			a.talk("No --subject was given. A true proof of another key proves nothing: make sure that this is what you asked about.")
		}
		for _, line := range says {
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

// claimWords says in a few words what a claim says of its subject, and puts
// its fields into out, the JSON of the answer.
func claimWords(claim proof.Claim, o verifyOptions, out map[string]any) string {
	words := ""
	switch c := claim.(type) {
	case proof.RecordProven:
		words = "is in the log"
		out["claim"], out["seq"], out["record"] = "record", c.Seq, string(c.Line)
	case proof.Present:
		words = "has a value"
		out["claim"], out["seq"], out["n"], out["value"], out["value_size"] = "present", c.Seq, c.N, c.Value.String(), c.Size
	case proof.Absent:
		words = "is absent"
		out["claim"], out["deleted"] = "absent", c.Deleted
	case proof.Listed:
		words = fmt.Sprintf("are %d keys, %s", len(c.Entries), allThereAre(c.At))
		if c.More && c.Subject.Reverse {
			words = fmt.Sprintf("are the last %d keys; smaller ones may follow", len(c.Entries))
		} else if c.More {
			words = fmt.Sprintf("are the first %d keys; greater ones may follow", len(c.Entries))
		}
		entries := []map[string]any{}
		for _, e := range c.Entries {
			entries = append(entries, map[string]any{"key": formatKey(e.Key), "seq": e.Seq, "n": e.N, "value": e.Value.String(), "size": e.Size})
		}
		out["claim"], out["entries"], out["more"] = "list", entries, c.More
		saysWhen(out, c.At, c.Subject.Time)
	case proof.History:
		words = fmt.Sprintf("are %d versions, %s", len(c.Versions), allThereAre(c.At))
		if len(c.Versions) == 0 {
			words = noVersion(c.Never)
		}
		versions := []map[string]any{}
		for i := range c.Versions {
			versions = append(versions, versionItem(&c.Versions[i]))
		}
		out["claim"], out["versions"] = "history", versions
		saysWhen(out, c.At, c.Time)
	case proof.Past:
		words = noVersion(c.Never)
		if c.Version.N > 0 {
			words = "was so then"
			out["version"] = versionItem(&c.Version)
		}
		out["claim"] = "past"
		saysWhen(out, c.At, c.Time)
	case proof.OpProven:
		words = "is in the log"
		out["claim"], out["seq"], out["op"], out["line"] = "op", c.Seq, c.Number, string(c.Line)
	case proof.Signed:
		words = "carries a signature that was not checked: give the actor's key with --signer"
		if o.signer != "" {
			words = "was signed by its actor"
		}
		out["claim"], out["seq"], out["actor"], out["key"], out["checked"] = "signed", c.Seq, c.Actor, c.Key, o.signer != ""
	case proof.Consistent:
		words = fmt.Sprintf("have root %s: compare it with the checkpoint of that size that you have, or give that with --old", c.Root)
		out["claim"], out["old_size"], out["old_root"] = "consistency", c.Size, c.Root.String()
		if o.old != "" {
			out["old_file"] = o.old
		}
	case proof.Counted:
		words = fmt.Sprintf("are %d keys", c.Live)
		out["claim"], out["live"] = "count", c.Live
		saysWhen(out, c.At, c.Subject.Time)
	}
	return words
}

// allThereAre says that nothing was left out, at record at or, with 0, now.
func allThereAre(at uint64) string {
	if at > 0 {
		return "all that there were then"
	}
	return "all that there are"
}

func noVersion(never bool) string {
	if never {
		return "never had a version"
	}
	return "had no version yet"
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
