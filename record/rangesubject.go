package record

import (
	"bytes"
	"strconv"
	"time"
)

// RangeSubject says which keys a proof of a list or of a count is about: those
// of a space that begin with Prefix and lie in [From, To).
type RangeSubject struct {
	Space            byte
	Prefix, From, To []byte // nil: no such bound; never empty, at most [MaxKey] bytes
	Limit            uint64 // only so many live ones, from one end; 0: all
	Reverse          bool   // from the last key down
	// Compact: runs of deleted keys are left out of the proof, by what the log says
	// of how many keys live there.
	Compact bool
	At      uint64    // as of the last commit at or before this seq; 0: now, or Time
	Time    time.Time // as At of the record that was the newest then; zero: none
}

const (
	prefixText, prefixBase64 = `,"prefix":`, `,"prefix64":`

	limitField   = `,"limit":`
	reverseField = `,"reverse":true`
	compactField = `,"compact":true`
)

// Format returns the subject's one text. What is nil, zero or false is left
// out; the keys of a user's whole space are {}.
//
//	{"space":"00","prefix":"a/","from":"a/m","to":"a/x","limit":100,"reverse":true,"compact":true,"at":17}
//	{"prefix":"a/","time":"2026-01-02T03:04:05.000000006Z"}
func (s RangeSubject) Format() string {
	dst := []byte{}
	if s.Space != SpaceUser {
		dst = appendSpace(dst, `,"space":"`, s.Space)
	}
	for _, bound := range []struct {
		names keyNames
		b     []byte
	}{{keyNames{prefixText, prefixBase64}, s.Prefix}, {keyNames{fromText, fromBase64}, s.From}, {keyNames{toText, toBase64}, s.To}} {
		if len(bound.b) > 0 {
			dst = appendBytes(dst, bound.names, bound.b)
		}
	}
	if s.Limit > 0 {
		dst = strconv.AppendUint(append(dst, limitField...), s.Limit, 10)
	}
	if s.Reverse {
		dst = append(dst, reverseField...)
	}
	if s.Compact {
		dst = append(dst, compactField...)
	}
	dst = Moment{s.At, s.Time}.append(dst)
	return "{" + string(bytes.TrimPrefix(dst, []byte(","))) + "}"
}

// ParseRangeSubject reads what [RangeSubject.Format] writes for bounds of legal
// length and numbers up to [MaxInt], and nothing else. The error wraps
// [ErrSyntax].
func ParseRangeSubject(text string) (RangeSubject, error) {
	var s RangeSubject
	if text == "{}" {
		s.Space = SpaceUser
		return s, nil
	}
	p := scanner{b: []byte(text)}
	p.lit("{")
	p.b = append([]byte("{,"), p.b[min(1, len(p.b)):]...) // every member then begins with its comma
	s.Space = p.space(`,"space":"`)
	s.Prefix = p.bound(keyNames{prefixText, prefixBase64})
	s.From = p.bound(keyNames{fromText, fromBase64})
	s.To = p.bound(keyNames{toText, toBase64})
	s.Limit = p.positive(limitField)
	s.Reverse = p.has(reverseField)
	s.Compact = p.has(compactField)
	m := p.moment()
	s.At, s.Time = m.At, m.Time
	p.lit("}")
	if err := p.end(); err != nil {
		return RangeSubject{}, err
	}
	return s, nil
}

// positive reads a member that is left out where it would be 0.
func (p *scanner) positive(name string) uint64 {
	if !bytes.HasPrefix(p.b[min(p.i, len(p.b)):], []byte(name)) {
		return 0
	}
	at := p.i
	n := p.int(name)
	if n == 0 {
		p.fail(at, "a number above 0")
	}
	return n
}
