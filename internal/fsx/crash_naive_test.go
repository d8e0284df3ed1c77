package fsx

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
)

// The enumerator against a naive reading of the crash model: for every inode
// by itself, all contents that the operations of a prefix may leave.

// naive holds, for one prefix, the possible contents of every inode.
type naive struct {
	t       *testing.T
	ops     []Op
	start   map[uint64]*node
	content map[uint64]map[string]bool // printed contents, damage included
	plain   map[uint64]map[string]bool // with every effect whole or absent
}

// fate says what the syncs of a prefix made of an operation on an inode.
func (n *naive) fate(at int, inode uint64) (certain bool) {
	for _, op := range n.ops[at+1:] {
		if op.Inode != inode {
			continue
		}
		switch {
		case op.Kind == OpSync:
			return !op.Failed // the first sync decides, for ever
		case op.Kind == OpSyncDir && !op.Failed:
			return true
		}
	}
	return false
}

func newNaive(t *testing.T, start *node, ops []Op) *naive {
	n := &naive{t: t, ops: ops, start: map[uint64]*node{}, content: map[uint64]map[string]bool{}, plain: map[uint64]map[string]bool{}}
	var walk func(x *node)
	walk = func(x *node) {
		n.start[x.id] = x
		for _, c := range x.entries {
			walk(c)
		}
	}
	walk(start)
	ids := map[uint64]bool{}
	for id := range n.start {
		ids[id] = true
	}
	for _, op := range ops {
		if op.Inode != 0 {
			ids[op.Inode] = true
		}
	}
	for id := range ids {
		n.content[id], n.plain[id] = map[string]bool{}, map[string]bool{}
		n.explore(id, 0, n.initial(id), true)
	}
	return n
}

// thing is a file's bytes or a folder's names.
type thing struct {
	data  []byte
	names map[string]uint64
}

func (n *naive) initial(id uint64) thing {
	x := thing{names: map[string]uint64{}}
	if s := n.start[id]; s != nil {
		x.data = s.data
		for name, c := range s.entries {
			x.names[name] = c.id
		}
	}
	return x
}

func (x thing) print() string {
	if len(x.names) == 0 {
		return string(x.data) + " []"
	}
	var names []string
	for name, id := range x.names {
		names = append(names, fmt.Sprintf("%s=%d", name, id))
	}
	sort.Strings(names)
	return fmt.Sprintf(" %v", names)
}

// explore applies the operations from at on to one inode, in every way.
func (n *naive) explore(id uint64, at int, x thing, plain bool) {
	for ; at < len(n.ops); at++ {
		op := n.ops[at]
		var ways []thing
		switch {
		case op.Inode == id && op.Kind == OpWrite:
			ways = damagedWrites(at, op, x.data)
		case op.Inode == id && op.Kind == OpTruncate:
			ways = []thing{{data: cut(x.data, int(op.Size))}}
		case op.Dir == id && op.Kind != OpLink || op.ToDir == id:
			names := maps.Clone(x.names)
			_, base := split(op.Name)
			_, to := split(op.To)
			switch op.Kind {
			case OpCreate, OpMkdir:
				names[base] = op.Inode
			case OpRemove:
				delete(names, base)
			case OpLink:
				names[to] = op.Inode
			case OpRename:
				if op.Dir == id {
					delete(names, base)
				}
				if op.ToDir == id {
					names[to] = op.Inode
				}
			}
			ways = []thing{{names: names}}
		default:
			continue
		}
		if !n.fate(at, id) {
			n.explore(id, at+1, x, plain) // absent
			for _, way := range ways[1:] {
				n.explore(id, at+1, way, false)
			}
		}
		x = ways[0] // whole
	}
	n.content[id][x.print()] = true
	if plain {
		n.plain[id][x.print()] = true
	}
}

func cut(data []byte, size int) []byte {
	x := make([]byte, size)
	copy(x, data)
	return x
}

// damagedWrites returns what a write may leave, the whole write first.
func damagedWrites(at int, op Op, data []byte) []thing {
	off, n := int(op.Off), len(op.Data)
	put := func(from, to int, fill func(i int) byte) func([]byte) []byte {
		return func(data []byte) []byte {
			data = cut(data, max(len(data), off+to))
			for i := from; i < to; i++ {
				data[off+i] = fill(i)
			}
			return data
		}
	}
	asked := func(i int) byte { return op.Data[i] }
	zero := func(int) byte { return 0 }
	noise := (&effect{at: at, op: &op}).noise()
	other := func(i int) byte { return noise[i] }
	ways := []thing{{data: put(0, n, asked)(data)}}
	for k := 1; k < n; k++ {
		if k == n/2 || k == n-1 || (off+k)%sector == 0 {
			ways = append(ways, thing{data: put(0, k, asked)(data)})
		}
	}
	ways = append(ways,
		thing{data: cut(data, max(len(data), off+n))},
		thing{data: put(0, n, zero)(data)},
		thing{data: put(0, n, other)(data)},
		thing{data: put(n/2, n, other)(put(0, n/2, asked)(data))},
		thing{data: put(n/2, n, asked)(put(0, n/2, zero)(data))},
		thing{data: put(n/2, n, zero)(put(0, n/2, asked)(data))},
		thing{data: put(n/2, n, asked)(data)})
	for _, way := range ways {
		for i := off; i < off+n && i < len(data) && data[i] == op.Data[i-off]; i++ {
			way.data[i] = data[i]
		}
		for i := off + n - 1; i >= off && off+n <= len(data) && data[i] == op.Data[i-off]; i-- {
			way.data[i] = data[i]
		}
	}
	return ways
}

