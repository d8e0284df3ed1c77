package record

import (
	"bytes"
	"strconv"
	"time"
)

// A transaction, inline and wide:
//
//	{"v":1,"kind":"tx",…,"actor":"…","id":"…"[,"class":"…"],"req":"sha256:…"[,"sig":{"key":"…","sig":"…"}]
//	,"ops":[{"op":…},{"op":…}]}
//	,"wide":{"lines":"sha256:…","size":N,"count":N,"root":"<b64>"}}

// Tx is the body of a transaction.
type Tx struct {
	// Actor is who did it; valid UTF-8, at most [MaxName] bytes, may be empty.
	Actor string
	// ID makes retries idempotent; like Actor. Empty: none.
	ID string
	// Class is the retention class of the values. Empty: the default of the
	// genesis, which is never written; never `log`.
	Class string
	// Req is the digest of what the caller fixed, see [ReqHash].
	Req ID
	// Sig is the actor's signature of Req, see [SigMessage]; nil: none.
	Sig *Sig
	// Ops are the ops in order; see [VerifyOps]. Invariant: either Ops has at
	// least one or Wide is not nil.
	Ops []Op
	// Wide stands for ops that lie in an artifact.
	Wide *Wide
}

var _ Body = (*Tx)(nil)

func (*Tx) kindOf() string { return KindTx }

func (t *Tx) check(seq uint64) *FieldError {
	if e := t.checkHead(); e != nil {
		return e
	}
	if t.Wide != nil {
		if len(t.Ops) > 0 {
			return invalidInt("ops", uint64(len(t.Ops)), "no ops in a wide transaction")
		}
		return t.Wide.check().in("wide")
	}
	for i := range t.Ops {
		if e := checkInlineOp(&t.Ops[i], seq); e != nil {
			return e.in("ops[" + strconv.Itoa(i) + "]")
		}
	}
	return verifyOps(t.Ops)
}

// checkHead checks all but the ops.
func (t *Tx) checkHead() *FieldError {
	if e := checkText("actor", t.Actor, 0, MaxName, limitName); e != nil {
		return e
	}
	if e := checkText("id", t.ID, 0, MaxName, limitName); e != nil {
		return e
	}
	if t.Class != "" {
		if e := checkUserClass("class", t.Class); e != nil {
			return e
		}
	}
	if t.Sig != nil {
		return t.Sig.check().in("sig")
	}
	return nil
}

// checkInlineOp checks a whole op of the record at seq, whose older versions
// are older records.
func checkInlineOp(o *Op, seq uint64) *FieldError {
	if e := o.check(true); e != nil {
		return e
	}
	if o.Prev >= seq {
		return invalidInt("prev", o.Prev, "less than the record's seq "+strconv.FormatUint(seq, 10))
	}
	return nil
}

func (t *Tx) appendFields(dst []byte) []byte {
	dst = t.appendHead(dst)
	if t.Wide != nil {
		return t.Wide.append(dst)
	}
	dst = append(dst, `,"ops":[`...)
	for i := range t.Ops {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = t.Ops[i].append(dst, true)
	}
	return append(dst, ']')
}

func (t *Tx) appendHead(dst []byte) []byte {
	dst = appendStringField(dst, `,"actor":`, t.Actor)
	dst = appendStringField(dst, `,"id":`, t.ID)
	if t.Class != "" {
		dst = appendStringField(dst, `,"class":`, t.Class)
	}
	dst = appendID(dst, `,"req":`, &t.Req)
	if t.Sig != nil {
		dst = t.Sig.append(append(dst, `,"sig":`...))
	}
	return dst
}

// AppendTx appends the line of an inline transaction from op lines that are
// already made, each with its line feed. tx gives the other fields; it has
// neither Ops nor Wide. The op lines are trusted to be what [Op.Append] or
// [FinishOp] wrote, in the order that [VerifyOps] wants; only their frame is
// checked. On error dst is returned as it was.
func AppendTx(dst []byte, seq uint64, at time.Time, tx *Tx, lines []byte) ([]byte, error) {
	if len(tx.Ops) > 0 || tx.Wide != nil {
		return dst, invalid("ops", "set", "none beside the op lines")
	}
	if e := checkPlace(KindTx, seq, at); e != nil {
		return dst, e
	}
	if e := tx.checkHead(); e != nil {
		return dst, e
	}
	if len(lines) == 0 {
		return dst, invalid("ops", "empty", "at least one")
	}
	start := len(dst)
	dst = appendFrame(dst, Version, KindTx, seq, at)
	dst = tx.appendHead(dst)
	dst = append(dst, `,"ops":[`...)
	for i := 0; len(lines) > 0; i++ {
		n := bytes.IndexByte(lines, '\n')
		if n < 0 || !framedOp(lines[:n]) {
			return dst[:start], invalidText("ops["+strconv.Itoa(i)+"]", lines, "an op line and a line feed")
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, lines[:n]...)
		lines = lines[n+1:]
	}
	return finishLine(append(dst, ']'), start)
}

func (p *scanner) tx(seq uint64) *Tx {
	at := p.i
	t := new(Tx)
	t.Actor = p.string(`,"actor":`)
	t.ID = p.string(`,"id":`)
	t.Class = p.optional(`,"class":`)
	p.id(`,"req":`, &t.Req)
	if p.has(`,"sig":`) {
		t.Sig = new(Sig)
		p.sig(t.Sig)
	}
	p.refuse(at, t.checkHead())
	if p.has(`,"wide":`) {
		t.Wide = p.wide()
		return t
	}
	at = p.i
	t.Ops = p.ops(seq)
	p.refuse(at, verifyOps(t.Ops))
	return t
}

// ops reads the ops of a transaction at seq; verifyOps is left to the caller.
func (p *scanner) ops(seq uint64) []Op {
	p.lit(`,"ops":[`)
	ops := make([]Op, 0, 1)
	for p.err == nil {
		at := p.i
		ops = append(ops, Op{})
		o := &ops[len(ops)-1]
		p.op(o, true)
		if p.err != nil {
			break
		}
		if e := checkInlineOp(o, seq); e != nil {
			p.refuse(at, e.in("ops["+strconv.Itoa(len(ops)-1)+"]"))
		}
		if p.has("]") {
			break
		}
		p.lit(",")
	}
	return ops
}
