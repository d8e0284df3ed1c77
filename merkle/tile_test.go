package merkle

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// memoryTiles cuts tiles from leaves, each level from the one below.
func memoryTiles(leaves []Hash) func(TileID, int) ([]Hash, error) {
	levels := [][]Hash{leaves}
	for n := len(leaves) / TileWidth; n > 0; n /= TileWidth {
		below, level := levels[len(levels)-1], make([]Hash, n)
		for i := range level {
			level[i] = naiveMTH(below[i*TileWidth : (i+1)*TileWidth])
		}
		levels = append(levels, level)
	}
	return func(t TileID, width int) ([]Hash, error) {
		if int(t.Level) >= len(levels) || t.Index*TileWidth+uint64(width) > uint64(len(levels[t.Level])) || width == 0 {
			return nil, fmt.Errorf("no %s", t.PartialPath(width))
		}
		return levels[t.Level][t.Index*TileWidth:][:width], nil
	}
}

func TestWidths(t *testing.T) {
	for _, tt := range []struct {
		size uint64
		want []string // all tiles, full ones of a level counted
	}{
		{0, nil},
		{1, []string{"tile/0/000.p/1"}},
		{255, []string{"tile/0/000.p/255"}},
		{256, []string{"1 of 0", "tile/1/000.p/1"}},
		{257, []string{"1 of 0", "tile/0/001.p/1", "tile/1/000.p/1"}},
		{65535, []string{"255 of 0", "tile/0/255.p/255", "tile/1/000.p/255"}},
		{65536, []string{"256 of 0", "1 of 1", "tile/2/000.p/1"}},
		{65537, []string{"256 of 0", "tile/0/256.p/1", "1 of 1", "tile/2/000.p/1"}},
		{70000, []string{"273 of 0", "tile/0/273.p/112", "1 of 1", "tile/1/001.p/17", "tile/2/000.p/1"}},
		{256 * 1000, []string{"1000 of 0", "3 of 1", "tile/1/003.p/232", "tile/2/000.p/3"}},
		{256*1000 + 3, []string{"1000 of 0", "tile/0/x001/000.p/3", "3 of 1", "tile/1/003.p/232", "tile/2/000.p/3"}},
	} {
		var got []string
		for level := range uint8(MaxTileLevel + 1) {
			full, partial := FullTiles(level, tt.size), PartialWidth(level, tt.size)
			if full > 0 {
				got = append(got, fmt.Sprintf("%d of %d", full, level))
				for _, n := range []uint64{0, full - 1} {
					if w := (TileID{level, n}).Width(tt.size); w != TileWidth {
						t.Errorf("size %d: tile %d/%d has width %d", tt.size, level, n, w)
					}
				}
			}
			last := TileID{level, full}
			if partial > 0 {
				got = append(got, last.PartialPath(partial))
			}
			if w := last.Width(tt.size); w != partial {
				t.Errorf("size %d: %s has width %d, want %d", tt.size, last.Path(), w, partial)
			}
			for _, n := range []uint64{full + 1, math.MaxUint64} {
				if w := (TileID{level, n}).Width(tt.size); w != 0 {
					t.Errorf("size %d: tile %d/%d has width %d", tt.size, level, n, w)
				}
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("size %d: got %v, want %v", tt.size, got, tt.want)
		}
	}
	if w := PartialWidth(7, math.MaxUint64); w != 255 {
		t.Errorf("width at level 7 of the greatest size is %d", w)
	}
	for _, level := range []uint8{8, 63, 64, 255} {
		if w := PartialWidth(level, math.MaxUint64); w != 0 {
			t.Errorf("width at level %d of the greatest size is %d", level, w)
		}
	}
}

func TestTilePaths(t *testing.T) {
	for _, tt := range []struct {
		path    string
		tile    TileID
		width   int
		entries bool
	}{
		{"tile/0/000", TileID{0, 0}, 256, false},
		{"tile/0/000.p/1", TileID{0, 0}, 1, false},
		{"tile/0/001.p/255", TileID{0, 1}, 255, false},
		{"tile/1/999", TileID{1, 999}, 256, false},
		{"tile/1/x001/000", TileID{1, 1000}, 256, false},
		{"tile/2/x001/000.p/10", TileID{2, 1000}, 10, false},
		{"tile/0/x999/999", TileID{0, 999_999}, 256, false},
		{"tile/0/x001/x000/000", TileID{0, 1_000_000}, 256, false},
		{"tile/0/x001/x234/067", TileID{0, 1_234_067}, 256, false},
		{"tile/63/000", TileID{63, 0}, 256, false},
		{"tile/10/000", TileID{10, 0}, 256, false},
		{"tile/0/x018/x446/x744/x073/x709/x551/615", TileID{0, math.MaxUint64}, 256, false},
		{"tile/entries/000", TileID{0, 0}, 256, true},
		{"tile/entries/x001/234.p/112", TileID{0, 1234}, 112, true},
	} {
		tile, width, entries, err := ParseTilePath(tt.path)
		if err != nil || tile != tt.tile || width != tt.width || entries != tt.entries {
			t.Errorf("ParseTilePath(%q) = %+v, %d, %v, %v", tt.path, tile, width, entries, err)
		}
		if got := formatPath(tt.tile, tt.width, tt.entries); got != tt.path {
			t.Errorf("%+v width %d: path %q, want %q", tt.tile, tt.width, got, tt.path)
		}
	}
}

func formatPath(t TileID, width int, entries bool) string {
	if entries {
		return EntriesPath(t.Index, width)
	}
	if width == TileWidth {
		return t.Path()
	}
	return t.PartialPath(width)
}

// badTilePaths are not canonical, or not paths of tiles at all.
var badTilePaths = []string{
	"", "tile", "tile/", "tile/0", "tile/0/", "/tile/0/000", "tile//000", "tile/0//000",
	"tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/1", "tile/0/1000",
	"tile/00/000", "tile/01/000", "tile/64/000", "tile/063/000", "tile/100/000", "tile/256/000", "tile/-1/000", "tile/+1/000", "tile/x/000", "tile/ 0/000",
	"tile/0/001/000", "tile/0/x000/000", "tile/0/x000/001", "tile/0/x000/x001/000", "tile/0/x001", "tile/0/x001/x000", "tile/0/x001/00", "tile/0/x1/000", "tile/0/x0001/000", "tile/0/X001/000", "tile/0/xx01/000", "tile/0/x001/x000/",
	"tile/0/000/", "tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/00", "tile/0/000.p/01", "tile/0/000.p/256", "tile/0/000.p/1000", "tile/0/000.p/-1", "tile/0/000.p/+1", "tile/0/000.p/1/", "tile/0/000.p/1.p/1", "tile/0/000.p/a", "tile/0/000.P/1", "tile/0/x001.p/1/000", "tile/0/.p/1",
	"tile/entries", "tile/entries/", "tile/entries/0", "tile/entries/000.p/256", "tile/Entries/000", "tile/data/000", "tile/0/entries/000",
	"tile/0/-01", "tile/0/+01", "tile/0/00a", "tile/0/0x1", "tile/0/000\n", "tile/0/000 ", "tile/0/٠٠٠",
	"tile/0/x018/x446/x744/x073/x709/x551/616", // 2^64
	"tile/0/x999/x999/x999/x999/x999/x999/x999/999",
	"tile/0/" + strings.Repeat("x001/", 1000) + "000",
}

func TestBadTilePaths(t *testing.T) {
	for _, path := range badTilePaths {
		if tile, width, entries, err := ParseTilePath(path); !errors.Is(err, ErrSyntax) {
			t.Errorf("ParseTilePath(%q) = %+v, %d, %v, %v; want ErrSyntax", path, tile, width, entries, err)
		}
	}
}

func FuzzParseTilePath(f *testing.F) {
	for _, path := range badTilePaths {
		f.Add(path)
	}
	for _, path := range []string{"tile/0/000", "tile/63/x001/x234/067.p/255", "tile/entries/x001/000.p/1"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		tile, width, entries, err := ParseTilePath(path)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatal(err)
			}
			return
		}
		if tile.Level > MaxTileLevel || width < 1 || width > TileWidth || entries && tile.Level != 0 {
			t.Fatalf("ParseTilePath(%q) = %+v, %d, %v", path, tile, width, entries)
		}
		if got := formatPath(tile, width, entries); got != path {
			t.Fatalf("ParseTilePath(%q) encodes to %q", path, got)
		}
	})
}

