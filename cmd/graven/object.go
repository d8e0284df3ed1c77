package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// object is a JSON object whose members are taken one by one. It is read strictly:
// encoding/json would take a name in any case, the last of two members with one
// name, null for nothing, and half of a surrogate pair for U+FFFD. What somebody
// wrote and nobody reads must not look as if it held.
type object struct {
	members map[string]json.RawMessage // not taken yet
	known   []string                   // that were asked for
	err     error                      // the first
}

// parseObject reads text that is one JSON object.
func parseObject(text []byte) (*object, error) {
	o := &object{members: map[string]json.RawMessage{}}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, usage("wanted one JSON object {…}, got %s", shortened(text))
	}
	for d.More() {
		t, err := d.Token()
		name, _ := t.(string)
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		if err != nil {
			return nil, broken(err)
		}
		if _, twice := o.members[name]; twice {
			return nil, usage("member %q stands there twice", name)
		}
		o.members[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, broken(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, usage("wanted one JSON object, and nothing behind it")
	}
	return o, nil
}

func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return usage("broken JSON: the object has no end")
	}
	return usage("broken JSON: %w", err)
}

// take removes a member; ok is false if it is not there.
func (o *object) take(name string) (value json.RawMessage, ok bool) {
	o.known = append(o.known, name)
	value, ok = o.members[name]
	delete(o.members, name)
	return value, ok
}

func (o *object) fail(name, wanted string, got []byte) {
	if o.err == nil {
		o.err = usage("%s: wanted %s, got %s", name, wanted, shortened(got))
	}
}

// text takes a string; nil: it is not there.
func (o *object) text(name string) *string {
	value, ok := o.take(name)
	if !ok {
		return nil
	}
	var s string
	if value[0] != '"' || json.Unmarshal(value, &s) != nil {
		o.fail(name, "a string", value)
	} else if !utf8.Valid(value) || halfSurrogate(value) {
		o.fail(name, "text of whole characters", value)
	}
	return &s
}

// halfSurrogate reports whether a JSON string has an escape that is half of a pair.
func halfSurrogate(s []byte) bool {
	escape := func(at int) rune { // of the form \uXXXX; -1: there is none
		if at+6 > len(s) || s[at] != '\\' || s[at+1] != 'u' {
			return -1
		}
		n, _ := strconv.ParseUint(string(s[at+2:at+6]), 16, 16)
		return rune(n)
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		if r := escape(i); utf16.IsSurrogate(r) {
			if utf16.DecodeRune(r, escape(i+6)) == utf8.RuneError {
				return true
			}
			i += 6
		}
		i++ // the next byte is part of this escape, also where it is a backslash
	}
	return false
}

// number takes a whole number; nil: it is not there.
func (o *object) number(name string) *uint64 {
	value, ok := o.take(name)
	if !ok {
		return nil
	}
	n, err := strconv.ParseUint(string(value), 10, 53)
	if err != nil {
		o.fail(name, "a whole number from 0", value)
	}
	return &n
}

// flag takes a member that is true where it is there.
func (o *object) flag(name string) bool {
	value, ok := o.take(name)
	if ok && string(value) != "true" {
		o.fail(name, "true, or no such member", value)
	}
	return ok
}

// object takes an object; nil: it is not there.
func (o *object) object(name string) *object {
	value, ok := o.take(name)
	if !ok {
		return nil
	}
	inner, err := parseObject(value)
	if err != nil {
		inner = &object{}
		if o.err == nil {
			o.err = fmt.Errorf("%s: %w", name, err)
		}
	}
	return inner
}

// end is the first error; a member that nobody took is one.
func (o *object) end() error {
	if o.err != nil {
		return o.err
	}
	if left := slices.Sorted(maps.Keys(o.members)); len(left) > 0 {
		return usage("unknown member %q; known are %s", left[0], strings.Join(o.known, ", "))
	}
	return nil
}

// shortened is the beginning of a text that may be long.
func shortened[T string | []byte](text T) string {
	const most = 60
	if len(text) > most {
		return fmt.Sprintf("%s… (%d bytes)", text[:most], len(text))
	}
	return string(text)
}
