package graven

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"graven/internal/fsx"
	"graven/proof"
	"graven/record"
)

// loadDocuments reads the authority and the policy that genesis names; a replay
// applies the policies that followed.
func (v *Vault) loadDocuments() error {
	v.vkeys = nil
	b, err := v.artifact(v.genesis.Authority)
	if err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	a, err := record.ParseAuthority(b)
	if errors.Is(err, record.ErrUnknownVersion) {
		v.lack("its authority is of a version that this program does not know")
		if err := v.loadPublicKeys(); err != nil {
			return err
		}
		v.first, err = v.firstPolicy()
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: authority %v: %w", ErrDamaged, v.genesis.Authority, err)
	}
	v.authority = a
	for _, role := range []string{record.RoleLog, record.RoleCosigner} {
		for _, k := range a.Keys {
			if k.Has(role) {
				v.vkeys = append(v.vkeys, k.VKey)
			}
		}
	}
	if v.signer != nil && (len(v.vkeys) == 0 || v.signer.VKey() != v.vkeys[0]) {
		return fmt.Errorf("%w: %s is the key %s, the authority names %s; put the right key file back", ErrInvalid, logKey, v.signer.VKey(), strings.Join(v.vkeys, " "))
	}
	if v.cosigner != nil && !slices.Contains(v.vkeys[1:], v.cosigner.VKey()) {
		return fmt.Errorf("%w: %s is a key that the authority does not name; put the right key file back", ErrInvalid, cosignerKey)
	}
	v.first, err = v.firstPolicy()
	return err
}

// writePublicKeys makes the key files again that are missing or hold no key: they
// stand in the authority. Another key than that is left for a check to name.
func (v *Vault) writePublicKeys() error {
	for i, name := range []string{logPub, cosignerPub} {
		if i >= len(v.vkeys) {
			break
		}
		text, err := readVKey(v.dir, name)
		switch {
		case err == nil:
			continue
		case errors.Is(err, proof.ErrFormat), errors.Is(err, proof.ErrUnknownVersion):
			v.did("%v; it was made again from the authority, the damaged one is in meta/host/cut", err)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := v.replaceDerived(name, []byte(text), []byte(v.vkeys[i]+"\n")); err != nil {
			return err
		}
	}
	return nil
}

// readVKey reads the file of a verifier key. Its text is returned also if it is none.
func readVKey(dir fsx.Dir, name string) (string, error) {
	b, err := dir.ReadFile(name, maxSetAside)
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(string(b), "\n")
	if _, err := parseVKey(text); err != nil {
		return string(b), fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}

// loadPublicKeys takes the keys from their files, where the authority cannot be read.
func (v *Vault) loadPublicKeys() error {
	for _, name := range []string{logPub, cosignerPub} {
		b, err := v.dir.ReadFile(name, 8192)
		if err != nil {
			return err
		}
		v.vkeys = append(v.vkeys, strings.TrimSuffix(string(b), "\n"))
	}
	return nil
}

// loadSigner reads the log's signing key, which nobody else may be able to read.
func (v *Vault) loadSigner() error {
	b, err := v.readSigner(logKey, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the log's signing key, %s, is not here, as in a copy for readers, which is never written; if this is the vault itself and has lost its keys, graven adopt --key FILE puts them back", ErrReadOnly, logKey)
	}
	if err != nil {
		return err
	}
	if info, err := v.dir.Stat(logKey); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	} else if err == nil && !info.Private {
		return fmt.Errorf("%w: %s can be read by others; take their rights away (chmod 600) and consider the key exposed", ErrInvalid, logKey)
	}
	s, err := proof.NewSigner(strings.TrimSuffix(string(b), "\n"))
	if err != nil {
		return fmt.Errorf("%s: %w", logKey, err)
	}
	if v.author, err = proof.NewMessageSigner(strings.TrimSuffix(string(b), "\n")); err != nil {
		return fmt.Errorf("%s: %w", logKey, err)
	}
	v.signer = s
	if b, err = v.readSigner(cosignerKey, 8192); errors.Is(err, fs.ErrNotExist) {
		v.note("%s is not here: checkpoints are published without a cosignature", cosignerKey)
		return nil
	} else if err != nil {
		return err
	}
	if v.cosigner, err = newCosigner(strings.TrimSuffix(string(b), "\n")); err != nil {
		return fmt.Errorf("%s: %w", cosignerKey, err)
	}
	return nil
}

// newCosigner parses the vault's second signing key, which is ML-DSA-44: the first
// is Ed25519 already.
func newCosigner(skey string) (*proof.Cosigner, error) {
	s, err := proof.NewCosigner(skey)
	if err == nil && s.Type() != proof.TypeMLDSA44 {
		return nil, fmt.Errorf("%w signing key: type %d, wanted %d", proof.ErrFormat, s.Type(), proof.TypeMLDSA44)
	}
	return s, err
}

// parseVKey parses a verifier key of a vault. Keys of witnesses, which package
// proof knows too, are none.
func parseVKey(text string) (proof.VKey, error) {
	k, err := proof.ParseVKey(text)
	if err == nil && k.Type() == proof.TypeCosignEd25519 {
		return proof.VKey{}, fmt.Errorf("%w: verifier key %s has type %d, a vault's are %d and %d", proof.ErrUnknownVersion, k.KeyName(), k.Type(), proof.TypeEd25519, proof.TypeMLDSA44)
	}
	return k, err
}

// cosignTime is the time of a cosignature in POSIX seconds: that of the commit, so
// that whoever publishes the same commit again publishes the same bytes. It does not
// begin before 1970, as a clock that was never set may.
func cosignTime(commit time.Time) uint64 { return uint64(max(0, commit.Unix())) }

// splitNote parts a published checkpoint into what the log's key alone has signed
// and the whole, nil if nobody else has.
func (v *Vault) splitNote(note []byte) (own, both []byte, err error) {
	key, err := parseVKey(v.vkeys[0])
	if err != nil {
		return nil, nil, err
	}
	if own, err = proof.SignedBy(note, key); err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(own, note) {
		both = note
	}
	return own, both, nil
}
