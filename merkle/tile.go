package merkle

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	// TileHeight is the number of levels that a tile spans.
	TileHeight = 8
	// TileWidth is the number of hashes in a full tile.
	TileWidth = 1 << TileHeight
	// MaxTileLevel is the greatest level that a tile's path may name. Levels
	// above 7 never have tiles in a tree that can exist.
	MaxTileLevel = 63
)

// TileID names a tile of hashes. Hash i of the tile is the perfect subtree
// [NodeID]{8·Level, 256·Index + i}.
type TileID struct {
	Level uint8
	Index uint64
}

// Width returns how many hashes the tile has in a tree of the given size: 256
// if it is full, less at the right edge, 0 if it does not exist.
func (t TileID) Width(size uint64) int {
	n := size >> (TileHeight * uint(t.Level)) // hashes at the tile's level
	switch full := n / TileWidth; {
	case t.Index < full:
		return TileWidth
	case t.Index == full:
		return int(n % TileWidth)
	}
	return 0
}

// PartialWidth returns the width of the last, partial tile at a level of a tree
// of the given size: 0 to 255, where 0 says that there is none.
func PartialWidth(level uint8, size uint64) int {
	return int(size >> (TileHeight * uint(level)) % TileWidth)
}

// FullTiles returns the number of full tiles at a level of a tree of the given
// size.
func FullTiles(level uint8, size uint64) uint64 {
	return size >> (TileHeight * uint(level)) / TileWidth
}

// TileOf returns the tile that holds a perfect subtree, and which of its hashes
// fold to it: those in [start, end), a power of two of them.
func TileOf(id NodeID) (t TileID, start, end int) {
	row := uint(id.Level % TileHeight)
	rowWidth := TileHeight - row // bits of the index within the tile
	t = TileID{id.Level / TileHeight, id.Index >> rowWidth}
	start = int(id.Index&(1<<rowWidth-1)) << row
	return t, start, start + 1<<row
}

// Path returns the path of the full tile, as in "tile/0/x001/234".
func (t TileID) Path() string {
	return string(appendTileIndex(strconv.AppendUint([]byte("tile/"), uint64(t.Level), 10), t.Index))
}

// PartialPath returns the path of the tile's first width hashes, as in
// "tile/0/x001/234.p/112"; with the width 256 it is [TileID.Path].
func (t TileID) PartialPath(width int) string { return t.Path() + partialSuffix(width) }

// EntriesPath returns the path of the entry bundle over the same leaves as the
// tile 0/index, as in "tile/entries/x001/234.p/112".
func EntriesPath(index uint64, width int) string {
	return string(appendTileIndex([]byte("tile/entries"), index)) + partialSuffix(width)
}

func partialSuffix(width int) string {
	if width == TileWidth {
		return ""
	}
	return ".p/" + strconv.Itoa(width)
}

// appendTileIndex appends a slash and the index in groups of three digits, all
// but the last after an x.
func appendTileIndex(dst []byte, n uint64) []byte {
	unit := uint64(1)
	for n/unit >= 1000 {
		unit *= 1000
	}
	for ; unit > 1; unit /= 1000 {
		dst = appendGroup(append(dst, '/', 'x'), n/unit%1000)
	}
	return appendGroup(append(dst, '/'), n%1000)
}

func appendGroup(dst []byte, group uint64) []byte {
	return append(dst, byte('0'+group/100), byte('0'+group/10%10), byte('0'+group%10))
}

// ParseTilePath reads the path of a tile or of an entry bundle, as in
//
//	tile/<L>/<N>[.p/<W>]           L 0 to 63, W 1 to 255, no leading zeros
//	tile/entries/<N>[.p/<W>]       N in groups of three digits: x001/x234/067
//
// and nothing else: whatever it accepts is what [TileID.PartialPath] or
// [EntriesPath] writes. width is 256 if the path has no W. An entry bundle has
// level 0 and entries true. The error wraps [ErrSyntax].
func ParseTilePath(path string) (t TileID, width int, entries bool, err error) {
	bad := func(what string) (TileID, int, bool, error) {
		return TileID{}, 0, false, fmt.Errorf("%w: tile path %q: %s", ErrSyntax, path, what)
	}
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok {
		return bad("does not begin with tile/")
	}
	level, rest, _ := strings.Cut(rest, "/")
	if level == "entries" {
		entries = true
	} else if l, ok := parseDecimal(level, MaxTileLevel); ok {
		t.Level = uint8(l)
	} else {
		return bad("the level is not 0 to 63 or entries")
	}
	width = TileWidth
	if name, w, ok := strings.Cut(rest, ".p/"); ok {
		n, ok := parseDecimal(w, TileWidth-1)
		if !ok || n == 0 {
			return bad("the width is not 1 to 255")
		}
		rest, width = name, n
	}
	if t.Index, ok = parseTileIndex(rest); !ok {
		return bad("the number is not groups of three digits")
	}
	return t, width, entries, nil
}

// parseDecimal reads a number up to limit, at most 999, without leading zeros.
func parseDecimal(s string, limit int) (int, bool) {
	if len(s) == 0 || len(s) > 3 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, n <= limit
}

// parseTileIndex reads groups of three digits, all but the last after an x. The
// first of several is not 000.
func parseTileIndex(s string) (uint64, bool) {
	n := uint64(0)
	for {
		group, rest, more := strings.Cut(s, "/")
		if more {
			digits, ok := strings.CutPrefix(group, "x")
			if !ok {
				return 0, false
			}
			group = digits
		}
		if len(group) != 3 {
			return 0, false
		}
		g := uint64(0)
		for _, c := range []byte(group) {
			if c < '0' || c > '9' {
				return 0, false
			}
			g = 10*g + uint64(c-'0')
		}
		if n > (math.MaxUint64-g)/1000 {
			return 0, false
		}
		n = 1000*n + g
		if !more {
			return n, true
		}
		if n == 0 {
			return 0, false
		}
		s = rest
	}
}
