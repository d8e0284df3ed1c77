package fsx

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// This file turns a trace into the disks that a power cut could leave.
//
// The cut comes after some prefix of the recorded operations. An effect of the
// prefix is certain only if the prefix also holds a later successful sync of
// that file (writes, truncates) or of that folder (create, link, rename,
// remove, mkdir). Every other effect is an independent choice: absent, whole,
// and for a write also torn, zeroed, holed or garbage (see outcome). Effects
// that happened are applied in the order of the trace.
//
//   - A failed sync of a file leaves what was written before it optional for
//     ever, even if a later sync works. A failed sync of a folder is as good as
//     none: its names are in the file system's journal and are written again.
//   - A write that begins or ends with what the file holds there already is
//     damaged only between: writing the same again is harmless.
//   - A rename within a folder happens or not. A rename between folders is two
//     effects, the new name and the loss of the old one, one in each folder.
//   - A synced file whose name is not certain may be gone.
//   - Lock files are there from the moment they are made; nothing may depend on
//     their content, so they are not worth any choices.

// CrashOptions bounds the enumeration. The zero value is useful.
type CrashOptions struct {
	// MaxPerPrefix is the number of states yielded for one prefix, at most; 0 means 128.
	MaxPerPrefix int
	// Seed picks the sampled states. The same trace, options and Seed give the same states.
	Seed uint64
	// From is the first prefix, a number of operations; earlier ones are left out.
	From int
}

// CrashState is a disk that a power cut could leave.
type CrashState struct {
	// Prefix is the number of operations before the cut.
	Prefix int
	// Events are the marks in the prefix, in order: what the world knew. Not to be changed.
	Events []any
	// Disk is what is found afterwards: independent, without locks and handles,
	// not recording. It may be changed and recorded, for a crash within recovery.
	Disk *Mem
	// Desc says which effects were left out or damaged.
	Desc string
}

// CrashCount says how large an enumeration is.
type CrashCount struct {
	Prefixes int // prefixes that yield at least one state
	States   int // states in all
}

// CrashStates enumerates the states of the trace that began with Record, as it
// is now. For every prefix it yields: nothing uncertain kept; all of it kept
// (what a killed process leaves); all combinations of present and absent for up
// to six effects, or else each effect alone present, alone absent, the first k
// present, and all combinations of the newest four; every damage of every
// write, with everything else present and with everything else absent; and
// sampled combinations of it all. Beyond MaxPerPrefix it samples, newest first.
//
// Equal disks are yielded once between two marks. A prefix directly before a
// mark is left out: the one after it has the same disks and one event more.
// It panics if the disk does not record: a test that enumerates nothing proves
// nothing.
func (m *Mem) CrashStates(opts CrashOptions) iter.Seq[*CrashState] {
	return func(yield func(*CrashState) bool) {
		e := m.newEnumerator(opts)
		e.run(func() bool {
			return yield(&CrashState{Prefix: e.prefix, Events: slices.Clip(e.events), Disk: e.disk(), Desc: e.describe()})
		})
	}
}

// CountCrashStates counts what CrashStates would yield.
func (m *Mem) CountCrashStates(opts CrashOptions) CrashCount {
	var c CrashCount
	last := -1
	e := m.newEnumerator(opts)
	e.run(func() bool {
		c.States++
		if e.prefix != last {
			c.Prefixes++
			last = e.prefix
		}
		return true
	})
	return c
}

// enumerator walks over the prefixes of a trace.
type enumerator struct {
	opts   CrashOptions
	ops    []Op
	nextID uint64
	world  *world

	prefix int
	events []any
	open   []*effect           // the uncertain effects that may matter, oldest first
	seen   map[uint64]struct{} // fingerprints of states since the last mark
	random splitmix
}

