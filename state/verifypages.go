package state

import (
	"context"
	"fmt"
)

// VerifyPages reads all pages below the map, past the cache, computes every
// hash, live count and height anew and holds it against what stands above it.
// It reports each page that is not as it should be, and does not look further
// below one that cannot be read. The error is that of ctx.
func (m Map) VerifyPages(ctx context.Context, report func(Ref, error)) error {
	v := pageVerifier{ctx: ctx, pages: m.pages(), report: report}
	roots := m.roots()
	for i := range roots {
		v.child(&roots[i].tree, Ref{})
	}
	return ctx.Err()
}

// pageVerifier is one run of VerifyPages.
type pageVerifier struct {
	ctx    context.Context
	pages  *pages
	keys   keyRoom
	report func(Ref, error)
}

// child verifies from c down, whose parent lies on page in. It returns what
// lies below in pages, itself included; Oldest is the greatest number if there
// is none.
func (v *pageVerifier) child(c *child, in Ref) Place {
	at, i, away := c.place()
	if !away {
		return v.node(c, in)
	}
	if v.ctx.Err() != nil {
		return at
	}
	p := new(page)
	err := v.pages.read(p, at.Ref, true)
	if err == nil {
		err = p.fits(c, i, at.Ref)
	}
	if err != nil {
		v.report(at.Ref, err)
		return at
	}
	root := c.over(p, i)
	got := v.node(&root, at.Ref)
	if i > 0 {
		return got // of the rest of the page the map has something newer
	}
	got = Place{at.Ref, min(got.Oldest, at.File), got.Bytes + uint64(at.Len)}
	if got != at && v.ctx.Err() == nil {
		v.report(at.Ref, fmt.Errorf("%w: %v: %d bytes from file %d on lie below it, wanted %d from file %d on",
			ErrPage, at.Ref, got.Bytes, got.Oldest, at.Bytes, at.Oldest))
	}
	return at
}

// node verifies the node of c, which is in memory.
func (v *pageVerifier) node(c *child, in Ref) Place {
	below := Place{Oldest: NoFile}
	got := c.hash
	r := room{keys: &v.keys}
	switch n := c.opened(&r).(type) {
	case *leaf:
		got = n.hash()
	case *pair:
		got = n.hash()
	case *inner:
		left, right := v.child(&n.left, in), v.child(&n.right, in)
		below.Oldest, below.Bytes = min(left.Oldest, right.Oldest), left.Bytes+right.Bytes
		got = n.hash()
	}
	if got != c.hash {
		v.report(in, fmt.Errorf("%w: %v: a node of height %d has hash %s, wanted %s", ErrPage, in, c.height(), got, c.hash))
	}
	return below
}
