package graven

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/record"
)

// openBlock brings back what of one open block is damaged or missing. What is sound
// stays as it is, and what stands behind all that the log demands is not looked at.
func (r *repairer) openBlock(d *openDemand) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	r.report.Checked++
	b := &heldBlock{openDemand: d}
	in, err := r.dir.Open(d.name)
	if err == nil {
		defer in.Close()
		err = b.read(in)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b.judge()
	if b.begins && b.bad == 0 || b.in == nil && !r.closed && r.sealedBehind(d) {
		return nil
	}
	what := b.what()
	if d.unsure != nil {
		r.fail(d.name, what, d.unsure)
		return nil
	}
	why := b.find(r.fetch)
	if b.found > 0 || !b.begins && b.left < len(d.list) {
		err := r.replace(d.name, what, func(w io.Writer) error { return errors.Join(b.compose(w, r.fetch), b.behind(w, r.closed)) })
		if err != nil || r.report.Files[len(r.report.Files)-1].Err != nil {
			return err
		}
		if b.left == 0 {
			return r.sealedForm(b)
		}
		what = fmt.Sprintf("damaged or missing still: %d of %d artifacts that the log mentions, the first %v", b.left, len(b.list), b.lacks)
	}
	r.fail(d.name, what, why)
	return nil
}

// sealedBehind reports whether all artifacts of an open block that is not there stand
// elsewhere in their class, since it was sealed behind the checkpoint.
func (r *repairer) sealedBehind(d *openDemand) bool {
	for _, w := range d.list {
		ref, ok, err := r.own.Lookup(d.class, w.id)
		if err == nil && ok {
			_, err = r.own.Read(ref, w.id)
		}
		if err != nil || !ok {
			return false
		}
	}
	return true
}

// sealedForm brings back the sealed form of an open block that was damaged: until its
// record is written they are one file with two names.
func (r *repairer) sealedForm(b *heldBlock) error {
	end, entries := int64(len(b.header)), []block.Entry(nil)
	for _, p := range b.places {
		end = p.end()
		entries = append(entries, block.Entry{ID: p.id, Offset: end - 1 - p.size, Size: p.size})
	}
	count := uint64(len(entries))
	tail := block.AppendTrailer(block.AppendTOC(nil, entries), end, count)
	sum := sha256.New()
	if err := b.compose(sum, r.fetch); err != nil {
		return err
	}
	sum.Write(tail)
	rec := record.Block{ID: record.ID(sum.Sum(nil)), Size: uint64(end) + uint64(len(tail)), Count: count, Class: b.class}
	if exists, err := r.dir.Exists(sealedBlock(rec.ID)); err != nil || !exists {
		return err
	}
	return r.sealedFrom(rec, func(w io.Writer) error {
		if err := b.compose(w, r.fetch); err != nil {
			return err
		}
		_, err := w.Write(tail)
		return err
	})
}

// heldBlock is an open block, held against what the log demands of it.
type heldBlock struct {
	*openDemand
	in     fsx.File  // nil: it is missing
	size   int64     // of the file
	begins bool      // with its header
	places []place   // of the artifacts, up to the first whose size nothing tells
	bad    int       // artifacts that do not stand in their place
	found  int       // of those, that can be had and put there
	left   int       // of those, the others
	lacks  record.ID // the first of these
}

// place is where an artifact has to stand.
type place struct {
	wanted
	at    int64 // of its frame
	sound bool  // it stands there
	found bool  // it does not, and can be had
}

func (p place) end() int64 { return p.at + p.frameLen() }

func (b *heldBlock) read(in fsx.File) (err error) {
	b.in = in
	if b.size, err = in.Size(); err == nil {
		b.begins = bytes.Equal(b.bytes(0, int64(len(b.header))), b.header)
	}
	return err
}

// bytes are those of a part of the file, as far as they can be read.
func (b *heldBlock) bytes(from, to int64) []byte {
	if b.in == nil || from >= b.size {
		return nil
	}
	buf := make([]byte, min(to, b.size)-from)
	n, _ := b.in.ReadAt(buf, from)
	return buf[:n]
}

