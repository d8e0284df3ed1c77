package state

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// shelf is files of pages in memory. It is a Source, and a PageWriter into its
// newest file.
type shelf struct {
	mu    sync.Mutex
	files [][]byte
	fail  error // of every read
	reads int
}

func (s *shelf) ReadPage(r Ref, buf []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.fail != nil {
		return nil, s.fail
	}
	if i := int(r.File) - 1; i >= 0 && i < len(s.files) && r.Off+uint64(r.Len) <= uint64(len(s.files[i])) {
		return append(buf[:0], s.files[i][r.Off:][:r.Len]...), nil
	}
	return nil, errors.New("no such page")
}

func (s *shelf) WritePage(payload []byte) (Ref, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.files) - 1
	ref := Ref{File: uint32(last) + 1, Off: uint64(len(s.files[last])), Len: uint32(len(payload))}
	s.files[last] = append(s.files[last], payload...)
	return ref, nil
}

// write writes m into a new file and opens it there.
func (s *shelf) write(t fatal, m Map, below uint32, cache *Cache) Map {
	t.Helper()
	return s.writeAgain(t, m, Again{Below: below, From: NoFile}, cache)
}

func (s *shelf) writeAgain(t fatal, m Map, again Again, cache *Cache) Map {
	t.Helper()
	next, _ := s.ground(t, m, again, cache)
	return next
}

// ground is writeAgain, and what takes other maps there.
func (s *shelf) ground(t fatal, m Map, again Again, cache *Cache) (Map, *Moves) {
	t.Helper()
	s.files = append(s.files, nil)
	root, moves, err := m.Write(s, again)
	if err != nil {
		t.Fatalf("Write: %v", err)
	}
	if got, ok := root.Oldest(); ok && got < min(again.Below, uint32(len(s.files))) {
		t.Fatalf("file %d is in use after all below %d were evacuated", got, again.Below)
	}
	next, err := Open(root, s, cache)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if next.Root() != m.Root() || next.Len() != m.Len() || next.Live() != m.Live() || next.Weight() != 0 {
		t.Fatalf("the map on pages is not the one that was written")
	}
	return next, moves
}

// verify fails if VerifyPages finds anything.
func verify(t fatal, m Map) {
	t.Helper()
	if err := m.VerifyPages(context.Background(), func(r Ref, err error) { t.Fatalf("%v: %v", r, err) }); err != nil {
		t.Fatalf("%v", err)
	}
}

// TestPagedMapAgainstModel holds a map that is written, opened and evacuated at
// any time against one that is never written.
func TestPagedMapAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var plain, paged, ground Map
		var moves *Moves // of a set that was written while others went on
		var of Again     // of that set
		var newest uint32
		files, cache, truth := &shelf{}, NewCache(1<<14), model{}
		seq := uint64(0)
		rebase := func() {
			if moves == nil {
				return
			}
			before := paged.Puts() - moves.puts
			paged = moves.Rebase(paged, ground)
			if paged.Puts() != before || paged.Weight() < 0 || (before == 0) != (paged.Weight() == 0) {
				t.Fatalf("%d puts that weigh %d, wanted %d", paged.Puts(), paged.Weight(), before)
			}
			if held := heldInAll(paged); held > paged.Weight()+4096 {
				t.Fatalf("the map holds %d bytes, its weight is %d", held, paged.Weight())
			}
			for s := range stubsIn(paged) {
				if s.File < of.Below || s.File >= of.From && s.File < newest {
					t.Fatalf("the map stands on a page of file %d; files below %d and from %d on were evacuated to %d", s.File, of.Below, of.From, newest)
				}
			}
			moves = nil
		}
		for range rapid.IntRange(1, 12).Draw(t, "groups") {
			e, f := plain.Edit(), paged.Edit()
			for range rapid.IntRange(0, 40).Draw(t, "ops") {
				seq++
				l := truth.write(anyKey().Draw(t, "stored"), seq, rapid.IntRange(0, 3).Draw(t, "kind") > 0)
				if err := errors.Join(e.Put(l), f.Put(l)); err != nil {
					t.Fatalf("Put: %v", err)
				}
				if got, ok := sure2(f.Get(l.Key)); !ok || !equal(got, l) {
					t.Fatalf("Edit.Get: %v", got)
				}
			}
			plain, paged = e.Map(), f.Map()
			number := rapid.Uint32Range(0, uint32(len(files.files))+1)
			again := func() Again {
				return Again{Below: number.Draw(t, "below"), Along: number.Draw(t, "along"), From: number.Draw(t, "from")}
			}
			switch rapid.IntRange(0, 5).Draw(t, "then") {
			case 0:
				rebase()
				paged = files.writeAgain(t, paged, again(), cache)
			case 1:
				rebase()
				paged = files.write(t, paged, 0, cache)
			case 2:
				rebase()
				of = again()
				ground, moves = files.ground(t, paged, of, cache)
				newest = uint32(len(files.files))
			case 3:
				if moves != nil { // the first of two times
					sameAnswers(t, plain, moves.Rebase(paged, ground), anyKey().Draw(t, "key"), anyKey().Draw(t, "to"))
				}
			case 4:
				rebase()
			}
			sameAnswers(t, plain, paged, anyKey().Draw(t, "key"), anyKey().Draw(t, "to"))
			verify(t, paged)
		}
		checkMap(t, paged)
		compare(t, paged, truth)
	})
}

