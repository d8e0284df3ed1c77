package block

import (
	"errors"
	"fmt"
	"strconv"

	"graven/record"
)

// Errors of content: what a file holds is not what it must hold.
var (
	// ErrSyntax says that bytes are not the canonical form of a header, frame, table, trailer or list.
	ErrSyntax = errors.New("not canonical")
	// ErrUnknownVersion says that the bytes are of a version of the format that this program does not know.
	ErrUnknownVersion = errors.New("unknown version")
	// ErrDamaged says that a file differs from what the ledger names. The error is a *Damage, but for what ErrWrongPlace says.
	ErrDamaged = errors.New("damaged")
	// ErrWrongVault says that a file belongs to another vault.
	ErrWrongVault = errors.New("file of another vault")
	// ErrWrongPlace says that the Finder named a place that is in no block: the index is wrong, the
	// blocks may be whole. Such an error matches ErrDamaged too, and is no *Damage.
	ErrWrongPlace = errors.New("the index names a place that does not exist")
	// ErrMissing says that a file that must be there is not.
	ErrMissing = errors.New("file is missing")
	// ErrForeign says that a folder holds a name that nothing of ours has.
	ErrForeign = errors.New("foreign name")
	// ErrConflict says that a recovery met other valid content where it was to write.
	ErrConflict = errors.New("other valid content stands there")
	// ErrMismatch says that a chunk list is sound, but not of the value that was asked for.
	ErrMismatch = errors.New("list of another value")
)

// Errors of use and of state.
var (
	// ErrInvalid says that a call breaks the rules of this package.
	ErrInvalid = errors.New("invalid call")
	// ErrNotFound says that no loaded block holds the artifact.
	ErrNotFound = errors.New("no such artifact")
	// ErrForgotten says that artifacts are asked for, for an index, that left memory since an index has them.
	ErrForgotten = errors.New("no longer in memory")
	// ErrTooLarge says that an artifact or a list exceeds what a block can hold.
	ErrTooLarge = errors.New("too large")
	// ErrFailed says that an earlier sync failed: nothing more is written until the store is opened again.
	ErrFailed = errors.New("an earlier sync failed")
	// ErrClosed says that the store or the upload is closed.
	ErrClosed = errors.New("closed")
)

// Damage describes one place where a file differs from what it must be. As an
// error it matches ErrDamaged.
type Damage struct {
	File   string    // relative to the vault's folder
	Offset int64     // in bytes, of the first byte that is known to be concerned
	What   string    // header, frame, artifact, toc, trailer, length, file
	ID     record.ID // the artifact concerned; zero if it is not about one
	Wanted string
	Got    string
}

// Error says file, offset, what was wanted and what was found.
func (d *Damage) Error() string {
	what := d.What
	if d.ID != (record.ID{}) {
		what += " " + d.ID.String()
	}
	return fmt.Sprintf("%s at offset %d: %v %s: wanted %s, got %s", d.File, d.Offset, ErrDamaged, what, d.Wanted, d.Got)
}

// Is reports whether target is ErrDamaged.
func (d *Damage) Is(target error) bool { return target == ErrDamaged }

// syntaxError is where and why a codec refused its input.
type syntaxError struct {
	what   string // the structure
	offset int64  // in the bytes that were parsed
	wanted string
	got    string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("%s %v at byte %d: wanted %s, got %s", e.what, ErrSyntax, e.offset, e.wanted, e.got)
}

func (e *syntaxError) Is(target error) bool { return target == ErrSyntax }

// versionError is what every codec says of a format that is not version 1.
func versionError(magic string, version uint64) error {
	return fmt.Errorf("%w: %s %d, known is %s 1", ErrUnknownVersion, magic, version, magic)
}

// invalid is an ErrInvalid with its reason.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// damageOf turns the error of a codec that read a file at an offset into a
// *Damage. A *Damage stays as it is; other errors, unknown versions among them,
// are given their place.
func damageOf(file string, offset int64, what string, err error) error {
	if errors.Is(err, ErrDamaged) {
		return err
	}
	var s *syntaxError
	if errors.As(err, &s) {
		return &Damage{File: file, Offset: offset + s.offset, What: what, Wanted: s.wanted, Got: s.got}
	}
	return fmt.Errorf("%s at offset %d: %w", file, offset, err)
}

// quote shows the beginning of unexpected bytes.
func quote(b []byte) string {
	const limit = 24
	if len(b) == 0 {
		return "the end"
	}
	if len(b) <= limit {
		return strconv.QuoteToASCII(string(b))
	}
	return strconv.QuoteToASCII(string(b[:limit])) + "…"
}
