package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"

	"graven/merkle"
	"graven/record"
	"graven/state"
)

// bigVault is a vault with many keys of 32 bytes and 2^21 records, of which only
// what a key proof shows is real: the ops of every probe-th key and the last
// commit. The other leaves of both trees are made-up hashes.
type bigVault struct {
	keys   Keys
	state  state.Map
	probes [][]byte
	ops    map[string][]byte
	path   []merkle.Hash
	commit []byte
	note   []byte
}

func newBigVault(t testing.TB, keys, probe int) *bigVault {
	t.Helper()
	const origin, size = "log.example.com/vaults/main", 1 << 21
	v := &bigVault{keys: testKeys(t, origin, "big"), ops: map[string][]byte{}}
	edit := v.state.Edit()
	for i := range keys {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
		key := []byte(hex.EncodeToString(sum[:16]))
		seq := uint64(size - 2 - i)
		leaf := state.Leaf{Key: append([]byte{'k'}, key...), Seq: seq, N: 4, Created: seq / 3, Live: true}
		leaf.Digest = merkle.Hash(sum)
		if i%probe == 0 {
			op := put('k', string(key), "value")
			op.Type, op.Size = "application/json", 123_456
			op.N, op.Prev, op.Skip = 4, seq/2, seq/2
			line, err := op.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			leaf.Digest = record.OpDigest(line)
			v.ops[string(key)] = line
			v.probes = append(v.probes, key)
		}
		if err := edit.Put(leaf); err != nil {
			t.Fatal(err)
		}
	}
	v.state = edit.Map()
	leaves := make([]merkle.Hash, size)
	for i := range leaves[:size-1] {
		binary.BigEndian.PutUint64(leaves[i][:], uint64(i))
	}
	prev := leaves[0]
	body := &record.Commit{Height: 1_234_567, Prev: &prev, Lines: record.IDOf(nil), Root: merkle.RootOf(leaves[:size-1]), State: v.state.Root()}
	var err error
	if v.commit, err = record.New(size-1, epoch, body).Append(nil); err != nil {
		t.Fatal(err)
	}
	leaves[size-1] = merkle.LeafHash(v.commit)
	v.path = path(size-1, leaves)
	v.note, err = mustSigner(t, v.keys.Log.SKey).SignCheckpoint(Checkpoint{Origin: origin, Size: size, Root: merkle.RootOf(leaves)})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *bigVault) proof(t testing.TB, key []byte) []byte {
	p := KeyProof{
		Space: 'k', Key: key, Op: v.ops[string(key)], State: v.state.Prove(append([]byte{'k'}, key...)),
		Commit: v.commit, Path: v.path, Checkpoint: v.note,
	}
	return encode(t, p)
}

// With a million keys of 32 bytes and 2^21 records, a point proof is at most 3,000
// bytes of text for 99 of 100 keys, and never much more: the deepest leaves of an
// AVL tree lie a few levels below the mean. Each further space with keys costs a
// line of 60 to 70 bytes. The test measures fewer keys and adds one step for each
// doubling that is missing.
func TestProofSize(t *testing.T) {
	const keys, doublings, goal = 1_000_000 >> 3, 3, 3000
	v := newBigVault(t, keys, 50)
	ver, err := NewVerifier(v.keys.Log.VKey)
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for i, key := range v.probes {
		file := v.proof(t, key)
		sizes = append(sizes, len(file))
		if i%100 == 0 {
			if res, err := ver.Verify(file); err != nil {
				t.Fatal(err)
			} else if _, ok := res.Claim().(Present); !ok {
				t.Fatalf("%+v", res.Claim())
			}
		}
	}
	slices.Sort(sizes)
	const step = 32 + 3 + 1 + 1 + 1 + 1 // hash, live, height, c, s, one byte of key
	more := (doublings*step*4 + 2) / 3
	at := func(percent int) int { return sizes[(len(sizes)-1)*percent/100] + more }
	t.Logf("%d keys, and %d bytes for %d more levels: half at most %d bytes, 99 of 100 at most %d, all at most %d", keys, more, doublings, at(50), at(99), at(100))
	if at(99) > goal || at(100) > goal+goal/20 {
		t.Errorf("99 of 100 proofs have up to %d bytes, wanted %d; all up to %d, wanted %d", at(99), goal, at(100), goal+goal/20)
	}
}
