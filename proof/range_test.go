package proof

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"graven/merkle"
	"graven/record"
	"graven/state"
)

// leafReader reads the nodes of a tree from its leaves.
type leafReader []merkle.Hash

func (r leafReader) ReadHashes(ids []merkle.NodeID) ([]merkle.Hash, error) {
	hashes := make([]merkle.Hash, len(ids))
	for i, id := range ids {
		hashes[i] = merkle.RootOf(r[id.Index<<id.Level : (id.Index+1)<<id.Level])
	}
	return hashes, nil
}

// commitsAround are the seqs of the last commit at or before a position and of
// the one after it; 0 if there is none.
func (v *vault) commitsAround(at uint64) (commit, next uint64) {
	for seq := range v.size() {
		if _, ok := v.states[seq]; ok && seq <= at {
			commit = seq
		} else if ok {
			return commit, seq
		}
	}
	return commit, 0
}

// version at a commit, nil if there is none yet.
func (v *vault) versionAt(key string, commit uint64) *version {
	var found *version
	for i := range v.ops[key] {
		if v.ops[key][i].seq < commit {
			found = &v.ops[key][i]
		}
	}
	return found
}

// listed are the live keys of a subject, read naively, in its direction.
func (v *vault) listed(s record.RangeSubject) (all []Present, more bool) {
	commit := v.size() - 1
	if at := v.position(s.At, s.Time); at > 0 {
		commit, _ = v.commitsAround(at)
	}
	var keys []string
	for key := range v.ops {
		k := key[1:]
		if key[0] == s.Space && strings.HasPrefix(k, string(s.Prefix)) && k >= string(s.From) && (s.To == nil || k < string(s.To)) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if s.Reverse {
		slices.Reverse(keys)
	}
	for _, key := range keys {
		ver := v.versionAt(key, commit)
		if ver == nil {
			continue
		}
		op, err := record.ParseOp(ver.line)
		if err != nil {
			v.t.Fatal(err)
		}
		if op.Kind != record.OpPut {
			continue
		}
		all = append(all, Present{
			Space: key[0], Key: []byte(key[1:]), Value: op.Value, Size: op.Size, Type: op.Type,
			Seq: ver.seq, N: op.N, Created: v.ops[key][0].seq, Op: ver.line,
		})
		if s.Limit > 0 && uint64(len(all)) == s.Limit {
			return all, true
		}
	}
	return all, false
}

// rangeProof makes the proof of a list or a count.
func (v *vault) rangeProof(s record.RangeSubject, counting bool) RangeProof {
	v.t.Helper()
	at := v.position(s.At, s.Time)
	commit, next := v.commitsAround(at)
	if at == 0 {
		commit, next = v.size()-1, 0
	}
	p := RangeProof{Subject: s, Counting: counting, Commit: v.lines[commit], Checkpoint: v.checkpointAt(v.size())}
	around, seqs := v.around(s.Time)
	p.Around, seqs = around, append(seqs, commit)
	if next > 0 {
		p.Next, seqs = v.lines[next], append(seqs, next)
	}
	p.Path = v.together(seqs)
	var first, last []byte
	if !counting {
		entries, _ := v.listed(s)
		if s.Reverse {
			slices.Reverse(entries)
		}
		for _, e := range entries {
			p.Ops = append(p.Ops, e.Op)
		}
		if n := len(entries); n > 0 {
			first, last = append([]byte{s.Space}, entries[0].Key...), append([]byte{s.Space}, entries[n-1].Key...)
		}
	}
	p.State = sure(v.states[commit].ProveRange(Covered(s, uint64(len(p.Ops)), first, last), p.aim()))
	return p
}

// tellsTruth compares what a result claims about a range with a naive reading.
func tellsTruth(v *vault, res *Result) error {
	switch c := res.Claim().(type) {
	case Listed:
		want, more := v.listed(c.Subject)
		if at := v.position(c.Subject.At, c.Subject.Time); c.At != at {
			return fmt.Errorf("%s: at %d, wanted %d", res.Subject(), c.At, at)
		}
		if c.More != more || len(want) != len(c.Entries) || len(want) > 0 && !reflect.DeepEqual(c.Entries, want) {
			return fmt.Errorf("%s: got %d entries %+v, wanted %d %+v", res.Subject(), len(c.Entries), c.Entries, len(want), want)
		}
	case Counted:
		if want, _ := v.listed(c.Subject); uint64(len(want)) != c.Live || c.At != v.position(c.Subject.At, c.Subject.Time) {
			return fmt.Errorf("%s: got %+v, wanted %d", res.Subject(), c, len(want))
		}
	default:
		return fmt.Errorf("%T", c)
	}
	return nil
}

// rangeVault is the sample vault, a little larger.
func rangeVault(t testing.TB) *vault { return slowRangeVault(t, 1) }

// slowRangeVault is that under the clock of slowVault.
func slowRangeVault(t testing.TB, same uint64) *vault {
	v := slowVault(t, same)
	v.tx(put('k', "a", "1"), put('k', "a\x00", "2"), put('k', "a\xff", "3"), put('k', "käse", "4"), put('k', "kämme", "5"))
	v.commit()
	v.tx(del('k', "a"), put('q', "row/2", "sql"), del('k', "colours/01"))
	v.commit()
	v.tx(put('k', "a", "again"))
	v.commit()
	return v
}

func randomSubject(rng *rand.Rand, size uint64) (s record.RangeSubject, counting bool) {
	s.Space = "kkkkq\x00z"[rng.IntN(7)]
	words := []string{"", "", "a", "a\x00", "a\xff", "colours/", "colours/0", "colours/03", "colours/05\x00", "k", "kä", "\xff", "zz", "row/"}
	word := func() []byte {
		if w := words[rng.IntN(len(words))]; w != "" {
			return []byte(w)
		}
		return nil
	}
	s.Prefix, s.From, s.To = word(), word(), word()
	if rng.IntN(2) == 0 {
		s.From, s.To = nil, nil
	}
	switch rng.IntN(6) {
	case 0, 1:
		s.At = 1 + rng.Uint64N(size-2)
	case 2, 3: // at a record's time, a moment before the next, and between
		second := time.Duration(1 + rng.Uint64N(size-5))
		s.Time = epoch.Add(second*time.Second + []time.Duration{0, 1, time.Second / 2, time.Second - 1}[rng.IntN(4)])
	}
	if counting = rng.IntN(3) == 0; !counting {
		s.Reverse = rng.IntN(2) == 0
		s.Limit = uint64(max(0, rng.IntN(8)-3))
		s.Compact = rng.IntN(3) == 0
	}
	return s, counting
}

func TestRangeProofs(t *testing.T) {
	vaults := []*vault{rangeVault(t), slowRangeVault(t, 2), slowRangeVault(t, 3)}
	rng := rand.New(rand.NewPCG(6, 6))
	entries, past, timed, compact := 0, 0, 0, 0
	for i := range 6000 {
		v := vaults[i%len(vaults)]
		ver := v.verifier()
		s, counting := randomSubject(rng, v.size())
		file, err := v.rangeProof(s, counting).Encode()
		if err != nil {
			t.Fatalf("%s: %v", s.Format(), err)
		}
		res, err := ver.Verify(file)
		if err == nil {
			err = tellsTruth(v, res)
		}
		if err != nil {
			t.Fatalf("%s, counting %v: %v\n%s", s.Format(), counting, err, file)
		}
		if c, ok := res.Claim().(Listed); ok {
			entries += len(c.Entries)
		}
		if at := v.position(s.At, s.Time); at > 0 {
			past++
			if c, ok := res.Commit(); !ok || c.Seq > at {
				t.Fatalf("%s: as of %+v", s.Format(), c)
			}
		}
		if !s.Time.IsZero() {
			timed++
		}
		if s.Compact {
			compact++
		}
		if again, err := record.ParseRangeSubject(s.Format()); err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%s is read as %+v, %v", s.Format(), again, err)
		}
	}
	if entries < 2000 || past < 1000 || timed < 1000 || compact < 1000 {
		t.Errorf("only %d entries, %d proofs about the past, %d about a time, %d compact ones", entries, past, timed, compact)
	}
}

