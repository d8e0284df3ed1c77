package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"graven"
	"graven/local"
	"graven/proof"
)

// gravenPeer is a store with the vault "main", opened as an embedding program does.
type gravenPeer struct {
	store    *graven.Store
	vault    *graven.Vault
	verifier *proof.Verifier // the client: knows the log's key and nothing else
}

func openGraven(ctx context.Context, dir string, o graven.Options) (Peer, error) {
	store, err := local.Open(ctx, dir, o)
	if errors.Is(err, graven.ErrNoStore) {
		store, err = local.Create(ctx, dir, graven.CreateOptions{}, o)
	}
	if err != nil {
		return nil, err
	}
	p := &gravenPeer{store: store}
	if p.vault, err = store.Vault(ctx, "main"); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	if p.verifier, err = proof.NewVerifier(p.vault.VKeys()[0]); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return p, nil
}

func (p *gravenPeer) Commit(ctx context.Context, entries []Entry) error {
	tx := &graven.Tx{}
	for _, e := range entries {
		tx.Put(e.Key, graven.Bytes(e.Value), graven.PutOptions{})
	}
	_, err := p.vault.Commit(ctx, tx)
	return err
}

// WaitReadable has nothing to wait for: the view with a commit is published before
// the commit returns.
func (p *gravenPeer) WaitReadable(context.Context) error { return nil }

func (p *gravenPeer) Get(_ context.Context, key []byte) ([]byte, error) {
	return get(p.vault.View(), key)
}

func (p *gravenPeer) Find(_ context.Context, key []byte) error {
	_, err := p.vault.View().Get(key)
	if errors.Is(err, graven.ErrNotFound) {
		return errAbsent
	}
	return err
}

func get(view *graven.View, key []byte) ([]byte, error) {
	entry, err := view.Get(key)
	if errors.Is(err, graven.ErrNotFound) {
		return nil, errAbsent
	}
	if err != nil {
		return nil, err
	}
	value, err := view.Value(entry)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(int(value.Size()))
	_, err = value.WriteTo(&b)
	return b.Bytes(), err
}

// VerifiedGet makes the proof file of the key and verifies it from its bytes, with
// the signature of the checkpoint in it, as somebody else would.
func (p *gravenPeer) VerifiedGet(_ context.Context, key []byte) ([]byte, error) {
	view := p.vault.View()
	value, err := get(view, key)
	if err != nil {
		return nil, err
	}
	file, err := view.ProveKey(key)
	if err != nil {
		return nil, err
	}
	result, err := p.verifier.Verify(file)
	if err != nil {
		return nil, err
	}
	if present, ok := result.Claim().(proof.Present); !ok || !bytes.Equal(present.Key, key) {
		return nil, fmt.Errorf("key %x: the proof is about %q", key, result.Subject())
	}
	if err := result.CheckValue(bytes.NewReader(value)); err != nil {
		return nil, fmt.Errorf("key %x: %w", key, err)
	}
	return value, nil
}

func (p *gravenPeer) Refused() uint64 { return 0 }

func (p *gravenPeer) Close() error { return p.store.Close() }
