package graven

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

// history is a fixed list of transactions of every shape.
func history(n int) []func(s *script) *Tx {
	random := rand.New(rand.NewPCG(7, 7))
	var list []func(s *script) *Tx
	live := map[string]bool{}
	for i := range n {
		key := fmt.Sprint("k", random.IntN(20))
		value := strings.Repeat("v", random.IntN(60)) + fmt.Sprint(i)
		switch {
		case i%17 == 5:
			list = append(list, func(s *script) *Tx {
				return s.stage(key, strings.Repeat(value+"/", 30)+fmt.Sprint(i, strings.Repeat("z", 64)))
			})
			live[key] = true
		case i%11 == 3:
			list = append(list, func(*script) *Tx { return wide(fmt.Sprint("wide", i, "/"), 7) })
		case i%7 == 2 && live[key]:
			list = append(list, func(*script) *Tx { return del(key) })
			live[key] = false
		case i%13 == 4:
			list = append(list, func(*script) *Tx {
				tx := &Tx{Actor: "script"}
				tx.Append(Bytes([]byte(value)), "text/plain")
				return tx
			})
		default:
			list = append(list, func(*script) *Tx { return put(key, value, "n"+fmt.Sprint(i), "same for all") })
			live[key] = true
		}
	}
	return list
}

// play commits a history in groups of the given sizes, settling after each
// settleEvery groups.
func play(t testing.TB, groups func(i int) int, settleEvery int) (*fsx.Mem, *script) {
	t.Helper()
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	list := history(170)
	for i := 0; len(list) > 0; i++ {
		var txs []*Tx
		for _, make := range list[:min(groups(i), len(list))] {
			txs = append(txs, make(s))
		}
		list = list[len(txs):]
		s.group(txs...)
		if i%settleEvery == settleEvery-1 {
			if err := s.vault.settle(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return mem, s
}

func truth(t testing.TB, d fsx.Disk) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, folder := range []string{"log", "blocks", "tile"} {
		if _, err := d.Stat("vaults/main/" + folder); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for _, name := range walk(t, d, "vaults/main/"+folder) {
			files[strings.TrimPrefix(name, "vaults/main/")] = string(readAll(d, name))
		}
	}
	return files
}

// TestSameLogSameBytes plays one history twice with the same borders: log,
// blocks and tiles have the same bytes, also across a restart in the middle.
func TestSameLogSameBytes(t *testing.T) {
	one := func(i int) int { return 1 + i%4 }
	memA, a := play(t, one, 3)
	a.close()
	memB, b := play(t, one, 3)
	b.close()
	want, got := truth(t, memA), truth(t, memB)
	if len(want) < 10 {
		t.Fatalf("only %d files", len(want))
	}
	if names, gotNames := slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)); !slices.Equal(names, gotNames) {
		t.Fatalf("other files:\n%v\n%v", names, gotNames)
	}
	for name := range want {
		if want[name] != got[name] {
			t.Errorf("%s differs", name)
		}
	}
}

// answers is all that a vault says about its keys: every version of every key
// in order, and what lists say. Positions are left out: they differ with the groups.
func answers(t testing.TB, w *View) (out []string) {
	t.Helper()
	for e, err := range w.List(Query{Deleted: true}) {
		if err != nil {
			t.Fatal(err)
		}
		for h, err := range w.History(e.Key) {
			if err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprintf("%s %d %v %v %d", h.Key, h.N, h.Live, h.Value, h.Size)
			if h.Live {
				val, err := w.Value(h)
				var b bytes.Buffer
				if err == nil {
					_, err = val.WriteTo(&b)
				}
				if err != nil {
					t.Fatal(err)
				}
				text += fmt.Sprint(" ", record.IDOf(b.Bytes()))
			}
			out = append(out, text)
		}
	}
	return out
}

