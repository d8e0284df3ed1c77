package merkle

import (
	"errors"
	"testing"
)

func TestTreeAgainstDefinition(t *testing.T) {
	leaves := testLeaves(300)
	var tree Tree
	for n := range leaves {
		if got := tree.Size(); got != uint64(n) {
			t.Fatalf("size %d, want %d", got, n)
		}
		want := naiveMTH(leaves[:n])
		if got := tree.Root(); got != want {
			t.Fatalf("size %d: root %v, want %v", n, got, want)
		}
		if got := RootOf(leaves[:n]); got != want {
			t.Fatalf("size %d: RootOf %v, want %v", n, got, want)
		}
		tree.Append(leaves[n])
	}
}

func TestAppendNodesNamesEverySubtreeOnce(t *testing.T) {
	leaves := testLeaves(200)
	var tree Tree
	seen := map[NodeID]bool{}
	for n, leaf := range leaves {
		size := uint64(n + 1)
		tree.AppendNodes(leaf, func(id NodeID, h Hash) {
			lo, hi := id.Index<<id.Level, (id.Index+1)<<id.Level
			if seen[id] || hi != size {
				t.Fatalf("size %d: node %v is reported, seen before: %v", size, id, seen[id])
			}
			seen[id] = true
			if want := naiveMTH(leaves[lo:hi]); h != want {
				t.Fatalf("node %v is %v, want %v", id, h, want)
			}
		})
		if want := naiveMTH(leaves[:n+1]); tree.Root() != want || tree.Size() != size {
			t.Fatalf("size %d: root %v, want %v", size, tree.Root(), want)
		}
		for level := uint8(0); size>>level > 0; level++ {
			for index := range size >> level {
				if !seen[NodeID{level, index}] {
					t.Fatalf("size %d: node %d/%d is not reported", size, level, index)
				}
			}
		}
	}
}

func TestReadTreeGoesOnLikeTheTree(t *testing.T) {
	leaves := testLeaves(130)
	for n := range leaves {
		r := &naiveReader{t: t, leaves: leaves[:n]}
		got, err := ReadTree(uint64(n), r)
		if err != nil {
			t.Fatal(err)
		}
		if r.calls > 1 {
			t.Fatalf("size %d: %d calls to the reader", n, r.calls)
		}
		root, err := RootFrom(uint64(n), r)
		if err != nil || root != naiveMTH(leaves[:n]) {
			t.Fatalf("size %d: RootFrom %v, %v", n, root, err)
		}
		for _, leaf := range leaves[n:] {
			got.Append(leaf)
		}
		if want := naiveMTH(leaves); got.Root() != want || got.Size() != uint64(len(leaves)) {
			t.Fatalf("from size %d on: root %v, want %v", n, got.Root(), want)
		}
	}
}

// TestReadTreeAtEverySize reads the frontier back from the nodes of the same
// tree at every size of the first thousands.
func TestReadTreeAtEverySize(t *testing.T) {
	nodes := nodeMap{}
	var tree Tree
	for n, leaf := range testLeaves(3000) {
		tree.AppendNodes(leaf, func(id NodeID, h Hash) { nodes[id] = h })
		got, err := ReadTree(uint64(n+1), nodes)
		if err != nil {
			t.Fatal(err)
		}
		if got.Size() != tree.Size() || got.Root() != tree.Root() {
			t.Fatalf("size %d: root %v, want %v", n+1, got.Root(), tree.Root())
		}
		got.Append(leaf)
		want := tree
		want.Append(leaf)
		if got.Root() != want.Root() {
			t.Fatalf("size %d: another root after one more leaf", n+1)
		}
	}
}

// nodeMap is a reader of nodes that are at hand.
type nodeMap map[NodeID]Hash

func (m nodeMap) ReadHashes(ids []NodeID) ([]Hash, error) {
	var hashes []Hash
	for _, id := range ids {
		h, ok := m[id]
		if !ok {
			return nil, ErrRange
		}
		hashes = append(hashes, h)
	}
	return hashes, nil
}

func TestTreeIsAValue(t *testing.T) {
	leaves := testLeaves(20)
	var tree Tree
	for _, leaf := range leaves[:11] {
		tree.Append(leaf)
	}
	assigned, cloned := tree, tree.Clone()
	want := tree.Root()
	for _, leaf := range leaves[11:] {
		tree.Append(leaf)
	}
	if assigned.Root() != want || cloned.Root() != want || cloned.Size() != 11 {
		t.Error("a copy changed with its original")
	}
	cloned.Append(leaves[11])
	if cloned.Root() != naiveMTH(leaves[:12]) || tree.Root() != naiveMTH(leaves) {
		t.Error("a copy does not go on by itself")
	}
}

func TestRootsOfSizesNobodyCanBuild(t *testing.T) {
	for _, size := range edgeSizes() {
		u := uniform{special: size - 1, leaf: LeafHash(nil)}
		root, err := RootFrom(size, u)
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		tree, err := ReadTree(size-1, u)
		if err != nil {
			t.Fatalf("size %d: %v", size-1, err)
		}
		tree.Append(u.leaf)
		if got := tree.Root(); got != root || tree.Size() != size {
			t.Errorf("size %d: root %v after the last leaf, want %v", size, got, root)
		}
	}
}

func TestNodeIDIn(t *testing.T) {
	for _, tt := range []struct {
		id   NodeID
		size uint64
		want bool
	}{
		{NodeID{0, 0}, 0, false},
		{NodeID{0, 0}, 1, true},
		{NodeID{0, 1}, 1, false},
		{NodeID{3, 0}, 7, false},
		{NodeID{3, 0}, 8, true},
		{NodeID{3, 1}, 15, false},
		{NodeID{3, 1}, 16, true},
		{NodeID{63, 0}, 1<<63 - 1, false},
		{NodeID{63, 0}, 1 << 63, true},
		{NodeID{63, 1}, 1<<64 - 1, false},
		{NodeID{64, 0}, 1<<64 - 1, false},
		{NodeID{255, 0}, 1<<64 - 1, false},
		{NodeID{1, 1<<64 - 1}, 1<<64 - 1, false},
	} {
		if got := tt.id.In(tt.size); got != tt.want {
			t.Errorf("node %v in size %d: %v", tt.id, tt.size, got)
		}
	}
}

// brokenReader gives extra hashes more than it is asked for, or err.
type brokenReader struct {
	extra int
	err   error
}

func (r brokenReader) ReadHashes(ids []NodeID) ([]Hash, error) {
	return make([]Hash, len(ids)+r.extra), r.err
}

func TestReadersThatBreakTheirContract(t *testing.T) {
	cause := errors.New("no such tile")
	for _, r := range []brokenReader{{extra: 1}, {extra: -1}, {err: cause}} {
		_, err1 := RootFrom(7, r)
		_, err2 := InclusionProof(3, 7, r)
		_, err3 := ConsistencyProof(3, 7, r)
		for _, err := range []error{err1, err2, err3} {
			if err == nil || !errors.Is(err, r.err) && r.err != nil {
				t.Errorf("%+v: got %v", r, err)
			}
		}
	}
}
