package block

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"strconv"

	"graven/record"
)

// hashFrames walks at most count frames from an offset, hashes each artifact
// and passes its entry and the hash that was found to each; an error of each
// ends the walk. All bytes of the frames also go to whole, unless it is nil.
//
// It returns where the walk ended and after how many frames. It ends early,
// without an error, at the end of the file or at a table of contents; with a
// *syntaxError, whose offset counts from the start of the file, where anything
// else stands.
func hashFrames(w *window, off int64, count uint64, whole hash.Hash, each func(e Entry, got record.ID) error) (end int64, n uint64, err error) {
	walk := frames{w: w, next: off}
	h := sha256.New()
	for n < count {
		end = walk.next
		e, ok, err := walk.read()
		if err != nil || !ok {
			return end, n, err
		}
		if whole != nil {
			if err := feed(whole, w, e.start(), e.Offset); err != nil {
				return end, n, err
			}
		}
		h.Reset()
		var to io.Writer = h
		if whole != nil {
			to = io.MultiWriter(h, whole)
		}
		if err := feed(to, w, e.Offset, e.end()-1); err != nil {
			return end, n, err
		}
		if whole != nil {
			whole.Write([]byte{'\n'})
		}
		if err := each(e, record.ID(h.Sum(nil))); err != nil {
			return end, n, err
		}
		n++
	}
	return walk.next, n, nil
}

// feed writes the bytes [from, to) of a file into a hash.
func feed(h io.Writer, w *window, from, to int64) error {
	for from < to {
		b, err := w.peek(from, int(min(windowSize, to-from)))
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return &syntaxError{what: "file", offset: from, wanted: "bytes up to offset " + strconv.FormatInt(to, 10), got: "the end"}
		}
		if _, err := h.Write(b); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return nil
}

// hashFile returns the SHA-256 of the first size bytes of a file.
func hashFile(r io.ReaderAt, size int64) (record.ID, error) {
	h := sha256.New()
	n, err := io.CopyBuffer(h, io.NewSectionReader(r, 0, size), make([]byte, windowSize))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return record.ID(h.Sum(nil)), err
}

// readFull fills b from an offset. A file that ends before is io.ErrUnexpectedEOF.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// readHeader reads the first line of a block. n is its length.
func readHeader(r io.ReaderAt, size int64) (h Header, n int, err error) {
	b := make([]byte, min(int64(maxHeader), size))
	if err := readFull(r, b, 0); err != nil {
		return Header{}, 0, err
	}
	return ParseHeader(b)
}
