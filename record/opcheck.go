package record

import "strconv"

// check returns the first rule that the op breaks by itself. Prev, Skip and N
// are checked only of a whole op, not of a request.
func (o *Op) check(whole bool) *FieldError {
	if o.Kind < OpPut || o.Kind > OpIf {
		return invalidInt("op", uint64(o.Kind), "put, delete, append or if")
	}
	if e := o.checkKey(); e != nil {
		return e
	}
	if e := o.checkValue(); e != nil {
		return e
	}
	if e := o.checkCond(); e != nil {
		return e
	}
	if !whole {
		return nil
	}
	return o.checkLinks()
}

// checkKey checks what the op is about: a key, a range or nothing.
func (o *Op) checkKey() *FieldError {
	ranged := o.Kind == OpIf && o.Key == nil
	if ranged {
		if e := checkKeyBytes("from", o.From, 0); e != nil {
			return e
		}
		if e := checkKeyBytes("to", o.To, 0); e != nil {
			return e
		}
		return checkInt("since", o.Since)
	}
	switch {
	case len(o.From) > 0:
		return invalidText("from", o.From, "none but in an if without key")
	case len(o.To) > 0:
		return invalidText("to", o.To, "none but in an if without key")
	case o.Since != 0:
		return invalidInt("since", o.Since, "none but in an if without key")
	case o.Kind == OpAppend && len(o.Key) > 0:
		return invalidText("key", o.Key, "none in an append")
	case o.Kind == OpAppend:
		return nil
	}
	return checkKeyBytes("key", o.Key, 1)
}

func checkKeyBytes(field string, key []byte, least int) *FieldError {
	if len(key) < least || len(key) > MaxKey {
		return invalidText(field, key, limitKey)
	}
	return nil
}

// checkValue checks what a put and an append carry and no other op does.
func (o *Op) checkValue() *FieldError {
	if !o.Kind.holds() {
		if o.Value != (ID{}) || o.Size != 0 || o.Type != "" || o.Chunks != nil || o.Enc != "" {
			return invalid("value", "set", "none in a "+o.Kind.String())
		}
		return nil
	}
	if e := checkInt("size", o.Size); e != nil {
		return e
	}
	if e := checkText("type", o.Type, 0, maxType, "valid UTF-8, at most 255 bytes"); e != nil {
		return e
	}
	if o.Enc != "" {
		return checkClass("enc", o.Enc)
	}
	return nil
}

// checkCond checks the condition of a write or of an if over one key.
func (o *Op) checkCond() *FieldError {
	c := o.If
	if c == nil {
		if o.Kind == OpIf && o.Key != nil {
			return invalid("if", "nil", "a condition on the key")
		}
		return nil
	}
	switch {
	case o.Kind == OpAppend || o.Kind == OpIf && o.Key == nil:
		return invalid("if", "set", "no condition without a key")
	case c.Kind < Absent || c.Kind > HasValue:
		return invalidInt("if", uint64(c.Kind), "absent, present, seq or value")
	case c.Seq != 0 && c.Kind != AtSeq:
		return invalidInt("if.seq", c.Seq, "none but of AtSeq")
	case c.Value != (ID{}) && c.Kind != HasValue:
		return invalid("if.value", c.Value.String(), "none but of HasValue")
	}
	return checkInt("if.seq", c.Seq)
}

// checkLinks checks prev, skip and n as far as one op tells. Seqs grow with
// version numbers and version 1 has at least 1, which bounds them.
func (o *Op) checkLinks() *FieldError {
	if !o.Kind.WritesKey() {
		if o.Prev != 0 || o.Skip != 0 || o.N != 0 {
			return invalidInt("n", o.N, "no prev, skip and n in an "+o.Kind.String())
		}
		return nil
	}
	if e := checkOne("n", o.N); e != nil {
		return e
	}
	if e := checkInt("prev", o.Prev); e != nil {
		return e
	}
	j := J(o.N)
	switch {
	case (o.N == 1) != (o.Prev == 0):
		return invalidInt("prev", o.Prev, "0 exactly when n is 1, and n is "+strconv.FormatUint(o.N, 10))
	case (j == 0) != (o.Skip == 0):
		return invalidInt("skip", o.Skip, "0 exactly when j(n) is 0, and it is "+strconv.FormatUint(j, 10))
	case j != 0 && j == o.N-1 && o.Skip != o.Prev:
		return invalidInt("skip", o.Skip, "prev, "+strconv.FormatUint(o.Prev, 10)+", because j(n) is n-1")
	case j != o.N-1 && o.Skip >= o.Prev:
		return invalidInt("skip", o.Skip, "less than prev, "+strconv.FormatUint(o.Prev, 10))
	}
	return nil
}
