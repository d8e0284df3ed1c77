package block

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

// survives checks a store after a call failed: everything that it registered is
// still read, and a new process finds all that was promised.
func survives(mem *fsx.Mem, l *ledger, lift func()) error {
	lift()
	var events []any
	for _, op := range mem.Ops() {
		if op.Kind == fsx.OpMark {
			events = append(events, op.Event)
		}
	}
	for _, e := range events {
		g, ok := e.(logged)
		if !ok || l.s == nil {
			continue
		}
		for _, a := range g.arts {
			if ok, _ := l.s.Mentioned("main", a.ID); !ok {
				continue // its append failed: the log has it
			}
			if err := holds(l.s, a); err != nil {
				return fmt.Errorf("reads do not go on: %w", err)
			}
		}
	}
	if l.s != nil {
		_ = l.s.Close()
	}
	mem.Kill()
	if err := recoverAfter(mem.Clone(), events, true); err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	for state := range mem.CrashStates(fsx.CrashOptions{From: len(mem.Ops()), MaxPerPrefix: 3, Seed: 4}) {
		if err := recoverAfter(state.Disk, state.Events, true); err != nil {
			return fmt.Errorf("recovery after a power cut, %s: %w", state.Desc, err)
		}
	}
	return nil
}

// Every single call fails, once or from then on: a typed error, reads go on,
// nothing is lost.
func TestEveryFailingCall(t *testing.T) {
	faults := []error{fsx.ErrIO, fsx.ErrNoSpace, fsx.ErrShort, fsx.ErrTooManyFiles}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			runs := 0
			for _, fault := range faults {
				for _, onwards := range []bool{false, true} {
					if testing.Short() && (onwards || fault != fsx.ErrIO) {
						continue
					}
					runs += failEachCall(t, script, fault, onwards)
				}
			}
			if runs < 30 {
				t.Fatalf("only %d runs", runs)
			}
		})
	}
}

func failEachCall(t *testing.T, script func(*ledger) error, fault error, onwards bool) (runs int) {
	for n := 0; ; n++ {
		mem := fsx.NewMem()
		mem.Record()
		lifted, reached := false, false
		var met fsx.Call
		l, err := newLedger(mem, fsx.Fault(mem, func(c fsx.Call) error {
			if lifted || c.N < n || c.N > n && !onwards {
				return nil
			}
			if !reached {
				reached, met = true, c
			}
			if fault == fsx.ErrShort && c.Op != "write" { //nolint:errorlint // the very value
				return nil
			}
			return fault
		}))
		if err == nil {
			err = script(l)
		}
		if !reached {
			return runs
		}
		runs++
		if err != nil && !isAny(err, fault, ErrFailed) {
			t.Fatalf("%v failing with %v gives the error %v", met, fault, err)
		}
		if err := survives(mem, l, func() { lifted = true }); err != nil {
			t.Fatalf("%v failing with %v (onwards: %t): %v", met, fault, onwards, err)
		}
	}
}

// A failed sync is final, also if the next would succeed: nothing is written
// any more, and reads go on.
func TestFailedSyncIsFinal(t *testing.T) {
	for _, what := range []string{"sync blocks/open/main", "syncdir blocks/open", "syncdir blocks/sealed/"} {
		t.Run(what, func(t *testing.T) {
			failed := false
			disk := fsx.NewMem()
			s := openOn(t, fsx.Fault(disk, func(c fsx.Call) error {
				if !failed && strings.HasPrefix(c.Op+" "+c.Name, what) {
					failed = true
					return fsx.ErrIO
				}
				return nil
			}))
			list := arts("a", 2)
			number, offset, _ := s.Tail("main")
			err := s.Append("main", number, offset, s.Encode("main", list))
			if err == nil {
				s.Advance("main")
				_, err = s.Seal("main", 0, 2)
			}
			if err == nil {
				err = s.Sync()
			}
			wants(t, err, fsx.ErrIO)
			wants(t, s.Sync(), ErrFailed)
			wants(t, s.Sync(), fsx.ErrIO) // why
			wants(t, s.Append("main", 1, 0, nil), ErrFailed)
			wants(t, s.Reserve("main", 1), ErrFailed)
			wants(t, s.Restore("main", 0, 0, nil), ErrFailed)
			wants(t, s.CutOpen(nil), ErrFailed)
			wants(t, s.Settle(), ErrFailed)
			wants(t, s.SweepUploads(nil), ErrFailed)
			wants(t, s.WriteHealed(list[0].ID, list[0].Bytes), ErrFailed)
			_, err = s.Seal("main", 0, 2)
			wants(t, err, ErrFailed)
			wants(t, s.Sealed(record.Block{}), ErrFailed)
			wants(t, s.Admit(record.Block{}), ErrFailed)
			_, err = s.NewUpload("main", 10)
			wants(t, err, ErrFailed)
			if mentioned(t, s, "main", list[0].ID) {
				has(t, s, list...)
			}
		})
	}
}

