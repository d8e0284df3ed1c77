package block

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"graven/record"
)

// uploads keeps track of files in the making and of chunk blocks that wait for
// their transaction.
type uploads struct {
	mending sync.Mutex // held while a damaged leftover is replaced

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

// claim counts one more upload on a waiting file, so that no other one's end
// removes it.
func (u *uploads) claim(id record.ID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.users[id]++
}

// giveUp takes a claim back and, if it was the last, removes the waiting file
// before anybody can claim it again. Admit has ended all claims before.
func (u *uploads) giveUp(id record.ID, remove func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch n := u.users[id]; n {
	case 0:
	case 1:
		delete(u.users, id)
		remove()
	default:
		u.users[id] = n - 1
	}
}

// wait lets a finished upload wait under its hash, unless it is known. The
// claim comes before the look at what is there: then a file that is found stays.
func (s *Store) wait(u *Upload, rec record.Block) (known bool, err error) {
	s.uploads.claim(rec.ID)
	known, err = s.waitOrKnown(u, rec)
	if known || err != nil {
		s.dropClaim(rec.ID)
	}
	return known, err
}

// dropClaim gives up a waiting file. What an error leaves the next open sweeps.
func (s *Store) dropClaim(id record.ID) {
	s.uploads.giveUp(id, func() { _ = s.dir.Discard(upName(id)) })
}

func (s *Store) waitOrKnown(u *Upload, rec record.Block) (known bool, err error) {
	to := upName(rec.ID)
	for {
		if s.Admitted(rec.ID) {
			return true, s.healFrom(u, rec)
		}
		err := s.dir.PublishLink(u.name, to)
		switch {
		case err == nil && s.Admitted(rec.ID):
			// An equal upload was admitted, and its name given back, just before.
			if err := s.dropWaiting(rec.ID); err != nil {
				return false, err
			}
			continue
		case err == nil || !errors.Is(err, fs.ErrExist):
			return false, err
		}
		// An equal upload waits, or was left by an earlier process.
		err = s.confirmUp(to, rec)
		if errors.Is(err, ErrDamaged) {
			err = s.replaceUp(u.name, to, rec)
		}
		if !errors.Is(err, fs.ErrNotExist) { // else it was admitted meanwhile
			return false, err
		}
	}
}

// replaceUp puts a good file in the place of a damaged leftover.
func (s *Store) replaceUp(from, to string, rec record.Block) error {
	s.uploads.mending.Lock()
	defer s.uploads.mending.Unlock()
	err := s.confirmUp(to, rec) // another upload may have been faster
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	if err := s.dir.Discard(to); err != nil {
		return err
	}
	return s.dir.PublishLink(from, to)
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
		ref, ok, err := s.lookupChunk(e.ID)
		if err != nil {
			return err
		}
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
	if !up.Known {
		s.dropClaim(up.Block.ID)
	}
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
	if !s.Admitted(rec.ID) {
		if err := s.publishWaiting(rec.ID); err != nil {
			return err
		}
		if err := s.loadSealed(rec); err != nil {
			return err
		}
	}
	s.uploads.mu.Lock()
	delete(s.uploads.users, rec.ID)
	s.uploads.mu.Unlock()
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