// check fails if an inode of the state holds what it cannot hold.
func (n *naive) check(s *CrashState) {
	seen := map[uint64]bool{}
	var walk func(x *node)
	walk = func(x *node) {
		if seen[x.id] {
			return
		}
		seen[x.id] = true
		t := thing{data: x.data, names: map[string]uint64{}}
		for name, c := range x.entries {
			t.names[name] = c.id
			walk(c)
		}
		if !n.content[x.id][t.print()] {
			n.t.Fatalf("impossible: inode %d holds %q\n%s\ntrace %v", x.id, t.print(), s.Desc, n.ops)
		}
	}
	walk(s.Disk.root)
}

// trees returns all whole disks of whole and absent effects, printed by path.
func (n *naive) trees() map[string]bool {
	// Per inode one of its contents; combine over the inodes.
	var ids []uint64
	for id := range n.plain {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	all := map[string]bool{}
	picked := map[uint64]string{}
	var combine func(k int)
	combine = func(k int) {
		if k == len(ids) {
			all[printTree(1, picked)] = true
			return
		}
		for way := range n.plain[ids[k]] {
			picked[ids[k]] = way
			combine(k + 1)
		}
	}
	combine(0)
	return all
}

// printTree prints an inode's content with those of its children in it.
func printTree(id uint64, picked map[uint64]string) string {
	own := picked[id]
	i := strings.LastIndex(own, " [")
	var b strings.Builder
	b.WriteString(own[:i] + "{")
	for _, entry := range strings.Fields(strings.Trim(own[i:], " []")) {
		name, child, _ := strings.Cut(entry, "=")
		var c uint64
		fmt.Sscan(child, &c)
		b.WriteString(name + ":" + printTree(c, picked) + " ")
	}
	return b.String() + "}"
}

func (m *Mem) print() string {
	picked := map[uint64]string{}
	var walk func(x *node)
	walk = func(x *node) {
		t := thing{data: x.data, names: map[string]uint64{}}
		for name, c := range x.entries {
			t.names[name] = c.id
			walk(c)
		}
		picked[x.id] = t.print()
	}
	walk(m.root)
	return printTree(m.root.id, picked)
}

// randomTrace makes some calls that work and some that do not.
func randomTrace(r *rand.Rand, calls int) *Mem {
	m := NewMem()
	names := []string{"a", "b", "d/a", "d/b"}
	_ = m.Mkdir("d", false)
	if f, err := m.Open("a", Create); err == nil {
		_, _ = f.WriteAt([]byte("start"), 0)
	}
	m.Record()
	pick := func() string { return names[r.IntN(len(names))] }
	for range calls {
		name := pick()
		f, err := m.Open(name, ReadWrite)
		if errors.Is(err, fs.ErrNotExist) && r.IntN(2) == 0 {
			f, err = m.Open(name, Create)
		}
		switch k := r.IntN(14); {
		case k < 5 && err == nil:
			off := int64(r.IntN(4))
			if r.IntN(4) == 0 {
				off += sector - 4
			}
			_, _ = f.WriteAt([]byte("wxyz")[:1+r.IntN(4)], off)
		case k < 6 && err == nil:
			_ = f.Truncate(int64(r.IntN(6)))
		case k < 8 && err == nil:
			if r.IntN(3) == 0 {
				f.(*memFile).FailSync("")
			} else {
				_ = f.Sync()
			}
		case k == 8:
			_ = m.Rename(name, pick())
		case k == 9:
			_ = m.Link(name, pick())
		case k == 10:
			_ = m.Remove(name)
		case k == 11:
			_ = m.SyncDir([]string{".", "d"}[r.IntN(2)])
		case k == 12:
			m.FailSync([]string{".", "d"}[r.IntN(2)])
		case k == 13:
			m.Mark(len(m.ops))
		}
	}
	return m
}

func TestCrashStatesAgainstNaive(t *testing.T) {
	states, compared := 0, 0
	for round := range uint64(30) {
		m := randomTrace(rand.New(rand.NewPCG(round, 1)), 10)
		found := map[string]bool{} // since the last mark, as equal disks come once
		byPrefix := map[int][]*CrashState{}
		for s := range m.CrashStates(CrashOptions{MaxPerPrefix: 1000, Seed: round}) {
			byPrefix[s.Prefix] = append(byPrefix[s.Prefix], s)
		}
		for p := range len(m.ops) + 1 {
			if p > 0 && m.ops[p-1].Kind == OpMark {
				clear(found)
			}
			n := newNaive(t, m.start, m.ops[:p])
			marks := 0
			for _, op := range m.ops[:p] {
				if op.Kind == OpMark {
					marks++
				}
			}
			for _, s := range byPrefix[p] {
				states++
				n.check(s)
				if len(s.Events) != marks {
					t.Fatalf("%d events, want %d: %s", len(s.Events), marks, s.Desc)
				}
				printed := s.Disk.print()
				if found[printed] {
					t.Fatalf("state came twice: %q\n%s", printed, s.Desc)
				}
				found[printed] = true
			}
			if p < len(m.ops) && m.ops[p].Kind == OpMark {
				if len(byPrefix[p]) > 0 {
					t.Fatalf("states directly before a mark at %d", p)
				}
				continue
			}
			if e := m.newEnumerator(CrashOptions{}); true {
				for i := range p {
					e.world.advance(i, &m.ops[i])
				}
				if len(e.world.uncertain()) > 6 {
					continue // sampled, not complete
				}
			}
			for tree := range n.trees() {
				compared++
				if !found[tree] {
					t.Fatalf("round %d, prefix %d: state is missing: %q\ntrace %v", round, p, tree, m.ops[:p])
				}
			}
		}
	}
	t.Logf("%d states are possible, %d required ones were found", states, compared)
	if states < 3000 || compared < 1000 {
		t.Error("too little was compared")
	}
}
