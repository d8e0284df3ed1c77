package fsx_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/internal/fsx/fsxtest"
)

// A toy ledger that appends payloads to a file, and the ways to build it wrong.
type toy struct {
	noSync, noDirSync, noChecksum, ackEarly, retrySync, noRewrite bool
}

func (y toy) frame(payload []byte) []byte {
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	sum := crc32.ChecksumIEEE(payload)
	if y.noChecksum {
		sum = 0x6b6f6b6f
	}
	frame = binary.BigEndian.AppendUint32(frame, sum)
	return append(frame, payload...)
}

// recover returns the payloads that the file holds whole, in order.
func (y toy) recover(d fsx.Disk) (list [][]byte, end int) {
	data, err := fsx.NewDir(d, nil).ReadFile("log", 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0
	}
	for {
		rest := data[end:]
		if len(rest) < 8 {
			return list, end
		}
		n, sum := int(binary.BigEndian.Uint32(rest)), binary.BigEndian.Uint32(rest[4:])
		if n == 0 || n > len(rest)-8 {
			return list, end
		}
		payload := rest[8 : 8+n]
		if y.noChecksum && sum != 0x6b6f6b6f || !y.noChecksum && sum != crc32.ChecksumIEEE(payload) {
			return list, end
		}
		list = append(list, payload)
		end += 8 + n
	}
}

// run appends payloads from..to and acknowledges each.
func (y toy) run(t *testing.T, d fsx.Disk, ack func(int), from, to int) error {
	t.Helper()
	f, err := d.Open("log", fsx.ReadWrite)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = d.Open("log", fsx.Create)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	old, end := y.recover(d)
	if !y.noRewrite {
		// What was found may be in the page cache only.
		whole := make([]byte, end)
		if _, err := f.ReadAt(whole, 0); err != nil && end > 0 {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(whole, 0); err != nil {
			return err
		}
		if err := f.Truncate(int64(end)); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if !y.noDirSync {
		if err := d.SyncDir("."); err != nil {
			return err
		}
	}
	for i := range old {
		ack(i)
	}
	for i := from; i < to; i++ {
		if i < len(old) {
			continue
		}
		frame := y.frame(toyPayload(i))
		if y.ackEarly {
			ack(i)
		}
		if _, err := f.WriteAt(frame, int64(end)); err != nil {
			return err
		}
		end += len(frame)
		if !y.noSync {
			err := f.Sync()
			if err != nil && y.retrySync {
				err = f.Sync()
			}
			if err != nil {
				return err
			}
		}
		ack(i)
	}
	return nil
}

func toyPayload(i int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("payload %d;", i)), 20+30*i)
}

// judge counts the crash states that lost an acknowledged payload or serve a
// false one.
func (y toy) judge(t *testing.T, m *fsx.Mem, opts fsx.CrashOptions) (states, failures int, example string) {
	t.Helper()
	for s := range m.CrashStates(opts) {
		states++
		acked := 0
		for _, e := range s.Events {
			acked = max(acked, e.(int)+1)
		}
		got, _ := y.recover(s.Disk)
		bad := len(got) < acked
		for i, p := range got {
			bad = bad || !bytes.Equal(p, toyPayload(i))
		}
		if bad {
			failures++
			example = s.Desc
		}
	}
	return states, failures, example
}

func TestPlantedBugs(t *testing.T) {
	for _, c := range []struct {
		name  string
		toy   toy
		story func(t *testing.T, y toy, m *fsx.Mem)
	}{
		{"no sync", toy{noSync: true}, plainStory},
		{"no directory sync", toy{noDirSync: true}, plainStory},
		{"no checksum", toy{noChecksum: true}, plainStory},
		{"early acknowledgement", toy{ackEarly: true}, plainStory},
		{"retried sync", toy{retrySync: true}, failedSyncStory},
		{"page cache trusted after a kill", toy{noRewrite: true}, failedSyncStory},
		{"page cache trusted after a kill", toy{noRewrite: true}, killedStory},
	} {
		t.Run(c.name, func(t *testing.T) {
			right := fsx.NewMem()
			right.Record()
			c.story(t, toy{}, right)
			states, failures, example := toy{}.judge(t, right, fsx.CrashOptions{})
			if failures > 0 || states < 40 {
				t.Errorf("correct: %d of %d states fail, for example %s", failures, states, example)
			}
			wrong := fsx.NewMem()
			wrong.Record()
			c.story(t, c.toy, wrong)
			states, failures, example = c.toy.judge(t, wrong, fsx.CrashOptions{})
			if failures == 0 {
				t.Errorf("the planted bug was not found in %d states", states)
			}
			t.Logf("planted: %d of %d states fail, for example %s", failures, states, example)
		})
	}
}

