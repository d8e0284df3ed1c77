package graven

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

// signedHead is what a log must come to.
type signedHead struct {
	size uint64
	root merkle.Hash
}

// holds reads a log and holds it against the head.
func (h signedHead) holds(l *logReader) error {
	if err := l.run(); err != nil {
		return err
	}
	if root := l.scan.tree.Root(); root != h.root {
		return fmt.Errorf("%w: the first %d records have root %v, the signed checkpoint says %v", ErrDamaged, h.size, root, h.root)
	}
	return nil
}

// ownHead is the vault's own checkpoint; why says that there is none to go by.
func (r *repairer) ownHead() (head signedHead, why, err error) {
	note, err := r.dir.ReadFile("checkpoint", maxCheckpoint)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return head, errors.New("the vault's checkpoint is missing"), nil
	case errors.Is(err, fsx.ErrTooLarge):
		return head, err, nil
	case err != nil:
		return head, nil, err
	}
	keys, why := r.trusted()
	// Whoever could change the vault's own file could change the rest of it, too.
	if key, err := readVKey(r.dir, logPub); err == nil && r.vkey == "" {
		keys = append(keys, key)
	}
	head, why = r.openHead(note, keys, why)
	if why != nil {
		why = fmt.Errorf("the vault's checkpoint does not verify: %w", why)
	}
	return head, why, nil
}

// copiedHead is the copy's checkpoint. Of its keys nobody knows whose they are: the
// vault's is in the authority that its first record names, or a person has it.
func (r *repairer) copiedHead() (head signedHead, why, err error) {
	var note []byte
	if r.m != nil {
		note = r.m.note // the file may be that of a backup under way
	} else if note, err = r.copy.ReadFile("checkpoint", maxCheckpoint); errors.Is(err, fs.ErrNotExist) || errors.Is(err, fsx.ErrTooLarge) {
		return head, err, nil
	} else if err != nil {
		return head, nil, err
	}
	keys, why := r.trusted()
	head, why = r.openHead(note, keys, why)
	return head, why, nil
}

// openHead opens a checkpoint with one of some keys. none says why there are none.
func (r *repairer) openHead(note []byte, keys []string, none error) (signedHead, error) {
	why := none
	for _, key := range keys {
		head, err := openNote(note, key)
		if err == nil && head.Origin != r.genesis.Origin {
			err = fmt.Errorf("%w: the checkpoint is of origin %q, the vault of %q", ErrDamaged, head.Origin, r.genesis.Origin)
		}
		if err == nil {
			return signedHead{head.Size, head.Root}, nil
		}
		why = err
	}
	return signedHead{}, why
}

// trusted are the verifier keys that are the vault's whatever the copy says: the one
// that a person gives, or those of the authority that the vault's own first record
// names by its hash, wherever that document is found.
func (r *repairer) trusted() (keys []string, why error) {
	if r.vkey != "" {
		return []string{r.vkey}, nil
	}
	if !r.ownGenesis {
		return nil, errors.New("the vault's first record cannot be read, so nothing says which key is the log's; give it with --vkey")
	}
	for _, dir := range []fsx.Dir{r.dir, r.copy} {
		b, err := dir.ReadFile(authorityFile, maxSetAside)
		if b = bytes.TrimSuffix(b, []byte{'\n'}); err != nil || record.IDOf(b) != r.genesis.Authority {
			continue
		}
		a, err := record.ParseAuthority(b)
		if err != nil {
			return nil, fmt.Errorf("authority %v: %w; give the log's key with --vkey", r.genesis.Authority, err)
		}
		for _, k := range a.Keys {
			if key, err := proof.ParseVKey(k.VKey); err == nil && k.Has(record.RoleLog) && key.Type() == proof.TypeEd25519 {
				keys = append(keys, k.VKey)
			}
		}
		return keys, nil
	}
	return nil, fmt.Errorf("the authority %v, which names the log's key, is in %s of neither; give the key with --vkey", r.genesis.Authority, authorityFile)
}
