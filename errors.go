package graven

import (
	"errors"
	"fmt"

	"graven/internal/fsx"
)

// What can go wrong, grouped by when it occurs. Test with [errors.Is]; the
// error that is returned wraps one of these and says which value it met.
var (
	// Opening.

	// ErrNoStore: the directory holds no store.
	ErrNoStore = errors.New("no store here")
	// ErrStoreExists: the directory holds a store already.
	ErrStoreExists = errors.New("a store exists here already")
	// ErrNotEmpty: a store cannot be made in a directory that holds something else.
	ErrNotEmpty = errors.New("the directory is not empty")
	// ErrNoVault: the store has no vault of that name.
	ErrNoVault = errors.New("no such vault")
	// ErrVaultExists: the store has a vault of that name already.
	ErrVaultExists = errors.New("vault exists already")
	// ErrUnfinished: a mirror whose first sync did not come to its end; there is nothing to read yet.
	ErrUnfinished = errors.New("not finished yet")
	// ErrFork: two checkpoints that one log cannot both have signed honestly; see [ForkError].
	ErrFork = errors.New("fork")
	// ErrUnsupported: a version, format or feature that this program does not know.
	ErrUnsupported = errors.New("not supported by this program")
	// ErrClosed: the store or vault was closed.
	ErrClosed = errors.New("closed")

	// Reading.

	// ErrNotFound: no such key, record or resource at this position.
	ErrNotFound = errors.New("not found")
	// ErrFuture: a position that the vault has not reached.
	ErrFuture = errors.New("position is in the future")
	// ErrDamaged: bytes on disk are not the bytes that the ledger names.
	ErrDamaged = errors.New("damaged")

	// Writing.

	// ErrInvalid: the request breaks a rule of the format.
	ErrInvalid = errors.New("invalid")
	// ErrLimit: a field is longer or larger than its limit; see [LimitError].
	ErrLimit = errors.New("over the limit")
	// ErrConflict: a precondition does not hold, or an idempotency id was used for another request.
	ErrConflict = errors.New("conflict")
	// ErrDenied: the vault's policy does not let this actor write, or not without a signature.
	ErrDenied = errors.New("denied")
	// ErrReadOnly: the vault was opened for reading, or may not be written until it is adopted.
	ErrReadOnly = errors.New("read-only")
	// ErrFull: the disk has no room for the transaction; nothing of it was written. It may be tried again.
	ErrFull = errors.New("disk full")
	// ErrBusy: the queue stayed full until the caller's deadline; nothing was written.
	ErrBusy = errors.New("busy")
	// ErrPoisoned: a write or sync failed and the vault takes no more writes
	// until it is opened again. The transaction may or may not be durable.
	ErrPoisoned = errors.New("vault is poisoned by a failed write")
	// ErrUnknown: the caller gave up waiting; the transaction may still become durable.
	ErrUnknown = errors.New("outcome unknown")
)

// ErrLocked: another process owns the store.
var ErrLocked = fsx.ErrLocked

// OpError says which op of a transaction an error is about.
type OpError struct {
	// Op is its place among the transaction's ops, from 0. Conditions on what is only
	// read stand before all others, each kind in the order in which they were added.
	Op  int
	Err error
}

func (e *OpError) Error() string { return fmt.Sprintf("op %d: %v", e.Op, e.Err) }
func (e *OpError) Unwrap() error { return e.Err }

// LimitError says which field of a request is over its limit.
type LimitError struct {
	Field        string
	Value, Limit uint64 // in bytes, or in ops for "ops"
}

func (e *LimitError) Error() string {
	unit := " bytes"
	if e.Field == "ops" {
		unit = ""
	}
	return fmt.Sprintf("%s: %d%s, over the limit of %d", e.Field, e.Value, unit, e.Limit)
}

// Is makes errors.Is(err, ErrLimit) hold.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// ConflictError says which condition did not hold and what was found, or which id
// was used for another request.
type ConflictError struct {
	// Key is the key, quoted, or the range of keys; empty for a conflict about no key.
	// Op is the place of its condition, as in [OpError].
	Key    string
	Op     int
	Wanted string
	Found  string

	// ID is the idempotency id, and Seq the record in which it was used; empty for a
	// conflict of another kind. Signed: the same signed request is record Seq.
	ID     string
	Signed bool
	Seq    uint64
}

func (e *ConflictError) Error() string {
	switch {
	case e.ID != "":
		return fmt.Sprintf("id %q was used in record %d for another request", e.ID, e.Seq)
	case e.Signed:
		return fmt.Sprintf("this signed request is record %d already, and a signature is for one effect", e.Seq)
	case e.Key == "":
		return fmt.Sprintf("wanted %s, found %s", e.Wanted, e.Found)
	}
	return fmt.Sprintf("key %s: wanted %s, found %s", e.Key, e.Wanted, e.Found)
}

// Is makes errors.Is(err, ErrConflict) hold.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }
