package record

import (
	"strconv"
	"time"
)

// Moment is when a claim about the past was so: right after a record, or at a
// time by the log's own clock. The zero Moment is now.
type Moment struct {
	// At is the record's seq, above 0. A Moment with a time is written as that, and
	// At, if it is known, is the record that was the newest then.
	At uint64
	// Time lies in the years 1 to 9999 of UTC; zero: none. The zero time is the
	// first of these years, and the one instant that a Moment cannot name.
	Time time.Time
}

const (
	atField   = `,"at":`
	timeField = `,"time":`
)

// append appends the member of a subject that names the moment, if any does.
func (m Moment) append(dst []byte) []byte {
	switch {
	case !m.Time.IsZero():
		return append(appendTime(append(dst, timeField+`"`...), m.Time), '"')
	case m.At > 0:
		return strconv.AppendUint(append(dst, atField...), m.At, 10)
	}
	return dst
}

// moment reads what [Moment.append] writes.
func (p *scanner) moment() (m Moment) {
	if !p.has(timeField + `"`) {
		m.At = p.positive(atField)
		return m
	}
	if m.Time = p.time(); m.Time.IsZero() {
		p.fail(p.i, "a time after 0001-01-01T00:00:00.000000000Z")
	}
	return m
}
