package block

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"graven/record"
)

// Verify reads a whole sealed block of size bytes and reports every difference
// from its record and header: length, header, each frame and artifact, each
// line of the table of contents, the trailer, and the hash of all. It does not
// stop at the first, and uses the table to go on behind a broken frame. file
// names the block in the reports. What cannot be read is reported like damage.
//
// Its work is bounded by the file's true size; it holds the table in memory.
func Verify(file string, r io.ReaderAt, size int64, h Header, rec record.Block, report func(*Damage)) {
	a := &audit{file: file, w: newWindow(r, min(size, int64(rec.Size))), report: report}
	if uint64(size) != rec.Size {
		report(lengthDamage(file, size, rec))
	}
	header := AppendHeader(nil, h)
	a.text("header", 0, header)
	toc := a.readTOC(int64(len(header)), rec)
	found, end, sound := a.frames(int64(len(header)), rec.Count)
	switch {
	case sound && uint64(len(found)) == rec.Count:
		a.tail(found, end)
	case sound:
		report(&Damage{File: file, Offset: end, What: "frame", Wanted: strconv.FormatUint(rec.Count, 10) + " artifacts", Got: strconv.Itoa(len(found))})
		fallthrough
	default:
		for _, d := range toc {
			report(d)
		}
	}
	got, err := hashFile(r, size)
	if err != nil {
		report(&Damage{File: file, What: "file", Wanted: "bytes that can be read", Got: err.Error()})
	} else if got != rec.ID {
		report(&Damage{File: file, What: "file", Wanted: rec.ID.String(), Got: got.String()})
	}
}

// audit is one block under verification.
type audit struct {
	file   string
	w      *window
	known  []Entry // where artifacts lie as far as that is known besides the frames; by offset
	report func(*Damage)
}

// text reports whether the bytes at an offset are those wanted.
func (a *audit) text(what string, off int64, want []byte) bool {
	got, err := a.w.peek(off, len(want))
	if err != nil {
		a.unreadable(off, err)
		return false
	}
	if bytes.Equal(got, want) {
		return true
	}
	diff := 0
	for diff < len(got) && got[diff] == want[diff] {
		diff++
	}
	a.report(&Damage{File: a.file, Offset: off + int64(diff), What: what, Wanted: quoteLine(want), Got: quoteLine(got)})
	return false
}

func (a *audit) unreadable(off int64, err error) {
	a.report(&Damage{File: a.file, Offset: off, What: "file", Wanted: "bytes that can be read", Got: err.Error()})
}

// readTOC reads the lines of the table that make sense into known, and returns
// what is wrong with the others and the trailer.
func (a *audit) readTOC(headerLen int64, rec record.Block) (wrong []*Damage) {
	note := func(err error) {
		var d *Damage
		if !errors.As(err, &d) {
			d = &Damage{File: a.file, What: "toc", Wanted: "a table of contents", Got: err.Error()}
		}
		wrong = append(wrong, d)
	}
	toc, err := readTrailer(a.file, a.w.r, int64(rec.Size), headerLen, rec.Count)
	if err != nil {
		note(err)
		return wrong
	}
	limit := int64(rec.Size) - TrailerSize
	for at := toc; at < limit; {
		b, err := a.w.peek(at, int(min(maxTOCLine, limit-at)))
		if err != nil {
			note(damageOf(a.file, at, "toc", err))
			return wrong
		}
		line, _, found := bytes.Cut(b, []byte{'\n'})
		if len(b) == 0 {
			break
		}
		if used := int64(len(line)); at == toc {
			if want := string(trimNewline(appendTOCHead(nil, rec.Count))); string(line) != want {
				wrong = append(wrong, &Damage{File: a.file, Offset: at, What: "toc", Wanted: strconv.Quote(want), Got: quote(line)})
			}
			at += used + 1
			continue
		}
		e, _, err := parseTOCLine(b)
		switch {
		case err != nil:
			note(damageOf(a.file, at, "toc", err))
		case e.start() < headerLen || e.end() > toc:
			note(&Damage{File: a.file, Offset: at, What: "toc", ID: e.ID, Wanted: "a frame between header and table", Got: quoteLine(line)})
		default:
			a.known = append(a.known, e)
		}
		at += int64(len(line))
		if found {
			at++
		}
	}
	slices.SortStableFunc(a.known, func(x, y Entry) int { return compareInt(x.Offset, y.Offset) })
	return wrong
}

