package proof

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"graven/merkle"
	"graven/record"
	"graven/state"
)

// vault is a small honest log in memory, made with the real record, merkle and
// state packages, from which the tests cut their proofs.
type vault struct {
	t       testing.TB
	origin  string
	keys    Keys
	signer  *Signer
	lines   [][]byte
	leaves  []merkle.Hash
	state   state.Map
	ops     map[string][]version // by stored key
	states  map[uint64]state.Map // by seq of their commit
	commits uint64
	last    merkle.Hash // leaf hash of the last commit
	group   int         // records before this group
	same    uint64      // so many records in a row are of one time; 0: one
}

type version struct {
	seq  uint64
	line []byte
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

func newVault(t testing.TB, origin, material string) *vault {
	t.Helper()
	keys := testKeys(t, origin, material)
	v := &vault{t: t, origin: origin, keys: keys, signer: mustSigner(t, keys.Log.SKey), ops: map[string][]version{}, states: map[uint64]state.Map{}}
	g := record.DefaultGenesis()
	sum := sha256.Sum256([]byte(material))
	copy(g.Vault[:], sum[:])
	copy(g.Store[:], sum[16:])
	g.Name, g.Origin = "main", origin
	g.Authority, g.Policy = record.IDOf([]byte("authority")), record.IDOf([]byte("policy"))
	v.add(&g)
	return v
}

func (v *vault) clock(seq uint64) time.Time {
	return epoch.Add(time.Duration(seq-seq%max(1, v.same)) * time.Second)
}

// newestAt is the last record that is not after a time, read naively.
func (v *vault) newestAt(t time.Time) (at uint64) {
	for seq := range v.size() {
		if !v.clock(seq).After(t) {
			at = seq
		}
	}
	return at
}

// position is where a claim about the past stands; 0: now.
func (v *vault) position(at uint64, t time.Time) uint64 {
	if t.IsZero() {
		return at
	}
	return v.newestAt(t)
}

// around are the records around a time, and their seqs.
func (v *vault) around(t time.Time) (a Around, seqs []uint64) {
	if t.IsZero() {
		return a, nil
	}
	at := v.newestAt(t)
	return Around{Then: v.lines[at], After: v.lines[at+1]}, []uint64{at, at + 1}
}

// together is the multiproof of records, some of which may be named twice.
func (v *vault) together(seqs []uint64) []merkle.Hash {
	v.t.Helper()
	slices.Sort(seqs)
	path, err := merkle.MultiProof(slices.Compact(seqs), v.size(), leafReader(v.leaves))
	if err != nil {
		v.t.Fatal(err)
	}
	return path
}

// add appends a record and returns its seq.
func (v *vault) add(body record.Body) uint64 {
	v.t.Helper()
	seq := uint64(len(v.lines))
	line, err := record.New(seq, v.clock(seq), body).Append(nil)
	if err != nil {
		v.t.Fatal(err)
	}
	v.addLine(line)
	return seq
}

func (v *vault) addLine(line []byte) {
	v.lines = append(v.lines, line)
	v.leaves = append(v.leaves, merkle.LeafHash(line))
}

func put(space byte, key, value string) record.Op {
	return record.Op{Kind: record.OpPut, Space: space, Key: []byte(key), Value: record.IDOf([]byte(value)), Size: uint64(len(value)), Type: "text/plain"}
}

func del(space byte, key string) record.Op {
	return record.Op{Kind: record.OpDelete, Space: space, Key: []byte(key)}
}

// tx appends a transaction of puts and deletes.
func (v *vault) tx(ops ...record.Op) uint64 {
	v.t.Helper()
	seq := uint64(len(v.lines))
	edit := v.state.Edit()
	for i := range ops {
		op := &ops[i]
		stored := op.StoredKey()
		have := v.ops[string(stored)]
		op.N = uint64(len(have)) + 1
		created := seq
		if len(have) > 0 {
			op.Prev, created = have[len(have)-1].seq, have[0].seq
		}
		if j := record.J(op.N); j > 0 {
			op.Skip = have[j-1].seq
		}
		line, err := op.Append(nil)
		if err != nil {
			v.t.Fatal(err)
		}
		v.ops[string(stored)] = append(have, version{seq, line})
		err = edit.Put(state.Leaf{Key: stored, Digest: record.OpDigest(line), Seq: seq, N: op.N, Created: created, Live: op.Kind == record.OpPut})
		if err != nil {
			v.t.Fatal(err)
		}
	}
	v.state = edit.Map()
	return v.add(&record.Tx{Actor: "alice", Req: record.IDOf([]byte("request")), Ops: ops})
}

// commit ends the group.
func (v *vault) commit() {
	v.t.Helper()
	v.add(v.commitBody())
	v.endGroup()
}

func (v *vault) commitBody() *record.Commit {
	c := &record.Commit{Height: v.commits, Root: merkle.RootOf(v.leaves), State: v.state.Root()}
	if v.commits > 0 {
		prev := v.last
		c.Prev = &prev
	}
	var group []byte
	for _, line := range v.lines[v.group:] {
		group = append(append(group, line...), '\n')
	}
	c.Lines = record.IDOf(group)
	return c
}

func (v *vault) endGroup() {
	v.states[uint64(len(v.lines))-1] = v.state
	v.commits, v.group = v.commits+1, len(v.lines)
	v.last = v.leaves[len(v.leaves)-1]
}

func (v *vault) size() uint64 { return uint64(len(v.lines)) }

func (v *vault) checkpointAt(size uint64) []byte {
	v.t.Helper()
	note, err := v.signer.SignCheckpoint(Checkpoint{Origin: v.origin, Size: size, Root: merkle.RootOf(v.leaves[:size])})
	if err != nil {
		v.t.Fatal(err)
	}
	return note
}

// path is the textbook definition of RFC 6962 §2.1.1.
func path(index uint64, leaves []merkle.Hash) []merkle.Hash {
	n := uint64(len(leaves))
	if n <= 1 {
		return nil
	}
	k := uint64(1)
	for k*2 < n {
		k *= 2
	}
	if index < k {
		return append(path(index, leaves[:k]), merkle.RootOf(leaves[k:]))
	}
	return append(path(index-k, leaves[k:]), merkle.RootOf(leaves[:k]))
}

// recordProof proves a record under the checkpoint at size.
func (v *vault) recordProof(seq, size uint64) []byte {
	return EncodeRecordProof(v.lines[seq], seq, path(seq, v.leaves[:size]), v.checkpointAt(size))
}

// key returns the parts of a proof of the key under the newest checkpoint.
func (v *vault) key(space byte, key string) KeyProof {
	stored := append([]byte{space}, key...)
	p := KeyProof{
		Space: space, Key: []byte(key), State: sure(v.state.Prove(stored)),
		Commit:     v.lines[v.size()-1],
		Path:       path(v.size()-1, v.leaves),
		Checkpoint: v.checkpointAt(v.size()),
	}
	if have := v.ops[string(stored)]; len(have) > 0 {
		p.Op = have[len(have)-1].line
	}
	return p
}

func (v *vault) keyProof(space byte, key string) []byte {
	v.t.Helper()
	return encode(v.t, v.key(space, key))
}

func encode(t testing.TB, p KeyProof) []byte {
	t.Helper()
	out, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (v *vault) verifier() *Verifier {
	v.t.Helper()
	ver, err := NewVerifier(v.keys.Log.VKey)
	if err != nil {
		v.t.Fatal(err)
	}
	return ver
}

// sampleVault has keys in three spaces, updates, deletions and a re-creation.
func sampleVault(t testing.TB) *vault {
	t.Helper()
	return slowVault(t, 1)
}

// slowVault is the sample vault under a clock that is slower than its log: so many
// records in a row are of one time.
func slowVault(t testing.TB, same uint64) *vault {
	t.Helper()
	v := newVault(t, "example.com/log", "sample")
	v.same = same
	v.commit()
	for i := range 12 {
		v.tx(put('k', fmt.Sprintf("colours/%02d", i), fmt.Sprintf("value %d", i)))
		if i%5 == 4 {
			v.commit()
		}
	}
	v.tx(put('k', "colours/03", "second"), put('q', "row/1", "sql"), put(0, "system", ""), put('k', "\xff\x00", "binary"), put('k', "record:5", "trap"))
	v.tx(put('k', "colours/03", "third"))
	v.tx(del('k', "colours/07"), put('k', "colours/03", "fourth"))
	v.tx(del('k', "never there"))
	v.tx(put('k', "colours/03", "fifth"))
	v.commit()
	return v
}

func TestSampleVault(t *testing.T) {
	v := sampleVault(t)
	for i, line := range v.lines {
		rec, err := record.Parse(line)
		if err != nil || rec.Seq != uint64(i) {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	if last := v.lines[len(v.lines)-1]; !bytes.Contains(last, []byte(`"kind":"commit"`)) {
		t.Errorf("it ends with %s", last)
	}
}

// sure returns v: a state in memory has no errors.
func sure[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
