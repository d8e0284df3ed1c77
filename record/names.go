package record

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Feature returns the name of a kind in a version, such as `tx/1`.
func Feature(kind string, v uint64) string { return kind + "/" + strconv.FormatUint(v, 10) }

// ParseFeature is the inverse of [Feature]. It reports false for anything else.
func ParseFeature(s string) (kind string, v uint64, ok bool) {
	kind, digits, found := strings.Cut(s, "/")
	if !found || !isKind(kind) {
		return "", 0, false
	}
	v, n := scanInt(digits)
	if n == 0 || n != len(digits) {
		return "", 0, false
	}
	return kind, v, true
}

// CheckVaultName returns an error that wraps [ErrInvalid] unless name is one
// that a vault may have.
func CheckVaultName(name string) error { return checkVaultName("name", name).asError() }

// CheckOrigin returns an error that wraps [ErrInvalid] unless origin may be a
// log's origin, which is also the name of its keys.
func CheckOrigin(origin string) error {
	if !isKeyName(origin) {
		return invalidText("origin", origin, limitOrigin)
	}
	return nil
}

// CheckClass returns an error that wraps [ErrInvalid] unless class is one that
// a transaction may name.
func CheckClass(class string) error { return checkUserClass("class", class).asError() }

func checkVaultName(field, name string) *FieldError {
	if !isName(name, 63, "._-") {
		return invalidText(field, name, "1 to 63 bytes of [a-z0-9._-], starting with a letter or a digit")
	}
	return nil
}

func checkClass(field, class string) *FieldError {
	if !isClass(class) {
		return invalidText(field, class, limitClass)
	}
	return nil
}

func checkUserClass(field, class string) *FieldError {
	if class == ClassLog {
		return invalidText(field, class, "any class but log")
	}
	return checkClass(field, class)
}

// checkSet returns an error unless the names are sorted, without duplicates
// and at least one, and all good.
func checkSet(field string, names []string, good func(string) bool, limit string) *FieldError {
	if len(names) == 0 {
		return invalid(field, "empty", "at least one")
	}
	for i, s := range names {
		if !good(s) {
			return invalidText(field+"["+strconv.Itoa(i)+"]", s, limit)
		}
		if i > 0 && names[i-1] >= s {
			return invalidText(field+"["+strconv.Itoa(i)+"]", s, "greater than "+short(names[i-1])+" before it")
		}
	}
	return nil
}

func isClass(s string) bool { return isName(s, maxClass, "._-") }

func isFeature(s string) bool {
	_, _, ok := ParseFeature(s)
	return ok
}

// isName reports whether s is 1 to limit bytes of lower-case letters, digits
// and the marks, the first no mark.
func isName(s string, limit int, marks string) bool {
	if len(s) == 0 || len(s) > limit || !isLowerOrDigit(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !isLowerOrDigit(s[i]) && strings.IndexByte(marks, s[i]) < 0 {
			return false
		}
	}
	return true
}

func isLowerOrDigit(c byte) bool { return c-'a' < 26 || c-'0' < 10 }

// isKind reports whether s matches [a-z][a-z0-9-]{0,31}.
func isKind(s string) bool { return isName(s, 32, "-") && s[0] > '9' }

// isKeyName reports whether s may name a key in a note (C2SP signed-note): no
// white space in the sense of Unicode, no plus sign; and no control characters.
func isKeyName(s string) bool {
	if len(s) == 0 || len(s) > maxOrigin || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r == '+' || unicode.IsSpace(r) || unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// isKeyID reports whether s is NAME+HHHHHHHH.
func isKeyID(s string) bool {
	i := strings.LastIndexByte(s, '+')
	var hash [4]byte
	return i > 0 && isKeyName(s[:i]) && decodeHex(hash[:], s[i+1:])
}
