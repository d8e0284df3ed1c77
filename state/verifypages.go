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
	report func(Ref, error)
}

// child verifies from c down, whose parent lies on page in. It returns what
// lies below in pages, itself included; Oldest is the greatest number if there
// is none.
func (v *pageVerifier) child(c *child, in Ref) Place {
	s, ok := c.node.(*stub)
	if !ok {
		return v.node(c, c, in)
	}
	if v.ctx.Err() != nil {
		return s.Place
	}
	p, err := v.pages.read(s.Ref)
	if err == nil {
		err = p.fits(c, s)
	}
	if err != nil {
		v.report(s.Ref, err)
		return s.Place
	}
	got := v.node(c, &p.top, s.Ref)
	got = Place{s.Ref, min(got.Oldest, s.File), got.Bytes + uint64(s.Len)}
	if got != s.Place && v.ctx.Err() == nil {
		v.report(s.Ref, fmt.Errorf("%w: %v: %d bytes from file %d on lie below it, wanted %d from file %d on",
			ErrPage, s.Ref, got.Bytes, got.Oldest, s.Bytes, s.Oldest))
	}
	return s.Place
}

// node verifies the node of at, which is no stub, against the hash in c.
func (v *pageVerifier) node(c, at *child, in Ref) Place {
	below := Place{Oldest: NoFile}
	got := c.hash
	switch n := at.node.(type) {
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
		v.report(in, fmt.Errorf("%w: %v: a node of height %d has hash %s, wanted %s", ErrPage, in, at.height(), got, c.hash))
	}
	return below
}
