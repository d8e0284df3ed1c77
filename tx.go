package graven

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"unicode/utf8"

	"graven/internal/block"
	"graven/record"
)

// MaxInline is how many bytes the values inside one transaction may have in
// sum, and how many its op lines. Values above the vault's value limit are
// staged ahead and do not count.
const MaxInline = 64 << 20

// Content is a value on its way into a transaction: its bytes, or, if it was
// too large to travel with its group, the chunk block that already holds it.
type Content struct {
	id     record.ID
	size   uint64
	bytes  []byte          // nil if staged in a chunk block
	upload *block.Uploaded // nil if the bytes travel with the transaction
	vault  *Vault          // the vault that staged it; nil for Bytes
	use    *use            // of upload; shared by all copies of the Content
}

// use counts who needs a staged value, so that giving it up never takes it from
// a transaction that is on its way.
type use struct {
	mu       sync.Mutex
	requests int  // on their way
	kept     bool // a durable transaction names it
	dropped  bool // its owner gave it up
}

// take is called for each request that names the value; it reports whether the
// value is still there.
func (u *use) take() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.dropped && !u.kept {
		return false
	}
	u.requests++
	return true
}

// release ends what take began. It reports whether the value's file is to go.
func (u *use) release(durable bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.requests--
	u.kept = u.kept || durable
	return u.requests == 0 && u.dropped && !u.kept
}

// drop is the owner's wish. It reports whether the value's file is to go now.
func (u *use) drop() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	first := !u.dropped
	u.dropped = true
	return first && u.requests == 0 && !u.kept
}

// takeContents takes the staged values of a request, or none.
func (r *request) takeContents() error {
	for i := range r.contents {
		if u := r.contents[i].use; u != nil && !u.take() {
			r.contents[:i].release(false)
			return &OpError{i, fmt.Errorf("%w: its value was discarded", ErrInvalid)}
		}
	}
	return nil
}

// contents are the values of a transaction's ops.
type contents []Content

// release lets the staged ones go: their transaction is durable, or refused.
func (c contents) release(durable bool) {
	for i := range c {
		if u := c[i].use; u != nil && u.release(durable) {
			c[i].remove()
		}
	}
}

func (c Content) remove() { c.vault.blocks.DropUpload(*c.upload) } // what stays is swept at the next open

// Bytes makes a Content of b, which must not be changed until the transaction
// is committed. A value above the vault's value limit must be staged instead.
func Bytes(b []byte) Content {
	if b == nil {
		b = []byte{}
	}
	return Content{id: record.IDOf(b), size: uint64(len(b)), bytes: b}
}

// ID is the SHA-256 of the value.
func (c Content) ID() record.ID { return c.id }

// Size is the length of the value in bytes.
func (c Content) Size() uint64 { return c.size }

// Tx is a transaction under construction: puts, deletes and appends that happen
// together or not at all. A key occurs in it at most once. Build it in one
// goroutine, commit it once.
type Tx struct {
	Actor string // who; up to 256 bytes
	ID    string // idempotency id: committing the same request again gives the first receipt
	Class string // retention class of the values; empty: the vault's default

	// Sign, if it is set, signs the request for Actor: Commit calls it once, with
	// the vault's id and the request's digest (see proof.MessageSigner). The vault's
	// policy says whose requests must be signed, and by which keys.
	Sign func(vault record.VaultID, req record.ID) (record.Sig, error)

	ops      []record.Op
	contents contents // of ops[i]; the zero Content for deletes and conditions
	absentOK []bool   // of ops[i]: a delete may meet an absent key
}

// PutOptions are the optional parts of a put.
type PutOptions struct {
	Type string       // media type, up to 255 bytes
	If   *record.Cond // must hold when the transaction commits
}

// DeleteOptions are the optional parts of a delete.
type DeleteOptions struct {
	AllowAbsent bool         // do not fail if the key is absent
	If          *record.Cond // must hold when the transaction commits
}

// Len is the number of ops.
func (t *Tx) Len() int { return len(t.ops) }

func (t *Tx) add(op record.Op, c Content, absentOK bool) {
	t.ops = append(t.ops, op)
	t.contents = append(t.contents, c)
	t.absentOK = append(t.absentOK, absentOK)
}