func artifactIDs(t testing.TB, d fsx.Disk) []string {
	t.Helper()
	ids := map[string]bool{}
	for name, content := range truth(t, d) {
		if !strings.HasPrefix(name, "blocks/") || path.Base(path.Dir(name)) == "" {
			continue
		}
		for line := range strings.Lines(content) {
			if strings.HasPrefix(line, "sha256:") && !strings.Contains(content, "graven-chunks") {
				ids[strings.Fields(line)[0]] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// TestSameHistorySameState plays one history with other group borders and
// settles: positions and roots differ, artifacts and answers do not.
func TestSameHistorySameState(t *testing.T) {
	mem, s := play(t, func(int) int { return 1 }, 4)
	want := answers(t, s.vault.View())
	if len(want) < 100 {
		t.Fatalf("only %d versions", len(want))
	}
	root := s.vault.View().head.Root
	s.close()
	for _, groups := range []func(int) int{
		func(int) int { return 40 },
		func(i int) int { return 2 + i%5 },
	} {
		other, o := play(t, groups, 2)
		if got := answers(t, o.vault.View()); !slices.Equal(got, want) {
			t.Errorf("grouped differently the vault answers differently:\n%v\n%v", got, want)
		}
		if o.vault.View().head.Root == root {
			t.Error("the roots are equal, though the groups were not: the test shows nothing")
		}
		o.reopen2()
		if got := answers(t, o.vault.View()); !slices.Equal(got, want) {
			t.Error("after a restart the vault answers differently")
		}
		o.close()
		if got, want := artifactIDs(t, other), artifactIDs(t, mem); !slices.Equal(got, want) {
			t.Errorf("%d artifacts, wanted %d", len(got), len(want))
		}
	}
}

func (s *script) reopen2() {
	s.close()
	s.reopen()
}

// model is the naive vault: the state after every record.
type model struct {
	at []map[string]string // at[seq]: keys and values right after record seq
}

func (m *model) upTo(seq uint64, state map[string]string) {
	for uint64(len(m.at)) <= seq {
		m.at = append(m.at, maps.Clone(state))
	}
}

// TestModel runs random transactions against a vault and a map, restarts in
// between, and asks both about every position, by seq and by time.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		mem := fsx.NewMem()
		s := newScript(t, mem, small)
		m := &model{}
		state := map[string]string{}
		m.upTo(1, state)
		keys := rapid.SampledFrom([]string{"a", "aa", "ab", "b", "\xff", "\xff\x00", "k/1", "k/2", "ä"})
		for range rapid.IntRange(1, 25).Draw(rt, "groups") {
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				s.reopen2()
			case 1:
				if err := s.vault.settle(); err != nil {
					t.Fatal(err)
				}
			}
			var txs []*Tx
			var after []map[string]string
			for range rapid.IntRange(1, 3).Draw(rt, "txs") {
				tx := &Tx{}
				for range rapid.IntRange(1, 4).Draw(rt, "ops") {
					k := keys.Draw(rt, "key")
					if slices.ContainsFunc(tx.ops, func(op record.Op) bool { return string(op.Key) == k }) {
						continue
					}
					if _, ok := state[k]; ok && rapid.Bool().Draw(rt, "delete") {
						tx.Delete([]byte(k), DeleteOptions{})
						delete(state, k)
						continue
					}
					v := rapid.StringN(0, 64, 64).Draw(rt, "value")
					tx.Put([]byte(k), Bytes([]byte(v)), PutOptions{})
					state[k] = v
				}
				txs = append(txs, tx)
				after = append(after, maps.Clone(state))
			}
			for i, r := range s.group(txs...) {
				m.upTo(r.Seq-1, lastOf(m))
				m.upTo(r.Seq, after[i])
			}
			m.upTo(s.vault.View().Seq(), state)
		}
		compareModel(t, s.vault.View(), m)
		verifyModel(t, s.vault, state)
		s.close()
	})
}

func lastOf(m *model) map[string]string { return m.at[len(m.at)-1] }

func compareModel(t testing.TB, w *View, m *model) {
	t.Helper()
	for seq := uint64(0); seq <= w.Seq(); seq++ {
		past, err := w.At(seq)
		if err != nil {
			t.Fatal(err)
		}
		at, err := past.Time()
		if err != nil {
			t.Fatal(err)
		}
		byTime, err := w.AtTime(at)
		if err != nil || byTime.Seq() < seq {
			t.Fatalf("AtTime of record %d: seq %d, %v", seq, byTime.Seq(), err)
		}
		for _, q := range []Query{{}, {Reverse: true}, {Prefix: []byte("a")}, {Prefix: []byte("\xff")}, {From: []byte("aa"), To: []byte("k/2")}, {Limit: 2}} {
			var got []string
			for e, err := range past.List(q) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(e.Key))
			}
			if want := m.list(seq, q); !slices.Equal(got, want) {
				t.Fatalf("at seq %d, %+v lists %q, wanted %q", seq, q, got, want)
			}
		}
		for k := range lastOf(m) {
			e, err := past.Get([]byte(k))
			want, ok := m.at[seq][k]
			if ok != (err == nil) || ok && e.Value != record.IDOf([]byte(want)) || !ok && !errors.Is(err, ErrNotFound) {
				t.Fatalf("at seq %d, key %q: %v, %v; wanted %q, %v", seq, k, e.Value, err, want, ok)
			}
		}
	}
	if _, err := w.At(w.Seq() + 1); !errors.Is(err, ErrFuture) {
		t.Fatalf("At of a seq that is not there: %v", err)
	}
}

