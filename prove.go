package graven

import (
	"fmt"
	"slices"

	"graven/merkle"
	"graven/proof"
	"graven/record"
)

// ProveKey makes the proof of the version of key that is in force in this view,
// or that the key is absent: a file that [proof.Verifier] checks without the
// vault. In the newest view that is a proof of present or absent. In an older one
// it is a proof of the past, from what the newest state says of the key: at a
// position, or at the time that the view was asked for.
func (w *View) ProveKey(key []byte) ([]byte, error) {
	if !w.newest {
		return w.provePast(key, false)
	}
	p, err := w.keyProof(key)
	if err != nil {
		return nil, err
	}
	if p.Path, err = w.inclusion(w.head.Size - 1); err != nil {
		return nil, err
	}
	return p.Encode()
}

// keyProof is a proof of a key under the newest commit, without the path of that.
func (w *View) keyProof(key []byte) (p proof.KeyProof, err error) {
	if len(key) == 0 {
		return p, fmt.Errorf("%w: a key has at least one byte", ErrInvalid)
	}
	if len(key) > record.MaxKey {
		return p, &LimitError{Field: "key", Value: uint64(len(key)), Limit: record.MaxKey}
	}
	stored := userKey(key)
	p = proof.KeyProof{Space: record.SpaceUser, Key: key, Commit: w.commit, Checkpoint: w.note}
	if p.State, err = w.state.Prove(stored); err != nil {
		return p, w.vault.damaged(err)
	}
	leaf, ok, err := w.state.Get(stored)
	if err != nil || !ok {
		return p, w.vault.damaged(err)
	}
	p.Op, err = w.opLine(stored, leaf.Seq, leaf.Digest)
	return p, err
}

// opLine reads the op line that wrote a version of a key, and checks it
// against the digest that the state holds.
func (w *View) opLine(stored []byte, seq uint64, digest merkle.Hash) ([]byte, error) {
	ver, ok, err := w.newestVersion(stored, seq)
	if err != nil {
		return nil, w.vault.damaged(err)
	}
	if !ok || ver.Seq != seq {
		return nil, fmt.Errorf("%w: state names record %d for a key that the index does not know there", ErrDamaged, seq)
	}
	lines, err := w.opLines(seq)
	if err != nil {
		return nil, err
	}
	if int(ver.Op) >= len(lines) {
		return nil, fmt.Errorf("%w: record %d has %d ops, the index names op %d", ErrDamaged, seq, len(lines), ver.Op)
	}
	line := lines[ver.Op]
	if got := record.OpDigest(line); got != digest {
		return nil, fmt.Errorf("%w: op %d of record %d has digest %v, the state says %v", ErrDamaged, ver.Op, seq, got, digest)
	}
	return line, nil
}

// opLines reads the op lines of a transaction.
func (w *View) opLines(seq uint64) ([][]byte, error) {
	line, tx, err := w.transaction(seq)
	if err != nil {
		return nil, err
	}
	if tx.Wide == nil {
		return record.InlineOps(line)
	}
	// The digest in the state decides about the line that is wanted: there is no
	// need to parse the others.
	b, err := w.vault.artifact(tx.Wide.Lines)
	if err != nil {
		return nil, err
	}
	return record.WideOps(b)
}

// ProveRecord makes the C2SP tlog-proof that record seq is in the log, with
// the record's bytes in its extra line.
func (w *View) ProveRecord(seq uint64) ([]byte, error) {
	line, err := w.Record(seq)
	if err != nil {
		return nil, err
	}
	path, err := w.inclusion(seq)
	if err != nil {
		return nil, err
	}
	return proof.EncodeRecordProof(line, seq, path, w.note), nil
}

// ProveOp makes the proof of one op of the transaction in record seq, counted from
// 0, without the others of a wide transaction.
func (w *View) ProveOp(seq, number uint64) ([]byte, error) {
	_, tx, err := w.transaction(seq)
	if err != nil {
		return nil, err
	}
	count := uint64(len(tx.Ops))
	if tx.Wide != nil {
		count = tx.Wide.Count
	}
	if number >= count {
		return nil, fmt.Errorf("op %d of record %d: %w: it has %d", number, seq, ErrNotFound, count)
	}
	p := proof.OpProof{Number: number, Checkpoint: w.note}
	if p.Evidence, err = w.evidence(seq, number); err != nil {
		return nil, err
	}
	if p.Path, err = w.inclusion(seq); err != nil {
		return nil, err
	}
	return p.Encode(seq), nil
}

// ProveSigned makes the proof that the transaction in record seq carries its
// actor's signature, with all that the signature is of: [proof.Result.CheckActor]
// verifies it. It holds every op of a wide transaction.
func (w *View) ProveSigned(seq uint64) ([]byte, error) {
	line, tx, err := w.transaction(seq)
	if err != nil {
		return nil, err
	}
	if tx.Sig == nil {
		return nil, fmt.Errorf("%w: a signature: the transaction in record %d is not signed", ErrNotFound, seq)
	}
	p := proof.SignedProof{Record: line, Checkpoint: w.note}
	if tx.Wide != nil {
		if tx.Wide.Size > proof.MaxFile/2 {
			return nil, &LimitError{Field: "op lines in one proof", Value: tx.Wide.Size, Limit: proof.MaxFile / 2}
		}
		if p.Ops, err = w.opLines(seq); err != nil {
			return nil, err
		}
	}
	if p.Genesis, err = w.Record(0); err != nil {
		return nil, err
	}
	if p.Path, err = merkle.MultiProof([]uint64{0, seq}, w.head.Size, treeHashes{w}); err != nil {
		return nil, w.vault.damaged(err)
	}
	return p.Encode(seq), nil
}

