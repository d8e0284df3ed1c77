package block

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"graven/internal/fsx"
	"graven/record"
)

// Store is the blocks of one vault.
type Store struct {
	dir   fsx.Dir
	vault record.VaultID
	files *files

	// write is held by every call that changes which artifact lies where. It is
	// taken before openBlock.io and before mu.
	write sync.Mutex

	// mu guards the fields below and the fields of classes and open blocks that
	// say so. It is held briefly, never over I/O.
	mu      sync.RWMutex
	classes map[string]*class
	sources []*source            // a Ref's file is an index of it
	chunks  []*chunkBlock        // in the order in which the log admits them
	chunkAt map[record.ID]uint32 // a block's index in chunks
	lost    map[record.ID]error  // sealed blocks of which not all artifacts could be located, and why
	finder  Finder               // nil: what is not in memory does not exist
	// forgotten counts the times when artifacts left memory for the Finder.
	forgotten uint64
	failed    error // the first failed sync
	closed    bool

	sealing sync.Mutex // held by Seal: one block at a time; taken before openBlock.io
	heals   atomic.Uint64
	uploads *uploads
}

// class is the blocks of one retention class. Guarded by Store.mu.
//
// Invariants: every number below tail is in open or in sealed, unless its file
// was not loaded; artifacts holds exactly the frames of open, and of those in
// sealed and Store.chunks that have any in memory.
type class struct {
	name      string
	artifacts *catalog // of numbered blocks
	chunks    *catalog // of chunk blocks
	open      map[uint64]*openBlock
	sealed    map[uint64]*sealedBlock
	found     map[uint64]bool // open files that Open met and nothing has loaded yet
	floor     uint64          // the number after the greatest that a record seals
	last      uint64          // artifacts of block floor-1
	held      uint64          // artifacts of all blocks in sealed
	stray     bool            // loadRest registered something
	tail      uint64          // number of the block that the next artifact goes to; at least floor
}

// sealedBlock is what is known of a numbered block under sealed/.
type sealedBlock struct {
	id     record.ID
	size   uint64     // of the file in bytes
	count  uint64     // artifacts
	source uint32     // noSource until something is read
	end    int64      // behind the last frame; 0 until something asks, see Store.endOf
	frames *frameList // nil if the Finder has them
}

// chunkBlock is what is known of an admitted chunk block.
type chunkBlock struct {
	id     record.ID
	size   uint64
	class  *class
	source uint32     // noSource until something is read
	frames *frameList // nil if the Finder has them
}

// Ref says where an artifact lies. It is valid as long as its Store.
type Ref struct {
	file uint32
	size uint32
	off  int64
}

// Size is the artifact's length in bytes.
func (r Ref) Size() int64 { return int64(r.size) }

// maxNumber is the greatest block number that a file name of 8 digits tells.
const maxNumber = 99_999_999

