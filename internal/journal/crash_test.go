package journal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"graven/internal/fsx"
)

// Events of the trace: what the world knows.
type (
	acked     int // so many groups are durable in the write-ahead log
	forgotten int // so many groups are not in it any more
)

// script is what a vault does with its log: groups, a sync after every few.
type script struct {
	opts   Options
	groups []group
	every  int
	early  bool // defect: the write-ahead log forgets before the sync
	middle bool // recoveries do not read the first half of what is synced, and the writer forgets
}

// start is where a recovery begins to read if so many groups are synced.
func (s *script) start(synced int) Start {
	switch n := synced / 2; {
	case !s.middle || n == 0:
		return Start{}
	case synced%2 == 0:
		return s.groups[n-1].end()
	default:
		return s.groups[n].start()
	}
}

func newScript(opts Options, n, every int) *script {
	return &script{opts: opts, groups: makeGroups(opts, n), every: every}
}

// run writes the groups from a number on.
func (s *script) run(m *fsx.Mem, d fsx.Disk) error {
	l, err := Open(folder(d), s.opts)
	if err == nil {
		_, err = l.Scan(check)
	}
	for i, g := range s.groups {
		if err != nil {
			return err
		}
		m.Mark(acked(i + 1))
		err = l.appendGroup(g)
		if err == nil && (i+1)%s.every == 0 {
			if s.early {
				m.Mark(forgotten(i + 1))
			}
			if err = l.Sync(); err == nil {
				m.Mark(forgotten(i + 1))
			}
			if s.middle {
				l.Forget(s.groups[i].first)
			}
		}
	}
	return errors.Join(err, l.Close())
}

// judge recovers a disk after a crash and says what is wrong.
func (s *script) judge(d fsx.Disk, events []any) error {
	have, gone := 0, 0
	for _, e := range events {
		switch e := e.(type) {
		case acked:
			have = max(have, int(e))
		case forgotten:
			gone = max(gone, int(e))
		}
	}
	l, err := recoverFrom(d, s.opts, s.groups[:have], s.start(gone), gone)
	if err != nil {
		return fmt.Errorf("groups %d to %d: %w", gone, have, err)
	}
	if err := readBack(l, s.groups[:have]); err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	l, err = Open(folder(d), s.opts)
	if err == nil {
		_, err = l.ScanFrom(s.start(have), check)
	}
	if err == nil {
		err = readBack(l, s.groups[:have])
	}
	// And on.
	for _, g := range s.groups[have:min(have+3, len(s.groups))] {
		if err == nil {
			err = l.appendGroup(g)
		}
	}
	return err
}

func scripts() map[string]*script {
	all := map[string]*script{
		"by records": newScript(Options{FileRecords: 5, FileBytes: 1 << 20}, 18, 4),
		"by bytes":   newScript(Options{FileRecords: 1000, FileBytes: 900}, 18, 3),
		"one each":   newScript(Options{FileRecords: 1, FileBytes: 1}, 9, 3),
		"one file":   newScript(Options{FileRecords: 1000, FileBytes: 1 << 20}, 14, 5),
	}
	for name, s := range maps.Clone(all) {
		middle := *s
		middle.middle = true
		all[name+", from the middle"] = &middle
	}
	return all
}

// TestCrash enumerates what a power cut may leave, and recovers.
func TestCrash(t *testing.T) {
	for name, s := range scripts() {
		t.Run(name, func(t *testing.T) {
			m := fsx.NewMem()
			m.Record()
			must(t, s.run(m, m))
			states := 0
			for c := range m.CrashStates(fsx.CrashOptions{MaxPerPrefix: 64, Seed: 11}) {
				states++
				if err := s.judge(c.Disk, c.Events); err != nil {
					t.Fatalf("%s: %v", c.Desc, err)
				}
			}
			t.Logf("%d states", states)
			if states < 150 {
				t.Errorf("only %d states", states)
			}
		})
	}
}

// TestCrashInRecovery crashes once more while a crash is being recovered from,
// and right after.
func TestCrashInRecovery(t *testing.T) {
	for _, middle := range []bool{false, true} {
		s := newScript(Options{FileRecords: 5, FileBytes: 1 << 20}, 10, 4)
		s.middle = middle
		t.Run(fmt.Sprintf("middle %v", middle), s.crashTwice)
	}
}

