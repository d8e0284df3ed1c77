package proof

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"graven/merkle"
	"graven/record"
	"graven/state"
)

// A key proof (docs/format.md §10.2):
//
//	graven-proof 1
//	claim present|absent
//	subject {"key":"…"}            members as in an op
//	op {"op":"put",…}              the subject's own newest op line, if it ever had one
//	leaf <b64>                     or else the leaf of the key that the search ends at
//	path <b64>                     missing, like both, where the space has no keys
//	space <hex> <b64> <n> <n>      each other space that has keys, in order
//	commit {"v":1,"kind":"commit",…}
//	sum <16 hex>                   of the SHA-256 of all lines above
//	<b64>                          siblings of the commit's leaf, from the leaf up
//	                               (an empty line)
//	<checkpoint>                   a signed note whose size is the commit's seq + 1

// KeyProof is the content of a key proof. The slices are the maker's own; Encode
// only reads them.
type KeyProof struct {
	// Space and Key are the subject: the key is 1 to 1,024 bytes without its
	// space.
	Space byte
	Key   []byte
	// Op is the op line, a put or a delete, of the subject's newest version; nil
	// if it never had one.
	Op []byte
	// State proves the subject under the commit's state root: state.Map.Prove of
	// the stored key. Its leaf has the subject's key exactly if Op is there.
	State state.Proof
	// Commit is the line of the commit with index size-1.
	Commit []byte
	// Path has the siblings of Commit's leaf, from the leaf up.
	Path []merkle.Hash
	// Checkpoint is the signed note.
	Checkpoint []byte
}

// Claims of a key proof.
const (
	claimPresent = "present"
	claimAbsent  = "absent"
)

func (p KeyProof) storedKey() []byte { return append([]byte{p.Space}, p.Key...) }

// Encode returns the proof file. The claim follows from the op: `present` for a
// put, `absent` otherwise. It fails with ErrInvalid if op, leaf and subject do
// not fit together; whether the hashes lead to the root is the Verifier's to say.
func (p KeyProof) Encode() ([]byte, error) {
	if n := len(p.Key); n < 1 || n > record.MaxKey {
		return nil, fmt.Errorf("%w key proof: key of %d bytes, wanted 1 to %d", ErrInvalid, n, record.MaxKey)
	}
	body, live, err := p.appendState(nil)
	if err != nil {
		return nil, err
	}
	claim := claimAbsent
	if live {
		claim = claimPresent
	}
	out := fmt.Appendf(nil, "%s\nclaim %s\nsubject %s%s\ncommit %s\n", keyHeader, claim, record.FormatSubject(p.Space, p.Key), body, p.Commit)
	return appendEnd(out, p.Path, p.Checkpoint), nil
}

// appendState appends the lines from `op` to `space`, each with a line feed before
// it, and says whether the key has a value.
func (p *KeyProof) appendState(out []byte) (_ []byte, live bool, err error) {
	stored := p.storedKey()
	own := p.State.Leaf != nil && bytes.Equal(p.State.Leaf.Key, stored)
	switch {
	case own && p.Op == nil:
		return nil, false, fmt.Errorf("%w key proof: the leaf has the subject's key, but the op line is missing", ErrInvalid)
	case !own && p.Op != nil:
		return nil, false, fmt.Errorf("%w key proof: an op line, but no leaf with the subject's key", ErrInvalid)
	case own:
		op, leaf, err := opLeaf(p.Op, stored)
		if err != nil {
			return nil, false, fmt.Errorf("%w key proof: %w", ErrInvalid, err)
		}
		l := p.State.Leaf
		if l.Digest != leaf.Digest || l.N != leaf.N || l.Live != leaf.Live {
			return nil, false, fmt.Errorf("%w key proof: leaf and op line disagree: version %d, live %t and %d, %t", ErrInvalid, l.N, l.Live, leaf.N, leaf.Live)
		}
		live = op.Kind == record.OpPut
		out = append(append(out, "\nop "...), p.Op...)
	case p.State.Leaf != nil:
		out = b64.AppendEncode(append(out, "\nleaf "...), p.State.Leaf.Bytes())
	}
	if p.State.Leaf != nil {
		out = b64.AppendEncode(append(out, "\npath "...), p.State.AppendPath(nil, stored))
	}
	for _, s := range p.State.Spaces {
		out = s.Append(append(out, "\nspace "...))
	}
	return out, live, nil
}

// sumOf is the sum over the lines of a key proof up to its commit line. Nothing
// else binds the subject of an absence: every key that the search would end for
// at the same place is absent too, and a proof whose subject was changed on the
// way would be a true proof of something else.
func sumOf(lines []byte) string {
	h := sha256.Sum256(lines)
	return hex.EncodeToString(h[:8])
}

