package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"graven"
	"graven/proof"
)

// Exit codes.
const (
	exitOK = iota
	exitDamage
	exitUsage
	exitNotFound
	exitDenied
	exitUnavailable
	exitConflict
	exitOther
)

// usageError is wrong use of the command.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// errDamage ends a check that found damage, and was reported line by line.
var errDamage = errors.New("damage was found")

// code finds the exit code of an error. The first row that matches decides.
func code(err error) int {
	for _, row := range []struct {
		code   int
		errors []error
	}{
		{exitDamage, []error{
			graven.ErrDamaged, errDamage, proof.ErrFormat, proof.ErrUnknownVersion, proof.ErrSignature, proof.ErrOrigin,
			proof.ErrProof, proof.ErrTooOld, proof.ErrSubject, proof.ErrValue, proof.ErrDamaged,
		}},
		{exitUsage, []error{graven.ErrLimit, graven.ErrInvalid}},
		{exitUnavailable, []error{graven.ErrLocked, graven.ErrBusy, graven.ErrFull, graven.ErrPoisoned, syscall.ENOSPC}},
		{exitConflict, []error{graven.ErrConflict, graven.ErrStoreExists, graven.ErrVaultExists}},
		{exitDenied, []error{graven.ErrReadOnly, fs.ErrPermission, syscall.EROFS}},
		{exitNotFound, []error{graven.ErrNoStore, graven.ErrNoVault, graven.ErrNotFound, graven.ErrFuture, fs.ErrNotExist}},
	} {
		for _, e := range row.errors {
			if errors.Is(err, e) {
				return row.code
			}
		}
	}
	return exitOther
}

// finish reports how a run ended and returns its exit code.
func (a *app) finish(err error) int {
	var u *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, syscall.EPIPE):
		return exitOther // whoever read our output has gone: nobody to tell
	case errors.As(err, &u), strings.HasPrefix(err.Error(), "unknown command"), strings.HasPrefix(err.Error(), "unknown shorthand"):
		a.talk("graven: %v\nSee graven --help.", err)
		return exitUsage
	case errors.Is(err, context.Canceled):
		a.talk("graven: interrupted; what was acknowledged is durable")
		return exitOther
	}
	a.talk("graven: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	if hint := a.hint(err); hint != "" {
		a.talk("%s", hint)
	}
	return code(err)
}

// hint says what to do.
func (a *app) hint(err error) string {
	switch {
	case errors.Is(err, graven.ErrNoStore):
		return "Make a store with: graven init --store DIR   or name an existing one with --store DIR or GRAVEN_STORE."
	case errors.Is(err, graven.ErrNoVault):
		return "Choose one with --vault NAME, or make it with: graven vault create NAME"
	case errors.Is(err, graven.ErrLocked):
		return "Another process owns the store. Wait for it to end, or stop it; reading commands work meanwhile."
	case errors.Is(err, graven.ErrNotFound):
		return "See what is there with: graven list [PREFIX]"
	case errors.Is(err, graven.ErrDamaged):
		return "List all damage with: graven check   Bring the damaged files back from a copy; sh rescue.sh OUT in the vault's folder saves what is whole."
	case errors.Is(err, graven.ErrUnsupported), errors.Is(err, proof.ErrUnknownVersion):
		return "This was made by a newer program; nothing is wrong with it. Use that one."
	}
	return ""
}
