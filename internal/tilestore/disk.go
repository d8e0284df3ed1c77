package tilestore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"graven/internal/fsx"
	"graven/merkle"
)

// ErrDamaged says that a tile's file is missing or does not hold what the tree
// says. The error is a [*DamageError]. Nothing is lost: [Store.Rebuild] makes
// the tile again from leaf hashes.
var ErrDamaged = errors.New("damaged tile")

// DamageError says which tile's file is damaged and how.
type DamageError struct {
	Tile   merkle.TileID
	File   string // relative to the vault's folder
	Offset int64  // in the file, in bytes
	Wanted string
	Got    string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%v %s: at byte %d: wanted %s, got %s", ErrDamaged, e.File, e.Offset, e.Wanted, e.Got)
}

// Is reports whether target is ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

func (s *Store) damage(id merkle.TileID, offset int, wanted, got string) error {
	return &DamageError{Tile: id, File: s.file(id), Offset: int64(offset), Wanted: wanted, Got: got}
}

// tileRoot begins the paths of C2SP; the store's folder takes its place.
const tileRoot = "tile/"

// tileName returns a tile's file name within the store's folder.
func tileName(id merkle.TileID) string { return strings.TrimPrefix(id.Path(), tileRoot) }

// file returns a tile's file name for people.
func (s *Store) file(id merkle.TileID) string { return path.Join(s.dir.Path(), tileName(id)) }

// readText returns what is in a tile's file: TileTextSize bytes. Whatever else
// stands there is damage; a failing disk is not.
func (s *Store) readText(id merkle.TileID) ([]byte, error) {
	wanted := fmt.Sprintf("%d bytes", merkle.TileTextSize)
	text, err := s.dir.ReadFile(tileName(id), merkle.TileTextSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, s.damage(id, 0, wanted, "no file")
	case errors.Is(err, fsx.ErrNotRegular):
		return nil, s.damage(id, 0, wanted, "something that is not a regular file")
	case errors.Is(err, fsx.ErrTooLarge):
		return nil, s.damage(id, merkle.TileTextSize, wanted, "more")
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", s.file(id), err)
	case len(text) < merkle.TileTextSize:
		return nil, s.damage(id, len(text), wanted, fmt.Sprintf("%d bytes", len(text)))
	}
	return text, nil
}

// load reads a tile and what it folds to, from which the caller sees whether it
// is the tree's.
func (s *Store) load(id merkle.TileID) (*tile, merkle.Hash, error) {
	text, err := s.readText(id)
	if err != nil {
		return nil, merkle.Hash{}, err
	}
	hashes, err := merkle.ParseTileText(text)
	if err != nil {
		return nil, merkle.Hash{}, s.damage(id, 0, "256 lines of base64", err.Error())
	}
	t, root := newTile(hashes)
	return t, root, nil
}

// compare reads a tile's file and holds it against what it must be.
func (s *Store) compare(id merkle.TileID, want []byte) error {
	got, err := s.readText(id)
	if err != nil {
		return err
	}
	if bytes.Equal(got, want) {
		return nil
	}
	const line = merkle.TileTextSize / merkle.TileWidth
	for at := 0; ; at += line {
		if g, w := got[at:at+line], want[at:at+line]; !bytes.Equal(g, w) {
			return s.damage(id, at, fmt.Sprintf("%q", w), fmt.Sprintf("%q", g))
		}
	}
}

// write publishes a tile whose name is free and reads it back.
func (s *Store) write(id merkle.TileID, text []byte) error {
	if err := s.dir.PublishBytes(tileName(id), text); err != nil {
		return fmt.Errorf("writing %s: %w", s.file(id), err)
	}
	return s.compare(id, text)
}

// discard removes a tile's file, or what else has its name.
func (s *Store) discard(id merkle.TileID) error {
	err := s.dir.Discard(tileName(id))
	if errors.Is(err, fsx.ErrNotEmpty) {
		if err = s.dir.DiscardAll(tileName(id)); err == nil {
			err = s.dir.Discard(tileName(id))
		}
	}
	if err != nil {
		return fmt.Errorf("discarding %s: %w", s.file(id), err)
	}
	return nil
}

// found is something in the store's folder that is not a folder on the way to
// tiles.
type found struct {
	name    string // within the store's folder
	id      merkle.TileID
	isTile  bool // id is what the name says; otherwise it says nothing
	regular bool // a regular file
}

// walk calls fn for all that is found in the store's folder. Every folder is
// read once. A missing one is empty.
func walk(dir fsx.Dir, fn func(found)) error { return walkFolder(dir, "", 0, fn) }

// maxDepth is how deep the folders of tiles go: a level, and six groups of
// three digits before the last.
const maxDepth = 7

func walkFolder(dir fsx.Dir, folder string, depth int, fn func(found)) error {
	entries, err := dir.ReadDir(path.Clean(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing tiles: %w", err)
	}
	for _, e := range entries {
		name := folder + e.Name
		if e.Dir && depth < maxDepth && isStep(e.Name, depth) {
			if err := walkFolder(dir, name+"/", depth+1, fn); err != nil {
				return err
			}
			continue
		}
		f := found{name: name, regular: e.Regular}
		if id, width, entries, err := merkle.ParseTilePath(tileRoot + name); err == nil {
			f.id, f.isTile = id, !entries && width == merkle.TileWidth && id.Level < levels
		}
		fn(f)
	}
	return nil
}

// isStep reports whether a folder's name is a level, or a group before the last.
func isStep(name string, depth int) bool {
	if depth == 0 {
		return len(name) == 1 && name[0] >= '0' && name[0] < '0'+levels
	}
	return len(name) == 4 && name[0] == 'x' && strings.Trim(name[1:], "0123456789") == ""
}
