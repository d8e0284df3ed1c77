package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"graven"
	"graven/proof"
)

// Exit codes. 128 and a signal's number: it was interrupted; what was
// acknowledged is durable.
const (
	exitOK          = iota
	exitDamage      // verification failed, or damage was found
	exitUsage       // wrong use: the command line, the settings, a value over its limit
	exitNotFound    // no such store, vault, key, record, file
	exitDenied      // no permission, or read-only
	exitUnavailable // locked, disk full, poisoned: try again later
	exitConflict    // it exists already, or an idempotency id was used for something else
	exitOther
)

// usageError is wrong use of the command.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// advisedError is an error with advice of its own.
type advisedError struct {
	error
	hint string
}

func (e *advisedError) Unwrap() error { return e.error }

// fullAt names the directory whose disk is full, if an error says that one is.
func fullAt(dir string, err error) error {
	if errors.Is(err, graven.ErrFull) {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return err
}

// errDamage ends a command that found damage and told of it line by line.
var errDamage = errors.New("damage was found")

// code finds the exit code of an error. The first row that matches decides.
func code(err error) int {
	for _, row := range []struct {
		code   int
		errors []error
	}{
		{exitDamage, []error{
			graven.ErrDamaged, graven.ErrFork, graven.ErrLost, errDamage, proof.ErrFormat, proof.ErrUnknownVersion, proof.ErrSignature, proof.ErrQuorum, proof.ErrOrigin,
			proof.ErrProof, proof.ErrTooOld, proof.ErrSubject, proof.ErrValue, proof.ErrDamaged,
		}},
		{exitUsage, []error{graven.ErrLimit, graven.ErrInvalid}},
		{exitUnavailable, []error{graven.ErrLocked, graven.ErrBusy, graven.ErrFull, graven.ErrPoisoned, graven.ErrUnfinished, syscall.ENOSPC}},
		{exitConflict, []error{graven.ErrConflict, graven.ErrStoreExists, graven.ErrNotEmpty, graven.ErrVaultExists, fs.ErrExist}},
		{exitDenied, []error{graven.ErrDenied, graven.ErrReadOnly, fs.ErrPermission, syscall.EROFS}},
		{exitNotFound, []error{graven.ErrNoStore, graven.ErrNoVault, graven.ErrNotFound, graven.ErrFuture, fs.ErrNotExist, syscall.ENOTDIR}},
	} {
		for _, e := range row.errors {
			if errors.Is(err, e) {
				return row.code
			}
		}
	}
	return exitOther
}

// finish reports how a run of cmd ended and returns its exit code.
func (a *app) finish(ctx context.Context, cmd *cobra.Command, err error) int {
	var u *usageError
	var s signalError
	var ended exitError
	var start *startError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &ended):
		return int(ended)
	case errors.Is(err, syscall.EPIPE):
		return signalError{syscall.SIGPIPE}.code() // whoever read our output has gone: nobody to tell
	case errors.As(err, &u), strings.HasPrefix(err.Error(), "unknown "): // cobra has no type for an unknown command
		a.talk("graven: %s\nSee: %s --help", oneLine(err.Error()), cmd.CommandPath())
		return exitUsage
	case errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &s):
		a.talk("graven: %v; what was acknowledged is durable", s)
		return s.code()
	}
	a.talk("graven: %s", oneLine(strings.ReplaceAll(err.Error(), "\n", "; ")))
	if errors.As(err, &start) {
		return start.code()
	}
	if hint := a.hint(err); hint != "" {
		a.talk("%s", hint)
	}
	return code(err)
}

