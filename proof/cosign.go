package proof

import (
	"encoding/binary"
	"fmt"
	"math"

	"filippo.io/mldsa"
)

// A cosignature of type 6 (C2SP tlog-cosignature) is 8 bytes of POSIX seconds,
// big-endian, and 2,420 bytes of ML-DSA-44 over
//
//	"subtree/v1\n\0"
//	length (1) ‖ cosigner's name
//	seconds (8)
//	length (1) ‖ log's origin
//	start (8) = 0 ‖ end (8) = size
//	root (32)
const (
	cosignLabel = "subtree/v1\n\x00"
	cosignSize  = 8 + mldsa.MLDSA44SignatureSize
)

// cosignMessage builds the message above. Both names are at most 255 bytes: one
// was parsed by ParseVKey, the other checked as an origin.
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

func verifyCosignature(k VKey, c Checkpoint, sig []byte) bool {
	if len(sig) != cosignSize {
		return false
	}
	seconds := binary.BigEndian.Uint64(sig)
	if seconds > math.MaxInt64 {
		return false
	}
	return mldsa.Verify(k.lattice, cosignMessage(k.name, seconds, c), sig[8:], nil) == nil
}

// Cosigner adds ML-DSA-44 cosignatures to signed checkpoints. It is safe for
// concurrent use.
type Cosigner struct {
	key *secret
}

// NewCosigner parses a cosigner's signing key (ML-DSA-44). Errors are those of
// NewSigner.
func NewCosigner(skey string) (*Cosigner, error) {
	key, err := parseSecret(skey, TypeMLDSA44)
	if err != nil {
		return nil, err
	}
	return &Cosigner{key: key}, nil
}

// VKey returns the text of the verifier key.
func (s *Cosigner) VKey() string { return s.key.vkey.String() }

// Cosign returns the signed checkpoint with the cosigner's signature behind the
// others. seconds is the time of the cosignature in POSIX seconds. The same input
// gives the same bytes: signing is deterministic (FIPS 204, algorithm 2 with a
// zero rnd).
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
	raw, err := s.key.lattice.SignDeterministic(cosignMessage(k.name, seconds, c), nil)
	if err != nil {
		return nil, fmt.Errorf("proof: cosign as %s: %w", k.KeyName(), err)
	}
	sig := append(binary.BigEndian.AppendUint64(make([]byte, 0, cosignSize), seconds), raw...)
	n.Sigs = append(n.Sigs, NoteSignature{Name: k.name, ID: k.id, Sig: sig})
	out := n.Bytes()
	if len(out) > MaxNote || len(n.Sigs) > MaxSignatures {
		return nil, fmt.Errorf("%w cosignature: the note would have %d bytes and %d signatures, wanted at most %d and %d", ErrInvalid, len(out), len(n.Sigs), MaxNote, MaxSignatures)
	}
	return out, nil
}
