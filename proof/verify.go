package proof

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"graven/merkle"
	"graven/record"
	"graven/state"
)

// Verifier turns a proof file into a Result, or says why not. It trusts the
// verifier keys that it was made with and nothing else. It is immutable and safe
// for concurrent use.
type Verifier struct {
	keys    []VKey
	minSize uint64
	policy  *Policy // nil: the log's signature is enough
}

// NewVerifier returns a verifier that knows a log by its verifier key. Further
// keys may be known: other Ed25519 keys of logs, of which one must have signed as
// in OpenCheckpoint, and keys of cosigners (types 4 and 6). The first must be a
// log's.
// Errors wrap ErrFormat, ErrUnknownVersion or ErrInvalid.
func NewVerifier(vkey string, more ...string) (*Verifier, error) {
	v := &Verifier{}
	for _, text := range append([]string{vkey}, more...) {
		k, err := ParseVKey(text)
		if err != nil {
			return nil, err
		}
		v.keys = append(v.keys, k)
	}
	if k := v.keys[0]; k.typ != TypeEd25519 {
		return nil, fmt.Errorf("%w verifier: %s has type %d, wanted the log's Ed25519 key (type %d)", ErrInvalid, k.KeyName(), k.typ, TypeEd25519)
	}
	return v, nil
}

// NewPolicyVerifier returns a verifier that accepts what a policy accepts: a
// checkpoint of one of its logs, with a signature of a key of that log as in
// OpenCheckpoint, which enough of its witnesses have cosigned. A signature of any
// key in the policy that does not verify spoils the note, also where the quorum
// could do without it.
func NewPolicyVerifier(p *Policy) *Verifier {
	v := &Verifier{policy: p}
	for _, l := range p.logs {
		v.keys = append(v.keys, l.Key)
	}
	for _, n := range p.nodes {
		if n.witness != nil {
			v.keys = append(v.keys, n.witness.Key)
		}
	}
	return v
}

// OpenCheckpoint opens a signed checkpoint as the function of this name does, with
// the verifier's keys. It asks neither for the quorum of a policy nor for a size:
// it is for older checkpoints that somebody kept.
func (v *Verifier) OpenCheckpoint(note []byte) (Checkpoint, error) {
	return OpenCheckpoint(note, v.keys...)
}

// AtLeast returns a verifier that also refuses, with ErrTooOld, proofs whose
// checkpoint covers fewer than size records. A caller who has seen a checkpoint of
// some size gives that size, so that nobody can show it an older truth.
func (v *Verifier) AtLeast(size uint64) *Verifier {
	w := *v
	w.minSize = size
	return &w
}

// Verify checks a whole proof file, of either kind, and returns what it proves.
// The result shares no memory with file. The error wraps one of the errors of this
// package. Time and memory are proportional to the file, at most MaxFile bytes.
func (v *Verifier) Verify(file []byte) (*Result, error) {
	if len(file) > MaxFile {
		return nil, fmt.Errorf("%w proof file: %d bytes, wanted at most %d", ErrFormat, len(file), MaxFile)
	}
	first, _, _ := cutLine(file)
	switch string(first) {
	case recordHeader:
		if len(file) > maxKeyFile {
			return nil, fmt.Errorf("%w proof file: %d bytes, wanted at most %d of a record", ErrFormat, len(file), maxKeyFile)
		}
		return v.verifyRecord(bytes.Clone(file))
	case keyHeader:
		return v.verifyClaim(bytes.Clone(file))
	}
	return nil, headerError(first)
}

// verifyClaim verifies a file of Graven's own format by what it claims.
func (v *Verifier) verifyClaim(file []byte) (*Result, error) {
	r := lineReader{rest: file}
	if err := r.header(keyHeader); err != nil {
		return nil, err
	}
	claim, err := r.claim()
	if err != nil {
		return nil, err
	}
	switch claim {
	case claimList, claimCount:
		return v.verifyRange(file)
	case claimHistory, claimPast:
		return v.verifyChain(file)
	case claimConsistency:
		return v.verifyConsistency(file)
	case claimOp:
		return v.verifyOp(file)
	case claimSigned:
		return v.verifySigned(file)
	}
	if len(file) > maxKeyFile {
		return nil, fmt.Errorf("%w proof file: %d bytes, wanted at most %d of a single key", ErrFormat, len(file), maxKeyFile)
	}
	return v.verifyKey(file)
}

