package segment

import (
	"bytes"
	"container/heap"
	"iter"
)

// Merge returns the rows of files in order. Where two have the same key and seq,
// that of the file that comes first counts. It reads past the cache, a page of
// each file at a time.
func Merge(files []*Reader) Rows {
	return func() iter.Seq2[Row, error] {
		return func(yield func(Row, error) bool) {
			var h merging
			for i, r := range files {
				it := &Iter{r: r, direct: true}
				if it.First() {
					h = append(h, source{it: it, row: it.Row(), rank: i})
				} else if it.Err() != nil {
					yield(Row{}, it.Err())
					return
				}
			}
			heap.Init(&h)
			h.run(yield)
		}
	}
}

// source is a file that is being merged, and the row that it stands on.
type source struct {
	it   *Iter
	row  Row
	rank int
}

// merging is a heap: the source with the least row is the first.
type merging []source

func (h merging) Len() int      { return len(h) }
func (h merging) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *merging) Push(any)     {} // never called
func (h merging) Less(i, j int) bool {
	if c := compare(h[i].row.Key, h[i].row.Seq, h[j].row.Key, h[j].row.Seq); c != 0 {
		return c < 0
	}
	return h[i].rank < h[j].rank
}

func (h *merging) Pop() any {
	*h = (*h)[:len(*h)-1]
	return nil
}

func (h *merging) run(yield func(Row, error) bool) {
	var last []byte
	var seq uint64
	for len(*h) > 0 {
		s := &(*h)[0]
		if last == nil || s.row.Seq != seq || !bytes.Equal(s.row.Key, last) {
			if !yield(s.row, nil) {
				return
			}
			last, seq = append(last[:0], s.row.Key...), s.row.Seq
		}
		switch {
		case s.it.Next():
			s.row = s.it.Row()
			heap.Fix(h, 0)
		case s.it.Err() != nil:
			yield(Row{}, s.it.Err())
			return
		default:
			heap.Remove(h, 0)
		}
	}
}
