package block

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

// A ledger in miniature drives the store as the hall does: groups that are
// durable in a write-ahead log before they are filed, syncs after which the log
// forgets them, seals whose records travel with a group.

// logged is a group in the write-ahead log, an event of the trace: from here on
// it is durable, and its artifacts are acknowledged.
type logged struct {
	class    string
	number   uint64
	offset   int64
	bytes    []byte
	arts     []Artifact
	seals    []record.Block
	admits   []record.Block
	uploaded []Uploaded
}

// forgotten says that the log keeps no group before this number.
type forgotten struct{ before int }

// passed is the border behind a group, and what entered up to it: what an index
// can know of a ledger.
type passed struct {
	groups int
	mark   Mark
	places []Place
}

func (p passed) String() string { return fmt.Sprintf("border %d", p.groups) }

func (g logged) String() string {
	return fmt.Sprintf("%d artifacts for block %d offset %d, %d seals, %d admits", len(g.arts), g.number, g.offset, len(g.seals), len(g.admits))
}

type ledger struct {
	mem    *fsx.Mem
	s      *Store
	groups int
}

func newLedger(mem *fsx.Mem, disk fsx.Disk) (*ledger, error) {
	s, err := Open(blocksOf(disk), testVault)
	return &ledger{mem: mem, s: s}, err
}

// commit logs a group and files it.
func (l *ledger) commit(g logged) error {
	if len(g.arts) > 0 {
		g.class = "main"
		g.bytes = l.s.Encode(g.class, g.arts)
		g.number, g.offset, _ = l.s.Tail(g.class)
		if err := l.s.Reserve(g.class, len(g.bytes)); err != nil {
			return err
		}
	}
	l.mem.Mark(g)
	l.groups++
	if err := l.s.Append(g.class, g.number, g.offset, g.bytes); err != nil && len(g.arts) > 0 {
		return err
	}
	for _, rec := range g.admits {
		if err := l.s.Admit(rec); err != nil {
			return err
		}
	}
	for _, rec := range g.seals {
		if err := l.s.Sealed(rec); err != nil {
			return err
		}
	}
	mark := l.s.Mark()
	places, err := enteredOf(l.s, Mark{}, mark)
	l.mem.Mark(passed{l.groups, mark, places})
	return err
}

func (l *ledger) sync() error {
	if err := l.s.Sync(); err != nil {
		return err
	}
	l.mem.Mark(forgotten{l.groups})
	return nil
}

// seal seals the tail, after advancing if whole is set.
func (l *ledger) seal(whole bool) (record.Block, error) {
	number, _, count := l.s.Tail("main")
	if whole {
		l.s.Advance("main")
	}
	return l.s.Seal("main", number, count)
}

func (l *ledger) upload(value []byte) (Uploaded, error) {
	u, err := l.s.NewUpload("main", 40)
	if err != nil {
		return Uploaded{}, err
	}
	if _, err := u.Write(value); err != nil {
		return Uploaded{}, errors.Join(err, u.Abort())
	}
	return u.Finish()
}

// scripts are the lives that are cut off at every point.
var scripts = map[string]func(l *ledger) error{
	"in place": func(l *ledger) error {
		return run(
			func() error { return l.commit(logged{arts: arts("a", 2)}) },
			l.sync,
			func() error { return l.commit(logged{arts: arts("b", 2)}) },
			l.sealing(true, logged{arts: arts("c", 1)}),
			l.sync,
			func() error { return l.commit(logged{arts: arts("d", 1)}) },
			l.sealing(true, logged{}),
			func() error { return l.commit(logged{arts: arts("e", 1)}) },
			l.sync,
		)
	},
	"synced late": func(l *ledger) error {
		return run(
			func() error { return l.commit(logged{arts: arts("a", 1)}) },
			func() error { return l.commit(logged{arts: arts("b", 3)}) },
			l.sealing(true, logged{arts: arts("c", 1)}),
			func() error { return l.commit(logged{arts: arts("d", 2)}) },
			l.sealing(false, logged{arts: arts("e", 1)}),
			func() error { return l.commit(logged{arts: arts("f", 1)}) },
			func() error { l.s.Advance("main"); return l.commit(logged{arts: arts("g", 1)}) },
			l.sync,
		)
	},
	"with a rest": func(l *ledger) error {
		var rec record.Block
		return run(
			func() error { return l.commit(logged{arts: arts("a", 2)}) },
			func() (err error) { rec, err = l.seal(false); return err },
			func() error { return l.commit(logged{arts: arts("b", 2)}) },
			l.sync,
			func() error { return l.commit(logged{arts: arts("c", 1), seals: []record.Block{rec}}) },
			func() error { return l.commit(logged{arts: arts("d", 1)}) },
			l.sync,
		)
	},
	"uploads": func(l *ledger) error {
		var first, second, dropped Uploaded
		return run(
			func() (err error) { first, err = l.upload(art("first", 100).Bytes); return err },
			func() error {
				return l.commit(logged{arts: arts("a", 1), admits: []record.Block{first.Block}, uploaded: []Uploaded{first}})
			},
			func() (err error) { dropped, err = l.upload(art("dropped", 50).Bytes); return err },
			func() error { l.s.DropUpload(dropped); return nil },
			func() (err error) { second, err = l.upload(art("second", 90).Bytes); return err },
			func() error {
				return l.commit(logged{admits: []record.Block{second.Block}, uploaded: []Uploaded{second}})
			},
			l.sync,
		)
	},
}