func (s *script) crashTwice(t *testing.T) {
	m := fsx.NewMem()
	m.Record()
	must(t, s.run(m, m))
	states, n := 0, 0
	for c := range m.CrashStates(fsx.CrashOptions{MaxPerPrefix: 24, Seed: 5}) {
		if n++; n%3 != 0 {
			continue
		}
		d := c.Disk
		d.Record()
		have := 0
		for _, e := range c.Events {
			d.Mark(e)
			if e, ok := e.(acked); ok {
				have = int(e)
			}
		}
		if err := s.judgeOnce(d, c.Events, have); err != nil {
			t.Fatalf("%s: %v", c.Desc, err)
		}
		for c2 := range d.CrashStates(fsx.CrashOptions{MaxPerPrefix: 16, Seed: 9}) {
			states++
			if err := s.judge(c2.Disk, c2.Events); err != nil {
				t.Fatalf("%s\nthen %s: %v", c.Desc, c2.Desc, err)
			}
		}
	}
	t.Logf("%d states", states)
	if states < 500 {
		t.Errorf("only %d states", states)
	}
}

// judgeOnce recovers and lets the write-ahead log forget.
func (s *script) judgeOnce(d *fsx.Mem, events []any, have int) error {
	gone := 0
	for _, e := range events {
		if e, ok := e.(forgotten); ok {
			gone = max(gone, int(e))
		}
	}
	_, err := recoverFrom(d, s.opts, s.groups[:have], s.start(gone), gone)
	d.Mark(forgotten(have))
	return err
}

// broken is a disk with a defect.
type broken struct {
	fsx.Disk
	noSync    bool // syncs of files do nothing
	noSyncDir bool // syncs of folders do nothing
	trusting  bool // what reads the same is not written again
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

func (f brokenFile) WriteAt(p []byte, off int64) (int, error) {
	if f.b.trusting {
		there := make([]byte, len(p))
		if _, err := f.File.ReadAt(there, off); err == nil && bytes.Equal(there, p) {
			return len(p), nil
		}
	}
	return f.File.WriteAt(p, off)
}

// FailSync lets failed syncs through to the disk.
func (f brokenFile) FailSync(name string) {
	if s, ok := f.File.(fsx.SyncFailer); ok {
		s.FailSync(name)
	}
}

// TestCrashFindsBugs plants bugs; the tests above must find each.
func TestCrashFindsBugs(t *testing.T) {
	opts := Options{FileRecords: 5, FileBytes: 1 << 20}
	early := newScript(opts, 18, 4)
	early.early = true
	for name, bug := range map[string]struct {
		script *script
		spoil  func(fsx.Disk) fsx.Disk
	}{
		"no sync":            {newScript(opts, 18, 4), func(d fsx.Disk) fsx.Disk { return &broken{Disk: d, noSync: true} }},
		"no sync of folders": {newScript(opts, 18, 4), func(d fsx.Disk) fsx.Disk { return &broken{Disk: d, noSyncDir: true} }},
		"forgotten early":    {early, func(d fsx.Disk) fsx.Disk { return d }},
	} {
		t.Run(name, func(t *testing.T) {
			m := fsx.NewMem()
			m.Record()
			must(t, bug.script.run(m, bug.spoil(m)))
			for c := range m.CrashStates(fsx.CrashOptions{MaxPerPrefix: 64, Seed: 11}) {
				if err := bug.script.judge(c.Disk, c.Events); err != nil {
					t.Log(err)
					return
				}
			}
			t.Error("not found")
		})
	}
}

// TestFailedSyncThenRecovery fails a sync, ends the process, recovers from what
// the page cache shows, and cuts the power. What was written before the failed
// sync may never reach the disk, so a recovery that leaves it as it reads loses it.
func TestFailedSyncThenRecovery(t *testing.T) {
	for _, trusting := range []bool{false, true} {
		t.Run(fmt.Sprintf("trusting %v", trusting), func(t *testing.T) {
			s := newScript(Options{FileRecords: 5, FileBytes: 1 << 20}, 10, 100)
			m := fsx.NewMem()
			m.Record()
			d := fsx.Fault(m, func(c fsx.Call) error {
				if c.Op == "sync" && c.N > 30 {
					return fsx.ErrIO
				}
				return nil
			})
			if err := s.run(m, d); !errors.Is(err, fsx.ErrIO) {
				t.Fatal(err)
			}
			have := 0
			for _, op := range m.Ops() {
				if e, ok := op.Event.(acked); ok {
					have = int(e)
				}
			}
			m.Kill()
			if _, err := recoverLog(&broken{Disk: m, trusting: trusting}, s.opts, s.groups[:have], 0); err != nil {
				t.Fatal(err)
			}
			m.Mark(forgotten(have))
			var found error
			for c := range m.CrashStates(fsx.CrashOptions{From: len(m.Ops())}) {
				if err := s.judge(c.Disk, c.Events); err != nil {
					found = fmt.Errorf("%s: %w", c.Desc, err)
					break
				}
			}
			if trusting != (found != nil) {
				t.Errorf("trusting %v: %v", trusting, found)
			}
		})
	}
}

// TestFaults lets each call fail, once or from then on. The failure is seen,
// what was acknowledged can be recovered, and readers read on.
func TestFaults(t *testing.T) {
	s := newScript(Options{FileRecords: 5, FileBytes: 1 << 20}, 14, 3)
	var calls []string
	must(t, s.run(fsx.NewMem(), fsx.Fault(fsx.NewMem(), func(c fsx.Call) error {
		calls = append(calls, c.Op)
		return nil
	})))
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
				if err := s.fault(n, fault, onwards); err != nil {
					t.Fatalf("call %d, %v, onwards %v: %v", n, fault, onwards, err)
				}
			}
		}
	}
}