func plainStory(t *testing.T, y toy, m *fsx.Mem) {
	if err := y.run(t, m, func(i int) { m.Mark(i) }, 0, 4); err != nil {
		t.Fatal(err)
	}
}

// failedSyncStory lets one sync fail once; then the process is killed and
// starts again.
func failedSyncStory(t *testing.T, y toy, m *fsx.Mem) {
	syncs := 0
	d := fsx.Fault(m, func(c fsx.Call) error {
		if c.Op == "sync" {
			if syncs++; syncs == 3 {
				return fsx.ErrIO
			}
		}
		return nil
	})
	ack := func(i int) { m.Mark(i) }
	err := y.run(t, d, ack, 0, 4)
	if err != nil && !errors.Is(err, fsx.ErrIO) || err == nil && !y.retrySync && !y.noRewrite {
		t.Fatalf("failing sync: %v", err)
	}
	m.Kill()
	if err := y.run(t, m, ack, 0, 5); err != nil {
		t.Fatal(err)
	}
}

// killedStory kills the process at each call in turn and starts it again.
func killedStory(t *testing.T, y toy, m *fsx.Mem) {
	kill := errors.New("killed")
	ack := func(i int) { m.Mark(i) }
	for n := 3; ; n += 3 {
		err := y.run(t, fsx.Fault(m, fsx.FailCall(n, kill, true)), ack, 0, 4)
		m.Kill()
		if err == nil {
			return
		}
		if !errors.Is(err, kill) {
			t.Fatal(err)
		}
	}
}

// The same for whole files: write, rename, acknowledge.
func TestPlantedBugsOfReplace(t *testing.T) {
	replace := func(t *testing.T, d fsx.Disk, content string, noSync, noDirSync, inPlace bool) {
		t.Helper()
		name := "temp"
		if inPlace {
			name = "file"
		}
		f, err := d.Open(name, fsx.Create)
		if errors.Is(err, fs.ErrExist) {
			f, err = d.Open(name, fsx.ReadWrite)
		}
		check(t, err)
		_, err = f.WriteAt([]byte(content), 0)
		check(t, err)
		check(t, f.Truncate(int64(len(content))))
		if !noSync {
			check(t, f.Sync())
		}
		check(t, f.Close())
		if !inPlace {
			check(t, d.Rename("temp", "file"))
		}
		if !noDirSync {
			check(t, d.SyncDir("."))
		}
	}
	for _, c := range []struct {
		name                       string
		noSync, noDirSync, inPlace bool
	}{
		{name: "correct"}, {name: "no sync", noSync: true}, {name: "no directory sync", noDirSync: true}, {name: "in place", inPlace: true},
	} {
		m := fsx.NewMem()
		m.Record()
		var contents []string
		for i := range 4 {
			contents = append(contents, strings.Repeat(fmt.Sprint("content ", i), 100+i))
			replace(t, m, contents[i], c.noSync, c.noDirSync, c.inPlace)
			m.Mark(i)
		}
		states, failures := 0, 0
		for s := range m.CrashStates(fsx.CrashOptions{}) {
			states++
			got, err := fsx.NewDir(s.Disk, nil).ReadFile("file", 1<<20)
			at := slices.Index(contents, string(got)) // -1: none of them
			if err != nil && len(s.Events) > 0 || err == nil && (at < 0 || at < len(s.Events)-1) {
				failures++
			}
		}
		if (failures > 0) != (c.name != "correct") || states < 50 {
			t.Errorf("%s: %d of %d states fail", c.name, failures, states)
		}
	}
}

