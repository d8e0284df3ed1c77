package state

import "graven/merkle"

// Proof shows which leaf the search for a key ends at, under a state root. If
// that leaf has the key, it is the key's newest version. If it has another, the
// key never had one. A Proof is a plain value: it owns its slices, and it is
// worth nothing before [Proof.Verify].
type Proof struct {
	Spaces []SpaceLine // the other spaces that have keys, in order
	Leaf   *Leaf       // where the search ends; nil: the key's space has no keys
	Steps  []Step      // from the space's root down; empty: the leaf is the root
}

// Step is one inner node on the way: its routing key and the child that the
// search does not take. Which side that is follows from key and routing key.
type Step struct {
	Hash   merkle.Hash // of the sibling
	Live   uint64      // live keys below the sibling
	Height uint8       // of the sibling
	Route  []byte      // routing key of the node
}

// Prove returns the proof for a stored key of MinKey to MaxKey bytes. One for
// any other length does not verify. The caller owns the proof.
func (m Map) Prove(key []byte) Proof {
	if len(key) == 0 {
		return Proof{}
	}
	roots := m.roots()
	p := Proof{Spaces: spaceLines(roots, int(key[0]))}
	n := find(roots, key[0])
	if n == nil {
		return p
	}
	var way [MaxHeight]*inner
	depth, text := 0, 0
	for {
		t, ok := n.(*inner)
		if !ok {
			break
		}
		way[depth] = t
		depth++
		text += len(t.route)
		if string(key) < t.route {
			n = t.left.node
		} else {
			n = t.right.node
		}
	}
	l := n.(*leaf).export()
	p.Leaf = &l
	if depth == 0 {
		return p
	}
	routes := make([]byte, 0, text) // one piece of memory for all of them
	p.Steps = make([]Step, depth)
	for i, t := range way[:depth] {
		sibling := &t.left
		if string(key) < t.route {
			sibling = &t.right
		}
		at := len(routes)
		routes = append(routes, t.route...)
		p.Steps[i] = Step{sibling.hash, sibling.live(), sibling.height(), routes[at:len(routes):len(routes)]}
	}
	return p
}