func TestTileText(t *testing.T) {
	hashes := testLeaves(TileWidth)
	text := TileText(hashes)
	if len(text) != 11520 {
		t.Fatalf("a tile's text has %d bytes", len(text))
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i, line := range lines {
		if line != hashes[i].String() {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
	got, err := ParseTileText(text)
	if err != nil || !slices.Equal(got, hashes) {
		t.Fatalf("ParseTileText: %v", err)
	}
	edit := func(fn func([]byte) []byte) []byte { return fn(bytes.Clone(text)) }
	for name, bad := range map[string][]byte{
		"empty":              nil,
		"one line":           text[:tileLine],
		"255 lines":          text[:len(text)-tileLine],
		"257 lines":          append(bytes.Clone(text), text[:tileLine]...),
		"no last newline":    text[:len(text)-1],
		"zeros":              make([]byte, len(text)),
		"only newlines":      bytes.Repeat([]byte("\n"), len(text)),
		"last newline wrong": edit(func(b []byte) []byte { b[len(b)-1] = ' '; return b }),
		"newline moved":      edit(func(b []byte) []byte { b[43], b[44] = b[44], b[43]; return b }),
		"CR":                 edit(func(b []byte) []byte { b[44] = '\r'; return b }),
		"trailing bits":      edit(func(b []byte) []byte { copy(b[10*tileLine+42:], "B="); return b }),
		"padding gone":       edit(func(b []byte) []byte { b[43] = 'A'; return b }),
	} {
		if _, err := ParseTileText(bad); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: got %v, want ErrSyntax", name, err)
		}
	}
	// Which line is wrong is said.
	_, err = ParseTileText(edit(func(b []byte) []byte { b[9*tileLine] = '!'; return b }))
	if err == nil || !strings.Contains(err.Error(), "line 10 ") {
		t.Errorf("a bad tenth line: %v", err)
	}
}

// A changed byte is either refused or changes a hash.
func TestTileTextEveryByteCounts(t *testing.T) {
	hashes := testLeaves(TileWidth)
	text := TileText(hashes)
	for i := range text {
		text[i] ^= 1
		if got, err := ParseTileText(text); err == nil && slices.Equal(got, hashes) {
			t.Fatalf("byte %d makes no difference", i)
		}
		text[i] ^= 1
	}
}

func FuzzParseTileText(f *testing.F) {
	good := TileText(testLeaves(TileWidth))
	f.Add(good)
	f.Add([]byte{})
	f.Add(good[:len(good)-1])
	f.Add(bytes.Repeat([]byte("\n"), TileTextSize))
	f.Add(bytes.Replace(good, []byte("\n"), []byte("\r"), 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		hashes, err := ParseTileText(text)
		if err != nil {
			if !errors.Is(err, ErrSyntax) || hashes != nil {
				t.Fatal(err)
			}
			return
		}
		if got := TileText(hashes); !bytes.Equal(got, text) {
			t.Fatal("what parsed encodes to other bytes")
		}
	})
}

func TestTileBytes(t *testing.T) {
	hashes := testLeaves(TileWidth)
	full := TileBytes(hashes)
	for width := 1; width <= TileWidth; width++ {
		data := TileBytes(hashes[:width])
		if len(data) != width*32 || !bytes.Equal(data, full[:len(data)]) {
			t.Fatalf("width %d: not a prefix of the full tile", width)
		}
		got, err := ParseTileBytes(data, width)
		if err != nil || !slices.Equal(got, hashes[:width]) {
			t.Fatalf("width %d: %v", width, err)
		}
		for _, bad := range [][]byte{data[1:], data[:len(data)-1], append(bytes.Clone(data), 0), nil} {
			if _, err := ParseTileBytes(bad, width); !errors.Is(err, ErrSyntax) {
				t.Fatalf("width %d, %d bytes: %v", width, len(bad), err)
			}
		}
	}
	for _, width := range []int{-1, 0, 257} {
		if _, err := ParseTileBytes(make([]byte, max(width, 0)*32), width); !errors.Is(err, ErrSyntax) {
			t.Errorf("width %d: %v", width, err)
		}
	}
}

func TestTileOf(t *testing.T) {
	for _, tt := range []struct {
		id         NodeID
		tile       TileID
		start, end int
	}{
		{NodeID{0, 0}, TileID{0, 0}, 0, 1},
		{NodeID{0, 255}, TileID{0, 0}, 255, 256},
		{NodeID{0, 256}, TileID{0, 1}, 0, 1},
		{NodeID{1, 127}, TileID{0, 0}, 254, 256},
		{NodeID{7, 0}, TileID{0, 0}, 0, 128},
		{NodeID{7, 3}, TileID{0, 1}, 128, 256},
		{NodeID{8, 0}, TileID{1, 0}, 0, 1},
		{NodeID{8, 300}, TileID{1, 1}, 44, 45},
		{NodeID{15, 1}, TileID{1, 0}, 128, 256},
		{NodeID{63, 1}, TileID{7, 0}, 128, 256},
	} {
		tile, start, end := TileOf(tt.id)
		if tile != tt.tile || start != tt.start || end != tt.end {
			t.Errorf("TileOf(%v) = %+v, %d, %d", tt.id, tile, start, end)
		}
	}
}

func TestTileHashReader(t *testing.T) {
	leaves := testLeaves(1500)
	size := uint64(len(leaves))
	reads := make(map[TileID]int)
	tiles := memoryTiles(leaves)
	r := TileHashReader(size, func(id TileID, width int) ([]Hash, error) {
		reads[id]++
		if width != id.Width(size) {
			t.Errorf("%s is read with width %d", id.Path(), width)
		}
		return tiles(id, width)
	})
	var ids []NodeID
	var want []Hash
	for level := uint8(0); size>>level > 0; level++ {
		for index := range size >> level {
			id := NodeID{level, index}
			ids = append(ids, id)
			want = append(want, naiveMTH(leaves[index<<level:(index+1)<<level]))
		}
		if _, err := r.ReadHashes([]NodeID{{level, size >> level}}); !errors.Is(err, ErrRange) {
			t.Errorf("node %d/%d: %v", level, size>>level, err)
		}
	}
	clear(reads)
	got, err := r.ReadHashes(ids)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("hashes differ: %v", err)
	}
	for id, n := range reads {
		if n != 1 {
			t.Errorf("%s was read %d times", id.Path(), n)
		}
	}
	for _, id := range []NodeID{{64, 0}, {255, 0}, {0, math.MaxUint64}, {63, 1}} {
		if _, err := r.ReadHashes([]NodeID{id}); !errors.Is(err, ErrRange) {
			t.Errorf("node %v: %v", id, err)
		}
	}
	short := TileHashReader(size, func(id TileID, width int) ([]Hash, error) { return make([]Hash, width-1), nil })
	if _, err := short.ReadHashes([]NodeID{{0, 0}}); err == nil {
		t.Error("a short tile passes")
	}
	cause := errors.New("gone")
	failing := TileHashReader(size, func(TileID, int) ([]Hash, error) { return nil, cause })
	if _, err := failing.ReadHashes([]NodeID{{0, 0}}); !errors.Is(err, cause) {
		t.Errorf("a failing read: %v", err)
	}
}
