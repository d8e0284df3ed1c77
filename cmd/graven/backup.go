package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"graven"
	"graven/local"
	"graven/proof"
)

func (a *app) backupCommand() *cobra.Command {
	var keys bool
	cmd := &cobra.Command{
		Use:   "backup TARGET [--with-keys]",
		Short: "Back a vault up, verified while it is written",
		Long: "Back a vault up into the directory TARGET, as it is at its published checkpoint; the vault may be used meanwhile.\n" +
			"A backup that is there already is gone on from: only what is new is written, and until it is all there the\n" +
			"earlier one is what counts. TARGET is a vault's folder, with backup.txt, which says what it holds and which\n" +
			"sha256sum -c checks. With TARGET - a whole backup goes to standard output, as .tar.zst.\n\n" +
			"Every line, root, block and value is verified on the way; damage ends the backup and is named, and the earlier\n" +
			"backup stays good. The signing keys go along only with --with-keys: who has them can write in the log's name.",
		Example: "  graven backup /mnt/backup/ledger\n  (cd /mnt/backup/ledger && sha256sum -c backup.txt)\n  graven backup - | ssh elsewhere 'cat >ledger.tar.zst'",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			if argv[0] == "" {
				return usage("a directory is wanted, or - for standard output")
			}
			if argv[0] == "-" && isTerminal(a.out) {
				return usage("a backup is not for a terminal; send it to a file: graven backup - >ledger.tar.zst")
			}
			if argv[0] != "-" {
				if err := apart("TARGET", argv[0], a.conf.Store); err != nil {
					return err
				}
			}
			return a.withStore(cmd.Context(), true, func(s *graven.Store) error {
				return a.backup(cmd.Context(), s, argv[0], keys)
			})
		},
	}
	cmd.Flags().BoolVar(&keys, "with-keys", false, "the signing keys too, for their owner only (mode 0600)")
	return cmd
}

func (a *app) backup(ctx context.Context, s *graven.Store, target string, keys bool) error {
	p := a.newProgress("backed up")
	o := graven.BackupOptions{WithKeys: keys, Progress: func(done, total int64) { p.show(0, done, total) }}
	var r *graven.BackupReport
	var err error
	toStream := target == "-"
	if toStream {
		r, err = a.backupStream(ctx, s, o)
	} else {
		undo := undoing(target)
		r, err = local.Backup(ctx, s, a.conf.Vault, target, o)
		undo(err)
	}
	p.end()
	if err != nil && toStream && (errors.Is(err, graven.ErrFull) || errors.Is(err, syscall.ENOSPC)) {
		return &advisedError{err, "Make room and do it again. What came out is no whole backup, and cannot be restored."}
	}
	if err != nil {
		return backupAdvice(err, r)
	}
	for _, n := range r.Notes {
		a.talk("note: %s", oneLine(n))
	}
	if r.Keys {
		a.talk("The signing keys are in this backup: whoever can read it can write in the log's name. Keep it as safe as them.")
	}
	text := fmt.Sprintf("ok: vault %s, size %d, root %v; %d files of %s, %s written", r.Vault, r.Size, r.Root, r.Files, formatBytes(r.Bytes), formatBytes(r.Written))
	if r.Before > 0 {
		text += fmt.Sprintf(" behind the backup of size %d", r.Before)
	}
	if toStream { // what goes to standard output is the backup
		a.talk("%s", text)
		return nil
	}
	out := map[string]any{
		"vault": r.Vault, "id": r.ID, "origin": r.Origin, "size": r.Size, "root": r.Root.String(), "time": formatTime(r.Time),
		"before": r.Before, "files": r.Files, "bytes": r.Bytes, "written": r.Written, "keys": r.Keys,
	}
	return a.print(out, func(w io.Writer) { fmt.Fprintln(w, text) })
}

// backupAdvice says what to do where a backup's errors need other advice than
// those of other commands. r is what came with the error; nil: the vault was not
// looked at.
func backupAdvice(err error, r *graven.BackupReport) error {
	still := ""
	if r != nil && r.Before > 0 {
		still = fmt.Sprintf(" The earlier backup, of size %d, is still good.", r.Before)
	}
	switch {
	case errors.Is(err, graven.ErrNotEmpty):
		return &advisedError{err, "Name an empty directory, one that is yet to be made, or that of an earlier backup of this vault."}
	case errors.Is(err, graven.ErrConflict):
		return &advisedError{err, "Nothing was changed. Back up to a directory of its own, and look why the two differ."}
	case errors.Is(err, graven.ErrFull):
		return &advisedError{err, "Make room there and do it again: it goes on from what was written." + still}
	case errors.Is(err, graven.ErrDamaged) && r == nil:
		return &advisedError{err, "The backup there cannot be gone on from or restored as it is; sh rescue.sh OUT in its directory saves what is whole."}
	case errors.Is(err, graven.ErrDamaged):
		return &advisedError{err, "List all damage with: graven check   Bring it back with: graven repair --from BACKUP" + still}
	}
	return err
}