// sameAnswers compares all that two maps say.
func sameAnswers(t fatal, a, b Map, key, to []byte) {
	t.Helper()
	if a.Root() != b.Root() || a.Len() != b.Len() || !slices.Equal(a.Spaces(), b.Spaces()) {
		t.Fatalf("root %v of %d keys, wanted %v of %d", b.Root(), b.Len(), a.Root(), a.Len())
	}
	if p, q := sure(a.Prove(key)), sure(b.Prove(key)); !reflect.DeepEqual(p, q) {
		t.Fatalf("%x: proof %v, wanted %v", key, q, p)
	}
	for aim := All; aim <= Live; aim++ {
		r := Range{From: key, To: to}
		if p, q := sure(a.ProveRange(r, aim)), sure(b.ProveRange(r, aim)); !reflect.DeepEqual(p, q) {
			t.Fatalf("%x to %x: proof %v, wanted %v", key, to, q, p)
		}
	}
	if n, m := sure(a.LiveRange(key, to)), sure(b.LiveRange(key, to)); n != m {
		t.Fatalf("%x to %x: %d live keys, wanted %d", key, to, m, n)
	}
}

// TestManyPages does the same with trees of several bands, kept in few bytes.
func TestManyPages(t *testing.T) {
	for _, kind := range []string{"sorted", "shuffled", "random"} {
		t.Run(kind, func(t *testing.T) {
			const n = 4000
			keys := keysOf(kind, n)
			r := rand.New(rand.NewPCG(1, uint64(len(kind))))
			files, cache := &shelf{}, NewCache(1<<16)
			var plain, paged Map
			truth := model{}
			old := map[Map]Map{} // paged, plain
			for seq := uint64(1); seq <= 2*n; {
				e, f := plain.Edit(), paged.Edit()
				for range 1 + r.IntN(300) {
					key := keys[r.IntN(min(n, int(seq)))]
					if seq <= n {
						key = keys[seq-1]
					}
					l := truth.write(key, seq, r.IntN(5) > 0)
					if err := errors.Join(e.Put(l), f.Put(l)); err != nil {
						t.Fatal(err)
					}
					if seq++; seq > 2*n {
						break
					}
				}
				plain, paged = e.Map(), f.Map()
				if r.IntN(3) > 0 {
					some := func() uint32 { return uint32(r.IntN(len(files.files) + 1)) }
					paged = files.writeAgain(t, paged, Again{some(), some(), uint32(len(files.files)) + 2 - some()}, cache)
				}
				sameAnswers(t, plain, paged, keys[r.IntN(n)], keys[r.IntN(n)])
				old[paged] = plain
			}
			checkMap(t, paged)
			verify(t, paged)
			for paged, plain := range old {
				sameAnswers(t, plain, paged, keys[r.IntN(n)], keys[r.IntN(n)])
			}
			whole := files.write(t, paged, NoFile, cache)
			verify(t, whole)
			checkMap(t, whole)
			if got := uint64(len(files.files[len(files.files)-1])); whole.v.roots[0].tree.node.(*stub).Bytes != got {
				t.Errorf("%d bytes of pages, wanted all %d of the file", whole.v.roots[0].tree.node.(*stub).Bytes, got)
			}
		})
	}
}

