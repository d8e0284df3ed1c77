package block

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"graven/internal/fsx"
	"graven/record"
)

// Uploaded is a value that lies in a chunk block of its own.
type Uploaded struct {
	Whole record.ID // SHA-256 of the value
	Size  uint64    // of the value in bytes
	List  record.ID // the artifact that lists the chunks
	Class string
	Block record.Block // what the record that admits the block says
	// Known is set if a record admitted the same block before: no further one is
	// needed, and nothing waits.
	Known bool
}

// Upload cuts a value into chunks while it is written. It holds one chunk in
// memory. It belongs to one goroutine; several uploads may run side by side.
// End it with Finish or Abort.
type Upload struct {
	s     *Store
	name  string
	f     fsx.File
	class string
	buf   []byte // room for a frame's first line, a chunk, a newline
	fill  int    // bytes of the chunk so far
	end   int64  // of the file
	list  List
	whole hash.Hash
	toc   []Entry
	seen  map[record.ID]struct{}
	err   error // the first failure; final
}

// NewUpload begins the upload of a value in chunks of so many bytes: the chunk
// size of the vault.
func (s *Store) NewUpload(class string, chunk uint64) (*Upload, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	if !validClass(class) || chunk < 1 || chunk > maxArtifact {
		return nil, invalid("upload to class %q in chunks of %d bytes", class, chunk)
	}
	u := &Upload{
		s: s, name: s.uploads.name(), class: class,
		list: List{Chunk: chunk}, whole: sha256.New(), seen: map[record.ID]struct{}{},
	}
	f, err := s.dir.Append(u.name, true)
	if err != nil {
		return nil, errors.Join(err, s.dir.Discard(u.name))
	}
	u.f = f
	header := AppendHeader(nil, Header{Vault: s.vault, Class: class, Chunks: true})
	if err := u.write(header); err != nil {
		return nil, errors.Join(err, u.Abort())
	}
	return u, nil
}

// write appends bytes to the file.
func (u *Upload) write(b []byte) error {
	if _, err := u.f.WriteAt(b, u.end); err != nil {
		u.err = err
		return err
	}
	u.end += int64(len(b))
	return nil
}

