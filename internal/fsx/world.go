package fsx

import (
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// world is a disk as far as it is certain, with the effects that are not.
type world struct {
	root   *inode
	inodes map[uint64]*inode
}

// inode is a file or folder of a world. Its content is base with the tail
// applied to it.
type inode struct {
	id      uint64
	dir     bool
	private bool

	data    node              // of a file: the certain content; always shared
	entries map[string]uint64 // of a folder: the certain names
	tail    []*effect         // in order; those not certain, and certain ones behind such

	// made holds contents by the picks of the tail; emptied when base or tail change.
	made  map[string]*content
	bytes int    // of the files' contents in made
	key   []byte // scratch

	walking bool  // guards walks against folders within themselves
	copied  *node // while a disk is made: this inode there
}

// content is what an inode holds after some choice. It is never changed.
type content struct {
	data    []byte
	entries map[string]uint64
	sum     uint64 // of a file
}

// newWorld takes over a tree in which everything is certain.
func newWorld(root *node) *world {
	w := &world{inodes: map[uint64]*inode{}}
	var add func(n *node) *inode
	add = func(n *node) *inode {
		if i := w.inodes[n.id]; i != nil {
			return i
		}
		i := w.add(n.id, n.dir, n.private)
		if !n.dir {
			i.data = node{data: n.data[:len(n.data):len(n.data)], shared: true}
		}
		for name, child := range n.entries {
			i.entries[name] = add(child).id
		}
		return i
	}
	w.root = add(root)
	return w
}

func (w *world) add(id uint64, dir, private bool) *inode {
	i := &inode{id: id, dir: dir, private: private, made: map[string]*content{}}
	i.data.shared = true
	if dir {
		i.entries = map[string]uint64{}
	}
	w.inodes[id] = i
	return i
}

// advance takes one more operation into the prefix.
func (w *world) advance(at int, op *Op) {
	switch op.Kind {
	case OpCreate, OpMkdir:
		w.add(op.Inode, op.Kind == OpMkdir, op.Private)
		w.name(at, op, op.Dir, "", op.Name)
	case OpLink:
		w.name(at, op, op.ToDir, "", op.To)
	case OpRemove:
		w.name(at, op, op.Dir, op.Name, "")
	case OpRename:
		if op.Dir == op.ToDir {
			w.name(at, op, op.Dir, op.Name, op.To)
			return
		}
		w.name(at, op, op.ToDir, "", op.To)
		w.name(at, op, op.Dir, op.Name, "")
	case OpLock:
		w.add(op.Inode, false, false)
		_, base := split(op.Name)
		i := w.inodes[op.Dir]
		i.entries[base] = op.Inode
		i.forget()
	case OpWrite, OpTruncate:
		i := w.inodes[op.Inode]
		i.push(&effect{at: at, op: op, node: i})
	case OpSync, OpSyncDir:
		w.inodes[op.Inode].sync(op.Failed)
	}
}

// name adds the effect of an operation on the names in a folder.
func (w *world) name(at int, op *Op, dir uint64, gone, come string) {
	f := &effect{at: at, op: op, node: w.inodes[dir], child: op.Inode}
	if gone != "" {
		_, f.gone = split(gone)
	}
	if come != "" {
		_, f.come = split(come)
	}
	f.node.push(f)
}

func (i *inode) push(f *effect) {
	i.tail = append(i.tail, f)
	i.forget()
}

// sync makes the tail certain, or, for a file whose sync failed, uncertain for ever.
func (i *inode) sync(failed bool) {
	if len(i.tail) == 0 || failed && i.dir {
		return
	}
	for _, f := range i.tail {
		switch {
		case f.lost || f.certain:
		case failed:
			f.lost = true
		default:
			f.certain = true
		}
	}
	done := 0
	for done < len(i.tail) && i.tail[done].certain {
		f := i.tail[done]
		f.pick = whole
		if i.dir {
			f.rename(i.entries)
		} else {
			f.applyTo(&i.data)
		}
		done++
	}
	i.tail = i.tail[done:]
	i.data.data, i.data.shared = i.data.data[:len(i.data.data):len(i.data.data)], true
	i.forget()
}

// rename puts the outcome into a folder's names.
func (f *effect) rename(entries map[string]uint64) {
	if f.pick == absent {
		return
	}
	if f.gone != "" {
		delete(entries, f.gone)
	}
	if f.come != "" {
		entries[f.come] = f.child
	}
}

// forget drops the contents made so far.
func (i *inode) forget() {
	clear(i.made)
	i.bytes = 0
}

// madeLimit bounds the bytes kept in made, for each inode.
const madeLimit = 4 << 20

// content returns what the inode holds under the present picks.
func (i *inode) content() *content {
	i.key = i.key[:0]
	for _, f := range i.tail {
		if f.certain {
			f.pick = whole
		}
		i.key = append(i.key, byte(f.pick), byte(f.pick>>8), byte(f.pick>>16))
	}
	if c := i.made[string(i.key)]; c != nil {
		return c
	}
	c := &content{}
	if i.dir {
		c.entries = i.entries
		if len(i.tail) > 0 {
			c.entries = maps.Clone(i.entries)
			for _, f := range i.tail {
				f.rename(c.entries)
			}
		}
	} else {
		n := i.data
		for _, f := range i.tail {
			f.applyTo(&n)
		}
		c.data = n.data[:len(n.data):len(n.data)]
		c.sum = xxhash.Sum64(c.data)
		if i.bytes += len(c.data); i.bytes > madeLimit {
			i.forget()
		}
	}
	i.made[string(i.key)] = c
	return c
}

// uncertain returns the effects that are open, oldest first, on files and
// folders that some choice can reach; all others make no difference.
func (w *world) uncertain() []*effect {
	var open []*effect
	reached := map[*inode]bool{}
	var walk func(i *inode)
	walk = func(i *inode) {
		if reached[i] {
			return
		}
		reached[i] = true
		for _, id := range i.entries {
			walk(w.inodes[id])
		}
		for _, f := range i.tail {
			if !f.certain {
				open = append(open, f)
			}
			if f.come != "" {
				walk(w.inodes[f.child])
			}
		}
	}
	walk(w.root)
	slices.SortFunc(open, func(a, b *effect) int { return a.at - b.at })
	return open
}

// fingerprint hashes what the present picks make of the whole tree: names,
// contents, rights. Which names are links to one file is left out.
func (w *world) fingerprint() uint64 { return w.sum(w.root) }

func (w *world) sum(i *inode) uint64 {
	c := i.content()
	right := uint64(1)
	if i.private {
		right = 2
	}
	if !i.dir {
		return mix(c.sum, uint64(len(c.data))<<2|right)
	}
	i.walking = true
	total := right << 32
	for name, id := range c.entries {
		if child := w.inodes[id]; !child.walking {
			total += mix(xxhash.Sum64String(name), w.sum(child)) // order makes no difference
		}
	}
	i.walking = false
	return mix(total, 3)
}

// mix is the finish of SplitMix64 over two words.
func mix(a, b uint64) uint64 {
	s := splitmix(a ^ b*0xff51afd7ed558ccd)
	return s.next() ^ b
}

// disk makes the tree of the present picks. Bytes are shared until written.
func (e *enumerator) disk() *Mem {
	w := e.world
	var made []*inode
	var build func(i *inode) *node
	build = func(i *inode) *node {
		if i.copied != nil {
			return i.copied
		}
		c := i.content()
		n := &node{id: i.id, dir: i.dir, private: i.private, data: c.data, shared: !i.dir}
		i.copied = n
		made = append(made, i)
		if i.dir {
			i.walking = true
			n.entries = make(map[string]*node, len(c.entries))
			for name, id := range c.entries {
				if child := w.inodes[id]; !child.walking {
					n.entries[name] = build(child)
				}
			}
			i.walking = false
		}
		return n
	}
	m := &Mem{root: build(w.root), nextID: e.nextID}
	for _, i := range made {
		i.copied = nil
	}
	return m
}
