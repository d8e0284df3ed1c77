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
	p := Proof{Spaces: spaceLines(m.roots(), int(key[0]))}
	root := find(m.roots(), key[0])
	if root == nil {
		return p
	}
	w := way{key: key, steps: make([]Step, 0, root.height()), text: make([]byte, 0, 4*len(key))}
	l := w.down(root.node).export()
	p.Leaf, p.Steps = &l, w.steps
	return p
}

// way collects the steps of a search.
type way struct {
	key   []byte
	steps []Step
	text  []byte // routing keys so far: a few pieces of memory for all of them
}

// down goes on from n and returns the leaf at the end.
func (w *way) down(n node) *leaf {
	for {
		switch t := n.(type) {
		case *inner:
			w.text = t.route.appendTo(w.text)
			if t.route.above(w.key) {
				w.add(t.right.side(), t.route.size())
				n = t.left.node
			} else {
				w.add(t.left.side(), t.route.size())
				n = t.right.node
			}
		case *pair:
			route := t.route()
			w.text = append(w.text, route...)
			if string(w.key) < route {
				w.add(t.b.side(), len(route))
				return &t.a
			}
			w.add(t.a.side(), len(route))
			return &t.b
		case *leaf:
			return t
		}
	}
}

// add adds a step whose routing key is the last n bytes of text.
func (w *way) add(sibling side, n int) {
	end := len(w.text)
	w.steps = append(w.steps, Step{sibling.hash, sibling.live, sibling.height, w.text[end-n : end : end]})
}