// Write takes the next bytes of the value.
func (u *Upload) Write(p []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	n := 0
	for n < len(p) {
		part := p[n:min(len(p), n+int(u.list.Chunk)-u.fill)]
		u.grow(u.fill + len(part))
		copy(u.buf[maxFrameHeader+u.fill:], part)
		u.fill += len(part)
		n += len(part)
		if uint64(u.fill) == u.list.Chunk {
			if err := u.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// grow makes room for a chunk of n bytes, doubling up to a whole one.
func (u *Upload) grow(n int) {
	need := maxFrameHeader + n + 1
	if need <= len(u.buf) {
		return
	}
	size := min(max(2*len(u.buf), 64<<10, need), maxFrameHeader+int(u.list.Chunk)+1)
	bigger := make([]byte, size)
	copy(bigger, u.buf)
	u.buf = bigger
}

// flush ends the chunk in the buffer and writes it, unless the file has it.
func (u *Upload) flush() error {
	chunk := u.buf[maxFrameHeader : maxFrameHeader+u.fill]
	u.whole.Write(chunk)
	id := record.IDOf(chunk)
	u.list.Chunks = append(u.list.Chunks, id)
	u.list.Size += uint64(u.fill)
	size := u.fill
	u.fill = 0
	if len(u.list.Chunks)*(7+64+2+digits(u.list.Chunk))+256 > MaxList {
		u.err = tooLarge("list of a value of "+fmt.Sprint(u.list.Size)+" bytes in chunks of "+fmt.Sprint(u.list.Chunk), MaxList+1, MaxList)
		return u.err
	}
	return u.frame(id, u.buf[:maxFrameHeader+size+1])
}

// frame writes a frame whose artifact already stands in b, behind room for the
// first line and before room for the newline.
func (u *Upload) frame(id record.ID, b []byte) error {
	if _, ok := u.seen[id]; ok {
		return nil
	}
	size := int64(len(b) - maxFrameHeader - 1)
	first := frameHeaderLen(size)
	start := maxFrameHeader - first
	AppendFrameHeader(b[start:start], id, size)
	b[len(b)-1] = '\n'
	e := Entry{ID: id, Offset: u.end + first, Size: size}
	if err := u.write(b[start:]); err != nil {
		return err
	}
	u.seen[id] = struct{}{}
	u.toc = append(u.toc, e)
	return nil
}

// Finish ends the value: it writes the list, the table of contents and the
// trailer, syncs the file, reads it back and verifies it, and lets it wait under
// the name of its hash. After it, and after an error, the upload is over.
//
// The block belongs to the ledger only after its record, see Admit. If that
// never comes, DropUpload gives it back.
func (u *Upload) Finish() (Uploaded, error) {
	done, err := u.finish()
	return done, errors.Join(err, u.Abort())
}

func (u *Upload) finish() (Uploaded, error) {
	if u.err != nil {
		return Uploaded{}, u.err
	}
	if u.fill > 0 {
		if err := u.flush(); err != nil {
			return Uploaded{}, err
		}
	}
	if u.list.Size == 0 {
		return Uploaded{}, invalid("an empty value has no chunks")
	}
	u.list.Whole = record.ID(u.whole.Sum(nil))
	text := AppendList(make([]byte, maxFrameHeader), u.list)
	list := record.IDOf(text[maxFrameHeader:])
	if err := u.frame(list, append(text, 0)); err != nil {
		return Uploaded{}, err
	}
	count := uint64(len(u.toc))
	if err := u.write(AppendTrailer(AppendTOC(nil, u.toc), u.end, count)); err != nil {
		return Uploaded{}, err
	}
	if err := u.f.Sync(); err != nil {
		return Uploaded{}, fmt.Errorf("sync %s: %w", u.s.files.path(u.name), err)
	}
	id, err := u.reread()
	if err != nil {
		return Uploaded{}, err
	}
	done := Uploaded{
		Whole: u.list.Whole, Size: u.list.Size, List: list, Class: u.class,
		Block: record.Block{ID: id, Size: uint64(u.end), Count: count, Class: u.class},
	}
	done.Known, err = u.s.wait(u, done.Block)
	return done, err
}

// reread verifies each artifact of the finished file and returns the file's hash.
func (u *Upload) reread() (record.ID, error) {
	file := u.s.files.path(u.name)
	whole := sha256.New()
	w := newWindow(u.f, u.end)
	header := AppendHeader(nil, Header{Vault: u.s.vault, Class: u.class, Chunks: true})
	if err := u.s.checkHeader(u.f, u.name, Header{Vault: u.s.vault, Class: u.class, Chunks: true}); err != nil {
		return record.ID{}, err
	}
	whole.Write(header)
	i := 0
	end, n, err := hashFrames(w, int64(len(header)), uint64(len(u.toc)), whole, func(e Entry, got record.ID) error {
		if e != u.toc[i] || got != e.ID {
			return &Damage{File: file, Offset: e.Offset, What: "artifact", ID: u.toc[i].ID, Wanted: u.toc[i].ID.String(), Got: got.String()}
		}
		i++
		return nil
	})
	if err == nil && n != uint64(len(u.toc)) {
		err = &Damage{File: file, Offset: end, What: "frame", Wanted: "as many frames as were written", Got: "fewer"}
	}
	if err != nil {
		return record.ID{}, damageOf(file, 0, "frame", err)
	}
	tail := AppendTrailer(AppendTOC(nil, u.toc), end, uint64(len(u.toc)))
	whole.Write(tail)
	stands := make([]byte, len(tail))
	if err := readFull(u.f, stands, end); err != nil {
		return record.ID{}, err
	}
	if size, err := u.f.Size(); err != nil || size != u.end || !bytes.Equal(stands, tail) {
		return record.ID{}, errors.Join(err, &Damage{File: file, Offset: end, What: "toc", Wanted: "the table and trailer that were written", Got: "other bytes"})
	}
	return record.ID(whole.Sum(nil)), nil
}

// Abort ends an upload that is not finished and removes its file. It does
// nothing after Finish.
func (u *Upload) Abort() error {
	if u.f == nil {
		return nil
	}
	err := u.f.Close()
	u.f = nil
	u.buf = nil
	if u.err == nil {
		u.err = fmt.Errorf("upload: %w", ErrClosed)
	}
	return errors.Join(err, u.s.dir.Discard(u.name))
}