// A failed upload harms nothing but itself.
func TestFailedUploadIsAlone(t *testing.T) {
	for n := 0; ; n++ {
		calls, failing := 0, false
		disk := fsx.NewMem()
		s := openOn(t, fsx.Fault(disk, func(c fsx.Call) error {
			if failing && c.Mutates() && strings.Contains(c.Name, "new-") {
				if calls++; calls == n+1 {
					return fsx.ErrIO
				}
			}
			return nil
		}))
		put(t, s, "main", arts("a", 2)...)
		failing = true
		u, err := s.NewUpload("main", 40)
		if err == nil {
			_, err = u.Write(art("value", 100).Bytes)
			if err == nil {
				_, err = u.Finish()
			} else {
				_, finishErr := u.Finish()
				wants(t, finishErr, fsx.ErrIO)
			}
		}
		failing = false
		if calls <= n {
			return
		}
		if err != nil {
			wants(t, err, fsx.ErrIO)
		}
		must(t, s.Sync())
		up := upload(t, s, art("value", 100).Bytes, 40)
		must(t, s.Admit(up.Block))
		put(t, s, "main", arts("b", 2)...)
		must(t, s.Sealed(sealFull(t, s, "main")))
		if _, err := readValue(s, up); err != nil {
			t.Fatal(err)
		}
	}
}

// A full disk passes: each call that met it works when it is repeated, with the
// same result.
func TestFullDiskPasses(t *testing.T) {
	want := ""
	for n := -1; ; n++ {
		mem := fsx.NewMem()
		mutations := 0
		s := openOn(t, fsx.Fault(mem, func(c fsx.Call) error {
			if c.Mutates() && c.Op != "sync" && c.Op != "syncdir" && c.Op != "remove" {
				if mutations++; mutations == n+1 {
					if c.Op == "write" {
						return errors.Join(fsx.ErrNoSpace, fsx.ErrShort)
					}
					return fsx.ErrNoSpace
				}
			}
			return nil
		}))
		again := func(call func() error) {
			t.Helper()
			err := call()
			if err != nil {
				wants(t, err, fsx.ErrNoSpace)
				err = call()
			}
			must(t, err)
		}
		var rec record.Block
		var up Uploaded
		add := func(list ...Artifact) {
			number, offset, _ := s.Tail("main")
			section := s.Encode("main", list)
			again(func() error { return s.Reserve("main", len(section)) })
			again(func() error { return s.Append("main", number, offset, section) })
		}
		add(arts("a", 3)...)
		again(func() (err error) { rec, err = s.Seal("main", 0, 2); return err })
		again(func() error { return s.Sealed(rec) })
		add(arts("b", 1)...)
		s.Advance("main")
		add(arts("c", 1)...)
		again(func() (err error) { rec, err = s.Seal("main", 1, 2); return err })
		again(func() error { return s.Sealed(rec) })
		again(func() error {
			u, err := s.NewUpload("main", 40)
			if err != nil {
				return err
			}
			if _, err := u.Write(art("value", 100).Bytes); err != nil {
				return errors.Join(err, u.Abort())
			}
			up, err = u.Finish()
			return err
		})
		again(func() error { return s.Admit(up.Block) })
		again(func() error { return s.WriteHealed(art("h", 3).ID, art("h", 3).Bytes) })
		must(t, s.Sync())
		has(t, s, append(append(arts("a", 3), arts("b", 1)...), arts("c", 1)...)...)
		_, err := readValue(s, up)
		must(t, err)
		noDamage(t, s, rec)
		got := fmt.Sprint(names(t, mem, "blocks/open"), string(content(t, mem, "blocks/open/main-00000002.blk")), rec.ID, up.Block.ID)
		if n < 0 {
			want = got
		} else if got != want {
			t.Fatalf("after a full disk at change %d:\n%s\nwanted\n%s", n, got, want)
		}
		if mutations <= n {
			if n < 15 {
				t.Fatalf("only %d changes", n)
			}
			return
		}
	}
}

// hiding is a disk with a planted bug: failed syncs are not reported.
type hiding struct{ fsx.Disk }

func (d hiding) Open(name string, mode fsx.Mode) (fsx.File, error) {
	f, err := d.Disk.Open(name, mode)
	if err == nil {
		f = hidingFile{f}
	}
	return f, err
}

type hidingFile struct{ fsx.File }

func (f hidingFile) Sync() error { _ = f.File.Sync(); return nil }

// The checks above notice a failed sync that is passed over.
func TestPlantedBugHiddenSyncFailure(t *testing.T) {
	for name, script := range scripts {
		noticed := false
		for n := 0; !noticed; n++ {
			mem := fsx.NewMem()
			mem.Record()
			calls := fsx.Fault(mem, fsx.FailCall(n, fsx.ErrIO, false))
			l, err := newLedger(mem, hiding{calls})
			if err == nil {
				err = script(l)
			}
			if calls.Calls() <= n {
				break
			}
			if err == nil { // hidden or harmless
				noticed = survives(mem, l, func() {}) != nil
			}
		}
		if !noticed {
			t.Errorf("%s: the bug was not noticed", name)
		}
	}
}