// Put sets key to the value c.
func (t *Tx) Put(key []byte, c Content, o PutOptions) {
	t.add(valueOp(record.Op{Kind: record.OpPut, Space: record.SpaceUser, Key: bytes.Clone(key), Type: o.Type, If: o.If}, c), c, false)
}

// Append records the value c without a key.
func (t *Tx) Append(c Content, mediaType string) {
	t.add(valueOp(record.Op{Kind: record.OpAppend, Type: mediaType}, c), c, false)
}

// Delete ends the life of key. Its history stays.
func (t *Tx) Delete(key []byte, o DeleteOptions) {
	t.add(record.Op{Kind: record.OpDelete, Space: record.SpaceUser, Key: bytes.Clone(key), If: o.If}, Content{}, o.AllowAbsent)
}

// Require makes the transaction depend on a key that it does not write: c must
// hold when it commits, or the error is a [*ConflictError]. The condition is kept
// in the record.
func (t *Tx) Require(key []byte, c record.Cond) {
	t.condition(record.Op{Kind: record.OpIf, Space: record.SpaceUser, Key: bytes.Clone(key), If: &c})
}

// RequireUnchanged makes the transaction depend on all keys of [from, to), also
// those that do not exist yet: none may have a version whose record is behind
// since, or the error is a [*ConflictError]. Empty bounds are the ends of all keys.
func (t *Tx) RequireUnchanged(from, to []byte, since uint64) {
	t.condition(record.Op{Kind: record.OpIf, Space: record.SpaceUser, From: bytes.Clone(from), To: bytes.Clone(to), Since: since})
}

// condition adds an op of kind if, which stands before all of other kinds.
func (t *Tx) condition(op record.Op) {
	at := 0
	for at < len(t.ops) && t.ops[at].Kind == record.OpIf {
		at++
	}
	t.ops = slices.Insert(t.ops, at, op)
	t.contents = slices.Insert(t.contents, at, Content{})
	t.absentOK = slices.Insert(t.absentOK, at, false)
}

func valueOp(op record.Op, c Content) record.Op {
	op.Value, op.Size = c.id, c.size
	if c.upload != nil {
		list := c.upload.List
		op.Chunks = &list
	}
	return op
}

// request is a transaction as the committer takes it: checked, encoded, hashed
// and digested in the caller's goroutine, so that the one committer only adds
// what it alone knows.
type request struct {
	actor    string
	id       string
	class    string // as in the record: empty for the default
	req      record.ID
	sig      *record.Sig // the actor's, of req; nil: none
	judged   *policy     // that was asked whether it allows it
	denied   error       // what it said, if it does not
	policy   *policy     // instead of all this: a new policy
	errand   *errand     // or what a snapshot needs of the committer
	ops      []record.Op
	lines    [][]byte // request lines of the ops: without prev, skip, n
	contents contents
	absentOK []bool
	bytes    int // of request lines and inline values

	// absent says of which contents the class had no artifact when the caller looked, at a
	// time when block.Store.Forgotten was forgotten.
	absent    []bool
	forgotten uint64

	claimed chan struct{}    // buffered 1: whoever sends first owns the request, committer or a caller that gave up
	done    chan requestDone // buffered 1
}

type requestDone struct {
	receipt *Receipt
	err     error
}

// lookedFor says when the caller looked for a content in vain, see
// block.Store.MentionedSince; 0: it did not look, or found it.
func (r *request) lookedFor(content int) (forgotten uint64) {
	if content < len(r.absent) && r.absent[content] {
		return r.forgotten
	}
	return 0
}

