package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"math"
	"slices"
	"testing"

	"graven/merkle"
	"graven/record"
	"graven/state"
)

// keysFlag is how many keys the vaults of TestProofSize have. A million takes a
// while; with fewer, the test adds what the levels that are missing would take.
var keysFlag = flag.Int("keys", million>>3, "keys to measure the size of proofs with")

const million = 1_000_000

// shape is what decides, beside the number of keys, how long a key proof is.
type shape struct {
	name    string
	records uint64
	perTx   uint64 // keys that one record writes
	n       uint64 // version of each key
}

var (
	// A long history: 2^21 records, the most siblings that so many can need, and
	// the fourth version of each key.
	longLog = shape{"2^21 records", 1 << 21, 1, 4}
	// A bulk load: each key was written once, with a thousand others by a
	// transaction that is a group of its own, so that every other record is a
	// commit.
	bulkLoad = shape{"2,000 records, bulk load", 2000, 1002, 1}
)

// op returns the op that wrote key i, and its record.
func (s shape) op(i int, key []byte) (op record.Op, seq, created uint64) {
	op = put('k', string(key), "value of "+string(key))
	op.Type, op.Size, op.N = "application/json", 123_456, s.n
	if s.n == 1 {
		seq = s.records - 2 - 2*(uint64(i)/s.perTx)
		return op, seq, seq
	}
	seq = s.records - 2 - uint64(i)/s.perTx
	op.Prev, op.Skip = seq/2, seq/2
	return op, seq, seq / 3
}

// bigVault is a vault with many keys of 32 bytes, of which only what a key proof
// shows is real: the ops of every probe-th key and the last commit. The other
// leaves of both trees are made-up hashes.
type bigVault struct {
	keys   Keys
	state  state.Map
	probes [][]byte
	ops    map[string][]byte
	path   []merkle.Hash
	commit []byte
	note   []byte
}

func newBigVault(t testing.TB, s shape, keys, probe int) *bigVault {
	t.Helper()
	const origin = "log.example.com/vaults/main"
	v := &bigVault{keys: testKeys(t, origin, "big"), ops: map[string][]byte{}}
	edit := v.state.Edit()
	for i := range keys {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
		key := []byte(hex.EncodeToString(sum[:16]))
		op, seq, created := s.op(i, key)
		leaf := state.Leaf{Key: append([]byte{'k'}, key...), Seq: seq, N: s.n, Created: created, Live: true}
		leaf.Digest = merkle.Hash(sum)
		if i%probe == 0 {
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
	leaves := make([]merkle.Hash, s.records)
	last := s.records - 1
	for i := range leaves[:last] {
		binary.BigEndian.PutUint64(leaves[i][:], uint64(i))
	}
	prev := leaves[0]
	body := &record.Commit{Height: last / 2, Prev: &prev, Lines: record.IDOf(nil), Root: merkle.RootOf(leaves[:last]), State: v.state.Root()}
	var err error
	if v.commit, err = record.New(last, epoch, body).Append(nil); err != nil {
		t.Fatal(err)
	}
	leaves[last] = merkle.LeafHash(v.commit)
	v.path = path(last, leaves)
	v.note, err = mustSigner(t, v.keys.Log.SKey).SignCheckpoint(Checkpoint{Origin: origin, Size: s.records, Root: merkle.RootOf(leaves)})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *bigVault) proof(t testing.TB, key []byte) []byte {
	p := KeyProof{
		Space: 'k', Key: key, Op: v.ops[string(key)], State: sure(v.state.Prove(append([]byte{'k'}, key...))),
		Commit: v.commit, Path: v.path, Checkpoint: v.note,
	}
	return encode(t, p)
}

// How long the proof of a present key is, with a million keys of 32 bytes. Measured
// with -keys 1000000, in bytes of text:
//
//	                            half    99 of 100   all
//	2^21 records                2,860   3,010       3,062
//	2,000 records, bulk load    2,298   2,446       2,494
//
// The deepest leaves of an AVL tree lie a few levels below the mean, each level
// about 50 bytes. Each further space with keys costs a line of 60 to 70 bytes, each
// sibling in the log 45: 2^21 records need 21, the most that so many can need, 2,000
// need 9. Fewer keys are measured by default, and the levels that are missing are
// added, which is up to one level too little for the longest.
func TestProofSize(t *testing.T) {
	for _, tc := range []struct {
		shape
		most, longest int // of 99 of 100 proofs, and of all
	}{
		{longLog, 3050, 3150},
		{bulkLoad, 2500, 2600},
	} {
		t.Run(tc.name, func(t *testing.T) { testProofSize(t, tc.shape, tc.most, tc.longest) })
	}
}

func testProofSize(t *testing.T, s shape, most, longest int) {
	keys := *keysFlag
	if keys < 1000 || keys > million {
		t.Fatalf("-keys %d, wanted 1,000 to %d", keys, million)
	}
	v := newBigVault(t, s, keys, max(keys/2500, 1))
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
	levels := math.Log2(float64(million) / float64(keys))
	more := int(math.Ceil(levels * step * 4 / 3))
	at := func(percent int) int { return sizes[(len(sizes)-1)*percent/100] + more }
	t.Logf("%d proofs of %d keys, and %d bytes for %.1f more levels: half at most %d bytes, 99 of 100 at most %d, all at most %d",
		len(sizes), keys, more, levels, at(50), at(99), at(100))
	if at(99) > most || at(100) > longest {
		t.Errorf("99 of 100 proofs have up to %d bytes, wanted %d; all up to %d, wanted %d", at(99), most, at(100), longest)
	}
}
