package graven

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/proof"
	"graven/record"
)

// TestPolicyOfSigners lets a policy ask for signatures, and tries every way around
// it.
func TestPolicyOfSigners(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	alice, aliceKey := actorKey(t, "alice", proof.TypeEd25519)
	lattice, latticeKey := actorKey(t, "alice-2", proof.TypeMLDSA44)
	mallory, _ := actorKey(t, "mallory", proof.TypeEd25519)
	if _, err := s.setPolicy(func(p *record.Policy) {
		p.Actors = []record.PolicyActor{{Actor: "alice", Keys: []string{aliceKey, latticeKey}}, {Actor: "retired"}}
		p.Classes = []string{"archive", "main"}
	}); err != nil {
		t.Fatal(err)
	}
	as := func(actor string, tx *Tx) *Tx { tx.Actor = actor; return tx }
	in := func(class string, tx *Tx) *Tx { tx.Class = class; return tx }
	stolen := func(tx *Tx) *Tx { // the signature of another request
		tx.Actor, tx.Sign = "alice", func(vault record.VaultID, _ record.ID) (record.Sig, error) {
			return alice.SignRequest(vault, record.IDOf([]byte("another request")))
		}
		return tx
	}
	elsewhere := func(tx *Tx) *Tx { // of another vault
		tx.Actor, tx.Sign = "alice", func(_ record.VaultID, req record.ID) (record.Sig, error) {
			return alice.SignRequest(record.VaultID{1}, req)
		}
		return tx
	}
	renamed := func(tx *Tx) *Tx { // a good signature under the name of another key
		tx.Actor, tx.Sign = "alice", func(vault record.VaultID, req record.ID) (record.Sig, error) {
			sig, err := mallory.SignRequest(vault, req)
			sig.Key = record.KeyIDOf(aliceKey)
			return sig, err
		}
		return tx
	}
	for _, c := range []struct {
		name string
		tx   func(*Tx) *Tx
		want error
		says string
	}{
		{"signed", func(tx *Tx) *Tx { return signed(tx, "alice", alice) }, nil, ""},
		{"signed by the second key", func(tx *Tx) *Tx { return signed(tx, "alice", lattice) }, nil, ""},
		{"another actor", func(tx *Tx) *Tx { return as("bob", tx) }, nil, ""},
		{"no actor", func(tx *Tx) *Tx { return as("", tx) }, nil, ""},
		{"a new class", func(tx *Tx) *Tx { return in("archive", as("bob", tx)) }, nil, ""},
		{"not signed", func(tx *Tx) *Tx { return as("alice", tx) }, ErrDenied, record.KeyIDOf(aliceKey)},
		{"another's key", func(tx *Tx) *Tx { return signed(tx, "alice", mallory) }, ErrDenied, record.KeyIDOf(mallory.VKey())},
		{"another's key under her key's name", renamed, ErrDenied, "alice"},
		{"another's signature", stolen, ErrDenied, "alice"},
		{"another vault's", elsewhere, ErrDenied, "alice"},
		{"signed by an unknown actor", func(tx *Tx) *Tx { return signed(tx, "mallory", mallory) }, ErrDenied, "mallory"},
		{"her key, another actor", func(tx *Tx) *Tx { return signed(tx, "bob", alice) }, ErrDenied, "bob"},
		{"retired", func(tx *Tx) *Tx { return as("retired", tx) }, ErrDenied, "retired"},
		{"retired, signed", func(tx *Tx) *Tx { return signed(tx, "retired", alice) }, ErrDenied, "retired"},
		{"an unknown class", func(tx *Tx) *Tx { return in("trial", as("bob", tx)) }, ErrInvalid, "trial"},
	} {
		size := s.vault.View().Size()
		_, err := commitGroup(s.vault, c.tx(put(c.name, "v")))
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, wanted %v and %q", c.name, err, c.want, c.says)
		}
		if _, there := s.vault.View().Get([]byte(c.name)); (there == nil) != (c.want == nil) {
			t.Errorf("%s: key: %v", c.name, there)
		}
		if (s.vault.View().Size() == size) != (c.want != nil) {
			t.Errorf("%s: the log went from %d to %d", c.name, size, s.vault.View().Size())
		}
	}
	if _, err := s.setPolicy(func(p *record.Policy) { p.Refuse = true }); err != nil {
		t.Fatal(err)
	}
	s.close()
	s.reopen()
	if _, err := commitGroup(s.vault, as("bob", put("late", "v"))); !errors.Is(err, ErrDenied) {
		t.Errorf("others are refused, and bob gets %v", err)
	}
	s.group(signed(put("alice's", "v"), "alice", alice))
	doc, number := s.vault.Policy()
	if number != 2 || !doc.Refuse || len(doc.Actors) != 2 {
		t.Errorf("policy %d in force is %+v", number, doc)
	}
	doc.Actors[0].Keys[0] = "changed by its owner"
	if again, _ := s.vault.Policy(); again.Actors[0].Keys[0] != aliceKey {
		t.Error("the policy in force can be changed from outside")
	}
	s.close()
	if text, err := (&record.Policy{Features: doc.Features, Classes: doc.Classes, Actors: []record.PolicyActor{{Actor: "alice", Keys: []string{aliceKey, latticeKey}}, {Actor: "retired"}}, Refuse: true}).Append(nil); err != nil || string(readAll(mem, "vaults/main/"+policyFile)) != string(text)+"\n" {
		t.Errorf("%s holds %s, wanted %s, %v", policyFile, readAll(mem, "vaults/main/"+policyFile), text, err)
	}
	if r := checkAll(t, mem, false); len(r.Findings) > 0 {
		t.Errorf("check finds %v", r.Findings)
	}
}

