package proof

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"filippo.io/mldsa"
)

// A cosignature (C2SP tlog-cosignature) is 8 bytes of POSIX seconds, big-endian,
// at most 2^63-1, and a signature. Of type 4 that is 64 bytes of Ed25519 over
//
//	cosignature/v1
//	time <seconds, decimal>
//	<the checkpoint's text>
//
// It does not cover the cosigner's name, so nobody may have one such key under
// two names. Of type 6 it is 2,420 bytes of ML-DSA-44 over
//
//	"subtree/v1\n\0"
//	length (1) ‖ cosigner's name
//	seconds (8)
//	length (1) ‖ log's origin
//	start (8) = 0 ‖ end (8) = size
//	root (32)
const (
	cosignTextLabel = "cosignature/v1\ntime "
	cosignLabel     = "subtree/v1\n\x00"
	cosignTimeSize  = 8
)

// cosignText builds what a cosignature of type 4 signs. text is the checkpoint's,
// as it stands in the note.
func cosignText(seconds uint64, text []byte) []byte {
	msg := strconv.AppendUint([]byte(cosignTextLabel), seconds, 10)
	msg = append(msg, '\n')
	return append(msg, text...)
}

// cosignMessage builds what a cosignature of type 6 signs. Both names are at most
// 255 bytes: one was parsed by ParseVKey, the other checked as an origin.
func cosignMessage(cosigner string, seconds uint64, c Checkpoint) []byte {
	msg := []byte(cosignLabel)
	msg = append(msg, byte(len(cosigner)))
	msg = append(msg, cosigner...)
	msg = binary.BigEndian.AppendUint64(msg, seconds)
	msg = append(msg, byte(len(c.Origin)))
	msg = append(msg, c.Origin...)
	msg = binary.BigEndian.AppendUint64(msg, 0)
	msg = binary.BigEndian.AppendUint64(msg, c.Size)
	return append(msg, c.Root[:]...)
}

// cutCosignature parts a cosignature into its time and what signs it.
func cutCosignature(sig []byte) (seconds uint64, raw []byte, ok bool) {
	if len(sig) < cosignTimeSize {
		return 0, nil, false
	}
	seconds = binary.BigEndian.Uint64(sig)
	return seconds, sig[cosignTimeSize:], seconds <= math.MaxInt64
}

func verifyCosignature(k VKey, text []byte, c Checkpoint, sig []byte) bool {
	seconds, raw, ok := cutCosignature(sig)
	if !ok {
		return false
	}
	if k.typ == TypeCosignEd25519 {
		return len(raw) == ed25519.SignatureSize && ed25519.Verify(k.public, cosignText(seconds, text), raw)
	}
	return len(raw) == mldsa.MLDSA44SignatureSize && mldsa.Verify(k.lattice, cosignMessage(k.name, seconds, c), raw, nil) == nil
}

// Cosigner adds cosignatures to signed checkpoints. It is safe for concurrent use.
//
// It signs whatever it is given. That a cosigner looks at no two histories of a
// log without saying so is the caller's part.
type Cosigner struct {
	key *secret
}

// NewCosigner parses a cosigner's signing key: Ed25519 of type 4, or ML-DSA-44 of
// type 6. Errors are those of NewSigner.
func NewCosigner(skey string) (*Cosigner, error) {
	key, err := parseSecret(skey, TypeCosignEd25519, TypeMLDSA44)
	if err != nil {
		return nil, err
	}
	return &Cosigner{key: key}, nil
}

// VKey returns the text of the verifier key.
func (s *Cosigner) VKey() string { return s.key.vkey.String() }

// Type returns the type of its key, TypeCosignEd25519 or TypeMLDSA44.
func (s *Cosigner) Type() byte { return s.key.vkey.typ }

// Cosign returns the signed checkpoint with the cosigner's signature behind the
// others. seconds is the time of the cosignature in POSIX seconds. The same input
// gives the same bytes: signing is deterministic (RFC 8032; FIPS 204, algorithm 2
// with a zero rnd).
//
// It does not verify the signatures that are there. It fails with ErrFormat if
// the note is no checkpoint, and with ErrInvalid if the time is above 2^63-1, the
// cosigner has signed already, or the note has no room.
func (s *Cosigner) Cosign(note []byte, seconds uint64) ([]byte, error) {
	n, err := ParseNote(note)
	if err != nil {
		return nil, err
	}
	c, err := ParseCheckpointText(n.Text)
	if err != nil {
		return nil, err
	}
	if seconds > math.MaxInt64 {
		return nil, fmt.Errorf("%w cosignature: time %d, wanted at most %d", ErrInvalid, seconds, uint64(math.MaxInt64))
	}
	k := s.key.vkey
	for _, have := range n.Sigs {
		if have.Name == k.name && have.ID == k.id {
			return nil, fmt.Errorf("%w cosignature: %s has signed this note already", ErrInvalid, k.KeyName())
		}
	}
	raw, err := s.key.cosign(seconds, n.Text, c)
	if err != nil {
		return nil, fmt.Errorf("proof: cosign as %s: %w", k.KeyName(), err)
	}
	sig := append(binary.BigEndian.AppendUint64(nil, seconds), raw...)
	n.Sigs = append(n.Sigs, NoteSignature{Name: k.name, ID: k.id, Sig: sig})
	out := n.Bytes()
	if len(out) > MaxNote || len(n.Sigs) > MaxSignatures {
		return nil, fmt.Errorf("%w cosignature: the note would have %d bytes and %d signatures, wanted at most %d and %d", ErrInvalid, len(out), len(n.Sigs), MaxNote, MaxSignatures)
	}
	return out, nil
}

// cosign signs the checkpoint c, whose text is given, as the key's type does.
func (k *secret) cosign(seconds uint64, text []byte, c Checkpoint) ([]byte, error) {
	if k.vkey.typ == TypeCosignEd25519 {
		return ed25519.Sign(k.ed, cosignText(seconds, text)), nil
	}
	return k.lattice.SignDeterministic(cosignMessage(k.vkey.name, seconds, c), nil)
}
