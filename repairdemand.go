package graven

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/record"
)

// What open blocks have to hold follows from the log alone (docs/format.md §5.1): the
// artifacts of a class in the order of their first mention, but for those that a
// record has sealed. So a repair asks no file what it should be.

// demand is what the log demands of the open blocks, by class.
type demand map[string]*classDemand

// classDemand is what it demands of those of one class.
type classDemand struct {
	class  string
	seen   map[record.ID]struct{} // that were mentioned
	list   []wanted               // of those, in order, that no record seals
	number uint64                 // of the block that the first of them stands in
	began  uint64                 // height of the commit that sealed the block before; 0: there is none
	blind  error                  // why the list is not all: op lines cannot be read
}

// wanted is an artifact that the log mentions.
type wanted struct {
	id     record.ID
	size   int64  // in bytes; unknown for a document, until it is found
	height uint64 // of the commit that ends the group of its first mention
}

const unknown = -1 // a size that the log does not tell

// blind reports whether op lines could not be read.
func (d demand) blind() bool {
	for _, c := range d {
		if c.blind != nil {
			return true
		}
	}
	return false
}

// demands follows the mentions of a log that was verified.
func (r *repairer) demands(l *wholeLog) (demand, error) {
	if err := r.ownBlocks(l.scan.blocks); err != nil {
		return nil, err
	}
	d := &demander{r: r, of: demand{}}
	for _, part := range l.parts {
		in, err := l.open(part.first)
		if err != nil {
			return nil, err
		}
		err = d.file(bufio.NewReaderSize(io.LimitReader(in, part.size), record.MaxLine+2))
		if err := errors.Join(err, in.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name(), err)
		}
	}
	return d.of, nil
}

// demander is one walk over a log.
type demander struct {
	r      *repairer
	of     demand
	next   uint64 // record
	height uint64 // of the next commit
	seals  []record.Block
}

func (d *demander) file(in *bufio.Reader) error {
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if err := d.line(line[:len(line)-1]); err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrDamaged, d.next, err)
		}
		if d.next++; d.next%4096 == 0 && d.r.ctx.Err() != nil {
			return d.r.ctx.Err()
		}
	}
}

func (d *demander) line(line []byte) error {
	rec, err := record.Parse(line)
	if err != nil {
		return err
	}
	switch b := rec.Body.(type) {
	case *record.Genesis:
		d.mention(classLog, b.Authority, unknown)
		d.mention(classLog, b.Policy, unknown)
	case *record.Document:
		d.mention(classLog, b.Doc, unknown)
	case *record.Tx:
		return d.transaction(line, b)
	case *record.Block:
		if b.Number != nil {
			d.seals = append(d.seals, *b)
		}
	case *record.Commit:
		return d.commit()
	}
	return nil
}

func (d *demander) class(name string) *classDemand {
	c := d.of[name]
	if c == nil {
		c = &classDemand{class: name, seen: map[record.ID]struct{}{}}
		d.of[name] = c
	}
	return c
}

// mention lets an artifact enter its class, if it has not.
func (d *demander) mention(class string, id record.ID, size int64) {
	c := d.class(class)
	if _, again := c.seen[id]; again || c.blind != nil {
		return
	}
	c.seen[id] = struct{}{}
	c.list = append(c.list, wanted{id: id, size: size, height: d.height})
}

func (d *demander) transaction(line []byte, tx *record.Tx) error {
	class := tx.Class
	if class == "" {
		class = d.r.genesis.Class
	}
	ops := tx.Ops
	if tx.Wide != nil {
		d.mention(classLog, tx.Wide.Lines, int64(tx.Wide.Size))
		if c := d.class(class); c.blind != nil {
			return nil
		}
		b, err := d.r.fetch(wanted{id: tx.Wide.Lines, size: int64(tx.Wide.Size)})
		if err != nil {
			d.class(class).blind = fmt.Errorf("the op lines of record %d, %v, cannot be read, so what stands behind them is not known: %w", d.next, tx.Wide.Lines, err)
			return nil
		}
		if ops, _, err = tx.Wide.Open(b); err != nil {
			return err
		}
	}
	for i := range ops {
		if op := &ops[i]; (op.Kind == record.OpPut || op.Kind == record.OpAppend) && op.Chunks == nil {
			d.mention(class, op.Value, int64(op.Size))
		}
	}
	return nil
}