// TestPolicyChanges holds the rules for one policy after another.
func TestPolicyChanges(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	_, key := actorKey(t, "alice", proof.TypeEd25519)
	first, _ := s.vault.Policy()
	for name, c := range map[string]struct {
		change func(*record.Policy)
		want   error
	}{
		"a feature less":    {func(p *record.Policy) { p.Features = p.Features[1:] }, ErrInvalid},
		"no default":        {func(p *record.Policy) { p.Classes = []string{"archive"} }, ErrInvalid},
		"class log":         {func(p *record.Policy) { p.Classes = []string{"log", "main"} }, ErrInvalid},
		"not sorted":        {func(p *record.Policy) { p.Actors = []record.PolicyActor{{Actor: "b"}, {Actor: "a"}} }, ErrInvalid},
		"no key":            {func(p *record.Policy) { p.Actors = []record.PolicyActor{{Actor: "b", Keys: []string{"alice"}}} }, ErrInvalid},
		"a feature to come": {func(p *record.Policy) { p.Features = append(p.Features, "zoning/3") }, ErrInvalid},
		"a weak key":        {func(p *record.Policy) { p.Actors = []record.PolicyActor{{Actor: "b", Keys: []string{weakKey()}}} }, ErrInvalid},
		"too many": {func(p *record.Policy) {
			for i := range maxPolicy / 256 {
				p.Actors = append(p.Actors, record.PolicyActor{Actor: fmt.Sprintf("%0256d", i)})
			}
		}, ErrLimit},
	} {
		size := s.vault.View().Size()
		if _, err := s.setPolicy(c.change); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, wanted %v", name, err, c.want)
		}
		if got, number := s.vault.Policy(); number != 0 || len(got.Actors) != 0 || s.vault.View().Size() != size {
			t.Errorf("%s: policy %d is in force: %+v", name, number, got)
		}
	}

	// Two who change the same policy: the second hears of the first, also within one group.
	second := first
	second.Actors = []record.PolicyActor{{Actor: "alice", Keys: []string{key}}}
	third := first
	third.Refuse = true
	a, err1 := s.vault.encodePolicy(second, 0)
	b, err2 := s.vault.encodePolicy(third, 0)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	receipts, err := groupOf(s.vault, a, b)
	if receipts[0] == nil || receipts[1] != nil || !errors.Is(err, ErrConflict) {
		t.Errorf("two changes at once: %v, %v", receipts, err)
	}

	// A transaction that its caller judged by the old policy is judged again.
	old, err := s.vault.encode(put("k", "v"))
	if err != nil {
		t.Fatal(err)
	}
	next, _ := s.vault.Policy()
	next.Refuse = true
	change, err := s.vault.encodePolicy(next, 1)
	if err != nil {
		t.Fatal(err)
	}
	receipts, err = groupOf(s.vault, change, old)
	if receipts[0] == nil || receipts[1] != nil || !errors.Is(err, ErrDenied) {
		t.Errorf("an old request under a new policy: %v, %v", receipts, err)
	}
	s.close()
	if r := checkAll(t, mem, false); len(r.Findings) > 0 {
		t.Errorf("check finds %v", r.Findings)
	}
}

