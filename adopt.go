package graven

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/internal/journal"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

// ErrLost: others hold a checkpoint over records that this vault does not have.
var ErrLost = errors.New("records were lost that others hold")

// AdoptOptions say on what ground a vault is made writable.
type AdoptOptions struct {
	// Newest is the newest checkpoint of this log that anybody holds.
	Newest []byte
	// NothingNewer is a person's word that no checkpoint, receipt or proof beyond
	// the vault's size was ever given out.
	NothingNewer bool
	// Keys are signing keys to put in place, the log's and maybe the cosigner's.
	Keys []string
	// NewestFrom and KeysFrom say where these came from, for errors; may be empty.
	NewestFrom string
	KeysFrom   []string
}

// AdoptReport says what became of a vault.
type AdoptReport struct {
	Vault string
	From  uint64 // size at which it was restored
	Size  uint64 // with the commit that began the new epoch
	Epoch uint64
	Root  merkle.Hash
	Keys  []string // files of signing keys that were put in place
	Notes []string
}

// adoption is an open for writing of a vault that may not be written.
type adoption struct {
	newest *proof.Checkpoint // verified; nil: a person says that there is none
	from   uint64            // size of the mark
	marked bool              // there is one
	keys   map[string]string // signing keys to put in place, by the file; they are the vault's
	placed []string          // files of those that were
}

