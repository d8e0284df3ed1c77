package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"graven/internal/fsx"
	"graven/internal/index"
	"graven/record"
)

// TestReadThroughDamage damages files of the index under an open vault, a byte at a
// time: every answer is what it was, and the file is what it was when one was needed
// from the damaged page.
func TestReadThroughDamage(t *testing.T) {
	mem := fsx.NewMem()
	derivedStory(t, mem)
	_, v := openMain(t, mem.Clone(), Options{ReadOnly: true})
	want := saysOf(t, v)
	step := 91
	if testing.Short() {
		step = 401
	}
	mended, flips := 0, 0
	for _, file := range filesBelow(t, mem, "vaults/main/index") {
		content := readAll(mem, file)
		for off := flips % step; off < len(content); off += step {
			flips++
			disk := mem.Clone()
			store, v := openMain(t, disk, scriptOptions())
			overwrite(t, disk, file, int64(off), []byte{content[off] ^ 1<<(off%8)})
			if got := saysOf(t, v); !slices.Equal(got, want) {
				t.Errorf("%s, byte %d: it says\n%v\nwanted\n%v", file, off, got, want)
			}
			if bytes.Equal(readAll(disk, file), content) {
				mended++
			}
			if len(v.condemned.files) > 0 {
				t.Errorf("%s, byte %d: condemned are %v", file, off, v.condemned.files)
			}
			if left := filesBelow(t, disk, "vaults/main/tmp"); len(left) > 0 {
				t.Errorf("%s: left behind: %v", file, left)
			}
			if err := store.Close(); err != nil {
				t.Errorf("%s, byte %d: %v", file, off, err)
			}
		}
	}
	t.Logf("%d flips, of which %d were met and mended", flips, mended)
	if mended < 5 {
		t.Errorf("only %d of %d flips were mended", mended, flips)
	}
}

