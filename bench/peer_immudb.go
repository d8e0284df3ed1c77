package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/codenotary/immudb/embedded/logger"
	"github.com/codenotary/immudb/embedded/store"
)

// immudbPeer is immudb's embedded store with its default options, of which synced
// is one. Only its log output is turned off.
type immudbPeer struct {
	store   *store.ImmuStore
	txs     store.TxPool // holders for the transactions that proofs are made from
	refused atomic.Uint64

	// trusted is what a client remembers: the number and the digest of the newest
	// transaction it has seen. All proofs lead to it.
	trusted atomic.Pointer[trustedState]
}

type trustedState struct {
	tx  uint64
	alh [32]byte // immudb's accumulated hash of all transactions up to tx
}

// proofHolders bounds how many proofs are made at a time.
const proofHolders = 16

func openImmudb(dir string) (Peer, error) {
	quiet := logger.NewSimpleLoggerWithLevel("immudb", io.Discard, logger.LogError)
	s, err := store.Open(dir, store.DefaultOptions().WithLogger(quiet))
	if err != nil {
		return nil, err
	}
	txs, err := s.NewTxHolderPool(proofHolders, false)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &immudbPeer{store: s, txs: txs}, nil
}

// Commit waits for the sync, not for the index: AsyncCommit is asynchronous only in
// that. More than 30 transactions at a time are refused by default; a client has to
// come again, so this one does.
func (p *immudbPeer) Commit(ctx context.Context, entries []Entry) error {
	for {
		err := p.commitOnce(ctx, entries)
		if !errors.Is(err, store.ErrMaxConcurrencyLimitExceeded) && !errors.Is(err, store.ErrMaxActiveTransactionsLimitExceeded) {
			return err
		}
		p.refused.Add(1)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Microsecond): // short beside its 20 ms between syncs
		}
	}
}

func (p *immudbPeer) commitOnce(ctx context.Context, entries []Entry) error {
	tx, err := p.store.NewWriteOnlyTx(ctx)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := tx.Set(e.Key, nil, e.Value); err != nil {
			return err
		}
	}
	_, err = tx.AsyncCommit(ctx)
	return err
}

func (p *immudbPeer) WaitReadable(ctx context.Context) error {
	tx, alh := p.store.CommittedAlh()
	p.trusted.Store(&trustedState{tx, alh})
	return p.store.WaitForIndexingUpto(ctx, tx)
}

func (p *immudbPeer) Get(ctx context.Context, key []byte) ([]byte, error) {
	ref, err := p.store.Get(ctx, key)
	if errors.Is(err, store.ErrKeyNotFound) {
		return nil, errAbsent
	}
	if err != nil {
		return nil, err
	}
	return ref.Resolve()
}

func (p *immudbPeer) Find(ctx context.Context, key []byte) error {
	_, err := p.store.Get(ctx, key)
	if errors.Is(err, store.ErrKeyNotFound) {
		return errAbsent
	}
	return err
}

// VerifiedGet proves the entry in its transaction, and the transaction in the state
// that the client trusts. The proof stays in memory: unlike Graven's it is neither
// encoded nor parsed, and no signature is checked.
func (p *immudbPeer) VerifiedGet(ctx context.Context, key []byte) ([]byte, error) {
	ref, err := p.store.Get(ctx, key)
	if errors.Is(err, store.ErrKeyNotFound) {
		return nil, errAbsent
	}
	if err != nil {
		return nil, err
	}
	value, err := ref.Resolve()
	if err != nil {
		return nil, err
	}
	trusted := p.trusted.Load()
	if trusted == nil || trusted.tx < ref.Tx() {
		return nil, fmt.Errorf("key %x: transaction %d is newer than the trusted state", key, ref.Tx())
	}
	tx, err := p.txs.Alloc()
	if err != nil {
		return nil, err
	}
	defer p.txs.Release(tx)
	if err := p.store.ReadTx(ref.Tx(), false, tx); err != nil {
		return nil, err
	}
	entry := &store.EntrySpec{Key: key, Metadata: ref.KVMetadata(), Value: value}
	if err := p.prove(tx, entry, trusted); err != nil {
		return nil, fmt.Errorf("key %x: %w", key, err)
	}
	return value, nil
}

// prove makes both proofs of an entry of tx and checks them.
func (p *immudbPeer) prove(tx *store.Tx, entry *store.EntrySpec, trusted *trustedState) error {
	inTx, err := tx.Proof(entry.Key)
	if err != nil {
		return err
	}
	target, err := p.store.ReadTxHeader(trusted.tx, false, false)
	if err != nil {
		return err
	}
	inLog, err := p.store.DualProof(tx.Header(), target)
	if err != nil {
		return err
	}
	// From here on only what the client has counts: proofs, entry, trusted state.
	source := inLog.SourceTxHeader
	digest, err := store.EntrySpecDigestFor(source.Version)
	if err != nil {
		return err
	}
	if !store.VerifyInclusion(inTx, digest(entry), source.Eh) {
		return errors.New("the proof of the entry in its transaction does not hold")
	}
	if !store.VerifyDualProof(inLog, source.ID, trusted.tx, source.Alh(), trusted.alh) {
		return errors.New("the proof of the transaction in the trusted state does not hold")
	}
	return nil
}

func (p *immudbPeer) Refused() uint64 { return p.refused.Load() }

func (p *immudbPeer) Close() error { return p.store.Close() }
