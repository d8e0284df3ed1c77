package statestore

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"graven/internal/fsx"
	"graven/state"
)

// TestAgainstModel holds a map that is written, reopened, cut back to an older
// set and evacuated at any time against one that is never on a page.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := fsx.NewMem()
		s := mustOpen(t, disk)
		var plain, paged state.Map
		written := map[uint64]state.Map{}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		seq, keys := uint64(0), 0
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0, 1:
				n := rapid.IntRange(1, 60).Draw(t, "new")
				fresh := first(keys, keys+n)
				for i := range fresh {
					seq++
					fresh[i].Seq, fresh[i].Created = seq, seq
				}
				put(t, fresh, &plain, &paged)
				keys += n
			case 2:
				if keys > 0 {
					leaves := make([]state.Leaf, rapid.IntRange(1, 20).Draw(t, "updates"))
					for i := range leaves {
						seq++
						leaves[i] = leafOf(keyOf(r.IntN(keys)), seq, 1, r.IntN(3) > 0)
					}
					put(t, leaves, &plain, &paged)
				}
			case 3, 4:
				seq++
				paged = mustWrite(t, s, paged, seq)
				written[seq] = plain
			case 5:
				s = mustOpen(t, disk)
				sets := s.Sets()
				for _, set := range sets {
					sameAnswers(t, written[set.Position], mustMap(t, s, set), keyOf(0), nil)
				}
				if len(sets) > 0 {
					set := sets[r.IntN(len(sets))]
					paged, plain = mustMap(t, s, set), written[set.Position]
				} else {
					plain, paged, keys = state.Map{}, state.Map{}, 0
				}
				mustCheck(t, s)
			case 6:
				if err := s.Collect(); err != nil {
					t.Fatalf("Collect: %v", err)
				}
			}
			sameAnswers(t, plain, paged, keyOf(r.IntN(keys+1)), keyOf(r.IntN(keys+1)))
		}
		sameLists(t, plain, paged)
	})
}

// TestLongLife: old maps stay readable while sets come and go, and what is on
// disk stays in proportion.
func TestLongLife(t *testing.T) {
	const keys, sets = 20_000, 50
	disk := fsx.NewMem()
	s := mustOpen(t, disk)
	r := rand.New(rand.NewPCG(5, 5))
	seq := uint64(keys)
	var plain, paged state.Map
	put(t, first(0, keys), &plain, &paged)
	paged = mustWrite(t, s, paged, seq)
	live, _ := diskBytes(t, disk)
	t.Logf("%.1f bytes a key", float64(live)/keys)
	type moment struct{ plain, paged state.Map }
	held := moment{plain, paged}
	written := int64(0)
	for i := range sets {
		put(t, some(r, 400, keys, &seq), &plain, &paged)
		paged = mustWrite(t, s, paged, seq)
		sameAnswers(t, plain, paged, keyOf(r.IntN(keys)), keyOf(r.IntN(keys)))
		sameAnswers(t, held.plain, held.paged, keyOf(r.IntN(keys)), keyOf(r.IntN(keys)))
		written += int64(len(data(t, disk, uint32(i+2))))
		if i%10 == 9 {
			sameLists(t, held.plain, held.paged)
			held = moment{plain, paged}
		}
		if i%10 != 9 {
			continue
		}
		// The collector takes the old maps, and Collect their files.
		eventually(t, func() bool {
			runtime.GC()
			if err := s.Collect(); err != nil {
				t.Fatal(err)
			}
			bytes, files := diskBytes(t, disk)
			if bytes > live*12/5 { // 1½ times, the newest file, and what only the set before needs
				return false
			}
			t.Logf("after %d sets: %.2f times the living bytes in %d files", i+1, float64(bytes)/float64(live), files)
			return true
		})
	}
	mustCheck(t, s)
	t.Logf("a set took %.2f times the living bytes on average", float64(written)/sets/float64(live))
	reopened, _ := newest(t, mustOpen(t, disk))
	sameLists(t, plain, reopened)
}

