package record

// Names of members that hold bytes.
const (
	keyText, keyBase64   = `,"key":`, `,"key64":`
	fromText, fromBase64 = `,"from":`, `,"from64":`
	toText, toBase64     = `,"to":`, `,"to64":`
)

// append appends a checked op; whole: with prev, skip and n.
func (o *Op) append(dst []byte, whole bool) []byte {
	dst = append(dst, `{"op":"`...)
	dst = append(dst, o.Kind.String()...)
	dst = append(dst, '"')
	if o.Kind != OpAppend {
		dst = appendSpace(dst, `,"space":"`, o.Space)
	}
	if o.Kind == OpIf && o.Key == nil {
		return append(o.appendRange(dst), '}')
	}
	if o.Kind != OpAppend {
		dst = appendBytes(dst, keyNames{keyText, keyBase64}, o.Key)
	}
	if o.Kind.holds() {
		dst = o.appendValue(dst)
	}
	if o.If != nil && o.Kind == OpIf {
		dst = o.If.append(append(dst, ','))
	} else if o.If != nil {
		dst = append(o.If.append(append(dst, `,"if":{`...)), '}')
	}
	if whole && o.Kind.WritesKey() {
		return appendLinks(dst, o.Prev, o.Skip, o.N)
	}
	return append(dst, '}')
}

// appendSpace appends a space, unless it is the one that is never written.
func appendSpace(dst []byte, name string, space byte) []byte {
	if space == SpaceUser {
		return dst
	}
	return append(append(dst, name...), hexDigits[space>>4], hexDigits[space&0x0f], '"')
}

func (o *Op) appendRange(dst []byte) []byte {
	if len(o.From) > 0 {
		dst = appendBytes(dst, keyNames{fromText, fromBase64}, o.From)
	}
	if len(o.To) > 0 {
		dst = appendBytes(dst, keyNames{toText, toBase64}, o.To)
	}
	return appendInt(dst, `,"since":`, o.Since)
}

func (o *Op) appendValue(dst []byte) []byte {
	dst = appendID(dst, `,"value":`, &o.Value)
	dst = appendInt(dst, `,"size":`, o.Size)
	if o.Type != "" {
		dst = appendStringField(dst, `,"type":`, o.Type)
	}
	if o.Chunks != nil {
		dst = appendID(dst, `,"chunks":`, o.Chunks)
	}
	if o.Enc != "" {
		dst = appendStringField(dst, `,"enc":`, o.Enc)
	}
	return dst
}

// append appends the one member of a condition.
func (c *Cond) append(dst []byte) []byte {
	switch c.Kind {
	case Absent:
		return append(dst, `"absent":true`...)
	case Present:
		return append(dst, `"present":true`...)
	case AtSeq:
		return appendInt(dst, `"seq":`, c.Seq)
	}
	return appendID(dst, `"value":`, &c.Value)
}

// appendLinks appends what the committer adds, and the closing brace.
func appendLinks(dst []byte, prev, skip, n uint64) []byte {
	dst = appendInt(dst, `,"prev":`, prev)
	dst = appendInt(dst, `,"skip":`, skip)
	return append(appendInt(dst, `,"n":`, n), '}')
}

// ParseOp reads one op line, without its line feed, and accepts exactly what
// [Op.Append] writes. Errors are those of [Parse]. The op does not refer to line.
func ParseOp(line []byte) (Op, error) { return parseOp(line, true) }

// ParseRequest reads one request line and accepts exactly what
// [Op.AppendRequest] writes.
func ParseRequest(line []byte) (Op, error) { return parseOp(line, false) }

func parseOp(line []byte, whole bool) (Op, error) {
	p := scanner{b: line}
	var o Op
	p.op(&o, whole)
	if p.err == nil {
		p.refuse(0, o.check(whole))
	}
	if err := p.end(); err != nil {
		return Op{}, err
	}
	return o, nil
}

// op reads an op into a zero one. The caller checks it.
func (p *scanner) op(o *Op, whole bool) {
	switch {
	case p.has(`{"op":"put"`):
		o.Kind = OpPut
	case p.has(`{"op":"delete"`):
		o.Kind = OpDelete
	case p.has(`{"op":"append"`):
		o.Kind = OpAppend
	case p.has(`{"op":"if"`):
		o.Kind = OpIf
	default:
		p.fail(p.i, `an op: {"op":"put", "delete", "append" or "if"`)
		return
	}
	if o.Kind != OpAppend {
		o.Space = p.space(`,"space":"`)
		var ok bool
		if o.Key, ok = p.bytes(keyNames{keyText, keyBase64}); !ok && o.Kind != OpIf {
			p.fail(p.i, keyText+" or "+keyBase64)
		} else if !ok {
			p.keyRange(o)
			return
		}
	}
	if o.Kind.holds() {
		p.value(o)
	}
	if o.Kind == OpIf {
		p.lit(",")
		o.If = p.cond()
	} else if o.Kind != OpAppend && p.has(`,"if":{`) {
		o.If = p.cond()
		p.lit("}")
	}
	if whole && o.Kind.WritesKey() {
		o.Prev = p.int(`,"prev":`)
		o.Skip = p.int(`,"skip":`)
		o.N = p.int(`,"n":`)
	}
	p.lit("}")
}

// space reads a space if there is one.
func (p *scanner) space(name string) byte {
	at := p.i
	if !p.has(name) {
		return SpaceUser
	}
	var space [1]byte
	if len(p.b)-p.i < 2 || !decodeHex(space[:], p.b[p.i:p.i+2]) {
		p.fail(p.i, "2 lower-case hex digits")
		return 0
	}
	p.i += 2
	p.lit(`"`)
	if space[0] == SpaceUser {
		p.fail(at, "no space 6b, which is never written")
	}
	return space[0]
}

// keyRange reads the rest of an if without a key.
func (p *scanner) keyRange(o *Op) {
	o.From = p.bound(keyNames{fromText, fromBase64})
	o.To = p.bound(keyNames{toText, toBase64})
	o.Since = p.int(`,"since":`)
	p.lit("}")
}

// bound reads an optional end of a range, which is never empty.
func (p *scanner) bound(names keyNames) []byte {
	at := p.i
	b, ok := p.bytes(names)
	if ok && len(b) == 0 {
		p.fail(at, "no empty bound; an absent field is left out")
	}
	return b
}

func (p *scanner) value(o *Op) {
	p.id(`,"value":`, &o.Value)
	o.Size = p.int(`,"size":`)
	o.Type = p.optional(`,"type":`)
	if p.has(`,"chunks":`) {
		o.Chunks = new(ID)
		p.id("", o.Chunks)
	}
	o.Enc = p.optional(`,"enc":`)
}

func (p *scanner) cond() *Cond {
	c := new(Cond)
	switch {
	case p.has(`"absent":true`):
		c.Kind = Absent
	case p.has(`"present":true`):
		c.Kind = Present
	case p.has(`"seq":`):
		c.Kind = AtSeq
		c.Seq = p.int("")
	case p.has(`"value":`):
		c.Kind = HasValue
		p.id("", &c.Value)
	default:
		p.fail(p.i, `a condition: "absent":true, "present":true, "seq": or "value":`)
	}
	return c
}