// Adopt makes a vault writable that was restored from a backup, or that was not
// closed cleanly and lost its write-ahead log. It commits a group of nothing but a
// commit line, whose epoch is one more: from then on everybody can see where the
// ledger was taken up again, and that whoever did so held the key.
//
// Sizes beyond the vault's may have been published before they were lost. To
// sign others for them would be a second history. So the caller gives the newest
// checkpoint that anybody holds, or says that there is none beyond this size. A
// checkpoint beyond it is [ErrLost]: then the log would need another origin,
// which this version cannot give it. One that is not of this history is [ErrDamaged].
// A mirror is never adopted: [ErrReadOnly]. A vault that needs no adoption is
// [ErrInvalid], but if it lacks keys that are given, they are put in place and nothing
// else happens: the report's epoch is then the one that it had.
//
// A crash leaves the vault as it was or with the commit; then Adopt only takes
// the mark away.
func (s *Store) Adopt(ctx context.Context, name string, o AdoptOptions) (*AdoptReport, error) {
	if s.opts.ReadOnly {
		return nil, fmt.Errorf("store: %w", ErrReadOnly)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if err := s.checkVault(ctx, name); err != nil {
		return nil, err
	}
	if v, ok := s.vaults[name]; ok {
		if v.readOnly == "" {
			return nil, fmt.Errorf("vault %q: %w", name, errNoAdoption)
		}
		delete(s.vaults, name)
		if err := v.close(); err != nil {
			return nil, err
		}
	}
	r, err := s.adopt(name, o)
	if err != nil {
		return nil, markFull(ofVault(name, err))
	}
	return r, nil
}

var errNoAdoption = fmt.Errorf("%w: it can be written as it is, and needs no adoption", ErrInvalid)

func (s *Store) adopt(name string, o AdoptOptions) (*AdoptReport, error) {
	dir := s.vaultDir(name)
	mirror, err := readMirror(dir)
	if err != nil {
		return nil, err
	}
	if mirror != "" {
		return nil, fmt.Errorf("%w: it is a mirror of %s, which is never adopted; graven sync brings it up to date; to write on make the vault again with graven restore, from a backup of it or of this mirror", ErrReadOnly, mirror)
	}
	a, err := newAdoption(dir, o)
	if err != nil {
		return nil, err
	}
	opts := s.opts
	opts.scripted = true // nothing happens but what stands here
	v := &Vault{name: name, host: s.host, opts: opts, dir: dir, sealing: map[block.OpenBlock]bool{}, unsealed: map[string]unsealed{}, adopting: a}
	if err := v.open(true); err != nil {
		return nil, errors.Join(v.damaged(err), v.closeRooms())
	}
	v.start()
	if !a.marked { // it only lacked keys
		w := v.View()
		report := &AdoptReport{Vault: name, From: w.Size(), Size: w.Size(), Epoch: w.epoch, Root: w.head.Root, Keys: a.placed, Notes: append(v.recovered, v.found...)}
		return report, v.close()
	}
	err = v.newEpoch()
	w := v.View()
	report := &AdoptReport{Vault: name, From: a.from, Size: w.Size(), Epoch: w.epoch, Root: w.head.Root, Keys: a.placed, Notes: append(v.recovered, v.found...)}
	if err = errors.Join(err, v.close()); err != nil {
		return nil, err
	}
	// The commit is durable and published. A crash from here on leaves the mark,
	// and the next adoption finds the commit.
	if err := dir.Discard(restoredFile); err != nil {
		return nil, err
	}
	return report, dir.Sync(cleanFile) // and with it the folder in which the mark was
}

// newAdoption verifies the ground for an adoption as far as the vault's public
// key goes.
func newAdoption(dir fsx.Dir, o AdoptOptions) (*adoption, error) {
	a := &adoption{}
	var err error
	if a.from, a.marked, err = readRestored(dir); err != nil {
		return nil, err
	}
	if (o.Newest == nil) == !o.NothingNewer {
		return nil, fmt.Errorf("%w: an adoption needs the newest checkpoint that anybody holds, or else a person's word that there is none beyond this vault's size", ErrInvalid)
	}
	if a.keys, err = ownSigningKeys(dir, o); err != nil || o.Newest == nil {
		return a, err
	}
	key, err := readVKey(dir, logPub)
	if err != nil {
		return nil, err
	}
	head, err := openNote(o.Newest, key)
	if err != nil {
		return nil, fmt.Errorf("the newest checkpoint%s: %w", from(o.NewestFrom), err)
	}
	a.newest = &head
	return a, nil
}

// from says where something came from, behind its name.
func from(where string) string {
	if where == "" {
		return ""
	}
	return " in " + where
}

// ownSigningKeys reads the keys that are to be put in place, by the file. Only those
// that are the vault's are taken.
func ownSigningKeys(dir fsx.Dir, o AdoptOptions) (map[string]string, error) {
	keys := map[string]string{}
	for i, text := range o.Keys {
		where := ""
		if i < len(o.KeysFrom) {
			where = from(o.KeysFrom[i])
		}
		text = strings.TrimSpace(text)
		name, pub, vkey := logKey, logPub, ""
		if signer, err := proof.NewSigner(text); err == nil {
			vkey = signer.VKey()
		} else if cosigner, err := newCosigner(text); err == nil {
			name, pub, vkey = cosignerKey, cosignerPub, cosigner.VKey()
		} else {
			return nil, fmt.Errorf("%w: the key to be put in place%s is no signing key of a vault: %v", ErrInvalid, where, err)
		}
		want, err := readVKey(dir, pub)
		if err != nil {
			return nil, err
		}
		if vkey != want {
			return nil, fmt.Errorf("%w: the signing key%s of %s is not this vault's, which is %s", ErrInvalid, where, vkey, want)
		}
		keys[name] = text
	}
	return keys, nil
}

// readSigner reads the file of a signing key. An adoption takes one that it is to put
// in place, if there is none.
func (v *Vault) readSigner(name string, limit int64) ([]byte, error) {
	b, err := v.dir.ReadFile(name, limit)
	if v.adopting != nil && errors.Is(err, fs.ErrNotExist) {
		if text, ok := v.adopting.keys[name]; ok {
			return []byte(text + "\n"), nil
		}
	}
	return b, err
}

// placeKeys puts keys in place that are not there.
func (v *Vault) placeKeys() error {
	for _, name := range []string{logKey, cosignerKey} {
		text, given := v.adopting.keys[name]
		if !given {
			continue
		}
		err := v.dir.PublishBytes(name, []byte(text+"\n"))
		if errors.Is(err, fs.ErrExist) {
			continue // the open has said if it is another
		}
		if err != nil {
			return err
		}
		v.adopting.placed = append(v.adopting.placed, name)
	}
	return nil
}

// judgeAdoption decides, once the log was read, whether the vault may be adopted.
// Nothing that counts has been changed before.
func (v *Vault) judgeAdoption(s *scanner) error {
	a := v.adopting
	if a == nil {
		return nil
	}
	if a.marked && a.from == noLimit { // garbled: whatever was there, a new epoch begins
		a.from = s.size
	}
	if a.marked && a.from > s.size {
		return fmt.Errorf("%w: it was restored at size %d, its log holds %d records", ErrDamaged, a.from, s.size)
	}
	if err := v.judgeNewest(s); err != nil {
		return err
	}
	if err := v.placeKeys(); err != nil {
		return err
	}
	if !a.marked && len(a.placed) == 0 {
		return errNoAdoption
	}
	return nil
}

// judgeNewest refuses a vault that is behind the newest checkpoint, or of another
// history.
func (v *Vault) judgeNewest(s *scanner) error {
	newest := v.adopting.newest
	if newest == nil {
		return nil
	}
	if newest.Size > s.size {
		return fmt.Errorf("%w: the newest checkpoint is of size %d, the vault holds %d records; to write here would be a second history under one key. Bring a newer backup or the lost files back; to go on without them the log would need a new origin, which this version cannot give it", ErrLost, newest.Size, s.size)
	}
	root, err := merkle.RootFrom(newest.Size, treeHashes{&View{vault: v, tree: v.tiles.Snapshot()}})
	if err != nil {
		return v.damaged(err)
	}
	if root != newest.Root {
		return fmt.Errorf("%w: at size %d the vault has root %v, the newest checkpoint says %v: they are two histories, and both are signed; keep both", ErrDamaged, newest.Size, root, newest.Root)
	}
	return nil
}

// adoptLost goes on where the write-ahead log is missing: what the log holds whole
// is what there is. The mark comes first, so that whatever ends this, only another
// adoption goes on.
func (v *Vault) adoptLost(h held, s *scanner, scanErr error) (*scanner, error) {
	if scanErr != nil {
		return nil, scanErr
	}
	if a := v.adopting; !a.marked {
		if err := v.dir.PublishBytes(restoredFile, restoredMark(s.size)); err != nil {
			return nil, err
		}
		a.from, a.marked = s.size, true
	}
	return v.restore(h, s, nil)
}

// keepBehind sets aside what stands in a file from an offset on, all of it, before it is
// cut.
func (v *Vault) keepBehind(what, file string, offset int64) error {
	f, err := v.dir.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if at, err := firstNonzero(f, offset); err != nil || at < 0 {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	behind := func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(f, offset, size-offset))
		return err
	}
	sum := &hashing{left: size - offset}
	if err := behind(sum); err != nil {
		return err
	}
	name := "meta/host/cut/" + what + "-" + sum.sum().Hex()[:16]
	v.did("%s, offset %d: %d bytes of groups that the lost write-ahead log held; they are in %s", file, offset, size-offset, name)
	if exists, err := v.dir.Exists(name); err != nil || exists {
		return err
	}
	return v.dir.Publish(name, behind)
}

