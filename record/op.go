package record

import "graven/merkle"

// Op lines, one object each, the same bytes inline and in an artifact:
//
//	{"op":"put"[,"space":"00"],"key":"…","value":"sha256:…","size":N[,"type":"…"][,"chunks":"sha256:…"][,"enc":"…"]
//	          [,"if":{…}],"prev":N,"skip":N,"n":N}
//	{"op":"delete"[,"space":"00"],"key":"…"[,"if":{…}],"prev":N,"skip":N,"n":N}
//	{"op":"append","value":"sha256:…","size":N[,"type":"…"][,"chunks":"sha256:…"][,"enc":"…"]}
//	{"op":"if"[,"space":"00"],"key":"…","absent":true | "present":true | "seq":N | "value":"sha256:…"}
//	{"op":"if"[,"space":"00"][,"from":"…"][,"to":"…"],"since":N}
//
// key, from and to are key64, from64 and to64 for bytes that are not UTF-8.
// prev, skip and n are the committer's; without them a line is the request.

// OpKind says what an op does. The zero value is none.
type OpKind uint8

// The kinds of ops.
const (
	OpPut    OpKind = iota + 1 // a new live version of a key
	OpDelete                   // a new deleted version of a key
	OpAppend                   // a value that touches no key
	OpIf                       // a condition on what is not written
)

// String returns the op's name in lines.
func (k OpKind) String() string {
	switch k {
	case OpPut:
		return "put"
	case OpDelete:
		return "delete"
	case OpAppend:
		return "append"
	case OpIf:
		return "if"
	}
	return "none"
}

// CondKind says what a condition asks of a key. The zero value is none.
type CondKind uint8

// The conditions.
const (
	Absent   CondKind = iota + 1 // no live value
	Present                      // a live value, whatever it is
	AtSeq                        // the newest version, live or deleted, has this seq; 0: there never was one
	HasValue                     // a live value with this id
)

// Cond is a condition on one key.
type Cond struct {
	Kind CondKind
	// Seq belongs to AtSeq, 0 to [MaxInt].
	Seq uint64
	// Value belongs to HasValue.
	Value ID
}

// Op is one op of a transaction. Fields that its kind does not have are zero;
// the encoder refuses others, so that nothing is lost silently.
type Op struct {
	Kind OpKind
	// Space is the first byte of the stored key. The zero value is the system
	// space, not users' keys: callers set [SpaceUser]. An append has no space
	// and ignores it.
	Space byte
	// Key is 1 to [MaxKey] bytes of put, delete, and if over one key.
	Key []byte
	// Value and Size are the id and the length of the whole value of put and append.
	Value ID
	Size  uint64
	// Type is the value's media type, 1 to 255 bytes; empty: none.
	Type string
	// Chunks is the id of the list of chunks; nil for a value in one piece.
	Chunks *ID
	// Enc names how the stored bytes are encrypted; empty: not.
	Enc string
	// If is the condition: of a put or delete on its own key, optional; of an
	// if on Key.
	If *Cond
	// Prev is the seq of version N-1 of the key, 0 if N is 1. Skip is the seq
	// of version [J](N), 0 if that is 0. N is the number of this version, from
	// 1. Of put and delete.
	Prev, Skip, N uint64
	// From and To bound the range [From, To) of an if without Key; empty: the
	// ends of the space.
	From, To []byte
	// Since: no key of the range has a version with a greater seq.
	Since uint64
}

// StoredKey returns the space byte followed by the key, in new memory.
func (o *Op) StoredKey() []byte {
	stored := make([]byte, 0, 1+len(o.Key))
	return append(append(stored, o.Space), o.Key...)
}

// CheckChunks returns an error that wraps [ErrInvalid] unless a value above
// the vault's value limit has chunks and any other has none.
func (o *Op) CheckChunks(valueLimit uint64) error {
	switch {
	case o.Kind != OpPut && o.Kind != OpAppend, (o.Chunks != nil) == (o.Size > valueLimit):
		return nil
	case o.Chunks == nil:
		return invalidInt("size", o.Size, "chunks above the value limit")
	}
	return invalidInt("size", o.Size, "no chunks up to the value limit")
}

// OpDigest returns the digest of an op line: its RFC 6962 leaf hash.
func OpDigest(line []byte) merkle.Hash { return merkle.LeafHash(line) }

// Append appends the op line, without a line feed. On error, which wraps
// [ErrInvalid], dst is returned as it was.
func (o *Op) Append(dst []byte) ([]byte, error) {
	if e := o.check(true); e != nil {
		return dst, e
	}
	return o.append(dst, true), nil
}

// AppendRequest appends the op line without prev, skip and n, which are
// ignored: what the caller fixes. Errors are those of [Op.Append].
func (o *Op) AppendRequest(dst []byte) ([]byte, error) {
	if e := o.check(false); e != nil {
		return dst, e
	}
	return o.append(dst, false), nil
}

// WritesKey reports whether ops of the kind make a version of a key.
func (k OpKind) WritesKey() bool { return k == OpPut || k == OpDelete }

// HasValue reports whether the op carries a value.
func (o *Op) HasValue() bool { return o.Kind.holds() }

// holds reports whether ops of the kind carry a value.
func (k OpKind) holds() bool { return k == OpPut || k == OpAppend }
