package state

import "iter"

// Ascend yields the leaves whose key is at least from, in order, over all
// spaces; from nil or empty: all. Deleted keys are yielded too. The consumer
// owns each leaf.
func (m Map) Ascend(from []byte) iter.Seq[Leaf] {
	return func(yield func(Leaf) bool) {
		for _, r := range m.roots() {
			if len(from) == 0 || r.space > from[0] {
				if !ascend(r.tree.node, nil, yield) {
					return
				}
			} else if r.space == from[0] && !ascend(r.tree.node, from, yield) {
				return
			}
		}
	}
}

// ascend yields the leaves from n down whose key is at least from.
func ascend(n node, from []byte, yield func(Leaf) bool) bool {
	switch t := n.(type) {
	case *leaf:
		return t.key < string(from) || yield(t.export())
	case *pair:
		return ascend(&t.a, from, yield) && ascend(&t.b, from, yield)
	case *inner:
		if t.route.above(from) {
			return ascend(t.left.node, from, yield) && ascend(t.right.node, nil, yield)
		}
		return ascend(t.right.node, from, yield)
	}
	return false
}

// Descend yields the leaves whose key is less than before, in reverse order,
// over all spaces; before nil or empty: all. So Ascend(from) up to to and Descend(to)
// down to from walk the same interval [from, to). The consumer owns each leaf.
func (m Map) Descend(before []byte) iter.Seq[Leaf] {
	return func(yield func(Leaf) bool) {
		roots := m.roots()
		for i := len(roots) - 1; i >= 0; i-- {
			r := roots[i]
			if len(before) == 0 || r.space < before[0] {
				if !descend(r.tree.node, nil, yield) {
					return
				}
			} else if r.space == before[0] && !descend(r.tree.node, before, yield) {
				return
			}
		}
	}
}

// descend yields the leaves from n down whose key is less than before; nil:
// all.
func descend(n node, before []byte, yield func(Leaf) bool) bool {
	switch t := n.(type) {
	case *leaf:
		return before != nil && t.key >= string(before) || yield(t.export())
	case *pair:
		return descend(&t.b, before, yield) && descend(&t.a, before, yield)
	case *inner:
		if before != nil && t.route.above(before) {
			return descend(t.left.node, before, yield)
		}
		return descend(t.right.node, before, yield) && descend(t.left.node, nil, yield)
	}
	return false
}

// LiveRange returns the number of live keys in [from, to), in time logarithmic
// in the number of keys. No from: from the first key. No to: to the last.
func (m Map) LiveRange(from, to []byte) uint64 {
	low, high := m.liveBelow(from), m.Live()
	if len(to) > 0 {
		high = m.liveBelow(to)
	}
	if high < low {
		return 0 // from > to
	}
	return high - low
}

// LivePrefix returns the number of live keys that begin with prefix, in time
// logarithmic in the number of keys.
func (m Map) LivePrefix(prefix []byte) uint64 {
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
func (m Map) liveBelow(key []byte) uint64 {
	if len(key) == 0 {
		return 0
	}
	var below uint64
	for _, r := range m.roots() {
		if r.space < key[0] {
			below += r.tree.live()
		} else if r.space == key[0] {
			below += liveBelow(r.tree.node, key)
		}
	}
	return below
}

func liveBelow(n node, key []byte) uint64 {
	var below uint64
	for {
		switch t := n.(type) {
		case *inner:
			if t.route.above(key) {
				n = t.left.node
			} else {
				below += t.left.live()
				n = t.right.node
			}
		case *pair:
			return below + liveBelow(&t.a, key) + liveBelow(&t.b, key)
		case *leaf:
			if t.key < string(key) {
				below += t.live()
			}
			return below
		}
	}
}
