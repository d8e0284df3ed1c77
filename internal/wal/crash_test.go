package wal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"graven/internal/fsx"
)

// Events of the trace: what the world knows.
type (
	acked     uint64 // the group of this height was synced
	forgotten uint64 // all up to this height are synced elsewhere
)

// script is what a vault does with its log.
type script struct {
	lives []int  // groups written in each; the log is reset before each
	keep  uint64 // a group is forgotten so many groups later
	sizes []int
	exact int // instead of sizes: every frame has this length, if it can
	found map[uint64]int
	early bool // defect: a group is forgotten before anybody else has it
}

func (s *script) size(h uint64) int {
	if s.exact == 0 {
		return s.sizes[h%uint64(len(s.sizes))]
	}
	if s.found == nil {
		s.found = map[uint64]int{}
	}
	for n := s.exact; s.found[h] == 0; n-- {
		if n == 1 || len(makeGroup(h, n).encode()) == s.exact {
			s.found[h] = n
		}
	}
	return s.found[h]
}

// run carries the script out. The disk that records is below the one that is used.
func (s *script) run(m *fsx.Mem, d fsx.Disk, opts Options) error {
	h := uint64(0)
	for i, n := range s.lives {
		if i > 0 {
			m.Mark(forgotten(h - 1)) // a recovery has synced everything elsewhere
		}
		w, err := Open(folder(d), opts)
		if err == nil {
			_, err = w.Read(func(Group) error { return nil })
		}
		if err == nil {
			err = w.Reset()
		}
		if err != nil {
			return err
		}
		for range n {
			if err := w.put(makeGroup(h, s.size(h))); err != nil {
				return err
			}
			m.Mark(acked(h))
			switch {
			case s.early:
				w.Forget(h)
			case h >= s.keep:
				m.Mark(forgotten(h - s.keep))
				w.Forget(h - s.keep)
			}
			h++
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	return nil
}

// reading is a way to read a log; the planted bugs replace it.
type reading func(dir fsx.Dir, opts Options) ([]*Group, Report, error)

// judge says what is wrong with a log after a crash: an acknowledged group that
// nobody else has is missing, a group is another than the one written, the end
// is called damage, or it cannot be read at all.
func (s *script) judge(d fsx.Disk, events []any, opts Options, how reading) error {
	groups, report, err := how(folder(d), opts)
	if err != nil {
		return err
	}
	if report.Damage != nil {
		return fmt.Errorf("called damage: %+v", *report.Damage)
	}
	if err := same(groups, s.size); err != nil {
		return err
	}
	next, needed := uint64(0), uint64(0) // heights below next are acked, those below needed not needed
	for _, e := range events {
		switch e := e.(type) {
		case acked:
			next = uint64(e) + 1
		case forgotten:
			needed = max(needed, uint64(e)+1)
		}
	}
	if len(groups) == 0 {
		if next > 0 {
			return fmt.Errorf("no group, wanted %d at least", next-1)
		}
		return nil
	}
	first, last := groups[0].Height, groups[len(groups)-1].Height
	if needed < next && first > needed || last+1 < next || last > max(next, needed) {
		return fmt.Errorf("groups %d to %d; acknowledged below %d, forgotten below %d", first, last, next, needed)
	}
	return nil
}

// goOn recovers and writes further groups; a second crash is as good as none.
func (s *script) goOn(d *fsx.Mem, opts Options) error {
	groups, _, err := read(folder(d), opts)
	if err != nil {
		return err
	}
	h := uint64(0)
	if n := len(groups); n > 0 {
		h = groups[n-1].Height + 1
	}
	opts.Rand = newRandom(99)
	w, err := Open(folder(d), opts)
	if err == nil {
		_, err = w.Read(func(Group) error { return nil })
	}
	if err == nil {
		err = w.Reset()
	}
	for i := uint64(0); err == nil && i < 8; i++ {
		if err = w.put(makeGroup(h+i, s.size(h+i))); err == nil && i > 1 {
			w.Forget(h + i - 2)
		}
	}
	if err != nil {
		return err
	}
	groups, report, err := read(folder(d), opts)
	switch {
	case err != nil:
		return err
	case report.Damage != nil || report.Last != h+7:
		return fmt.Errorf("after going on: %+v", report)
	}
	return same(groups, s.size)
}

func scripts() map[string]*script {
	return map[string]*script{
		"fresh": {lives: []int{6}, keep: 100, sizes: []int{200, 900, 1500}},
		"reuse": {lives: []int{40}, keep: 3, sizes: []int{200, 900, 1500, 100}},
		"long":  {lives: []int{10}, keep: 2, sizes: []int{200, 9000, 300, 5000}},
		"lives": {lives: []int{3, 1, 0, 1, 6, 2, 9}, keep: 3, sizes: []int{700, 1800, 50}},
	}
}

// TestCrash enumerates what a power cut may leave at every moment of several
// lives of a log.
func TestCrash(t *testing.T) {
	for name, s := range scripts() {
		t.Run(name, func(t *testing.T) {
			m := fsx.NewMem()
			m.Record()
			opts := options(4096)
			if err := s.run(m, m, opts); err != nil {
				t.Fatal(err)
			}
			states, torn := 0, 0
			for c := range m.CrashStates(fsx.CrashOptions{MaxPerPrefix: 128, Seed: 7}) {
				states++
				if err := s.judge(c.Disk, c.Events, opts, read); err != nil {
					t.Fatalf("%s: %v", c.Desc, err)
				}
				if _, report, _ := read(folder(c.Disk), opts); report.Torn != nil {
					torn++
				}
				if states%5 == 0 {
					if err := s.goOn(c.Disk, opts); err != nil {
						t.Fatalf("%s: %v", c.Desc, err)
					}
				}
			}
			t.Logf("%d states, %d torn", states, torn)
			if states < 50 || torn == 0 {
				t.Errorf("only %d states, %d torn", states, torn)
			}
		})
	}
}

// TestCrashInRecovery crashes once more while a log that a crash has left is
// reset and written.
func TestCrashInRecovery(t *testing.T) {
	s := &script{lives: []int{9}, keep: 3, sizes: []int{900, 1500, 100}}
	m := fsx.NewMem()
	m.Record()
	opts := options(4096)
	if err := s.run(m, m, opts); err != nil {
		t.Fatal(err)
	}
	states, n := 0, 0
	for c := range m.CrashStates(fsx.CrashOptions{MaxPerPrefix: 24, Seed: 3}) {
		if n++; n%2 != 0 {
			continue
		}
		d := c.Disk
		groups, _, err := read(folder(d), opts)
		if err != nil {
			t.Fatal(err)
		}
		d.Record()
		for _, e := range c.Events {
			d.Mark(e)
		}
		if len(groups) > 0 {
			d.Mark(forgotten(groups[len(groups)-1].Height))
		}
		if err := s.goOnMarking(d, opts, groups); err != nil {
			t.Fatal(err)
		}
		for c2 := range d.CrashStates(fsx.CrashOptions{MaxPerPrefix: 12, Seed: 5}) {
			states++
			if err := s.judge(c2.Disk, c2.Events, opts, read); err != nil {
				t.Fatalf("%s\nthen %s: %v", c.Desc, c2.Desc, err)
			}
		}
	}
	t.Logf("%d states", states)
	if states < 500 {
		t.Errorf("only %d states", states)
	}
}

// goOnMarking recovers and writes a few groups, with their events.
func (s *script) goOnMarking(m *fsx.Mem, opts Options, groups []*Group) error {
	h := uint64(0)
	if n := len(groups); n > 0 {
		h = groups[n-1].Height + 1
	}
	opts.Rand = newRandom(99)
	w, err := Open(folder(m), opts)
	if err == nil {
		_, err = w.Read(func(Group) error { return nil })
	}
	if err == nil {
		err = w.Reset()
	}
	for i := uint64(0); err == nil && i < 4; i++ {
		if err = w.put(makeGroup(h+i, s.size(h+i))); err == nil {
			m.Mark(acked(h + i))
		}
	}
	return err
}

// broken is a disk with a defect.
type broken struct {
	fsx.Disk
	noSync    bool // syncs of files do nothing
	noSyncDir bool // syncs of folders do nothing
	noMark    bool // files are not marked free
}

type brokenFile struct {
	fsx.File
	b *broken
}

func (b *broken) Open(name string, mode fsx.Mode) (fsx.File, error) {
	f, err := b.Disk.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return brokenFile{f, b}, nil
}

func (b *broken) SyncDir(name string) error {
	if b.noSyncDir {
		return nil
	}
	return b.Disk.SyncDir(name)
}

func (f brokenFile) Sync() error {
	if f.b.noSync {
		return nil
	}
	return f.File.Sync()
}

func (f brokenFile) Truncate(size int64) error {
	if f.b.noMark {
		size = size / pageBytes * pageBytes
	}
	return f.File.Truncate(size)
}

// naive is a reader with defects: it goes through the files in order of their
// first frames' generation, and through each from frame to frame.
func naive(checksums, generations bool) reading {
	return func(dir fsx.Dir, opts Options) (groups []*Group, report Report, err error) {
		w, err := Open(dir, opts)
		if err != nil {
			return nil, report, err
		}
		sources, err := w.survey()
		if err != nil {
			return nil, report, err
		}
		defer closeAll(sources)
		for _, s := range sources {
			data := make([]byte, s.size)
			if err := readFull(s.f, data, 0); err != nil {
				return nil, report, err
			}
			var run []*Group
			first, n, err := parseHeader(data)
			for off := 0; err == nil && off+n+int(first.body) <= len(data); {
				var h header
				if h, n, err = parseHeader(data[off:]); err != nil || off+n+int(h.body) > len(data) {
					break
				}
				body := data[off+n : off+n+int(h.body)]
				if checksums && checksum(data[off:off+n-sumLength-1], body) != h.sum {
					break
				}
				if generations && (h.generation != first.generation || h.salt != first.salt) {
					break
				}
				g, bodyErr := parseBody(&h, body)
				if bodyErr != nil {
					break
				}
				run = append(run, g.clone())
				off += n + int(h.body)
			}
			switch {
			case len(run) == 0:
			case len(groups) == 0 || groups[len(groups)-1].Height < run[0].Height:
				groups = append(groups, run...)
			default:
				groups = append(run, groups...)
			}
		}
		for i := len(groups) - 1; i > 0; i-- {
			if groups[i].Height != groups[i-1].Height+1 {
				groups = groups[i:] // what is not consecutive was superseded
				break
			}
		}
		return groups, report, nil
	}
}

// TestCrashFindsBugs plants bugs; the test above must find each.
func TestCrashFindsBugs(t *testing.T) {
	all := scripts()
	for name, bug := range map[string]struct {
		script *script
		spoil  func(d fsx.Disk) fsx.Disk
		how    reading
		want   string // part of what is found
	}{
		"no sync":              {all["fresh"], func(d fsx.Disk) fsx.Disk { return &broken{Disk: d, noSync: true} }, read, ""},
		"no sync of folders":   {all["fresh"], func(d fsx.Disk) fsx.Disk { return &broken{Disk: d, noSyncDir: true} }, read, "no group"},
		"no mark":              {all["reuse"], func(d fsx.Disk) fsx.Disk { return &broken{Disk: d, noMark: true} }, read, "called damage"},
		"reuse before forget":  {&script{lives: []int{40}, keep: 6, sizes: []int{900}, early: true}, nil, read, "forgotten below"},
		"checksum skipped":     {all["reuse"], nil, naive(false, true), ""},
		"generation skipped":   {&script{lives: []int{60}, keep: 1, exact: 1024}, nil, naive(true, false), "acknowledged below"},
		"none (naive reading)": {&script{lives: []int{5}, keep: 100, sizes: []int{500}}, nil, naive(true, true), "-"},
	} {
		t.Run(name, func(t *testing.T) {
			m := fsx.NewMem()
			m.Record()
			var d fsx.Disk = m
			if bug.spoil != nil {
				d = bug.spoil(m)
			}
			opts := options(4096)
			if err := bug.script.run(m, d, opts); err != nil {
				t.Fatal(err)
			}
			var found error
			for c := range m.CrashStates(fsx.CrashOptions{MaxPerPrefix: 48, Seed: 7}) {
				if found = bug.script.judge(c.Disk, c.Events, opts, bug.how); found != nil {
					break
				}
			}
			switch {
			case bug.want == "-" && found != nil:
				t.Errorf("found in good order: %v", found)
			case bug.want != "-" && found == nil:
				t.Error("not found")
			case bug.want != "-" && !strings.Contains(found.Error(), bug.want):
				t.Errorf("found something else: %v", found)
			}
			t.Log(found)
		})
	}
}

// TestFaults lets each call of a life of the log fail, once or from then on.
// The failure is seen, nothing acknowledged is lost, and what can go on does.
func TestFaults(t *testing.T) {
	s := &script{lives: []int{1, 14}, keep: 3, sizes: []int{900, 1500, 100, 5000}}
	opts := options(4096)
	var calls []string
	count := fsx.Fault(fsx.NewMem(), func(c fsx.Call) error {
		calls = append(calls, c.Op)
		return nil
	})
	if err := s.run(fsx.NewMem(), count, opts); err != nil {
		t.Fatal(err)
	}
	if len(calls) < 100 {
		t.Fatalf("only %d calls", len(calls))
	}
	// Besides the error that any call may return, those that only some do.
	only := map[error][]string{fsx.ErrNoSpace: {"write", "create", "reserve", "sync", "rename"}, fsx.ErrTooManyFiles: {"open", "create", "readdir"}, fsx.ErrShort: {"write"}}
	for _, fault := range []error{fsx.ErrIO, fsx.ErrNoSpace, fsx.ErrTooManyFiles, fsx.ErrShort} {
		for n, op := range calls {
			if ops := only[fault]; ops != nil && !slices.Contains(ops, op) {
				continue
			}
			for _, onwards := range []bool{false, true} {
				if err := s.fault(n, fault, onwards, opts); err != nil {
					t.Fatalf("call %d, %v, onwards %v: %v", n, fault, onwards, err)
				}
			}
		}
	}
}

// fault runs the script on a disk that fails and judges what is left.
func (s *script) fault(n int, fault error, onwards bool, opts Options) error {
	m := fsx.NewMem()
	m.Record()
	var failed fsx.Call
	decide := fsx.FailCall(n, fault, onwards)
	d := fsx.Fault(m, func(c fsx.Call) error {
		err := decide(c)
		if err != nil && c.N == n {
			failed = c
		}
		return err
	})
	if err := s.run(m, d, opts); err == nil && failed.Op != "close" {
		return fmt.Errorf("%v: not seen", failed)
	} else if err != nil && !errors.Is(err, fault) {
		return fmt.Errorf("%v: another error: %w", failed, err)
	}
	m.Kill()
	var events []any
	for _, op := range m.Ops() {
		if op.Kind == fsx.OpMark {
			events = append(events, op.Event)
		}
	}
	if err := s.judge(m, events, opts, read); err != nil {
		return fmt.Errorf("%v: killed: %w", failed, err)
	}
	if onwards {
		return nil
	}
	for c := range m.CrashStates(fsx.CrashOptions{MaxPerPrefix: 10, From: len(m.Ops())}) {
		if err := s.judge(c.Disk, c.Events, opts, read); err != nil {
			return fmt.Errorf("%v: %s: %w", failed, c.Desc, err)
		}
	}
	return nil
}

// TestPoison says what still works after each call has failed.
func TestPoison(t *testing.T) {
	for op, poisons := range map[string]bool{"write": true, "sync": true, "truncate": true, "reserve": false, "create": false} {
		t.Run(op, func(t *testing.T) {
			m := fsx.NewMem()
			armed := false
			hits := 0
			d := fsx.Fault(m, func(c fsx.Call) error {
				if armed && c.Op == op {
					armed = false
					hits++
					return fsx.ErrNoSpace
				}
				return nil
			})
			w := start(t, folder(d), options(4096))
			mustPut(t, w, makeGroup(0, 100))
			armed = true
			h := uint64(1)
			var err error
			for ; h < 20 && err == nil; h++ {
				err = w.put(makeGroup(h, 1000))
			}
			if hits != 1 || !errors.Is(err, fsx.ErrNoSpace) || errors.Is(err, ErrPoisoned) {
				t.Fatalf("%d hits, %v", hits, err)
			}
			if !poisons {
				// The full disk lifts by itself.
				mustPut(t, w, makeGroup(h-1, 1000))
				return
			}
			for name, err := range map[string]error{
				"reserve": w.Reserve(1), "append": w.Append(makeGroup(h, 10)), "sync": w.Sync(), "reset": w.Reset(),
			} {
				if !errors.Is(err, ErrPoisoned) || !errors.Is(err, fsx.ErrNoSpace) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if _, err := w.Read(nil); !errors.Is(err, ErrPoisoned) {
				t.Errorf("read: %v", err)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFullDisk fills the disk at every step of making a file; the group is
// refused before its first byte, and accepted as soon as there is room.
func TestFullDisk(t *testing.T) {
	for n := range 8 {
		m := fsx.NewMem()
		full, calls := false, 0
		d := fsx.Fault(m, func(c fsx.Call) error {
			if !full || !c.Mutates() || c.Op == "sync" || c.Op == "syncdir" {
				return nil
			}
			if calls++; calls > n {
				return fsx.ErrNoSpace
			}
			return nil
		})
		w := start(t, folder(d), options(4096))
		mustPut(t, w, makeGroup(0, 3000))
		before := content(t, m, "wal-00000000")
		full = true
		err := w.Reserve(3000)
		if err != nil {
			if !errors.Is(err, fsx.ErrNoSpace) {
				t.Fatal(err)
			}
			if !bytes.Equal(before, content(t, m, "wal-00000000")) {
				t.Fatal("the refused group left something behind")
			}
			if _, report, err := read(folder(m), options(4096)); err != nil || report.Groups != 1 || report.Torn != nil {
				t.Fatal(report, err)
			}
		}
		full = false
		mustPut(t, w, makeGroup(1, 3000))
		mustPut(t, w, makeGroup(2, 3000))
		if _, report, err := read(folder(m), options(4096)); err != nil || report.Groups != 3 {
			t.Fatal(report, err)
		}
	}
}