// commit ends a group: records of sealed blocks take effect.
func (d *demander) commit() error {
	for _, rec := range d.seals {
		c := d.class(rec.Class)
		if c.blind == nil && rec.Count > uint64(len(c.list)) {
			return fmt.Errorf("block %d of class %s is sealed with %d artifacts, the log mentions %d", *rec.Number, rec.Class, rec.Count, len(c.list))
		}
		c.list = append([]wanted(nil), c.list[min(rec.Count, uint64(len(c.list))):]...)
		c.number, c.began = *rec.Number+1, d.height
	}
	d.seals = d.seals[:0]
	d.height++
	return nil
}

// openDemand is what one open block has to hold.
type openDemand struct {
	name   string
	class  string
	number uint64
	header []byte
	list   []wanted
	unsure error // why the list may be that of two blocks
}

// blocks parts what a class has to hold into blocks. A block ends with the group that
// fills it, and where it ended earlier the vault's own next block tells.
func (r *repairer) blocks(c *classDemand) (list []openDemand, err error) {
	for i, w := range c.list {
		if w.size == unknown {
			if b, err := r.fetch(w); err == nil {
				c.list[i].size = int64(len(b))
			}
		}
	}
	for from, number := 0, c.number; from < len(c.list); number++ {
		d := openDemand{name: openBlockName(c.class, number), class: c.class, number: number}
		d.header = block.AppendHeader(nil, block.Header{Vault: r.genesis.Vault, Class: c.class, Number: number})
		d.list = c.list[from:]
		began := uint64(0)
		if from == 0 {
			began = c.began
		}
		d.list = d.list[:d.full(began, r.genesis.BlockBytes)]
		early, err := r.endsEarly(&d)
		if err != nil {
			return nil, err
		}
		d.list = d.list[:early]
		list = append(list, d)
		from += len(d.list)
	}
	return list, nil
}

// full is how many artifacts the block takes: all up to the end of the group that
// brings it to the threshold. What stands before began came over from the block before.
func (d *openDemand) full(began, threshold uint64) int {
	size := uint64(len(d.header))
	for i, w := range d.list {
		size += uint64(w.frameLen())
		if size >= threshold && w.height >= began && d.endsGroup(i) {
			return i + 1
		}
	}
	return len(d.list)
}

func (d *openDemand) endsGroup(i int) bool {
	return i+1 == len(d.list) || d.list[i+1].height != d.list[i].height
}

// frameLen is how many bytes the artifact takes in a block, as far as that is known.
func (w wanted) frameLen() int64 {
	if w.size == unknown {
		return 0
	}
	return int64(len(block.AppendFrameHeader(nil, w.id, w.size))) + w.size + 1
}

// endsEarly is how many artifacts the block holds, as a snapshot lets a class begin a
// new block before the old one is full: the next block begins with one of these, or it
// is there and this one ends between two groups.
func (r *repairer) endsEarly(d *openDemand) (int, error) {
	next := openDemand{name: openBlockName(d.class, d.number+1)}
	next.header = block.AppendHeader(nil, block.Header{Vault: r.genesis.Vault, Class: d.class, Number: d.number + 1})
	exists, err := r.dir.Exists(next.name)
	if err != nil || !exists {
		return len(d.list), err
	}
	first, known := next.first(r.dir)
	if !known {
		first, known = next.first(r.copy)
	}
	if known {
		for i, w := range d.list {
			if i > 0 && w.id == first && d.endsGroup(i-1) {
				return i, nil
			}
		}
		return len(d.list), nil
	}
	if info, err := r.dir.Stat(d.name); err == nil {
		at := int64(len(d.header))
		for i, w := range d.list {
			if at += w.frameLen(); at == info.Size && d.endsGroup(i) {
				return i + 1, nil
			}
		}
	}
	d.unsure = fmt.Errorf("%w: %s does not begin with an artifact, so nothing tells where this block ends", ErrDamaged, next.name)
	return len(d.list), nil
}

// first is the artifact with which the block begins, in the file of a folder.
func (d *openDemand) first(dir fsx.Dir) (record.ID, bool) {
	in, err := dir.Open(d.name)
	if err != nil {
		return record.ID{}, false
	}
	defer in.Close()
	b := &heldBlock{openDemand: d}
	if err := b.read(in); err != nil {
		return record.ID{}, false
	}
	id, _, _, err := block.ParseFrameHeader(b.bytes(int64(len(d.header)), int64(len(d.header))+maxFrameHead))
	return id, err == nil
}
