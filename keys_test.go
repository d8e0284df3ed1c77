package graven

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"

	"graven/proof"
)

// A vault has a log's key and an ML-DSA-44 one. A witness's key, which package
// proof takes as a cosigner's too, does not pass for either.
func TestVaultRefusesWitnessKeys(t *testing.T) {
	const name = "witness.example/w1"
	seed := sha256.Sum256([]byte(name))
	public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	id := sha256.Sum256(append([]byte(name+"\n\x04"), public...))
	text := func(b []byte) string {
		return fmt.Sprintf("%s+%x+%s", name, id[:4], base64.StdEncoding.EncodeToString(append([]byte{4}, b...)))
	}
	skey, vkey := "PRIVATE+KEY+"+text(seed[:]), text(public)
	if s, err := proof.NewCosigner(skey); err != nil || s.VKey() != vkey {
		t.Fatalf("the key is no cosigner's: %v", err)
	}
	if s, err := newCosigner(skey); !errors.Is(err, proof.ErrFormat) || s != nil {
		t.Errorf("as the vault's cosigner: %v", err)
	}
	if _, err := parseVKey(vkey); !errors.Is(err, proof.ErrUnknownVersion) {
		t.Errorf("as a verifier key of the vault: %v", err)
	}
	keys, err := proof.GenerateKeys(name, zeros{})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := newCosigner(keys.Cosigner.SKey); err != nil || s.VKey() != keys.Cosigner.VKey {
		t.Errorf("the right key: %v", err)
	}
	for _, right := range []string{keys.Log.VKey, keys.Cosigner.VKey} {
		if k, err := parseVKey(right); err != nil || k.String() != right {
			t.Errorf("%s: %v", right, err)
		}
	}
}

// zeros is no randomness at all.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
