package fsx_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/internal/fsx/fsxtest"
)

// everyCall makes each kind of call once, in this order.
func everyCall(d fsx.Disk) (errs []error) {
	note := func(err error) { errs = append(errs, err) }
	note(d.Mkdir("dir", false))
	f, err := d.Open("dir/f", fsx.Create)
	note(err)
	if err == nil {
		_, err = f.WriteAt([]byte("0123456789"), 0)
		note(err)
		_, err = f.ReadAt(make([]byte, 4), 0)
		note(err)
		_, err = f.Size()
		note(err)
		note(f.Reserve(0, 100))
		note(f.Truncate(9))
		note(f.Sync())
		note(f.Close())
	}
	note(d.SyncDir("dir"))
	note(d.Link("dir/f", "g"))
	note(d.Rename("g", "h"))
	_, err = d.Stat("h")
	note(err)
	_, err = d.ReadDir(".")
	note(err)
	note(d.Remove("h"))
	for _, lock := range []func() error{
		func() error { l, err := d.Lock("lock", "x"); return closeIf(l, err) },
		func() error { l, err := d.LockShared("lock"); return closeIf(l, err) },
	} {
		note(lock())
	}
	f, err = d.Open("dir/f", fsx.Read)
	note(err)
	if err == nil {
		note(f.Close())
	}
	return errs
}

func closeIf(c interface{ Close() error }, err error) error {
	if err == nil {
		err = c.Close()
	}
	return err
}

func TestFaultHitsEveryCall(t *testing.T) {
	var calls []fsx.Call
	counter := fsx.Fault(fsx.NewMem(), func(c fsx.Call) error { calls = append(calls, c); return nil })
	if err := errors.Join(everyCall(counter)...); err != nil {
		t.Fatal(err)
	}
	if counter.Calls() != len(calls) || len(calls) != 19 {
		t.Fatalf("%d calls, %d counted", len(calls), counter.Calls())
	}
	mutating := 0
	for n, c := range calls {
		if c.N != n {
			t.Errorf("call %d has number %d", n, c.N)
		}
		if c.Mutates() {
			mutating++
		}
		for _, onwards := range []bool{false, true} {
			for _, failure := range []error{fsx.ErrIO, fsx.ErrNoSpace, fsx.ErrTooManyFiles} {
				errs := everyCall(fsx.Fault(fsx.NewMem(), fsx.FailCall(n, failure, onwards)))
				hit := 0
				for _, err := range errs {
					if errors.Is(err, failure) {
						hit++
					}
				}
				if hit == 0 || !onwards && hit > 1 || onwards && c.Op == "mkdir" && hit != len(errs) {
					t.Errorf("%v, onwards %v: %d hits among %v", c, onwards, hit, errs)
				}
				if err := errors.Join(errs...); !strings.Contains(err.Error(), c.Op+" "+c.Name) {
					t.Errorf("%v is not named by %v", c, err)
				}
			}
		}
	}
	if mutating != 12 {
		t.Errorf("%d calls mutate: %v", mutating, calls)
	}
}

func TestFaultHasNoEffect(t *testing.T) {
	for _, op := range []string{"create", "write", "truncate", "link", "rename", "remove", "mkdir", "lock"} {
		m := fsx.NewMem()
		check(t, m.Mkdir("dir", false))
		fsxtest.Put(t, m, "f", "content")
		fsxtest.Put(t, m, "lock", "")
		m.Record()
		d := fsx.Fault(m, func(c fsx.Call) error {
			if c.Op == op {
				return fsx.ErrIO
			}
			return nil
		})
		f, err := d.Open("f", fsx.ReadWrite)
		check(t, err)
		_, create := d.Open("new", fsx.Create)
		_, write := f.WriteAt([]byte("!"), 0)
		_, lock := d.Lock("lock", "me")
		errs := map[string]error{
			"create": create, "write": write, "lock": lock, "truncate": f.Truncate(1), "link": d.Link("f", "g"),
			"mkdir": d.Mkdir("new2", false), "rename": d.Rename("dir", "dir2"), "remove": d.Remove("lock"),
		}
		if !errors.Is(errs[op], fsx.ErrIO) {
			t.Errorf("%s: %v", op, errs[op])
		}
		for _, o := range m.Ops() {
			if o.Kind.String() == op {
				t.Errorf("a failed %s was done: %v", op, o)
			}
		}
	}
}

