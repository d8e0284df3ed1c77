package record

import (
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf8"
)

// Every line starts with the frame and ends with a brace:
//
//	{"v":1,"kind":"tx","seq":7,"time":"2026-01-02T03:04:05.000000006Z",…}
//	     │        │          │         └ UTC, exactly nine fraction digits
//	     │        │          └ position in the log, from 0
//	     │        └ [a-z][a-z0-9-]{0,31}
//	     └ version of the kind

// Frame is what every line says, whatever its kind and version.
type Frame struct {
	// V is the version of the kind.
	V uint64
	// Kind is what the record is.
	Kind string
	// Seq is the record's position in the log, from 0.
	Seq uint64
	// Time is when the committer made the record, in UTC. Invariant: not
	// before the time of the record before it. It orders nothing.
	Time time.Time
}

// ParseFrame reads the frame of a line of any kind and version. It checks what
// every line must satisfy: the frame itself, at most [MaxLine] bytes of valid
// UTF-8, none below 0x20, a closing brace. It does not check the kind's
// fields. Its error wraps [ErrSyntax].
func ParseFrame(line []byte) (Frame, error) {
	p := scanner{b: line}
	f := p.frame()
	p.rest()
	return f, p.err
}

// Follows returns an error that wraps [ErrOrder] unless f may come right after
// prev: the next position, and a time that is not earlier.
func (f Frame) Follows(prev Frame) error {
	if f.Seq != prev.Seq+1 {
		return fmt.Errorf("%w: seq %d after %d, wanted %d", ErrOrder, f.Seq, prev.Seq, prev.Seq+1)
	}
	if f.Time.Before(prev.Time) {
		return fmt.Errorf("%w: seq %d has time %s, which is before %s of the record before it", ErrOrder,
			f.Seq, f.Time.UTC().Format(time.RFC3339Nano), prev.Time.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

func appendFrame(dst []byte, v uint64, kind string, seq uint64, at time.Time) []byte {
	dst = appendInt(dst, `{"v":`, v)
	dst = append(dst, `,"kind":"`...)
	dst = append(dst, kind...)
	dst = appendInt(dst, `","seq":`, seq)
	dst = append(dst, `,"time":"`...)
	dst = appendTime(dst, at)
	return append(dst, '"')
}

// frame reads the frame.
func (p *scanner) frame() (f Frame) {
	if len(p.b) > MaxLine {
		p.refuse(0, invalidInt("the line's length", uint64(len(p.b)), "at most 65535 bytes"))
	}
	f.V = p.int(`{"v":`)
	f.Kind = p.kind(`,"kind":`)
	f.Seq = p.int(`,"seq":`)
	p.lit(`,"time":"`)
	f.Time = p.time()
	return f
}

// time reads a time and the quotation mark behind it.
func (p *scanner) time() time.Time {
	if len(p.b)-p.i >= timeText {
		if t, ok := parseTime(p.b[p.i : p.i+timeText]); ok {
			p.i += timeText
			p.lit(`"`)
			return t
		}
	}
	p.fail(p.i, "a time YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ of the years 0001 to 9999")
	return time.Time{}
}

// kind reads a kind. Known ones are not allocated.
func (p *scanner) kind(name string) string {
	at := p.i + len(name)
	text := p.text(name)
	for _, known := range [...]string{
		KindTx, KindCommit, KindBlock, KindSegment, KindSnapshot, KindGenesis, KindAuthority, KindPolicy, KindWitness,
	} {
		if string(text) == known {
			return known
		}
	}
	if kind := string(text); isKind(kind) {
		return kind
	}
	p.fail(at, "a kind, [a-z][a-z0-9-]{0,31}")
	return ""
}

// rest reads the fields of an unknown kind: nothing, or a comma and what
// follows it, and the closing brace as the line's last byte.
func (p *scanner) rest() {
	if p.err != nil {
		return
	}
	if p.i == len(p.b) || p.b[p.i] != ',' && p.b[p.i] != '}' {
		p.fail(p.i, ", or }")
		return
	}
	if p.b[p.i] == '}' && p.i+1 != len(p.b) {
		p.fail(p.i+1, "the end")
		return
	}
	if last := len(p.b) - 1; p.b[last] != '}' {
		p.fail(last, "} as the last byte")
		return
	}
	if i := control(p.b, p.i); i < len(p.b) {
		p.fail(i, "no byte below 0x20")
		return
	}
	if !utf8.Valid(p.b[p.i:]) {
		p.fail(badUTF8(p.b, p.i), "valid UTF-8")
		return
	}
	p.i = len(p.b)
}

// control returns the offset of the first byte below 0x20 from i on, or the
// length. Eight bytes at a time: subtracting 0x20 sets the high bit of such a
// byte, or of one above a smaller one, which the loop then looks at alone.
func control(b []byte, i int) int {
	const ones = 0x0101010101010101
	for ; len(b)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		if (x-0x20*ones)&^x&(0x80*ones) != 0 {
			break
		}
	}
	for i < len(b) && b[i] >= 0x20 {
		i++
	}
	return i
}

// badUTF8 returns the offset of the first byte from i on that is not part of
// valid UTF-8.
func badUTF8(b []byte, i int) int {
	for i < len(b) {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		i += n
	}
	return i
}
