package state

import "iter"

// Ascend yields the leaves whose key is at least from, in order, over all
// spaces; from nil or empty: all. Deleted keys are yielded too. The consumer
// owns each leaf. An error says that a page could not be read, and is the last
// that is yielded.
func (m Map) Ascend(from []byte) iter.Seq2[Leaf, error] {
	return func(yield func(Leaf, error) bool) {
		w := walk{pages: m.pages(), yield: yield}
		roots := m.roots()
		for i := range roots {
			r := &roots[i]
			if len(from) == 0 || r.space > from[0] {
				if !w.up(&r.tree, nil) {
					return
				}
			} else if r.space == from[0] && !w.up(&r.tree, from) {
				return
			}
		}
	}
}

// Descend yields the leaves whose key is less than before, in reverse order,
// over all spaces; before nil or empty: all. So Ascend(from) up to to and Descend(to)
// down to from walk the same interval [from, to). The consumer owns each leaf.
// An error says that a page could not be read, and is the last that is yielded.
func (m Map) Descend(before []byte) iter.Seq2[Leaf, error] {
	return func(yield func(Leaf, error) bool) {
		w := walk{pages: m.pages(), yield: yield}
		roots := m.roots()
		for i := len(roots) - 1; i >= 0; i-- {
			r := &roots[i]
			if len(before) == 0 || r.space < before[0] {
				if !w.down(&r.tree, nil) {
					return
				}
			} else if r.space == before[0] && !w.down(&r.tree, before) {
				return
			}
		}
	}
}

// walk yields leaves until the consumer or an error ends it. Its methods say
// whether it goes on.
type walk struct {
	pages *pages
	yield func(Leaf, error) bool
	keys  keyRoom
}

// up yields the leaves from c down whose key is at least from.
func (w *walk) up(c *child, from []byte) bool {
	r := room{keys: &w.keys}
	for {
		switch t := w.open(c, &r).(type) {
		case nil:
			return false
		case *leaf:
			return w.upLeaf(t, from)
		case *pair:
			return w.upLeaf(&t.a, from) && w.upLeaf(&t.b, from)
		case *inner:
			if t.route.above(from) {
				if !w.up(&t.left, from) {
					return false
				}
				from = nil
			}
			c = &t.right
		}
	}
}

func (w *walk) upLeaf(l *leaf, from []byte) bool {
	return l.key < string(from) || w.yield(l.export(), nil)
}

// down yields the leaves from c down whose key is less than before; nil: all.
func (w *walk) down(c *child, before []byte) bool {
	r := room{keys: &w.keys}
	for {
		switch t := w.open(c, &r).(type) {
		case nil:
			return false
		case *leaf:
			return w.downLeaf(t, before)
		case *pair:
			return w.downLeaf(&t.b, before) && w.downLeaf(&t.a, before)
		case *inner:
			if before == nil || !t.route.above(before) {
				if !w.down(&t.right, before) {
					return false
				}
				before = nil
			}
			c = &t.left
		}
	}
}

func (w *walk) downLeaf(l *leaf, before []byte) bool {
	return before != nil && l.key >= string(before) || w.yield(l.export(), nil)
}

// open returns the node of c. After an error, which it yields, nil.
func (w *walk) open(c *child, r *room) node {
	n, err := w.pages.open(c, r)
	if err != nil {
		w.yield(Leaf{}, err)
		return nil
	}
	return n
}

// LiveRange returns the number of live keys in [from, to), in time logarithmic
// in the number of keys. No from: from the first key. No to: to the last. An
// error says that a page could not be read.
func (m Map) LiveRange(from, to []byte) (uint64, error) {
	low, err := m.liveBelow(from)
	high := m.Live()
	if err == nil && len(to) > 0 {
		high, err = m.liveBelow(to)
	}
	if err != nil || high < low { // from > to
		return 0, err
	}
	return high - low, nil
}

// LivePrefix returns the number of live keys that begin with prefix, in time
// logarithmic in the number of keys. An error says that a page could not be
// read.
func (m Map) LivePrefix(prefix []byte) (uint64, error) {
	return m.LiveRange(prefix, prefixEnd(prefix))
}

// prefixEnd returns the least key that is greater than all that begin with
// prefix; nil if there is none.
func prefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xFF {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}

// liveBelow returns the number of live keys less than key.
func (m Map) liveBelow(key []byte) (uint64, error) {
	if len(key) == 0 {
		return 0, nil
	}
	var below uint64
	roots := m.roots()
	for i := range roots {
		r := &roots[i]
		if r.space < key[0] {
			below += r.tree.live()
		} else if r.space == key[0] {
			n, err := m.pages().liveBelow(&r.tree, key)
			if err != nil {
				return 0, err
			}
			below += n
		}
	}
	return below, nil
}

// liveBelow returns the number of live keys less than key from c down.
func (p *pages) liveBelow(c *child, key []byte) (uint64, error) {
	var below uint64
	r := room{keys: new(keyRoom)}
	for {
		n, err := p.open(c, &r)
		if err != nil {
			return 0, err
		}
		switch t := n.(type) {
		case *inner:
			if t.route.above(key) {
				c = &t.left
			} else {
				below += t.left.live()
				c = &t.right
			}
		case *pair:
			return below + t.a.liveBelow(key) + t.b.liveBelow(key), nil
		case *leaf:
			return below + t.liveBelow(key), nil
		}
	}
}

// liveBelow is 1 if the leaf is live and its key less than key.
func (l *leaf) liveBelow(key []byte) uint64 {
	if l.key < string(key) {
		return l.live()
	}
	return 0
}
