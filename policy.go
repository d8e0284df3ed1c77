package graven

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"graven/internal/block"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

// policy is a policy document from where it is in force. It never changes.
type policy struct {
	record.Policy
	keys   map[string]proof.VKey // those of all actors, by their text
	text   []byte                // the document
	number uint64                // 0: that of genesis
	seq    uint64                // its record; it is in force for the records behind it
	leaf   merkle.Hash           // leaf hash of that record
	lacks  string                // why this program cannot apply it; empty if it can
}

// maxPolicy bounds a document in bytes: some two thousand actors with a key of each
// type.
const maxPolicy = 4 << 20

// Policy returns the document that is in force in the vault's newest state, and its
// number: 0 for that of genesis. The caller owns it.
func (v *Vault) Policy() (doc record.Policy, number uint64) {
	p := v.View().policy
	doc = p.Policy
	doc.Features, doc.Classes = slices.Clone(p.Features), slices.Clone(p.Classes)
	doc.Actors = slices.Clone(p.Actors)
	for i := range doc.Actors {
		doc.Actors[i].Keys = slices.Clone(doc.Actors[i].Keys)
	}
	return doc, p.number
}

// SetPolicy puts a policy into force behind its record, which the log's key signs
// as the vault's authority. It replaces the one with number after: if another one
// is in force, the error is a [*ConflictError]. Features can be added and never
// taken away.
func (v *Vault) SetPolicy(ctx context.Context, doc record.Policy, after uint64) (*Receipt, error) {
	if err := v.writable(); err != nil {
		return nil, err
	}
	r, err := v.encodePolicy(doc, after)
	if err != nil {
		return nil, err
	}
	return v.submit(ctx, r)
}

// encodePolicy makes the request for a new policy.
func (v *Vault) encodePolicy(doc record.Policy, after uint64) (*request, error) {
	text, err := doc.Append(nil)
	if err != nil {
		return nil, fmt.Errorf("%w: policy: %w", ErrInvalid, err)
	}
	own, err := record.ParsePolicy(text) // a copy that nobody else can change
	if err != nil {
		return nil, fmt.Errorf("%w: policy: %w", ErrInvalid, err)
	}
	if len(text) > maxPolicy {
		return nil, &LimitError{Field: "policy", Value: uint64(len(text)), Limit: maxPolicy}
	}
	for _, f := range own.Features {
		if !slices.Contains(knownFeatures, f) {
			return nil, fmt.Errorf("%w: policy: feature %q is not one of this program, and it could never be taken away", ErrInvalid, f)
		}
	}
	next := &policy{Policy: *own, text: text, number: after + 1}
	if err := next.parseKeys(); err != nil {
		return nil, fmt.Errorf("%w: policy: %w", ErrInvalid, err)
	}
	return &request{policy: next, bytes: len(text), claimed: make(chan struct{}, 1), done: make(chan requestDone, 1)}, nil
}

// parseKeys reads the actors' keys. Its error is of the first that the record format
// lets pass and nobody can verify with; the others are there all the same.
func (p *policy) parseKeys() (err error) {
	p.keys = map[string]proof.VKey{}
	for i := range p.Actors {
		for _, text := range p.Actors[i].Keys {
			key, bad := proof.ParseVKey(text)
			if bad != nil && err == nil {
				err = fmt.Errorf("actor %q: %w", p.Actors[i].Actor, bad)
			}
			if bad == nil {
				p.keys[text] = key
			}
		}
	}
	return err
}

// sequencePolicy gives a new policy its place. Nothing of one that is refused is
// left behind.
func (v *Vault) sequencePolicy(g *group, r *request) error {
	now, next := v.tip.policy, *r.policy
	if next.number != now.number+1 {
		return &ConflictError{Wanted: fmt.Sprintf("policy %d in force", next.number-1), Found: fmt.Sprintf("policy %d, of record %d", now.number, now.seq)}
	}
	if err := v.succeeds(&next, now); err != nil {
		return fmt.Errorf("%w: policy: %w", ErrInvalid, err)
	}
	doc := &record.Document{Kind: record.KindPolicy, Number: next.number, Doc: record.IDOf(next.text)}
	sig, err := v.author.Sign(doc.SignedMessage(v.genesis.Vault, now.seq, now.leaf))
	if err != nil {
		return err
	}
	doc.Sigs = []record.Sig{sig}
	if err := v.signedByAuthority(doc, now); err != nil {
		return fmt.Errorf("%w: the vault's own key is not enough: %w", ErrReadOnly, err)
	}
	mark, seq := v.markOf(g), v.tip.next
	if err := v.add(g, doc); err != nil {
		v.backTo(g, mark)
		return err
	}
	next.seq, next.leaf = seq, g.leaves[len(g.leaves)-1]
	v.mention(g, classLog, block.Artifact{ID: doc.Doc, Bytes: next.text}, 0)
	v.tip.policy = &next
	g.waiting = append(g.waiting, waiter{r: r, seq: seq, time: v.tip.time})
	g.ops++
	g.bytes += r.bytes
	return nil
}

// succeeds holds a policy against the one before it and against genesis.
func (v *Vault) succeeds(next, now *policy) error {
	for _, f := range now.Features {
		if !slices.Contains(next.Features, f) {
			return fmt.Errorf("feature %q is in force and cannot be taken away", f)
		}
	}
	if !slices.Contains(next.Classes, v.genesis.Class) {
		return fmt.Errorf("classes are %q; the default, %q, must be among them", next.Classes, v.genesis.Class)
	}
	return nil
}

