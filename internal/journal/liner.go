package journal

import (
	"bytes"
	"errors"
	"io"
)

// liner reads the lines of a part of a file, one after the other.
type liner struct {
	f    io.ReaderAt
	off  int64  // where the next line begins
	end  int64  // of the part, within the file
	buf  []byte // longer than the longest line
	have []byte // what is in memory from off on; in buf
}

// next returns the next line without its newline; it is valid until the next
// call. It is not ok if no newline ends it, within the longest line or before the
// end of the part; off stays then.
func (r *liner) next() (line []byte, ok bool, err error) {
	for {
		if i := bytes.IndexByte(r.have[:min(len(r.have), maxLine+1)], '\n'); i >= 0 {
			line, r.have = r.have[:i], r.have[i+1:]
			r.off += int64(i) + 1
			return line, true, nil
		}
		read := r.off + int64(len(r.have))
		if len(r.have) > maxLine || read >= r.end {
			return nil, false, nil
		}
		n := copy(r.buf, r.have)
		m := int(min(int64(len(r.buf)-n), r.end-read))
		if err := readFull(r.f, r.buf[n:n+m], read); err != nil {
			return nil, false, err
		}
		r.have = r.buf[:n+m]
	}
}

// readFull reads all of p, which lies within the file.
func readFull(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // it became shorter
	}
	return err
}
