package proof

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"time"

	"graven/merkle"
	"graven/record"
	"graven/state"
)

// A proof of a key's history, or of its value in the past (docs/format.md §10.4):
//
//	graven-proof 1
//	claim history|past
//	subject {"key":"…"}            and "at":S or "time":"…" of a claim about the past,
//	                               which a history may be
//	op …  leaf …  path …  space …  the key in the newest state, as in a key proof
//	commit {"v":1,"kind":"commit",…}
//	then {"v":…}  after {"v":…}    only about a time: see Around
//	record {"v":1,"kind":"tx",…}   of each older version on the way, the newest first
//	wide I {"op":…}                the version's op line, number I of a wide transaction
//	siblings <b64>                 its siblings among the op lines, from the leaf up
//	sum <16 hex>
//	<b64>                          the hashes that lead from commit and records to the root
//	                               (an empty line)
//	<checkpoint>
//
// The newest op says in prev and skip which records hold older versions, their ops
// say it again. The way to position S goes along skip while that stays above S, else
// along prev, until it is not. A history goes on from there along prev to version 1.

// ChainProof is the content of such a proof. The slices are the maker's own;
// Encode only reads them.
type ChainProof struct {
	// Space and Key are the subject, At the position; 0: the whole history, or what
	// the log had at Time, if that is not zero.
	Space byte
	Key   []byte
	At    uint64
	Time  time.Time
	// Whole: the claim is a history also where it is about the past.
	Whole bool
	// Op and State are as in a KeyProof.
	Op    []byte
	State state.Proof
	// Commit is the line of the commit with index size-1.
	Commit []byte
	// Around shows which record was the newest at Time.
	Around
	// Older are the older versions on the way, the newest first.
	Older []Evidence
	// Path is the merkle.MultiProof of these records and the commit.
	Path []merkle.Hash
	// Checkpoint is the signed note.
	Checkpoint []byte
}

// Evidence shows an op of a transaction.
type Evidence struct {
	Record []byte // the transaction's line
	// Of a wide transaction also the op line, its number, and its siblings from the
	// leaf up; of another Op is nil.
	Op       []byte
	Number   uint64
	Siblings []merkle.Hash
}

const (
	claimHistory = "history"
	claimPast    = "past"
)

// Encode returns the proof file. It fails with ErrInvalid if op, leaf and subject
// do not fit together; whether the hashes lead to the root is the Verifier's to say.
func (p ChainProof) Encode() ([]byte, error) {
	claim, subject := claimHistory, record.FormatSubjectAt(p.Space, p.Key, record.Moment{At: p.At, Time: p.Time})
	if !p.isHistory() {
		claim = claimPast
	}
	switch {
	case p.At > 0 && !p.Time.IsZero():
		return nil, fmt.Errorf("%w key proof: it is about seq %d and a time", ErrInvalid, p.At)
	case !p.Around.fits(p.Time):
		return nil, fmt.Errorf("%w key proof: the records around a time, wanted with one and only with one", ErrInvalid)
	}
	out, _, err := p.key().appendState(fmt.Appendf(nil, "%s\nclaim %s\nsubject %s", keyHeader, claim, subject))
	if err != nil {
		return nil, err
	}
	out = p.Around.append(append(append(out, "\ncommit "...), p.Commit...))
	for i := range p.Older {
		out = p.Older[i].append(out)
	}
	return appendEnd(append(out, '\n'), p.Path, p.Checkpoint), nil
}

// append appends the lines of the evidence, each with a line feed before it.
func (e *Evidence) append(out []byte) []byte {
	out = append(append(out, "\nrecord "...), e.Record...)
	if e.Op == nil {
		return out
	}
	out = strconv.AppendUint(append(out, "\nwide "...), e.Number, 10)
	out = append(append(out, ' '), e.Op...)
	if len(e.Siblings) > 0 {
		out = b64.AppendEncode(append(out, "\nsiblings "...), joinHashes(e.Siblings))
	}
	return out
}

func joinHashes(hashes []merkle.Hash) []byte {
	out := make([]byte, 0, len(hashes)*merkle.HashSize)
	for i := range hashes {
		out = append(out, hashes[i][:]...)
	}
	return out
}