func (a *app) restoreCommand() *cobra.Command {
	var vkey string
	cmd := &cobra.Command{
		Use:   "restore SOURCE [--vkey KEY|@FILE]",
		Short: "Restore a vault from a backup",
		Long: "Restore a vault from SOURCE, the directory of a backup, a .tar.zst file, or - for one on standard input, into the\n" +
			"store, which is made if there is none. All of it is verified before the vault is there: hashes, lines, roots,\n" +
			"blocks, values, states, and the checkpoint's signature; with --vkey also that it is of the log with that key.\n" +
			"A backup that is not whole leaves nothing. The vault has the name that it had; the store may not have one of it.\n\n" +
			"The restored vault can be read and proven from, but not be written until graven adopt: what was written behind\n" +
			"the backup is lost here and may be known elsewhere.",
		Example: "  graven restore /mnt/backup/ledger --store /srv/ledger\n  graven adopt --nothing-newer --store /srv/ledger",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			o := graven.RestoreOptions{}
			if f := cmd.Flag("vault"); f != nil && f.Changed {
				o.Vault = a.conf.Vault
			}
			return a.restore(cmd.Context(), argv[0], vkey, o)
		},
	}
	cmd.Flags().StringVar(&vkey, "vkey", "", "the log's verifier key, or @FILE with it: a backup of another log is refused")
	return cmd
}

func (a *app) restore(ctx context.Context, source, vkey string, o graven.RestoreOptions) (err error) {
	if vkey != "" {
		if o.VKey, err = a.readVKey(ctx, vkey, proof.TypeEd25519); err != nil {
			return err
		}
		if _, err := proof.ParseVKey(o.VKey); err != nil {
			return usage("--vkey: %w", err)
		}
	}
	inSource := source
	if source == "-" {
		inSource = ""
	}
	if err := apart("--store", a.conf.Store, inSource); err != nil {
		return err
	}
	undo := undoing(a.conf.Store)
	defer func() { undo(err) }()
	s, err := local.OpenForRestore(ctx, a.conf.Store, graven.Options{LockWait: a.conf.LockWait})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p := a.newProgress("verified")
	o.Progress = func(done, total int64) { p.show(0, done, total) }
	var r *graven.RestoreReport
	if info, statErr := os.Stat(source); source != "-" && (statErr != nil || info.IsDir()) {
		r, err = local.Restore(ctx, s, source, o)
	} else {
		r, err = a.restoreStream(ctx, s, source, o)
	}
	p.end()
	if err != nil {
		return restoreAdvice(fullAt(a.conf.Store, err))
	}
	for _, n := range r.Notes {
		a.talk("note: %s", oneLine(n))
	}
	a.talk("The vault can be read. Before it can be written: graven adopt")
	if !r.Keys {
		a.talk("The signing keys were not in the backup: give them to adopt with --key FILE.")
	}
	out := map[string]any{
		"vault": r.Vault, "id": r.ID, "origin": r.Origin, "size": r.Size, "root": r.Root.String(), "files": r.Files, "bytes": r.Bytes,
		"vkeys": r.VKeys, "keys": r.Keys, "writable": false,
	}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "ok: vault %s, size %d, root %v; log key %s\n", r.Vault, r.Size, r.Root, r.VKeys[0])
	})
}

func restoreAdvice(err error) error {
	switch {
	case errors.Is(err, graven.ErrVaultExists):
		return &advisedError{err, "Nothing was changed. Restore into another store: --store DIR"}
	case errors.Is(err, graven.ErrDamaged):
		return &advisedError{err, "Nothing was restored. Use another backup; of a damaged one, sh rescue.sh OUT in its directory saves what is whole."}
	case errors.Is(err, proof.ErrSignature):
		return &advisedError{err, "Nothing was restored. It is the backup of another log, or the key of one: graven key prints that of a vault."}
	case errors.Is(err, graven.ErrFull):
		return &advisedError{err, "Nothing was restored. Make room there and do it again."}
	case errors.Is(err, graven.ErrNotFound):
		return &advisedError{err, "Name the directory that holds backup.txt, a .tar.zst file, or - for standard input."}
	}
	return err
}

