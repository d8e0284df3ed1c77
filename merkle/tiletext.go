package merkle

import "fmt"

// A full tile on disk is text, so that a person can read it and cmp can
// compare it:
//
//	<44 characters of base64>\n        hash 0
//	…                                  256 lines, 45 bytes each
//	<44 characters of base64>\n        hash 255
//
// Over the wire a tile is the C2SP form: its hashes, 32 bytes each, nothing
// between them.
const (
	tileLine = textSize + 1
	// TileTextSize is the length of a full tile's text in bytes.
	TileTextSize = TileWidth * tileLine
)

// TileText returns the hashes as lines of base64. The text of a tile on disk
// has 256 lines; [ParseTileText] takes no other.
func TileText(hashes []Hash) []byte {
	text := make([]byte, 0, len(hashes)*tileLine)
	for _, h := range hashes {
		text = append(h.Append(text), '\n')
	}
	return text
}

// ParseTileText reads the text of a full tile: 256 lines, 11,520 bytes. The
// error wraps [ErrSyntax] and says which line is wrong.
func ParseTileText(text []byte) ([]Hash, error) {
	if len(text) != TileTextSize {
		return nil, fmt.Errorf("%w: a tile's text of %d bytes, wanted %d", ErrSyntax, len(text), TileTextSize)
	}
	hashes := make([]Hash, TileWidth)
	for i := range hashes {
		line := text[i*tileLine : (i+1)*tileLine]
		if line[textSize] != '\n' {
			return nil, fmt.Errorf("%w: line %d of a tile's text does not end at its byte %d", ErrSyntax, i+1, textSize)
		}
		h, err := parseHash(line[:textSize])
		if err != nil {
			return nil, fmt.Errorf("line %d of a tile's text: %w", i+1, err)
		}
		hashes[i] = h
	}
	return hashes, nil
}

// TileBytes returns the hashes in the binary form of C2SP tlog-tiles, 32 bytes
// each. Any width of a tile is a prefix of the full one.
func TileBytes(hashes []Hash) []byte {
	data := make([]byte, 0, len(hashes)*HashSize)
	for i := range hashes {
		data = append(data, hashes[i][:]...)
	}
	return data
}

// ParseTileBytes reads the binary form of a tile of exactly width hashes, 1 to
// 256. The error wraps [ErrSyntax].
func ParseTileBytes(data []byte, width int) ([]Hash, error) {
	if width < 1 || width > TileWidth || len(data) != width*HashSize {
		return nil, fmt.Errorf("%w: a tile of %d bytes, wanted %d hashes of %d", ErrSyntax, len(data), width, HashSize)
	}
	hashes := make([]Hash, width)
	for i := range hashes {
		hashes[i] = Hash(data[i*HashSize:])
	}
	return hashes, nil
}
