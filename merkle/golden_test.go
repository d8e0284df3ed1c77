package merkle

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

var update = flag.Bool("update", false, "write the golden vectors again")

const goldenTiles = "../testdata/format/tile/tiles.json"

// goldenTree is a tree and what its tiles are on disk and over the wire. Leaf i
// is the RFC 6962 leaf hash of the decimal number i.
type goldenTree struct {
	Size     uint64            `json:"size"`
	Root     string            `json:"root"`
	Full     map[string]string `json:"full"`     // path -> the file's text
	Partial  map[string]string `json:"partial"`  // path -> hex of the resource
	Refused  []string          `json:"refused"`  // paths that are none
	LeafZero string            `json:"leafZero"` // leaf hash of "0"
}

// TestGoldenTiles holds tiles against vectors that are meant for readers in
// other languages too.
func TestGoldenTiles(t *testing.T) {
	var leaves []Hash
	var tree Tree
	for i := range 257 {
		h := LeafHash([]byte(strconv.Itoa(i)))
		leaves = append(leaves, h)
		tree.Append(h)
	}
	full := TileID{Level: 0, Index: 0}
	got := goldenTree{
		Size: tree.Size(), Root: tree.Root().String(), LeafZero: leaves[0].String(),
		Full: map[string]string{full.Path(): string(TileText(leaves[:256]))},
		Partial: map[string]string{
			TileID{Level: 0, Index: 1}.PartialPath(1): hexOf(TileBytes(leaves[256:])),
			TileID{Level: 1, Index: 0}.PartialPath(1): hexOf(TileBytes([]Hash{RootOf(leaves[:256])})),
			full.PartialPath(2):                       hexOf(TileBytes(leaves[:2])),
		},
		Refused: []string{"tile/0/0", "tile/00/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/x1/000", "tile/0/1000", "tile/64/000"},
	}
	for _, path := range got.Refused {
		if _, _, _, err := ParseTilePath(path); err == nil {
			t.Errorf("%s is taken for a tile", path)
		}
	}
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile(filepath.FromSlash(goldenTiles), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(filepath.FromSlash(goldenTiles))
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != string(want) {
		t.Errorf("tiles are not those of %s; the format is frozen, so the code is wrong", goldenTiles)
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}
