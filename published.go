package graven

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/proof"
)

// checkpointSize is the size that the published checkpoint claims, unverified; 0 if there is none.
func checkpointSize(dir fsx.Dir) uint64 {
	b, err := dir.ReadFile("checkpoint", maxSetAside)
	if err != nil {
		return 0
	}
	lines := strings.SplitN(string(b), "\n", 3)
	if len(lines) < 3 {
		return 0
	}
	size, _ := strconv.ParseUint(lines[1], 10, 64)
	return size
}

// readCheckpoint opens the published checkpoint with the log's public key.
func (v *Vault) readCheckpoint() (proof.Checkpoint, []byte, error) {
	key, err := readVKey(v.dir, logPub)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return proof.Checkpoint{}, nil, fmt.Errorf("%w: %s is missing; a command that writes makes it again, as graven rebuild does", ErrDamaged, logPub)
	case errors.Is(err, proof.ErrFormat), errors.Is(err, proof.ErrUnknownVersion):
		return proof.Checkpoint{}, nil, fmt.Errorf("%w: %w; a command that writes makes it again, as graven rebuild does", ErrDamaged, err)
	case err != nil:
		return proof.Checkpoint{}, nil, err
	}
	keys := []string{key}
	// A damaged copy of the second key keeps nobody from reading.
	if key, err = readVKey(v.dir, cosignerPub); err == nil {
		keys = append(keys, key)
	}
	return v.readCheckpointBy(keys...)
}

// readCheckpointBy opens the published checkpoint with the log's key. If the
// cosigner's is there too, its cosignature must be right or missing.
func (v *Vault) readCheckpointBy(vkeys ...string) (proof.Checkpoint, []byte, error) {
	note, err := v.dir.ReadFile("checkpoint", maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return proof.Checkpoint{}, nil, fmt.Errorf("the published checkpoint is missing; bring it back, or let a command that writes publish it again: %w", err)
	}
	if errors.Is(err, fsx.ErrTooLarge) {
		if note, err = v.dir.ReadFile("checkpoint", maxSetAside); err == nil {
			return proof.Checkpoint{}, note, fmt.Errorf("%w: checkpoint: it has %d bytes, at most %d are read", ErrDamaged, len(note), maxCheckpoint)
		}
	}
	if err != nil {
		return proof.Checkpoint{}, nil, err
	}
	head, err := openNote(note, vkeys...)
	return head, note, err
}

// openNote verifies a checkpoint with the log's key and maybe the cosigner's.
func openNote(note []byte, vkeys ...string) (head proof.Checkpoint, err error) {
	keys := make([]proof.VKey, len(vkeys))
	for i, name := range []string{logPub, cosignerPub}[:len(vkeys)] {
		if keys[i], err = parseVKey(vkeys[i]); err != nil {
			return proof.Checkpoint{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	if head, err = proof.OpenCheckpoint(note, keys...); err != nil {
		return proof.Checkpoint{}, fmt.Errorf("%w: checkpoint: %w", ErrDamaged, err)
	}
	return head, nil
}

// ownKeys are the verifier keys of the signing keys that are here.
func (v *Vault) ownKeys() []string {
	if v.following {
		return v.publicKeys()
	}
	keys := []string{v.signer.VKey()}
	if v.cosigner != nil {
		keys = append(keys, v.cosigner.VKey())
	}
	return keys
}

// coverPublished refuses a vault that lost what it once published: going on
// would sign a second history. A checkpoint that is missing is only a slow
// start; it is published again.
func (v *Vault) coverPublished(s *scanner) error {
	head, note, err := v.readCheckpointBy(v.ownKeys()...)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, ErrDamaged) {
		if claimed := checkpointSize(v.dir); claimed > s.size {
			return fmt.Errorf("%w; it speaks of size %d, log and blocks hold %d records; bring the lost ones back from a copy, or if there are none remove the checkpoint", err, claimed, s.size)
		}
		// It is a copy of what was signed; log and blocks are the truth. Those
		// who hold the true one will notice if it does not extend.
		v.did("%v; it is published again, the damaged one is in meta/host/cut", err)
		return v.setAside("checkpoint", note)
	}
	if err != nil {
		return err
	}
	if n, clean := readClean(v.dir); clean && !v.restoring {
		if err := agree(n, head); err != nil {
			return err
		}
	}
	if head.Size > s.size {
		return fmt.Errorf("%w: the published checkpoint is of size %d, log and blocks hold %d records; bring the lost ones back from a copy", ErrDamaged, head.Size, s.size)
	}
	root, err := merkle.RootFrom(head.Size, treeHashes{&View{vault: v, tree: v.tiles.Snapshot()}})
	if err != nil {
		return v.damaged(err)
	}
	if root != head.Root {
		return fmt.Errorf("%w: at size %d the log has root %v, the published checkpoint says %v", ErrDamaged, head.Size, root, head.Root)
	}
	v.published.Store(head.Size)
	v.shown = head.Size
	return nil
}
