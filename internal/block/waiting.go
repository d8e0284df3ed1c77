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
