package proof

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
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

// No bit and no line of a proof of consistency is free, with any sum.
func TestConsistencyCannotLie(t *testing.T) {
	v := sampleVault(t)
	ver := v.verifier()
	for _, old := range []uint64{1, 8, 13, v.size()} {
		file := v.consistencyProof(old, v.size()).Encode()
		try := func(what string, b []byte) {
			for _, b := range [][]byte{b, resum(b)} {
				if bytes.Equal(b, file) {
					continue
				}
				if res, err := ver.Verify(b); err == nil {
					t.Fatalf("%d, %s: accepted as %+v\n%s", old, what, res.Claim(), b)
				}
			}
		}
		for i := range file {
			for bit := range 8 {
				b := bytes.Clone(file)
				b[i] ^= 1 << bit
				try("a bit", b)
			}
			try("a byte less", slices.Delete(bytes.Clone(file), i, i+1))
		}
		lines := bytes.SplitAfter(file, []byte("\n"))
		for i := range lines[:len(lines)-1] {
			try("a line less", bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil))
			try("a line twice", bytes.Join(slices.Insert(slices.Clone(lines), i, lines[i]), nil))
		}
	}
}
