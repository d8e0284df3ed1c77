package record

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
)

// The request is what the caller fixed. Its digest is SHA-256 over
//
//	graven/req/v1\n
//	{"actor":"…","id":"…"[,"class":"…"],"count":N}\n
//	<op line without prev, skip and n>\n        one for each op

const reqDomain = "graven/req/v1\n"

// ReqHash computes a request's digest. It is made by [NewReq] and is not safe
// for concurrent use.
type ReqHash struct {
	sum hash.Hash // what left buf; nil while all fits there
	buf []byte    // what is not hashed yet
}

// NewReq begins the digest of a request of count ops. An empty class is absent.
func NewReq(actor, id, class string, count int) *ReqHash {
	r := &ReqHash{buf: make([]byte, 0, 512)}
	r.buf = append(r.buf, reqDomain...)
	r.buf = appendStringField(r.buf, `{"actor":`, actor)
	r.buf = appendStringField(r.buf, `,"id":`, id)
	if class != "" {
		r.buf = appendStringField(r.buf, `,"class":`, class)
	}
	r.buf = appendInt(r.buf, `,"count":`, uint64(count))
	r.buf = append(r.buf, "}\n"...)
	return r
}

// Op adds the next request line, which has no line feed; see [Op.AppendRequest].
func (r *ReqHash) Op(requestLine []byte) {
	r.buf = append(r.buf, requestLine...)
	r.buf = append(r.buf, '\n')
	r.flush()
}

// OpLine adds the request of the next op line; see [RequestOf].
func (r *ReqHash) OpLine(line []byte) error {
	buf, err := AppendRequestOf(r.buf, line)
	if err != nil {
		return err
	}
	r.buf = append(buf, '\n')
	r.flush()
	return nil
}

// reqBuffer is how many bytes wait before they are hashed together.
const reqBuffer = 1 << 12

func (r *ReqHash) flush() {
	if len(r.buf) <= reqBuffer {
		return
	}
	if r.sum == nil {
		r.sum = sha256.New()
	}
	r.sum.Write(r.buf)
	r.buf = r.buf[:0]
}

// Sum returns the digest of what was added. It is the last call.
func (r *ReqHash) Sum() ID {
	if r.sum == nil {
		return sha256.Sum256(r.buf)
	}
	r.sum.Write(r.buf)
	var id ID
	r.sum.Sum(id[:0])
	return id
}

// VerifyReq checks that t.Req is the digest of the request that t and its op
// lines hold. The error wraps [ErrMismatch], or [ErrSyntax] if a line is none.
func (t *Tx) VerifyReq(opLines [][]byte) error {
	r := NewReq(t.Actor, t.ID, t.Class, len(opLines))
	for i, line := range opLines {
		if err := r.OpLine(line); err != nil {
			return fmt.Errorf("op %d: %w", i, err)
		}
	}
	if got := r.Sum(); got != t.Req {
		return fmt.Errorf("%w: req is %s, its lines give %s", ErrMismatch, t.Req, got)
	}
	return nil
}

// SigMessage returns what an actor signs: the domain, the vault's id and the
// request's digest, each with a line feed.
func SigMessage(v VaultID, req ID) []byte {
	return []byte(reqDomain + v.String() + "\n" + req.String() + "\n")
}

// FinishOp appends the op line of a request line: with prev, skip and n if the
// op is a put or a delete, and as it is otherwise. The request must be one
// that [Op.AppendRequest] wrote; nothing is checked.
func FinishOp(dst, request []byte, prev, skip, n uint64) []byte {
	if !writesKey(request) {
		return append(dst, request...)
	}
	dst = append(dst, request[:len(request)-1]...)
	return appendLinks(dst, prev, skip, n)
}

// RequestOf returns the request line of an op line, in new memory: the inverse
// of [FinishOp]. The line must be one that [ParseOp] accepts; of a put or
// delete only the end is checked here. The error wraps [ErrSyntax].
func RequestOf(line []byte) ([]byte, error) { return AppendRequestOf(nil, line) }

// AppendRequestOf is [RequestOf] into dst, which is returned as it was on error.
func AppendRequestOf(dst, line []byte) ([]byte, error) {
	if !framedOp(line) {
		return dst, fmt.Errorf("%w: wanted an op line, got %s", ErrSyntax, short(line))
	}
	if !writesKey(line) {
		return append(dst, line...), nil
	}
	rest := line[:len(line)-1]
	// Backwards from the closing brace: the three members hold digits only, and
	// a raw quotation mark is never part of a string.
	for _, name := range [...]string{`,"n":`, `,"skip":`, `,"prev":`} {
		var ok bool
		if rest, ok = cutInt(rest, name); !ok {
			return dst, fmt.Errorf("%w: byte %d: wanted %s and an integer before it, got %s",
				ErrSyntax, len(rest), name, short(line))
		}
	}
	return append(append(dst, rest...), '}'), nil
}

// cutInt removes a member with an integer from the end of a line.
func cutInt(line []byte, name string) ([]byte, bool) {
	i := len(line)
	for i > 0 && line[i-1]-'0' < 10 {
		i--
	}
	if _, n := scanInt(line[i:]); n == 0 || !bytes.HasSuffix(line[:i], []byte(name)) {
		return line, false
	}
	return line[:i-len(name)], true
}

// writesKey reports whether a request or op line is of a put or a delete.
func writesKey(line []byte) bool {
	return bytes.HasPrefix(line, []byte(`{"op":"put"`)) || bytes.HasPrefix(line, []byte(`{"op":"delete"`))
}