// eventually waits for the collector's cleanups.
func eventually(t testing.TB, done func() bool) {
	t.Helper()
	for i := 0; !done(); i++ {
		if i == 500 {
			t.Fatal("what is no longer in use is not given back")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestLoadCopiesNothing: without garbage, a set is what is new.
func TestLoadCopiesNothing(t *testing.T) {
	for name, key := range map[string]func(int) []byte{
		"sorted": func(i int) []byte { return fmt.Appendf(nil, "k%032d", i) },
		"random": keyOf,
	} {
		t.Run(name, func(t *testing.T) {
			disk := fsx.NewMem()
			s := mustOpen(t, disk)
			var m state.Map
			const sets, each = 10, 3000
			var written int
			for i := range sets {
				leaves := first(i*each, (i+1)*each)
				for j := range leaves {
					leaves[j].Key = key(i*each + j)
				}
				put(t, leaves, &m)
				m = mustWrite(t, s, m, uint64(i))
				written += len(data(t, disk, uint32(i+1)))
			}
			per := float64(written) / sets / each
			t.Logf("%.1f bytes written for each key", per)
			if name == "sorted" && per > 125 {
				t.Errorf("%.1f bytes written for each key", per)
			}
		})
	}
}

func TestFilesArePinned(t *testing.T) {
	disk := fsx.NewMem()
	s := mustOpen(t, disk)
	var m state.Map
	put(t, first(0, 500), &m)
	plain := m
	old := mustWrite(t, s, m, 500)
	replaceAll := func(m state.Map, n uint64) state.Map {
		var leaves []state.Leaf
		for i := range 500 {
			leaves = append(leaves, leafOf(keyOf(i), 1000*n+uint64(i), 1, true))
		}
		put(t, leaves, &m)
		return mustWrite(t, s, m, n*1000)
	}
	next := old
	for n := range uint64(5) {
		next = replaceAll(next, n+1)
	}
	if err := s.Collect(); err != nil {
		t.Fatal(err)
	}
	sameLists(t, plain, old)
	if ok, _ := stateDir(disk).Exists(fileName(1)); !ok {
		t.Error("a file was removed while a map stands on it")
	}
	// An edit of an old map pins as well.
	e := old.Edit()
	old = state.Map{}
	runtime.GC()
	if err := s.Collect(); err != nil {
		t.Fatal(err)
	}
	if l, ok, err := e.Get(keyOf(3)); err != nil || !ok || l.Seq != 4 {
		t.Errorf("Get of an edit whose map is gone: %v, %v", l, err)
	}
	if l, ok, err := e.Map().Get(keyOf(3)); err != nil || !ok || l.Seq != 4 {
		t.Errorf("Get: %v, %v", l, err)
	}
	e = nil
	eventually(t, func() bool {
		runtime.GC()
		if err := s.Collect(); err != nil {
			t.Fatal(err)
		}
		ok, _ := stateDir(disk).Exists(fileName(1))
		return !ok
	})
	if got := len(s.Sets()); got != keepSets {
		t.Errorf("%d sets are kept", got)
	}
	mustCheck(t, s)
	runtime.KeepAlive(next)
}

func TestKeepAndReset(t *testing.T) {
	disk := fsx.NewMem()
	s := mustOpen(t, disk)
	var m state.Map
	for i := range 8 {
		put(t, first(i*10, i*10+10), &m)
		m = mustWrite(t, s, m, uint64(i))
		if i == 2 {
			s.Keep(1, 2, 77)
		}
	}
	positions := func(s *Store) string {
		var all []string
		for _, set := range s.Sets() {
			all = append(all, fmt.Sprint(set.Position))
		}
		return strings.Join(all, " ")
	}
	if got := positions(s); got != "1 2 6 7" {
		t.Errorf("sets %s are kept", got)
	}
	twice := mustWrite(t, s, m, 2) // the state was taken back
	if got := positions(s); got != "2 7" && got != "1 2 7" {
		t.Errorf("sets %s are kept, wanted the newer one of position 2", got)
	}
	s.Keep()
	if err := s.Collect(); err != nil {
		t.Fatal(err)
	}
	before := s.Sets()
	if got := positions(s); got != "2 7" {
		t.Errorf("sets %s are kept after Keep()", got)
	}
	if err := s.Reset(); err != nil {
		t.Fatal(err)
	}
	if len(s.Sets()) != 0 {
		t.Error("a set is left after Reset")
	}
	if _, err := s.Map(before[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a map of a set that has gone: %v", err)
	}
	sameLists(t, m, twice) // both are still readable
	next := mustWrite(t, s, state.Map{}, 0)
	if next.Len() != 0 || len(s.Sets()) != 1 || s.Sets()[0].Number != 10 {
		t.Errorf("after Reset: sets %v", s.Sets())
	}
	if _, _, err := mustOpen(t, fsx.NewMem()).Write(next, 1); err == nil {
		t.Error("a map of another store is accepted")
	}
}

// TestWeightIsBounded: a large map that is updated at random takes as much
// memory as its writes let it.
func TestWeightIsBounded(t *testing.T) {
	const keys, limit = 300_000, 4 << 20
	if testing.Short() {
		t.Skip("skipped: it takes seconds to fill the map")
	}
	disk := fsx.NewMem()
	s := mustOpen(t, disk)
	var m state.Map
	for i := 0; i < keys; i += 10_000 {
		put(t, first(i, i+10_000), &m)
	}
	heavy := m.Weight()
	m = mustWrite(t, s, m, keys)
	r, seq, sets := rand.New(rand.NewPCG(6, 6)), uint64(keys), 0
	most := int64(0)
	for range 100 {
		put(t, some(r, 100, keys, &seq), &m)
		most = max(most, m.Weight())
		if m.Weight() > limit {
			m = mustWrite(t, s, m, seq)
			sets++
		}
	}
	t.Logf("in memory the map weighs %d bytes, on pages at most %d; %d sets", heavy, most, sets)
	if most > limit*5/4 || sets < 2 || heavy < 5*limit {
		t.Errorf("weight %d of at most %d, %d sets", most, limit, sets)
	}
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	t.Logf("heap %d MiB, disk included", mem.HeapAlloc>>20)
}

// TestManySmallSets: a set for each put, each time with a store of its own.
func TestManySmallSets(t *testing.T) {
	const keys, sets = 5000, 400
	disk := fsx.NewMem()
	var plain state.Map
	put(t, first(0, keys), &plain)
	mustWrite(t, mustOpen(t, disk), plain, 0)
	live, _ := diskBytes(t, disk)
	r, seq, written := rand.New(rand.NewPCG(3, 3)), uint64(keys), int64(0)
	for i := range sets {
		s := mustOpen(t, disk)
		m, _ := newest(t, s)
		put(t, some(r, 1, keys, &seq), &m)
		mustWrite(t, s, m, uint64(i)+1)
		written += int64(s.files[len(s.files)-1].length)
		if bytes, files := diskBytes(t, disk); files > manyFiles+3 || bytes > live*26/10 { // 1½ times, and all of it once more when the first file goes
			t.Fatalf("%d files, %.2f times the living bytes, after %d sets", files, float64(bytes)/float64(live), i)
		}
	}
	bytes, files := diskBytes(t, disk)
	t.Logf("%d files, %.2f times the living bytes; %d bytes written for a put", files, float64(bytes)/float64(live), written/sets)
	if written/sets > 40_000 {
		t.Errorf("%d bytes written for a put", written/sets)
	}
	mustCheck(t, mustOpen(t, disk))
}

// TestHandlesAreBounded reads more files than may be open, beside a writer.
func TestHandlesAreBounded(t *testing.T) {
	disk := fsx.NewMem()
	s := mustOpen(t, disk)
	var m state.Map
	const sets, each, most = 30, 60, 5
	s.most = most
	for i := range sets {
		put(t, first(i*each, (i+1)*each), &m)
		m = mustWrite(t, s, m, uint64(i))
	}
	s.cache = state.NewCache(1)
	m = mustMap(t, s, s.Sets()[1])
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 300 {
				if _, ok, err := m.Get(keyOf(r.IntN(sets * each))); !ok || err != nil {
					t.Errorf("Get: %t, %v", ok, err)
				}
			}
		})
	}
	wg.Go(func() {
		next := m
		for i := range 5 {
			e := next.Edit()
			for _, l := range first((sets+i)*each, (sets+i+1)*each) {
				if err := e.Put(l); err != nil {
					t.Error(err)
				}
			}
			var err error
			if next, _, err = s.Write(e.Map(), uint64(sets+i)); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if n := len(s.handles); n > most {
		t.Errorf("%d files are open", n)
	}
	s.Close()
	if n := len(s.handles); n != 0 {
		t.Errorf("%d files are open after Close", n)
	}
	if _, ok, err := m.Get(keyOf(1)); !ok || err != nil {
		t.Errorf("Get after Close: %v", err)
	}
}
