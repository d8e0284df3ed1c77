package graven

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"graven/proof"
	"graven/record"
)

// TestProveRanges proves lists and counts of a history at random positions, now
// and in the past, and holds what the verifier says against what the view lists.
func TestProveRanges(t *testing.T) {
	_, s := play(t, func(i int) int { return 1 + i%3 }, 5)
	defer s.close()
	ver, err := proof.NewVerifier(s.vault.VKeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	now := s.vault.View()
	rng := rand.New(rand.NewPCG(8, 8))
	words := []string{"", "k", "k1", "k12", "k19\x00", "n", "n1", "n99", "same for all", "wide", "wide3/", "wide3/4", "zz", "\xff"}
	word := func() []byte { return []byte(words[rng.IntN(len(words))]) }
	runs, entries := 400, 0
	if testing.Short() {
		runs = 80
	}
	for range runs {
		pos := 1 + rng.Uint64N(now.Size()-1)
		if rng.IntN(3) == 0 {
			pos = now.Size() - 1
		}
		at, err := now.At(pos)
		if err != nil {
			t.Fatal(err)
		}
		commit, next, err := at.commitAt()
		if err != nil {
			t.Fatal(err)
		}
		as, err := now.At(commit)
		if err != nil {
			t.Fatal(err)
		}
		q := Query{Prefix: word(), Reverse: rng.IntN(2) == 0, Limit: max(0, rng.IntN(12)-5), Compact: rng.IntN(3) == 0}
		if rng.IntN(2) == 0 {
			q.From, q.To = word(), word()
		}
		name := fmt.Sprintf("%+v at %d", q, pos)
		file, err := at.ProveList(q)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		res, err := ver.Verify(file)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, file)
		}
		got, ok := res.Claim().(proof.Listed)
		if c, has := res.Commit(); !ok || !has || c.Seq != commit || (got.Subject.At != 0) != (next != 0) {
			t.Fatalf("%s: %+v as of %+v, wanted commit %d", name, got.Subject, c, commit)
		}
		i := 0
		for e, err := range as.List(q) {
			if err != nil {
				t.Fatal(err)
			}
			if i == len(got.Entries) {
				t.Fatalf("%s: the proof lacks %q", name, e.Key)
			}
			p := got.Entries[i]
			if string(p.Key) != string(e.Key) || p.Value != e.Value || p.Size != e.Size || p.Seq != e.Seq || p.N != e.N {
				t.Fatalf("%s: entry %d is %+v, wanted %+v", name, i, p, e)
			}
			i, entries = i+1, entries+1
		}
		if i != len(got.Entries) {
			t.Fatalf("%s: %d entries, wanted %d", name, len(got.Entries), i)
		}
		q.Limit, q.Reverse, q.Compact = 0, false, false
		if file, err = at.ProveCount(q); err == nil {
			res, err = ver.Verify(file)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		live := uint64(0)
		for range as.List(q) {
			live++
		}
		if got := res.Claim().(proof.Counted).Live; got != live {
			t.Fatalf("%s: counted %d, wanted %d", name, got, live)
		}
	}
	if entries < 1000 && !testing.Short() {
		t.Errorf("only %d entries", entries)
	}
	genesis, err := now.At(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := genesis.ProveList(Query{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("before the first commit: %v", err)
	}
	for name, q := range map[string]Query{
		"limit": {Limit: -1}, "deleted": {Deleted: true}, "prefix": {Prefix: make([]byte, record.MaxKey+1)},
	} {
		if _, err := now.ProveList(q); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := now.ProveCount(Query{Limit: 1}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a count with a limit: %v", err)
	}
	if _, err := now.ProveCount(Query{Compact: true}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a compact count: %v", err)
	}
}
