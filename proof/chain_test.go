package proof

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"testing"
	"time"

	"graven/record"
)

// chainProof makes the proof of a key's history (at 0) or of its past.
func (v *vault) chainProof(space byte, key string, at uint64) ChainProof {
	v.t.Helper()
	return v.chainProofAt(space, key, at, time.Time{})
}

// chainProofAt is that of its past at a time, unless the time is zero.
func (v *vault) chainProofAt(space byte, key string, at uint64, t time.Time) ChainProof {
	v.t.Helper()
	return v.chain(space, key, at, t, at == 0 && t.IsZero())
}

// chain is a proof of the key's history, if whole is true, or of its newest version,
// up to a position, a time, or now.
func (v *vault) chain(space byte, key string, at uint64, t time.Time, whole bool) ChainProof {
	v.t.Helper()
	k := v.key(space, key)
	p := ChainProof{Space: space, Key: []byte(key), At: at, Time: t, Whole: whole, Op: k.Op, State: k.State, Commit: k.Commit, Checkpoint: k.Checkpoint}
	at = v.position(at, t)
	have := v.ops[string(space)+key]
	for i := len(have) - 1; i >= 0; {
		if at > 0 && have[0].seq > at {
			break // there was none yet
		}
		behind := at > 0 && have[i].seq > at
		if !behind && (!whole || i == 0) {
			break
		}
		op, err := record.ParseOp(have[i].line)
		if err != nil {
			v.t.Fatal(err)
		}
		next := op.Prev
		if behind && op.Skip > at {
			next = op.Skip
		}
		for have[i].seq != next {
			i--
		}
		p.Older = append(p.Older, Evidence{Record: v.lines[next]})
	}
	p.Around, _ = v.around(t)
	v.repath(&p)
	return p
}

