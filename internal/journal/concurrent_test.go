package journal

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"graven/internal/fsx"
)

// TestReadersAndWriter reads at random places while the log grows over many
// files. Under the race detector it also shows that nothing is shared unguarded.
func TestReadersAndWriter(t *testing.T) {
	opts := Options{FileRecords: 9, FileBytes: 1 << 20}
	groups := makeGroups(opts, 400)
	d := fsx.NewMem()
	l := open(t, d, opts)
	var done atomic.Bool
	var reads atomic.Int64
	var wg sync.WaitGroup
	for r := range 4 {
		wg.Go(func() {
			for n := uint64(r); !done.Load() || n < 100; n = n*7 + 3 {
				next := l.Next()
				if next == 0 {
					runtime.Gosched()
					continue
				}
				from := n % next
				to := min(next, from+n%30)
				lines, err := l.Lines(from, to)
				if err != nil {
					t.Error(err)
					return
				}
				for i, got := range lines {
					if string(got)+"\n" != line(from+uint64(i)) {
						t.Errorf("line %d: %q", from+uint64(i), got)
						return
					}
				}
				reads.Add(1)
				l.Tail()
				if _, err := l.Position(from); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i, g := range groups {
		must(t, l.appendGroup(g))
		if i%10 == 0 {
			must(t, l.Sync())
		}
		if i%50 == 0 {
			for before := reads.Load(); reads.Load() == before && !t.Failed(); {
				runtime.Gosched()
			}
		}
	}
	done.Store(true)
	wg.Wait()
	must(t, readBack(l, groups))
	must(t, l.Close())
}

// TestReadersAndForget reads while the log grows and its table is forgotten, by
// another goroutine than the one that appends.
func TestReadersAndForget(t *testing.T) {
	opts := Options{FileRecords: 150, FileBytes: 1 << 30}
	groups := makeGroups(opts, 1200)
	d := written(t, opts, groups[:300])
	l := openFrom(t, d, opts, groups[200].start(), gridOf(groups, bundleLines))
	where := places(groups)
	var done atomic.Bool
	var wg sync.WaitGroup
	for r := range 3 {
		wg.Go(func() {
			for n := uint64(r); !done.Load() || n < 100; n = n*7 + 3 {
				next := l.Next()
				from := n % next
				to := min(next, from+n%600)
				lines, err := l.Lines(from, to)
				if err != nil || uint64(len(lines)) != to-from {
					t.Errorf("[%d, %d): %d lines, %v", from, to, len(lines), err)
					return
				}
				for i, got := range lines {
					if string(got)+"\n" != line(from+uint64(i)) {
						t.Errorf("line %d: %q", from+uint64(i), got)
						return
					}
				}
				if at, err := l.Position(from); err != nil || at != where[from] {
					t.Errorf("line %d at %v: %v", from, at, err)
				}
				l.Bytes()
			}
		})
	}
	wg.Go(func() {
		for before := groups[200].first; !done.Load(); before = min(before+13, l.Next()) {
			l.Forget(before)
			if err := l.Places(before, l.Next(), 16, func(uint64, Pos) {}); err != nil {
				t.Error(err)
			}
			runtime.Gosched()
		}
	})
	for i, g := range groups[300:] {
		must(t, l.appendGroup(g))
		if i%10 == 0 {
			must(t, l.Sync())
			runtime.Gosched()
		}
	}
	done.Store(true)
	wg.Wait()
	must(t, readBack(l, groups))
	must(t, l.Close())
}

// slow is a disk on which the writer's calls wait until told to go on.
type slow struct {
	fsx.Disk
	ask chan string // a call begins
	on  chan bool   // and may go on
}

type slowFile struct {
	fsx.File
	s *slow
}

func (s *slow) Open(name string, mode fsx.Mode) (fsx.File, error) {
	if mode == fsx.Create {
		s.wait("create")
	}
	f, err := s.Disk.Open(name, mode)
	if err != nil || mode == fsx.Read {
		return f, err
	}
	return slowFile{f, s}, nil
}

func (s *slow) wait(op string) {
	s.ask <- op
	<-s.on
}

func (f slowFile) WriteAt(p []byte, off int64) (int, error) {
	f.s.wait("write")
	return f.File.WriteAt(p, off)
}

func (f slowFile) Sync() error {
	f.s.wait("sync")
	return f.File.Sync()
}

func (f slowFile) Reserve(off, n int64) error {
	f.s.wait("reserve")
	return f.File.Reserve(off, n)
}

// TestReadersDoNotWait reads while every call of the writer is held up: what
// was there before can be read, what is being written is not seen.
func TestReadersDoNotWait(t *testing.T) {
	opts := Options{FileRecords: 5, FileBytes: 1 << 20}
	groups := makeGroups(opts, 20)
	d := written(t, opts, groups[:7])
	s := &slow{Disk: d, ask: make(chan string), on: make(chan bool)}
	l := open(t, s, opts)
	failed := make(chan error, 1)
	go func() {
		defer close(s.ask)
		for _, g := range groups[7:] {
			if err := l.appendGroup(g); err != nil {
				failed <- err
				return
			}
			if err := l.Sync(); err != nil {
				failed <- err
				return
			}
		}
		failed <- l.Close()
	}()
	ops := map[string]int{}
	for op := range s.ask {
		ops[op]++
		have := 0
		for have < len(groups) && groups[have].first < l.Next() {
			have++
		}
		if err := readBack(l, groups[:have]); err != nil {
			t.Fatal(fmt.Errorf("while %s waits: %w", op, err))
		}
		s.on <- true
	}
	must(t, <-failed)
	for _, op := range []string{"create", "write", "sync", "reserve"} {
		if ops[op] == 0 {
			t.Errorf("no %s was held up: %v", op, ops)
		}
	}
}
