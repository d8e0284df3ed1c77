package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"graven"
	"graven/proof"
	"graven/record"
)

func (a *app) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy [show | set …]",
		Short: "Show or change who may write, and whose writes must be signed",
		Long: "Show the policy in force: the actors that it knows and their keys, what others may do, the retention classes.\n" +
			"The transactions of a known actor must be signed by one of the actor's keys. The policy is a document that the log holds;\n" +
			"a change is a record, signed by the log's key, and counts for the records behind it.",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.showPolicy(cmd.Context()) },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "show",
		Short: "Show the policy in force",
		Args:  args(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.showPolicy(cmd.Context()) },
	}, a.policySetCommand())
	return cmd
}

// policyChange is what policy set asks for.
type policyChange struct {
	keys, retired, forgotten, classes []string
	others                            string
}

func (a *app) policySetCommand() *cobra.Command {
	var c policyChange
	cmd := &cobra.Command{
		Use:   "set [--key NAME=VKEY|@FILE]… [--retire NAME]… [--forget NAME]… [--others allow|refuse] [--class NAME]…",
		Short: "Change the policy",
		Long: "Change the policy in force. --key gives an actor a key (an Ed25519 or ML-DSA-44 verifier key, as graven keygen\n" +
			"prints it); from then on writes under that name must be signed. --retire takes all keys of a known actor: nobody\n" +
			"can write under that name. --forget takes a known actor out, who is then one of the others again. --others says\n" +
			"whether actors that the policy does not know may write. --class adds a retention class. A key is exchanged with\n" +
			"--retire NAME --key NAME=VKEY.",
		Example: "  graven keygen alice --out alice.skey >alice.vkey\n  graven policy set --key alice=@alice.vkey --others refuse\n" +
			"  graven put notes/today notes.txt --actor alice --sign alice.skey",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(c.keys)+len(c.retired)+len(c.forgotten)+len(c.classes) == 0 && c.others == "" {
				return usage("no change was given; usage: %s", cmd.UseLine())
			}
			return a.setPolicy(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&c.keys, "key", nil, "NAME=VKEY or NAME=@FILE: a key of an actor")
	f.StringArrayVar(&c.retired, "retire", nil, "take all keys of this actor")
	f.StringArrayVar(&c.forgotten, "forget", nil, "take this actor out of the policy")
	f.StringArrayVar(&c.classes, "class", nil, "add a retention class")
	f.StringVar(&c.others, "others", "", "allow or refuse")
	return cmd
}

func (a *app) showPolicy(ctx context.Context) error {
	return a.withVault(ctx, true, func(v *graven.Vault) error {
		doc, number := v.Policy()
		text, err := doc.Append(nil)
		if err != nil { // it says nothing that this program knows
			return fmt.Errorf("policy %d: %w: a newer program wrote it", number, graven.ErrUnsupported)
		}
		out := struct {
			Number uint64          `json:"number"`
			Policy json.RawMessage `json:"policy"`
		}{number, text}
		return a.print(out, func(w io.Writer) {
			fmt.Fprintf(w, "policy     %d\n", number)
			for i := range doc.Actors {
				who := &doc.Actors[i]
				if len(who.Keys) == 0 {
					fmt.Fprintf(w, "actor      %s  retired: nobody can write under that name\n", oneLine(formatActor(who.Actor)))
				}
				for _, key := range who.Keys {
					fmt.Fprintf(w, "actor      %s  signs with %s\n", oneLine(formatActor(who.Actor)), oneLine(formatVKey(key)))
				}
			}
			fmt.Fprintf(w, "others     %s\n", map[bool]string{false: "may write, and do not sign", true: "may not write"}[doc.Refuse])
			fmt.Fprintf(w, "classes    %s\n", strings.Join(doc.Classes, " "))
		})
	})
}

// formatActor writes an actor's name, which may be empty.
func formatActor(name string) string {
	if name == "" || !plain(name) {
		return fmt.Sprintf("%q", name)
	}
	return name
}

// formatVKey writes a verifier key, or of a long one what names it.
func formatVKey(key string) string {
	if k, err := proof.ParseVKey(key); err == nil && k.Type() == proof.TypeMLDSA44 {
		return record.KeyIDOf(key) + " (ML-DSA-44; whole with -o json)"
	}
	return key
}

func (a *app) setPolicy(ctx context.Context, c policyChange) error {
	if c.others != "" && c.others != "allow" && c.others != "refuse" {
		return usage("--others %q: wanted allow or refuse", c.others)
	}
	return a.withVault(ctx, false, func(v *graven.Vault) error {
		doc, number := v.Policy()
		before, err := doc.Append(nil)
		if err != nil {
			return err
		}
		if err := a.amend(ctx, &doc, c); err != nil {
			return err
		}
		after, err := doc.Append(nil)
		if err != nil {
			return usage("policy: %w", err)
		}
		if string(before) == string(after) {
			return usage("that is policy %d already; nothing was written", number)
		}
		r, err := v.SetPolicy(context.WithoutCancel(ctx), doc, number)
		if err != nil {
			return err
		}
		return a.receipt(r)
	})
}

// amend makes the changes in a fixed order: who goes, who is retired, who gets a key.
func (a *app) amend(ctx context.Context, doc *record.Policy, c policyChange) error {
	place := func(name string) (int, bool) {
		return slices.BinarySearchFunc(doc.Actors, name, func(x record.PolicyActor, name string) int { return strings.Compare(x.Actor, name) })
	}
	unknown := func(flag, name string) error {
		return usage("--%s %q: the policy does not know that actor; known are: %s", flag, name, actorNames(doc.Actors))
	}
	for _, name := range c.forgotten {
		i, known := place(name)
		if !known {
			return unknown("forget", name)
		}
		doc.Actors = slices.Delete(doc.Actors, i, i+1)
	}
	for _, name := range c.retired {
		i, known := place(name)
		if !known {
			return unknown("retire", name)
		}
		doc.Actors[i].Keys = nil
	}
	enter := func(name string) *record.PolicyActor {
		i, known := place(name)
		if !known {
			doc.Actors = slices.Insert(doc.Actors, i, record.PolicyActor{Actor: name})
		}
		return &doc.Actors[i]
	}
	for _, pair := range c.keys {
		// Names, keys and files may hold = themselves: what counts is the first one
		// behind which stands a key or a file.
		at := 0
		for at = strings.Index(pair, "="); at >= 0 && !isKeyOrFile(pair[at+1:]); {
			next := strings.Index(pair[at+1:], "=")
			if next < 0 {
				break
			}
			at += 1 + next
		}
		if at < 0 {
			return usage("--key %q: wanted NAME=VKEY or NAME=@FILE", pair)
		}
		key, err := a.readVKey(ctx, pair[at+1:], proof.TypeEd25519, proof.TypeMLDSA44)
		if err != nil {
			return err
		}
		if k, err := proof.ParseVKey(key); err != nil {
			return usage("--key %q: %w", pair[:at], err)
		} else if k.Type() != proof.TypeEd25519 && k.Type() != proof.TypeMLDSA44 {
			return usage("--key %q: a key of type %d; wanted 1 (Ed25519) or 6 (ML-DSA-44)", pair[:at], k.Type())
		}
		who := enter(pair[:at])
		if i, there := slices.BinarySearch(who.Keys, key); !there {
			who.Keys = slices.Insert(who.Keys, i, key)
		}
	}
	for _, class := range c.classes {
		if i, there := slices.BinarySearch(doc.Classes, class); !there {
			doc.Classes = slices.Insert(doc.Classes, i, class)
		}
	}
	if c.others != "" {
		doc.Refuse = c.others == "refuse"
	}
	return nil
}

// actorNames lists actors, for a message.
func actorNames(actors []record.PolicyActor) string {
	if len(actors) == 0 {
		return "none"
	}
	var names []string
	for i := range actors {
		names = append(names, formatActor(actors[i].Actor))
	}
	return strings.Join(names, ", ")
}

func isKeyOrFile(s string) bool {
	_, err := proof.ParseVKey(s)
	return err == nil || strings.HasPrefix(s, "@")
}

func (a *app) keygenCommand() *cobra.Command {
	var out, kind string
	cmd := &cobra.Command{
		Use:   "keygen NAME --out FILE [--type ed25519|ml-dsa-44]",
		Short: "Make a key pair for an actor",
		Long: "Make a key pair with which an actor signs. The signing key goes to FILE, which must be new and only its owner can\n" +
			"read; the verifier key is printed. NAME names the key and need not be the actor's.",
		Example: "  graven keygen alice --out alice.skey >alice.vkey",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, argv []string) error {
			typ, ok := map[string]byte{"ed25519": proof.TypeEd25519, "ml-dsa-44": proof.TypeMLDSA44}[kind]
			if !ok {
				return usage("--type %q: wanted ed25519 or ml-dsa-44", kind)
			}
			if out == "" {
				return usage("--out FILE is missing: the file for the signing key")
			}
			if proof.ValidOrigin(argv[0]) != nil {
				return usage("name %q: wanted 1 to %d bytes of UTF-8 without white space, control characters or +", argv[0], proof.MaxOrigin)
			}
			pair, err := proof.GenerateKey(argv[0], typ, rand.Reader)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			_, err = f.WriteString(pair.SKey + "\n")
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				return errors.Join(err, os.Remove(out))
			}
			return a.print(map[string]string{"vkey": pair.VKey, "file": out}, func(w io.Writer) { fmt.Fprintln(w, pair.VKey) })
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file for the signing key")
	cmd.Flags().StringVar(&kind, "type", "ed25519", "ed25519 or ml-dsa-44")
	return cmd
}

// author makes a transaction the actor's who writes, signed if there is a key, with
// an id of its own if it has none.
func (a *app) author(tx *graven.Tx) error {
	tx.Actor = a.conf.Actor
	if a.conf.Sign == "" {
		return nil
	}
	info, err := os.Stat(a.conf.Sign) // to open a pipe would wait for ever
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return usage("signing key %s is not a regular file", a.conf.Sign)
	}
	f, err := os.Open(a.conf.Sign)
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 8192))
	if err != nil {
		return err
	}
	if _, err := proof.ParseVKey(strings.TrimSpace(string(text))); err == nil {
		return usage("%s holds a verifier key; --sign wants the file with the signing key, which graven keygen --out made", a.conf.Sign)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return usage("signing key %s can be read by others; take their rights away (chmod 600) and consider it exposed", a.conf.Sign)
	}
	signer, err := proof.NewMessageSigner(strings.TrimSpace(string(text)))
	if err != nil {
		return usage("signing key %s: %w", a.conf.Sign, err)
	}
	tx.Sign = signer.SignRequest
	if tx.ID == "" {
		// A signature counts once. Who puts the same again wants it again.
		tx.ID = rand.Text()
	}
	return nil
}
