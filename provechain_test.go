package graven

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"graven/proof"
	"graven/record"
)

// TestProveChains proves every key of a history at every position, and its whole
// history, and holds what the verifier says against what the views say. Some
// versions were written by wide transactions.
func TestProveChains(t *testing.T) {
	_, s := play(t, func(i int) int { return 1 + i%3 }, 5)
	defer s.close()
	for i := range 3 {
		s.group(wide("wide3/", 7+i)) // more versions of keys of a wide transaction
	}
	ver, err := proof.NewVerifier(s.vault.VKeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	now := s.vault.View()
	step := uint64(7)
	if testing.Short() {
		step = 61
	}
	proofs, found := 0, 0
	for _, key := range []string{"k3", "k7", "same for all", "wide3/4", "wide14/0", "n33", "never"} {
		for pos := uint64(1); pos < now.Size()-1; pos += step {
			at, err := now.At(pos)
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("%s at %d", key, pos)
			file, err := at.ProveKey([]byte(key))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			res, err := ver.Verify(file)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, file)
			}
			proofs++
			got, ok := res.Claim().(proof.Past)
			if !ok || got.At != pos || string(got.Key) != key {
				t.Fatalf("%s: %+v", name, res.Claim())
			}
			want, err := at.Get([]byte(key))
			switch {
			case err == nil && got.Version.Live && got.Version.Seq == want.Seq && got.Version.N == want.N && got.Version.Value == want.Value:
				found++
			case errors.Is(err, ErrNotFound) && !got.Version.Live:
			default:
				t.Fatalf("%s: proven %+v, the view has %+v, %v", name, got.Version, want, err)
			}
		}
		file, err := now.ProveHistory([]byte(key))
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		res, err := ver.Verify(file)
		if err != nil {
			t.Fatalf("%s: %v\n%s", key, err, file)
		}
		versions := res.Claim().(proof.History).Versions
		i := 0
		for e, err := range now.History([]byte(key)) {
			if errors.Is(err, ErrNotFound) {
				break
			}
			if err != nil || i == len(versions) || versions[i].Seq != e.Seq || versions[i].N != e.N || versions[i].Live != e.Live || versions[i].Value != e.Value {
				t.Fatalf("%s: version %d: %+v, wanted %+v, %v", key, i, versions, e, err)
			}
			i++
		}
		if i != len(versions) {
			t.Errorf("%s: %d versions, wanted %d", key, len(versions), i)
		}
	}
	if found < proofs/4 {
		t.Errorf("only %d of %d proofs are of a value", found, proofs)
	}
	past, err := now.At(9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := past.ProveHistory([]byte("k3")); !errors.Is(err, ErrPast) {
		t.Errorf("a history in the past: %v", err)
	}
}

// TestProveOps proves every op of every transaction of a history, and changes the
// proofs.
func TestProveOps(t *testing.T) {
	_, s := play(t, func(i int) int { return 1 + i%3 }, 5)
	defer s.close()
	ver, err := proof.NewVerifier(s.vault.VKeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	w := s.vault.View()
	inline, wide := 0, 0
	for seq := range w.Size() {
		ops, err := w.Ops(seq)
		if errors.Is(err, ErrNotFound) {
			continue // no transaction
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range ops {
			file, err := w.ProveOp(seq, uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			res, err := ver.Verify(file)
			if err != nil {
				t.Fatalf("record %d op %d: %v\n%s", seq, i, err, file)
			}
			got, ok := res.Claim().(proof.OpProven)
			if !ok || got.Seq != seq || got.Number != uint64(i) || got.Op.Value != ops[i].Value || string(got.Op.Key) != string(ops[i].Key) {
				t.Fatalf("record %d op %d: %+v", seq, i, res.Claim())
			}
			if got.Record.Body.(*record.Tx).Wide == nil {
				inline++
			} else {
				wide++
			}
			if seq%29 != 0 || i > 1 {
				continue
			}
			for at := range file {
				changed := bytes.Clone(file)
				changed[at] ^= 1 << (at % 8)
				if _, err := ver.Verify(changed); err == nil {
					t.Fatalf("record %d op %d: byte %d is free", seq, i, at)
				}
			}
		}
		if _, err := w.ProveOp(seq, uint64(len(ops))); !errors.Is(err, ErrNotFound) {
			t.Errorf("record %d has no op %d: %v", seq, len(ops), err)
		}
	}
	if inline < 50 || wide < 50 {
		t.Errorf("only %d inline and %d wide ops", inline, wide)
	}
	if _, err := w.ProveOp(0, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("genesis has no ops: %v", err)
	}
}