func (m *model) list(seq uint64, q Query) []string {
	var keys []string
	for k := range m.at[seq] {
		if strings.HasPrefix(k, string(q.Prefix)) && k >= string(q.From) && (len(q.To) == 0 || k < string(q.To)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	if q.Reverse {
		slices.Reverse(keys)
	}
	if q.Limit > 0 && len(keys) > q.Limit {
		keys = keys[:q.Limit]
	}
	return keys
}

// verifyModel proves every key, there or not, and every record.
func verifyModel(t testing.TB, v *Vault, state map[string]string) {
	t.Helper()
	ver, err := proof.NewVerifier(v.VKeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	w := v.View()
	for _, k := range []string{"a", "aa", "ab", "b", "\xff", "\xff\x00", "k/1", "k/2", "ä", "zz", "\x00"} {
		file, err := w.ProveKey([]byte(k))
		if err != nil {
			t.Fatal(err)
		}
		r, err := ver.Verify(file)
		if err != nil {
			t.Fatalf("proof of key %q: %v", k, err)
		}
		value, ok := state[k]
		switch c := r.Claim().(type) {
		case proof.Present:
			if !ok || c.Value != record.IDOf([]byte(value)) || string(c.Key) != k {
				t.Fatalf("key %q is proven to be %v, it is %q", k, c.Value, value)
			}
		case proof.Absent:
			if ok || string(c.Key) != k {
				t.Fatalf("key %q is proven absent, it is %q", k, value)
			}
		}
	}
}

// TestAgainstXMod reads a vault as any tlog-tiles client would: with x/mod's
// note and tlog, through Resource only, at partial widths.
func TestAgainstXMod(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	for i := range 300 {
		s.group(put(fmt.Sprint("k", i), "v"))
	}
	w := s.vault.View()
	body, _, err := w.Resource("checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(s.vault.VKeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	opened, err := note.Open(body, note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	head, err := proof.ParseCheckpointText([]byte(opened.Text))
	if err != nil || head.Size != w.Size() {
		t.Fatalf("checkpoint %+v, %v", head, err)
	}
	tree := tlog.Tree{N: int64(head.Size), Hash: tlog.Hash(head.Root)}
	reader := tlog.TileHashReader(tree, &resourceTiles{w})
	for _, seq := range []int64{0, 1, 255, 256, 257, 511, 512, tree.N - 1} {
		line, err := w.Record(uint64(seq))
		if err != nil {
			t.Fatal(err)
		}
		p, err := tlog.ProveRecord(tree.N, seq, reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(p, tree.N, tree.Hash, seq, tlog.RecordHash(line)); err != nil {
			t.Errorf("record %d: %v", seq, err)
		}
	}
	checkBundles(t, w)
	for _, bad := range []string{"", "tile", "tile/0/0", "tile/00/000", "tile/0/002.p/0", "tile/0/000.p/256", "tile/0/999", "tile/1/000.p/3", "tile/9/000", "tile/entries/003", "../checkpoint", "checkpoint/"} {
		if _, _, err := w.Resource(bad); !errors.Is(err, ErrNotFound) {
			t.Errorf("Resource(%q): %v, wanted not found", bad, err)
		}
	}
	s.close()
}

// checkBundles cuts entry bundles of every width apart again.
func checkBundles(t testing.TB, w *View) {
	t.Helper()
	seq := uint64(0)
	for n := uint64(0); seq < w.Size(); n++ {
		width := int(min(256, w.Size()-n*256))
		body, _, err := w.Resource(merkle.EntriesPath(n, width))
		if err != nil {
			t.Fatal(err)
		}
		for range width {
			size := int(body[0])<<8 | int(body[1])
			line, err := w.Record(seq)
			if err != nil || !bytes.Equal(body[2:2+size], line) {
				t.Fatalf("record %d in the bundle: %v", seq, err)
			}
			body = body[2+size:]
			seq++
		}
		if len(body) > 0 {
			t.Fatalf("bundle %d has %d bytes too many", n, len(body))
		}
	}
	for width := 1; width < 256; width += 50 {
		part, _, err := w.Resource(merkle.TileID{Level: 0, Index: 0}.PartialPath(width))
		full, _, err2 := w.Resource("tile/0/000")
		if err != nil || err2 != nil || !bytes.Equal(part, full[:width*32]) {
			t.Errorf("a partial tile of width %d is not the prefix of the full one: %v, %v", width, err, err2)
		}
	}
}

type resourceTiles struct{ w *View }

func (r *resourceTiles) Height() int { return 8 }

func (r *resourceTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range tiles {
		p := merkle.TileID{Level: uint8(tile.L), Index: uint64(tile.N)}
		name := p.Path()
		if tile.W < 256 {
			name = p.PartialPath(tile.W)
		}
		body, _, err := r.w.Resource(name)
		if err != nil {
			return nil, err
		}
		out = append(out, body)
	}
	return out, nil
}

func (r *resourceTiles) SaveTiles([]tlog.Tile, [][]byte) {}