// keepBehindLog is keepBehind for the end of the log, from the first byte that was
// found behind it on, and for the files that follow.
func (v *Vault) keepBehindLog(found journal.Pos) error {
	entries, err := v.dir.ReadDir("log")
	if err != nil {
		return err
	}
	for _, e := range entries {
		first, ok := journal.ParseName(e.Name)
		if !ok || first < found.File {
			continue
		}
		offset := int64(0)
		if first == found.File {
			offset = found.Offset
		}
		if err := v.keepBehind("log", logName(first), offset); err != nil {
			return err
		}
	}
	return nil
}

// newEpoch commits a group of nothing but a commit line, of the next epoch, unless
// an adoption that was cut off has done so.
func (v *Vault) newEpoch() error {
	done, err := v.epochBegun()
	if err != nil {
		return err
	}
	if !done {
		if a := v.adopting; a.from != v.tip.next {
			v.note("%s said size %d, which is not where the vault was restored: it ends at %d", restoredFile, a.from, v.tip.next)
			a.from = v.tip.next
		}
		g := v.newGroup()
		v.tip.epoch++
		if err := v.seal(g); err != nil {
			return err
		}
		if err := v.persist(g); err != nil {
			return err
		}
	}
	return v.settle()
}

// epochBegun reports whether exactly the group that an adoption commits stands behind
// the size of the mark. The mark alone shows nothing: it may have rotted.
func (v *Vault) epochBegun() (bool, error) {
	from := v.adopting.from
	if from == 0 || v.tip.next != from+1 {
		return false, nil
	}
	var epochs [2]uint64
	for i := range epochs {
		rec, err := v.recordAt(from - 1 + uint64(i))
		if err != nil {
			return false, err
		}
		commit, ok := rec.Body.(*record.Commit)
		if !ok {
			return false, nil
		}
		epochs[i] = commit.Epoch
	}
	return epochs[1] == epochs[0]+1, nil
}
