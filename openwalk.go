package graven

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/record"
)

// maxFrameHead is more than the bytes of a frame's first line.
const maxFrameHead = 96

// openWalk reads the first frames of an open block and verifies each.
type openWalk struct {
	name   string
	in     fsx.File
	header []byte
	count  int                       // frames
	mend   func(id record.ID) []byte // a second copy of an artifact, nil if there is none
	mended int
}

// copy puts out header and frames, and returns how many bytes that is. Nothing
// of an artifact is put out before it was hashed.
func (w *openWalk) copy(to io.Writer) (size int64, err error) {
	w.mended = 0
	damage := func(offset int64, format string, args ...any) error {
		return fmt.Errorf("%w: %s, offset %d: %s", ErrDamaged, w.name, offset, fmt.Sprintf(format, args...))
	}
	length, err := w.in.Size()
	if err != nil {
		return 0, err
	}
	head := make([]byte, len(w.header))
	if n, err := w.in.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	} else if !bytes.Equal(head[:n], w.header) {
		return 0, damage(0, "header %q, wanted %q", head[:n], w.header)
	}
	if _, err := to.Write(w.header); err != nil {
		return 0, err
	}
	at := int64(len(w.header))
	for range w.count {
		frame, err := w.frame(at, length, damage)
		if err != nil {
			return at, err
		}
		if _, err := to.Write(frame); err != nil {
			return at, err
		}
		at += int64(len(frame))
	}
	return at, nil
}

// frame reads and verifies the frame at an offset of a file of a length.
func (w *openWalk) frame(at, length int64, damage func(int64, string, ...any) error) ([]byte, error) {
	head := make([]byte, maxFrameHead)
	n, err := w.in.ReadAt(head, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s, offset %d: %w", w.name, at, err)
	}
	id, size, headLen, err := block.ParseFrameHeader(head[:n])
	if err != nil {
		return nil, damage(at, "%v", err)
	}
	end := at + int64(headLen) + size + 1
	if size < 0 || end < at || end > length {
		return nil, damage(at, "an artifact of %d bytes, the file has %d", size, length)
	}
	frame := make([]byte, end-at)
	if _, err := w.in.ReadAt(frame, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s, offset %d: %w", w.name, at, err)
	}
	body := frame[headLen : len(frame)-1]
	if got := record.IDOf(body); got != id {
		healed := w.mend(id)
		if len(healed) != len(body) || record.IDOf(healed) != id {
			return nil, damage(at+int64(headLen), "artifact %v has SHA-256 %s", id, got.Hex())
		}
		copy(body, healed)
		w.mended++
	}
	frame[len(frame)-1] = '\n' // of no meaning of its own; sealing would refuse another
	return frame, nil
}
