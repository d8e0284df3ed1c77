package fsx

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// What a Dir promises when a verb returns nil holds in every state that a power
// cut may leave, also over killed processes.

// promise is an event: from now on name holds content.
type promise struct{ name, content string }

// attempt is an event: name may hold content from now on.
type attempt promise

// script makes changes of every kind through a Dir. What an earlier run has
// done is done; it ends at the first error.
func script(d Dir, m *Mem) error {
	promised := func(name, content string) { m.Mark(promise{name, content}) }
	text := func(name string) string { return strings.Repeat("content of "+name+"\n", 40) }

	taken := func(err error, names ...string) error {
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		for _, name := range names {
			if err := d.Sync(name); err != nil { // it may be an earlier process's
				return err
			}
			promised(name, text(name))
		}
		return nil
	}
	publish := func(name string) error {
		m.Mark(attempt{name, text(name)})
		err := d.PublishBytes(name, []byte(text(name)))
		if err == nil {
			promised(name, text(name))
			return nil
		}
		return taken(err, name)
	}
	replace := func(name string, version int) error {
		content := fmt.Sprint(version, text(name))
		m.Mark(attempt{name, content})
		if err := d.Replace(name, []byte(content)); err != nil {
			return err
		}
		promised(name, content)
		return nil
	}
	fill := func(name string) error {
		f, err := d.Append(name, true)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err = f.WriteAt([]byte(text(name)), 0); err == nil {
			err = f.Sync()
		}
		if err == nil {
			promised(name, text(name))
		}
		return err
	}

	if err := fill("wal/wal-00000001"); err != nil {
		return err
	}
	if err := replace("checkpoint", 1); err != nil {
		return err
	}
	if err := publish("tile/0/x001/000"); err != nil {
		return err
	}
	if err := replace("checkpoint", 2); err != nil {
		return err
	}
	names := []string{"tile/0/x001/001", "tile/0/x001/002", "tile/1/000"}
	items := make([]Item, len(names))
	for i, name := range names {
		items[i] = Item{name, []byte(text(name))}
		m.Mark(attempt{name, text(name)})
	}
	left, err := d.PublishAll(items)
	if err != nil {
		return err
	}
	for _, name := range names {
		if len(left) == 0 {
			promised(name, text(name))
		} else if err := taken(nil, name); err != nil {
			return err
		}
	}
	if err := fill("blocks/open/main-00000000.blk"); err != nil {
		return err
	}
	const open, sealed = "blocks/open/main-00000000.blk", "blocks/sealed/ab/cd.blk"
	m.Mark(attempt{sealed, text(open)})
	err = d.PublishLink(open, sealed)
	if errors.Is(err, fs.ErrExist) {
		err = d.Sync(sealed)
	}
	if err != nil {
		return err
	}
	promised(sealed, text(open))
	return nil
}

// broken returns why a state breaks what the events promise, or "".
func broken(s *CrashState) string {
	last := map[string]string{}         // what must be there at least
	may := map[string]map[string]bool{} // what may be there
	for _, e := range s.Events {
		switch e := e.(type) {
		case attempt:
			if may[e.name] == nil {
				may[e.name] = map[string]bool{}
			}
			may[e.name][e.content] = true
		case promise:
			last[e.name] = e.content
			may[e.name] = map[string]bool{e.content: true}
		}
	}
	d := NewDir(s.Disk, nil)
	for name := range last {
		if there, err := d.Exists(name); !there || err != nil {
			return fmt.Sprintf("%s is gone", name)
		}
	}
	for name, contents := range may {
		got, err := d.ReadFile(name, 1<<20)
		if err == nil && !contents[string(got)] {
			return fmt.Sprintf("%s holds %.40q", name, got)
		}
	}
	// Nothing else appears under a final name, whole or not.
	var walk func(folder string) string
	walk = func(folder string) string {
		list, err := d.ReadDir(folder)
		if err != nil {
			return err.Error()
		}
		for _, e := range list {
			name := path.Join(folder, e.Name)
			if e.Dir {
				if bad := walk(name); bad != "" {
					return bad
				}
			} else if may[name] == nil && !strings.HasPrefix(name, "wal/") && !strings.HasPrefix(name, "blocks/open/") {
				return "unexpected " + name
			}
		}
		return ""
	}
	return walk(".")
}

// lossy is a disk that forgets some syncs: a planted bug.
type lossy struct {
	*Mem
	files, folders bool
}

func (l lossy) SyncDir(name string) error {
	if l.folders {
		return nil
	}
	return l.Mem.SyncDir(name)
}

func (l lossy) Open(name string, mode Mode) (File, error) {
	f, err := l.Mem.Open(name, mode)
	if err == nil && l.files {
		f = lossyFile{f}
	}
	return f, err
}

type lossyFile struct{ File }

func (lossyFile) Sync() error { return nil }

// judge counts the states that break a promise, by what is wrong.
func judge(t *testing.T, m *Mem) (states int, failures map[string]int) {
	t.Helper()
	failures = map[string]int{}
	for s := range m.CrashStates(CrashOptions{MaxPerPrefix: 60}) {
		states++
		if why := broken(s); why != "" {
			failures[why]++
		}
	}
	return states, failures
}

