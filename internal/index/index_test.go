package index

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"graven/internal/fsx"
	"graven/record"
)

var testVault = record.VaultID{0xAB, 1}

func folder(d fsx.Disk) fsx.Dir { return fsx.NewDir(d, fsx.VaultRules()).Sub("index") }

func mustOpen(t testing.TB, d fsx.Disk, opts Options) *Index {
	t.Helper()
	x, _, err := Open(folder(d), testVault, opts)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// history is a made-up log: what there is to index, run by run. It is the truth
// that every answer is held against.
type history struct {
	opts     Options
	runs     []Run
	versions []keyed // by rising seq
	next     uint64  // seq of the next record
	numbers  map[string][]Version
}

type keyed struct {
	key string
	v   Version
}

func idOf(text string) record.ID { return sha256.Sum256([]byte(text)) }

// write makes a version of a key, in a record of its own.
func (h *history) write(key string, live bool) keyed {
	if h.numbers == nil {
		h.numbers, h.next = map[string][]Version{}, max(h.next, 1)
	}
	old := h.numbers[key]
	v := Version{Seq: h.next, N: uint64(len(old) + 1), Live: live, Op: uint32(h.next % 3)}
	if len(old) > 0 {
		v.Prev = old[len(old)-1].Seq
		if j := record.J(v.N); j > 0 {
			v.Skip = old[j-1].Seq
		}
	}
	if live {
		v.Size, v.Value = h.next*7, idOf(fmt.Sprint(h.next))
		if h.next%4 == 0 {
			v.Type = "text/plain"
		}
		if h.next%5 == 0 {
			chunks := idOf("chunks")
			v.Chunks = &chunks
		}
	}
	k := keyed{key, v}
	h.next++
	h.versions = append(h.versions, k)
	h.numbers[key] = append(old, v)
	return k
}

// end is where the last run ends.
func (h *history) end() uint64 {
	if len(h.runs) == 0 {
		return 0
	}
	return h.runs[len(h.runs)-1].To
}

// endRun ends a run with all that was written since the one before.
func (h *history) endRun() Run {
	run := Run{Number: uint64(len(h.runs)), From: h.end(), To: h.next, Versions: uint64(len(h.versions))}
	if len(h.runs) > 0 {
		run.Txs = h.runs[len(h.runs)-1].Txs
	}
	for seq := run.From; seq < run.To; seq++ {
		if seq%GridStep == 0 {
			run.Grid = append(run.Grid, Grid{Seq: seq, File: seq / 1000 * 1000, Offset: int64(seq % 1000 * 80)})
		}
		run.IDs = append(run.IDs, IDRow{Actor: fmt.Sprint("actor ", seq%3), ID: fmt.Sprint(seq % 50), Seq: seq, Number: run.Txs, Req: idOf(fmt.Sprint("req", seq))})
		run.Txs++
		run.Artifacts = append(run.Artifacts, Place{ID: idOf(fmt.Sprint("a", seq%40)), Class: fmt.Sprint("class", seq%2), Number: seq / 10, Offset: int64(seq), Size: 5})
		if seq%7 == 3 {
			run.Blocks = append(run.Blocks, seq)
			run.Artifacts = append(run.Artifacts, Place{ID: idOf(fmt.Sprint("a", seq%40)), Class: "class0", Chunk: true, Block: idOf(fmt.Sprint("b", seq)), Offset: 9, Size: 1 << 30})
		}
		if seq%11 == 5 {
			run.Documents = append(run.Documents, Document{[]string{"policy", "authority", "pol"}[seq%3], seq})
		}
		if seq%5 == 1 {
			run.Signed = append(run.Signed, Signed{idOf(fmt.Sprint("req", seq)), seq})
		}
		run.Features = append(run.Features, Feature{[]string{"tx/1", "commit/1", "block/2"}[seq%3], seq})
	}
	if run.From == 0 {
		run.IDs[0].Seq = 1 // no transaction is record 0
	}
	h.runs = append(h.runs, run)
	return run
}

// replay adds the versions from a record on.
func (h *history) replay(t testing.TB, x *Index, from uint64) {
	t.Helper()
	for _, k := range h.versions {
		if k.v.Seq >= from {
			must(t, x.Add([]byte(k.key), k.v))
		}
	}
}

// sealed returns an index with all runs sealed, merged as far as it goes.
func (h *history) sealed(t testing.TB, d fsx.Disk) *Index {
	t.Helper()
	x := mustOpen(t, d, h.opts)
	must(t, x.Begin(0))
	h.sealRest(t, x)
	_, err := x.Merge(context.Background())
	must(t, err)
	return x
}

// sealRest replays and seals the runs behind the border.
func (h *history) sealRest(t testing.TB, x *Index) {
	t.Helper()
	to, runs := x.Border()
	h.replay(t, x, to)
	for _, run := range h.runs[runs:] {
		_, err := x.Seal(run)
		must(t, err)
	}
}

// at is the naive At.
func (h *history) at(key string, pos uint64) (found Version, ok bool) {
	for _, v := range h.numbers[key] {
		if v.Seq <= pos {
			found, ok = v, true
		}
	}
	return found, ok
}

func (h *history) scan(from, to []byte, pos uint64, reverse bool) (items []Item) {
	for key := range h.numbers {
		if key < string(from) || to != nil && key >= string(to) {
			continue
		}
		if v, ok := h.at(key, pos); ok {
			items = append(items, Item{[]byte(key), v})
		}
	}
	slices.SortFunc(items, func(a, b Item) int { return bytes.Compare(a.Key, b.Key) })
	if reverse {
		slices.Reverse(items)
	}
	return items
}

// asks compares answers about keys with the naive ones. An error of the index is
// returned, a wrong answer ends the test.
func (h *history) asks(t fataler, x *Index, rng *rand.Rand, n int) error {
	keys := []string{"", "zzz"}
	for key := range h.numbers {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	some := func() string { return keys[rng.IntN(len(keys))] }
	for range n {
		key, pos := some(), rng.Uint64N(h.next+2)
		got, ok, err := x.At([]byte(key), pos)
		if err != nil {
			return err
		}
		want, wantOK := h.at(key, pos)
		if ok != wantOK || !reflect.DeepEqual(got, want) {
			t.Fatalf("At(%q, %d) = %+v, %v; want %+v, %v", key, pos, got, ok, want, wantOK)
		}
		from, to := []byte(some()), []byte(some())
		if rng.IntN(3) == 0 {
			to = nil
		}
		if err := h.asksRange(t, x, from, to, pos, rng); err != nil {
			return err
		}
		if err := h.asksHistory(t, x, key, pos); err != nil {
			return err
		}
	}
	if got, want := x.Versions(), uint64(len(h.versions)); got != want {
		t.Fatalf("Versions() = %d, want %d", got, want)
	}
	return nil
}

type fataler interface {
	Fatalf(format string, args ...any)
	Helper()
}

func (h *history) asksRange(t fataler, x *Index, from, to []byte, pos uint64, rng *rand.Rand) error {
	for _, reverse := range []bool{false, true} {
		var got []Item
		want := h.scan(from, to, pos, reverse)
		stop := -1
		if rng.IntN(3) == 0 {
			stop = rng.IntN(len(want) + 1)
			want = want[:stop]
		}
		err := x.Scan(from, to, pos, reverse, func(it Item) bool {
			if len(got) == stop {
				return false
			}
			got = append(got, it)
			return true
		})
		if err != nil {
			return err
		}
		if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("Scan(%q, %q, %d, %v) = %v; want %v", from, to, pos, reverse, got, want)
		}
	}
	since, want := rng.Uint64N(h.next), uint64(0)
	for _, it := range h.scan(from, to, pos, false) {
		if it.Version.Seq > since {
			want = max(want, it.Version.Seq)
		}
	}
	got, err := x.Changed(from, to, since, pos)
	if err == nil && got != want {
		t.Fatalf("Changed(%q, %q, %d, %d) = %d; want %d", from, to, since, pos, got, want)
	}
	return err
}

func (h *history) asksHistory(t fataler, x *Index, key string, pos uint64) error {
	var got, want []Version
	for v, err := range x.History([]byte(key), pos) {
		if err != nil {
			return err
		}
		got = append(got, v)
	}
	for _, v := range slices.Backward(h.numbers[key]) {
		if v.Seq <= pos {
			want = append(want, v)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("History(%q, %d) = %v; want %v", key, pos, got, want)
	}
	for n := range uint64(len(want) + 2) {
		got, ok, err := x.Number([]byte(key), n, pos)
		if err != nil {
			return err
		}
		if ok != (n > 0 && n <= uint64(len(want))) || ok && !reflect.DeepEqual(got, want[uint64(len(want))-n]) {
			t.Fatalf("Number(%q, %d, %d) = %v, %v", key, n, pos, got, ok)
		}
	}
	return nil
}

// asksRest compares the answers about all else below the border.
func (h *history) asksRest(t fataler, x *Index) error {
	border, runs := x.Border()
	var all Run
	for _, run := range h.runs[:runs] {
		all.Artifacts = append(all.Artifacts, run.Artifacts...)
		all.IDs = append(all.IDs, run.IDs...)
		all.Grid = append(all.Grid, run.Grid...)
		all.Blocks = append(all.Blocks, run.Blocks...)
		all.Documents = append(all.Documents, run.Documents...)
		all.Signed = append(all.Signed, run.Signed...)
		all.Features = append(all.Features, run.Features...)
	}
	for i := range 42 {
		id := idOf(fmt.Sprint("a", i))
		kind := func(p Place) string { return fmt.Sprint(p.Class, p.Chunk) }
		want, got := map[string][]Place{}, map[string]bool{} // merges keep the first of a kind
		for _, p := range all.Artifacts {
			if p.ID == id {
				want[kind(p)] = append(want[kind(p)], p)
			}
		}
		for p, err := range x.Artifact(id) {
			if err != nil {
				return err
			}
			got[kind(p)] = true
			if !slices.Contains(want[kind(p)], p) {
				t.Fatalf("Artifact(%d) yields %v, which nobody put in", i, p)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("Artifact(%d) yields %d kinds, wanted %d", i, len(got), len(want))
		}
		for range x.Artifact(id) { // for whom one is enough
			break
		}
	}
	for i := range 160 {
		actor, id := fmt.Sprint("actor ", i%3), fmt.Sprint(i/3)
		var want IDRow
		for _, r := range all.IDs {
			if r.Actor == actor && r.ID == id {
				want = r
			}
		}
		got, ok, err := x.ID(actor, id)
		if err != nil {
			return err
		}
		if ok != (want != IDRow{}) || got != want {
			t.Fatalf("ID(%q, %q) = %v, %v; want %v", actor, id, got, ok, want)
		}
	}
	for seq := uint64(0); seq < h.next; seq += 1 + seq/20 {
		if err := h.asksSeq(t, x, &all, seq, border); err != nil {
			return err
		}
	}
	return h.asksLists(t, x, &all)
}

func (h *history) asksSeq(t fataler, x *Index, all *Run, seq, border uint64) error {
	got, ok, err := x.Spent(idOf(fmt.Sprint("req", seq)))
	if err != nil {
		return err
	}
	if ok != (seq%5 == 1 && seq < border) || ok && got != seq {
		t.Fatalf("Spent(%d) = %d, %v", seq, got, ok)
	}
	var want Grid
	for _, g := range all.Grid {
		if g.Seq <= seq {
			want = g
		}
	}
	g, ok, err := x.Grid(seq)
	if err != nil {
		return err
	}
	if ok != (len(all.Grid) > 0) || g != want {
		t.Fatalf("Grid(%d) = %v, %v; want %v", seq, g, ok, want)
	}
	return nil
}

func (h *history) asksLists(t fataler, x *Index, all *Run) error {
	var got []uint64
	for seq, err := range x.Blocks() {
		if err != nil {
			return err
		}
		got = append(got, seq)
	}
	if !slices.Equal(got, all.Blocks) {
		t.Fatalf("Blocks() = %v; want %v", got, all.Blocks)
	}
	for _, kind := range []string{"policy", "authority", "pol", "none"} {
		var got, want []uint64
		for seq, err := range x.Documents(kind) {
			if err != nil {
				return err
			}
			got = append(got, seq)
		}
		for _, d := range slices.Backward(all.Documents) {
			if d.Kind == kind {
				want = append(want, d.Seq)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("Documents(%q) = %v; want %v", kind, got, want)
		}
	}
	features, err := x.Features()
	if err != nil {
		return err
	}
	var want []Feature
	for _, f := range all.Features {
		if !slices.ContainsFunc(want, func(g Feature) bool { return g.Name == f.Name }) {
			want = append(want, f)
		}
	}
	slices.SortFunc(want, func(a, b Feature) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	if !slices.Equal(features, want) {
		t.Fatalf("Features() = %v; want %v", features, want)
	}
	return nil
}

// wantSound is a Check without findings.
func wantSound(t testing.TB, x *Index) {
	t.Helper()
	if err := x.Check(context.Background(), func(err error) error { return err }); err != nil {
		t.Fatalf("Check: %v", err)
	}
}

// TestModel drives an index through a random life of writes, refused groups,
// seals, merges, sweeps and reopens at any border, and compares every kind of
// answer with the naive one.
func TestModel(t *testing.T) {
	names := []string{"a", "aa", "a\x00", "b", "ba", "\xff", "\xff\xff", "k\x00z"}
	for i := range 20 {
		names = append(names, fmt.Sprintf("key %02d", i))
	}
	merged := false
	rapid.Check(t, func(rt *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 3))
		h := &history{opts: Options{ShardBits: rng.IntN(3), CacheBytes: 1 << rng.IntN(18)}, next: 1}
		disk := fsx.NewMem()
		x := mustOpen(t, disk, h.opts)
		must(t, x.Begin(0))
		for range rapid.IntRange(1, 120).Draw(rt, "steps") {
			switch rng.IntN(8) {
			case 0:
				if _, err := x.Merge(context.Background()); err != nil {
					rt.Fatal(err)
				}
			case 1:
				must(t, x.Sweep())
			case 2:
				must(t, x.Close())
				x = mustOpen(t, disk, h.opts)
				borders := append([]Border{{}}, x.Borders()...)
				b := borders[len(borders)-1]
				if rng.IntN(3) == 0 {
					b = borders[rng.IntN(len(borders))]
				} else if b.Runs != uint64(len(h.runs)) {
					rt.Fatalf("borders %v, %d runs", borders, len(h.runs))
				}
				must(t, x.Begin(b.Runs))
				if b.Runs > 0 && (b.To != h.runs[b.Runs-1].To || b.Txs != h.runs[b.Runs-1].Txs || b.Versions != h.runs[b.Runs-1].Versions) {
					rt.Fatalf("border %v is not the end of run %v", b, b.Runs)
				}
				h.sealRest(t, x)
			default:
				for range 1 + rng.IntN(20) {
					k := h.write(names[rng.IntN(len(names))], rng.IntN(4) > 0)
					must(t, x.Add([]byte(k.key), k.v))
					if rng.IntN(5) == 0 { // a group that is refused
						lost := k.v
						lost.Seq, lost.N = h.next, k.v.N+1
						must(t, x.Add([]byte(k.key), lost))
						x.Cut([]byte(k.key), h.next)
					}
				}
				if rng.IntN(3) > 0 {
					if _, err := x.Seal(h.endRun()); err != nil {
						rt.Fatal(err)
					}
				}
			}
			must(t, h.asks(rt, x, rng, 2))
		}
		merged = merged || len(h.runs) > 40
		must(t, h.asksRest(rt, x))
		wantSound(t, x)
		must(t, x.Close())
		if _, _, err := x.At([]byte("zzz"), 1); !errors.Is(err, ErrClosed) {
			rt.Fatalf("after Close: %v", err)
		}
	})
	if !merged {
		t.Error("no life was long enough for merges")
	}
}

// makeHistory writes so many runs of so many records each.
func makeHistory(runs, records, keys int) *history {
	h := &history{}
	rng := rand.New(rand.NewPCG(uint64(runs), uint64(records)))
	for range runs {
		for range records {
			h.write(fmt.Sprintf("k%04d", rng.IntN(keys)), rng.IntN(5) > 0)
		}
		h.endRun()
	}
	return h
}

// Three levels, and every border among the last segments.
func TestLevels(t *testing.T) {
	h := makeHistory(16*16+16+3, 3, 60)
	disk := fsx.NewMem()
	x := h.sealed(t, disk)
	rng := rand.New(rand.NewPCG(5, 5))
	must(t, h.asks(t, x, rng, 100))
	must(t, h.asksRest(t, x))
	wantSound(t, x)
	if got := len(x.set.Load().segs); got != 1+1+3 {
		t.Fatalf("%d segments in play, wanted one of level 2, one of level 1, three of level 0", got)
	}
	must(t, x.Close())
	x = mustOpen(t, disk, h.opts)
	want := []uint64{256, 272, 273, 274, 275}
	var got []uint64
	for _, b := range x.Borders() {
		got = append(got, b.Runs)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("borders %v, wanted %v", got, want)
	}
	for _, runs := range slices.Backward(want) {
		must(t, x.Begin(runs))
		to, _ := x.Border()
		h.replay(t, x, to)
		must(t, h.asks(t, x, rng, 30))
		must(t, h.asksRest(t, x))
	}
	if err := x.Begin(10); err == nil {
		t.Fatal("Begin(10) has no segments and no error")
	}
}

// The same runs give the same files, however they came to be.
func TestSameBytes(t *testing.T) {
	h := makeHistory(35, 20, 50)
	disk1, disk2 := fsx.NewMem(), fsx.NewMem()
	h.sealed(t, disk1)
	// Sealed and merged one by one, with an end in between.
	x := mustOpen(t, disk2, h.opts)
	for i, run := range h.runs {
		if i%10 == 0 {
			must(t, x.Close())
			x = mustOpen(t, disk2, h.opts)
			must(t, x.Begin(uint64(i)))
			to, _ := x.Border()
			h.replay(t, x, to)
		}
		_, err := x.Seal(run)
		must(t, err)
		_, err = x.Merge(context.Background())
		must(t, err)
	}
	if one, two := contents(t, disk1), contents(t, disk2); !reflect.DeepEqual(one, two) || len(one) == 0 {
		t.Fatalf("%d files and %d files differ", len(one), len(two))
	}
}

// contents returns all files of the index.
func contents(t testing.TB, d fsx.Disk) map[string]string {
	t.Helper()
	all := map[string]string{}
	var walk func(name string)
	walk = func(name string) {
		entries, err := d.ReadDir(name)
		must(t, err)
		for _, e := range entries {
			child := name + "/" + e.Name
			if e.Dir {
				walk(child)
				continue
			}
			data, err := fsx.NewDir(d, nil).ReadFile(child, 1<<30)
			must(t, err)
			all[child] = string(data)
		}
	}
	walk("index")
	return all
}

// TestScanBatches crosses the borders at which a scan lets go of the lock, with
// keys in memory, in segments, and in both.
func TestScanBatches(t *testing.T) {
	h := &history{}
	const n = 3*batch + 7
	for i := range n {
		h.write(fmt.Sprintf("k%06d", i), true)
		if i == n/2 {
			h.endRun()
		}
	}
	for i := range n / 3 {
		h.write(fmt.Sprintf("k%06d", 3*i), true)
	}
	x := h.sealed(t, fsx.NewMem())
	for _, pos := range []uint64{10, n / 2, n, h.next} {
		must(t, h.asksRange(t, x, []byte("k"), nil, pos, rand.New(rand.NewPCG(1, pos))))
	}
	if got, err := x.Changed([]byte("k000010"), []byte("k000012"), 0, n); err != nil || got != 12 {
		t.Fatalf("Changed = %d, %v, want 12", got, err)
	}
}

func TestRefusals(t *testing.T) {
	h := makeHistory(2, 10, 5)
	x := mustOpen(t, fsx.NewMem(), h.opts)
	must(t, x.Begin(0))
	h.replay(t, x, 0)
	last := h.versions[len(h.versions)-1]
	for _, v := range []Version{{Seq: last.v.Seq, N: last.v.N + 1}, {Seq: h.next, N: last.v.N}, {Seq: h.next, N: last.v.N + 2}} {
		if err := x.Add([]byte(last.key), v); err == nil {
			t.Errorf("Add(%v) after %v: no error", v, last)
		}
	}
	for name, change := range map[string]func(*Run){
		"number":   func(r *Run) { r.Number++ },
		"from":     func(r *Run) { r.From++ },
		"to":       func(r *Run) { r.To = r.From },
		"versions": func(r *Run) { r.Versions++ },
		"grid":     func(r *Run) { r.Grid = []Grid{{Seq: 3}} },
		"block":    func(r *Run) { r.Blocks = []uint64{r.To} },
	} {
		run := h.runs[0]
		change(&run)
		if _, err := x.Seal(run); err == nil {
			t.Errorf("Seal with another %s: no error", name)
		}
	}
	_, err := x.Seal(h.runs[0])
	must(t, err)
	if err := x.Add([]byte("new"), Version{Seq: 3, N: 1}); err == nil {
		t.Error("Add below the border: no error")
	}
	if _, err := New().Seal(h.runs[0]); err == nil {
		t.Error("Seal in memory: no error")
	}
}

// Ids that have left the window are not merged, and their files go.
func TestIDsLeave(t *testing.T) {
	h := makeHistory(40, 4, 10)
	for i := range h.runs {
		h.runs[i].Txs = uint64(i+1) * (1 << 16) // 16 runs are the window
		for j := range h.runs[i].IDs {
			h.runs[i].IDs[j].Number = h.runs[i].Txs - 1
		}
	}
	disk := fsx.NewMem()
	x := h.sealed(t, disk)
	must(t, x.Sweep())
	if got, err := folder(disk).Exists("ids/1-00000000.seg"); err != nil || got {
		t.Fatalf("old ids are there: %v, %v", got, err)
	}
	must(t, x.Close())
	x = mustOpen(t, disk, h.opts)
	borders := x.Borders()
	if last := borders[len(borders)-1]; last.Runs != 40 {
		t.Fatalf("borders %v", borders)
	}
	must(t, x.Begin(40))
	newest := h.runs[39].IDs[0]
	if got, ok, err := x.ID(newest.Actor, newest.ID); err != nil || !ok || got != newest {
		t.Fatalf("ID = %v, %v, %v; want %v", got, ok, err, newest)
	}
	// Ids that count are not missed in silence.
	must(t, folder(disk).Discard("ids/0-00000038.seg"))
	x = mustOpen(t, disk, h.opts)
	if borders = x.Borders(); len(borders) > 0 && borders[len(borders)-1].Runs > 38 {
		t.Fatalf("borders %v without the ids of run 38", borders)
	}
}

// Which ids a merged segment has follows from the log, not from when files that
// had left the window went.
func TestIDsOfMergedSegments(t *testing.T) {
	h := makeHistory(16*16+1, 2, 10)
	for i := range h.runs {
		h.runs[i].Txs = uint64(i+1) << 16
	}
	var all []map[string]string
	for _, every := range []int{1, 5, 1000} {
		disk := fsx.NewMem()
		x := mustOpen(t, disk, h.opts)
		must(t, x.Begin(0))
		h.replay(t, x, 0)
		for i, run := range h.runs {
			_, err := x.Seal(run)
			must(t, err)
			if i%every == 0 {
				must(t, x.Sweep())
				_, err := x.Merge(context.Background())
				must(t, err)
			}
		}
		_, err := x.Merge(context.Background())
		must(t, err)
		must(t, x.Sweep())
		all = append(all, contents(t, disk))
		ids := x.set.Load().segs[0].ids
		if every == 1000 && (ids == nil || ids.Rows() != 2*16) {
			t.Fatalf("a segment of level 2 has not the ids of its last child alone")
		}
	}
	if !reflect.DeepEqual(all[0], all[1]) || !reflect.DeepEqual(all[0], all[2]) {
		t.Fatal("the files differ")
	}
}

// placesOf are all places that the index has of an artifact.
func placesOf(x *Index, id record.ID) (list []Place, err error) {
	for p, err := range x.Artifact(id) {
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}