// weakKey is an Ed25519 key under which anybody can sign: a point of order 4.
func weakKey() string {
	public := make([]byte, 33)
	public[0] = proof.TypeEd25519
	sum := sha256.Sum256(append([]byte("weak\n"), public...))
	return fmt.Sprintf("weak+%x+%s", sum[:4], base64.StdEncoding.EncodeToString(public))
}

// TestWeakKeySignsNothing puts a weak key into force past the checks, as an
// authority of another program might: nobody can write with it.
func TestWeakKeySignsNothing(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	doc, _ := s.vault.Policy()
	doc.Actors = []record.PolicyActor{{Actor: "b", Keys: []string{weakKey()}}}
	text, err := doc.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.document(1, string(text), true)
	s.close()
	s.reopen()
	tx := put("k", "v")
	tx.Actor, tx.Sign = "b", func(record.VaultID, record.ID) (record.Sig, error) {
		sig := make([]byte, 64) // under this key good for some messages
		sig[0] = 1
		return record.Sig{Key: record.KeyIDOf(weakKey()), Sig: sig}, nil
	}
	if _, err := commitGroup(s.vault, tx); !errors.Is(err, ErrDenied) {
		t.Errorf("a weak key signs: %v", err)
	}
	s.close()
}

// TestRefusedPolicyIsForgotten refuses the group of a policy before its first byte.
func TestRefusedPolicyIsForgotten(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	s.group(put("a", "1"))
	doc, number := s.vault.Policy()
	doc.Refuse = true
	r, err := s.vault.encodePolicy(doc, number)
	if err != nil {
		t.Fatal(err)
	}
	g := s.vault.newGroup()
	s.vault.take(g, r)
	s.vault.persisted(g, nil, ErrFull)
	if d := <-r.done; !errors.Is(d.err, ErrFull) {
		t.Errorf("the refused policy gives %v", d.err)
	}
	s.group(put("b", "still allowed"))
	s.close()
	s.reopen()
	s.group(put("c", "still allowed"))
	s.close()
}

// TestForgedPolicyRecords writes records of policies that the authority has not
// signed, or that do not follow the one before: no open takes them.
func TestForgedPolicyRecords(t *testing.T) {
	for _, c := range []struct {
		name   string
		number uint64
		doc    string
		sign   bool
		want   string
	}{
		{"not signed by the authority", 1, `{"v":1,"kind":"policy","features":FEATURES,"classes":["main"]}`, false, "0 good signatures"},
		{"number 2 after 0", 2, `{"v":1,"kind":"policy","features":FEATURES,"classes":["main"]}`, true, "policy 2 follows policy 0"},
		{"a feature less", 1, `{"v":1,"kind":"policy","features":["tx/1"],"classes":["main"]}`, true, "cannot be taken away"},
		{"no document", 1, `{"v":1,"kind":"policy"}`, true, "policy sha256:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := fsx.NewMem()
			s := newScript(t, mem, small)
			s.group(put("a", "1"))
			features := `["` + strings.Join(s.vault.genesis.Features, `","`) + `"]`
			s.document(c.number, strings.Replace(c.doc, "FEATURES", features, 1), c.sign)
			s.close()
			var err error
			if s.store, err = Open(context.Background(), s.host, scriptOptions()); err != nil {
				t.Fatal(err)
			}
			if _, err = s.store.Vault(context.Background(), "main"); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it opens with %v, wanted %q", err, c.want)
			}
			s.close()
			if r := checkAll(t, mem, true); !strings.Contains(fmt.Sprint(r.Findings), c.want) {
				t.Errorf("check finds %v", r.Findings)
			}
		})
	}
}

