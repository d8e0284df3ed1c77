package proof

import (
	"crypto/ed25519"
	"fmt"
	"io"

	"filippo.io/mldsa"

	"graven/record"
)

// Besides checkpoints, keys sign messages of the ledger: an actor's requests
// (record.SigMessage) and the records of documents (record.Document). An Ed25519
// key (type 1) signs the message's bytes as they are, an ML-DSA-44 key (type 6)
// likewise, with an empty context (FIPS 204 §5.2). No message is the text of a
// checkpoint: its second line is 32 hex digits, that of a checkpoint a size.

// MessageSigner signs messages with a key of type 1 or 6. It is safe for
// concurrent use.
type MessageSigner struct {
	key *secret
}

// NewMessageSigner parses a signing key. Errors wrap ErrFormat or
// ErrUnknownVersion and never quote the key.
func NewMessageSigner(skey string) (*MessageSigner, error) {
	key, err := parseSecret(skey, TypeEd25519, TypeMLDSA44)
	if err != nil {
		return nil, err
	}
	return &MessageSigner{key: key}, nil
}

// VKey returns the text of the verifier key.
func (s *MessageSigner) VKey() string { return s.key.vkey.String() }

// Sign signs a message. The same message gives the same signature.
func (s *MessageSigner) Sign(message []byte) (record.Sig, error) {
	sig := record.Sig{Key: s.key.vkey.KeyName()}
	if s.key.vkey.typ == TypeEd25519 {
		sig.Sig = ed25519.Sign(s.key.ed, message)
		return sig, nil
	}
	raw, err := s.key.lattice.SignDeterministic(message, nil)
	if err != nil {
		return record.Sig{}, fmt.Errorf("proof: sign as %s: %w", sig.Key, err)
	}
	sig.Sig = raw
	return sig, nil
}

// SignRequest signs the request with digest req to a vault, as an actor does.
func (s *MessageSigner) SignRequest(vault record.VaultID, req record.ID) (record.Sig, error) {
	return s.Sign(record.SigMessage(vault, req))
}

// VerifyMessage returns an error that wraps ErrSignature unless sig is the key's
// signature of a message. Keys of type 4 sign no messages.
func (k VKey) VerifyMessage(message []byte, sig record.Sig) error {
	if sig.Key != k.KeyName() {
		return fmt.Errorf("%w: it is of %s, wanted one of %s", ErrSignature, clip([]byte(sig.Key)), k.KeyName())
	}
	good := false
	switch k.typ {
	case TypeEd25519:
		good = len(sig.Sig) == ed25519.SignatureSize && ed25519.Verify(k.public, message, sig.Sig)
	case TypeMLDSA44:
		good = mldsa.Verify(k.lattice, message, sig.Sig, nil) == nil
	}
	if !good {
		return fmt.Errorf("%w: that of %s does not match the message", ErrSignature, k.KeyName())
	}
	return nil
}

// GenerateKey makes a key pair of type 1 or 6 with a name of its own, for an actor.
// It reads 32 bytes from rand. Errors are those of GenerateKeys, and
// ErrUnknownVersion for another type.
func GenerateKey(name string, typ byte, rand io.Reader) (KeyPair, error) {
	if err := ValidOrigin(name); err != nil {
		return KeyPair{}, err
	}
	var bits [secretSize]byte
	if _, err := io.ReadFull(rand, bits[:]); err != nil {
		return KeyPair{}, fmt.Errorf("proof: generate a key of %q: read randomness: %w", name, err)
	}
	return keyPair(name, typ, bits[:])
}
