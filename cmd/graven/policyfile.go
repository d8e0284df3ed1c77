package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"graven/proof"
)

// trust is what verify believes: a log by its key and maybe a cosigner, or a
// policy.
type trust struct {
	verifier *proof.Verifier
	policy   *proof.Policy // nil: --vkey was given
	cosigner []string      // verifier keys of --cosigner, none or one
	signer   string        // verifier key of --signer; empty: none
}

// trusted reads what --vkey and --cosigner or --policy name, and --signer.
func (a *app) trusted(ctx context.Context, o verifyOptions) (t trust, err error) {
	if o.signer != "" {
		if t.signer, err = a.readVKey(ctx, o.signer, proof.TypeEd25519, proof.TypeMLDSA44); err != nil {
			return t, err
		}
		if k, err := proof.ParseVKey(t.signer); err != nil {
			return t, usage("--signer: %w", err)
		} else if k.Type() != proof.TypeEd25519 && k.Type() != proof.TypeMLDSA44 {
			return t, usage("--signer %s: a key of type %d; wanted 1 (Ed25519) or 6 (ML-DSA-44)", k.KeyName(), k.Type())
		}
	}
	switch {
	case o.vkey == "" && o.policy == "":
		return t, usage("--vkey VKEY or --vkey @FILE is missing: the key that graven key prints, from whom you trust; or --policy FILE")
	case o.vkey != "" && o.policy != "":
		return t, usage("--vkey and --policy: wanted one of them")
	case o.policy != "" && o.cosigner != "":
		return t, usage("--cosigner goes with --vkey; a policy names its witnesses itself")
	case o.policy != "":
		if t.policy, err = a.readPolicy(ctx, o.policy); err != nil {
			return t, err
		}
		t.verifier = proof.NewPolicyVerifier(t.policy)
		return t, nil
	}
	vkey, err := a.readVKey(ctx, o.vkey, proof.TypeEd25519)
	if err != nil {
		return t, err
	}
	if o.cosigner != "" {
		cosigner, err := a.readVKey(ctx, o.cosigner, proof.TypeCosignEd25519, proof.TypeMLDSA44)
		if err != nil {
			return t, err
		}
		if k, err := proof.ParseVKey(cosigner); err != nil {
			return t, usage("--cosigner: %w", err)
		} else if k.Type() == proof.TypeEd25519 {
			return t, usage("--cosigner %s: it is a log's key; wanted a cosigner's, the second that graven key prints", k.KeyName())
		}
		t.cosigner = append(t.cosigner, cosigner)
	}
	if t.verifier, err = proof.NewVerifier(vkey, t.cosigner...); err != nil {
		return t, usage("verifier key: %w", err)
	}
	return t, nil
}

// readPolicy reads a tlog-policy file.
func (a *app) readPolicy(ctx context.Context, name string) (*proof.Policy, error) {
	f, err := openInput(ctx, name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, proof.MaxPolicy+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	p, err := proof.ParsePolicy(b)
	if err != nil {
		return nil, usage("%s: %w", name, err)
	}
	return p, nil
}

// cosignedItems says who cosigned, for JSON.
func (t trust) cosignedItems(r *proof.Result) []map[string]any {
	items := []map[string]any{}
	for _, c := range r.Cosigners() {
		item := map[string]any{"key": c.Key.String(), "time": cosignTime(c.Seconds)}
		if w, ok := t.witness(c.Key); ok {
			item["witness"], item["counts"] = w.Name, w.Counts
		}
		items = append(items, item)
	}
	return items
}

// sayCosigned says in words who cosigned.
func (t trust) sayCosigned(w io.Writer, r *proof.Result) {
	if t.policy == nil {
		for _, c := range r.Cosigners() {
			fmt.Fprintf(w, "The cosigner has signed the checkpoint too, at %s by its own clock.\n", cosignTime(c.Seconds))
		}
		return
	}
	if quorum, ok := t.policy.Quorum(); ok {
		fmt.Fprintf(w, "The quorum of the policy, %q, is met.\n", quorum)
	} else {
		fmt.Fprintln(w, "The policy asks for no witness.")
	}
	for _, c := range r.Cosigners() {
		witness, _ := t.witness(c.Key)
		beside := ""
		if !witness.Counts {
			beside = "; it is not in the quorum"
		}
		fmt.Fprintf(w, "Witness %q, key %s, has cosigned at %s by its own clock%s.\n", witness.Name, oneLine(c.Key.KeyName()), cosignTime(c.Seconds), beside)
	}
}

// witness finds the policy's witness with a key.
func (t trust) witness(k proof.VKey) (proof.PolicyWitness, bool) {
	if t.policy != nil {
		for _, w := range t.policy.Witnesses() {
			if w.Key.Name() == k.Name() && w.Key.ID() == k.ID() { // no two keys of a policy share both
				return w, true
			}
		}
	}
	return proof.PolicyWitness{}, false
}

// cosignTime writes the time of a cosignature. It may be any number of seconds, and
// RFC 3339 ends with the year 9999.
func cosignTime(seconds uint64) string {
	const end = 253_402_300_800
	if seconds >= end {
		return fmt.Sprintf("second %d", seconds)
	}
	return formatTime(time.Unix(int64(seconds), 0))
}