// document writes the record of a policy and its document in a group of its own.
func (s *script) document(number uint64, text string, sign bool) {
	s.t.Helper()
	v := s.vault
	d := &record.Document{Kind: record.KindPolicy, Number: number, Doc: record.IDOf([]byte(text))}
	message := d.SignedMessage(v.genesis.Vault, v.tip.policy.seq, v.tip.policy.leaf)
	author := v.author
	if !sign {
		author, _ = actorKey(s.t, v.genesis.Origin, proof.TypeEd25519)
	}
	sig, err := author.Sign(message)
	if err != nil {
		s.t.Fatal(err)
	}
	d.Sigs = []record.Sig{sig}
	g := v.newGroup()
	if err := v.add(g, d); err != nil {
		s.t.Fatal(err)
	}
	v.mention(g, classLog, block.Artifact{ID: d.Doc, Bytes: []byte(text)}, 0)
	if err := errors.Join(v.seal(g), v.persist(g)); err != nil {
		s.t.Fatal(err)
	}
	v.forgetPending(g)
}

// TestPolicyOfTheFuture opens a ledger whose newest policy is of a version that
// this program does not know.
func TestPolicyOfTheFuture(t *testing.T) {
	for name, doc := range map[string]string{
		"version":  `{"v":3,"kind":"policy","anything":[]}`,
		"zoning/3": `{"v":1,"kind":"policy","features":["authority/1","block/1","commit/1","genesis/1","policy/1","tx/1","zoning/3"],"classes":["main"]}`,
	} {
		mem := fsx.NewMem()
		s := newScript(t, mem, small)
		s.group(put("a", "1"))
		s.document(1, doc, true)
		s.close()
		s.reopen()
		if _, err := commitGroup(s.vault, put("b", "2")); !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: a write gives %v", name, err)
		}
		if _, err := s.vault.View().Get([]byte("a")); err != nil {
			t.Error(err)
		}
		s.close()
		if r := checkAll(t, mem, false); len(r.Findings) > 0 {
			t.Errorf("%s: check finds %v", name, r.Findings)
		}
	}
}