func run(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// sealing seals the tail and logs its record with a group.
func (l *ledger) sealing(whole bool, g logged) func() error {
	return func() error {
		rec, err := l.seal(whole)
		if err != nil {
			return err
		}
		g.seals = append(g.seals, rec)
		return l.commit(g)
	}
}

// recovery opens a store after a crash, checks that it holds all that the events
// promised, whole, and if further is set goes on.
type recovery func(disk fsx.Disk, events []any, further bool) error

// recoverAfter is the recovery that the package describes, over the whole log.
func recoverAfter(disk fsx.Disk, events []any, further bool) error {
	return recoverFrom(disk, events, further, func(int) passed { return passed{} })
}

// recoverIndexed begins at the newest border that an index can know: one that the
// write-ahead log does not hold.
func recoverIndexed(disk fsx.Disk, events []any, further bool) error {
	return recoverFrom(disk, events, further, func(before int) (newest passed) {
		for _, e := range events {
			if p, ok := e.(passed); ok && p.groups <= before {
				newest = p
			}
		}
		return newest
	})
}

func recoverFrom(disk fsx.Disk, events []any, further bool, begin func(before int) passed) error {
	var groups []logged
	before := 0
	for _, e := range events {
		switch e := e.(type) {
		case logged:
			groups = append(groups, e)
		case forgotten:
			before = e.before
		}
	}
	s, err := Open(blocksOf(disk), testVault)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := reload(s, groups, before, begin(before)); err != nil {
		return err
	}
	var all []Artifact
	for _, g := range groups {
		all = append(all, g.arts...)
		for _, up := range g.uploaded {
			v, err := s.OpenValue(up.List, up.Whole, up.Size)
			if err == nil {
				_, err = v.WriteTo(io.Discard)
			}
			if err != nil {
				return fmt.Errorf("uploaded value: %w", err)
			}
		}
	}
	for _, a := range all {
		if err := holds(s, a); err != nil {
			return err
		}
	}
	if err := checkAll(s, groups); err != nil || !further {
		return err
	}
	return goOn(s, all)
}

var recoveries = map[string]recovery{"from the start": recoverAfter, "from a border": recoverIndexed}

// reload is what the hall does at open.
func reload(s *Store, groups []logged, before int, border passed) error {
	index := newShelf()
	index.add(border.places)
	s.SetFinder(index)
	for i, g := range groups {
		for _, rec := range append(g.seals, g.admits...) {
			load := s.LoadSealed
			if border.mark.Covers(rec) || rec.Number == nil && i < border.groups {
				load = s.KnowSealed
			}
			err := load(rec)
			if errors.Is(err, ErrMissing) && rec.Number == nil {
				err = s.Admit(rec)
			}
			if err != nil {
				return fmt.Errorf("load: %w", err)
			}
		}
	}
	if err := s.Settle(); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	if err := s.LoadFound(); err != nil {
		return err
	}
	for _, g := range groups[before:] {
		if err := s.Restore("main", g.number, g.offset, g.bytes); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	if err := s.SweepUploads(nil); err != nil {
		return err
	}
	o := NewOrder(s, border.mark)
	entered := 0
	for _, g := range groups[border.groups:] {
		for _, a := range g.arts {
			if err := o.Mention("main", a.ID); err != nil {
				return err
			}
		}
		for _, rec := range g.admits {
			o.Admit(rec.ID)
			entered += int(rec.Count)
		}
		entered += len(g.arts)
	}
	if err := o.Finish(); err != nil {
		return err
	}
	if err := s.CutOpen(nil); err != nil {
		return err
	}
	if got, want := fmt.Sprint(s.Mark()), fmt.Sprint(o.Mark()); got != want {
		return fmt.Errorf("the mark of the store is %s, that of the replay %s", got, want)
	}
	places, err := enteredOf(s, border.mark, o.Mark())
	if err != nil || len(places) != entered {
		return fmt.Errorf("%d artifacts entered behind the border, wanted %d: %w", len(places), entered, err)
	}
	s.Forget(border.mark)
	return s.Sync()
}

// checkAll verifies every block.
func checkAll(s *Store, groups []logged) error {
	var errs []error
	report := func(d *Damage) { errs = append(errs, d) }
	for _, g := range groups {
		for _, rec := range append(g.seals, g.admits...) {
			s.CheckSealed(rec, report)
		}
	}
	for _, b := range s.OpenBlocks() {
		s.CheckOpen(b.Class, b.Number, b.Count, report)
	}
	return errors.Join(errs...)
}

// goOn writes and seals after a recovery: nothing of before may stand in the way.
func goOn(s *Store, all []Artifact) error {
	more := art("more", 30)
	number, offset, _ := s.Tail("main")
	if err := s.Append("main", number, offset, s.Encode("main", []Artifact{more})); err != nil {
		return fmt.Errorf("append after recovery: %w", err)
	}
	s.Advance("main")
	if err := s.Sync(); err != nil {
		return err
	}
	for _, b := range s.FullBlocks() {
		rec, err := s.Seal(b.Class, b.Number, b.Count)
		if err != nil {
			return fmt.Errorf("seal after recovery: %w", err)
		}
		if err := s.Sealed(rec); err != nil {
			return fmt.Errorf("sealed after recovery: %w", err)
		}
	}
	for _, a := range append(all, more) {
		if err := holds(s, a); err != nil {
			return fmt.Errorf("after going on: %w", err)
		}
	}
	return nil
}

// enumerate runs a script on a recording disk and recovers from every crash.
// It returns the number of states and the first that failed.
func enumerate(t *testing.T, script func(*ledger) error, again recovery, bug func(fsx.Disk) fsx.Disk, opts fsx.CrashOptions) (states int, failed error) {
	t.Helper()
	mem := fsx.NewMem()
	mem.Record()
	disk := fsx.Disk(mem)
	if bug != nil {
		disk = bug(mem)
	}
	l, err := newLedger(mem, disk)
	must(t, err)
	must(t, script(l))
	for state := range mem.CrashStates(opts) {
		states++
		if err := again(state.Disk, state.Events, true); err != nil {
			return states, fmt.Errorf("crash after operation %d, %s: %w", state.Prefix, state.Desc, err)
		}
	}
	return states, nil
}

func TestEveryCrash(t *testing.T) {
	opts, least := fsx.CrashOptions{MaxPerPrefix: 64, Seed: 1}, 100
	if testing.Short() {
		opts.MaxPerPrefix, least = 16, 50
	}
	for name, script := range scripts {
		for how, again := range recoveries {
			t.Run(name+", "+how, func(t *testing.T) {
				states, err := enumerate(t, script, again, nil, opts)
				if err != nil {
					t.Fatal(err)
				}
				if states < least {
					t.Fatalf("only %d states", states)
				}
				t.Logf("%d states", states)
			})
		}
	}
}

// killAndCut stops a script at every call, as a killed process does, recovers on
// what the page cache shows, and then cuts the power: within the recovery and
// after it, when the log has let its groups go. bug wraps the disk of the
// recovery. It returns the number of states and the first that failed.
func killAndCut(t *testing.T, script func(*ledger) error, again recovery, bug func(fsx.Disk) fsx.Disk, opts fsx.CrashOptions) (states int, failed error) {
	t.Helper()
	errKilled := errors.New("killed")
	for n := 0; ; n++ {
		mem := fsx.NewMem()
		mem.Record()
		faults := fsx.Fault(mem, fsx.FailCall(n, errKilled, true))
		l, err := newLedger(mem, faults)
		if err == nil {
			err = script(l)
		}
		if err == nil {
			return states, nil
		}
		mem.Kill()
		opts.From = len(mem.Ops())
		var events []any
		for _, op := range mem.Ops() {
			if op.Kind == fsx.OpMark {
				events = append(events, op.Event)
			}
		}
		disk := fsx.Disk(mem)
		if bug != nil {
			disk = bug(mem)
		}
		if err := again(disk, events, false); err != nil {
			return states, fmt.Errorf("killed at call %d: %w", n, err)
		}
		mem.Mark(forgotten{countGroups(events)})
		for state := range mem.CrashStates(opts) {
			states++
			if err := again(state.Disk, state.Events, true); err != nil {
				return states, fmt.Errorf("killed at call %d, power cut after operation %d, %s: %w", n, state.Prefix, state.Desc, err)
			}
		}
	}
}

func TestEveryKillThenPowerCut(t *testing.T) {
	opts := fsx.CrashOptions{MaxPerPrefix: 6, Seed: 3}
	if testing.Short() {
		opts.MaxPerPrefix = 2
	}
	for name, script := range scripts {
		for how, again := range recoveries {
			t.Run(name+", "+how, func(t *testing.T) {
				states, err := killAndCut(t, script, again, nil, opts)
				if err != nil {
					t.Fatal(err)
				}
				if states < 200 {
					t.Fatalf("only %d states", states)
				}
				t.Logf("%d states", states)
			})
		}
	}
}

// What a recovery finds in the page cache must become durable before the log
// lets it go.
func TestPlantedBugsOfRecovery(t *testing.T) {
	all := func(string) bool { return true }
	for _, tt := range []struct {
		name, script string
		bug          lazy
	}{
		{"no sync of restored blocks", "synced late", lazy{noSync: all}},
		{"no folder sync", "synced late", lazy{noSyncDir: all}},
		{"no folder sync for admitted blocks", "uploads", lazy{noSyncDir: all}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bug := func(d fsx.Disk) fsx.Disk { tt.bug.Disk = d; return tt.bug }
			states, err := killAndCut(t, scripts[tt.script], recoverAfter, bug, fsx.CrashOptions{MaxPerPrefix: 16, Seed: 3})
			if err == nil {
				t.Fatalf("the bug was not noticed in %d states", states)
			}
			t.Logf("noticed: %v", err)
		})
	}
}

func countGroups(events []any) (n int) {
	for _, e := range events {
		if _, ok := e.(logged); ok {
			n++
		}
	}
	return n
}

// lazy is a disk with a planted bug: some syncs are not done, or a link under
// sealed/ takes the place of its source before it is durable.
type lazy struct {
	fsx.Disk
	noSync    func(name string) bool
	noSyncDir func(name string) bool
	move      bool
}

func (d lazy) Open(name string, mode fsx.Mode) (fsx.File, error) {
	f, err := d.Disk.Open(name, mode)
	if err == nil && d.noSync != nil && d.noSync(name) {
		f = lazyFile{f}
	}
	return f, err
}

func (d lazy) SyncDir(name string) error {
	if d.noSyncDir != nil && d.noSyncDir(name) {
		return nil
	}
	return d.Disk.SyncDir(name)
}

func (d lazy) Link(old, new string) error {
	err := d.Disk.Link(old, new)
	if err == nil && d.move && strings.Contains(new, "/sealed/") {
		err = d.Remove(old)
	}
	return err
}

type lazyFile struct{ fsx.File }

func (lazyFile) Sync() error { return nil }

// The enumeration notices each of these; without them it would prove nothing.
func TestPlantedBugs(t *testing.T) {
	named := func(part string) func(string) bool {
		return func(name string) bool { return strings.Contains(name, part) }
	}
	bugs := []struct {
		name   string
		script string
		bug    lazy
	}{
		{"no sync of open blocks", "in place", lazy{noSync: named("open/main")}},
		{"no sync of the moved rest", "with a rest", lazy{noSync: named("main-00000001")}},
		{"no sync of a sealed copy", "with a rest", lazy{noSync: named("open/new-")}},
		{"no sync of an upload", "uploads", lazy{noSync: named("open/")}},
		{"no folder sync for open blocks", "in place", lazy{noSyncDir: named("blocks/open")}},
		{"no folder sync for sealed blocks", "in place", lazy{noSyncDir: named("blocks/sealed/")}},
		{"no folder sync for a waiting upload", "uploads", lazy{noSyncDir: named("blocks/open")}},
		{"open block discarded before the sealed one is durable", "in place", lazy{move: true, noSyncDir: named("blocks/sealed/")}},
		{"waiting upload discarded before the sealed one is durable", "uploads", lazy{noSyncDir: named("blocks/sealed/")}},
	}
	for _, tt := range bugs {
		t.Run(tt.name, func(t *testing.T) {
			bug := func(d fsx.Disk) fsx.Disk { tt.bug.Disk = d; return tt.bug }
			states, err := enumerate(t, scripts[tt.script], recoverAfter, bug, fsx.CrashOptions{MaxPerPrefix: 64, Seed: 1})
			if err == nil {
				t.Fatalf("the bug was not noticed in %d states", states)
			}
			t.Logf("noticed: %v", err)
		})
	}
}