func (a *app) adoptCommand() *cobra.Command {
	var newest string
	var nothingNewer bool
	var keys []string
	cmd := &cobra.Command{
		Use:   "adopt (--newest FILE | --nothing-newer) [--key FILE]…",
		Short: "Make a restored vault writable",
		Long: "Make a vault writable that was restored from a backup, or that was not closed cleanly and lost its write-ahead\n" +
			"log. A commit of the next epoch is written: everybody can see from it where the ledger was taken up again.\n\n" +
			"Behind the backup more may have been written, and its checkpoints, receipts or proofs may be in somebody's\n" +
			"hands. To write something else at those sizes would be a second history under one key, which those who hold the\n" +
			"first take for a fraud. So look for the newest checkpoint that anybody holds (a witness, a mirror, a client,\n" +
			"the last line of a mail) and give it with --newest; if it is beyond the vault, the adoption is refused. Say\n" +
			"--nothing-newer only if you know that nothing beyond the vault's size was ever given out.\n\n" +
			"Writing takes the signing keys. Those that were not in the backup are put in place with --key. Nothing is put in\n" +
			"place if there is nothing to adopt, but in a vault that only lost its keys: it gets them back, and no new epoch.\n" +
			"A mirror is never adopted.",
		Example: "  graven adopt --newest witness/checkpoint --key log.skey --key cosigner.skey",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (newest == "") == !nothingNewer {
				return usage("either --newest FILE or --nothing-newer is wanted; see: graven adopt --help")
			}
			return a.adopt(cmd.Context(), newest, nothingNewer, keys)
		},
	}
	cmd.Flags().StringVar(&newest, "newest", "", "file with the newest checkpoint of this log that anybody holds")
	cmd.Flags().BoolVar(&nothingNewer, "nothing-newer", false, "you know that no checkpoint beyond this vault's size was ever given out")
	cmd.Flags().StringArrayVar(&keys, "key", nil, "file with a signing key of the vault, to put in place; may be given twice")
	return cmd
}

func (a *app) adopt(ctx context.Context, newest string, nothingNewer bool, keys []string) error {
	o := graven.AdoptOptions{NothingNewer: nothingNewer, NewestFrom: newest, KeysFrom: keys}
	var err error
	if newest != "" {
		if o.Newest, err = readSmall(ctx, newest); err != nil {
			return err
		}
		text, _, ok := bytes.Cut(o.Newest, []byte("\n\n"))
		if !ok {
			return usage("--newest %s: it holds no checkpoint, which is text as graven checkpoint prints it", newest)
		}
		if _, err := proof.ParseCheckpointText(append(text[:len(text):len(text)], '\n')); err != nil {
			return usage("--newest %s: it holds no checkpoint: %w", newest, err)
		}
	}
	for _, name := range keys {
		key, err := readSmall(ctx, name)
		if err != nil {
			return err
		}
		o.Keys = append(o.Keys, string(bytes.TrimSpace(key)))
	}
	return a.withStore(ctx, false, func(s *graven.Store) error {
		r, err := s.Adopt(ctx, a.conf.Vault, o)
		if errors.Is(err, graven.ErrLost) {
			return &advisedError{err, "Nothing was changed. Go on reading here; look for a newer backup, or the disk that the vault was on."}
		}
		if err != nil {
			return err
		}
		for _, n := range r.Notes {
			a.talk("note: %s", oneLine(n))
		}
		out := map[string]any{"vault": r.Vault, "from": r.From, "size": r.Size, "epoch": r.Epoch, "root": r.Root.String(), "keys": append([]string{}, r.Keys...)}
		return a.print(out, func(w io.Writer) {
			if r.From == r.Size {
				fmt.Fprintf(w, "ok: vault %s needed no adoption; put back: %s; it can be written, in epoch %d as before\n", r.Vault, strings.Join(r.Keys, ", "), r.Epoch)
				return
			}
			fmt.Fprintf(w, "ok: vault %s goes on from size %d in epoch %d; size %d, root %v\n", r.Vault, r.From, r.Epoch, r.Size, r.Root)
		})
	})
}

