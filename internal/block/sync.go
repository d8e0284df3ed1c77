package block

import (
	"errors"
	"fmt"
	"slices"

	"graven/internal/fsx"
)

// reserveStep is how much room an open block reserves at a time, in bytes.
const reserveStep = 1 << 20

// Reserve makes sure that n more bytes fit behind the tail of a class. An
// fsx.ErrNoSpace changes nothing; the call may be tried again.
func (s *Store) Reserve(class string, n int) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.write.Unlock()
	if n <= 0 {
		return nil
	}
	if !validClass(class) {
		return invalid("class %q", class)
	}
	number, size, _ := s.Tail(class)
	need := size + int64(n)
	s.mu.Lock()
	c := s.class(class)
	b := c.open[number]
	if b == nil {
		b = s.newOpen(c, number)
	}
	s.mu.Unlock()
	if need <= b.reserved {
		return nil
	}
	w, err := s.writer(b)
	if err != nil {
		return err
	}
	from := max(b.reserved, size)
	to := (need + reserveStep - 1) / reserveStep * reserveStep
	err = w.Reserve(from, to-from)
	if errors.Is(err, fsx.ErrNoSpace) && to > need {
		to = need // the last room there is
		err = w.Reserve(from, to-from)
	}
	if err == nil {
		b.reserved = to
	}
	return err
}

// Sync makes durable all that was appended or restored before the call. Folders
// need none: a file's name is durable before its first byte is written. It may
// run beside Append and Seal. After a failure the store writes no more.
func (s *Store) Sync() error {
	if err := s.usable(); err != nil {
		return err
	}
	type dirty struct {
		b   *openBlock
		gen uint64
	}
	var todo []dirty
	s.mu.RLock()
	for _, c := range s.classes {
		for _, b := range c.open {
			if b.written != b.synced {
				todo = append(todo, dirty{b, b.written})
			}
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(todo, func(x, y dirty) int { return compareOpen(x.b, y.b) })
	for _, d := range todo {
		if err := d.b.sync(); err != nil {
			return s.fail(fmt.Errorf("sync %s: %w", s.files.path(openName(d.b.class, d.b.number)), err))
		}
		s.mu.Lock()
		d.b.synced = max(d.b.synced, d.gen)
		s.mu.Unlock()
	}
	return nil
}

// sync syncs the file, unless the block was sealed meanwhile, which did.
func (b *openBlock) sync() error {
	b.io.Lock()
	defer b.io.Unlock()
	if b.w == nil {
		return nil
	}
	return b.w.Sync()
}

func compareOpen(x, y *openBlock) int {
	if x.class != y.class {
		if x.class < y.class {
			return -1
		}
		return 1
	}
	return int(int64(x.number) - int64(y.number))
}
