package record

import "graven/merkle"

// The last line of a group:
//
//	{"v":1,"kind":"commit",…,"epoch":0,"height":7,"prev":"<b64>","lines":"sha256:…","root":"<b64>","state":"<b64>"}

// Commit is the body of a commit: the end of a group, which is the records
// after one commit up to and with the next.
type Commit struct {
	// Epoch is 0, and one more after each adopted restore.
	Epoch uint64
	// Height is the number of this commit, from 0.
	Height uint64
	// Prev is the leaf hash of the previous commit's line. Invariant: nil
	// exactly when Height is 0.
	Prev *merkle.Hash
	// Lines is the id of the group's lines before this one, each with its line feed.
	Lines ID
	// Root is the RFC 6962 root of all records before this line.
	Root merkle.Hash
	// State is the state root after this group.
	State merkle.Hash
}

var _ Body = (*Commit)(nil)

func (*Commit) kindOf() string { return KindCommit }

func (c *Commit) check(uint64) *FieldError {
	if e := checkInts(intField{"epoch", c.Epoch}, intField{"height", c.Height}); e != nil {
		return e
	}
	switch {
	case c.Prev != nil && c.Height == 0:
		return invalid("prev", c.Prev.String(), "none at height 0")
	case c.Prev == nil && c.Height != 0:
		return invalid("prev", "absent", "a hash above height 0")
	}
	return nil
}

func (c *Commit) appendFields(dst []byte) []byte {
	dst = appendInt(dst, `,"epoch":`, c.Epoch)
	dst = appendInt(dst, `,"height":`, c.Height)
	if c.Prev != nil {
		dst = appendHash(dst, `,"prev":`, c.Prev)
	}
	dst = appendID(dst, `,"lines":`, &c.Lines)
	dst = appendHash(dst, `,"root":`, &c.Root)
	return appendHash(dst, `,"state":`, &c.State)
}

func (p *scanner) commit() *Commit {
	at := p.i
	c := new(Commit)
	c.Epoch = p.int(`,"epoch":`)
	c.Height = p.int(`,"height":`)
	if p.has(`,"prev":`) {
		c.Prev = new(merkle.Hash)
		p.hash("", c.Prev)
	}
	p.id(`,"lines":`, &c.Lines)
	p.hash(`,"root":`, &c.Root)
	p.hash(`,"state":`, &c.State)
	p.refuse(at, c.check(0))
	return c
}
