package block

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"slices"
	"sync"

	"graven/internal/fsx"
	"graven/record"
)

// uploads keeps track of files in the making and of chunk blocks that wait for
// their transaction.
type uploads struct {
	mu   sync.Mutex
	next uint64 // number of the next open/new-<n>
	// users counts, for each open/up-<hex>, the finished uploads that count on it.
	users map[record.ID]int

	// What Open met: leftovers of an earlier process. Set by Open alone.
	made []string
	left []record.ID
}

func newUploads() *uploads { return &uploads{users: map[record.ID]int{}} }

// name returns a name for a file in the making.
func (u *uploads) name() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.next++
	return newName(u.next - 1)
}

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
	u.whole.Write(chunk) //nolint:errcheck // a hash never fails
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
	whole.Write(header) //nolint:errcheck // a hash never fails
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
	whole.Write(tail) //nolint:errcheck // a hash never fails
	want := record.ID(whole.Sum(nil))
	return want, u.s.checkFile(u.name, u.f, record.Block{ID: want, Size: uint64(end) + uint64(len(tail))})
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

// wait lets a finished upload wait under its hash, unless it is known.
func (s *Store) wait(u *Upload, rec record.Block) (known bool, err error) {
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	if s.Admitted(rec.ID) {
		return true, s.healFrom(u, rec)
	}
	to := upName(rec.ID)
	for attempt := 0; ; attempt++ {
		err := s.dir.PublishLink(u.name, to)
		if errors.Is(err, fs.ErrExist) && attempt == 0 {
			// An equal upload waits, or was left by an earlier process.
			if err = s.confirmUp(to, rec); errors.Is(err, ErrDamaged) || errors.Is(err, fs.ErrNotExist) {
				if err = s.dir.Discard(to); err == nil {
					continue
				}
			}
		}
		if err == nil {
			s.uploads.users[rec.ID]++
		}
		return false, err
	}
}

// confirmUp verifies a waiting file and makes it durable.
func (s *Store) confirmUp(name string, rec record.Block) error {
	f, err := s.dir.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.checkFile(name, f, rec); err != nil {
		return err
	}
	return s.dir.Sync(name)
}

// healFrom reads the artifacts of a known block, and heals those that rotted
// from the equal file at hand: a hit is not trusted before it was hashed.
func (s *Store) healFrom(u *Upload, rec record.Block) error {
	for _, e := range u.toc {
		s.mu.RLock()
		ref, ok := s.lookupChunk(e.ID)
		s.mu.RUnlock()
		if ok {
			if _, err := s.Read(ref, e.ID); err == nil {
				continue
			}
		}
		b := make([]byte, e.Size)
		if err := readFull(u.f, b, e.Offset); err != nil {
			return err
		}
		if err := s.WriteHealed(e.ID, b); err != nil {
			return fmt.Errorf("heal a chunk of block %v: %w", rec.ID, err)
		}
	}
	return nil
}

// DropUpload says that a finished upload will not be used: its transaction was
// refused. The waiting file is removed when no other equal upload counts on it;
// should that fail, the next open sweeps it. After Admit it does nothing.
func (s *Store) DropUpload(up Uploaded) {
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	n := s.uploads.users[up.Block.ID]
	if up.Known || n == 0 {
		return
	}
	if n > 1 {
		s.uploads.users[up.Block.ID] = n - 1
		return
	}
	delete(s.uploads.users, up.Block.ID)
	_ = s.dir.Discard(upName(up.Block.ID))
}

// Admit is told that the record of a chunk block is durable: the block moves
// from its waiting name to sealed/ and its artifacts are registered. One that is
// there already is fine. It costs a link and the sync of a folder. ErrMissing
// says that there is neither.
func (s *Store) Admit(rec record.Block) error {
	if rec.Number != nil {
		return invalid("Admit is for chunk blocks; this record has number %d", *rec.Number)
	}
	if err := s.begin(); err != nil {
		return err
	}
	defer s.write.Unlock()
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	if !s.Admitted(rec.ID) {
		if err := s.publishWaiting(rec.ID); err != nil {
			return err
		}
		if err := s.loadSealed(rec); err != nil {
			return err
		}
	}
	delete(s.uploads.users, rec.ID)
	return s.dropWaiting(rec.ID)
}

// publishWaiting gives a waiting block its name under sealed/, durably.
func (s *Store) publishWaiting(id record.ID) error {
	up, to := upName(id), sealedName(id)
	err := s.dir.PublishLink(up, to)
	switch {
	case err == nil, errors.Is(err, fs.ErrExist): // dropWaiting sees to the second
		return nil
	case errors.Is(err, fs.ErrNotExist):
		if there, existsErr := s.dir.Exists(to); existsErr != nil || there {
			return existsErr
		}
		return fmt.Errorf("%s and %s: %w: %w", s.files.path(to), s.files.path(up), ErrMissing, err)
	}
	return s.failUnless(err, to)
}

// dropWaiting removes a waiting name, if it is there. A block that is under
// sealed/ as well is made durable there first: the process that linked it may
// have been killed before it synced the folder.
func (s *Store) dropWaiting(id record.ID) error {
	up, to := upName(id), sealedName(id)
	if there, err := s.dir.Exists(up); err != nil || !there {
		return err
	}
	if there, err := s.dir.Exists(to); err != nil {
		return err
	} else if there {
		if err := s.dir.Sync(to); err != nil {
			return s.fail(err)
		}
	}
	return s.dir.Discard(up)
}

// SweepUploads discards what uploads and seals of an earlier process left
// behind, but for the waiting chunk blocks that keep wants; nil wants none.
func (s *Store) SweepUploads(keep func(block record.ID) bool) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.write.Unlock()
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	for _, name := range s.uploads.made {
		if err := s.dir.Discard("open/" + name); err != nil {
			return err
		}
	}
	for _, id := range s.uploads.left {
		if s.uploads.users[id] > 0 || keep != nil && keep(id) {
			continue
		}
		if err := s.dropWaiting(id); err != nil {
			return err
		}
	}
	s.uploads.made, s.uploads.left = nil, nil
	return nil
}

// Waiting lists the chunk blocks that an earlier process left waiting.
func (s *Store) Waiting() []record.ID {
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	return slices.Clone(s.uploads.left)
}