func TestShortWrite(t *testing.T) {
	m := fsx.NewMem()
	d := fsx.Fault(m, func(c fsx.Call) error {
		if c.Op == "write" && c.Off == 3 {
			return fsx.ErrShort
		}
		return nil
	})
	f, err := d.Open("f", fsx.Create)
	check(t, err)
	_, err = f.WriteAt([]byte("abc"), 0)
	check(t, err)
	if n, err := f.WriteAt([]byte("defghi"), 3); n != 3 || !errors.Is(err, fsx.ErrShort) {
		t.Errorf("short write: %d, %v", n, err)
	}
	if got := fsxtest.Get(t, m, "f"); got != "abcdef" {
		t.Errorf("after a short write: %q", got)
	}
}

// What a failed sync covered stays uncertain after later syncs; what is written
// after it does not. Reads see it all the same.
func TestFailedSync(t *testing.T) {
	m := fsx.NewMem()
	fsxtest.Put(t, m, "f", "----")
	m.Record()
	fail := true
	d := fsx.Fault(fsx.Under(m, "."), func(c fsx.Call) error {
		if fail && c.Op == "sync" {
			return fsx.ErrIO
		}
		return nil
	})
	f, err := d.Open("f", fsx.ReadWrite)
	check(t, err)
	_, err = f.WriteAt([]byte("A"), 0)
	check(t, err)
	if err := f.Sync(); !errors.Is(err, fsx.ErrIO) {
		t.Fatal(err)
	}
	fail = false
	_, err = f.WriteAt([]byte("B"), 2)
	check(t, err)
	check(t, f.Sync())
	check(t, f.Sync())
	if got := fsxtest.Get(t, d, "f"); got != "A-B-" {
		t.Errorf("read before the crash: %q", got)
	}
	found := map[string]bool{}
	for s := range m.CrashStates(fsx.CrashOptions{From: len(m.Ops())}) {
		got := fsxtest.Get(t, s.Disk, "f")
		if got[1:] != "-B-" {
			t.Errorf("synced bytes are gone: %q, %s", got, s.Desc)
		}
		found[got[:1]] = true
	}
	if !found["-"] || !found["A"] || !found["\x00"] {
		t.Errorf("first byte may be %v", found)
	}
}

func TestReadOnly(t *testing.T) {
	m := fsx.NewMem()
	check(t, m.Mkdir("dir", false))
	fsxtest.Put(t, m, "dir/f", "content")
	fsxtest.Put(t, m, "lock", "")
	m.Record()
	d := fsx.ReadOnly(m)
	if got := fsxtest.Get(t, d, "dir/f"); got != "content" {
		t.Errorf("read %q", got)
	}
	f, err := d.Open("dir/f", fsx.Read)
	check(t, err)
	defer f.Close()
	_, write := f.WriteAt([]byte("x"), 0)
	_, rw := d.Open("dir/f", fsx.ReadWrite)
	_, create := d.Open("new", fsx.Create)
	_, private := d.Open("new", fsx.CreatePrivate)
	_, lock := d.Lock("lock", "x")
	_, shared := d.LockShared("none")
	dir := fsx.NewDir(d, fsx.VaultRules())
	_, appended := dir.Append("wal/wal-1", true)
	for call, err := range map[string]error{
		"write": write, "readwrite": rw, "create": create, "private": private, "lock": lock, "shared": shared,
		"truncate": f.Truncate(0), "sync": f.Sync(), "reserve": f.Reserve(0, 1),
		"link": d.Link("dir/f", "g"), "rename": d.Rename("dir/f", "g"), "remove": d.Remove("dir/f"),
		"mkdir": d.Mkdir("new", false), "syncdir": d.SyncDir("dir"),
		"append": appended, "publish": dir.PublishBytes("README.txt", nil), "replace": dir.Replace("checkpoint", nil),
		"discard": dir.Discard("blocks/open/x"),
	} {
		if call == "discard" {
			check(t, err) // nothing there, nothing to do
		} else if !errors.Is(err, fsx.ErrReadOnly) {
			t.Errorf("%s: %v", call, err)
		}
	}
	l, err := d.LockShared("lock")
	check(t, err)
	check(t, l.Close())
	if ops := m.Ops(); len(ops) != 0 {
		t.Errorf("something changed: %v", ops)
	}
	if _, err := d.Stat("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
}
