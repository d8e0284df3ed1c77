package graven

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"graven/internal/fsx"
	"graven/proof"
	"graven/record"
)

// The tests of this package drive vaults by a script: a clock that ticks once
// per look, randomness from a seed, groups with the borders that the test
// wants, and no goroutine that does anything by itself.

// small are limits at which a short script meets every mechanism.
func small(g *record.Genesis) {
	g.RunRecords, g.RunOps = 3, 12
	g.BlockBytes, g.FileRecords, g.FileBytes = 900, 40, 1<<20
	g.OpLines, g.ValueLimit, g.ChunkSize = 400, 64, 100
}

func scriptHost(d fsx.Disk, seed byte) Host {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return Host{
		Disk:  d,
		Now:   func() time.Time { now = now.Add(time.Millisecond); return now },
		Rand:  rand.NewChaCha8([32]byte{seed}),
		Owner: "a script",
	}
}

func scriptOptions() Options {
	return Options{walBytes: 4096, scripted: true, Queue: 16, stateBytes: 4096, closePuts: 1}
}

// script is a store with one open vault.
type script struct {
	t     testing.TB
	host  Host
	store *Store
	vault *Vault
}

func newScript(t testing.TB, d fsx.Disk, genesis func(*record.Genesis)) *script {
	t.Helper()
	s := &script{t: t, host: scriptHost(d, 1)}
	var err error
	if s.store, err = Create(context.Background(), s.host, CreateOptions{genesis: genesis}, scriptOptions()); err != nil {
		t.Fatal(err)
	}
	s.vault = s.main()
	return s
}

func (s *script) main() *Vault {
	s.t.Helper()
	v, err := s.store.Vault(context.Background(), "main")
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *script) close() {
	s.t.Helper()
	if err := s.store.Close(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *script) reopen() {
	s.t.Helper()
	var err error
	if s.store, err = Open(context.Background(), s.host, scriptOptions()); err != nil {
		s.t.Fatal(err)
	}
	s.vault = s.main()
}

// group commits transactions as one group and returns their receipts.
func (s *script) group(txs ...*Tx) []*Receipt {
	s.t.Helper()
	receipts, err := commitGroup(s.vault, txs...)
	if err != nil {
		s.t.Fatal(err)
	}
	return receipts
}

// commitGroup is the commit loop for one group, in the caller's goroutine. The
// error is the first of any transaction.
func commitGroup(v *Vault, txs ...*Tx) ([]*Receipt, error) {
	if err := v.writable(); err != nil {
		return nil, err
	}
	requests := make([]*request, len(txs))
	for i, tx := range txs {
		r, err := v.encode(tx)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(v.heal(r), r.takeContents()); err != nil {
			return nil, err
		}
		requests[i] = r
	}
	return groupOf(v, requests...)
}

// groupOf is commitGroup of requests.
func groupOf(v *Vault, requests ...*request) ([]*Receipt, error) {
	g := v.newGroup()
	for _, r := range requests {
		v.take(g, r)
	}
	result := make(chan error, 1)
	if v.dispatch(g, result) {
		v.persisted(g, nil, <-result)
	}
	var receipts []*Receipt
	var errs []error
	for _, r := range requests {
		d := <-r.done
		receipts = append(receipts, d.receipt)
		errs = append(errs, d.err)
	}
	return receipts, errors.Join(errs...)
}

// setPolicy puts a changed policy into force, in a group of its own.
func (s *script) setPolicy(change func(*record.Policy)) (*Receipt, error) {
	s.t.Helper()
	doc, number := s.vault.Policy()
	change(&doc)
	r, err := s.vault.encodePolicy(doc, number)
	if err != nil {
		return nil, err
	}
	receipts, err := groupOf(s.vault, r)
	return receipts[0], err
}

// actorKey is a key pair for an actor, always the same for a name and type.
func actorKey(t testing.TB, name string, typ byte) (*proof.MessageSigner, string) {
	t.Helper()
	pair, err := proof.GenerateKey(name, typ, rand.NewChaCha8([32]byte([]byte(name + strings.Repeat(".", 32))[:32])))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := proof.NewMessageSigner(pair.SKey)
	if err != nil {
		t.Fatal(err)
	}
	return signer, pair.VKey
}

// signed makes an actor sign a transaction.
func signed(tx *Tx, actor string, signer *proof.MessageSigner) *Tx {
	tx.Actor, tx.Sign = actor, signer.SignRequest
	return tx
}

func put(pairs ...string) *Tx {
	tx := &Tx{Actor: "script"}
	for i := 0; i < len(pairs); i += 2 {
		tx.Put([]byte(pairs[i]), Bytes([]byte(pairs[i+1])), PutOptions{})
	}
	return tx
}

func del(key string) *Tx {
	tx := &Tx{Actor: "script"}
	tx.Delete([]byte(key), DeleteOptions{})
	return tx
}

// stage makes a transaction with a chunked value.
func (s *script) stage(key, value string) *Tx {
	s.t.Helper()
	c, err := s.vault.Stage(context.Background(), strings.NewReader(value))
	if err != nil {
		s.t.Fatal(err)
	}
	if c.upload == nil {
		s.t.Fatalf("a value of %d bytes was not chunked", len(value))
	}
	tx := &Tx{Actor: "script"}
	tx.Put([]byte(key), c, PutOptions{})
	return tx
}

// wide makes a transaction whose op lines go to an artifact.
func wide(prefix string, n int) *Tx {
	tx := &Tx{Actor: "script"}
	for i := range n {
		tx.Put(fmt.Appendf(nil, "%s%d", prefix, i), Bytes(fmt.Appendf(nil, "value %d of %s", i, prefix)), PutOptions{})
	}
	return tx
}
