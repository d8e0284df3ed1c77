package index

import (
	"slices"
)

// Cover names the segments that cover so many runs when all merges are done, each
// by the base of its files' names, in the order of the runs. They follow from the
// number alone: of each level as many as its digit of the number in base 16.
func Cover(runs uint64) []string {
	var names []string
	for start := uint64(0); start < runs; {
		level := uint64(0)
		for level < maxLevel && start%width(level+1) == 0 && start+width(level+1) <= runs {
			level++
		}
		names = append(names, baseName(address{level, start / width(level)}))
		start += width(level)
	}
	return names
}

// End is where a segment in play ends.
type End struct {
	Border
	File string // of the segment
}

// Ends returns the ends of the segments in play, in ascending order.
func (x *Index) Ends() (ends []End) {
	for _, g := range x.set.Load().segs {
		ends = append(ends, End{Border: g.border(), File: g.keys.Name()})
	}
	return ends
}

// Files returns the files of the segments in play that hold any of the first so
// many runs, by name relative to the vault's folder, sorted.
func (x *Index) Files(runs uint64) ([]string, error) {
	s, err := x.acquire()
	if err != nil {
		return nil, err
	}
	defer s.release()
	var names []string
	for _, g := range s.segs {
		if g.start() >= runs {
			continue
		}
		for _, table := range x.tables() {
			if *g.file(table) != nil {
				names = append(names, x.path(fileName(table, g.address)))
			}
		}
	}
	slices.Sort(names)
	return names, nil
}