// chainTruth compares a claim about older versions with a naive reading.
func chainTruth(v *vault, res *Result) error {
	same := func(got Version, want *version) error {
		switch {
		case want == nil && got.N == 0:
			return nil
		case want == nil || got.Seq != want.seq || !bytes.Equal(got.Op, want.line):
			return fmt.Errorf("%s: got %+v, wanted %+v", res.Subject(), got, want)
		}
		op, err := record.ParseOp(want.line)
		if err != nil || got.N != op.N || got.Live != (op.Kind == record.OpPut) || got.Value != op.Value || got.Size != op.Size {
			return fmt.Errorf("%s: got %+v, wanted %+v", res.Subject(), got, op)
		}
		return nil
	}
	switch c := res.Claim().(type) {
	case Past:
		if !c.Time.IsZero() && c.At != v.newestAt(c.Time) {
			return fmt.Errorf("%s: at %d, wanted %d", res.Subject(), c.At, v.newestAt(c.Time))
		}
		return same(c.Version, v.versionAt(string(c.Space)+string(c.Key), c.At+1))
	case History:
		have := v.ops[string(c.Space)+string(c.Key)]
		if !c.Time.IsZero() && c.At != v.newestAt(c.Time) {
			return fmt.Errorf("%s: at %d, wanted %d", res.Subject(), c.At, v.newestAt(c.Time))
		}
		for c.At > 0 && len(have) > 0 && have[len(have)-1].seq > c.At {
			have = have[:len(have)-1]
		}
		if len(have) != len(c.Versions) {
			return fmt.Errorf("%s: %d versions, wanted %d", res.Subject(), len(c.Versions), len(have))
		}
		for i := range have {
			if err := same(c.Versions[len(have)-1-i], &have[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%T", res.Claim())
}

// longVault has a key with n versions, among others.
func longVault(t testing.TB, n int) *vault { return slowLongVault(t, n, 1) }

// slowLongVault is that under the clock of slowVault.
func slowLongVault(t testing.TB, n int, same uint64) *vault {
	v := slowVault(t, same)
	for i := range n {
		if i%7 == 6 {
			v.tx(del('k', "long"))
		} else {
			v.tx(put('k', "long", fmt.Sprint("value ", i)), put('k', fmt.Sprint("beside ", i), "x"))
		}
		if i%3 == 0 {
			v.commit()
		}
	}
	v.commit()
	return v
}

func TestChainProofs(t *testing.T) {
	v := longVault(t, 50)
	ver := v.verifier()
	for _, key := range []string{"long", "colours/03", "colours/07", "never there", "absent", "beside 17"} {
		for at := range v.size() - 1 {
			file, err := v.chainProof('k', key, at).Encode()
			if err != nil {
				t.Fatalf("%s at %d: %v", key, at, err)
			}
			res, err := ver.Verify(file)
			if err == nil {
				err = chainTruth(v, res)
			}
			if err != nil {
				t.Fatalf("%s at %d: %v\n%s", key, at, err, file)
			}
		}
	}
	if _, err := ver.Verify(mustEncode(t, v.chainProof('z', "no such space", 0))); err != nil {
		t.Error(err)
	}
}

// TestTimedChains asks for keys at the time of every record, a moment before and
// after it, under clocks that give several records one time.
func TestTimedChains(t *testing.T) {
	for _, same := range []uint64{1, 2, 5} {
		v := slowLongVault(t, 20, same)
		ver := v.verifier()
		found := 0
		for _, key := range []string{"long", "colours/03", "never there", "absent"} {
			for seq := range v.size() {
				for _, off := range []time.Duration{-1, 0, 1} {
					at := v.clock(seq).Add(off)
					s := v.newestAt(at)
					if s == v.size()-1 {
						continue // nothing came after it
					}
					res, err := ver.Verify(mustEncode(t, v.chainProofAt('k', key, 0, at)))
					if s == 0 {
						if !errors.Is(err, ErrProof) {
							t.Fatalf("%s before record 1: %v", key, err)
						}
						continue
					}
					if err == nil {
						err = chainTruth(v, res)
					}
					if err != nil {
						t.Fatalf("%s at %v, %d records of one time: %v", key, at, same, err)
					}
					if c := res.Claim().(Past); !c.Time.Equal(at) {
						t.Fatalf("%s at %v: %+v", key, at, c)
					} else if c.Version.N > 0 {
						found++
					}
				}
			}
		}
		if found < 50 {
			t.Errorf("%d records of one time: only %d versions", same, found)
		}
	}
}

func mustEncode(t testing.TB, p ChainProof) []byte {
	t.Helper()
	file, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestLongHistory: ten thousand versions prove complete, and any of them is
// reached in a logarithmic number of steps.
func TestLongHistory(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	v := newVault(t, "example.com/log", "long")
	v.commit()
	for i := range n {
		v.tx(put('k', "long", fmt.Sprint("value ", i)))
		if i%64 == 63 {
			v.commit()
		}
	}
	v.commit()
	ver := v.verifier()
	res, err := ver.Verify(mustEncode(t, v.chainProof('k', "long", 0)))
	if err == nil {
		err = chainTruth(v, res)
	}
	if err != nil {
		t.Fatal(err)
	}
	most, longest := 0, 0
	for at := uint64(2); at < v.size(); at += v.size()/50 + 1 {
		p := v.chainProof('k', "long", at)
		file := mustEncode(t, p)
		res, err := ver.Verify(file)
		if err == nil {
			err = chainTruth(v, res)
		}
		if err != nil {
			t.Fatalf("at %d: %v", at, err)
		}
		most, longest = max(most, len(p.Older)), max(longest, len(file))
	}
	for _, at := range []uint64{3, v.size() / 3, v.size() - 2} {
		res, err := ver.Verify(mustEncode(t, v.chain('k', "long", at, time.Time{}, true)))
		if err == nil {
			err = chainTruth(v, res)
		}
		if err != nil {
			t.Fatalf("the history up to %d: %v", at, err)
		}
	}
	t.Logf("%d versions: at most %d older ones on the way to any, %d bytes", n, most, longest)
	if limit := 3 * bits.Len(uint(n)); most > limit { // of jump pointers in skew-binary order
		t.Errorf("%d steps, wanted at most %d", most, limit)
	}
}

// TestChainProofsCannotLie changes every bit and line of such proofs, as
// TestRangeProofsCannotLie does.
func TestChainProofsCannotLie(t *testing.T) {
	v := longVault(t, 12)
	ver := v.verifier()
	tail := v.size()
	for name, p := range map[string]ChainProof{
		"history":       v.chainProof('k', "colours/03", 0),
		"history, none": v.chainProof('k', "absent", 0),

		"history, past":            v.chain('k', "long", tail-14, time.Time{}, true),
		"history, past, of now":    v.chain('k', "long", tail-2, time.Time{}, true),
		"history, past, too early": v.chain('k', "long", 4, time.Time{}, true),
		"history, past, none":      v.chain('k', "absent", 9, time.Time{}, true),
		"history, a time":          v.chain('k', "long", 0, v.clock(tail-14).Add(time.Second/2), true),

		"past":            v.chainProof('k', "long", tail-14),
		"past, of now":    v.chainProof('k', "long", tail-2),
		"past, too early": v.chainProof('k', "long", 4),
		"past, absent":    v.chainProof('k', "absent", 9),

		"a time":               v.chainProofAt('k', "long", 0, v.clock(tail-14).Add(time.Second/2)),
		"a time, of now":       v.chainProofAt('k', "long", 0, v.clock(tail-2)),
		"a time, too early":    v.chainProofAt('k', "long", 0, v.clock(4)),
		"a time, a version's":  v.chainProofAt('k', "long", 0, v.clock(v.ops["klong"][7].seq)),
		"a time, right before": v.chainProofAt('k', "long", 0, v.clock(v.ops["klong"][7].seq).Add(-1)),
	} {
		file := mustEncode(t, p)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cannotLie(t, ver, file, func(res *Result) error { return chainTruth(v, res) })
		})
	}
}

// TestShortenedChains leaves versions out of a chain, or goes another way, with
// everything else made to fit.
func TestShortenedChains(t *testing.T) {
	v := longVault(t, 30)
	ver := v.verifier()
	for _, c := range []struct {
		at    uint64
		whole bool
	}{{0, true}, {v.size() - 30, false}, {v.size() - 8, false}, {v.size() - 30, true}, {v.size() - 8, true}} {
		at := c.at
		good := v.chain('k', "long", at, time.Time{}, c.whole)
		for i := range good.Older {
			p := good
			p.Older = slices.Delete(slices.Clone(good.Older), i, i+1)
			v.repath(&p)
			if _, err := ver.Verify(mustEncode(t, p)); !errors.Is(err, ErrProof) && !errors.Is(err, ErrDamaged) {
				t.Errorf("at %d, without version %d: %v", at, i, err)
			}
		}
		p := good
		p.Older = append(slices.Clone(good.Older), Evidence{Record: v.lines[v.ops["klong"][0].seq]})
		if at > 0 {
			v.repath(&p)
			if _, err := ver.Verify(mustEncode(t, p)); !errors.Is(err, ErrProof) {
				t.Errorf("at %d, with a version more: %v", at, err)
			}
		}
		p = good
		p.Older = slices.Clone(good.Older)
		p.Older[0] = Evidence{Record: v.lines[v.ops["kcolours/03"][0].seq]}
		if file, err := p.Encode(); err == nil {
			if _, err := ver.Verify(file); !errors.Is(err, ErrProof) {
				t.Errorf("at %d, another key's record: %v", at, err)
			}
		}
	}
}

// A position that the checkpoint does not reach is no past, whatever is asked for.
func TestPastBeyondTheEnd(t *testing.T) {
	v := longVault(t, 10)
	ver := v.verifier()
	for _, key := range []string{"long", "absent", "colours/07"} {
		for _, at := range []uint64{v.size() - 1, v.size(), v.size() + 100, record.MaxInt} {
			if _, err := ver.Verify(mustEncode(t, v.chainProof('k', key, at))); !errors.Is(err, ErrProof) {
				t.Errorf("%s at %d of %d: %v", key, at, v.size(), err)
			}
		}
	}
}

// repath makes the hashes of a proof those of the records that it has.
func (v *vault) repath(p *ChainProof) {
	v.t.Helper()
	seqs := []uint64{v.size() - 1}
	for _, line := range [][]byte{p.Then, p.After} {
		if f, err := record.ParseFrame(line); err == nil && f.Seq < v.size() {
			seqs = append(seqs, f.Seq)
		}
	}
	for _, e := range p.Older {
		rec, err := record.Parse(e.Record)
		if err != nil {
			v.t.Fatal(err)
		}
		seqs = append(seqs, rec.Seq)
	}
	p.Path = v.together(seqs)
}