// judge finds the place of each artifact, and whether it stands there.
func (b *heldBlock) judge() {
	at := int64(len(b.header))
	for _, w := range b.list {
		head := b.bytes(at, at+maxFrameHead)
		id, size, _, err := block.ParseFrameHeader(head)
		if err == nil && id == w.id && w.size == unknown {
			w.size = size
		}
		if w.size == unknown {
			break
		}
		p := place{wanted: w, at: at}
		if want := block.AppendFrameHeader(nil, w.id, w.size); p.end() <= b.size && bytes.HasPrefix(head, want) {
			frame := b.bytes(p.at, p.end())
			n := len(frame) - 1
			p.sound = int64(len(frame)) == p.frameLen() && record.IDOf(frame[len(want):n]) == w.id && frame[n] == '\n'
		}
		if !p.sound {
			b.bad++
		}
		b.places = append(b.places, p)
		at = p.end()
	}
	b.bad += len(b.list) - len(b.places)
}

// what says what is wrong with it.
func (b *heldBlock) what() string {
	switch {
	case b.in == nil:
		return "it is missing"
	case b.bad == 0:
		return fmt.Sprintf("it does not begin with %q", b.header)
	}
	id, at := b.list[len(b.list)-1].id, b.size
	for i, w := range b.list {
		if i == len(b.places) || !b.places[i].sound {
			id = w.id
			if i < len(b.places) {
				at = b.places[i].at
			}
			break
		}
	}
	return fmt.Sprintf("offset %d: artifact %v does not stand there, which the log mentions; that is so for %d of %d", at, id, b.bad, len(b.list))
}

// find looks for the artifacts that do not stand in their place, and says why the first
// of those that are left cannot be put there. Behind one that the file does not reach
// and nobody has, there is no place for others.
func (b *heldBlock) find(fetch func(wanted) ([]byte, error)) (why error) {
	for i := range b.places {
		p := &b.places[i]
		if p.sound {
			continue
		}
		if _, err := fetch(p.wanted); err != nil {
			if why == nil {
				b.lacks, why = p.id, err
			}
			if p.end() > b.size {
				b.places = b.places[:i]
				break
			}
			continue
		}
		p.found = true
		b.found++
	}
	b.left = b.bad - b.found
	if why == nil && b.left > 0 {
		b.lacks = b.list[len(b.places)].id
		why = fmt.Errorf("%w: neither the vault nor the copy has the document %v, and nothing else tells where it ends", ErrDamaged, b.lacks)
	}
	return why
}

// compose puts out the block with what was found in its place, and the rest as it is.
func (b *heldBlock) compose(w io.Writer, fetch func(wanted) ([]byte, error)) error {
	if _, err := w.Write(b.header); err != nil {
		return err
	}
	for _, p := range b.places {
		frame := b.bytes(p.at, p.end())
		if p.found {
			artifact, err := fetch(p.wanted)
			if err != nil {
				return err
			}
			frame = block.AppendFrame(nil, block.Artifact{ID: p.id, Bytes: artifact})
		}
		if int64(len(frame)) != p.frameLen() {
			return fmt.Errorf("%w: %s, offset %d: %d bytes cannot be read", ErrDamaged, b.name, p.at, p.frameLen())
		}
		if _, err := w.Write(frame); err != nil {
			return err
		}
	}
	return nil
}

// behind puts out what the vault has behind that: frames of later groups, room, the
// ending of a seal. Other bytes came there with the damage, if closed says that no group
// is later.
func (b *heldBlock) behind(w io.Writer, closed bool) error {
	at := int64(len(b.header))
	if n := len(b.places); n > 0 {
		at = b.places[n-1].end()
	}
	head := b.bytes(at, at+maxFrameHead)
	if len(head) == 0 {
		return nil
	}
	if closed && head[0] != 0 && !bytes.HasPrefix(head, []byte("toc ")) && len(b.places) == len(b.list) {
		return nil
	}
	_, err := io.Copy(w, io.NewSectionReader(b.in, at, b.size-at))
	return err
}
