package proof

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"filippo.io/mldsa"

	"graven/record"
)

// Key types of C2SP signed-note that Graven uses.
const (
	// TypeEd25519 is an Ed25519 key that signs the note's text itself: the log's.
	TypeEd25519 byte = 0x01
	// TypeCosignEd25519 is an Ed25519 key that signs timestamped cosignatures: a
	// witness's. It never stands for a log.
	TypeCosignEd25519 byte = 0x04
	// TypeMLDSA44 is an ML-DSA-44 key that signs timestamped cosignatures.
	TypeMLDSA44 byte = 0x06
)

// MaxOrigin is the greatest length of an origin in bytes. The message under an
// ML-DSA-44 cosignature has one byte for it.
const MaxOrigin = 255

const (
	secretSize = 32
	keyIDSize  = 4
	skeyPrefix = "PRIVATE+KEY+"
	knownTypes = "1 (Ed25519), 4 (Ed25519 cosignatures) and 6 (ML-DSA-44 cosignatures)"
	// maxKeyText bounds the text of a key: the longest is a verifier key of
	// ML-DSA-44, whose 1,313 bytes are 1,752 of base64.
	maxKeyText = MaxOrigin + 2 + 8 + 2048
)

// ValidOrigin reports whether s can be a log's origin, which is also the name of
// its keys: 1 to MaxOrigin bytes of UTF-8 without white space, control characters
// or `+`. The error wraps ErrInvalid and says what is wrong.
func ValidOrigin(s string) error {
	if err := record.CheckOrigin(s); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// Keys are the two key pairs of a log, as text.
type Keys struct {
	// Log signs checkpoints: Ed25519, note type 1.
	Log KeyPair
	// Cosigner cosigns published checkpoints: ML-DSA-44, note type 6.
	Cosigner KeyPair
}

// KeyPair is a signing key and its verifier key in the text forms below. SKey is
// secret.
//
//	verifier key   NAME+HHHHHHHH+b64(type ‖ public key)
//	signing key    PRIVATE+KEY+NAME+HHHHHHHH+b64(type ‖ 32 secret bytes)
//
// HHHHHHHH is the key's id in lower-case hex: the first four bytes of
// SHA-256(NAME ‖ 0x0A ‖ type ‖ public key).
type KeyPair struct {
	SKey, VKey string
}

// GenerateKeys makes a log's keys, named by its origin. It reads exactly 64 bytes
// from rand: 32 for the log's key, then 32 for the cosigner's. It fails if the
// origin is invalid or rand does.
func GenerateKeys(origin string, rand io.Reader) (Keys, error) {
	if err := ValidOrigin(origin); err != nil {
		return Keys{}, err
	}
	var bits [2 * secretSize]byte
	if _, err := io.ReadFull(rand, bits[:]); err != nil {
		return Keys{}, fmt.Errorf("proof: generate keys of %q: read randomness: %w", origin, err)
	}
	log, err := keyPair(origin, TypeEd25519, bits[:secretSize])
	if err != nil {
		return Keys{}, err
	}
	cosigner, err := keyPair(origin, TypeMLDSA44, bits[secretSize:])
	if err != nil {
		return Keys{}, err
	}
	return Keys{Log: log, Cosigner: cosigner}, nil
}

func keyPair(name string, typ byte, material []byte) (KeyPair, error) {
	k, err := newSecret(name, typ, material)
	if err != nil {
		return KeyPair{}, err
	}
	return KeyPair{SKey: k.text(), VKey: k.vkey.String()}, nil
}

// VKey is a parsed verifier key. It is immutable; the zero value verifies
// nothing.
type VKey struct {
	name string
	typ  byte
	id   uint32
	// public is the encoded public key without its type byte, never changed.
	public []byte
	// lattice is the decoded ML-DSA-44 key, nil for both kinds of Ed25519.
	lattice *mldsa.PublicKey
}

// ParseVKey parses a verifier key without a line feed. It accepts one spelling:
// lower-case id, canonical base64, an id that follows from the key. Weak Ed25519
// keys, for which anybody can make signatures, are refused. Errors wrap
// ErrFormat, or ErrUnknownVersion for a key type other than 1, 4 and 6.
func ParseVKey(s string) (VKey, error) {
	if len(s) > maxKeyText {
		return VKey{}, fmt.Errorf("%w verifier key: %d bytes, wanted at most %d", ErrFormat, len(s), maxKeyText)
	}
	if strings.HasPrefix(s, skeyPrefix) {
		return VKey{}, fmt.Errorf("%w verifier key: it is a signing key, which belongs to the log alone; wanted the verifier key beside it", ErrFormat)
	}
	name, id, material, err := splitKey(s)
	if err != nil {
		return VKey{}, fmt.Errorf("%w verifier key %s: %s", ErrFormat, clip([]byte(s)), err)
	}
	k, err := newVKey(name, material[0], material[1:])
	if err != nil {
		return VKey{}, err
	}
	if k.id != id {
		return VKey{}, fmt.Errorf("%w verifier key of %q: its id is %08x, but the key gives %08x", ErrFormat, name, id, k.id)
	}
	return k, nil
}

// splitKey cuts NAME+HHHHHHHH+b64 and checks each part's spelling. Its errors
// quote nothing: a signing key must not end up in a message.
func splitKey(s string) (name string, id uint32, material []byte, err error) {
	name, rest, ok := strings.Cut(s, "+")
	if !ok {
		return "", 0, nil, errors.New("no `+` behind the name, wanted NAME+HHHHHHHH+base64")
	}
	if err := record.CheckOrigin(name); err != nil {
		return "", 0, nil, err
	}
	id16, key64, ok := strings.Cut(rest, "+")
	if !ok {
		return "", 0, nil, errors.New("no `+` behind the id, wanted NAME+HHHHHHHH+base64")
	}
	raw, err := hex.DecodeString(id16)
	if err != nil || len(raw) != keyIDSize || strings.ToLower(id16) != id16 {
		return "", 0, nil, errors.New("the id is not 8 lower-case hex digits")
	}
	material, ok = decodeB64([]byte(key64))
	if !ok || len(material) == 0 {
		return "", 0, nil, errors.New("what follows the id is not base64 of a key")
	}
	return name, binary.BigEndian.Uint32(raw), material, nil
}

func newVKey(name string, typ byte, public []byte) (VKey, error) {
	k := VKey{name: name, typ: typ, public: bytes.Clone(public)}
	switch typ {
	case TypeEd25519, TypeCosignEd25519:
		if len(public) != ed25519.PublicKeySize {
			return VKey{}, fmt.Errorf("%w Ed25519 verifier key of %q: %d bytes, wanted %d", ErrFormat, name, len(public), ed25519.PublicKeySize)
		}
		if err := checkEd25519(public); err != nil {
			return VKey{}, fmt.Errorf("%w Ed25519 verifier key of %q: %s", ErrFormat, name, err)
		}
	case TypeMLDSA44:
		lattice, err := mldsa.NewPublicKey(mldsa.MLDSA44(), public)
		if err != nil {
			return VKey{}, fmt.Errorf("%w ML-DSA-44 verifier key of %q: %s", ErrFormat, name, err)
		}
		k.lattice = lattice
	default:
		return VKey{}, fmt.Errorf("%w: verifier key of %q has type %d, known are %s", ErrUnknownVersion, name, typ, knownTypes)
	}
	k.id = keyID(name, typ, public)
	return k, nil
}

// keyID is the key id of C2SP signed-note for keys of types 1, 4 and 6.
func keyID(name string, typ byte, public []byte) uint32 {
	h := sha256.New()
	io.WriteString(h, name)
	h.Write([]byte{'\n', typ})
	h.Write(public)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// Name returns the key's name: for a log's key the log's origin, for a witness's
// what it calls itself.
func (k VKey) Name() string { return k.name }

// Type returns TypeEd25519, TypeCosignEd25519 or TypeMLDSA44.
func (k VKey) Type() byte { return k.typ }

// ID returns the key's id, the number behind its name.
func (k VKey) ID() uint32 { return k.id }

// Public returns a copy of the public key: 32 bytes of Ed25519 or 1,312 of
// ML-DSA-44.
func (k VKey) Public() []byte { return bytes.Clone(k.public) }

// cosigns reports whether the key makes timestamped cosignatures, and so cannot
// be a log's.
func (k VKey) cosigns() bool { return k.typ == TypeCosignEd25519 || k.typ == TypeMLDSA44 }

// equal reports whether two keys are the same key of the same name.
func (k VKey) equal(o VKey) bool {
	return k.name == o.name && k.typ == o.typ && bytes.Equal(k.public, o.public)
}

// KeyName returns `NAME+HHHHHHHH`, which names a key where its bytes are known.
func (k VKey) KeyName() string { return fmt.Sprintf("%s+%08x", k.name, k.id) }

// String returns the verifier key's text.
func (k VKey) String() string {
	return k.KeyName() + "+" + b64.EncodeToString(append([]byte{k.typ}, k.public...))
}

// verify reports whether sig, the signature bytes of a note's line without the
// key's id, is the key's signature under text. c is the checkpoint in text: an
// ML-DSA-44 cosignature signs its fields, not its text.
func (k VKey) verify(text []byte, c Checkpoint, sig []byte) bool {
	switch k.typ {
	case TypeEd25519:
		return ed25519.Verify(k.public, text, sig)
	case TypeCosignEd25519, TypeMLDSA44:
		return verifyCosignature(k, text, c, sig)
	default:
		return false
	}
}

// secret is a parsed signing key.
type secret struct {
	vkey     VKey
	material []byte // the 32 bytes both kinds of key grow from
	ed       ed25519.PrivateKey
	lattice  *mldsa.PrivateKey
}

func newSecret(name string, typ byte, material []byte) (*secret, error) {
	if len(material) != secretSize {
		return nil, fmt.Errorf("%w signing key of %q: %d secret bytes, wanted %d", ErrFormat, name, len(material), secretSize)
	}
	k := &secret{material: bytes.Clone(material)}
	var public []byte
	switch typ {
	case TypeEd25519, TypeCosignEd25519:
		k.ed = ed25519.NewKeyFromSeed(material)
		public = k.ed[secretSize:]
	case TypeMLDSA44:
		lattice, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), material)
		if err != nil {
			return nil, fmt.Errorf("%w ML-DSA-44 signing key of %q: %s", ErrFormat, name, err)
		}
		k.lattice, public = lattice, lattice.PublicKey().Bytes()
	default:
		return nil, fmt.Errorf("%w: signing key of %q has type %d, known are %s", ErrUnknownVersion, name, typ, knownTypes)
	}
	vkey, err := newVKey(name, typ, public)
	if err != nil {
		return nil, err
	}
	k.vkey = vkey
	return k, nil
}