// fault runs the script on a disk that fails and judges what is left.
func (s *script) fault(n int, fault error, onwards bool) error {
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
	err := s.run(m, d)
	if err != nil && !errors.Is(err, fault) {
		return fmt.Errorf("%v: another error: %w", failed, err)
	}
	if hint := bytes.HasSuffix([]byte(failed.Name), []byte(currentName)) || failed.Name == "log" && failed.Op == "syncdir"; err == nil && failed.Op != "close" && !hint {
		return fmt.Errorf("%v: not seen", failed)
	}
	m.Kill()
	var events []any
	for _, op := range m.Ops() {
		if op.Kind == fsx.OpMark {
			events = append(events, op.Event)
		}
	}
	if !onwards {
		for c := range m.CrashStates(fsx.CrashOptions{MaxPerPrefix: 6, From: len(m.Ops())}) {
			if err := s.judge(c.Disk, c.Events); err != nil {
				return fmt.Errorf("%v: %s: %w", failed, c.Desc, err)
			}
		}
	}
	if err := s.judge(m, events); err != nil {
		return fmt.Errorf("%v: killed: %w", failed, err)
	}
	return nil
}

// TestPoison says what still works after a call has failed.
func TestPoison(t *testing.T) {
	opts := Options{FileRecords: 5, FileBytes: 1 << 20}
	groups := makeGroups(opts, 30)
	for _, c := range []struct {
		op      string
		err     error
		poisons bool
	}{
		{"write", fsx.ErrIO, true},
		{"write", fsx.ErrShort, true},
		{"write", fsx.ErrNoSpace, false},
		{"sync", fsx.ErrIO, true},
		{"reserve", fsx.ErrNoSpace, false},
		{"create", fsx.ErrNoSpace, false},
		{"truncate", fsx.ErrIO, false},
	} {
		t.Run(fmt.Sprint(c.op, " ", c.err), func(t *testing.T) {
			m := fsx.NewMem()
			armed := false
			d := fsx.Fault(m, func(call fsx.Call) error {
				if armed && call.Op == c.op && bytes.HasSuffix([]byte(call.Name), []byte(".jsonl")) {
					armed = false
					return c.err
				}
				return nil
			})
			l := open(t, d, opts)
			must(t, l.appendGroup(groups[0]))
			armed = true
			i := 1
			var err error
			for ; err == nil && i < len(groups); i++ {
				err = l.appendGroup(groups[i])
			}
			if armed || !errors.Is(err, c.err) || errors.Is(err, ErrPoisoned) {
				t.Fatal(err)
			}
			i--
			must(t, readBack(l, groups[:i])) // readers go on, and see no half of a group
			if !c.poisons {
				for _, g := range groups[i:] {
					must(t, l.appendGroup(g))
				}
				must(t, l.Sync())
				must(t, sameFiles(files(t, m), groups))
				return
			}
			for name, err := range map[string]error{
				"append": l.Append(groups[i].lines, groups[i].records), "sync": l.Sync(), "reserve": l.Reserve(1),
				"restore": l.Restore(groups[i].at, groups[i].lines, groups[i].records),
			} {
				if !errors.Is(err, ErrPoisoned) || !errors.Is(err, c.err) {
					t.Errorf("%s: %v", name, err)
				}
			}
			must(t, readBack(l, groups[:i]))
			must(t, l.Close())
		})
	}
}
