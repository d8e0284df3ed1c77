package record

import (
	"strconv"

	"graven/merkle"
)

// A record that puts a new document into force:
//
//	…"kind":"authority",…,"number":N,"doc":"sha256:…","sigs":[{"key":"…","sig":"…"},…]}
//
// Each signature signs
//
//	graven/<kind>/v1\n<vault id, hex>\n<P> <H>\n{"number":N,"doc":"sha256:…"}\n
//
// where P and H are seq and leaf hash of the previous record of that kind.

// Document is the body of an authority, policy or witness record.
type Document struct {
	// Kind is `authority`, `policy` or `witness`.
	Kind string
	// Number counts the kind's documents: 1 and on; 0 stands in the genesis.
	Number uint64
	// Doc is the document, an artifact of class `log`.
	Doc ID
	// Sigs are sorted by key, without duplicates, at least one. Whether they
	// are valid and enough is not known here.
	Sigs []Sig
}

var _ Body = (*Document)(nil)

func (d *Document) kindOf() string { return d.Kind }

// SignedMessage returns what each of the signatures signs. prevSeq and
// prevHash are seq and leaf hash of the previous record of the kind, or of the
// genesis if there is none.
func (d *Document) SignedMessage(v VaultID, prevSeq uint64, prevHash merkle.Hash) []byte {
	m := []byte("graven/" + d.Kind + "/v1\n" + v.String() + "\n")
	m = strconv.AppendUint(m, prevSeq, 10)
	m = append(m, ' ')
	m = prevHash.Append(m)
	m = appendInt(m, "\n"+`{"number":`, d.Number)
	m = appendID(m, `,"doc":`, &d.Doc)
	return append(m, "}\n"...)
}

func (d *Document) check(uint64) *FieldError {
	switch d.Kind {
	case KindAuthority, KindPolicy, KindWitness:
	default:
		return invalidText("kind", d.Kind, "authority, policy or witness")
	}
	if e := checkOne("number", d.Number); e != nil {
		return e
	}
	return checkSigs(d.Sigs)
}

func (d *Document) appendFields(dst []byte) []byte {
	dst = appendInt(dst, `,"number":`, d.Number)
	dst = appendID(dst, `,"doc":`, &d.Doc)
	return appendSigs(dst, d.Sigs)
}

func (p *scanner) document(kind string) *Document {
	at := p.i
	d := &Document{Kind: kind}
	d.Number = p.int(`,"number":`)
	p.id(`,"doc":`, &d.Doc)
	d.Sigs = p.sigs()
	p.refuse(at, d.check(0))
	return d
}
