package graven

import (
	"errors"

	"graven/internal/tilestore"
	"graven/merkle"
)

// treeHashes reads the hashes of a view's tree. Tiles are derived data: one that is
// damaged is made again from the log, or, where nothing may be written, its
// hashes are computed from the log for this once.
type treeHashes struct{ w *View }

// ReadHashes implements [merkle.HashReader].
func (t treeHashes) ReadHashes(ids []merkle.NodeID) ([]merkle.Hash, error) {
	hashes, err := t.w.tree.ReadHashes(ids)
	if err = t.w.vault.mendTile(err); err == nil && hashes == nil {
		hashes, err = t.w.tree.ReadHashes(ids)
	}
	if !isTileDamage(err) {
		return hashes, err
	}
	hashes = make([]merkle.Hash, len(ids))
	for i, id := range ids {
		leaves, err := t.w.vault.leaves(id.Index<<id.Level, (id.Index+1)<<id.Level)
		if err != nil {
			return nil, err
		}
		hashes[i] = merkle.RootOf(leaves)
	}
	return hashes, nil
}

func isTileDamage(err error) bool {
	var d *tilestore.DamageError
	return errors.As(err, &d)
}

// mendTile makes the tile again that an error says is damaged. It returns nil
// if it did, and the error if it is another or nothing may be written.
func (v *Vault) mendTile(err error) error {
	var d *tilestore.DamageError
	if !errors.As(err, &d) || v.readOnly != "" {
		return err
	}
	if err := v.tiles.Rebuild(d.Tile, v.leaves); err != nil {
		return err
	}
	v.opts.Logger.Warn("a damaged tile was made again from the log", "vault", v.name, "tile", d.Tile.Path(), "damage", d)
	return nil
}

// mendTiles makes the tiles again that an open would stumble on the next time: those
// that are missing left of where it began, and those that kept it from there.
func (v *Vault) mendTiles(w *View) error {
	for {
		id, missing := v.tiles.Missing()
		if !missing {
			break
		}
		if err := v.tiles.Rebuild(id, v.leaves); err != nil {
			return err
		}
		v.remade = append(v.remade, Finding{File: id.Path(), Offset: -1, What: "it is missing", Mended: true})
	}
	if v.stumbled == 0 {
		return nil
	}
	for _, id := range tilestore.ResumeTiles(v.stumbled) {
		_, damage := w.tree.Tile(id, merkle.TileWidth)
		if damage == nil {
			continue
		}
		if err := v.mendTile(damage); err != nil {
			return err
		}
		v.remade = append(v.remade, Finding{File: id.Path(), Offset: -1, What: damage.Error(), Mended: true})
	}
	return nil
}

// leaves hashes the lines of the records [from, to).
func (v *Vault) leaves(from, to uint64) ([]merkle.Hash, error) {
	hashes := make([]merkle.Hash, 0, to-from)
	const stretch = 1024
	for ; from < to; from += stretch {
		lines, err := v.journal.Lines(from, min(to, from+stretch))
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			hashes = append(hashes, merkle.LeafHash(line))
		}
	}
	return hashes, nil
}
