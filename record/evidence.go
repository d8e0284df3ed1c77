package record

import "graven/merkle"

// Records about files:
//
//	…"kind":"block",…[,"number":N],"id":"sha256:…","size":N,"count":N,"class":"main"}
//	…"kind":"segment",…,"level":N,"number":N,"format":N,"root":"<b64>"}
//	…"kind":"snapshot",…,"number":N,"position":N,"manifest":"sha256:…"}

// Block is the body of a record that seals an open block, or admits a chunk
// block.
type Block struct {
	// Number is that of the class's open block, from 0 without gaps; nil for a
	// chunk block.
	Number *uint64
	// ID is the SHA-256 of the sealed file and Size its length in bytes.
	ID   ID
	Size uint64
	// Count is the number of artifacts in it.
	Count uint64
	// Class is the class of the artifacts.
	Class string
}

// Segment is the body of a record about a finished index segment. It is
// evidence only.
type Segment struct {
	// Level and Number place the segment: level L stands for 16^L runs.
	Level, Number uint64
	// Format is the index format.
	Format uint64
	// Root is the RFC 6962 root over the lines `<64 hex>  <name>` of its files.
	Root merkle.Hash
}

// Snapshot is the body of a record about a pin-set.
type Snapshot struct {
	// Number counts snapshots; Position is the seq they stand at.
	Number, Position uint64
	// Manifest is the SHA-256 of the manifest.
	Manifest ID
}

var (
	_ Body = (*Block)(nil)
	_ Body = (*Segment)(nil)
	_ Body = (*Snapshot)(nil)
)

func (*Block) kindOf() string    { return KindBlock }
func (*Segment) kindOf() string  { return KindSegment }
func (*Snapshot) kindOf() string { return KindSnapshot }

func (b *Block) check(uint64) *FieldError {
	if b.Number != nil {
		if e := checkInt("number", *b.Number); e != nil {
			return e
		}
	}
	if e := checkInts(intField{"size", b.Size}, intField{"count", b.Count}); e != nil {
		return e
	}
	return checkClass("class", b.Class)
}

func (b *Block) appendFields(dst []byte) []byte {
	if b.Number != nil {
		dst = appendInt(dst, `,"number":`, *b.Number)
	}
	dst = appendID(dst, `,"id":`, &b.ID)
	dst = appendInt(dst, `,"size":`, b.Size)
	dst = appendInt(dst, `,"count":`, b.Count)
	return appendStringField(dst, `,"class":`, b.Class)
}

func (p *scanner) block() *Block {
	at := p.i
	b := new(Block)
	if p.has(`,"number":`) {
		b.Number = new(uint64)
		*b.Number = p.int("")
	}
	p.id(`,"id":`, &b.ID)
	b.Size = p.int(`,"size":`)
	b.Count = p.int(`,"count":`)
	b.Class = p.string(`,"class":`)
	p.refuse(at, b.check(0))
	return b
}

func (s *Segment) check(uint64) *FieldError {
	return checkInts(intField{"level", s.Level}, intField{"number", s.Number}, intField{"format", s.Format})
}

func (s *Segment) appendFields(dst []byte) []byte {
	dst = appendInt(dst, `,"level":`, s.Level)
	dst = appendInt(dst, `,"number":`, s.Number)
	dst = appendInt(dst, `,"format":`, s.Format)
	return appendHash(dst, `,"root":`, &s.Root)
}

func (p *scanner) segment() *Segment {
	s := new(Segment)
	s.Level = p.int(`,"level":`)
	s.Number = p.int(`,"number":`)
	s.Format = p.int(`,"format":`)
	p.hash(`,"root":`, &s.Root)
	return s
}

func (s *Snapshot) check(uint64) *FieldError {
	return checkInts(intField{"number", s.Number}, intField{"position", s.Position})
}

func (s *Snapshot) appendFields(dst []byte) []byte {
	dst = appendInt(dst, `,"number":`, s.Number)
	dst = appendInt(dst, `,"position":`, s.Position)
	return appendID(dst, `,"manifest":`, &s.Manifest)
}

func (p *scanner) snapshot() *Snapshot {
	s := new(Snapshot)
	s.Number = p.int(`,"number":`)
	s.Position = p.int(`,"position":`)
	p.id(`,"manifest":`, &s.Manifest)
	return s
}