// TestPagesFollowFromTheTree: whatever was written before, the pages of a tree
// have the same content; here, without references, the same number.
func TestPagesFollowFromTheTree(t *testing.T) {
	keys := keysOf("random", 3000)
	plain, files := fill(t, keys, 100), &shelf{}
	var paged Map
	for i := 0; i < len(keys); i += 100 {
		paged = put(t, paged, leavesOf(keys, i, i+100)...)
		paged = files.write(t, paged, 0, NewCache(0))
	}
	one, other := &shelf{}, &shelf{}
	one.write(t, plain, 0, NewCache(0))
	if _, _, err := paged.Write(other.fresh(), Again{Below: NoFile, From: NoFile}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.files[0], other.files[0]) {
		t.Error("the pages of a tree depend on how it was written before")
	}
}

// fresh adds a file.
func (s *shelf) fresh() *shelf {
	s.files = append(s.files, nil)
	return s
}

// leavesOf are the leaves of version 1 that fill puts.
func leavesOf(keys [][]byte, from, to int) (leaves []Leaf) {
	for i := from; i < to; i++ {
		leaves = append(leaves, version1(keys[i], uint64(i)+1))
	}
	return leaves
}

// TestLeavesGoAlong: of the pages of leaves in old files, those go whose neighbours are
// written anyway, and no page above them is written for their sake.
func TestLeavesGoAlong(t *testing.T) {
	keys := keysOf("random", 20_000)
	files, cache := &shelf{}, NewCache(0)
	m := files.write(t, fill(t, keys, 1000), 0, cache)
	l := version1(keys[7], 30_000)
	l.N, l.Created = 2, 8
	written := func(again Again) (leaves, others int) {
		for _, p := range pagesWritten(t, put(t, m, l), again) {
			if p.floor == 0 {
				leaves++
			} else {
				others++
			}
		}
		return leaves, others
	}
	leaves, others := written(Again{From: NoFile})
	if leaves != 1 || others < 2 {
		t.Fatalf("one put: %d pages of leaves and %d others, wanted 1 and some", leaves, others)
	}
	along, same := written(Again{Along: 2, From: NoFile})
	if along < 5 || along > 16 || same != others {
		t.Errorf("with all neighbours: %d pages of leaves and %d others, wanted 5 to 16 and %d", along, same, others)
	}
	if none, same := written(Again{Along: 1, From: NoFile}); none != 1 || same != others {
		t.Errorf("with those in files before the first: %d pages of leaves and %d others, wanted 1 and %d", none, same, others)
	}
}