// Every kind of damage occurs.
func TestDamageOccurs(t *testing.T) {
	old := strings.Repeat("o", 700)
	data := strings.Repeat("n", 1500)
	const off = 100
	m := fsx.NewMem()
	fsxtest.Put(t, m, "f", old)
	m.Record()
	f, err := m.Open("f", fsx.ReadWrite)
	check(t, err)
	_, err = f.WriteAt([]byte(data), off)
	check(t, err)
	seen := map[string]bool{}
	garbage := 0
	for s := range m.CrashStates(fsx.CrashOptions{}) {
		got := fsxtest.Get(t, s.Disk, "f")
		seen[got] = true
		if len(got) == off+len(data) && strings.Trim(got, "no\x00") != "" {
			garbage++
		}
	}
	over := func(written string) string { // old, written over at off
		if off+len(written) >= len(old) {
			return old[:off] + written
		}
		return old[:off] + written + old[off+len(written):]
	}
	hole := strings.Repeat("\x00", 750)
	for name, want := range map[string]string{
		"absent":            old,
		"whole":             over(data),
		"half":              over(data[:750]),
		"all but one byte":  over(data[:1499]),
		"torn at 512":       over(data[:412]),
		"torn at 1024":      over(data[:924]),
		"torn at 1536":      over(data[:1436]),
		"zeros":             over(hole + hole),
		"grown with zeros":  old + strings.Repeat("\x00", 900),
		"hole first":        over(hole + data[750:]),
		"hole second":       over(data[:750] + hole),
		"second half alone": old + strings.Repeat("\x00", 150) + data[750:],
	} {
		if !seen[want] {
			t.Errorf("%s does not occur", name)
		}
	}
	if garbage < 2 {
		t.Errorf("%d states with garbage", garbage)
	}
}

// A synced file whose folder, or whose folder's folder, was not synced may vanish.
func TestNamesVanish(t *testing.T) {
	m := fsx.NewMem()
	m.Record()
	check(t, m.Mkdir("a", false))
	fsxtest.Put(t, m, "a/f", "x")
	f, err := m.Open("a/f", fsx.Read)
	check(t, err)
	check(t, f.Sync())
	check(t, m.SyncDir("a"))
	count := func() (there, gone int) {
		for s := range m.CrashStates(fsx.CrashOptions{From: len(m.Ops())}) {
			data, err := fsx.NewDir(s.Disk, nil).ReadFile("a/f", 9)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				gone++
			case err == nil && string(data) == "x":
				there++
			default:
				t.Errorf("%q, %v: %s", data, err, s.Desc)
			}
		}
		return there, gone
	}
	if there, gone := count(); there == 0 || gone == 0 {
		t.Errorf("folder not synced: %d there, %d gone", there, gone)
	}
	check(t, m.SyncDir("."))
	if there, gone := count(); there != 1 || gone != 0 {
		t.Errorf("folder synced: %d there, %d gone", there, gone)
	}
}

// A rename between folders may lose the old name, the new one, both or none,
// until the folders are synced.
func TestRenameBetweenFolders(t *testing.T) {
	m := fsx.NewMem()
	check(t, m.Mkdir("a", false))
	check(t, m.Mkdir("b", false))
	fsxtest.Put(t, m, "a/f", "x")
	m.Record()
	check(t, m.Rename("a/f", "b/f"))
	kinds := func() map[string]bool {
		found := map[string]bool{}
		for s := range m.CrashStates(fsx.CrashOptions{From: len(m.Ops())}) {
			_, inA := s.Disk.Stat("a/f")
			_, inB := s.Disk.Stat("b/f")
			found[fmt.Sprint(inA == nil, inB == nil)] = true
		}
		return found
	}
	if k := kinds(); len(k) != 4 {
		t.Errorf("nothing synced: %v", k)
	}
	check(t, m.SyncDir("b"))
	if k := kinds(); len(k) != 2 || !k["true true"] || !k["false true"] {
		t.Errorf("new folder synced: %v", k)
	}
	check(t, m.SyncDir("a"))
	if k := kinds(); len(k) != 1 || !k["false true"] {
		t.Errorf("both synced: %v", k)
	}
}