func TestDirKeepsItsPromises(t *testing.T) {
	for _, c := range []struct {
		name    string
		disk    func(m *Mem) Disk
		planted bool
	}{
		{"right", func(m *Mem) Disk { return m }, false},
		{"files are not synced", func(m *Mem) Disk { return lossy{m, true, false} }, true},
		{"folders are not synced", func(m *Mem) Disk { return lossy{m, false, true} }, true},
	} {
		m := NewMem()
		m.Record()
		if err := script(NewDir(c.disk(m), VaultRules()), m); err != nil {
			t.Fatal(err)
		}
		states, failures := judge(t, m)
		if (len(failures) > 0) != c.planted || states < 100 {
			t.Errorf("%s: %d states, failures %v", c.name, states, failures)
		}
	}
}

// A process is killed before each call in turn; the next one finds names and
// bytes that are in the page cache only, and builds upon them.
func TestDirAfterKill(t *testing.T) {
	for _, trusting := range []bool{false, true} {
		total, failed := 0, map[string]int{}
		for n := 0; ; n++ {
			m := NewMem()
			m.Record()
			killed := errors.New("killed")
			err := script(NewDir(Fault(m, FailCall(n, killed, true)), VaultRules()), m)
			if err == nil {
				if n < 50 {
					t.Errorf("the script makes %d calls", n)
				}
				break
			}
			m.Kill()
			d := NewDir(m, VaultRules())
			if trusting {
				// The planted bug: what is there counts as durable.
				d.book.synced = folders(m)
				d.book.known = maps.Clone(d.book.synced)
			}
			if err := script(d, m); err != nil {
				t.Fatalf("after the kill at call %d: %v", n, err)
			}
			states, failures := judge(t, m)
			total += states
			for why := range failures {
				failed[why] += failures[why]
			}
			if trusting && len(failed) > 0 {
				break
			}
		}
		if (len(failed) > 0) != trusting {
			t.Errorf("trusting %v: %d states, failures %v", trusting, total, failed)
		}
	}
}

// folders lists all folders of a disk.
func folders(m *Mem) map[string]bool {
	all := map[string]bool{".": true}
	var walk func(n *node, name string)
	walk = func(n *node, name string) {
		for base, c := range n.entries {
			if c.dir {
				all[path.Join(name, base)] = true
				walk(c, path.Join(name, base))
			}
		}
	}
	walk(m.root, ".")
	return all
}

// Each folder is synced once for what was found in it, not at every call.
func TestFoldersAreSyncedOnce(t *testing.T) {
	m := NewMem()
	if err := script(NewDir(m, VaultRules()), m); err != nil {
		t.Fatal(err)
	}
	m.Record()
	d := NewDir(m, VaultRules())
	for range 3 {
		f, err := d.Append("wal/wal-00000001", false)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	syncs := map[string]int{}
	for _, op := range m.Ops() {
		syncs[op.String()]++
	}
	if len(syncs) != 2 || syncs["syncdir ."] != 1 || syncs["syncdir wal"] != 1 {
		t.Errorf("opening a file three times: %v", syncs)
	}
}

// A failed sync of a folder is not taken for a sync that was done.
func TestFailedFolderSync(t *testing.T) {
	m := NewMem()
	m.Record()
	fail := false
	d := NewDir(Fault(m, func(c Call) error {
		if fail && c.Op == "syncdir" && c.Name == "tile" {
			return ErrIO
		}
		return nil
	}), VaultRules())
	if err := d.PublishBytes("tile/1/000", nil); err != nil { // one that works
		t.Fatal(err)
	}
	fail = true
	if err := d.PublishBytes("tile/0/000", nil); !errors.Is(err, ErrIO) {
		t.Fatal(err)
	}
	fail = false
	if err := d.PublishBytes("tile/0/000", nil); err != nil {
		t.Fatal(err)
	}
	m.Mark("published")
	for s := range m.CrashStates(CrashOptions{From: len(m.ops)}) {
		if _, err := s.Disk.Stat("tile/0/000"); err != nil {
			t.Fatalf("%v: %s", err, s.Desc)
		}
	}
}

// slow is a disk whose first sync of the folder "tile", once it is armed, waits.
type slow struct {
	*Mem
	armed, done atomic.Bool
	begun, goOn chan struct{}
}

func (s *slow) SyncDir(name string) error {
	if name == "tile" && s.armed.CompareAndSwap(true, false) {
		close(s.begun)
		<-s.goOn
		s.done.Store(true)
	}
	return s.Mem.SyncDir(name)
}

// Who meets a folder that another call has made, and not yet synced, waits.
func TestFolderInTheMaking(t *testing.T) {
	s := &slow{Mem: NewMem(), begun: make(chan struct{}), goOn: make(chan struct{})}
	d := NewDir(s, VaultRules())
	if err := d.MakeFolder("tile/1"); err != nil {
		t.Fatal(err)
	}
	s.armed.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d.MakeFolder("tile/0"); err != nil {
			t.Error(err)
		}
	})
	<-s.begun
	wg.Go(func() {
		if err := d.MakeFolder("tile/0"); err != nil || !s.done.Load() {
			t.Errorf("went on before the folder was synced: %v", err)
		}
	})
	for range 1000 {
		runtime.Gosched() // time enough to go on, if nothing holds it
	}
	close(s.goOn)
	wg.Wait()
}
