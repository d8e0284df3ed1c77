package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"graven/record"
)

// memory is a file in memory.
type memory []byte

func (m memory) Size() (int64, error) { return int64(len(m)), nil }
func (m memory) ReadAt(p []byte, off int64) (int, error) {
	if off > int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

var testHeader = Header{Vault: record.VaultID{1, 2, 3}, Table: "keys", Level: 0, Number: 3, From: 100, To: 1 << 40}

func rowsOf(rows []Row) Rows {
	return func() iter.Seq2[Row, error] {
		return func(yield func(Row, error) bool) {
			for _, r := range rows {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

func sortRows(rows []Row) []Row {
	sort.SliceStable(rows, func(i, j int) bool { return compare(rows[i].Key, rows[i].Seq, rows[j].Key, rows[j].Seq) < 0 })
	return slices.CompactFunc(rows, func(a, b Row) bool { return compare(a.Key, a.Seq, b.Key, b.Seq) == 0 })
}

func keysOf(rows []Row, prefix int) (n uint64) {
	f := Filter{Prefix: prefix}
	for i := range rows {
		if i == 0 || !bytes.Equal(f.Part(rows[i].Key), f.Part(rows[i-1].Key)) {
			n++
		}
	}
	return n
}

func made(t testing.TB, h Header, rows []Row, prefix int) []byte {
	t.Helper()
	var b bytes.Buffer
	id, err := Write(&b, h, Summary{7, 8}, Filter{keysOf(rows, prefix), prefix}, rowsOf(rows))
	if err != nil {
		t.Fatal(err)
	}
	if id != record.IDOf(b.Bytes()) {
		t.Fatal("not the id of the file")
	}
	return b.Bytes()
}

func opened(t testing.TB, data []byte, h Header, prefix int) *Reader {
	t.Helper()
	r, err := Open(memory(data), "f.seg", h, prefix, NewCache(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantSound is Check without a finding.
func wantSound(t testing.TB, r *Reader) {
	t.Helper()
	if err := r.Check(func(err error) error { return err }); err != nil {
		t.Fatalf("Check: %v", err)
	}
}

// someRows draws rows with keys that have much in common, several versions, and
// values of many lengths.
func someRows(t *rapid.T) []Row {
	n := rapid.IntRange(0, 400).Draw(t, "n")
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	alphabet := []string{"a", "b", "\x00", "\xff", "abcdefgh"}
	var rows []Row
	for range n {
		var key []byte
		for range 1 + rng.IntN(6) {
			key = append(key, alphabet[rng.IntN(len(alphabet))]...)
		}
		seq := uint64(0)
		if rng.IntN(4) > 0 {
			seq = testHeader.From + rng.Uint64N(1+1<<rng.IntN(30))
		}
		rows = append(rows, Row{key, seq, make([]byte, rng.IntN(1+300*rng.IntN(2)))})
	}
	return sortRows(rows)
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rows := someRows(rt)
		prefix := rapid.IntRange(0, 3).Draw(rt, "prefix")
		r := opened(t, made(t, testHeader, rows, prefix), testHeader, prefix)
		wantSound(t, r)
		if r.Rows() != uint64(len(rows)) || r.Keys() != keysOf(rows, prefix) || r.Summary() != (Summary{7, 8}) {
			rt.Fatalf("%d rows, %d keys", r.Rows(), r.Keys())
		}
		it := r.Iter()
		var got []Row
		for ok := it.First(); ok; ok = it.Next() {
			got = append(got, Row{bytes.Clone(it.Row().Key), it.Row().Seq, it.Row().Value})
		}
		wantRows(rt, got, rows)
		got = nil
		for ok := it.Last(); ok; ok = it.Prev() {
			got = append(got, Row{bytes.Clone(it.Row().Key), it.Row().Seq, it.Row().Value})
		}
		slices.Reverse(got)
		wantRows(rt, got, rows)
		for range 50 {
			key, seq := []byte(rapid.StringN(0, 4, -1).Draw(rt, "key")), rapid.Uint64Max(1<<31).Draw(rt, "seq")
			if len(rows) > 0 && rapid.Bool().Draw(rt, "known") {
				some := rapid.SampledFrom(rows).Draw(rt, "row")
				key = append(bytes.Clone(some.Key), rapid.SampledFrom([]string{"", "", "\x00", "a"}).Draw(rt, "more")...)
				seq = some.Seq + rapid.Uint64Max(2).Draw(rt, "later") - 1
			}
			wantSearch(rt, r, rows, key, seq)
		}
	})
}

func wantRows(t *rapid.T, got, want []Row) {
	if !slices.EqualFunc(got, want, equalRows) {
		t.Fatalf("%d rows, wanted %d, or others", len(got), len(want))
	}
}

func equalRows(a, b Row) bool {
	return bytes.Equal(a.Key, b.Key) && a.Seq == b.Seq && bytes.Equal(a.Value, b.Value)
}

// wantSearch compares all ways to look for (key, seq) with a walk over the rows.
func wantSearch(t *rapid.T, r *Reader, rows []Row, key []byte, seq uint64) {
	i := sort.Search(len(rows), func(i int) bool { return compare(rows[i].Key, rows[i].Seq, key, seq) >= 0 })
	it := r.Iter()
	if ok := it.Seek(key, seq); ok != (i < len(rows)) || ok && !equalRows(it.Row(), rows[i]) {
		t.Fatalf("Seek(%q, %d): %v", key, seq, ok)
	} else if ok {
		j := i
		for j < len(rows) && bytes.Equal(rows[j].Key, rows[i].Key) {
			j++
		}
		if ok := it.Skip(); ok != (j < len(rows)) || ok && !equalRows(it.Row(), rows[j]) {
			t.Fatalf("Skip after Seek(%q, %d): %v", key, seq, ok)
		}
	}
	if ok := it.SeekBefore(key, seq); ok != (i > 0) || ok && !equalRows(it.Row(), rows[i-1]) {
		t.Fatalf("SeekBefore(%q, %d): %v", key, seq, ok)
	}
	want := i < len(rows) && bytes.Equal(rows[i].Key, key)
	row, ok, err := r.Floor(key, seq)
	if err != nil || ok != want || ok && !equalRows(row, rows[i]) {
		t.Fatalf("Floor(%q, %d): %v, %v, %v", key, seq, row, ok, err)
	}
	part := Filter{Prefix: r.prefix}.Part(key)
	if may, err := r.May(HashOf(part)); err != nil || want && !may {
		t.Fatalf("May(%q): %v, %v", part, may, err)
	}
}

// randomRows makes rows as those of an index over random keys.
func randomRows(n, keyLen int, seed uint64) []Row {
	rng := rand.New(rand.NewPCG(seed, 2))
	rows := make([]Row, n)
	for i := range rows {
		key := make([]byte, keyLen)
		for j := range key {
			key[j] = byte(rng.Uint32())
		}
		rows[i] = Row{key, testHeader.From + uint64(i), key[:min(20, keyLen)]}
	}
	return sortRows(rows)
}

func TestFalsePositives(t *testing.T) {
	rows := randomRows(50_000, 33, 1)
	r := opened(t, made(t, testHeader, rows, 0), testHeader, 0)
	false_, n := 0, 100_000
	for i := range n {
		if may, err := r.May(HashOf(fmt.Appendf(nil, "absent %d", i))); err != nil {
			t.Fatal(err)
		} else if may {
			false_++
		}
	}
	for _, row := range rows {
		if may, err := r.May(HashOf(row.Key)); err != nil || !may {
			t.Fatalf("key %x: %v, %v", row.Key, may, err)
		}
	}
	if share := float64(false_) / float64(n); share > 0.02 || share == 0 {
		t.Fatalf("%.4f of absent keys pass the filter", share)
	}
}

// A filter that is made in several windows is the same as one made in one.
func TestFilterWindows(t *testing.T) {
	rows := randomRows(20_000, 12, 2)
	var one, many bytes.Buffer
	for b, window := range map[*bytes.Buffer]uint64{&one: filterWindow, &many: pageBlocks} {
		if _, err := write(b, testHeader, Summary{}, Filter{Keys: uint64(len(rows))}, rowsOf(rows), window); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(one.Bytes(), many.Bytes()) {
		t.Fatal("they differ")
	}
	wantSound(t, opened(t, many.Bytes(), testHeader, 0))
}

func TestMerge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var files []*Reader
		var all []Row
		for i := range rapid.IntRange(0, 6).Draw(rt, "files") {
			rows := someRows(rt)
			for j := range rows {
				rows[j].Value = []byte{byte(i)}
			}
			files = append(files, opened(t, made(t, testHeader, rows, 0), testHeader, 0))
			all = append(all, rows...)
		}
		all = sortRows(all) // stable: the first file's row stays
		var got []Row
		for row, err := range Merge(files)() {
			if err != nil {
				rt.Fatal(err)
			}
			got = append(got, Row{bytes.Clone(row.Key), row.Seq, row.Value})
		}
		wantRows(rt, got, all)
	})
}

// probe asks everything of a file whose right rows are known. It returns an
// error of the file, and fails the test for an answer that is wrong.
func probe(t *testing.T, data []byte, rows []Row) error {
	r, err := Open(memory(data), "f.seg", testHeader, 0, NewCache(1<<20))
	if err != nil {
		return err
	}
	var first error
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	it := r.Iter()
	for dir, move := range []func() bool{it.Next, it.Prev} {
		ok := it.First()
		if dir == 1 {
			ok = it.Last()
		}
		n := 0
		for ; ok; ok = move() {
			at := n
			if dir == 1 {
				at = len(rows) - 1 - n
			}
			if at < 0 || at >= len(rows) || !equalRows(it.Row(), rows[at]) {
				t.Fatalf("row %d is wrong", at)
			}
			n++
		}
		if it.Err() == nil && n != len(rows) {
			t.Fatalf("%d rows without an error, wanted %d", n, len(rows))
		}
		note(it.Err())
	}
	for _, want := range rows {
		may, err := r.May(HashOf(want.Key))
		note(err)
		if err == nil && !may {
			t.Fatalf("the filter denies %x", want.Key)
		}
		row, ok, err := r.Floor(want.Key, want.Seq)
		note(err)
		if err == nil && (!ok || !equalRows(row, want)) {
			t.Fatalf("key %x is absent or wrong", want.Key)
		}
	}
	found := false
	if err := r.Check(func(err error) error {
		var d *DamageError
		if !errors.As(err, &d) || d.File != "f.seg" || d.Offset < 0 || d.Offset > int64(len(data)) {
			t.Fatalf("finding: %v", err)
		}
		found = true
		if first == nil {
			t.Errorf("finding: %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if found != (first != nil) {
		t.Fatalf("Check found damage: %v; lookups: %v", found, first)
	}
	return first
}

func TestEveryByte(t *testing.T) {
	rows := randomRows(150, 20, 3)
	for i := range 5 { // and a few versions
		rows = append(rows, Row{rows[7].Key, 5000 + uint64(i), []byte("older")})
	}
	rows = sortRows(rows)
	good := made(t, testHeader, rows, 0)
	if err := probe(t, good, rows); err != nil {
		t.Fatal(err)
	}
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		err := probe(t, bad, rows)
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) && !errors.Is(err, ErrVersion) {
			t.Fatalf("byte %d of %d: %v", at, len(good), err)
		}
	}
	for n := 0; n < len(good); n += 1 + n/50 {
		if err := probe(t, good[:n], rows); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	if err := probe(t, append(bytes.Clone(good), 0), rows); !errors.Is(err, ErrDamaged) {
		t.Fatalf("one byte more: %v", err)
	}
}

// Two pages of the same size, each with its checksum, are exchanged.
func TestExchangedPages(t *testing.T) {
	var rows []Row
	for i := range 5000 {
		rows = append(rows, Row{fmt.Appendf(nil, "key %06d", 1000+i), 200, []byte("0123456789")})
	}
	good := made(t, testHeader, rows, 0)
	r := opened(t, good, testHeader, 0)
	root, err := r.page(r.foot.root, r.foot.height)
	if err != nil || r.foot.height != 1 {
		t.Fatal(r.foot, err)
	}
	bySize := map[int]place{}
	c := cursor{p: root}
	var a, b place
	for i := range root.rows {
		c.to(i)
		b = placeOf(c.value)
		if a = bySize[b.size]; a.size > 0 {
			break
		}
		bySize[b.size] = b
	}
	if a.size != b.size {
		t.Fatal("no two pages of the same size")
	}
	bad := bytes.Clone(good)
	copy(bad[a.off:a.end()], good[b.off:b.end()])
	copy(bad[b.off:b.end()], good[a.off:a.end()])
	if err := probe(t, bad, rows); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
}

func TestOtherPlaces(t *testing.T) {
	good := made(t, testHeader, randomRows(10, 10, 4), 0)
	for name, change := range map[string]func(*Header){
		"vault":  func(h *Header) { h.Vault[0]++ },
		"table":  func(h *Header) { h.Table = "ids" },
		"level":  func(h *Header) { h.Level++ },
		"number": func(h *Header) { h.Number++ },
	} {
		h := testHeader
		change(&h)
		if _, err := Open(memory(good), "f", h, 0, NewCache(0)); !errors.Is(err, ErrForeign) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	for _, v := range []string{"0", "2", "10", "18446744073709551615"} {
		next := bytes.Replace(good, []byte("index 1 "), []byte("index "+v+" "), 1)
		if _, err := Open(memory(next), "f", testHeader, 0, NewCache(0)); !errors.Is(err, ErrVersion) || errors.Is(err, ErrDamaged) {
			t.Errorf("version %s: %v", v, err)
		}
	}
	// A page of another file at the same offset.
	h := testHeader
	h.Number = 4
	other := made(t, h, randomRows(10, 10, 4), 0)
	bad := append(bytes.Clone(good[:r0(good)]), other[r0(other):]...)
	if _, err := Open(memory(bad), "f", testHeader, 0, NewCache(0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("pages of another file: %v", err)
	}
}

func r0(data []byte) int { return bytes.IndexByte(data, '\n') + 1 }

func TestWriterRefuses(t *testing.T) {
	k := []byte("k")
	for name, rows := range map[string][]Row{
		"no key":      {{nil, 200, nil}},
		"long key":    {{make([]byte, MaxKey+1), 200, nil}},
		"long value":  {{k, 200, make([]byte, MaxValue+1)}},
		"early":       {{k, 99, nil}},
		"late":        {{k, 1 << 40, nil}},
		"twice":       {{k, 200, nil}, {k, 200, nil}},
		"rising seq":  {{k, 200, nil}, {k, 201, nil}},
		"falling key": {{[]byte("l"), 200, nil}, {k, 200, nil}},
		"many":        {{k, 200, nil}, {[]byte("l"), 200, nil}, {[]byte("m"), 200, nil}},
	} {
		if _, err := Write(io.Discard, testHeader, Summary{}, Filter{Keys: 2}, rowsOf(rows)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	broken := errors.New("broken")
	fails := func() iter.Seq2[Row, error] {
		return func(yield func(Row, error) bool) { yield(Row{}, broken) }
	}
	if _, err := Write(io.Discard, testHeader, Summary{}, Filter{Keys: 2}, fails); !errors.Is(err, broken) {
		t.Errorf("rows that fail: %v", err)
	}
}

func TestLongRows(t *testing.T) {
	var rows []Row
	for i := range 40 {
		key := append(bytes.Repeat([]byte{7}, MaxKey-8), binary.BigEndian.AppendUint64(nil, uint64(i))...)
		rows = append(rows, Row{key, 300, make([]byte, MaxValue)}, Row{key, 0, nil})
	}
	data := made(t, testHeader, rows, 0)
	if err := probe(t, data, rows); err != nil {
		t.Fatal(err)
	}
}

func TestCacheBound(t *testing.T) {
	rows := randomRows(30_000, 20, 5)
	data := made(t, testHeader, rows, 0)
	c := NewCache(256 << 10)
	r, err := Open(memory(data), "f", testHeader, 0, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if _, ok, err := r.Floor(row.Key, row.Seq); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	const page = 4 << 10
	if held := c.pages.Len(); held < 30 || held*page > 256<<10 {
		t.Fatalf("%d pages are held, in 256 KiB", held)
	}
}

// TestFiltersKept: Readers keep pages of filters up to a quarter of the cache's bound, and
// give all of it back when they are released. What is not kept is found as well.
func TestFiltersKept(t *testing.T) {
	rows := randomRows(60_000, 20, 5)
	data := made(t, testHeader, rows, 0)
	c := NewCache(96 << 10)
	var readers []*Reader
	for range 3 {
		r, err := Open(memory(data), "f", testHeader, 0, c)
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for _, row := range rows {
					if may, err := r.May(HashOf(row.Key)); err != nil || !may {
						t.Errorf("key %x: %v, %v", row.Key, may, err)
						return
					}
				}
			})
		}
		all.Wait()
		if got := c.filters.Load(); got > c.most || got < c.most/2 {
			t.Fatalf("%d bytes of filters are kept, of at most %d", got, c.most)
		}
	}
	for _, r := range readers {
		r.Release()
	}
	if got := c.filters.Load(); got != 0 {
		t.Errorf("%d bytes are left of readers that were released", got)
	}
}
