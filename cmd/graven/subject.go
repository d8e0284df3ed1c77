package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"graven/proof"
	"graven/record"
)

// wantedSubject spells a subject of the command line as package proof does, so
// that a key may be given in any way that the other verbs take, and JSON in any
// order and with any white space.
func wantedSubject(s string) (string, error) {
	word, rest, _ := strings.Cut(s, ":")
	isJSON := strings.HasPrefix(strings.TrimSpace(rest), "{")
	var subject string
	var err error
	switch word {
	case "space":
		return s, nil
	case "record", "signed", "size":
		var n uint64
		if n, err = parseSeq(rest); err != nil {
			err = usage("wanted a number behind %s:", word)
		}
		subject = strconv.FormatUint(n, 10)
	case "op":
		subject, err = opSubject(rest)
	case "list", "count":
		if isJSON {
			subject, err = rangeSubject(rest, word == "list")
			break
		}
		var prefix []byte
		prefix, err = parsePrefix(rest)
		subject = record.RangeSubject{Space: record.SpaceUser, Prefix: prefix}.Format()
	case "history", "past":
		if isJSON {
			subject, err = keySubject(rest, word == "past")
			break
		}
		subject, err = chainSubject(word, rest)
	default:
		return plainSubject(s)
	}
	if err != nil {
		return "", fmt.Errorf("subject %s: %w; a key that begins with %s: is written %s…", s, err, word, keyPrefix)
	}
	return word + ":" + subject, nil
}

// plainSubject spells the subject that is a user's key.
func plainSubject(s string) (string, error) {
	if s == "" {
		return "", nil // none was given
	}
	key, err := parseKey(s)
	if err != nil {
		return "", err
	}
	for _, special := range proof.SubjectWords {
		if strings.HasPrefix(string(key), special) {
			return keyPrefix + base64.StdEncoding.EncodeToString(key), nil
		}
	}
	if !utf8.Valid(key) {
		return keyPrefix + base64.StdEncoding.EncodeToString(key), nil
	}
	return string(key), nil
}

// chainSubject spells history:KEY, past:SEQ:KEY and past:TIME:KEY.
func chainSubject(word, rest string) (string, error) {
	if word == "history" {
		key, err := parseKey(rest)
		return record.FormatSubject(record.SpaceUser, key), err
	}
	m, text, ok := parseMoment(rest)
	if !ok {
		return "", usage("wanted past:SEQ:KEY, or past:TIME:KEY with a time in UTC (2026-11-21T12:00:00Z) or a date (2026-11-21)")
	}
	key, err := parseKey(text)
	return record.FormatSubjectAt(record.SpaceUser, key, m), err
}

// keySubject spells the JSON of a key, with the moment, which the past must have.
func keySubject(text string, past bool) (string, error) {
	o, err := parseObject([]byte(text))
	if err != nil {
		return "", err
	}
	space, key, m := o.space(), o.key("key"), o.moment()
	if past && m == (record.Moment{}) && o.err == nil {
		o.err = usage("at or time is missing")
	}
	return record.FormatSubjectAt(space, key, m), o.endKey(key)
}

// endKey is end of an object that must have a key.
func (o *object) endKey(key []byte) error {
	if err := o.end(); err != nil || key != nil {
		return err
	}
	return usage("key is missing")
}

// rangeSubject spells the JSON of a list or a count.
func rangeSubject(text string, list bool) (string, error) {
	o, err := parseObject([]byte(text))
	if err != nil {
		return "", err
	}
	s := record.RangeSubject{Space: o.space(), Prefix: o.key("prefix"), From: o.key("from"), To: o.key("to")}
	if list {
		if limit := o.number("limit"); limit != nil {
			s.Limit = *limit
		}
		s.Reverse, s.Compact = o.flag("reverse"), o.flag("compact")
	}
	m := o.moment()
	s.At, s.Time = m.At, m.Time
	return s.Format(), o.end()
}

func opSubject(text string) (string, error) {
	o, err := parseObject([]byte(text))
	if err != nil {
		return "", err
	}
	seq, op := o.number("seq"), o.number("op")
	if err := o.end(); err != nil {
		return "", err
	}
	if seq == nil || op == nil {
		return "", usage(`wanted op:{"seq":SEQ,"op":N}`)
	}
	return fmt.Sprintf(`{"seq":%d,"op":%d}`, *seq, *op), nil
}

// key takes bytes: text under a name, or base64 under the name that ends with 64;
// nil: neither is there, or they are empty.
func (o *object) key(name string) []byte {
	text, coded := o.text(name), o.text(name+"64")
	switch {
	case text != nil && coded != nil:
		o.fail(name, "one of "+name+" and "+name+"64", []byte("both"))
	case text != nil && *text != "":
		return []byte(*text)
	case coded != nil:
		key, err := base64.StdEncoding.Strict().DecodeString(*coded)
		if err != nil {
			o.fail(name+"64", "base64", []byte(*coded))
		}
		if len(key) > 0 {
			return key
		}
	}
	return nil
}

// space takes the space of keys, which is that of users if it is not there.
func (o *object) space() byte {
	text := o.text("space")
	if text == nil {
		return record.SpaceUser
	}
	b, err := hex.DecodeString(*text)
	if err != nil || len(b) != 1 {
		o.fail("space", "two hex digits", []byte(*text))
		return 0
	}
	return b[0]
}

// moment takes the position or the time of a claim about the past.
func (o *object) moment() (m record.Moment) {
	at, text := o.number("at"), o.text("time")
	switch {
	case at != nil && text != nil:
		o.fail("at", "one of at and time", []byte("both"))
	case at != nil && *at == 0:
		o.fail("at", "a number from 1", []byte("0"))
	case at != nil:
		m.At = *at
	case text != nil:
		t, err := parseInstant(*text)
		if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 || t.IsZero() {
			o.fail("time", "a time (2026-11-21T12:00:00Z) or a date (2026-11-21)", []byte(*text))
			t = time.Time{}
		}
		m.Time = t
	}
	return m
}

// checkSubject is [proof.Result.CheckSubject] with both subjects as --subject takes them.
func checkSubject(r *proof.Result, want string) error {
	if r.CheckSubject(want) == nil {
		return nil
	}
	return fmt.Errorf("%w: the proof is about %s, wanted %s", proof.ErrSubject, quoted(subjectText(r.Subject())), quoted(subjectText(want)))
}

// subjectText is a subject on one line, which --subject takes again: what would not
// show there is escaped in JSON, and a key is written as the other verbs write it.
func subjectText(s string) string {
	if plain(s) {
		return s
	}
	word, rest, _ := strings.Cut(s, ":")
	switch {
	case word == "space":
		return oneLine(s)
	case !strings.HasPrefix(rest, "{"):
		return keyPrefix + base64.StdEncoding.EncodeToString([]byte(s))
	}
	var out strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}