func (m *Mem) newEnumerator(opts CrashOptions) *enumerator {
	if opts.MaxPerPrefix <= 0 {
		opts.MaxPerPrefix = 128
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.recording {
		panic("fsx: crash states of a disk that does not record")
	}
	return &enumerator{
		opts: opts, ops: m.ops[:len(m.ops):len(m.ops)], nextID: m.nextID,
		world: newWorld(m.start), seen: map[uint64]struct{}{},
	}
}

// run calls emit for each state, with its choices in the picks of the open
// effects, until it returns false.
func (e *enumerator) run(emit func() bool) {
	for p := 0; ; p++ {
		same := false // as the prefix before
		if p > 0 {
			op := &e.ops[p-1]
			e.world.advance(p-1, op)
			switch op.Kind {
			case OpMark:
				e.events = append(e.events, op.Event)
				clear(e.seen)
			case OpReserve:
				same = p > e.opts.From
			}
		}
		atMark := p < len(e.ops) && e.ops[p].Kind == OpMark
		if p >= e.opts.From && !atMark && !same {
			e.prefix = p
			if !e.runPrefix(emit) {
				return
			}
		}
		if p == len(e.ops) {
			return
		}
	}
}

// runPrefix emits the states of the present prefix.
func (e *enumerator) runPrefix(emit func() bool) bool {
	e.open = e.world.uncertain()
	e.random = splitmix(e.opts.Seed ^ uint64(e.prefix)*0x9e3779b97f4a7c15)
	left := e.opts.MaxPerPrefix
	try := func(c choice) bool {
		if left == 0 {
			return true
		}
		c.apply(e.open)
		sum := e.world.fingerprint()
		if _, dup := e.seen[sum]; dup {
			return true
		}
		e.seen[sum] = struct{}{}
		left--
		return emit()
	}
	for _, c := range e.choices() {
		if !try(c) {
			return false
		}
	}
	if len(e.open) < 2 {
		return true // nothing to combine
	}
	for range min(left, max(1, e.opts.MaxPerPrefix/8)) {
		if !try(choice{kind: chooseRandom, state: e.random.next()}) {
			return false
		}
	}
	return true
}

// choices returns the systematic choices for the open effects, thinned out if
// there are more than fit.
func (e *enumerator) choices() []choice {
	list := []choice{{kind: chooseBits, rest: absent}, {kind: chooseBits, rest: whole}}
	room := e.opts.MaxPerPrefix - len(list)
	subsets := e.subsets()
	damages, sectors := e.damages()
	room = max(0, room-min(room/8, len(e.open))) // sampled ones need some too
	for i, part := range [][]choice{subsets, damages, sectors} {
		quota := room / (3 - i)
		taken := e.thin(part, quota)
		room -= len(taken)
		list = append(list, taken...)
	}
	return list
}

// subsets returns choices of present and absent effects.
func (e *enumerator) subsets() []choice {
	n := len(e.open)
	var list []choice
	if n <= 6 {
		for bits := range uint64(1) << n {
			list = append(list, choice{kind: chooseBits, bits: bits, count: n})
		}
		return list
	}
	for i := n - 1; i >= 0; i-- {
		list = append(list,
			choice{kind: chooseOne, at: i, pick: absent, rest: whole},
			choice{kind: chooseOne, at: i, pick: whole, rest: absent},
			choice{kind: chooseFirst, at: i})
	}
	for bits := range uint64(1) << 4 {
		list = append(list,
			choice{kind: chooseBits, bits: bits, count: 4, rest: whole},
			choice{kind: chooseBits, bits: bits, count: 4, rest: absent})
	}
	return list
}

// damages returns choices with one damaged write; those torn at a sector's
// border come apart, as a long write has many.
func (e *enumerator) damages() (list, sectors []choice) {
	for i := len(e.open) - 1; i >= 0; i-- {
		for pick := whole + 1; pick < e.open[i].outcomes(); pick++ {
			to := &list
			if pick >= tornAtSector {
				to = &sectors
			}
			*to = append(*to,
				choice{kind: chooseOne, at: i, pick: pick, rest: whole},
				choice{kind: chooseOne, at: i, pick: pick, rest: absent})
		}
	}
	return list, sectors
}

// thin takes at most n choices: half of them from the front, where the newest
// effects are, and the others at random.
func (e *enumerator) thin(list []choice, n int) []choice {
	if len(list) <= n {
		return list
	}
	for i := n / 2; i < n; i++ {
		j := i + int(e.random.next()%uint64(len(list)-i))
		list[i], list[j] = list[j], list[i]
	}
	return list[:n]
}

// choice assigns an outcome to each open effect.
type choice struct {
	kind  choiceKind
	bits  uint64  // chooseBits: whole or absent for the newest count effects
	count int     // chooseBits
	at    int     // chooseOne, chooseFirst
	pick  outcome // chooseOne
	rest  outcome // chooseBits, chooseOne: all others
	state uint64  // chooseRandom: where the generator starts
}

type choiceKind uint8

const (
	chooseBits   choiceKind = iota // the newest by bits, all others rest
	chooseOne                      // one is pick, all others rest
	chooseFirst                    // those before at are whole, the others absent
	chooseRandom                   // anything
)

// apply stores the outcomes in the effects.
func (c choice) apply(open []*effect) {
	random := splitmix(c.state)
	for i, f := range open {
		switch age := len(open) - 1 - i; {
		case c.kind == chooseRandom:
			f.pick = f.sample(&random)
		case c.kind == chooseFirst:
			f.pick = absent
			if i < c.at {
				f.pick = whole
			}
		case c.kind == chooseOne && i == c.at:
			f.pick = c.pick
		case c.kind == chooseBits && age < c.count:
			f.pick = outcome(c.bits >> age & 1) // absent or whole
		default:
			f.pick = c.rest
		}
	}
}

// describe says what the present choice is.
func (e *enumerator) describe() string {
	var b strings.Builder
	if e.prefix == 0 {
		b.WriteString("before the first operation")
	} else {
		fmt.Fprintf(&b, "after #%d %v", e.prefix-1, e.ops[e.prefix-1])
	}
	kept := 0
	for _, f := range e.open {
		if f.pick == whole {
			kept++
		}
	}
	common := absent
	if 2*kept > len(e.open) {
		common = whole
	}
	named, others := 0, 0
	for _, f := range e.open {
		if f.pick == common || named == 16 {
			others++
			continue
		}
		named++
		fmt.Fprintf(&b, "; %v", f)
	}
	if others > 0 {
		fmt.Fprintf(&b, "; %d more unsynced: %v", others, common)
	}
	return b.String()
}

// splitmix is the generator SplitMix64 (Steele, Lea, Flood 2014): small, and
// the same everywhere.
type splitmix uint64

func (s *splitmix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