// rangeSamples are proofs to attack.
func rangeSamples(t testing.TB, v *vault) map[string][]byte {
	files := map[string][]byte{}
	for name, it := range map[string]struct {
		s        record.RangeSubject
		counting bool
	}{
		"a prefix":          {record.RangeSubject{Space: 'k', Prefix: []byte("colours/0")}, false},
		"a range":           {record.RangeSubject{Space: 'k', From: []byte("a\x00"), To: []byte("colours/03")}, false},
		"first three":       {record.RangeSubject{Space: 'k', Limit: 3}, false},
		"last two":          {record.RangeSubject{Space: 'k', Prefix: []byte("colours/"), Limit: 2, Reverse: true}, false},
		"the past":          {record.RangeSubject{Space: 'k', Prefix: []byte("colours/"), At: 9}, false},
		"nothing":           {record.RangeSubject{Space: 'k', Prefix: []byte("none/")}, false},
		"a space of two":    {record.RangeSubject{Space: 'q'}, false},
		"no such space":     {record.RangeSubject{Space: 'z'}, false},
		"a count":           {record.RangeSubject{Space: 'k', Prefix: []byte("colours/")}, true},
		"a count of all":    {record.RangeSubject{Space: 'k'}, true},
		"a count, the past": {record.RangeSubject{Space: 'k', From: []byte("colours/02"), At: 9}, true},

		"compact":                  {record.RangeSubject{Space: 'k', Prefix: []byte("colours/"), Compact: true}, false},
		"compact, last two":        {record.RangeSubject{Space: 'k', Limit: 2, Reverse: true, Compact: true}, false},
		"a time":                   {record.RangeSubject{Space: 'k', Prefix: []byte("colours/"), Time: epoch.Add(9*time.Second + time.Second/3)}, false},
		"a time, at a commit":      {record.RangeSubject{Space: 'q', Time: v.clock(v.size() - 3)}, false},
		"a time, before a commit":  {record.RangeSubject{Space: 'q', Time: v.clock(v.size() - 1).Add(-1)}, false},
		"a time, compact, limited": {record.RangeSubject{Space: 'k', Limit: 3, Compact: true, Time: v.clock(v.size() - 2)}, false},
		"a count, a time":          {record.RangeSubject{Space: 'k', From: []byte("colours/02"), Time: v.clock(9)}, true},
	} {
		file, err := v.rangeProof(it.s, it.counting).Encode()
		if err != nil {
			t.Fatal(err)
		}
		files[name] = file
	}
	return files
}