// key is the part of the proof that a key proof has as well.
func (p *ChainProof) key() *KeyProof {
	return &KeyProof{Space: p.Space, Key: p.Key, Op: p.Op, State: p.State, Commit: p.Commit}
}

func parseChainProof(file []byte) (p ChainProof, err error) {
	r := lineReader{rest: file}
	if err := r.header(keyHeader); err != nil {
		return p, err
	}
	claim, err := r.claim()
	if err != nil {
		return p, err
	}
	text, ok := r.field("subject ")
	if !ok {
		return p, r.fail("behind it: wanted `subject {…}`")
	}
	var m record.Moment
	if p.Space, p.Key, m, err = record.ParseSubjectAt(string(text)); err != nil {
		return p, r.fail("subject: %s", err)
	}
	p.At, p.Time, p.Whole = m.At, m.Time, claim == claimHistory
	if m == (record.Moment{}) && claim == claimPast {
		return p, r.fail("subject %s, wanted `at` or `time` in it", clip(text))
	}
	key := p.key()
	if err := key.parseState(&r); err != nil {
		return p, err
	}
	p.Op, p.State = key.Op, key.State
	if p.Commit, ok = r.field("commit "); !ok {
		return p, r.fail("behind it: wanted `commit {…}`")
	}
	if p.Around, err = r.around(p.Time); err != nil {
		return p, err
	}
	for {
		e, ok, err := r.evidence()
		if err != nil {
			return p, err
		}
		if !ok {
			break
		}
		p.Older = append(p.Older, e)
	}
	if err := r.sum(file); err != nil {
		return p, err
	}
	if p.Path, p.Checkpoint, err = r.tail(maxSiblings * (3 + len(p.Older))); err != nil {
		return p, err
	}
	if again, err := p.Encode(); err != nil || !bytes.Equal(again, file) {
		return p, fmt.Errorf("%w proof file: it is not spelled as its content is", ErrFormat)
	}
	return p, nil
}

// evidence reads the lines of a transaction, if they come next.
func (r *lineReader) evidence() (e Evidence, ok bool, err error) {
	if e.Record, ok = r.field("record "); !ok {
		return e, false, nil
	}
	text, wide := r.field("wide ")
	if !wide {
		return e, true, nil
	}
	number, op, cut := bytes.Cut(text, []byte{' '})
	if e.Number, ok = parseDecimal(number, record.MaxOps); !ok || !cut {
		return e, false, r.fail("wanted `wide`, the number of the op, and its line")
	}
	e.Op = op
	if text, ok := r.field("siblings "); ok {
		raw, ok := decodeB64(text)
		if !ok || len(raw) == 0 || len(raw)%merkle.HashSize != 0 {
			return e, false, r.fail("`siblings` is not canonical base64 of whole hashes")
		}
		for part := range slices.Chunk(raw, merkle.HashSize) {
			e.Siblings = append(e.Siblings, merkle.Hash(part))
		}
	}
	return e, true, nil
}

// verifyChain verifies a proof of a history or of a value in the past.
func (v *Verifier) verifyChain(file []byte) (*Result, error) {
	p, err := parseChainProof(file)
	if err != nil {
		return nil, err
	}
	r, err := v.open(p.Checkpoint)
	if err != nil {
		return nil, err
	}
	versions, err := p.versions()
	if err != nil {
		return nil, err
	}
	records := recordSet{}
	if !p.Time.IsZero() {
		if p.At, err = p.Around.position(p.Time, records); err != nil {
			return nil, err
		}
	}
	if r.commit, err = p.proveRecords(versions, records, r.checkpoint); err != nil {
		return nil, err
	}
	r.hasCommit = true
	claim, err := p.key().prove(r.commit)
	if err != nil {
		return nil, err
	}
	if r.claim, err = p.prove(claim, versions); err != nil {
		return nil, err
	}
	return &r, nil
}

