package proof

import (
	"bytes"
	"fmt"
	"strings"

	"graven/merkle"
	"graven/record"
)

// A proof of a transaction that its actor signed (docs/format.md §10.9):
//
//	graven-proof 1
//	claim signed
//	subject {"seq":S}
//	genesis {"v":1,"kind":"genesis",…}   record 0: it says which vault the signature is for
//	record {"v":1,"kind":"tx",…}         with a sig
//	op {"op":…}                          of a wide transaction every op line, in order
//	sum <16 hex>
//	<b64>                                the hashes that lead from records 0 and S to the root
//	                                     (an empty line)
//	<checkpoint>

// SignedProof is the content of such a proof.
type SignedProof struct {
	Genesis, Record []byte   // the lines
	Ops             [][]byte // the op lines of a wide transaction, else none
	Path            []merkle.Hash
	Checkpoint      []byte
}

const claimSigned = "signed"

// Signed: the transaction in record Seq carries a signature of its request, which
// is what the record holds. Nobody has checked it before Result.CheckActor.
type Signed struct {
	Seq   uint64
	Actor string
	// ID is the idempotency id of the request, Vault the id of the vault that it is
	// for, as genesis says.
	ID    string
	Vault record.VaultID
	// Key is NAME+HHHHHHHH of the key that is said to have signed.
	Key string
	// Lines are the op lines, Record the transaction's line.
	Lines  [][]byte
	Record []byte

	req record.ID
	sig record.Sig
}

func (Signed) isClaim() {}

// Encode returns the proof file of the record at seq.
func (p SignedProof) Encode(seq uint64) []byte {
	out := fmt.Appendf(nil, "%s\nclaim %s\nsubject {\"seq\":%d}\ngenesis %s\nrecord %s\n", keyHeader, claimSigned, seq, p.Genesis, p.Record)
	for _, line := range p.Ops {
		out = append(append(append(out, "op "...), line...), '\n')
	}
	return appendEnd(out, p.Path, p.Checkpoint)
}

func parseSignedProof(file []byte) (p SignedProof, seq uint64, err error) {
	r := lineReader{rest: file}
	if err := r.header(keyHeader); err != nil {
		return p, 0, err
	}
	if _, err := r.claim(); err != nil {
		return p, 0, err
	}
	text, _ := r.field("subject ")
	number, isObject := strings.CutSuffix(strings.TrimPrefix(string(text), `{"seq":`), "}")
	seq, ok := parseDecimal([]byte(number), MaxSize)
	if !ok || !isObject || seq == 0 {
		return p, 0, r.fail("subject %s, wanted {\"seq\":S} with S above 0", clip(text))
	}
	if p.Genesis, ok = r.field("genesis "); !ok {
		return p, 0, r.fail("behind it: wanted `genesis {…}`")
	}
	if p.Record, ok = r.field("record "); !ok {
		return p, 0, r.fail("behind it: wanted `record {…}`")
	}
	for {
		line, ok := r.field("op ")
		if !ok {
			break
		}
		if len(p.Ops) == record.MaxOps {
			return p, 0, r.fail("more than %d ops", record.MaxOps)
		}
		p.Ops = append(p.Ops, line)
	}
	if err := r.sum(file); err != nil {
		return p, 0, err
	}
	if p.Path, p.Checkpoint, err = r.tail(2 * maxSiblings); err != nil {
		return p, 0, err
	}
	if !bytes.Equal(p.Encode(seq), file) {
		return p, 0, fmt.Errorf("%w proof file: it is not spelled as its content is", ErrFormat)
	}
	return p, seq, nil
}

func (v *Verifier) verifySigned(file []byte) (*Result, error) {
	p, seq, err := parseSignedProof(file)
	if err != nil {
		return nil, err
	}
	r, err := v.open(p.Checkpoint)
	if err != nil {
		return nil, err
	}
	if _, err := (recordSet{0: p.Genesis, seq: p.Record}).prove(p.Path, r.checkpoint); err != nil {
		return nil, err
	}
	if r.claim, err = p.prove(seq, r.checkpoint); err != nil {
		return nil, err
	}
	return &r, nil
}

// prove reads the records, which are in the log, and holds them against each other.
func (p *SignedProof) prove(seq uint64, c Checkpoint) (Signed, error) {
	first, err := record.Parse(p.Genesis)
	if err != nil {
		return Signed{}, fmt.Errorf("%w 0 of %q: %w", ErrDamaged, c.Origin, err)
	}
	genesis, ok := first.Body.(*record.Genesis)
	if !ok {
		if first.Kind == record.KindGenesis {
			return Signed{}, fmt.Errorf("%w: %w", ErrUnknownVersion, record.Unsupported(first))
		}
		return Signed{}, fmt.Errorf("%w 0 of %q: it is of kind %q, wanted genesis", ErrDamaged, c.Origin, first.Kind)
	}
	if genesis.Origin != c.Origin {
		return Signed{}, fmt.Errorf("%w 0 of %q: genesis is of origin %q", ErrDamaged, c.Origin, genesis.Origin)
	}
	rec, err := record.Parse(p.Record)
	if err != nil {
		return Signed{}, fmt.Errorf("%w %d of %q: %w", ErrDamaged, seq, c.Origin, err)
	}
	if rec.Seq != seq {
		return Signed{}, fmt.Errorf("%w %d of %q: it says that it is record %d", ErrDamaged, seq, c.Origin, rec.Seq)
	}
	tx, err := transactionOf(rec)
	if err != nil {
		return Signed{}, err
	}
	if tx.Sig == nil {
		return Signed{}, fmt.Errorf("%w: the transaction of record %d is not signed", ErrProof, seq)
	}
	lines, err := p.opLines(seq, tx)
	if err != nil {
		return Signed{}, err
	}
	if err := tx.VerifyReq(lines); err != nil {
		return Signed{}, fmt.Errorf("%w %d of %q: %w", ErrDamaged, seq, c.Origin, err)
	}
	return Signed{
		Seq: seq, Actor: tx.Actor, ID: tx.ID, Vault: genesis.Vault, Key: tx.Sig.Key, Lines: lines, Record: p.Record,
		req: tx.Req, sig: *tx.Sig,
	}, nil
}

// opLines returns the op lines of the transaction: its own, or those that stand
// beside it if they are the ones that it names.
func (p *SignedProof) opLines(seq uint64, tx *record.Tx) ([][]byte, error) {
	if tx.Wide == nil {
		if len(p.Ops) > 0 {
			return nil, fmt.Errorf("%w proof file: op lines beside record %d, which holds its own", ErrFormat, seq)
		}
		return record.InlineOps(p.Record)
	}
	_, lines, err := tx.Wide.Open(append(bytes.Join(p.Ops, []byte{'\n'}), '\n'))
	if err != nil {
		return nil, fmt.Errorf("%w: the op lines of record %d: %w", ErrProof, seq, err)
	}
	return lines, nil
}

// CheckActor returns an error unless the proof is of a transaction that this key
// has signed: ErrSubject for a proof of something else, ErrSignature for another
// key or a signature that does not verify. The key must have come to the caller
// from the actor, or from somebody he trusts.
func (r *Result) CheckActor(vkey string) error {
	c, ok := r.claim.(Signed)
	if !ok {
		return fmt.Errorf("%w: the proof about %q is not of a signed transaction", ErrSubject, r.Subject())
	}
	k, err := ParseVKey(vkey)
	if err != nil {
		return err
	}
	return k.VerifyMessage(record.SigMessage(c.Vault, c.req), c.sig)
}