// opLeaf parses an op line of the stored key, nil for any, and returns the parts
// of its leaf that follow from it: all but seq and created.
func opLeaf(line, stored []byte) (record.Op, state.Leaf, error) {
	op, err := record.ParseOp(line)
	if err != nil {
		return op, state.Leaf{}, fmt.Errorf("op line: %w", err)
	}
	if op.Kind != record.OpPut && op.Kind != record.OpDelete {
		return op, state.Leaf{}, fmt.Errorf("op line: neither put nor delete")
	}
	have := op.StoredKey()
	if stored != nil && !bytes.Equal(have, stored) {
		return op, state.Leaf{}, fmt.Errorf("op line: it is of %s, the subject is %s",
			record.FormatSubject(op.Space, op.Key), record.FormatSubject(stored[0], stored[1:]))
	}
	return op, state.Leaf{Key: have, Digest: record.OpDigest(line), N: op.N, Live: op.Kind == record.OpPut}, nil
}

// parseKeyProof parses a key proof. What it accepts, Encode spells the same way.
func parseKeyProof(file []byte) (KeyProof, error) {
	r := lineReader{rest: file}
	var p KeyProof
	if err := r.header(keyHeader); err != nil {
		return p, err
	}
	claim, err := r.claim()
	if err != nil {
		return p, err
	}
	subject, ok := r.field("subject ")
	if !ok {
		return p, r.fail("behind it: wanted `subject {…}`")
	}
	if p.Space, p.Key, err = record.ParseSubject(string(subject)); err != nil {
		return p, r.fail("subject: %s", err)
	}
	if err := p.parseState(&r); err != nil {
		return p, err
	}
	if found := p.claim(); claim != found {
		return p, r.fail("claim %s, but what follows says %s", claim, found)
	}
	if p.Commit, ok = r.field("commit "); !ok {
		return p, r.fail("behind it: wanted `commit {…}`")
	}
	if err := r.sum(file); err != nil {
		return p, err
	}
	if p.Path, p.Checkpoint, err = r.tail(maxSiblings); err != nil {
		return p, err
	}
	// No part above may be lenient: whatever it is, there is one spelling.
	if again, err := p.Encode(); err != nil || !bytes.Equal(again, file) {
		return p, fmt.Errorf("%w proof file: it is not spelled as its content is", ErrFormat)
	}
	return p, nil
}

func (r *lineReader) claim() (string, error) {
	word, ok := r.field("claim ")
	if !ok {
		return "", r.fail("behind it: wanted `claim` and what is claimed")
	}
	switch string(word) {
	case claimPresent, claimAbsent, claimList, claimCount, claimHistory, claimPast, claimConsistency, claimOp, claimSigned:
		return string(word), nil
	}
	notWord := func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' }
	if len(word) == 0 || bytes.IndexFunc(word, notWord) >= 0 {
		return "", r.fail("claim %s, wanted one word", clip(word))
	}
	return "", fmt.Errorf("%w: claim %s, known are present, absent, list, count, history, past, consistency, op and signed", ErrUnknownVersion, clip(word))
}

// claim says what the parts claim.
func (p KeyProof) claim() string {
	if p.Op != nil && p.State.Leaf.Live {
		return claimPresent
	}
	return claimAbsent
}

// parseState reads the lines from `op` to `space`.
func (p *KeyProof) parseState(r *lineReader) error {
	stored := p.storedKey()
	var leaf *state.Leaf
	if line, ok := r.field("op "); ok {
		_, l, err := opLeaf(line, stored)
		if err != nil {
			return r.fail("%s", err)
		}
		p.Op, leaf = line, &l
	} else if text, ok := r.field("leaf "); ok {
		l, err := r.leaf(text)
		if err != nil {
			return err
		}
		if bytes.Equal(l.Key, stored) {
			return r.fail("`leaf` has the subject's key, for which `op` stands")
		}
		leaf = &l
	}
	if leaf != nil {
		text, ok := r.field("path ")
		if !ok {
			return r.fail("behind it: wanted `path <base64>`")
		}
		raw, ok := decodeB64(text)
		if !ok {
			return r.fail("`path` is not canonical base64")
		}
		var err error
		if p.State, err = state.ParsePath(raw, stored, *leaf); err != nil {
			return r.fail("%s", err)
		}
	}
	var err error
	p.State.Spaces, err = r.spaces()
	return err
}

// leaf reads what stands behind `leaf `.
func (r *lineReader) leaf(text []byte) (state.Leaf, error) {
	raw, ok := decodeB64(text)
	if !ok {
		return state.Leaf{}, r.fail("`leaf` is not canonical base64")
	}
	l, err := state.ParseLeaf(raw)
	if err != nil {
		return state.Leaf{}, r.fail("%s", err)
	}
	return l, nil
}

// spaces takes the lines of spaces.
func (r *lineReader) spaces() (spaces []state.SpaceLine, err error) {
	for {
		line, ok := r.field("space ")
		if !ok {
			return spaces, nil
		}
		s, err := state.ParseSpaceLine(line)
		if err != nil {
			return nil, r.fail("%s", err)
		}
		if n := len(spaces); n > 0 && spaces[n-1].Space >= s.Space {
			return nil, r.fail("space %02x behind space %02x", s.Space, spaces[n-1].Space)
		}
		spaces = append(spaces, s)
	}
}