// Open opens the blocks below dir, the vault's folder `blocks`. It lists the
// folder of open blocks, refusing what cannot be ours by name (ErrForeign,
// fsx.ErrNotRegular), and changes and loads nothing.
func Open(dir fsx.Dir, vault record.VaultID) (*Store, error) {
	s := &Store{
		dir:     dir,
		vault:   vault,
		files:   newFiles(dir),
		classes: map[string]*class{},
		chunkAt: map[record.ID]uint32{},
		lost:    map[record.ID]error{},
		uploads: newUploads(),

		forgotten: 1,
	}
	entries, err := dir.ReadDir("open")
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := s.meet(e); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// meet takes note of a name in the folder of open blocks.
func (s *Store) meet(e fsx.Entry) error {
	name := path.Join("open", e.Name)
	class, number, isBlock := parseOpenName(e.Name)
	n, isNew := parseNewName(e.Name)
	id, isUp := parseUpName(e.Name)
	switch {
	case !isBlock && !isNew && !isUp:
		return fmt.Errorf("%s: %w", s.files.path(name), ErrForeign)
	case !e.Regular:
		return fmt.Errorf("%s: %w", s.files.path(name), fsx.ErrNotRegular)
	case isBlock:
		s.class(class).found[number] = true
	case isNew:
		s.uploads.next = max(s.uploads.next, n+1)
		s.uploads.made = append(s.uploads.made, e.Name)
	case isUp:
		s.uploads.left = append(s.uploads.left, id)
	}
	return nil
}

// class returns a class, making it if needed. Callers hold mu, or have the
// store for themselves.
func (s *Store) class(name string) *class {
	c := s.classes[name]
	if c == nil {
		c = &class{
			name:      name,
			artifacts: newCatalog(),
			chunks:    newCatalog(),
			open:      map[uint64]*openBlock{},
			sealed:    map[uint64]*sealedBlock{},
			found:     map[uint64]bool{},
		}
		s.classes[name] = c
	}
	return c
}

// settleTail finds the tail anew from what is loaded. Callers hold mu.
func (c *class) settleTail() {
	c.tail = c.floor
	for number, b := range c.open {
		if b.twin != nil {
			number++ // it takes no more
		}
		if b.count > 0 {
			c.tail = max(c.tail, number)
		}
	}
}

// seal notes that a record seals a block. Callers hold mu.
func (c *class) seal(number uint64, b *sealedBlock) {
	c.sealed[number] = b
	c.held += b.count
	c.recorded(number, b.count)
}

// recorded notes the number and the count of a sealed block's record, whether
// the block is there or not. Callers hold mu.
func (c *class) recorded(number, count uint64) {
	if number >= c.floor {
		c.floor, c.last = number+1, count
	}
	c.tail = max(c.tail, c.floor)
}

// total is the number of artifacts in the numbered blocks. Callers hold mu.
func (c *class) total() uint64 {
	n := c.held
	for _, b := range c.open {
		n += uint64(b.count)
	}
	return n
}

// addSource gives a file a number for Refs. Callers hold mu.
func (s *Store) addSource(name string) uint32 {
	s.sources = append(s.sources, &source{name: name})
	return uint32(len(s.sources) - 1)
}

// Close trims what was reserved and not used, and closes all files. It does
// not sync. No other call may be under way but reads.
func (s *Store) Close() error {
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var open []*openBlock
	for _, c := range s.classes {
		for _, b := range c.open {
			if b.twin != nil {
				b.reserved = 0 // published: given back
			}
			open = append(open, b)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, b := range open {
		errs = append(errs, b.close())
	}
	s.files.close()
	return errors.Join(errs...)
}

// usable returns why nothing may be written, if so.
func (s *Store) usable() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return fmt.Errorf("blocks: %w", ErrClosed)
	}
	if s.failed != nil {
		return fmt.Errorf("blocks: %w: %w", ErrFailed, s.failed)
	}
	return nil
}

// begin takes the lock of changing calls, which it keeps unless it fails.
func (s *Store) begin() error {
	s.write.Lock()
	err := s.usable()
	if err != nil {
		s.write.Unlock()
	}
	return err
}

// fail notes that a sync failed: what was written before may be lost although
// it can still be read, and no later sync would tell. It returns err.
func (s *Store) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
	}
	return err
}

// failUnless judges an error of a call of fsx.Dir that made a name, and synced
// its folder. If the name came into being, it was the sync that failed.
func (s *Store) failUnless(refused error, name string) error {
	for _, harmless := range []error{fsx.ErrTooManyFiles, fsx.ErrNotRegular, fsx.ErrReadOnly, fsx.ErrRule, fs.ErrNotExist, fs.ErrPermission} {
		if errors.Is(refused, harmless) {
			return refused
		}
	}
	if errors.Is(refused, fsx.ErrNoSpace) {
		if there, err := s.dir.Exists(name); err == nil && !there {
			return refused
		}
	}
	return s.fail(refused)
}

// Names below the folder of blocks.

func openName(class string, number uint64) string {
	return "open/" + class + "-" + string(appendPadded(nil, number, 8)) + ".blk"
}

func parseOpenName(name string) (class string, number uint64, ok bool) {
	rest, ok := strings.CutSuffix(name, ".blk")
	if !ok || len(rest) < 10 || rest[len(rest)-9] != '-' {
		return "", 0, false
	}
	class, digits := rest[:len(rest)-9], rest[len(rest)-8:]
	number, ok = parseDigits(digits)
	return class, number, ok && validClass(class)
}

// IsOpenName reports whether a file in the folder of open blocks may be a block.
func IsOpenName(name string) bool {
	_, _, ok := parseOpenName(name)
	return ok
}

func newName(n uint64) string { return "open/new-" + strconv.FormatUint(n, 10) }

func parseNewName(name string) (n uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, "new-")
	if !ok || len(digits) > 15 {
		return 0, false
	}
	return parseDigits(digits)
}

func upName(id record.ID) string { return "open/up-" + id.Hex() }

func parseUpName(name string) (id record.ID, ok bool) {
	digits, ok := strings.CutPrefix(name, "up-")
	return id, ok && len(digits) == 2*len(id) && decodeHex(id[:], []byte(digits))
}

func sealedName(id record.ID) string {
	hex := id.Hex()
	return "sealed/" + hex[:2] + "/" + hex + ".blk"
}

func healedName(id record.ID) string {
	hex := id.Hex()
	return "healed/" + hex[:2] + "/" + hex
}

// parseDigits reads one or more digits and nothing else.
func parseDigits(s string) (v uint64, ok bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	v, err := strconv.ParseUint(s, 10, 64)
	return v, err == nil
}
