package block

import (
	"bytes"
	"errors"
	"io"
)

// window reads a file through a buffer of fixed size, mostly forwards.
type window struct {
	r     io.ReaderAt
	limit int64 // nothing at or behind this offset is looked at
	buf   []byte
	start int64 // buf[:n] is what stands at this offset
	n     int
}

// windowSize holds many lines of a table and costs little to skip.
const windowSize = 64 << 10

func newWindow(r io.ReaderAt, limit int64) *window {
	return &window{r: r, limit: limit, buf: make([]byte, windowSize)}
}

// peek returns n bytes at an offset, fewer only where the limit or the file
// ends. n is at most windowSize. The bytes are valid until the next call.
func (w *window) peek(off int64, n int) ([]byte, error) {
	n = int(max(0, min(int64(n), w.limit-off)))
	if off < w.start || off+int64(n) > w.start+int64(w.n) {
		want := int(min(int64(len(w.buf)), w.limit-off))
		if want <= 0 {
			return nil, nil
		}
		got, err := w.r.ReadAt(w.buf[:want], off)
		w.start, w.n = off, got
		if err != nil && !errors.Is(err, io.EOF) {
			w.n = 0
			return nil, err
		}
	}
	from := int(off - w.start)
	if from >= w.n {
		return nil, nil
	}
	return w.buf[from:min(from+n, w.n)], nil
}

// frames walks the frames of a block by their headers, without hashing.
type frames struct {
	w    *window
	next int64 // where the next frame begins
}

// read returns the next frame. At the end of the file, and at a table of
// contents, it returns false and no error; *syntaxError, with an offset from
// the start of the file, where anything else stands.
func (f *frames) read() (e Entry, ok bool, err error) {
	b, err := f.w.peek(f.next, maxFrameHeader)
	if err != nil || len(b) == 0 || bytes.HasPrefix(b, []byte("toc ")) {
		return Entry{}, false, err
	}
	id, size, n, err := ParseFrameHeader(b)
	if err != nil {
		return Entry{}, false, shiftSyntax(err, f.next)
	}
	e = Entry{ID: id, Offset: f.next + int64(n), Size: size}
	if e.end() > f.w.limit {
		return Entry{}, false, &syntaxError{what: "frame", offset: f.next, wanted: "a frame within the file", got: "one that ends behind it"}
	}
	// The next header is most likely wanted as well.
	b, err = f.w.peek(e.end()-1, 1+maxFrameHeader)
	if err != nil {
		return Entry{}, false, err
	}
	if len(b) == 0 || b[0] != '\n' {
		return Entry{}, false, &syntaxError{what: "frame", offset: e.end() - 1, wanted: `"\n"`, got: quote(b)}
	}
	f.next = e.end()
	return e, true, nil
}