func compareInt(x, y int64) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// frames verifies at most count frames from an offset. It returns those that it
// could locate, under the ids that their bytes have or should have, where it
// stopped, and whether they follow each other without a break.
func (a *audit) frames(from int64, count uint64) (found []Entry, end int64, sound bool) {
	pos, sound := from, true
	for uint64(len(found)) < count && pos < a.w.limit {
		e, at, ok := a.frame(pos)
		if !ok {
			if at < 0 {
				return found, pos, false
			}
			pos, sound = at, false
			continue
		}
		if at != pos {
			sound = false
		}
		found = append(found, e)
		pos = e.end()
	}
	return found, pos, sound
}

// frame verifies the frame at an offset. If none can be located there it returns
// where to go on, -1 if nowhere.
func (a *audit) frame(pos int64) (e Entry, next int64, ok bool) {
	walk := frames{w: a.w, next: pos}
	e, ok, err := walk.read()
	var got record.ID
	if err == nil && ok {
		if got, err = a.hash(e); err == nil && got == e.ID {
			return e, pos, true
		}
	}
	i, known := slices.BinarySearchFunc(a.known, pos, func(k Entry, pos int64) int { return compareInt(k.start(), pos) })
	if known {
		k := a.known[i]
		if kGot, kErr := a.hash(k); kErr == nil && kGot == k.ID {
			// The bytes are good: what stands around them is not.
			a.text("frame", pos, AppendFrameHeader(nil, k.ID, k.Size))
			a.text("frame", k.end()-1, []byte{'\n'})
			return k, pos, true
		}
		if err != nil || !ok || k.Offset == e.Offset && k.Size == e.Size {
			e, ok, err = k, true, nil
			got, err = a.hash(k)
		}
	}
	switch {
	case err != nil && !isSyntax(err):
		a.unreadable(pos, err)
	case err != nil:
		a.report(damageAt(a.file, "frame", err))
	case !ok:
		stands, _ := a.w.peek(pos, maxFrameHeader)
		a.report(&Damage{File: a.file, Offset: pos, What: "frame", Wanted: "a frame", Got: quote(stands)})
	default:
		a.report(&Damage{File: a.file, Offset: e.Offset, What: "artifact", ID: e.ID, Wanted: e.ID.String(), Got: got.String()})
		return e, pos, true
	}
	for ; i < len(a.known); i++ {
		if a.known[i].start() > pos {
			return Entry{}, a.known[i].start(), false
		}
	}
	return Entry{}, -1, false
}

// damageAt is a *Damage of a codec's error whose offset counts from the file's start.
func damageAt(file, what string, err error) *Damage {
	var d *Damage
	if errors.As(damageOf(file, 0, what, err), &d) {
		return d
	}
	return &Damage{File: file, What: what, Wanted: "canonical text", Got: err.Error()}
}

// hash returns the SHA-256 of an entry's bytes.
func (a *audit) hash(e Entry) (record.ID, error) {
	h := sha256.New()
	err := feed(h, a.w, e.Offset, e.Offset+e.Size)
	return record.ID(h.Sum(nil)), err
}

// tail verifies table of contents and trailer, which follow from the frames.
func (a *audit) tail(found []Entry, end int64) {
	at := end
	line := func(what string, want []byte) {
		a.text(what, at, want)
		at += int64(len(want))
	}
	line("toc", appendTOCHead(nil, uint64(len(found))))
	for _, e := range found {
		line("toc", appendTOCLine(nil, e))
	}
	line("trailer", AppendTrailer(nil, end, uint64(len(found))))
	if rest := a.w.limit - at; rest > 0 {
		a.report(&Damage{File: a.file, Offset: at, What: "length", Wanted: "the end", Got: fmt.Sprintf("%d more bytes", rest)})
	}
}
