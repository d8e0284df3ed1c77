package index

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"graven/internal/segment"
	"graven/record"
)

// The value of a row of `keys`, whose key is the stored key and whose seq is the
// record's:
//
//	flags │ n │ prev │ skip │ op │ size │ value │ chunks │ type
//
// Flags is one byte. Numbers are varints; for prev and skip stands 0 if they are
// 0, otherwise how far they are behind seq. Size and value are there with
// flagValue, chunks (32 bytes) with flagChunks, type, up to the end, with
// flagType.
const (
	flagLive = 1 << iota
	flagValue
	flagChunks
	flagType
	flagsKnown = 1<<iota - 1
)

func appendVersion(dst []byte, v *Version) ([]byte, error) {
	if v.Prev >= v.Seq || v.Skip >= v.Seq {
		return nil, fmt.Errorf("index: version at seq %d with prev %d and skip %d, which are not before it", v.Seq, v.Prev, v.Skip)
	}
	flags := byte(0)
	if v.Live {
		flags |= flagLive
	}
	if v.Value != (record.ID{}) || v.Size > 0 {
		flags |= flagValue
	}
	if v.Chunks != nil {
		flags |= flagChunks
	}
	if v.Type != "" {
		flags |= flagType
	}
	dst = binary.AppendUvarint(append(dst, flags), v.N)
	dst = appendBack(dst, v.Seq, v.Prev)
	dst = appendBack(dst, v.Seq, v.Skip)
	dst = binary.AppendUvarint(dst, uint64(v.Op))
	if flags&flagValue != 0 {
		dst = append(binary.AppendUvarint(dst, v.Size), v.Value[:]...)
	}
	if v.Chunks != nil {
		dst = append(dst, v.Chunks[:]...)
	}
	return append(dst, v.Type...), nil
}

// appendBack appends how far an earlier seq is behind a later one.
func appendBack(dst []byte, seq, earlier uint64) []byte {
	if earlier == 0 {
		return append(dst, 0)
	}
	return binary.AppendUvarint(dst, seq-earlier)
}

// decoder takes fields off the front of a value. Once something was wrong it
// stays so.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || n > 1 && d.rest[n-1] == 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) id() (id record.ID) {
	if len(d.rest) < len(id) {
		d.bad, d.rest = true, nil
		return id
	}
	copy(id[:], d.rest)
	d.rest = d.rest[len(id):]
	return id
}

// back is what appendBack appended.
func (d *decoder) back(seq uint64) uint64 {
	n := d.uvarint()
	if n == 0 {
		return 0
	}
	if n >= seq {
		d.bad = true
	}
	return seq - n
}

func parseVersion(seq uint64, value []byte) (Version, error) {
	if len(value) == 0 || value[0]&^flagsKnown != 0 || seq == 0 {
		return Version{}, errors.New("a version of a key")
	}
	flags, d := value[0], decoder{rest: value[1:]}
	v := Version{Seq: seq, N: d.uvarint(), Live: flags&flagLive != 0}
	v.Prev, v.Skip = d.back(seq), d.back(seq)
	op := d.uvarint()
	v.Op = uint32(op)
	if flags&flagValue != 0 {
		v.Size = d.uvarint()
		v.Value = d.id()
	}
	if flags&flagChunks != 0 {
		id := d.id()
		v.Chunks = &id
	}
	v.Type = string(d.rest)
	noValue := v.Size == 0 && v.Value == (record.ID{})
	if d.bad || uint64(v.Op) != op || (flags&flagType != 0) != (v.Type != "") || (flags&flagValue != 0) == noValue {
		return Version{}, errors.New("a version of a key")
	}
	return v, nil
}

// Place says where an artifact lies.
type Place struct {
	ID     record.ID
	Class  string
	Chunk  bool      // it lies in a chunk block, otherwise in a numbered block
	Number uint64    // of the numbered block
	Block  record.ID // of the chunk block
	Offset int64     // in the block's file, in bytes
	Size   int64     // in bytes
}

// appendKey appends the key of a row of `shard-…`, whose seq is 0: the digest,
// the class, and one byte, `n` for a numbered block and `c` for a chunk block.
func (p *Place) appendKey(dst []byte) []byte {
	kind := byte('n')
	if p.Chunk {
		kind = 'c'
	}
	return append(append(append(dst, p.ID[:]...), p.Class...), kind)
}

// appendValue appends the value of the row: the number of the block, a varint, or
// the 32 bytes of its id; then offset and size, varints.
func (p *Place) appendValue(dst []byte) []byte {
	if p.Chunk {
		dst = append(dst, p.Block[:]...)
	} else {
		dst = binary.AppendUvarint(dst, p.Number)
	}
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(p.Offset)), uint64(p.Size))
}

func parsePlace(r segment.Row) (Place, error) {
	var p Place
	n := copy(p.ID[:], r.Key)
	rest := r.Key[n:]
	if len(rest) == 0 || rest[len(rest)-1] != 'n' && rest[len(rest)-1] != 'c' {
		return p, errors.New("the key of an artifact")
	}
	p.Class, p.Chunk = string(rest[:len(rest)-1]), rest[len(rest)-1] == 'c'
	d := decoder{rest: r.Value}
	if p.Chunk {
		p.Block = d.id()
	} else {
		p.Number = d.uvarint()
	}
	p.Offset, p.Size = int64(d.uvarint()), int64(d.uvarint())
	if d.bad || len(d.rest) > 0 || p.Offset < 0 || p.Size < 0 {
		return p, errors.New("the place of an artifact")
	}
	return p, nil
}

// IDRow is what an idempotency id of an actor stands for.
type IDRow struct {
	Actor, ID string
	Seq       uint64    // of the transaction's record
	Number    uint64    // of the transaction, counted from 0, the vault's first
	Req       record.ID // the request's digest
}

// idKey is the key of a row of `ids`, whose seq is the record's: SHA-256 over
// the length of actor, a varint, actor, and id. The value is number, a varint,
// and the 32 bytes of req.
func idKey(actor, id string) []byte {
	text := binary.AppendUvarint(make([]byte, 0, 10+len(actor)+len(id)), uint64(len(actor)))
	sum := sha256.Sum256(append(append(text, actor...), id...))
	return sum[:]
}

func (r *IDRow) appendValue(dst []byte) []byte {
	return append(binary.AppendUvarint(dst, r.Number), r.Req[:]...)
}

func (r *IDRow) parse(row segment.Row) error {
	d := decoder{rest: row.Value}
	r.Seq, r.Number, r.Req = row.Seq, d.uvarint(), d.id()
	if d.bad || len(d.rest) > 0 {
		return errors.New("an idempotency id")
	}
	return nil
}
