package proof

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"graven/merkle"
)

// A proof that a log grew and did not change (docs/format.md §10.6):
//
//	graven-proof 1
//	claim consistency
//	subject {"size":N}             the smaller size, at least 1
//	root <b64>                     the root of the first N records
//	sum <16 hex>
//	<b64>                          the hashes of RFC 6962 §2.1.2, none for the size itself
//	                               (an empty line)
//	<checkpoint>                   of a size of at least N

// ConsistencyProof is the content of such a proof.
type ConsistencyProof struct {
	Size       uint64
	Root       merkle.Hash
	Path       []merkle.Hash // merkle.ConsistencyProof
	Checkpoint []byte
}

const claimConsistency = "consistency"

// Consistent: the first Size records of the log have this root. Whoever has seen
// a checkpoint of that size compares it with Result.CheckOld.
type Consistent struct {
	Size uint64
	Root merkle.Hash
}

func (Consistent) isClaim() {}

// Encode returns the proof file.
func (p ConsistencyProof) Encode() []byte {
	out := fmt.Appendf(nil, "%s\nclaim %s\nsubject {\"size\":%d}\nroot %s\n", keyHeader, claimConsistency, p.Size, p.Root)
	return appendEnd(out, p.Path, p.Checkpoint)
}

func parseConsistency(file []byte) (p ConsistencyProof, err error) {
	r := lineReader{rest: file}
	if err := r.header(keyHeader); err != nil {
		return p, err
	}
	if _, err := r.claim(); err != nil {
		return p, err
	}
	text, _ := r.field("subject ")
	number, isSize := strings.CutPrefix(string(text), `{"size":`)
	number, isObject := strings.CutSuffix(number, "}")
	var ok bool
	if p.Size, ok = parseDecimal([]byte(number), MaxSize); !ok || !isSize || !isObject || p.Size == 0 {
		return p, r.fail("subject %s, wanted {\"size\":N} with N above 0", clip(text))
	}
	root, ok := r.field("root ")
	if !ok {
		return p, r.fail("behind it: wanted `root <base64>`")
	}
	if p.Root, err = merkle.ParseHash(string(root)); err != nil {
		return p, r.fail("root: %s", err)
	}
	if err := r.sum(file); err != nil {
		return p, err
	}
	if p.Path, p.Checkpoint, err = r.tail(maxSiblings + 2); err != nil {
		return p, err
	}
	if !bytes.Equal(p.Encode(), file) {
		return p, fmt.Errorf("%w proof file: it is not spelled as its content is", ErrFormat)
	}
	return p, nil
}

func (v *Verifier) verifyConsistency(file []byte) (*Result, error) {
	p, err := parseConsistency(file)
	if err != nil {
		return nil, err
	}
	r, err := v.open(p.Checkpoint)
	if err != nil {
		return nil, err
	}
	c := r.checkpoint
	if p.Size > c.Size {
		return nil, fmt.Errorf("%w: size %d, but the checkpoint covers %d records", ErrProof, p.Size, c.Size)
	}
	err = merkle.VerifyConsistency(p.Size, c.Size, p.Root, c.Root, p.Path)
	if errors.Is(err, merkle.ErrRoot) {
		return nil, fmt.Errorf("%w: the first %d records of the log with root %s at size %d do not have the root %s: %w", ErrProof, p.Size, c.Root, c.Size, p.Root, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	r.claim = Consistent{Size: p.Size, Root: p.Root}
	return &r, nil
}

// CheckOld compares an older checkpoint, whose signature is checked already, with
// a proof of consistency. An error that wraps ErrProof, for a checkpoint of the
// proven size, says that the log has shown two histories: keep both.
func (r *Result) CheckOld(old Checkpoint) error {
	c, ok := r.claim.(Consistent)
	switch {
	case !ok:
		return fmt.Errorf("%w: the proof about %q is not of consistency", ErrSubject, r.Subject())
	case old.Origin != r.checkpoint.Origin:
		return fmt.Errorf("%w: the older checkpoint is of %q, the proof of %q", ErrOrigin, old.Origin, r.checkpoint.Origin)
	case old.Size != c.Size:
		return fmt.Errorf("%w: the older checkpoint is of size %d, the proof is about size %d", ErrSubject, old.Size, c.Size)
	case old.Root != c.Root:
		return fmt.Errorf("%w: at size %d the older checkpoint has root %s, the log now has %s: it has shown two histories; keep both checkpoints as evidence", ErrProof, old.Size, old.Root, c.Root)
	}
	return nil
}

func consistencySubject(size uint64) string { return "size:" + strconv.FormatUint(size, 10) }