// signedByAuthority checks that a document's record, which follows prev, has
// enough signatures: those of as many authority keys as the threshold wants.
func (v *Vault) signedByAuthority(d *record.Document, prev *policy) error {
	message := d.SignedMessage(v.genesis.Vault, prev.seq, prev.leaf)
	signed := uint64(0)
	for i := range v.authority.Keys {
		k := &v.authority.Keys[i]
		if !k.Has(record.RoleAuthority) {
			continue
		}
		key, err := proof.ParseVKey(k.VKey)
		if err != nil {
			continue // a type that this program does not know
		}
		for _, sig := range d.Sigs {
			if key.VerifyMessage(message, sig) == nil {
				signed++
				break
			}
		}
	}
	if signed < v.authority.Threshold {
		return fmt.Errorf("%d good signatures of authority keys, wanted %d", signed, v.authority.Threshold)
	}
	return nil
}

// firstPolicy is the policy of genesis.
func (v *Vault) firstPolicy() (*policy, error) {
	line, err := v.journal.Line(0)
	if err != nil {
		return nil, v.damaged(err)
	}
	return v.readPolicy(v.genesis.Policy, &policy{leaf: merkle.LeafHash(line)})
}

// readPolicy reads the document of a policy. One that this program does not know
// makes the vault read-only.
func (v *Vault) readPolicy(id record.ID, p *policy) (*policy, error) {
	text, err := v.artifact(id)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	p.text = text
	doc, err := record.ParsePolicy(text)
	if errors.Is(err, record.ErrUnknownVersion) {
		p.lacks = "its policy is of a version that this program does not know"
		v.lack(p.lacks)
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: policy %v: %w", ErrDamaged, id, err)
	}
	p.Policy = *doc
	_ = p.parseKeys() // who has a key that is none cannot sign with it
	for _, f := range doc.Features {
		if !slices.Contains(knownFeatures, f) {
			v.lack(fmt.Sprintf("its ledger uses %s, which this program does not know", f))
		}
	}
	return p, nil
}

// lack makes the vault read-only, unless it is so for another reason already.
func (v *Vault) lack(why string) {
	if v.readOnly == "" {
		v.readOnly = why + "; open it with a newer one"
	}
}

// replayPolicy applies the record of a policy.
func (v *Vault) replayPolicy(seq uint64, line []byte, d *record.Document) error {
	now := v.tip.policy
	next, err := v.readPolicy(d.Doc, &policy{number: d.Number, seq: seq, leaf: merkle.LeafHash(line)})
	if err != nil {
		return err
	}
	v.tip.policy = next
	switch {
	case d.Number != now.number+1:
		return fmt.Errorf("%w: record %d: policy %d follows policy %d", ErrDamaged, seq, d.Number, now.number)
	case v.authority == nil:
		return nil // no authority that this program knows: the vault is read-only, and nobody can say
	}
	if err := v.signedByAuthority(d, now); err != nil {
		return fmt.Errorf("%w: record %d: policy %d: %w", ErrDamaged, seq, d.Number, err)
	}
	if now.lacks != "" || next.lacks != "" {
		return nil
	}
	if err := v.succeeds(next, now); err != nil {
		return fmt.Errorf("%w: record %d: policy %d: %w", ErrDamaged, seq, d.Number, err)
	}
	return nil
}

// allows says whether a transaction with this actor, class (empty: the default),
// request and signature may be written under the policy. It is asked by the caller
// of Commit, by the committer if the policy changed meanwhile, and by every check.
func (p *policy) allows(vault record.VaultID, actor, class string, req record.ID, sig *record.Sig) error {
	if class != "" && !slices.Contains(p.Classes, class) {
		return fmt.Errorf("%w: class %q: the vault's policy has %q", ErrInvalid, class, p.Classes)
	}
	keys, known := p.Keys(actor)
	switch {
	case !known && p.Refuse:
		return fmt.Errorf("%w: actor %q is not among those that the policy lets write: %s", ErrDenied, actor, p.names())
	case !known && sig != nil:
		return fmt.Errorf("%w: the policy has no key of actor %q, so nobody can check the signature of %s", ErrDenied, actor, sig.Key)
	case !known:
		return nil
	case len(keys) == 0:
		return fmt.Errorf("%w: actor %q is retired: nobody can write under that name", ErrDenied, actor)
	case sig == nil:
		return fmt.Errorf("%w: the policy wants a signature of actor %q by %s", ErrDenied, actor, keyNames(keys))
	}
	for _, text := range keys {
		if record.KeyIDOf(text) != sig.Key {
			continue
		}
		key, usable := p.keys[text]
		if !usable {
			return fmt.Errorf("%w: actor %q: nobody can verify with the key %s of the policy", ErrDenied, actor, sig.Key)
		}
		if err := key.VerifyMessage(record.SigMessage(vault, req), *sig); err != nil {
			return fmt.Errorf("%w: actor %q: %w", ErrDenied, actor, err)
		}
		return nil
	}
	return fmt.Errorf("%w: actor %q has no key %s in the policy, but %s", ErrDenied, actor, sig.Key, keyNames(keys))
}

// names lists the known actors, for a message.
func (p *policy) names() string {
	const most = 8
	var names []string
	for i := range p.Actors {
		if i == most {
			names = append(names, "…")
			break
		}
		names = append(names, fmt.Sprintf("%q", p.Actors[i].Actor))
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

func keyNames(keys []string) string {
	var names []string
	for _, k := range keys {
		names = append(names, record.KeyIDOf(k))
	}
	return strings.Join(names, " or ")
}

// cachePolicy writes the copy of the document in force, which settle owns.
func (v *Vault) cachePolicy(p *policy) error {
	if p.number == v.cached {
		return nil
	}
	if err := v.dir.Replace(policyFile, append(slices.Clone(p.text), '\n')); err != nil {
		return err
	}
	v.cached = p.number
	return nil
}