// headerError tells another version of a known format from what is no proof.
func headerError(first []byte) error {
	for _, known := range []string{recordHeader, keyHeader} {
		stem := strings.TrimSuffix(known, "1")
		version, ok := bytes.CutPrefix(first, []byte(stem))
		if _, number := parseDecimal(version, MaxSize); ok && number {
			return fmt.Errorf("%w: the file is %s, known is %q", ErrUnknownVersion, clip(first), known)
		}
	}
	return fmt.Errorf("%w proof file: line 1: %s, wanted %q or %q", ErrFormat, clip(first), recordHeader, keyHeader)
}

// open verifies a file's checkpoint, and begins the result with it.
func (v *Verifier) open(note []byte) (Result, error) {
	c, n, err := openCheckpoint(note, v.keys)
	if err != nil {
		return Result{}, err
	}
	if v.policy != nil {
		if err := v.policy.check(n, c); err != nil {
			return Result{}, err
		}
	}
	if c.Size < v.minSize {
		return Result{}, fmt.Errorf("%w: it covers %d records, wanted at least %d", ErrTooOld, c.Size, v.minSize)
	}
	r := Result{checkpoint: c}
	for _, s := range n.Sigs {
		i := slices.IndexFunc(v.keys, func(k VKey) bool { return k.name == s.Name && k.id == s.ID })
		if i < 0 {
			r.unknown++
			continue
		}
		k := v.keys[i]
		r.signers = append(r.signers, k) // openCheckpoint has verified it
		if k.cosigns() {
			seconds, _, _ := cutCosignature(s.Sig)
			r.cosigned = append(r.cosigned, Cosigned{Key: k, Seconds: seconds})
		}
	}
	return r, nil
}

func (v *Verifier) verifyRecord(file []byte) (*Result, error) {
	p, err := parseRecordProof(file)
	if err != nil {
		return nil, err
	}
	// No part of the parser may be lenient: there is one spelling.
	if !bytes.Equal(EncodeRecordProof(p.record, p.index, p.path, p.checkpoint), file) {
		return nil, fmt.Errorf("%w proof file: it is not spelled as its content is", ErrFormat)
	}
	r, err := v.open(p.checkpoint)
	if err != nil {
		return nil, err
	}
	if r.claim, err = p.prove(r.checkpoint); err != nil {
		return nil, err
	}
	return &r, nil
}

func (v *Verifier) verifyKey(file []byte) (*Result, error) {
	p, err := parseKeyProof(file)
	if err != nil {
		return nil, err
	}
	r, err := v.open(p.Checkpoint)
	if err != nil {
		return nil, err
	}
	if r.commit, err = p.proveCommit(r.checkpoint); err != nil {
		return nil, err
	}
	r.hasCommit = true
	if r.claim, err = p.prove(r.commit); err != nil {
		return nil, err
	}
	return &r, nil
}

// proveCommit checks that the commit line is the last record that the checkpoint
// covers, and returns it. An older commit would prove an older state under a newer
// checkpoint, so no other will do.
func (p KeyProof) proveCommit(c Checkpoint) (Commit, error) {
	if c.Size == 0 {
		return Commit{}, fmt.Errorf("%w: a checkpoint of size 0 has no commit", ErrProof)
	}
	index := c.Size - 1
	if err := checkInclusion("commit", p.Commit, index, p.Path, c); err != nil {
		return Commit{}, err
	}
	rec, err := record.Parse(p.Commit)
	if err != nil {
		return Commit{}, fmt.Errorf("%w %d of %q: %w", ErrDamaged, index, c.Origin, err)
	}
	if rec.Seq != index {
		return Commit{}, fmt.Errorf("%w %d of %q: it says that it is record %d", ErrDamaged, index, c.Origin, rec.Seq)
	}
	body, ok := rec.Body.(*record.Commit)
	if !ok {
		if err := record.Unsupported(rec); errors.Is(err, record.ErrUnknownVersion) && rec.Kind == record.KindCommit {
			return Commit{}, fmt.Errorf("%w: %w", ErrUnknownVersion, err)
		}
		return Commit{}, fmt.Errorf("%w: record %d of %d is of kind %q, wanted a commit: only at a commit is a state signed", ErrProof, index, c.Size, rec.Kind)
	}
	if before := rootBefore(p.Path); body.Root != before {
		return Commit{}, fmt.Errorf("%w %d of %q: it says that the root before it is %s, but that is %s", ErrDamaged, index, c.Origin, body.Root, before)
	}
	return Commit{Seq: index, Time: rec.Time, Epoch: body.Epoch, Height: body.Height, State: body.State}, nil
}