// encode checks a transaction against the limits and makes a request of it.
func (v *Vault) encode(tx *Tx) (*request, error) {
	if tx == nil || len(tx.ops) == 0 {
		return nil, fmt.Errorf("%w: a transaction needs at least one op", ErrInvalid)
	}
	r := &request{
		actor: tx.Actor, id: tx.ID, class: tx.Class,
		ops: tx.ops, contents: tx.contents, absentOK: tx.absentOK,
		claimed: make(chan struct{}, 1), done: make(chan requestDone, 1),
	}
	if r.class == v.genesis.Class {
		r.class = "" // the default is never written
	}
	if err := v.checkLimits(r); err != nil {
		return nil, err
	}
	if err := record.VerifyOps(r.ops); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	digest := record.NewReq(r.actor, r.id, r.class, len(r.ops))
	r.lines = make([][]byte, len(r.ops))
	var buf []byte
	for i := range r.ops {
		start := len(buf)
		var err error
		if buf, err = r.ops[i].AppendRequest(buf); err != nil {
			return nil, &OpError{i, fmt.Errorf("%w: %w", ErrInvalid, err)}
		}
		r.lines[i] = buf[start:len(buf):len(buf)]
		digest.Op(r.lines[i])
		r.bytes += len(r.lines[i])
		if len(buf) > MaxInline {
			return nil, &LimitError{Field: "op lines of the transaction", Value: uint64(len(buf)), Limit: MaxInline}
		}
	}
	r.req = digest.Sum()
	if tx.Sign != nil {
		sig, err := tx.Sign(v.genesis.Vault, r.req)
		if err != nil {
			return nil, fmt.Errorf("signing the request of actor %q: %w", r.actor, err)
		}
		sig.Sig = bytes.Clone(sig.Sig) // the signer's buffer is its own
		r.sig = &sig
	}
	r.judged = v.View().policy
	r.denied = r.judged.allows(v.genesis.Vault, r.actor, r.class, r.req, r.sig)
	if r.denied != nil && r.id == "" { // with an id it may be a retry of what is written
		return nil, r.denied
	}
	return r, nil
}

// Admits says whether the vault would take a transaction: whether it keeps the
// limits, and the policy lets its actor write, with this signature. Nothing is
// written, and conditions and the id are not looked at. A vault that was opened
// for reading is asked as if it could be written.
func (v *Vault) Admits(tx *Tx) error {
	if !v.opts.ReadOnly {
		if err := v.writable(); err != nil {
			return err
		}
	}
	r, err := v.encode(tx)
	if err != nil {
		return err
	}
	return r.denied
}

// checkLimits names the field, its value and the limit.
func (v *Vault) checkLimits(r *request) error {
	over := func(field string, value, limit int) error {
		if value > limit {
			return &LimitError{Field: field, Value: uint64(value), Limit: uint64(limit)}
		}
		return nil
	}
	if err := over("actor", len(r.actor), record.MaxName); err != nil {
		return err
	}
	if err := over("id", len(r.id), record.MaxName); err != nil {
		return err
	}
	if err := over("ops", len(r.ops), record.MaxOps); err != nil {
		return err
	}
	if !utf8.ValidString(r.actor) || !utf8.ValidString(r.id) {
		return fmt.Errorf("%w: actor %q, id %q: both are UTF-8", ErrInvalid, r.actor, r.id)
	}
	inline := 0
	for i := range r.ops {
		op, c := &r.ops[i], &r.contents[i]
		if op.Kind.WritesKey() {
			if len(op.Key) == 0 {
				return &OpError{i, fmt.Errorf("%w: a key has at least one byte", ErrInvalid)}
			}
			if err := over("key", len(op.Key), record.MaxKey); err != nil {
				return err
			}
		}
		if op.Kind != record.OpPut && op.Kind != record.OpAppend {
			continue
		}
		if c.vault != nil && c.vault != v {
			return &OpError{i, fmt.Errorf("%w: its value was staged in vault %q, not in %q", ErrInvalid, c.vault.name, v.name)}
		}
		if c.upload == nil && c.bytes == nil {
			return &OpError{i, fmt.Errorf("%w: it has no value", ErrInvalid)}
		}
		if c.upload == nil && c.size > v.genesis.ValueLimit {
			return &OpError{i, &LimitError{Field: "value inside a transaction (stage larger ones)", Value: c.size, Limit: v.genesis.ValueLimit}}
		}
		if c.upload != nil && c.upload.Class != v.className(r.class) {
			return &OpError{i, fmt.Errorf("%w: its value was staged for class %q, the transaction is of class %q", ErrInvalid, c.upload.Class, v.className(r.class))}
		}
		inline += len(c.bytes)
	}
	r.bytes += inline
	return over("values inside the transaction", inline, MaxInline)
}

// opLines gives the full op lines of a request for the links that the committer
// found, and what they come to with their newlines.
func opLines(r *request, chain []link) (full [][]byte, size int) {
	full = make([][]byte, len(r.lines))
	for i, line := range r.lines {
		if l := chain[i]; r.ops[i].Kind.WritesKey() {
			line = record.FinishOp(make([]byte, 0, len(line)+48), line, l.prev, l.skip, l.n)
		}
		full[i] = line
		size += len(line) + 1
	}
	return full, size
}
