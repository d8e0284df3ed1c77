package fsx

import "fmt"

// effect is what one operation does to one inode, until it is certain.
type effect struct {
	at   int // index of the operation
	op   *Op
	node *inode

	// Of a folder: the name gone is taken away, then the name come is given to child.
	gone, come string
	child      uint64

	certain bool // a sync has covered it; it waits behind one that is not
	lost    bool // a failed sync has covered it: never certain
	pick    outcome
}

// outcome says what became of an effect.
type outcome uint32

const (
	absent        outcome = iota
	whole                 // as it was asked for
	tornHalf              // of a write: the first half only
	tornLast              // all but the last byte
	zeros                 // the file is long enough, the written range is zeros
	grown                 // the file is long enough, nothing else happened
	garbage               // other bytes
	garbageSecond         // the first half, then other bytes
	holeFirst             // zeros, then the second half
	holeSecond            // the first half, then zeros
	lateHalf              // the second half only; before it what was there
	tornAtSector          // up to the first sector border, the next, …
)

// sector is the unit in which disks write.
const sector = 512

// outcomes returns the number of outcomes that the effect can have.
func (f *effect) outcomes() outcome {
	if f.op.Kind != OpWrite {
		return whole + 1
	}
	first := f.op.Off/sector + 1
	last := (f.op.Off + int64(len(f.op.Data)) - 1) / sector
	return tornAtSector + outcome(last-first+1)
}

// sample returns an outcome: mostly whole or absent.
func (f *effect) sample(random *splitmix) outcome {
	r := random.next()
	if n := uint64(f.outcomes() - tornHalf); r%4 == 0 && f.op.Kind == OpWrite {
		return tornHalf + outcome(r>>8%n)
	}
	return outcome(r >> 2 & 1)
}

// torn returns how many bytes of the write a torn outcome leaves.
func (f *effect) torn() int {
	n := len(f.op.Data)
	switch {
	case f.pick == tornHalf:
		return n / 2
	case f.pick == tornLast:
		return n - 1
	case f.pick >= tornAtSector:
		border := (f.op.Off/sector + 1 + int64(f.pick-tornAtSector)) * sector
		return int(border - f.op.Off)
	}
	return n
}

// applyTo puts the outcome into a file's content.
func (f *effect) applyTo(n *node) {
	if f.pick == absent {
		return
	}
	if f.op.Kind == OpTruncate {
		n.resize(int(f.op.Size))
		return
	}
	off, data := int(f.op.Off), f.op.Data
	half := len(data) / 2
	front, back := f.unchanged(n.data)
	defer func() {
		if front > 0 {
			n.write(data[:front], off)
		}
		if back > 0 {
			n.write(data[len(data)-back:], off+len(data)-back)
		}
	}()
	switch f.pick {
	case zeros:
		n.write(make([]byte, len(data)), off)
	case grown:
		n.resize(max(len(n.data), off+len(data)))
	case garbage:
		n.write(f.noise(), off)
	case garbageSecond:
		n.write(data[:half], off)
		n.write(f.noise()[half:], off+half)
	case holeFirst:
		n.write(make([]byte, half), off)
		n.write(data[half:], off+half)
	case holeSecond:
		n.write(data[:half], off)
		n.write(make([]byte, len(data)-half), off+half)
	case lateHalf:
		n.write(data[half:], off+half)
	default:
		if k := f.torn(); k > 0 {
			n.write(data[:k], off)
		}
	}
}

// unchanged returns how many bytes at the start and at the end of a write are
// those that the file has there already; no damage reaches them. Disks write
// pages: an append, which must leave the earlier bytes of its page alone, and
// the same append with these bytes before it are one and the same.
func (f *effect) unchanged(old []byte) (front, back int) {
	off, data := int(f.op.Off), f.op.Data
	if f.pick == whole || off >= len(old) {
		return 0, 0
	}
	for under := old[off:]; front < min(len(data), len(under)) && under[front] == data[front]; {
		front++
	}
	if off+len(data) <= len(old) {
		under := old[off : off+len(data)]
		for back < len(data)-front && under[len(data)-1-back] == data[len(data)-1-back] {
			back++
		}
	}
	return front, back
}

// noise returns bytes of the write's length that differ from it almost everywhere.
func (f *effect) noise() []byte {
	random := splitmix(f.at)
	p := make([]byte, len(f.op.Data))
	for i := range p {
		p[i] = byte(random.next() >> 56)
	}
	return p
}

func (o outcome) String() string {
	names := [...]string{
		"absent", "kept", "torn in half", "torn before the last byte", "zeros", "grown with zeros",
		"garbage", "garbage in the second half", "hole in the first half", "hole in the second half", "second half only",
	}
	if int(o) < len(names) {
		return names[o]
	}
	return "torn at a sector"
}

func (f *effect) String() string {
	s := fmt.Sprintf("#%d %v ", f.at, *f.op)
	switch {
	case f.op.Kind == OpRename && f.op.Dir != f.op.ToDir && f.gone != "":
		s += "(old name) "
	case f.op.Kind == OpRename && f.op.Dir != f.op.ToDir:
		s += "(new name) "
	}
	if f.pick >= tornAtSector {
		return s + fmt.Sprintf("torn at %d", f.torn())
	}
	return s + f.pick.String()
}
