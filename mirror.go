package graven

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/proof"
	"graven/record"
	"graven/rescue"
)

// A mirror is a vault's folder without private keys that a sync fills from the vault
// itself or from another mirror of it. It has the same log, blocks, tiles and index,
// byte by byte, and the checkpoint of its source; it signs nothing
// (docs/decisions/0016).
const (
	mirrorFile   = "meta/host/mirror"   // one line for people; that it is there makes the vault a mirror
	incomingFile = "meta/host/incoming" // the checkpoint that the last sync went to
	forkFolder   = "meta/host/fork"     // pairs of checkpoints that contradict each other
	newestFork   = forkFolder + "/newest.txt"
)

// ForkError is evidence: two signed checkpoints of one log, of which none extends the
// other. Nothing was moved; both are kept in the mirror's folder.
type ForkError struct {
	Vault  string
	Mirror []byte // the signed note that the mirror had; empty if it had none yet
	Source []byte // the signed note of the source
	File   string // where both are kept, below the mirror's folder
}

func (e *ForkError) Error() string {
	return fmt.Sprintf("vault %q: fork: the histories of mirror and source contradict each other; nothing was moved, both signed checkpoints are kept in %s: show them to whoever relies on this log", e.Vault, e.File)
}

// Is makes errors.Is(err, ErrFork) hold.
func (e *ForkError) Is(target error) bool { return target == ErrFork }

// fork keeps the evidence of one. The file's name follows from what is in it. One
// fork is evidence enough, and a forked source that goes on has a new checkpoint at
// each sync: of those behind the first only the newest is kept.
func (v *Vault) fork(mine, source []byte) error {
	const rule = "--------\n"
	var text bytes.Buffer
	text.WriteString("Two signed checkpoints of one log, of which none extends the other.\nThe mirror had:\n" + rule)
	text.Write(mine)
	text.WriteString(rule + "The source has:\n" + rule)
	text.Write(source)
	text.WriteString(rule)
	name := forkFolder + "/" + record.IDOf(text.Bytes()).Hex()[:16] + ".txt"
	kept, err := v.dir.ReadDir(forkFolder)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	switch {
	case err != nil:
	case slices.ContainsFunc(kept, func(e fsx.Entry) bool { return forkFolder+"/"+e.Name == name }):
		// the same one again
	case len(kept) == 0:
		err = v.dir.PublishBytes(name, text.Bytes())
	default:
		name = newestFork
		err = v.dir.Replace(name, text.Bytes())
	}
	return errors.Join(&ForkError{Vault: v.name, Mirror: mine, Source: source, File: name}, err)
}

// readMirror says of what a vault is a mirror, for people; empty: it is none.
func readMirror(dir fsx.Dir) (string, error) {
	b, err := dir.ReadFile(mirrorFile, 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if text := strings.TrimSpace(string(b)); text != "" {
		return text, nil
	}
	return "a vault of which " + mirrorFile + " does not tell", nil
}

// openFollowing opens a mirror for whoever adds to it. Like an open for writing it
// recovers what a crash left and makes derived files again. Its views are not for
// others: they stand where the log ends, for which there may be no checkpoint.
func (s *Store) openFollowing(name string) (*Vault, error) {
	v := s.newVault(name, s.opts)
	v.following = true
	var err error
	if v.mirror, err = readMirror(v.dir); err != nil {
		return nil, err
	}
	if err := v.open(true); err != nil {
		return nil, errors.Join(v.damaged(err), v.closeRooms())
	}
	v.start()
	return v, nil
}

// recoverMirror brings a mirror in order, as an open for writing does with other
// vaults, and tells what it put right.
func (s *Store) recoverMirror(name string) ([]string, error) {
	v, err := s.openFollowing(name)
	if err != nil {
		return nil, err
	}
	return v.recovered, v.close()
}

// publicKeys are the verifier keys in the vault's folder, the log's first; what
// cannot be read of them is left out.
func (v *Vault) publicKeys() (keys []string) {
	for _, name := range []string{logPub, cosignerPub} {
		key, err := readVKey(v.dir, name)
		if err != nil {
			break
		}
		keys = append(keys, key)
	}
	return keys
}

// makeMirror makes the folder of a mirror, with the group of genesis: whole, synced,
// then named. It has no checkpoint, so nobody can read it until its first sync is done.
func (s *Store) makeMirror(from *Vault, first *received, text string) error {
	authority, err := from.artifact(from.genesis.Authority)
	if err != nil {
		return fmt.Errorf("authority of the source: %w", err)
	}
	policy, err := from.artifact(from.genesis.Policy)
	if err != nil {
		return fmt.Errorf("policy of the source: %w", err)
	}
	readme, script := rescue.Files()
	err = s.dir.PublishFolder(vaultsName+"/"+from.name, func(d fsx.Disk) error {
		dir := fsx.NewDir(d, fsx.VaultRules())
		for _, f := range []struct {
			name string
			data []byte
		}{
			{"README.txt", readme},
			{"rescue.sh", script},
			{mirrorFile, []byte(text + "\n")},
		} {
			if err := dir.PublishBytes(f.name, f.data); err != nil {
				return err
			}
		}
		for i, name := range []string{logPub, cosignerPub} {
			if i < len(from.vkeys) {
				if err := dir.PublishBytes(name, []byte(from.vkeys[i]+"\n")); err != nil {
					return err
				}
			}
		}
		for name, doc := range map[string][]byte{authorityFile: authority, policyFile: policy} {
			if err := dir.Replace(name, append(bytes.Clone(doc), '\n')); err != nil {
				return err
			}
		}
		if err := fileFirstGroup(dir, from.genesis, first.lines, authority, policy); err != nil {
			return err
		}
		return dir.Replace(cleanFile, fmt.Appendf(nil, "clean %d\n", first.after.next))
	})
	if errors.Is(err, fs.ErrExist) {
		err = ErrVaultExists
	}
	if errors.Is(err, fsx.ErrNoSpace) {
		err = fmt.Errorf("%w: making the mirror: %w", ErrFull, err)
	}
	return err
}

// show publishes a checkpoint of the source over records that the mirror has,
// durably. From here on readers see them.
func (v *Vault) show(head proof.Checkpoint, note []byte) error {
	if err := v.settle(); err != nil {
		return err
	}
	root, err := v.rootAt(head.Size)
	if err != nil {
		return err
	}
	if root != head.Root {
		return fmt.Errorf("%w: the mirror's root at size %d is %v, the checkpoint says %v", ErrDamaged, head.Size, root, head.Root)
	}
	if err := v.dir.Replace("checkpoint", note); err != nil {
		return v.behind("publishing the source's checkpoint", err)
	}
	v.shown = head.Size
	if err := v.dropSealed(v.shown); err != nil {
		return v.behind("ending a sealed block", err)
	}
	return nil
}

// rootAt is the root of the vault's tree at a size that it has reached.
func (v *Vault) rootAt(size uint64) (merkle.Hash, error) {
	root, err := merkle.RootFrom(size, treeHashes{v.View()})
	return root, v.damaged(err)
}