// TestScrubMendsTheIndex lets a scrubber find each damaged file of the index, two at a
// time: both have their bytes again.
func TestScrubMendsTheIndex(t *testing.T) {
	mem := fsx.NewMem()
	derivedStory(t, mem)
	files := filesBelow(t, mem, "vaults/main/index")
	for i, file := range files {
		disk := mem.Clone()
		store, v := openScrubbed(t, disk, newScriptClock(), scriptOptions())
		both := []string{file, files[(i*7+3)%len(files)]}
		for _, f := range both {
			content := readAll(disk, f)
			if strings.HasSuffix(f, "3.seg") && f == file {
				if err := disk.Remove(f); err != nil {
					t.Fatal(err)
				}
				continue
			}
			overwrite(t, disk, f, int64(len(content)/2), []byte{content[len(content)/2] ^ 4})
		}
		found := scrubOnce(t, v)
		for _, f := range both {
			if !bytes.Equal(readAll(disk, f), readAll(mem, f)) {
				t.Errorf("%v: %s is not what it was: %v", both, f, found)
			}
		}
		if i := slices.IndexFunc(found, func(f Finding) bool { return !f.Mended }); i >= 0 {
			t.Errorf("%v: not mended: %v", both, found[i])
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if r := checkAll(t, disk, false); len(r.Findings) > 0 {
			t.Errorf("%v: check finds %v", both, r.Findings)
		}
	}
}

// TestMendUnderWrites writes and reads in a vault of its own goroutines while files of
// its index rot: nobody sees an error.
func TestMendUnderWrites(t *testing.T) {
	mem := fsx.NewMem()
	derivedStory(t, mem)
	o := scriptOptions()
	o.scripted = false
	store, v := openMain(t, mem, o)
	var wg sync.WaitGroup
	for g := range 2 {
		wg.Go(func() {
			for i := range 40 {
				if _, err := v.Commit(context.Background(), put(fmt.Sprintf("k%02d", i%23), fmt.Sprint("new ", g, " ", i))); err != nil {
					t.Error(err)
				}
				if e, err := v.View().Get([]byte(fmt.Sprintf("only%d", (i*g)%80))); err != nil || e.N != 1 {
					t.Error(e, err)
				}
			}
		})
	}
	for _, file := range filesBelow(t, mem, "vaults/main/index/keys") {
		content := readAll(mem, file)
		if f, err := mem.Open(file, fsx.ReadWrite); err == nil { // it may be merged by now
			_, _ = f.WriteAt([]byte{content[len(content)/3] ^ 8}, int64(len(content)/3))
			_ = f.Close()
		}
	}
	wg.Wait()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if r := checkAll(t, mem, false); r.Damaged() {
		t.Error(r.Findings)
	}
}

// TestOpenThroughDamage opens a vault, one file of whose index or state is damaged: it
// says what it said, and readers say the same or that derived data is damaged.
func TestOpenThroughDamage(t *testing.T) {
	mem := fsx.NewMem()
	derivedStory(t, mem)
	_, v := openMain(t, mem.Clone(), Options{ReadOnly: true})
	want := fmt.Sprint(v.View().Head(), v.View().state.Root())
	files := filesBelow(t, mem, "vaults/main/index")
	damaged := 0
	for _, folder := range []string{"index", "state"} {
		for _, file := range filesBelow(t, mem, "vaults/main/"+folder) {
			size := int64(len(readAll(mem, file)))
			for _, off := range []int64{size / 11, size / 3, size / 2, size - 40} {
				disk := mem.Clone()
				hurtAt(t, disk, file, off)
				_, v := openMain(t, disk.Clone(), readingOptions())
				if got := fmt.Sprint(v.View().Head(), v.View().state.Root()); got != want {
					t.Errorf("%s, byte %d: a reader says %v, wanted %v", file, off, got, want)
				}
				store, v := openMain(t, disk, scriptOptions())
				if got := fmt.Sprint(v.View().Head(), v.View().state.Root()); got != want {
					t.Errorf("%s, byte %d: it says %v, wanted %v", file, off, got, want)
				}
				if err := store.Close(); err != nil {
					t.Errorf("%s, byte %d: %v", file, off, err)
				}
				if got := filesBelow(t, disk, "vaults/main/index"); !slices.Equal(got, files) {
					t.Errorf("%s, byte %d: the index has %v, wanted %v", file, off, got, files)
				}
				if damaged%10 == 0 && rebuild(t, disk).Damaged() {
					t.Errorf("%s, byte %d: a rebuild leaves damage", file, off)
				}
				damaged++
			}
		}
	}
	if damaged < 40 {
		t.Errorf("only %d damages", damaged)
	}
}

// TestMergeMendsAll damages several of the segments that a merge is about to read.
func TestMergeMendsAll(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	var hurt []string
	for i := 0; len(hurt) < 3; i++ {
		s.group(put(fmt.Sprint("k", i%7), fmt.Sprint(i)))
		if err := s.vault.settle(); err != nil {
			t.Fatal(err)
		}
		if files := filesBelow(t, mem, "vaults/main/index/keys"); len(files) == 15 {
			for _, f := range files[3:6] {
				hurtAt(t, mem, f, 70)
				hurt = append(hurt, f)
			}
		}
	}
	for i := 0; len(filesBelow(t, mem, "vaults/main/index/keys")) > 14; i++ {
		s.group(put(fmt.Sprint("k", i%7), fmt.Sprint("more", i)))
		if err := s.vault.settle(); err != nil {
			t.Fatal(err)
		}
		if i > 20 {
			t.Fatalf("no merge with %v damaged", hurt)
		}
	}
	if len(s.vault.condemned.files) > 0 {
		t.Errorf("condemned are %v", s.vault.condemned.files)
	}
	s.close()
	if r := checkAll(t, mem, false); len(r.Findings) > 0 {
		t.Error(r.Findings)
	}
}

// TestMendNeedsTruth damages a segment and the log below it: reads that need both are
// refused as damaged, nothing is made from what rotted, and the rest goes on.
func TestMendNeedsTruth(t *testing.T) {
	mem := fsx.NewMem()
	derivedStory(t, mem)
	store, v := openMain(t, mem, scriptOptions())
	file := "vaults/main/index/keys/1-00000000.seg" // it begins where the log does
	content := readAll(mem, file)
	overwrite(t, mem, file, 300, []byte{content[300] ^ 1})
	log := "vaults/main/log/log-0000000000000000.jsonl"
	overwrite(t, mem, log, 3000, []byte{readAll(mem, log)[3000] ^ 1})
	errs := 0
	for i := range 80 {
		for _, err := range v.View().History([]byte(fmt.Sprintf("only%d", i))) {
			if err != nil {
				errs++
				if !errors.Is(err, ErrDamaged) {
					t.Errorf("only%d: %v", i, err)
				}
			}
		}
	}
	if errs == 0 || errs == 80 {
		t.Errorf("%d of 80 keys cannot be read", errs)
	}
	if bytes.Equal(readAll(mem, file), content) {
		t.Error("a segment was made from a rotten log")
	}
	_ = store.Close()
}

// TestReaderWithoutIndex damages every page of keys and of places of records under a
// reader: the newest version of a key is found and proven all the same, and what is
// refused says what makes the index again.
func TestReaderWithoutIndex(t *testing.T) {
	mem := fsx.NewMem()
	derivedStory(t, mem)
	_, v := openMain(t, mem.Clone(), Options{ReadOnly: true})
	var want []Entry
	for e, err := range v.View().List(Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		e.Key = bytes.Clone(e.Key)
		want = append(want, e)
	}
	_, v = openMain(t, mem, Options{ReadOnly: true})
	for _, file := range filesBelow(t, mem, "vaults/main/index") {
		if content := readAll(mem, file); strings.Contains(file, "/keys/") || strings.Contains(file, "/log/") {
			for off := 100; off < len(content)-80; off += 8 {
				overwrite(t, mem, file, int64(off), []byte{content[off] ^ 1})
			}
		}
	}
	w := v.View()
	for _, e := range want {
		if got, err := w.Get(e.Key); err != nil || got.Seq != e.Seq || got.N != e.N || got.Value != e.Value {
			t.Errorf("%q: %+v %v, wanted %+v", e.Key, got, err, e)
		}
		if _, err := w.ProveKey(e.Key); err != nil {
			t.Errorf("%q: %v", e.Key, err)
		}
	}
	if _, err := w.Get([]byte("nobody")); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	refused := false
	for _, err := range w.History([]byte("k01")) {
		refused = refused || errors.Is(err, ErrDamaged) && strings.Contains(err.Error(), "graven rebuild")
	}
	if !refused || len(want) < 50 {
		t.Errorf("a history was made of damaged pages, or there are too few keys: %d", len(want))
	}
}

// TestDamagedStateRefuses damages every page of the state under a writer: what needs
// one is refused with the way out, nothing is poisoned, and the next open is whole.
func TestDamagedStateRefuses(t *testing.T) {
	mem := fsx.NewMem()
	derivedStory(t, mem)
	store, v := openMain(t, mem, scriptOptions())
	for _, file := range filesBelow(t, mem, "vaults/main/state") {
		content := readAll(mem, file)
		for off := 60; off < len(content)-400; off += 16 {
			overwrite(t, mem, file, int64(off), []byte{content[off] ^ 1})
		}
	}
	for range 2 {
		if _, err := commitGroup(v, put("k01", "new")); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "builds the state again") {
			t.Fatalf("got %v", err)
		}
	}
	if st := v.Status(); !st.Writable {
		t.Errorf("it is poisoned: %s", st.Why)
	}
	if _, err := v.View().Get([]byte("k01")); err != nil {
		t.Errorf("a read that needs no page: %v", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store, v = openMain(t, mem, scriptOptions())
	if _, err := commitGroup(v, put("k01", "new")); err != nil {
		t.Error(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// forge puts a segment with right checksums into the index of a vault that has none: it
// says that a run ends where the log does, and leaves out versions as it is told.
func forge(t *testing.T, s *script, leaveOut func(key string, v index.Version) bool) {
	t.Helper()
	v := s.vault
	x, _, err := index.Open(v.dir.Sub("index"), v.genesis.Vault, index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &endedRun{to: v.tip.next, txs: v.recent.transactions(), end: v.blocks.Mark()}
	for e, err := range v.View().List(Query{Deleted: true}) {
		if err != nil {
			t.Fatal(err)
		}
		var list []index.Version
		for ver, err := range v.index.History(userKey(e.Key), v.tip.next) {
			if err != nil {
				t.Fatal(err)
			}
			if !leaveOut(string(e.Key), ver) {
				list = append(list, ver)
			}
		}
		for _, ver := range slices.Backward(list) {
			if err := x.Add(userKey(e.Key), ver); err != nil {
				t.Fatal(err)
			}
			r.versions++
		}
	}
	rows, err := v.rowsOf(r)
	if err == nil {
		_, err = x.Seal(rows)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.close()
}

// TestForgedSegment puts a segment with right checksums and wrong versions under a vault:
// nothing is signed on what it says, and a check names it and makes the index again.
func TestForgedSegment(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, nil)
	s.group(put("price", "1"), put("hidden", "1"), put("kept", "1"))
	s.group(put("price", "2"), put("gone", "1"))
	s.group(del("gone"))
	forge(t, s, func(key string, v index.Version) bool {
		return key == "hidden" || (key == "price" || key == "gone") && v.N == 2
	})
	absent := func(key string) *Tx {
		tx := &Tx{Actor: "script"}
		tx.Put([]byte(key), Bytes([]byte("new")), PutOptions{If: &record.Cond{Kind: record.Absent}})
		return tx
	}
	for name, tx := range map[string]*Tx{"hidden": absent("hidden"), "price": put("price", "3"), "gone": put("gone", "2"), "delete": del("hidden")} {
		disk := mem.Clone()
		store, v := openMain(t, disk, scriptOptions())
		if _, err := commitGroup(v, put("kept", "2"), put("fresh", "1")); err != nil {
			t.Errorf("%s: what the segment has right: %v", name, err)
		}
		if _, err := commitGroup(v, tx); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "index/keys/0-00000000.seg") {
			t.Errorf("%s: a write on forged versions: %v", name, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		store, v = openMain(t, disk, scriptOptions()) // makes it again
		if e, err := v.View().Get([]byte("price")); err != nil || e.N != 2 {
			t.Errorf("%s: price after the next open: %v, %v", name, e, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if r := checkAll(t, disk, false); len(r.Findings) > 0 {
			t.Errorf("%s: %v", name, r.Findings)
		}
	}
	if r := checkAll(t, mem.Clone(), true); len(r.Findings) != 1 || r.Findings[0].File != "index/keys/0-00000000.seg" {
		t.Errorf("a check that changes nothing: %v", r.Findings)
	}
	if r := checkAll(t, mem, false); r.Damaged() || len(r.Findings) == 0 || r.Findings[0].File != "index/keys/0-00000000.seg" {
		t.Errorf("a check: %v", r.Findings)
	}
	if r := checkAll(t, mem, false); len(r.Findings) > 0 {
		t.Errorf("another check: %v", r.Findings)
	}
}