// rootBefore computes the root over all leaves but the last from the last one's
// siblings: they are the perfect subtrees that the other leaves fall into, the
// smallest first (RFC 6962 §2.1.1).
func rootBefore(path []merkle.Hash) merkle.Hash {
	if len(path) == 0 {
		return merkle.EmptyRoot()
	}
	root := path[0]
	for _, left := range path[1:] {
		root = merkle.NodeHash(left, root)
	}
	return root
}

// prove checks the subject under the commit's state root.
func (p KeyProof) prove(commit Commit) (Claim, error) {
	res, err := p.State.Verify(p.storedKey(), commit.State)
	if err != nil {
		return nil, fmt.Errorf("%w: state: %w", ErrProof, err)
	}
	if l := p.State.Leaf; l != nil && l.Seq >= commit.Seq {
		return nil, fmt.Errorf("%w: the leaf is of record %d, the commit is record %d", ErrProof, l.Seq, commit.Seq)
	}
	if res.Present != (p.claim() == claimPresent) || (res.Leaf != nil) != (p.Op != nil) {
		return nil, fmt.Errorf("%w: claim %s, but the state says otherwise", ErrProof, p.claim())
	}
	if res.Leaf == nil {
		return Absent{Space: p.Space, Key: p.Key}, nil
	}
	op, err := record.ParseOp(p.Op)
	if err != nil {
		return nil, fmt.Errorf("%w proof file: op line: %w", ErrFormat, err)
	}
	if err := checkLinks(op, *res.Leaf); err != nil {
		return nil, err
	}
	if !res.Present {
		return Absent{
			Space: p.Space, Key: p.Key,
			Deleted: true, Seq: res.Leaf.Seq, N: res.Leaf.N, Created: res.Leaf.Created, Op: p.Op,
		}, nil
	}
	return present(&op, *res.Leaf, p.Op), nil
}

// present is what an op line and its leaf say of a key that has a value.
func present(op *record.Op, l state.Leaf, line []byte) Present {
	return Present{
		Space: op.Space, Key: op.Key,
		Value: op.Value, Size: op.Size, Type: op.Type, Enc: op.Enc,
		Seq: l.Seq, N: l.N, Created: l.Created, Op: line,
	}
}

// checkLinks refuses an op whose links to the versions before it contradict its
// leaf. Each version has a record of its own, so that between two of them there is
// room for those between. That version numbers and links fit each other, the op's
// parser checked. Only a log that contradicts itself has such an op.
func checkLinks(op record.Op, l state.Leaf) error {
	j := record.J(op.N)
	fits := func(older, m, seq, n uint64) bool { // version m in record older, version n in record seq
		return older < seq && seq-older >= n-m && (m == 1) == (older == l.Created) && (m == 1 || older > l.Created && older-l.Created >= m-1)
	}
	if op.N > 1 && !fits(op.Prev, op.N-1, l.Seq, op.N) {
		return contradicts(op, l, "prev", op.Prev, op.N-1)
	}
	if j > 0 && (!fits(op.Skip, j, l.Seq, op.N) || op.Skip > op.Prev || op.Prev-op.Skip < op.N-1-j) {
		return contradicts(op, l, "skip", op.Skip, j)
	}
	return nil
}

func contradicts(op record.Op, l state.Leaf, name string, seq, n uint64) error {
	return fmt.Errorf("%w %d: the op for version %d, of a key created by record %d, says in %q that record %d wrote version %d", ErrDamaged, l.Seq, op.N, l.Created, name, seq, n)
}