// versions reads the ops of the older versions and where they stand.
func (p *ChainProof) versions() ([]Version, error) {
	stored := append([]byte{p.Space}, p.Key...)
	versions := make([]Version, len(p.Older))
	for i := range p.Older {
		seq, line, err := p.Older[i].op(stored)
		if err != nil {
			return nil, fmt.Errorf("version %d from the newest: %w", i+1, err)
		}
		op, _, err := opLeaf(line, stored)
		if err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", ErrProof, seq, err)
		}
		versions[i] = versionOf(&op, seq, line)
	}
	return versions, nil
}

// transaction reads the evidence, whose record is not proven yet. Of a wide
// transaction the one op that is given is shown to belong to it.
func (e *Evidence) transaction() (*record.Record, *record.Tx, error) {
	rec, err := record.Parse(e.Record)
	if err != nil {
		return nil, nil, fmt.Errorf("%w proof file: record: %w", ErrFormat, err)
	}
	tx, err := transactionOf(rec)
	if err != nil {
		return nil, nil, err
	}
	if (tx.Wide != nil) != (e.Op != nil) {
		return nil, nil, fmt.Errorf("%w: record %d is wide: %v, and its op line is given: %v", ErrProof, rec.Seq, tx.Wide != nil, e.Op != nil)
	}
	if tx.Wide != nil {
		err := merkle.VerifyInclusion(e.Number, tx.Wide.Count, record.OpDigest(e.Op), tx.Wide.Root, e.Siblings)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: op %d of record %d: %w", ErrProof, e.Number, rec.Seq, err)
		}
	}
	return rec, tx, nil
}

// transactionOf is the transaction in a record. One of a version that this program
// does not know is no lie.
func transactionOf(rec *record.Record) (*record.Tx, error) {
	if tx, ok := rec.Body.(*record.Tx); ok {
		return tx, nil
	}
	if rec.Kind == record.KindTx {
		return nil, fmt.Errorf("%w: %w", ErrUnknownVersion, record.Unsupported(rec))
	}
	return nil, fmt.Errorf("%w: record %d is of kind %q, wanted a transaction", ErrProof, rec.Seq, rec.Kind)
}

// op finds the op line of a stored key in the evidence.
func (e *Evidence) op(stored []byte) (seq uint64, line []byte, err error) {
	rec, tx, err := e.transaction()
	if err != nil || tx.Wide != nil {
		if err == nil {
			seq = rec.Seq
		}
		return seq, e.Op, err
	}
	lines, err := record.InlineOps(e.Record)
	if err != nil {
		return 0, nil, fmt.Errorf("%w proof file: record %d: %w", ErrFormat, rec.Seq, err)
	}
	for i := range tx.Ops {
		if op := &tx.Ops[i]; op.Kind.WritesKey() && bytes.Equal(op.StoredKey(), stored) {
			return rec.Seq, lines[i], nil
		}
	}
	return 0, nil, fmt.Errorf("%w: record %d does not write the key", ErrProof, rec.Seq)
}

// proveRecords checks that the records, those of the versions, and the commit,
// which is the last that the checkpoint covers, are in the log.
func (p *ChainProof) proveRecords(versions []Version, records recordSet, c Checkpoint) (Commit, error) {
	if c.Size == 0 {
		return Commit{}, fmt.Errorf("%w: a checkpoint of size 0 has no commit", ErrProof)
	}
	commit, body, err := parseCommit(p.Commit, c)
	if err != nil {
		return Commit{}, err
	}
	if commit.Seq != c.Size-1 {
		return Commit{}, fmt.Errorf("%w: the commit is record %d of %d: only the state of the last record is that of now", ErrProof, commit.Seq, c.Size)
	}
	if p.At >= commit.Seq {
		return Commit{}, fmt.Errorf("%w: the claim is about seq %d, the past ends before commit %d", ErrProof, p.At, commit.Seq)
	}
	if err := records.add(commit.Seq, p.Commit); err != nil {
		return Commit{}, err
	}
	for i := range versions {
		if err := records.add(versions[i].Seq, p.Older[i].Record); err != nil {
			return Commit{}, err
		}
	}
	before, err := records.prove(p.Path, c)
	if err != nil {
		return Commit{}, err
	}
	if body.Root != before {
		return Commit{}, fmt.Errorf("%w %d of %q: it says that the root before it is %s, but that is %s", ErrDamaged, commit.Seq, c.Origin, body.Root, before)
	}
	return commit, nil
}