// ProveConsistency makes the proof that the log's first oldSize records are still
// what they were: with an older checkpoint in hand anybody sees that the log only
// grew.
func (w *View) ProveConsistency(oldSize uint64) ([]byte, error) {
	if oldSize == 0 || oldSize > w.head.Size {
		return nil, fmt.Errorf("size %d: %w: wanted 1 to %d", oldSize, ErrNotFound, w.head.Size)
	}
	p := proof.ConsistencyProof{Size: oldSize, Checkpoint: w.note}
	var err error
	if p.Root, err = merkle.RootFrom(oldSize, treeHashes{w}); err != nil {
		return nil, w.vault.damaged(err)
	}
	if p.Path, err = merkle.ConsistencyProof(oldSize, w.head.Size, treeHashes{w}); err != nil {
		return nil, w.vault.damaged(err)
	}
	return p.Encode(), nil
}

// inclusion is the audit path of a record in the view's tree. A damaged tile
// under it is made again from the log: tiles are derived.
func (w *View) inclusion(seq uint64) ([]merkle.Hash, error) {
	path, err := merkle.InclusionProof(seq, w.head.Size, treeHashes{w})
	if err != nil {
		return nil, w.vault.damaged(err)
	}
	return path, nil
}

// firstReceipt is the receipt that the transaction of record seq got when it
// became durable: against the commit that ended its group.
func (w *View) firstReceipt(seq uint64) (*Receipt, error) {
	at, err := w.timeOf(seq)
	if err != nil {
		return nil, err
	}
	for s := seq + 1; s < w.head.Size; s++ {
		line, err := w.Record(s)
		if err != nil {
			return nil, err
		}
		f, err := record.ParseFrame(line)
		if err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", ErrDamaged, s, err)
		}
		if f.Kind != "commit" {
			continue
		}
		root, err := merkle.RootFrom(s+1, treeHashes{w})
		if err != nil {
			return nil, w.vault.damaged(err)
		}
		then := *w
		then.head.Size, then.head.Root, then.commit, then.newest, then.pos = s+1, root, line, false, s
		then.both, then.at = nil, f.Time
		if then.note, err = w.vault.signer.SignCheckpoint(then.head); err != nil {
			return nil, err
		}
		return &Receipt{
			Seq: seq, Size: s + 1, Root: root, Time: at, Commit: line, Checkpoint: then.note, Replayed: true, view: &then,
		}, nil
	}
	return nil, fmt.Errorf("%w: no commit follows record %d", ErrDamaged, seq)
}

// Resource is what a client of the C2SP tlog-tiles protocol fetches, exactly as
// it goes over the wire: "checkpoint", "tile/<L>/<N>[.p/<W>]",
// "tile/entries/<N>[.p/<W>]". A path that is not in the canonical form, or that
// the view's size does not reach, is [ErrNotFound].
func (w *View) Resource(path string) (body []byte, contentType string, err error) {
	if path == "checkpoint" {
		note := w.note
		if both, err := w.Cosigned(); err == nil {
			note = both.note
		}
		return slices.Clone(note), "text/plain; charset=utf-8", nil
	}
	const binary = "application/octet-stream"
	tile, width, entries, err := merkle.ParseTilePath(path)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w: %w", path, ErrNotFound, err)
	}
	have := merkle.PartialWidth(tile.Level, w.head.Size)
	if full := w.head.Size >> (merkle.TileHeight * (uint(tile.Level) + 1)); tile.Index < full {
		have = merkle.TileWidth
	} else if tile.Index > full {
		have = 0
	}
	if width > have {
		return nil, "", fmt.Errorf("%s: %w: size %d has %d of its hashes", path, ErrNotFound, w.head.Size, have)
	}
	if entries {
		body, err = w.bundle(tile.Index*merkle.TileWidth, width)
		return body, binary, err
	}
	ids := make([]merkle.NodeID, width)
	for i := range ids {
		ids[i] = merkle.NodeID{Level: tile.Level * merkle.TileHeight, Index: tile.Index*merkle.TileWidth + uint64(i)}
	}
	hashes, err := treeHashes{w}.ReadHashes(ids)
	if err != nil {
		return nil, "", w.vault.damaged(err)
	}
	return merkle.TileBytes(hashes), binary, nil
}

// bundle is the entry bundle of width records from first on.
func (w *View) bundle(first uint64, width int) ([]byte, error) {
	var out []byte
	for seq := first; seq < first+uint64(width); seq++ {
		line, err := w.Record(seq)
		if err != nil {
			return nil, err
		}
		out = append(out, byte(len(line)>>8), byte(len(line)))
		out = append(out, line...)
	}
	return out, nil
}
