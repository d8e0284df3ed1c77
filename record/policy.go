package record

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The policy in force, in the two versions of the document:
//
//	{"v":1,"kind":"policy","features":["…"],"classes":["main"]}
//	{"v":2,"kind":"policy","features":["…"],"classes":["main"],"actors":[{"actor":"alice","keys":["…"]}],"others":"allow"}
//
// What version 1 can say is written in version 1, so a policy has one text.

// PolicyVersion is the newest version of a policy document that is known here.
const PolicyVersion = 2

// Policy says what is in force for new records.
type Policy struct {
	// Features are all that are in force, sorted, without duplicates, at least one.
	Features []string
	// Classes are the retention classes that a transaction may name, likewise.
	// `log` is not among them.
	Classes []string
	// Actors are those whose transactions must be signed, sorted by name,
	// without duplicates.
	Actors []PolicyActor
	// Refuse: nobody but Actors may write.
	Refuse bool
}

// PolicyActor is an actor and the keys that sign for him.
type PolicyActor struct {
	// Actor is valid UTF-8, at most [MaxName] bytes, may be empty.
	Actor string
	// Keys are verifier keys of type 1 (Ed25519) or 6 (ML-DSA-44), sorted, no two
	// of the same name and key hash. With none nobody can sign for him.
	Keys []string
}

// Keys returns the keys of an actor; known is false for one that the policy does
// not name.
func (y *Policy) Keys(actor string) (keys []string, known bool) {
	i, known := slices.BinarySearchFunc(y.Actors, actor, func(a PolicyActor, name string) int { return strings.Compare(a.Actor, name) })
	if !known {
		return nil, false
	}
	return y.Actors[i].Keys, true
}

// Version is the version of the document that says this.
func (y *Policy) Version() uint64 {
	if len(y.Actors) == 0 && !y.Refuse {
		return 1
	}
	return 2
}

const (
	othersAllow  = `,"others":"allow"`
	othersRefuse = `,"others":"refuse"`
)

// Append appends the document. On error, which wraps [ErrInvalid], dst is
// returned as it was.
func (y *Policy) Append(dst []byte) ([]byte, error) {
	if e := y.check(); e != nil {
		return dst, e
	}
	dst = appendInt(dst, `{"v":`, y.Version())
	dst = appendStrings(dst, `,"kind":"policy","features":`, y.Features)
	dst = appendStrings(dst, `,"classes":`, y.Classes)
	if y.Version() > 1 {
		dst = y.appendActors(dst)
	}
	return append(dst, '}'), nil
}

func (y *Policy) appendActors(dst []byte) []byte {
	dst = append(dst, `,"actors":[`...)
	for i := range y.Actors {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendStringField(dst, `{"actor":`, y.Actors[i].Actor)
		dst = appendStrings(dst, `,"keys":`, y.Actors[i].Keys)
		dst = append(dst, '}')
	}
	dst = append(dst, ']')
	if y.Refuse {
		return append(dst, othersRefuse...)
	}
	return append(dst, othersAllow...)
}

// ParsePolicy reads what [Policy.Append] writes and nothing else. The error
// wraps [ErrUnknownVersion] for another version of the document, and those of
// [Parse] otherwise.
func ParsePolicy(doc []byte) (*Policy, error) {
	p := scanner{b: doc}
	v, err := p.documentStart(KindPolicy, PolicyVersion)
	if err != nil {
		return nil, err
	}
	y := new(Policy)
	y.Features = p.strings(`,"features":`)
	y.Classes = p.strings(`,"classes":`)
	if v > 1 {
		p.actors(y)
	}
	p.lit("}")
	if p.end() == nil {
		p.refuse(0, y.check())
	}
	if p.err == nil && v != y.Version() {
		p.refuse(0, invalid("actors", "none, and others are allowed", "version 1 for what version 1 can say"))
	}
	if p.err != nil {
		return nil, p.err
	}
	return y, nil
}

// actors reads what version 2 has more.
func (p *scanner) actors(y *Policy) {
	p.lit(`,"actors":[`)
	for p.err == nil && !p.has("]") {
		if len(y.Actors) > 0 {
			p.lit(",")
		}
		a := PolicyActor{Actor: p.string(`{"actor":`)}
		a.Keys = p.strings(`,"keys":`)
		p.lit("}")
		y.Actors = append(y.Actors, a)
	}
	if y.Refuse = p.has(othersRefuse); !y.Refuse {
		p.lit(othersAllow)
	}
}

func (y *Policy) check() *FieldError {
	if e := checkSet("features", y.Features, isFeature, "kind/version"); e != nil {
		return e
	}
	if e := checkSet("classes", y.Classes, isUserClass, "a class other than log: "+limitClass); e != nil {
		return e
	}
	for i := range y.Actors {
		field := "actors[" + strconv.Itoa(i) + "]"
		if e := y.Actors[i].check(); e != nil {
			return e.in(field)
		}
		if i > 0 && y.Actors[i-1].Actor >= y.Actors[i].Actor {
			return invalidText(field+".actor", y.Actors[i].Actor, "greater than "+short(y.Actors[i-1].Actor)+" before it")
		}
	}
	return nil
}

func (a *PolicyActor) check() *FieldError {
	if e := checkText("actor", a.Actor, 0, MaxName, limitName); e != nil {
		return e
	}
	ids := make(map[string]bool, len(a.Keys))
	for i, key := range a.Keys {
		field := "keys[" + strconv.Itoa(i) + "]"
		if e := checkVKey(key); e != nil {
			return e.in(field)
		}
		id := KeyIDOf(key)
		switch {
		case !signsMessages(key):
			return invalidText(field, key, "a key of type 1 (Ed25519) or 6 (ML-DSA-44)")
		case i > 0 && a.Keys[i-1] >= key:
			return invalidText(field, key, "greater than "+short(a.Keys[i-1])+" before it")
		case ids[id]:
			return invalidText(field, key, "a name and key hash that no other key has")
		}
		ids[id] = true
	}
	return nil
}

// KeyIDOf returns the NAME+HHHHHHHH of a verifier key, by which a [Sig] names it.
func KeyIDOf(vkey string) string {
	name, rest, _ := strings.Cut(vkey, "+")
	id, _, _ := strings.Cut(rest, "+")
	return name + "+" + id
}

// signsMessages reports whether a well-formed verifier key is of a type whose
// keys sign requests and documents.
func signsMessages(vkey string) bool {
	_, rest, _ := strings.Cut(vkey, "+")
	_, text, _ := strings.Cut(rest, "+") // which may hold + itself
	key, err := base64.StdEncoding.DecodeString(text)
	return err == nil && (key[0] == 1 && len(key) == 33 || key[0] == 6 && len(key) == 1313)
}

func isUserClass(s string) bool { return s != ClassLog && isClass(s) }

// documentStart reads version and kind of a document, of which the versions up to
// newest are known.
func (p *scanner) documentStart(kind string, newest uint64) (v uint64, err error) {
	v = p.int(`{"v":`)
	p.lit(`,"kind":"` + kind + `"`)
	if p.err == nil && (v < 1 || v > newest) {
		return v, fmt.Errorf("%w: the document is %s, known are versions 1 to %d", ErrUnknownVersion, Feature(kind, v), newest)
	}
	return v, p.err
}
