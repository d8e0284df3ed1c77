package wal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"graven/internal/fsx"
)

// source is a file that is being read, and what its first frame says.
type source struct {
	name  string // relative to the vault, for reports
	base  string // relative to the folder
	f     fsx.File
	size  int64 // room for frames
	free  bool
	first frame // at offset 0; its group is not kept

	// start is where the frames that count begin, and height the first one's: 0,
	// or behind a bad first frame with whole ones of its generation.
	start  int64
	height uint64
}

// status of the bytes at an offset.
type status uint8

const (
	end   status = iota // zeros, or the file's end
	whole               // a frame with a good checksum
	bad                 // anything else
)

// frame is what was found at an offset.
type frame struct {
	status status
	header header // if whole, or bad but parsed
	parsed bool   // the header line could be read
	length int64  // of the whole frame, by its header; 0 if not parsed
	group  Group  // if whole; its bytes are valid until the next frame is read
	reason string // why it is bad
	err    error  // ErrUnknownVersion; otherwise nil
}

// survey opens all files and reads the first frame of each. The caller closes
// them with closeAll.
func (w *WAL) survey() (sources []*source, err error) {
	entries, err := w.dir.ReadDir(".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", w.dir.Path(), err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(sources))
			sources = nil
		}
	}()
	for i, e := range entries {
		want := fileName(i)
		switch {
		case !isFileName(e.Name):
			return sources, fmt.Errorf("%s: %w", w.path(e.Name), ErrForeignFile)
		case e.Name != want:
			return sources, fmt.Errorf("%s: %w: the next one is %s", w.path(want), ErrMissing, e.Name)
		case !e.Regular:
			return sources, fmt.Errorf("%s: %w", w.path(e.Name), fsx.ErrNotRegular)
		}
		s, err := w.openSource(e.Name)
		if s != nil {
			sources = append(sources, s)
		}
		if err != nil {
			return sources, fmt.Errorf("%s: %w", w.path(e.Name), err)
		}
	}
	for _, s := range sources[:max(0, len(sources)-1)] {
		if s.size == 0 {
			// Only the file that is being made can be empty.
			return sources, fmt.Errorf("%s: %w: 0 bytes, and another file follows", s.name, ErrLength)
		}
	}
	return sources, twins(sources)
}

// isFileName reports whether a name is one that fileName returns.
func isFileName(name string) bool {
	digits, ok := strings.CutPrefix(name, "wal-")
	return ok && len(digits) == 8 && strings.Trim(digits, "0123456789") == ""
}

// openSource opens one file and reads its first frame.
func (w *WAL) openSource(base string) (*source, error) {
	f, err := w.dir.Open(base)
	if err != nil {
		return nil, err
	}
	s := &source{name: w.path(base), base: base, f: f}
	length, err := f.Size()
	if err != nil {
		return s, err
	}
	// A file is made empty, and gets its length, with the mark, at once.
	s.free = length == 0 || length%pageBytes == markBytes
	s.size = length - length%pageBytes
	if length != 0 && (length%pageBytes > markBytes || s.size < w.opts.FileBytes) {
		return s, fmt.Errorf("%w: %d bytes; wanted at least %d, and a multiple of %d or one more", ErrLength, length, w.opts.FileBytes, pageBytes)
	}
	if s.first, err = w.frameAt(s, 0); err != nil {
		return s, err
	}
	s.first.group = Group{}
	if s.first.err != nil {
		return s, s.first.err
	}
	s.height = s.first.header.height
	if h := &s.first.header; s.first.status == whole && h.vault != w.opts.Vault {
		return s, fmt.Errorf("%w %s; this one is %s", ErrForeignVault, h.vault, w.opts.Vault)
	}
	return s, nil
}

// twins refuses two whole first frames of one generation.
func twins(sources []*source) error {
	seen := map[uint64]*source{}
	for _, s := range sources {
		if s.first.status != whole {
			continue
		}
		g := s.first.header.generation
		if t := seen[g]; t != nil {
			return fmt.Errorf("%s and %s: %w %d", t.name, s.name, ErrTwins, g)
		}
		seen[g] = s
	}
	return nil
}

// frameAt reads the frame at an offset. Its error is one of reading; what was
// read is judged in the frame.
func (w *WAL) frameAt(s *source, off int64) (frame, error) {
	var line [maxHeader]byte
	head := line[:min(int64(maxHeader), s.size-off)]
	if err := readFull(s.f, head, off); err != nil {
		return frame{}, err
	}
	if len(bytes.Trim(head[:min(endBytes, len(head))], "\x00")) == 0 {
		return frame{status: end}, nil
	}
	h, n, err := parseHeader(head)
	switch {
	case errors.Is(err, ErrUnknownVersion):
		return frame{status: bad, reason: err.Error(), err: err}, nil
	case err != nil:
		return frame{status: bad, reason: fmt.Sprintf("wanted a frame's header or zeros, got %q", head[:min(24, len(head))])}, nil
	}
	fr := frame{status: bad, header: h, parsed: true, length: int64(n) + int64(h.body)}
	room := s.size - off - int64(n)
	if h.body > maxBody {
		fr.reason = fmt.Sprintf("wanted a body of at most %d bytes, got %d", maxBody, h.body)
		return fr, nil
	}
	if int64(h.body) > room {
		fr.reason = fmt.Sprintf("wanted %d bytes behind the header, got %d to the file's end", h.body, room)
		return fr, nil
	}
	w.buf = slices.Grow(w.buf[:0], int(h.body))[:h.body]
	if err := readFull(s.f, w.buf, off+int64(n)); err != nil {
		return frame{}, err
	}
	if sum := checksum(head[:n-sumLength-1], w.buf); sum != h.sum {
		fr.reason = fmt.Sprintf("wanted checksum %016x, got %016x", h.sum, sum)
		return fr, nil
	}
	if fr.group, err = parseBody(&h, w.buf); err != nil {
		fr.reason = err.Error()
		return fr, nil
	}
	fr.status = whole
	return fr, nil
}

// searchBytes is how much of a file is searched at once.
const searchBytes = 256 << 10

// search looks from an offset on for a whole frame of a generation whose height
// is greater than above. It returns where that begins and its height, -1 if
// there is none.
//
// The heights keep out copies of frames that a value may hold: somebody stored
// this very file. Those are of groups before the value's own.
func (w *WAL) search(s *source, off int64, like *header, above uint64) (int64, uint64, error) {
	key := like.appendKey(nil)
	window := make([]byte, min(searchBytes, max(s.size-off, 0)))
	for s.size-off >= int64(len(key)) {
		part := window[:min(int64(len(window)), s.size-off)]
		if err := readFull(s.f, part, off); err != nil {
			return -1, 0, err
		}
		for i := 0; ; i++ {
			hit := bytes.Index(part[i:], key)
			if hit < 0 {
				break
			}
			i += hit
			fr, err := w.frameAt(s, off+int64(i))
			if err != nil {
				return -1, 0, err
			}
			if fr.status == whole && fr.header.height > above {
				return off + int64(i), fr.header.height, nil
			}
		}
		// The windows overlap, so that a key over their border is seen.
		off += int64(len(part) - len(key) + 1)
	}
	return -1, 0, nil
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

// byGeneration orders sources by the generation of their first frames.
func byGeneration(a, b *source) int {
	return cmp.Compare(a.first.header.generation, b.first.header.generation)
}

// closeAll closes files that were read.
func closeAll(sources []*source) error {
	var errs []error
	for _, s := range sources {
		errs = append(errs, s.f.Close())
	}
	return errors.Join(errs...)
}
