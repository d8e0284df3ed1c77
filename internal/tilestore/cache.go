package tilestore

import (
	"graven/internal/cache"
	"graven/merkle"
)

// cacheTiles bounds the cache: 16 KiB each, 8 MiB together.
const cacheTiles = 512

// tileCache holds verified full tiles. These never change, so one cache serves readers of
// every size.
type tileCache = cache.Cache[merkle.TileID, *tile]

func newCache() *tileCache {
	return cache.New[merkle.TileID, *tile](cacheTiles, func(id merkle.TileID) uint64 { return cache.Spread(id.Index<<8 | uint64(id.Level)) })
}