// pagesWritten returns the pages that Write writes.
func pagesWritten(t *testing.T, m Map, again Again) (pages []*page) {
	t.Helper()
	off := uint64(0)
	_, _, err := m.Write(writerFunc(func(text []byte) (Ref, error) {
		p, err := parsePage(bytes.Clone(text), false)
		pages = append(pages, p)
		ref := Ref{File: 2, Off: off, Len: uint32(len(text))}
		off += uint64(len(text))
		return ref, err
	}), again)
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// TestWriteTouchesOnlyWhatChanged counts pages and reads.
func TestWriteTouchesOnlyWhatChanged(t *testing.T) {
	keys := keysOf("random", 20_000)
	files, cache := &shelf{}, NewCache(0)
	m := files.write(t, fill(t, keys, 1000), 0, cache)
	size := len(files.files[0])
	t.Logf("%d keys of 33 bytes: %.1f bytes a key, height %d", len(keys), float64(size)/float64(len(keys)), m.Spaces()[0].Height)
	if perKey := size / len(keys); perKey < 72 || perKey > 82 {
		t.Errorf("%d bytes a key", perKey)
	}
	if files.reads != 0 {
		t.Errorf("%d reads by Open and Write of a map in memory", files.reads)
	}
	m = files.write(t, m, 0, cache)
	if len(files.files[1]) != 0 || files.reads != 0 {
		t.Errorf("a map without changes: %d bytes written, %d reads", len(files.files[1]), files.reads)
	}
	// What lies in the newest file alone is written again alone.
	for i := range uint64(3) {
		l := version1(keys[7+i], 30_000+i)
		l.N, l.Created = 2, 8+i
		m = files.write(t, put(t, m, l), 0, cache)
	}
	one, three := len(files.files[4]), files.writeAgain(t, m, Again{From: 3}, cache)
	if n := len(files.files[5]); n <= one || n > 3*one {
		t.Errorf("three files of one update, %d bytes each, became one of %d", one, n)
	}
	verify(t, three)
	m, files.reads, cache = three, 0, NewCache(0)
	m.v.pages.cache = cache
	l := version1(keys[7], 40_000)
	l.N, l.Created = 3, 8
	m = put(t, m, l)
	if m.Weight() < 1000 || m.Weight() > 40_000 {
		t.Errorf("weight %d after one update", m.Weight())
	}
	reads := files.reads
	files.write(t, m, 0, cache)
	if n := len(files.files[6]); n == 0 || n > 6000 || files.reads != reads || reads > 5 {
		t.Errorf("one update: %d bytes written, %d reads, then %d", n, reads, files.reads-reads)
	}
}

func TestFailedReads(t *testing.T) {
	keys := keysOf("random", 3000)
	files := &shelf{}
	m := files.write(t, fill(t, keys, 100), 0, NewCache(1))
	broken := errors.New("the disk is gone")
	key := keys[5]
	var ended error
	for name, ask := range map[string]func() error{
		"Get":        func() error { _, _, err := m.Get(key); return err },
		"Prove":      func() error { _, err := m.Prove(key); return err },
		"ProveRange": func() error { _, err := m.ProveRange(Range{From: key}, All); return err },
		"LiveRange":  func() error { _, err := m.LiveRange(key, nil); return err },
		"LivePrefix": func() error { _, err := m.LivePrefix(key[:3]); return err },
		"Ascend": func() error {
			for _, err := range m.Ascend(key) {
				ended = err
			}
			return ended
		},
		"Descend": func() error {
			for _, err := range m.Descend(key) {
				ended = err
			}
			return ended
		},
		"Edit.Get": func() error { _, _, err := m.Edit().Get(key); return err },
		"Write":    func() error { _, _, err := m.Write(new(shelf).fresh(), Again{Below: 9, From: NoFile}); return err },
		"VerifyPages": func() (found error) {
			err := m.VerifyPages(context.Background(), func(_ Ref, err error) { found = err })
			return errors.Join(err, found)
		},
	} {
		m.v.pages.cache = NewCache(1)
		files.fail, ended = broken, nil
		if err := ask(); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		files.fail, ended = nil, nil
		if err := ask(); err != nil {
			t.Errorf("%s of a sound disk: %v", name, err)
		}
	}
	for after := range 6 { // reads that succeed before
		e := m.Edit()
		files.reads = 0
		for i := range 20 {
			files.fail = nil
			l := version1(append([]byte("kzz"), byte(i)), uint64(i+1))
			if i == after {
				m.v.pages.cache = NewCache(1)
				e.pages = m.v.pages
				files.fail = broken
				if err := e.Put(version1(keys[i*7], 9999)); !errors.Is(err, broken) {
					t.Fatalf("Put: %v", err)
				}
				files.fail = nil
			}
			if err := e.Put(l); err != nil {
				t.Fatal(err)
			}
		}
		want := m.Edit()
		for i := range 20 {
			if err := want.Put(version1(append([]byte("kzz"), byte(i)), uint64(i+1))); err != nil {
				t.Fatal(err)
			}
		}
		if e.Map().Root() != want.Map().Root() || e.Map().Len() != want.Map().Len() {
			t.Errorf("a failed Put left a trace")
		}
	}
}

// TestForeignPage: a page that its parent does not know is refused.
func TestForeignPage(t *testing.T) {
	keys := keysOf("random", 300)
	files := &shelf{}
	m := files.write(t, fill(t, keys, 100), 0, NewCache(0))
	other := files.write(t, fill(t, keys[:299], 100), 0, NewCache(0))
	exchanged := *m.v
	exchanged.roots = slices.Clone(exchanged.roots)
	exchanged.roots[0].tree.node = other.v.roots[0].tree.node
	if _, _, err := (Map{&exchanged}).Get(keys[0]); !errors.Is(err, ErrPage) {
		t.Errorf("a page of another tree: %v", err)
	}
	files.files[0][0]++
	m.v.pages.cache = NewCache(0)
	for r := range m.v.roots {
		m.v.roots[r].tree.node.(*stub).Off = 0
	}
	if _, _, err := m.Get(keys[0]); !errors.Is(err, ErrPage) || !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("a page of another version: %v", err)
	}
}

