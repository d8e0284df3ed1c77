package proof

import (
	"errors"
	"fmt"
	"testing"

	"graven/merkle"
)

func (v *vault) consistencyProof(old, size uint64) ConsistencyProof {
	v.t.Helper()
	path, err := merkle.ConsistencyProof(old, size, leafReader(v.leaves[:size]))
	if err != nil {
		v.t.Fatal(err)
	}
	return ConsistencyProof{Size: old, Root: merkle.RootOf(v.leaves[:old]), Path: path, Checkpoint: v.checkpointAt(size)}
}

func TestConsistency(t *testing.T) {
	v := sampleVault(t)
	ver := v.verifier()
	for size := uint64(1); size <= v.size(); size++ {
		for old := uint64(1); old <= size; old++ {
			res, err := ver.Verify(v.consistencyProof(old, size).Encode())
			if err != nil {
				t.Fatalf("%d in %d: %v", old, size, err)
			}
			want := Consistent{Size: old, Root: merkle.RootOf(v.leaves[:old])}
			if res.Claim() != want || res.Subject() != fmt.Sprint("size:", old) {
				t.Fatalf("%d in %d: %+v, subject %s", old, size, res.Claim(), res.Subject())
			}
			head := Checkpoint{Origin: v.origin, Size: old, Root: want.Root}
			if err := res.CheckOld(head); err != nil {
				t.Fatal(err)
			}
			head.Root[0] ^= 1
			if err := res.CheckOld(head); !errors.Is(err, ErrProof) {
				t.Fatalf("another history: %v", err)
			}
		}
	}
	res, err := ver.Verify(v.consistencyProof(9, v.size()).Encode())
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range []Checkpoint{{Origin: "other", Size: 9}, {Origin: v.origin, Size: 8}} {
		if err := res.CheckOld(old); !errors.Is(err, ErrOrigin) && !errors.Is(err, ErrSubject) {
			t.Errorf("%+v: %v", old, err)
		}
	}
	if other, err := ver.Verify(v.keyProof('k', "colours/03")); err != nil || !errors.Is(other.CheckOld(Checkpoint{}), ErrSubject) {
		t.Error("a key proof is of no consistency")
	}
	p := v.consistencyProof(9, v.size())
	p.Size = v.size() + 1
	if _, err := ver.Verify(p.Encode()); !errors.Is(err, ErrProof) {
		t.Errorf("a size beyond the checkpoint: %v", err)
	}
}

func TestConsistencyCannotLie(t *testing.T) {
	v := sampleVault(t)
	for _, old := range []uint64{1, 8, 13, v.size()} {
		cannotLie(t, v.verifier(), v.consistencyProof(old, v.size()).Encode(), func(res *Result) error {
			return fmt.Errorf("%+v", res.Claim()) // nothing else can be proven by a change
		})
	}
}
