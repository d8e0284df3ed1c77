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
// any other length does not verify. The caller owns the proof. An error says
// that a page could not be read.
func (m Map) Prove(key []byte) (Proof, error) {
	if len(key) == 0 {
		return Proof{}, nil
	}
	p := Proof{Spaces: spaceLines(m.roots(), int(key[0]))}
	root := find(m.roots(), key[0])
	if root == nil {
		return p, nil
	}
	w := way{key: key, steps: make([]Step, 0, root.height()), text: make([]byte, 0, 4*len(key)), room: room{keys: new(keyRoom)}}
	end, err := w.down(m.pages(), root)
	if err != nil {
		return Proof{}, err
	}
	l := end.export()
	p.Leaf, p.Steps = &l, w.steps
	return p, nil
}

// way collects the steps of a search.
type way struct {
	key   []byte
	steps []Step
	text  []byte // routing keys so far: a few pieces of memory for all of them
	room  room
}

// down goes on from c and returns the leaf at the end.
func (w *way) down(p *pages, c *child) (*leaf, error) {
	for {
		n, err := p.open(c, &w.room)
		if err != nil {
			return nil, err
		}
		switch t := n.(type) {
		case *inner:
			w.text = t.route.appendTo(w.text)
			if t.route.above(w.key) {
				w.add(t.right.side(), t.route.size())
				c = &t.left
			} else {
				w.add(t.left.side(), t.route.size())
				c = &t.right
			}
		case *pair:
			route := t.route()
			w.text = append(w.text, route...)
			if string(w.key) < route {
				w.add(t.b.side(), len(route))
				return &t.a, nil
			}
			w.add(t.a.side(), len(route))
			return &t.b, nil
		case *leaf:
			return t, nil
		}
	}
}

// add adds a step whose routing key is the last n bytes of text.
func (w *way) add(sibling side, n int) {
	end := len(w.text)
	w.steps = append(w.steps, Step{sibling.hash, sibling.live, sibling.height, w.text[end-n : end : end]})
}
