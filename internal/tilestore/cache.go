package tilestore

import (
	"container/list"
	"sync"

	"graven/merkle"
)

// cacheTiles bounds the cache: 16 KiB each, 8 MiB together.
const cacheTiles = 512

// cache holds verified full tiles, the least recently used of which goes first.
// Full tiles never change, so one cache serves readers of every size.
type cache struct {
	mu    sync.Mutex // guards what follows
	tiles map[merkle.TileID]*list.Element
	order list.List // of *cached, the most recently used in front
}

type cached struct {
	id   merkle.TileID
	tile *tile
}

func (c *cache) get(id merkle.TileID) *tile {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.tiles[id]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).tile
}

func (c *cache) put(id merkle.TileID, t *tile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tiles == nil {
		c.tiles = make(map[merkle.TileID]*list.Element)
	}
	if e, ok := c.tiles[id]; ok {
		c.order.MoveToFront(e)
		return
	}
	c.tiles[id] = c.order.PushFront(&cached{id, t})
	if c.order.Len() > cacheTiles {
		oldest := c.order.Remove(c.order.Back()).(*cached)
		delete(c.tiles, oldest.id)
	}
}
