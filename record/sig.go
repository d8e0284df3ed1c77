package record

import (
	"strconv"
)

// A signature of a tx or of a document's record:
//
//	{"key":"NAME+HHHHHHHH","sig":"<b64 of the signature's bytes>"}

// Sig is a signature and the key that made it.
type Sig struct {
	// Key is the key's name, + and its key hash in 8 hex digits.
	Key string
	// Sig holds the signature's bytes, 1 to 8192.
	Sig []byte
}

func (s *Sig) check() *FieldError {
	if !isKeyID(s.Key) {
		return invalidText("key", s.Key, limitKeyID)
	}
	if len(s.Sig) < 1 || len(s.Sig) > maxSig {
		return invalidText("sig", s.Sig, "1 to 8192 bytes")
	}
	return nil
}

func (s *Sig) append(dst []byte) []byte {
	dst = appendStringField(dst, `{"key":`, s.Key)
	dst = appendBase64(dst, `,"sig":`, s.Sig)
	return append(dst, '}')
}

// sig reads a signature; the caller checks it.
func (p *scanner) sig(s *Sig) {
	s.Key = p.string(`{"key":`)
	s.Sig = p.base64(`,"sig":`)
	p.lit("}")
}

// checkSigs checks the signatures of a document: sorted by key, without
// duplicates, at least one.
func checkSigs(sigs []Sig) *FieldError {
	if len(sigs) == 0 {
		return invalid("sigs", "empty", "at least one")
	}
	for i := range sigs {
		field := "sigs[" + strconv.Itoa(i) + "]"
		if e := sigs[i].check(); e != nil {
			return e.in(field)
		}
		if i > 0 && sigs[i-1].Key >= sigs[i].Key {
			return invalidText(field+".key", sigs[i].Key, "greater than "+short(sigs[i-1].Key)+" before it")
		}
	}
	return nil
}

func appendSigs(dst []byte, sigs []Sig) []byte {
	dst = append(dst, `,"sigs":[`...)
	for i := range sigs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = sigs[i].append(dst)
	}
	return append(dst, ']')
}

func (p *scanner) sigs() []Sig {
	p.lit(`,"sigs":[`)
	if p.has("]") {
		return nil
	}
	var sigs []Sig
	for p.err == nil {
		sigs = append(sigs, Sig{})
		p.sig(&sigs[len(sigs)-1])
		if p.has("]") {
			break
		}
		p.lit(",")
	}
	return sigs
}
