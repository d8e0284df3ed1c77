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

// LimitError says which field of a request is over its limit.
type LimitError struct {
	Field        string
	Value, Limit uint64 // in bytes, or in ops for "ops"
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: %d is over the limit of %d", e.Field, e.Value, e.Limit)
}

// Is makes errors.Is(err, ErrLimit) hold.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// ConflictError says which condition did not hold and what was found.
type ConflictError struct {
	Key    string // the key, quoted; empty for an idempotency conflict
	Wanted string
	Found  string
}

func (e *ConflictError) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("wanted %s, found %s", e.Wanted, e.Found)
	}
	return fmt.Sprintf("key %s: wanted %s, found %s", e.Key, e.Wanted, e.Found)
}

// Is makes errors.Is(err, ErrConflict) hold.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }
