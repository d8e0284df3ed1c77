package main

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"graven"
	"graven/record"
)

// keyPrefix marks a key that is not UTF-8, here and in all output.
const keyPrefix = "b64:"

// parseKey reads a key from the command line.
func parseKey(s string) ([]byte, error) {
	if s == "" {
		return nil, usage("a key has at least one byte")
	}
	text, ok := strings.CutPrefix(s, keyPrefix)
	if !ok {
		return []byte(s), nil
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) == 0 || base64.StdEncoding.EncodeToString(key) != text {
		return nil, usage("key %q: behind %s stands base64 of at least one byte", s, keyPrefix)
	}
	return key, nil
}

// parsePrefix reads what keys begin with, which may be nothing.
func parsePrefix(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	return parseKey(s)
}

// formatKey writes a key so that parseKey reads it back, on one line, and so
// that nobody takes it for another.
func formatKey(key []byte) string {
	s := string(key)
	if plain(s) && !strings.HasPrefix(s, keyPrefix) {
		return s
	}
	return keyPrefix + base64.StdEncoding.EncodeToString(key)
}

// plain reports whether a text can be shown as it is: it is UTF-8, on one line,
// and what is seen of it is all of it.
func plain(s string) bool {
	return utf8.ValidString(s) && oneLine(s) == s && strings.TrimSpace(s) == s
}

// viewAt understands AT: a seq (inclusive), an RFC 3339 time, a date (its end
// in UTC), or how long ago.
func viewAt(w *graven.View, at string, now time.Time) (*graven.View, error) {
	if allDigits(at) {
		seq, err := strconv.ParseUint(at, 10, 64)
		if err != nil {
			return nil, usage("position %q: wanted a seq up to %d", at, uint64(record.MaxInt))
		}
		return w.At(seq)
	}
	t, err := parseTime(at, now)
	if err != nil {
		return nil, err
	}
	return w.AtTime(t)
}

func parseTime(at string, now time.Time) (time.Time, error) {
	if t, err := parseInstant(at); err == nil {
		return t, nil
	}
	if d, err := parseAgo(at); err == nil {
		return now.Add(-d), nil
	}
	return time.Time{}, usage("position %q: wanted a seq (1234), a time (2026-11-21T12:00:00Z), a date (2026-11-21), or how long ago (90m, 2h, 3d)", at)
}

// parseInstant reads an RFC 3339 time, or a date, which means its end in UTC.
func parseInstant(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.DateOnly, s)
	return t.AddDate(0, 0, 1).Add(-time.Nanosecond), err
}

// parseMoment cuts a seq from 1, a time in UTC, or a date, which means its end, off
// what stands behind it and a colon. An age would be another time every day.
func parseMoment(s string) (m record.Moment, rest string, ok bool) {
	text, rest, ok := strings.Cut(s, ":")
	if allDigits(text) {
		seq, err := strconv.ParseUint(text, 10, 64)
		return record.Moment{At: seq}, rest, ok && err == nil && seq > 0
	}
	if strings.Contains(text, "T") { // a time has colons of its own
		text, rest, ok = strings.Cut(s, "Z:")
		text += "Z"
	}
	t, err := parseInstant(text)
	return record.Moment{Time: t}, rest, ok && err == nil && t.Year() > 0 && !t.IsZero()
}

// parseAgo is time.ParseDuration with days.
func parseAgo(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok && allDigits(days) {
		n, err := strconv.Atoi(days)
		if err != nil || n > 100_000 {
			return 0, fmt.Errorf("days %q", days)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("duration %q", s)
	}
	return d, nil
}

func allDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// formatBytes writes a number of bytes for people.
func formatBytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n), -1
	for v >= unit && i < 4 {
		v, i = v/unit, i+1
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTP"[i])
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
