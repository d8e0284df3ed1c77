package record

import (
	"errors"
	"fmt"
	"strconv"
)

// Errors of reading.
var (
	// ErrSyntax says that bytes are not the canonical form of anything. The
	// message gives the offset, what was wanted and what was there.
	ErrSyntax = errors.New("record: not canonical")
	// ErrUnknownVersion says that the kind is known, but not in this version.
	ErrUnknownVersion = errors.New("record: unknown version")
	// ErrUnknownKind says that no version of the kind is known.
	ErrUnknownKind = errors.New("record: unknown kind")
	// ErrOrder says that a frame does not follow the one before it.
	ErrOrder = errors.New("record: out of order")
	// ErrMismatch says that bytes are not those that a digest names.
	ErrMismatch = errors.New("record: digest mismatch")
)

// Errors of meaning: of the encoder, and of the parser together with
// [ErrSyntax].
var (
	// ErrInvalid says that a field breaks a rule. The error is a [*FieldError].
	ErrInvalid = errors.New("record: invalid")
	// ErrUnsupported says that a field has a reserved value: one that a later
	// version may allow. It comes together with [ErrInvalid].
	ErrUnsupported = errors.New("record: unsupported")
)

// FieldError names a field that breaks a rule. It wraps [ErrInvalid].
type FieldError struct {
	// Field is the field's name in the line, with its place: `ops[3].key`.
	Field string
	// Value is the value as text, shortened; of bytes and strings their
	// beginning and length.
	Value string
	// Limit is the rule, such as `1 to 1024 bytes`.
	Limit string
	// Reserved is true where a later version may allow the value.
	Reserved bool
}

// Error returns one line with field, value and rule.
func (e *FieldError) Error() string {
	if e.Reserved {
		return fmt.Sprintf("record: %s is %s, which is reserved; wanted %s", e.Field, e.Value, e.Limit)
	}
	return fmt.Sprintf("record: %s is %s; wanted %s", e.Field, e.Value, e.Limit)
}

// Is reports whether target is [ErrInvalid], or [ErrUnsupported] for a reserved value.
func (e *FieldError) Is(target error) bool {
	return target == ErrInvalid || e.Reserved && target == ErrUnsupported
}

// in returns the same error about a field of an enclosing value.
func (e *FieldError) in(outer string) *FieldError {
	if e == nil {
		return nil
	}
	f := *e
	f.Field = outer + "." + e.Field
	return &f
}

// asError turns a nil pointer into a nil error.
func (e *FieldError) asError() error {
	if e == nil {
		return nil
	}
	return e
}

// shortLen is how many bytes of a value an error shows.
const shortLen = 40

func invalid(field, value, limit string) *FieldError {
	return &FieldError{Field: field, Value: value, Limit: limit}
}

func invalidInt(field string, value uint64, limit string) *FieldError {
	return invalid(field, strconv.FormatUint(value, 10), limit)
}

func invalidText[T ~string | ~[]byte](field string, value T, limit string) *FieldError {
	return invalid(field, short(value), limit)
}

// short quotes a value, or its beginning and its length if it is long.
func short[T ~string | ~[]byte](value T) string {
	if len(value) <= shortLen {
		return strconv.QuoteToASCII(string(value))
	}
	return fmt.Sprintf("%s… (%d bytes)", strconv.QuoteToASCII(string(value[:shortLen])), len(value))
}