// readSmall reads a file with a checkpoint or key.
func readSmall(ctx context.Context, name string) ([]byte, error) {
	f, err := openInput(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 1 << 20
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(b) > most {
		err = usage("%s has more than %d bytes: it is neither a checkpoint nor a key", name, most)
	}
	return b, err
}

func (a *app) repairCommand() *cobra.Command {
	var from, vkey string
	cmd := &cobra.Command{
		Use:   "repair --from BACKUP [--vkey KEY|@FILE]",
		Short: "Replace damaged files of a vault with those of a backup",
		Long: "Replace damaged log files, sealed blocks and open blocks of a vault with the bytes of BACKUP, the directory of a\n" +
			"backup, any other copy of the vault's folder, or a store that has one, such as one of mirrors. They are taken\n" +
			"only if they are what the vault itself says: lines that lead to its signed checkpoint, blocks with the hashes that\n" +
			"its records name, values that its log mentions in open blocks. What is sound stays as it is, whatever the copy\n" +
			"holds; what is damaged or missing, and not in the copy, is named.\n\n" +
			"If the vault lost its checkpoint and its log is damaged, the checkpoint of the copy says what the log must come\n" +
			"to, if it is signed by the vault's key. The vault's first record says which that is; if it cannot, give the key\n" +
			"with --vkey.\n\n" +
			"The damaged file is kept, under meta/host/cut in the vault's folder. Then see what is left with: graven check\n\n" +
			"Exits with 0 if nothing was damaged or all of it was replaced; with 1 if damage is left; otherwise as\n" +
			"graven --help says.",
		Example: "  graven check\n  graven repair --from /mnt/backup/ledger\n  graven check",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" {
				return usage("--from BACKUP is wanted")
			}
			dir, err := a.copyIn(from)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), false, func(s *graven.Store) error { return a.repair(cmd.Context(), s, dir, vkey) })
		},
	}
	cmd.Flags().StringVar(&vkey, "vkey", "", "the log's verifier key, or @FILE with it, if the vault cannot say it any more")
	cmd.Flags().StringVar(&from, "from", "", "directory of a backup, of another copy of the vault's folder, or of a store with one")
	return cmd
}

// repairAdvice says what to do where a repair's errors need other advice than
// those of other commands.
func repairAdvice(err error) error {
	switch {
	case errors.Is(err, graven.ErrNotFound):
		return &advisedError{err, "Name the directory of a backup, another copy of the vault's folder, or a store that has one: --from DIR"}
	case errors.Is(err, graven.ErrConflict):
		return &advisedError{err, "Nothing was changed. Name another copy of this vault."}
	case errors.Is(err, graven.ErrFull):
		return &advisedError{err, "Make room there and repair again. What was not replaced is as it was."}
	case errors.Is(err, graven.ErrDamaged):
		return &advisedError{err, "What was not replaced is as it was. Try another copy; sh rescue.sh OUT in the vault's folder saves what is whole."}
	}
	return err
}

// copyIn is the folder of the vault's copy in a directory: of a store, such as one of
// mirrors, that of the vault with the same name.
func (a *app) copyIn(from string) (string, error) {
	if err := wantDirectory("--from", from); err != nil {
		return "", err
	}
	if vault := filepath.Join(from, "vaults", a.conf.Vault); !isBackup(from) && isDirectory(vault) {
		from = vault
	}
	if same(from, filepath.Join(a.conf.Store, "vaults", a.conf.Vault)) {
		return "", usage("--from %s is the vault itself; name a backup or another copy of it", from)
	}
	return from, nil
}

func (a *app) repair(ctx context.Context, s *graven.Store, from, vkey string) (err error) {
	o := graven.RepairOptions{}
	if vkey != "" {
		if o.VKey, err = a.readVKey(ctx, vkey, proof.TypeEd25519); err != nil {
			return err
		}
		if _, err := proof.ParseVKey(o.VKey); err != nil {
			return usage("--vkey: %w", err)
		}
	}
	r, err := local.Repair(ctx, s, a.conf.Vault, from, o)
	if r != nil {
		for _, f := range r.Files {
			item := map[string]any{"file": f.File, "what": f.What, "replaced": f.Err == nil}
			text := fmt.Sprintf("%s: %s: replaced", f.File, f.What)
			if f.Kept != "" {
				item["kept"] = f.Kept
				text += "; the damaged one is " + f.Kept
			}
			if f.Err != nil {
				item["why"] = f.Err.Error()
				text = fmt.Sprintf("%s: %s: NOT REPLACED: %v", f.File, f.What, f.Err)
			}
			if err := a.print(item, func(w io.Writer) { fmt.Fprintln(w, oneLine(text)) }); err != nil {
				return err
			}
		}
	}
	if err != nil {
		return repairAdvice(fullAt(a.conf.Store, err))
	}
	sum := map[string]any{"ok": !r.Failed(), "vault": r.Vault, "size": r.Size, "files": r.Checked, "damaged": r.Damaged()}
	words := "ok"
	if r.Failed() {
		words = "DAMAGE IS LEFT"
	}
	if err := a.print(sum, func(w io.Writer) {
		fmt.Fprintf(w, "%s: vault %s, %d files looked at, %d were damaged\n", words, r.Vault, r.Checked, r.Damaged())
	}); err != nil {
		return err
	}
	if r.Failed() {
		return &advisedError{errDamage, "Try another backup: graven repair takes from each what it has. sh rescue.sh OUT in the vault's folder saves what is whole."}
	}
	if len(r.Files) > 0 {
		a.talk("See that all is whole with: graven check")
	}
	return nil
}
