package proof

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"graven/record"
	"graven/state"
)

// TestLinksLeaveRoom: each version of a key has a record of its own, so links that
// leave no room for those between are no links. Every honest chain is let through.
func TestLinksLeaveRoom(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	refused := 0
	for range 2000 {
		n := 1 + rng.Uint64N(40)
		seqs := []uint64{0} // of version i
		for seq := 1 + rng.Uint64N(5); uint64(len(seqs)) <= n; seq += 1 + rng.Uint64N(3) {
			seqs = append(seqs, seq)
		}
		j := record.J(n)
		op := record.Op{Kind: record.OpDelete, Key: []byte("k"), N: n, Prev: seqs[n-1], Skip: seqs[j]}
		leaf := state.Leaf{Seq: seqs[n], N: n, Created: seqs[1]}
		if err := checkLinks(op, leaf); err != nil {
			t.Fatalf("honest: %+v of %+v: %v", op, leaf, err)
		}
		if n < 3 {
			continue
		}
		bad := []record.Op{op, op, op}
		bad[0].Prev = leaf.Created + n - 3 // no room for versions 2 to n-2
		bad[1].Prev = leaf.Seq
		bad[2].Prev = leaf.Created - 1
		if j > 1 {
			skip := op
			skip.Skip = leaf.Created + j - 2
			bad = append(bad, skip)
			skip.Skip = op.Prev - (n - 1 - j) + 1
			bad = append(bad, skip)
		}
		for _, b := range bad {
			if err := checkLinks(b, leaf); !errors.Is(err, ErrDamaged) {
				t.Errorf("version %d, j %d: %+v of %+v: %v", n, j, b, leaf, err)
			}
			refused++
		}
	}
	if refused < 4000 {
		t.Errorf("%d contradictions", refused)
	}
}

// A transaction of a version to come is no lie: a newer program is needed.
func TestTransactionOfTheFuture(t *testing.T) {
	v := newVault(t, "example.com/log", "sample")
	v.commit()
	v.addLine([]byte(strings.Replace(`{"v":2,"kind":"tx","seq":2,"time":"TIME","anything":1}`, "TIME", v.clock(2).Format("2006-01-02T15:04:05.000000000Z"), 1)))
	v.commit()
	op := OpProof{Evidence: Evidence{Record: v.lines[2]}, Path: path(2, v.leaves), Checkpoint: v.checkpointAt(v.size())}
	for name, file := range map[string][]byte{"op": op.Encode(2), "signed": v.signedProof(2, nil).Encode(2)} {
		if _, err := v.verifier().Verify(file); !errors.Is(err, ErrUnknownVersion) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
