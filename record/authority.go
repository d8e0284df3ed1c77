package record

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The authority in force, an artifact of one line without a line feed:
//
//	{"v":1,"kind":"authority","epoch":0,"threshold":1,"keys":[{"roles":["authority","log"],"vkey":"…"},…]}

// Authority says which keys speak for a vault.
type Authority struct {
	// Epoch is 0, and one more after each adopted restore.
	Epoch uint64
	// Threshold is how many keys with role `authority` sign the next document,
	// 1 up to their number.
	Threshold uint64
	// Keys are sorted by VKey, without duplicates.
	Keys []AuthorityKey
}

// AuthorityKey is a key and what it may sign.
type AuthorityKey struct {
	// Roles are sorted, without duplicates, at least one of [RoleAuthority],
	// [RoleLog] and [RoleCosigner].
	Roles []string
	// VKey is the verifier key: NAME+HHHHHHHH+base64(type ‖ public key).
	VKey string
}

// The roles of keys.
const (
	RoleAuthority = "authority" // signs the next documents
	RoleCosigner  = "cosigner"  // signs ML-DSA-44 cosignatures
	RoleLog       = "log"       // signs checkpoints
)

// Has reports whether the key has a role.
func (k *AuthorityKey) Has(role string) bool { return slices.Contains(k.Roles, role) }

// Append appends the document. On error, which wraps [ErrInvalid], dst is
// returned as it was.
func (a *Authority) Append(dst []byte) ([]byte, error) {
	if e := a.check(); e != nil {
		return dst, e
	}
	dst = appendInt(dst, `{"v":1,"kind":"authority","epoch":`, a.Epoch)
	dst = appendInt(dst, `,"threshold":`, a.Threshold)
	dst = append(dst, `,"keys":[`...)
	for i := range a.Keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendStrings(dst, `{"roles":`, a.Keys[i].Roles)
		dst = appendStringField(dst, `,"vkey":`, a.Keys[i].VKey)
		dst = append(dst, '}')
	}
	return append(dst, "]}"...), nil
}

// ParseAuthority reads what [Authority.Append] writes and nothing else. The
// error wraps [ErrUnknownVersion] for another version of the document, and
// those of [Parse] otherwise.
func ParseAuthority(doc []byte) (*Authority, error) {
	p := scanner{b: doc}
	if _, err := p.documentStart(KindAuthority, Version); err != nil {
		return nil, err
	}
	a := new(Authority)
	a.Epoch = p.int(`,"epoch":`)
	a.Threshold = p.int(`,"threshold":`)
	p.lit(`,"keys":[`)
	for p.err == nil {
		k := AuthorityKey{Roles: p.strings(`{"roles":`)}
		k.VKey = p.string(`,"vkey":`)
		a.Keys = append(a.Keys, k)
		p.lit("}")
		if p.has("]") {
			break
		}
		p.lit(",")
	}
	p.lit("}")
	if p.end() == nil {
		p.refuse(0, a.check())
	}
	if p.err != nil {
		return nil, p.err
	}
	return a, nil
}

func (a *Authority) check() *FieldError {
	if e := checkInt("epoch", a.Epoch); e != nil {
		return e
	}
	signers := uint64(0)
	for i := range a.Keys {
		field := "keys[" + strconv.Itoa(i) + "]"
		k := &a.Keys[i]
		if e := checkSet("roles", k.Roles, isRole, "authority, cosigner or log"); e != nil {
			return e.in(field)
		}
		if e := checkVKey(k.VKey); e != nil {
			return e.in(field)
		}
		if i > 0 && a.Keys[i-1].VKey >= k.VKey {
			return invalidText(field+".vkey", k.VKey, "greater than "+short(a.Keys[i-1].VKey)+" before it")
		}
		if k.Has(RoleAuthority) {
			signers++
		}
	}
	if a.Threshold < 1 || a.Threshold > signers {
		return invalidInt("threshold", a.Threshold, "1 to "+strconv.FormatUint(signers, 10)+", the number of authority keys")
	}
	return nil
}

func isRole(s string) bool { return s == RoleAuthority || s == RoleCosigner || s == RoleLog }

// checkVKey checks the form of a verifier key and that its hash is that of the
// key, the first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key). Which
// types exist is not known here.
func checkVKey(vkey string) *FieldError {
	const limit = "NAME+HHHHHHHH+base64(type and public key)"
	name, rest, ok1 := strings.Cut(vkey, "+")
	digits, text, ok2 := strings.Cut(rest, "+")
	var hash [4]byte
	if !ok1 || !ok2 || !isKeyName(name) || !decodeHex(hash[:], digits) {
		return invalidText("vkey", vkey, limit)
	}
	key := make([]byte, len(text)/4*3)
	n, ok := decodeBase64(key, []byte(text))
	if !ok || n < 2 {
		return invalidText("vkey", vkey, limit)
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), key[:n]...))
	if !bytes.Equal(sum[:4], hash[:]) {
		return invalidText("vkey", vkey, fmt.Sprintf("key hash %x", sum[:4]))
	}
	return nil
}