// prove follows the links from what the newest state says of the key.
func (p *ChainProof) prove(newest Claim, versions []Version) (Claim, error) {
	var now Version
	switch c := newest.(type) {
	case Present:
		now = Version{Seq: c.Seq, N: c.N, Live: true, Value: c.Value, Size: c.Size, Type: c.Type, Enc: c.Enc, Op: c.Op}
	case Absent:
		now = Version{Seq: c.Seq, N: c.N, Op: c.Op}
	}
	if now.N == 0 || p.At > 0 && p.State.Leaf.Created > p.At { // never, or not yet
		if len(versions) > 0 {
			return nil, fmt.Errorf("%w: %d older versions, wanted none", ErrProof, len(versions))
		}
		return p.claim(Version{}, nil), nil
	}
	all := []Version{now}
	for _, v := range versions {
		last := &all[len(all)-1]
		seq, n, ok, err := p.step(last)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("%w: a version more than the way has", ErrProof)
		}
		if v.Seq != seq || v.N != n {
			return nil, fmt.Errorf("%w: version %d of record %d follows version %d of record %d, wanted version %d of record %d", ErrProof, v.N, v.Seq, last.N, last.Seq, n, seq)
		}
		if v.N == 1 && v.Seq != p.State.Leaf.Created {
			return nil, fmt.Errorf("%w %d: it wrote version 1, the state says record %d did", ErrDamaged, v.Seq, p.State.Leaf.Created)
		}
		if err := checkOlder(v, p.State.Leaf.Created); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	if _, n, ok, err := p.step(&all[len(all)-1]); ok || err != nil {
		return nil, fmt.Errorf("%w: the way ends before version %d: %w", ErrProof, n, err)
	}
	return p.claim(all[len(all)-1], all), nil
}

// checkOlder holds the links of an older version against the record of version 1.
func checkOlder(v Version, created uint64) error {
	op, err := record.ParseOp(v.Op)
	if err != nil {
		return fmt.Errorf("%w proof file: op line: %w", ErrFormat, err)
	}
	return checkLinks(op, state.Leaf{Seq: v.Seq, N: v.N, Created: created})
}

// isHistory reports whether the claim is about all versions up to its moment.
func (p *ChainProof) isHistory() bool { return p.Whole || p.At == 0 && p.Time.IsZero() }

// step says which version comes next on the way; ok is false at its end.
func (p *ChainProof) step(v *Version) (seq, n uint64, ok bool, err error) {
	behind := p.At > 0 && v.Seq > p.At // the way has not reached the position
	if !behind && (!p.isHistory() || v.N == 1) {
		return 0, 0, false, nil
	}
	op, err := record.ParseOp(v.Op)
	if err != nil {
		return 0, 0, false, fmt.Errorf("%w proof file: op line: %w", ErrFormat, err)
	}
	if op.Prev == 0 || op.Prev >= v.Seq {
		return 0, 0, false, fmt.Errorf("%w %d: version %d, after record %d was asked for, has no older one", ErrDamaged, v.Seq, v.N, p.At)
	}
	if behind && op.Skip > p.At {
		return op.Skip, record.J(v.N), true, nil
	}
	return op.Prev, v.N - 1, true, nil
}

// claim is what the way shows: its last version, or all that came by its moment.
func (p *ChainProof) claim(last Version, all []Version) Claim {
	if !p.isHistory() {
		return Past{Space: p.Space, Key: p.Key, At: p.At, Time: p.Time, Version: last, Never: p.Op == nil}
	}
	for p.At > 0 && len(all) > 0 && all[0].Seq > p.At {
		all = all[1:]
	}
	return History{Space: p.Space, Key: p.Key, At: p.At, Time: p.Time, Versions: all, Never: p.Op == nil}
}

// versionOf is a version as its op line tells of it.
func versionOf(op *record.Op, seq uint64, line []byte) Version {
	return Version{
		Seq: seq, N: op.N, Live: op.Kind == record.OpPut,
		Value: op.Value, Size: op.Size, Type: op.Type, Enc: op.Enc, Op: line,
	}
}
