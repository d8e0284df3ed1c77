package graven

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/internal/journal"
	"graven/merkle"
	"graven/proof"
	"graven/record"
	"graven/rescue"
	"graven/state"
)

const (
	classLog  = "log" // the class of documents and op lines: never dropped
	cleanFile = "meta/host/clean"

	authorityFile = "meta/authority/current.json"
	policyFile    = "meta/policy/current.json"

	cosignerKey = "meta/keys/priv/cosigner.skey"
	logKey      = "meta/keys/priv/log.skey"
	cosignerPub = "meta/keys/pub/cosigner.vkey"
	logPub      = "meta/keys/pub/log.vkey"
)

// make creates a vault's folder: whole, synced, then named. A crash before the
// rename leaves a folder that the next open sweeps away; one after it leaves
// the vault.
func (s *Store) make(c CreateOptions) error {
	g, err := s.newGenesis(c)
	if err != nil {
		return err
	}
	keys, err := proof.GenerateKeys(g.Origin, s.host.Rand)
	if err != nil {
		return err
	}
	authority, policy, err := firstDocuments(g, keys)
	if err != nil {
		return err
	}
	return s.dir.PublishFolder(vaultsName+"/"+c.Vault, func(d fsx.Disk) error {
		return s.fill(fsx.NewDir(d, fsx.VaultRules()), g, keys, authority, policy)
	})
}

// newGenesis is the first record of a vault that is being made.
func (s *Store) newGenesis(c CreateOptions) (*record.Genesis, error) {
	g := record.DefaultGenesis()
	if _, err := io.ReadFull(s.host.Rand, g.Vault[:]); err != nil {
		return nil, fmt.Errorf("random vault id: %w", err)
	}
	g.Store = s.id(g.Vault)
	g.Name, g.Origin, g.Region = c.Vault, c.Origin, c.Region
	if g.Origin == "" {
		g.Origin = "graven.local/" + g.Vault.String()
	}
	if err := proof.ValidOrigin(g.Origin); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if c.genesis != nil {
		c.genesis(&g)
	}
	return &g, nil
}

// id is the store's id: that of the first vault made in it, which every later
// one repeats.
func (s *Store) id(first record.VaultID) record.VaultID {
	entries, err := s.dir.ReadDir(vaultsName)
	if err != nil {
		return first
	}
	for _, e := range entries {
		if g, err := readGenesis(s.vaultDir(e.Name)); err == nil {
			return g.Store
		}
	}
	return first
}

// firstDocuments are the authority and the policy that genesis names.
func firstDocuments(g *record.Genesis, keys proof.Keys) (authority, policy []byte, err error) {
	a := record.Authority{Threshold: 1, Keys: []record.AuthorityKey{
		{Roles: []string{"authority", "log"}, VKey: keys.Log.VKey},
		{Roles: []string{"cosigner"}, VKey: keys.Cosigner.VKey},
	}}
	slices.SortFunc(a.Keys, func(x, y record.AuthorityKey) int { return strings.Compare(x.VKey, y.VKey) })
	if authority, err = a.Append(nil); err != nil {
		return nil, nil, err
	}
	p := record.Policy{Features: g.Features, Classes: []string{g.Class}}
	if policy, err = p.Append(nil); err != nil {
		return nil, nil, err
	}
	g.Authority, g.Policy = record.IDOf(authority), record.IDOf(policy)
	return authority, policy, nil
}

// fill writes the files of a new vault: the group of genesis in log and block,
// and what stands around it.
func (s *Store) fill(dir fsx.Dir, g *record.Genesis, keys proof.Keys, authority, policy []byte) error {
	readme, script := rescue.Files()
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"README.txt", readme},
		{"rescue.sh", script},
		{logKey, []byte(keys.Log.SKey + "\n")},
		{cosignerKey, []byte(keys.Cosigner.SKey + "\n")},
		{logPub, []byte(keys.Log.VKey + "\n")},
		{cosignerPub, []byte(keys.Cosigner.VKey + "\n")},
	} {
		if err := dir.PublishBytes(f.name, f.data); err != nil {
			return err
		}
	}
	for name, doc := range map[string][]byte{authorityFile: authority, policyFile: policy} {
		if err := dir.Replace(name, append(slices.Clone(doc), '\n')); err != nil {
			return err
		}
	}
	at := s.host.Now().UTC().Round(0)
	lines, head, err := firstGroup(g, at)
	if err != nil {
		return err
	}
	if err := fileFirstGroup(dir, g, lines, authority, policy); err != nil {
		return err
	}
	signer, err := proof.NewSigner(keys.Log.SKey)
	if err != nil {
		return err
	}
	note, err := signer.SignCheckpoint(head)
	if err != nil {
		return err
	}
	cosigner, err := proof.NewCosigner(keys.Cosigner.SKey)
	if err != nil {
		return err
	}
	if note, err = cosigner.Cosign(note, cosignTime(at)); err != nil {
		return err
	}
	if err := dir.Replace("checkpoint", note); err != nil {
		return err
	}
	return dir.Replace(cleanFile, fmt.Appendf(nil, "clean %d\n", head.Size))
}

// firstGroup is genesis and its commit.
func firstGroup(g *record.Genesis, at time.Time) (lines []byte, head proof.Checkpoint, err error) {
	lines, err = record.New(0, at, g).Append(nil)
	if err != nil {
		return nil, head, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var tree merkle.Tree
	tree.Append(merkle.LeafHash(lines))
	lines = append(lines, '\n')
	start := len(lines)
	commit := &record.Commit{Lines: record.IDOf(lines), Root: tree.Root(), State: state.Map{}.Root()}
	if lines, err = record.New(1, at, commit).Append(lines); err != nil {
		return nil, head, err
	}
	tree.Append(merkle.LeafHash(lines[start:]))
	return append(lines, '\n'), proof.Checkpoint{Origin: g.Origin, Size: 2, Root: tree.Root()}, nil
}

// fileFirstGroup puts the first group where every later one goes, synced.
func fileFirstGroup(dir fsx.Dir, g *record.Genesis, lines, authority, policy []byte) error {
	log, err := journal.Open(dir.Sub("log"), journal.Options{FileRecords: g.FileRecords, FileBytes: g.FileBytes})
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := log.Scan(nil); err != nil { // of nothing: the log is ready to be written
		return err
	}
	blocks, err := block.Open(dir.Sub("blocks"), g.Vault)
	if err != nil {
		return err
	}
	defer blocks.Close()
	number, offset, _ := blocks.Tail(classLog)
	frames := blocks.Encode(classLog, []block.Artifact{{ID: g.Authority, Bytes: authority}, {ID: g.Policy, Bytes: policy}})
	if err := blocks.Append(classLog, number, offset, frames); err != nil {
		return err
	}
	if err := log.Append(lines, 2); err != nil {
		return err
	}
	log.EndGroup()
	if err := blocks.Sync(); err != nil {
		return err
	}
	return log.Sync()
}