// hint says what to do.
func (a *app) hint(err error) string {
	var advised *advisedError
	var conflict *graven.ConflictError
	switch {
	case errors.As(err, &advised):
		return advised.hint
	case errors.As(err, &conflict) && conflict.ID != "":
		return fmt.Sprintf("Use a new id, or see: graven show %d", conflict.Seq)
	case errors.As(err, &conflict) && conflict.Signed:
		return fmt.Sprintf("Sign it with an id that it did not have, or see: graven show %d", conflict.Seq)
	case errors.As(err, &conflict) && conflict.Key != "":
		return "Nothing was written. See what is there now with: graven history KEY or graven log, then decide and do it again."
	case errors.As(err, &conflict): // of a policy
		return "Nothing was written. See what is in force now with: graven policy, then decide and do it again."
	case errors.Is(err, graven.ErrFork):
		return "Whoever holds that key has signed two histories, or the vault was copied and written in both places. Keep both."
	case errors.Is(err, graven.ErrUnfinished):
		return "Run the sync again; it goes on where it was cut off."
	case errors.Is(err, graven.ErrVaultExists):
		return "Use it as it is with --vault NAME, or choose another name."
	case errors.Is(err, graven.ErrNoStore):
		return noStoreHint(a.conf.Store)
	case errors.Is(err, graven.ErrNotEmpty):
		return "Name an empty directory, or one that is yet to be made, with --store DIR."
	case errors.Is(err, graven.ErrStoreExists):
		return "Use it as it is, or name another directory with --store DIR."
	case errors.Is(err, graven.ErrNoVault):
		return "Choose one with --vault NAME, or make it with: graven vault create NAME"
	case errors.Is(err, graven.ErrLocked):
		return "Wait for that process to end, or stop it; commands that only read work meanwhile. --lock-wait waits longer."
	case errors.Is(err, graven.ErrFull):
		return "Make room on the disk and do it again. Nothing of the refused transaction was written."
	case errors.Is(err, syscall.ENOSPC):
		return "There is no room for the output. A transaction that was acknowledged before is durable; see graven log -n 2."
	case errors.Is(err, graven.ErrPoisoned):
		return "The disk failed a write, and the vault took no more. Look after the disk, then run graven status: opening recovers."
	case errors.Is(err, graven.ErrDenied):
		return "See who may write with: graven policy. A known actor signs: --actor NAME --sign FILE."
	case errors.Is(err, graven.ErrFuture):
		return "See the newest with: graven log -n 1"
	case errors.Is(err, graven.ErrNotFound):
		return "See what is there with: graven list [PREFIX]; what was, with --at AT and graven log."
	case errors.Is(err, proof.ErrSubject):
		return "The proof is true, but of something else. Ask for a proof of what you mean."
	case errors.Is(err, proof.ErrQuorum):
		return "The log has signed this, but too few of your witnesses have. Ask for a proof under a checkpoint that they have cosigned."
	case errors.Is(err, proof.ErrTooOld):
		return "Ask for a newer proof: this one was true when the log was smaller than you know it to be."
	case errors.Is(err, graven.ErrUnsupported), errors.Is(err, proof.ErrUnknownVersion):
		return "This was made by a newer program; nothing need be wrong with it. Use that one."
	case errors.Is(err, graven.ErrDamaged):
		return "List all damage with: graven check   Bring the files back from a copy; sh rescue.sh OUT in the vault's folder saves what is whole."
	case errors.Is(err, fs.ErrExist):
		return "Nothing was changed. Name a file that is not there yet."
	case errors.Is(err, fs.ErrPermission):
		return "Look at the owner and the mode of the file or directory, or work as another user."
	}
	return ""
}

// noStoreHint looks around the directory that was named for the one that was meant.
func noStoreHint(dir string) string {
	has := func(parts ...string) bool {
		_, err := os.Stat(filepath.Join(parts...))
		return err == nil
	}
	switch {
	case has(dir, "log") && has(dir, "blocks"):
		return fmt.Sprintf("%s is a vault's folder. Name the store above it: --store %s", dir, filepath.Join(dir, "..", ".."))
	case filepath.Base(dir) == "vaults":
		return fmt.Sprintf("Name the store above it: --store %s", filepath.Dir(dir))
	case has(dir, defaultStore, "vaults"):
		return fmt.Sprintf("There is one below: --store %s", filepath.Join(dir, defaultStore))
	}
	return "Make one with: graven init   or name an existing one with --store DIR or GRAVEN_STORE."
}
