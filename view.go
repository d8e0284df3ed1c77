package graven

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"graven/internal/index"
	"graven/internal/tilestore"
	"graven/merkle"
	"graven/proof"
	"graven/record"
	"graven/state"
)

// View is a vault at one position. It never changes, may be used by any
// number of goroutines, and holds nothing that must be closed. Everything that
// one view says (sizes, roots, values, lists, proofs) is from one moment.
type View struct {
	vault    *Vault
	head     proof.Checkpoint  // of the commit that this view stands on
	note     []byte            // head, signed by the log's key
	both     []byte            // and by the cosigner's, as it was published; nil: see Cosigned
	at       time.Time         // of the commit
	commit   []byte            // the commit line, record head.Size-1
	pos      uint64            // the newest record that is visible
	state    state.Map         // after commit
	tree     *tilestore.Reader // at least head.Size leaves
	height   uint64            // commits so far
	epoch    uint64
	policy   *policy // in force behind commit
	versions uint64  // of keys
	newest   bool    // pos is the commit itself: proofs of keys can be made
	// asked is the time that cut the view off at pos, which proofs are then about;
	// zero: none did. Invariant: the record behind pos is there, and of a later time.
	asked time.Time
}

// View returns the newest durable position.
func (v *Vault) View() *View { return v.view.Load() }

// Size is the size of the tree that the view's checkpoint is over, in records.
func (w *View) Size() uint64 { return w.head.Size }

// Seq is the newest record that is visible in this view.
func (w *View) Seq() uint64 { return w.pos }

// Head is the checkpoint that the view stands on.
func (w *View) Head() proof.Checkpoint { return w.head }

// Checkpoint is Head as a signed note, with the signature of the log's key.
func (w *View) Checkpoint() []byte { return slices.Clone(w.note) }

// Cosigned is the view with a checkpoint, also in its proofs, that bears the
// cosignature of the vault's ML-DSA-44 key besides the log's signature. Without
// that key it is [ErrReadOnly], unless the checkpoint was published with it.
func (w *View) Cosigned() (*View, error) {
	c := *w
	if c.both == nil && w.vault.cosigner == nil {
		return nil, fmt.Errorf("a cosignature: %w: %s is not here, and the published checkpoint has none of it", ErrReadOnly, cosignerKey)
	}
	if c.both == nil {
		var err error
		if c.both, err = w.vault.cosigner.Cosign(w.note, cosignTime(w.at)); err != nil {
			return nil, err
		}
	}
	c.note = c.both
	return &c, nil
}

// Time is the time of the newest visible record, as the vault's host told it.
func (w *View) Time() (time.Time, error) { return w.timeOf(w.pos) }

func (w *View) timeOf(seq uint64) (time.Time, error) {
	line, err := w.Record(seq)
	if err != nil {
		return time.Time{}, err
	}
	f, err := record.ParseFrame(line)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: record %d: %w", ErrDamaged, seq, err)
	}
	return f.Time, nil
}

// At is the vault as it was right after record seq.
func (w *View) At(seq uint64) (*View, error) {
	if seq > w.pos {
		return nil, fmt.Errorf("seq %d: %w: the newest record is %d", seq, ErrFuture, w.pos)
	}
	past := *w
	past.pos = seq
	past.newest = w.newest && seq == w.pos
	past.asked = time.Time{}
	return &past, nil
}

// AtTime is the vault after the last record whose time is not after t. The view's
// proofs of keys, lists and counts are about t, and not about that record's
// position; if no record of w is of a later time, the view is w itself, as are its
// proofs.
func (w *View) AtTime(t time.Time) (*View, error) {
	// Times never go back, so the records can be searched by halves: lo is
	// always a record at or before t, hi one after it.
	first, err := w.timeOf(0)
	if err != nil {
		return nil, err
	}
	if first.After(t) {
		return nil, fmt.Errorf("%s: %w: the vault begins at %s", t.Format(time.RFC3339Nano), ErrNotFound, first.Format(time.RFC3339Nano))
	}
	lo, hi := uint64(0), w.pos+1
	for hi-lo > 1 {
		mid := lo + (hi-lo)/2
		at, err := w.timeOf(mid)
		if err != nil {
			return nil, err
		}
		if at.After(t) {
			hi = mid
		} else {
			lo = mid
		}
	}
	if hi > w.pos {
		return w, nil
	}
	past, err := w.At(lo)
	if err != nil {
		return nil, err
	}
	past.asked = t.UTC().Round(0)
	return past, nil
}

// Entry is a version of a key.
type Entry struct {
	Key    []byte     // without the space byte
	Seq    uint64     // the record that wrote the version
	N      uint64     // its number, from 1
	Prev   uint64     // seq of the version before; 0: none
	Live   bool       // false: the version is a delete
	Value  record.ID  // zero for a delete
	Size   uint64     // of the value in bytes
	Type   string     // media type; empty if none was given
	Chunks *record.ID // the list of a chunked value
}

func entryOf(key []byte, v index.Version) Entry {
	return Entry{
		Key: key[1:], Seq: v.Seq, N: v.N, Prev: v.Prev, Live: v.Live, Value: v.Value,
		Size: v.Size, Type: v.Type, Chunks: v.Chunks,
	}
}