func TestCrashOptions(t *testing.T) {
	m := fsx.NewMem()
	m.Record()
	plainStory(t, toy{noSync: true}, m)
	list := func(o fsx.CrashOptions) (descs []string) {
		perPrefix := map[int]int{}
		for s := range m.CrashStates(o) {
			descs = append(descs, s.Desc)
			perPrefix[s.Prefix]++
			if limit := o.MaxPerPrefix; limit > 0 && perPrefix[s.Prefix] > limit {
				t.Fatalf("%d states of prefix %d, at most %d", perPrefix[s.Prefix], s.Prefix, limit)
			}
			if s.Prefix < o.From {
				t.Fatalf("prefix %d, from %d", s.Prefix, o.From)
			}
		}
		count := m.CountCrashStates(o)
		if count.States != len(descs) || count.Prefixes != len(perPrefix) {
			t.Errorf("%+v: counted %+v, met %d in %d prefixes", o, count, len(descs), len(perPrefix))
		}
		return descs
	}
	base := list(fsx.CrashOptions{MaxPerPrefix: 40})
	if !slices.Equal(base, list(fsx.CrashOptions{MaxPerPrefix: 40})) {
		t.Error("the same options give other states")
	}
	if slices.Equal(base, list(fsx.CrashOptions{MaxPerPrefix: 40, Seed: 1})) {
		t.Error("another Seed gives the same states")
	}
	if many := list(fsx.CrashOptions{MaxPerPrefix: 10000}); len(many) <= len(base) {
		t.Error("a higher bound gives no more states")
	}
	list(fsx.CrashOptions{From: 5})
	for limit := range 5 {
		list(fsx.CrashOptions{MaxPerPrefix: limit})
	}
	for s := range m.CrashStates(fsx.CrashOptions{}) { // stopping early is fine
		if s.Prefix > 1 {
			break
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("enumerating a disk that does not record went unnoticed")
		}
	}()
	fsx.NewMem().CountCrashStates(fsx.CrashOptions{})
}

// The disks of states are independent of each other and of the recorded one.
func TestCrashStatesAreIndependent(t *testing.T) {
	m := fsx.NewMem()
	m.Record()
	plainStory(t, toy{}, m)
	want, _ := toy{}.recover(m)
	var first *fsx.Mem
	for s := range m.CrashStates(fsx.CrashOptions{}) {
		if first == nil && len(s.Events) == 4 {
			first = s.Disk
		}
		f, err := s.Disk.Open("log", fsx.ReadWrite)
		if err != nil || s.Disk == first {
			continue
		}
		_, err = f.WriteAt([]byte("!"), 9) // within what is there
		check(t, err)
		check(t, f.Truncate(20))
		check(t, f.Truncate(4000))
	}
	for _, d := range []*fsx.Mem{m, first} {
		if got, _ := (toy{}).recover(d); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Error("a write to one state changed another")
		}
	}
	if l, err := first.Lock("lock", ""); err != nil || l.Close() != nil {
		t.Errorf("lock on a state: %v", err)
	}
}

// A crash during the recovery from a crash.
func TestNestedCrash(t *testing.T) {
	m := fsx.NewMem()
	m.Record()
	plainStory(t, toy{}, m)
	outer, states := 0, 0
	for s := range m.CrashStates(fsx.CrashOptions{MaxPerPrefix: 10}) {
		outer++
		s.Disk.Record()
		for _, e := range s.Events {
			s.Disk.Mark(e)
		}
		check(t, toy{}.run(t, s.Disk, func(i int) { s.Disk.Mark(i) }, 0, 2))
		n, failures, example := toy{}.judge(t, s.Disk, fsx.CrashOptions{MaxPerPrefix: 20})
		states += n
		if failures > 0 {
			t.Fatalf("%s\nthen %s", s.Desc, example)
		}
	}
	if states < 100 {
		t.Errorf("%d states in %d", states, outer)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkCrashStates(b *testing.B) {
	m := fsx.NewMem()
	d := fsx.NewDir(m, fsx.VaultRules())
	for i := range 20 {
		check(b, d.PublishBytes(fmt.Sprintf("tile/0/%03d", i), make([]byte, 1000)))
	}
	m.Record()
	f, err := d.Append("wal/wal-00000001", true)
	check(b, err)
	for i := range 100 {
		_, err := f.WriteAt(toyPayload(i%5), int64(i)*700)
		check(b, err)
		check(b, f.Sync())
		m.Mark(i)
		if i%10 == 0 {
			check(b, d.PublishBytes(fmt.Sprintf("tile/1/%03d", i), make([]byte, 1000)))
		}
	}
	states := 0
	for b.Loop() {
		for range m.CrashStates(fsx.CrashOptions{}) {
			states++
		}
	}
	b.ReportMetric(float64(states)/b.Elapsed().Seconds(), "states/s")
}