// TestVerifyPagesSeesDamage flips bits of every kind in pages, past the checksum.
func TestVerifyPagesSeesDamage(t *testing.T) {
	keys := keysOf("random", 600)
	files := &shelf{}
	m := files.write(t, fill(t, keys, 100), 0, NewCache(0))
	verify(t, m)
	for at := range files.files[0] {
		if at%23 != 0 {
			continue
		}
		files.files[0][at] ^= 1 << (at % 8)
		seen := false
		if err := m.VerifyPages(context.Background(), func(Ref, error) { seen = true }); err != nil || !seen {
			t.Fatalf("bit flipped at %d: not seen, %v", at, err)
		}
		files.files[0][at] ^= 1 << (at % 8)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := m.VerifyPages(ctx, func(Ref, error) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	files := (&shelf{}).fresh()
	m := put(t, fill(t, keysOf("sorted", 100), 10), version1([]byte("zz"), 1))
	good, _, err := m.Write(files, Again{From: NoFile})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(good, files, nil); err != nil {
		t.Fatal(err)
	}
	for name, hurt := range map[string]func(*Root){
		"root":    func(r *Root) { r.Root[0] ^= 1 },
		"hash":    func(r *Root) { r.Spaces[0].Hash[3] ^= 1 },
		"live":    func(r *Root) { r.Spaces[0].Live++ },
		"height":  func(r *Root) { r.Spaces[0].Height++ },
		"high":    func(r *Root) { r.Spaces[0].Height = MaxHeight + 1 },
		"many":    func(r *Root) { r.Spaces[0].Live = 1 << 56; r.Spaces[0].Height = 60 },
		"missing": func(r *Root) { r.Spaces = r.Spaces[1:] },
		"order":   func(r *Root) { slices.Reverse(r.Spaces) },
		"twice":   func(r *Root) { r.Spaces[1] = r.Spaces[0] },
		"length":  func(r *Root) { r.Spaces[0].Len = 0 },
		"longer":  func(r *Root) { r.Spaces[0].Len, r.Spaces[0].Bytes = MaxPage+1, MaxPage+1 },
		"oldest":  func(r *Root) { r.Spaces[0].Oldest = 2 },
		"bytes":   func(r *Root) { r.Spaces[0].Bytes = 3 },
	} {
		bad := good
		bad.Spaces = slices.Clone(good.Spaces)
		hurt(&bad)
		if _, err := Open(bad, files, nil); !errors.Is(err, ErrPage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	empty, err := Open(Root{Root: Map{}.Root()}, files, nil)
	if err != nil || empty.Source() != Source(files) || (Map{}).Source() != nil {
		t.Errorf("the empty map on pages: %v", err)
	}
	if next := put(t, empty, version1([]byte("ka"), 1)); next.Source() != Source(files) || next.Len() != 1 {
		t.Error("a map made from the empty one lost its source")
	}
}

// pagesOf returns the pages of some maps.
func pagesOf(t testing.TB) (pages [][]byte) {
	w := writerFunc(func(p []byte) (Ref, error) {
		pages = append(pages, bytes.Clone(p))
		return Ref{File: uint32(len(pages)), Off: uint64(len(pages) * 1000), Len: uint32(len(p))}, nil
	})
	for _, kind := range []string{"sorted", "random"} {
		m := fill(t, keysOf(kind, 700), 50)
		l := version1(keysOf(kind, 700)[3], 9000)
		l.N, l.Created, l.Live = 3, 4, false
		if _, _, err := put(t, m, l, version1([]byte("za"), 1), version1([]byte("zab"), 2), version1([]byte("y\xff"), 3)).Write(w, Again{From: NoFile}); err != nil {
			t.Fatalf("%v", err)
		}
	}
	return pages
}

// parsePage is page.parse into a new page.
func parsePage(data []byte, hashes bool) (*page, error) {
	p := new(page)
	if err := p.parse(data, hashes); err != nil {
		return nil, err
	}
	return p, nil
}

type writerFunc func([]byte) (Ref, error)

func (w writerFunc) WritePage(p []byte) (Ref, error) { return w(p) }

// again encodes a parsed page, as it is and unpacked.
func again(p *page) []byte {
	w := mapWriter{again: Again{From: NoFile}, moves: newMoves(Map{})}
	height := p.spots[0].height
	packed, nodes := new(pageText), new(pageText)
	packed.begin(height)
	nodes.begin(height)
	c := child{node: p, hash: p.sum(0).hash, meta: p.sum(0).live<<liveShift | uint64(height)}
	unpack(&c)
	if err := errors.Join(w.copy(packed, p, 0), w.part(nodes, &c)); err != nil {
		panic(err)
	}
	got := packed.finish()
	if !bytes.Equal(got, nodes.finish()) {
		panic("a page is not written as its nodes are")
	}
	return got
}

// unpack unpacks all that is in memory.
func unpack(c *child) {
	if _, _, away := c.place(); away {
		return
	}
	c.node = c.opened(&room{keys: new(keyRoom)})
	if n, ok := c.node.(*inner); ok {
		unpack(&n.left)
		unpack(&n.right)
	}
}

func FuzzPage(f *testing.F) {
	for i, p := range pagesOf(f) {
		if i%9 == 0 {
			f.Add(p)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePage(data, true)
		if err != nil {
			if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrLeaf) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if got := again(p); !bytes.Equal(got, data) {
			t.Fatalf("%x parses, and encodes to %x", data, got)
		}
	})
}

// TestPageCodec takes every page, every cut of it and every flipped bit.
func TestPageCodec(t *testing.T) {
	all := pagesOf(t)
	accepted := 0
	for i, data := range all {
		p, err := parsePage(data, true)
		if err != nil || !bytes.Equal(again(p), data) {
			t.Fatalf("page %d: %v", i, err)
		}
		if i%17 != 0 {
			continue
		}
		for n := range data {
			if _, err := parsePage(data[:n], true); err == nil {
				t.Fatalf("page %d: %d of %d bytes are accepted", i, n, len(data))
			}
		}
		if _, err := parsePage(append(bytes.Clone(data), 0), true); err == nil {
			t.Fatalf("page %d: a byte more is accepted", i)
		}
		for bit := range 8 * len(data) {
			bad := bytes.Clone(data)
			bad[bit/8] ^= 1 << (bit % 8)
			if p, err := parsePage(bad, true); err == nil {
				accepted++
				if !bytes.Equal(again(p), bad) {
					t.Fatalf("page %d, bit %d: encodes to something else", i, bit)
				}
			}
		}
	}
	if accepted == 0 {
		t.Error("no flipped bit was accepted: hashes are not checked here")
	}
}

// TestPageBytes holds the encoding of small pages against text written by hand.
func TestPageBytes(t *testing.T) {
	leaf := func(key string, seq, n, created uint64, live bool) Leaf {
		l := Leaf{Key: []byte(key), Seq: seq, N: n, Created: created, Live: live}
		for i := range l.Digest {
			l.Digest[i] = 0xDD
		}
		return l
	}
	digest := strings.Repeat("dd", 32)
	ka, kab, kb := leaf("ka", 300, 2, 7, false), leaf("kab", 2, 1, 2, true), leaf("kb", 3, 1, 3, true)
	for name, c := range map[string]struct {
		leaves []Leaf
		want   string
	}{
		"a leaf": {[]Leaf{leaf("ka", 5, 1, 5, true)}, "02 00  02 6b61 00 " + digest + " 05 03"},
		"a pair": {
			[]Leaf{ka, kab},
			"02 01  02 6b61 00 01 62 " + digest + " ac02 04 a502 " + digest + " 02 03",
		},
		"three leaves": {
			[]Leaf{ka, kab, kb},
			"02 02 01  01 6b 01 61 02 6162 01 62" + digest + " ac02 04 a502" + digest + " 02 03" + digest + " 03 03",
		},
	} {
		var got string
		_, _, err := put(t, Map{}, c.leaves...).Write(writerFunc(func(p []byte) (Ref, error) {
			got = hex.EncodeToString(p)
			return Ref{}, nil
		}), Again{From: NoFile})
		if want := strings.ReplaceAll(c.want, " ", ""); err != nil || got != want {
			t.Errorf("%s: %v\ngot    %s\nwanted %s", name, err, got, want)
		}
	}
}

// TestFlippedBitsInPages: who reads past a page that is not the one that was written
// hears of it, whatever its checksum says.
func TestFlippedBitsInPages(t *testing.T) {
	keys := keysOf("random", 60)
	files := &shelf{}
	good := slices.Collect(leavesIn(t, files.write(t, fill(t, keys, 20), 0, nil)))
	text := files.files[0]
	root, _, err := fill(t, keys, 20).Write((&shelf{}).fresh(), Again{From: NoFile})
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for bit := range len(text) * 8 {
		bad := bytes.Clone(text)
		bad[bit/8] ^= 1 << (bit % 8)
		m, err := Open(root, &shelf{files: [][]byte{bad}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []Leaf
		for l, e := range m.Ascend(nil) {
			if err = e; err == nil {
				got = append(got, l)
			}
		}
		if err != nil {
			refused++
		} else if !slices.EqualFunc(got, good, equal) {
			t.Fatalf("bit %d of %d: other leaves, and no error", bit, len(text)*8)
		}
	}
	t.Logf("%d of %d flipped bits were refused", refused, len(text)*8)
	if refused < len(text)*8*9/10 { // the rest says how old and how large what lies below is
		t.Errorf("only %d of %d flipped bits were refused", refused, len(text)*8)
	}
}

// leavesIn yields the leaves of a map.
func leavesIn(t fatal, m Map) iter.Seq[Leaf] {
	return func(yield func(Leaf) bool) {
		for l, err := range m.Ascend(nil) {
			if err != nil {
				t.Fatalf("Ascend: %v", err)
			}
			if !yield(l) {
				return
			}
		}
	}
}

// TestWriteBesideEdits: the race detector sees what the roots cannot.
func TestWriteBesideEdits(t *testing.T) {
	keys := keysOf("shuffled", 3000)
	files, cache := &shelf{}, NewCache(1<<16)
	m := files.write(t, fill(t, keys[:1000], 100), 0, cache)
	m = put(t, m, leavesOf(keys, 1000, 1500)...)
	var wg sync.WaitGroup
	out := (&shelf{files: slices.Clone(files.files)}).fresh()
	var root Root
	wg.Go(func() {
		var err error
		if root, _, err = m.Write(out, Again{Below: 2, From: NoFile}); err != nil {
			t.Error(err)
		}
	})
	next := m
	for i := 1500; i < 3000; i += 100 {
		next = put(t, next, leavesOf(keys, i, i+100)...)
	}
	wg.Wait()
	moved, err := Open(root, out, NewCache(0))
	if err != nil {
		t.Fatal(err)
	}
	moved = put(t, moved, leavesOf(keys, 1500, 3000)...)
	if moved.Root() != next.Root() || next.Root() != fill(t, keys, 100).Root() {
		t.Error("the puts beside Write lead elsewhere on what it wrote")
	}
}

// TestOlderMoves writes nodes into two sets, in other places each, and lets a newer map go over to the
// first one afterwards: it stands on that, and on nothing of the second.
func TestOlderMoves(t *testing.T) {
	keys := keysOf("random", 4000)
	files, cache := &shelf{}, NewCache(1<<16)
	m := put(t, files.write(t, fill(t, keys[:3000], 100), 0, cache), leavesOf(keys, 3000, 3400)...)
	first, moves := files.ground(t, m, Again{Along: 2, From: NoFile}, cache)
	last := uint32(len(files.files))
	later := put(t, m, leavesOf(keys, 3400, 3450)...)
	second, others := files.ground(t, later, Again{From: NoFile}, cache)
	newer := put(t, later, leavesOf(keys, 3450, 4000)...)
	for _, c := range []struct {
		moves  *Moves
		ground Map
		last   uint32
		puts   int
	}{{moves, first, last, 600}, {others, second, last + 1, 550}} {
		got := c.moves.Rebase(newer, c.ground)
		if got.Root() != newer.Root() || got.Len() != newer.Len() || got.Puts() != c.puts {
			t.Fatalf("it is another map: %d keys, %d puts", got.Len(), got.Puts())
		}
		for s := range stubsIn(got) {
			if s.File > c.last {
				t.Fatalf("it stands on file %d, the set on %d", s.File, c.last)
			}
		}
		verify(t, got)
		checkMap(t, put(t, got, version1([]byte("kafter"), 9000)))
		if held := heldInAll(got); held > got.Weight()*21/20 { // a page that several nodes stand on is not counted
			t.Errorf("it holds %d bytes, its weight is %d", held, got.Weight())
		}
	}
}
