package record

import "unicode/utf8"

// checkText checks the length in bytes and the encoding of a string.
func checkText(field, s string, least, most int, limit string) *FieldError {
	if len(s) < least || len(s) > most || !utf8.ValidString(s) {
		return invalidText(field, s, limit)
	}
	return nil
}

func checkInt(field string, v uint64) *FieldError {
	if v > MaxInt {
		return invalidInt(field, v, limitInt)
	}
	return nil
}

func checkOne(field string, v uint64) *FieldError {
	if v < 1 || v > MaxInt {
		return invalidInt(field, v, limitOne)
	}
	return nil
}

// checkInts checks fields that may be any integer of the format.
func checkInts(fields ...intField) *FieldError {
	for _, f := range fields {
		if e := checkInt(f.name, f.value); e != nil {
			return e
		}
	}
	return nil
}

type intField struct {
	name  string
	value uint64
}