// TestRangeProofsCannotLie changes every bit and every line of proofs of ranges,
// with the sum as it was and made right again. With the old sum nothing passes;
// with a new one what passes is true, and about another subject.
func TestRangeProofsCannotLie(t *testing.T) {
	v := rangeVault(t)
	ver := v.verifier()
	for name, file := range rangeSamples(t, v) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cannotLie(t, ver, file, func(res *Result) error { return tellsTruth(v, res) })
		})
	}
}

// TestRangeProofsOfAnotherTime mixes parts of proofs of different moments and
// vaults.
func TestRangeProofsOfAnotherTime(t *testing.T) {
	v := rangeVault(t)
	ver := v.verifier()
	s := record.RangeSubject{Space: 'k', Prefix: []byte("colours/")}
	old := v.rangeProof(s, false)
	oldSize := v.size()
	v.tx(put('k', "colours/new", "1"))
	v.commit()
	refused := func(what string, p RangeProof, want error) {
		t.Helper()
		file, err := p.Encode()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if _, err := ver.Verify(file); !errors.Is(err, want) {
			t.Errorf("%s: got %v, wanted %v", what, err, want)
		}
	}
	p := old
	p.Checkpoint = v.checkpointAt(v.size())
	refused("an old commit under a fresh checkpoint", p, ErrProof)
	p.Path, _ = merkle.MultiProof([]uint64{oldSize - 1}, v.size(), leafReader(v.leaves))
	refused("an old commit where it stands", p, ErrProof)
	p.Next, p.Path = v.lines[v.size()-1], v.rangeProof(record.RangeSubject{Space: 'k', At: oldSize - 1}, false).Path
	refused("the past as now", p, ErrProof)
	p.Subject.At = v.size() - 1
	refused("the past beyond its end", p, ErrProof)
	p.Subject.At = oldSize - 1
	if file, err := p.Encode(); err != nil {
		t.Error(err)
	} else if _, err := ver.Verify(file); err != nil {
		t.Errorf("the past as what it is: %v", err)
	}
	// A commit left out: the state before it would pass for that of a later time.
	skip := v.rangeProof(record.RangeSubject{Space: 'k', Prefix: []byte("colours/"), At: 9}, false)
	c, _ := v.commitsAround(9)
	skip.Next = v.lines[v.size()-1]
	skip.Subject.At = v.size() - 2
	skip.Path, _ = merkle.MultiProof([]uint64{c, v.size() - 1}, v.size(), leafReader(v.leaves))
	refused("commits between the two", skip, ErrProof)
	other := newVault(t, "example.com/other", "other")
	other.commit()
	if file, err := other.rangeProof(s, false).Encode(); err != nil {
		t.Error(err)
	} else if _, err := ver.Verify(file); !errors.Is(err, ErrOrigin) {
		t.Errorf("another vault's: %v", err)
	}
}