// TestCheckFindsWhatThePolicyForbids writes transactions past the policy: a check
// names them.
func TestCheckFindsWhatThePolicyForbids(t *testing.T) {
	alice, key := actorKey(t, "alice", proof.TypeEd25519)
	bad, err := alice.Sign([]byte("something else"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, actor, class string
		sig                *record.Sig
		fine               bool
	}{
		{"nothing forbidden", "bob", "", nil, true},
		{"not signed", "alice", "", nil, false},
		{"badly signed", "alice", "", &bad, false},
		{"signed by somebody unknown", "bob", "", &bad, false},
		{"of an unknown class", "bob", "trial", nil, false},
	} {
		mem := fsx.NewMem()
		s := newScript(t, mem, small)
		if _, err := s.setPolicy(func(p *record.Policy) {
			p.Actors = []record.PolicyActor{{Actor: "alice", Keys: []string{key}}}
		}); err != nil {
			t.Fatal(err)
		}
		// A committer that has forgotten the policy.
		inForce := s.vault.tip.policy
		open := *inForce
		open.Actors, open.Classes = nil, []string{"main", "trial"}
		view := *s.vault.View()
		view.policy, s.vault.tip.policy = &open, &open
		s.vault.view.Store(&view)
		tx := put("k", "v")
		tx.Actor, tx.Class = c.actor, c.class
		r, err := s.vault.encode(tx)
		if err != nil {
			t.Fatal(err)
		}
		r.sig = c.sig
		if _, err := groupOf(s.vault, r); err != nil {
			t.Fatal(err)
		}
		s.close()
		if found := fmt.Sprint(checkAll(t, mem, true).Findings); strings.Contains(found, "policy 1 did not allow it") == c.fine {
			t.Errorf("%s: check finds %v", c.name, found)
		}
	}
}

// TestSignatureIsSpent commits a signed request again, as somebody would who found
// the signature in the log: it has no second effect, also after a restart.
func TestSignatureIsSpent(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	alice, key := actorKey(t, "alice", proof.TypeEd25519)
	if _, err := s.setPolicy(func(p *record.Policy) {
		p.Actors = []record.PolicyActor{{Actor: "alice", Keys: []string{key}}}
	}); err != nil {
		t.Fatal(err)
	}
	first := s.group(signed(put("limit", "1000"), "alice", alice))[0]
	s.group(signed(put("limit", "0"), "alice", alice))
	line, err := s.vault.View().Record(first.Seq)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := record.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	sig := *rec.Body.(*record.Tx).Sig
	stolen := func() *Tx {
		tx := put("limit", "1000")
		tx.Actor, tx.Sign = "alice", func(record.VaultID, record.ID) (record.Sig, error) { return sig, nil }
		return tx
	}
	refused := func(when string) {
		t.Helper()
		var conflict *ConflictError
		if _, err := commitGroup(s.vault, stolen()); !errors.As(err, &conflict) || conflict.Seq != first.Seq {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused("at once")
	s.close()
	s.reopen()
	refused("after a restart")
	fresh := signed(put("limit", "1000"), "alice", alice)
	fresh.ID = "she wants it again"
	s.group(fresh)
	// A group that was refused has spent nothing.
	r, err := s.vault.encode(signed(put("limit", "5"), "alice", alice))
	if err != nil {
		t.Fatal(err)
	}
	g := s.vault.newGroup()
	s.vault.take(g, r)
	s.vault.persisted(g, nil, ErrFull)
	<-r.done
	s.group(signed(put("limit", "5"), "alice", alice))
	s.close()
	if r := checkAll(t, mem, false); len(r.Findings) > 0 {
		t.Errorf("check finds %v", r.Findings)
	}
}

// TestCheckFindsRepeats lets a committer forget what was used: a check names what it
// wrote twice.
func TestCheckFindsRepeats(t *testing.T) {
	alice, key := actorKey(t, "alice", proof.TypeEd25519)
	for what, tx := range map[string]func() *Tx{
		`id "once"`:      func() *Tx { tx := put("k", "v"); tx.ID = "once"; return tx },
		"signed request": func() *Tx { return signed(put("k", "v"), "alice", alice) },
	} {
		mem := fsx.NewMem()
		s := newScript(t, mem, small)
		if _, err := s.setPolicy(func(p *record.Policy) {
			p.Actors = []record.PolicyActor{{Actor: "alice", Keys: []string{key}}}
		}); err != nil {
			t.Fatal(err)
		}
		s.group(tx())
		s.vault.recent = newRecent(s.vault.recent.transactions())
		s.group(tx())
		s.close()
		if found := fmt.Sprint(checkAll(t, mem, true).Findings); !strings.Contains(found, what) {
			t.Errorf("%s: check finds %v", what, found)
		}
	}
}

// TestProveSigned proves signed transactions, narrow and wide, and shows that the
// proof is worth nothing for another key.
func TestProveSigned(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	signers := map[string]string{}
	var actors []record.PolicyActor
	keys := map[string]*proof.MessageSigner{}
	for _, typ := range []byte{proof.TypeEd25519, proof.TypeMLDSA44} {
		name := fmt.Sprint("actor-", typ)
		signer, key := actorKey(t, name, typ)
		keys[name], signers[name] = signer, key
		actors = append(actors, record.PolicyActor{Actor: name, Keys: []string{key}})
	}
	if _, err := s.setPolicy(func(p *record.Policy) { p.Actors = actors }); err != nil {
		t.Fatal(err)
	}
	ver, err := proof.NewVerifier(s.vault.VKeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	_, stranger := actorKey(t, "actor-1", proof.TypeMLDSA44)
	for name, signer := range keys {
		for what, tx := range map[string]*Tx{"narrow": put("n"+name, "1"), "wide": wide("w"+name, 8), "chunked": s.stage("c"+name, strings.Repeat("x", 300))} {
			r := s.group(signed(tx, name, signer))[0]
			file, err := s.vault.View().ProveSigned(r.Seq)
			if err != nil {
				t.Fatal(err)
			}
			res, err := ver.Verify(file)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, what, err)
			}
			if c := res.Claim().(proof.Signed); c.Seq != r.Seq || c.Actor != name || len(c.Lines) != tx.Len() || c.Key != record.KeyIDOf(signers[name]) {
				t.Errorf("%s, %s: proven %+v", name, what, c)
			}
			if err := errors.Join(res.CheckActor(signers[name]), res.CheckSubject(fmt.Sprint("signed:", r.Seq))); err != nil {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			for other, key := range signers {
				if err := res.CheckActor(key); other != name && !errors.Is(err, proof.ErrSignature) {
					t.Errorf("%s, %s: the key of %s gives %v", name, what, other, err)
				}
			}
			if err := res.CheckActor(stranger); !errors.Is(err, proof.ErrSignature) {
				t.Errorf("%s, %s: a stranger's key gives %v", name, what, err)
			}
		}
	}
	s.group(put("unsigned", "v"))
	if _, err := s.vault.View().ProveSigned(s.vault.View().Seq() - 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unsigned transaction gives %v", err)
	}
	s.close()
}

// TestRetryUnderAnotherSignature signs a retry anew: the request is the same.
func TestRetryUnderAnotherSignature(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	first, firstKey := actorKey(t, "a", proof.TypeEd25519)
	second, secondKey := actorKey(t, "b", proof.TypeEd25519)
	policy := func(keys ...string) {
		if _, err := s.setPolicy(func(p *record.Policy) {
			p.Actors = []record.PolicyActor{{Actor: "alice", Keys: keys}}
		}); err != nil {
			t.Fatal(err)
		}
	}
	policy(firstKey)
	tx := func(signer *proof.MessageSigner) *Tx {
		tx := signed(put("k", "v"), "alice", signer)
		tx.ID = "once"
		return tx
	}
	r := s.group(tx(first))[0]
	policy(secondKey)
	again := s.group(tx(second))[0]
	if !again.Replayed || again.Seq != r.Seq || !bytes.Equal(again.Checkpoint, r.Checkpoint) {
		t.Errorf("the retry gives %+v, the first gave %+v", again, r)
	}
	// Its key was taken away meanwhile: it is the request that was written all the same.
	again = s.group(tx(first))[0]
	if !again.Replayed || again.Seq != r.Seq {
		t.Errorf("a retry with the key that was taken away gives %+v", again)
	}
	other := tx(first)
	other.ID = "twice"
	if _, err := commitGroup(s.vault, other); !errors.Is(err, ErrDenied) {
		t.Errorf("a new request with the key that was taken away gives %v", err)
	}
	s.close()
}

// TestSignerKeepsItsBuffer lets a signer use one buffer for all signatures.
func TestSignerKeepsItsBuffer(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	alice, key := actorKey(t, "alice", proof.TypeEd25519)
	if _, err := s.setPolicy(func(p *record.Policy) {
		p.Actors = []record.PolicyActor{{Actor: "alice", Keys: []string{key}}}
	}); err != nil {
		t.Fatal(err)
	}
	var buffer [64]byte
	tx := func(k string) *Tx {
		tx := put(k, "v")
		tx.Actor, tx.Sign = "alice", func(vault record.VaultID, req record.ID) (record.Sig, error) {
			sig, err := alice.SignRequest(vault, req)
			copy(buffer[:], sig.Sig)
			return record.Sig{Key: sig.Key, Sig: buffer[:]}, err
		}
		return tx
	}
	s.group(tx("a"), tx("b"), tx("c"))
	s.close()
	if r := checkAll(t, mem, false); len(r.Findings) > 0 {
		t.Errorf("check finds %v", r.Findings)
	}
}
