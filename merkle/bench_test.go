package merkle

import (
	"fmt"
	"testing"
)

func BenchmarkLeafHash(b *testing.B) {
	for _, n := range []int{60, 250, shortLeaf, shortLeaf + 1, 65535} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			data := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				LeafHash(data)
			}
		})
	}
}

func BenchmarkNodeHash(b *testing.B) {
	var l, r Hash
	b.ReportAllocs()
	for b.Loop() {
		l = NodeHash(l, r)
	}
}

func BenchmarkTreeAppend(b *testing.B) {
	var t Tree
	b.ReportAllocs()
	for b.Loop() {
		t.Append(Hash{})
	}
}

func BenchmarkTreeRoot(b *testing.B) {
	t := Tree{size: 1<<20 - 1}
	b.ReportAllocs()
	for b.Loop() {
		t.Root()
	}
}

func BenchmarkVerifyInclusion(b *testing.B) {
	const index, size = 123_456, 1_000_003
	r := uniform{}
	root, path := r.mustProve(b, index, size)
	b.ReportAllocs()
	for b.Loop() {
		if err := VerifyInclusion(index, size, Hash{}, root, path); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInclusionProof(b *testing.B) {
	r := uniform{}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := InclusionProof(123_456, 1_000_003, r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTileText(b *testing.B) {
	hashes := testLeaves(TileWidth)
	b.SetBytes(TileTextSize)
	b.ReportAllocs()
	for b.Loop() {
		TileText(hashes)
	}
}

func BenchmarkParseTileText(b *testing.B) {
	text := TileText(testLeaves(TileWidth))
	b.SetBytes(TileTextSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseTileText(text); err != nil {
			b.Fatal(err)
		}
	}
}