// TestListSize: a list of 100 keys among a million proves complete in at most
// 20,000 bytes of text. With fewer keys (-keys) what the missing levels would
// take at both ends is added.
func TestListSize(t *testing.T) {
	keys := *keysFlag
	v := newBigVault(t, bulkLoad, keys, 1)
	ver, err := NewVerifier(v.keys.Log.VKey)
	if err != nil {
		t.Fatal(err)
	}
	sorted := slices.Clone(v.probes)
	slices.SortFunc(sorted, bytes.Compare)
	longest := 0
	for i := range 50 {
		start := i * (len(sorted) - 101) / 49
		s := record.RangeSubject{Space: 'k', From: sorted[start], Limit: 100}
		p := RangeProof{Subject: s, Commit: v.commit, Path: v.path, Checkpoint: v.note}
		for _, key := range sorted[start : start+100] {
			p.Ops = append(p.Ops, v.ops[string(key)])
		}
		last := append([]byte{'k'}, sorted[start+99]...)
		p.State = sure(v.state.ProveRange(Covered(s, 100, nil, last), state.All))
		file, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		longest = max(longest, len(file))
		res, err := ver.Verify(file)
		if err != nil {
			t.Fatal(err)
		}
		if c := res.Claim().(Listed); len(c.Entries) != 100 || !c.More {
			t.Fatalf("%d entries", len(c.Entries))
		}
	}
	missing := 0
	for n := keys; n < million; n *= 2 {
		missing++
	}
	longest += missing * 2 * 40 * 4 / 3
	t.Logf("longest of 50 proofs of 100 keys among %d, with %d levels added: %d bytes", keys, missing, longest)
	if longest > 20_000 {
		t.Errorf("%d bytes, wanted at most 20,000", longest)
	}
}

func FuzzRangeSubject(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 50 {
		s, _ := randomSubject(rng, 30)
		f.Add(s.Format())
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := record.ParseRangeSubject(text); err == nil && s.Format() != text {
			t.Fatalf("%q is spelled %q", text, s.Format())
		}
	})
}

// FuzzClaims verifies files of every newer claim; what passes is true.
func FuzzClaims(f *testing.F) {
	v := rangeVault(f)
	ver := v.verifier()
	files := rangeSamples(f, v)
	for at, name := range map[uint64]string{0: "history", 15: "past"} {
		files[name] = mustEncode(f, v.chainProof('k', "colours/03", at))
	}
	files["past, a time"] = mustEncode(f, v.chainProofAt('k', "colours/03", 0, v.clock(15).Add(time.Second/2)))
	files["consistency"] = v.consistencyProof(9, v.size()).Encode()
	seq := v.ops["kcolours/03"][1].seq
	files["op"] = OpProof{Number: 1, Evidence: Evidence{Record: v.lines[seq]}, Path: path(seq, v.leaves), Checkpoint: v.checkpointAt(v.size())}.Encode(seq)
	for _, file := range files {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, b := range [][]byte{file, resum(file)} {
			res, err := ver.Verify(b)
			if err != nil {
				continue
			}
			switch c := res.Claim().(type) {
			case Listed, Counted:
				err = tellsTruth(v, res)
			case History, Past:
				err = chainTruth(v, res)
			case Consistent:
				if c.Root != merkle.RootOf(v.leaves[:c.Size]) {
					err = fmt.Errorf("%+v", c)
				}
			case OpProven:
				if !bytes.Contains(v.lines[c.Seq], c.Line) {
					err = fmt.Errorf("%+v", c)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}