// parseSecret parses a signing key of one of the wanted types as strictly as
// ParseVKey. Its errors never quote what was read.
func parseSecret(skey string, types ...byte) (*secret, error) {
	rest, ok := strings.CutPrefix(skey, skeyPrefix)
	if !ok || len(rest) > maxKeyText {
		return nil, fmt.Errorf("%w signing key: wanted %sNAME+HHHHHHHH+base64", ErrFormat, skeyPrefix)
	}
	name, id, material, err := splitKey(rest)
	if err != nil {
		return nil, fmt.Errorf("%w signing key: not of the form %sNAME+HHHHHHHH+base64", ErrFormat, skeyPrefix)
	}
	k, err := newSecret(name, material[0], material[1:])
	if err != nil {
		return nil, err
	}
	if k.vkey.id != id {
		return nil, fmt.Errorf("%w signing key of %q: its id is %08x, but the key gives %08x", ErrFormat, name, id, k.vkey.id)
	}
	if !slices.Contains(types, k.vkey.typ) {
		return nil, fmt.Errorf("%w signing key of %q: type %d, wanted %s", ErrFormat, name, k.vkey.typ, typeList(types))
	}
	return k, nil
}

// typeList writes key types as in `4 or 6`.
func typeList(types []byte) string {
	var names []string
	for _, t := range types {
		names = append(names, strconv.Itoa(int(t)))
	}
	return strings.Join(names, " or ")
}

func (k *secret) text() string {
	return fmt.Sprintf("%s%s+%08x+%s", skeyPrefix, k.vkey.name, k.vkey.id, b64.EncodeToString(append([]byte{k.vkey.typ}, k.material...)))
}