func userKey(key []byte) []byte { return append([]byte{record.SpaceUser}, key...) }

// Get finds the version of key that is in force in this view. If the key was
// never there, or is deleted, the error is [ErrNotFound] and says which.
func (w *View) Get(key []byte) (Entry, error) {
	ver, ok, err := w.newestVersion(userKey(key), w.pos)
	if err != nil {
		return Entry{}, w.vault.damaged(err)
	}
	if !ok {
		return Entry{}, fmt.Errorf("key %s: %w", keyText(key), ErrNotFound)
	}
	if !ver.Live {
		return Entry{}, fmt.Errorf("key %s: %w: it was deleted by record %d", keyText(key), ErrNotFound, ver.Seq)
	}
	return entryOf(userKey(key), ver), nil
}

// Query says what to list: the keys of [From, To) that start with Prefix, in
// byte order.
type Query struct {
	Prefix, From, To []byte // empty From: the first key; empty To: no upper end
	Reverse          bool   // from the last key down
	Limit            int    // at most so many; 0: all
	Deleted          bool   // list deleted keys too
	// Compact is for proofs of lists: runs of deleted keys are left out of the file,
	// by what the log says of how many keys live there. What is listed is the same.
	Compact bool
}

// List yields the entries of a query. The keys are the index's own: do not change them.
func (w *View) List(q Query) iter.Seq2[Entry, error] {
	from, to := q.bounds()
	return func(yield func(Entry, error) bool) {
		n, more := 0, true
		err := w.vault.index.Scan(from, to, w.pos, q.Reverse, func(it index.Item) bool {
			if !it.Version.Live && !q.Deleted {
				return true
			}
			n++
			more = yield(entryOf(it.Key, it.Version), nil)
			return more && (q.Limit <= 0 || n < q.Limit)
		})
		if err != nil && more {
			yield(Entry{}, w.vault.damaged(err))
		}
	}
}

// bounds are the stored keys between which a query's answers lie.
func (q Query) bounds() (from, to []byte) {
	r := proof.Covered(record.RangeSubject{Space: record.SpaceUser, Prefix: q.Prefix, From: q.From, To: q.To}, 0, nil, nil)
	if r.To == nil {
		r.To = spaceEnd(record.SpaceUser)
	}
	return r.From, r.To
}

// History yields the versions of a key that are visible, the newest first,
// deletes among them.
func (w *View) History(key []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		stored := userKey(key)
		none := true
		for ver, err := range w.vault.index.History(stored, w.pos) {
			none = false
			if err != nil {
				yield(Entry{}, w.vault.damaged(err))
				return
			}
			if !yield(entryOf(stored, ver), nil) {
				return
			}
		}
		if none {
			yield(Entry{}, fmt.Errorf("key %s: %w", keyText(key), ErrNotFound))
		}
	}
}

// Record returns the bytes of record seq: the leaf, without the newline.
func (w *View) Record(seq uint64) ([]byte, error) {
	if seq >= w.head.Size {
		return nil, fmt.Errorf("record %d: %w: the newest is %d", seq, ErrNotFound, w.head.Size-1)
	}
	line, err := w.vault.journal.Line(seq)
	if err != nil {
		return nil, w.vault.damaged(err)
	}
	if err := w.checkLeaf(seq, line); err != nil {
		return nil, w.vault.damaged(err)
	}
	return line, nil
}

// checkLeaf holds a line that was read against the tree.
func (w *View) checkLeaf(seq uint64, line []byte) error {
	got := merkle.LeafHash(line)
	want, err := w.tree.ReadHashes([]merkle.NodeID{{Level: 0, Index: seq}})
	if err != nil {
		if !isTileDamage(err) {
			return err
		}
		// The tile is damaged: the signed root decides.
		path, err := merkle.InclusionProof(seq, w.head.Size, treeHashes{w})
		if err != nil {
			return err
		}
		root, err := merkle.InclusionRoot(seq, w.head.Size, got, path)
		if err != nil || root == w.head.Root {
			return err
		}
		return w.vault.leafDamage(seq, merkle.Hash{}, line)
	}
	if want[0] != got {
		return w.vault.leafDamage(seq, want[0], line)
	}
	return nil
}

// Ops returns the ops of transaction seq, also of a wide one.
func (w *View) Ops(seq uint64) ([]record.Op, error) {
	line, tx, err := w.transaction(seq)
	if err != nil {
		return nil, err
	}
	ops, _, err := w.vault.opsOf(line, seq, tx)
	return ops, err
}

// transaction reads the record of a transaction.
func (w *View) transaction(seq uint64) (line []byte, tx *record.Tx, err error) {
	if line, err = w.Record(seq); err != nil {
		return nil, nil, err
	}
	rec, err := record.Parse(line)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: record %d: %w", ErrDamaged, seq, err)
	}
	tx, ok := rec.Body.(*record.Tx)
	if !ok {
		return nil, nil, fmt.Errorf("%w: record %d is a %s, not a transaction", ErrNotFound, seq, rec.Kind)
	}
	return line, tx, nil
}
