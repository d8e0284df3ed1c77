package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"graven/internal/fsx"
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
		for pos := uint64(1); pos < now.Size(); pos += step {
			at, err := now.At(min(pos, now.Size()-1))
			if err != nil {
				t.Fatal(err)
			}
			historyIsProven(t, ver, at, key)
		}
		historyIsProven(t, ver, now, key)
	}
	if found < proofs/4 {
		t.Errorf("only %d of %d proofs are of a value", found, proofs)
	}
	genesis, err := now.At(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := genesis.ProveHistory([]byte("k3")); !errors.Is(err, ErrNotFound) {
		t.Errorf("a history before there was a key: %v", err)
	}
}

// historyIsProven proves the history of a key up to a view, and holds it against
// what the view says.
func historyIsProven(t *testing.T, ver *proof.Verifier, w *View, key string) {
	t.Helper()
	file, err := w.ProveHistory([]byte(key))
	if err != nil {
		t.Fatalf("%s at %d: %v", key, w.Seq(), err)
	}
	res, err := ver.Verify(file)
	if err != nil {
		t.Fatalf("%s at %d: %v\n%s", key, w.Seq(), err, file)
	}
	c, ok := res.Claim().(proof.History)
	if !ok || (c.At != w.Seq()) != w.newest || string(c.Key) != key {
		t.Fatalf("%s at %d: %+v", key, w.Seq(), res.Claim())
	}
	i := 0
	for e, err := range w.History([]byte(key)) {
		if errors.Is(err, ErrNotFound) {
			break
		}
		if v := c.Versions; err != nil || i == len(v) || v[i].Seq != e.Seq || v[i].N != e.N || v[i].Live != e.Live || v[i].Value != e.Value {
			t.Fatalf("%s at %d: version %d: %+v, wanted %+v, %v", key, w.Seq(), i, v, e, err)
		}
		i++
	}
	if i != len(c.Versions) {
		t.Errorf("%s at %d: %d versions, wanted %d", key, w.Seq(), len(c.Versions), i)
	}
}

// slowly plays a history under a clock that ticks once every few looks, so that
// several records have one time.
func slowly(t testing.TB, looks int) *script {
	t.Helper()
	host, n := scriptHost(fsx.NewMem(), 1), 0
	start := host.Now()
	host.Now = func() time.Time { n++; return start.Add(time.Duration(n/looks) * time.Second) }
	s := &script{t: t, host: host}
	var err error
	if s.store, err = Create(context.Background(), host, CreateOptions{genesis: small}, scriptOptions()); err != nil {
		t.Fatal(err)
	}
	s.vault = s.main()
	for list := history(60); len(list) > 0; list = list[2:] {
		s.group(list[0](s), list[1](s))
	}
	return s
}

// TestProveTimes asks for keys and lists at the time of every record, a moment
// before it and after it, and holds what is proven against the view at the position
// that a naive reading of the times finds.
func TestProveTimes(t *testing.T) {
	for _, looks := range []int{1, 4, 9} {
		s := slowly(t, looks)
		ver, err := proof.NewVerifier(s.vault.VKeys()[0])
		if err != nil {
			t.Fatal(err)
		}
		now := s.vault.View()
		times := make([]time.Time, now.Size())
		equal := 0
		for seq := range times {
			if times[seq], err = now.timeOf(uint64(seq)); err != nil {
				t.Fatal(err)
			}
			if seq > 0 && times[seq].Equal(times[seq-1]) {
				equal++
			}
		}
		if looks > 1 && equal < len(times)/4 {
			t.Errorf("a clock of %d looks: only %d of %d records have the time of the one before", looks, equal, len(times))
		}
		step := 1
		if testing.Short() {
			step = 5
		}
		for seq := 0; seq < len(times); seq += step {
			for _, off := range []time.Duration{-1, 0, 1} {
				checkTime(t, ver, now, times, times[seq].Add(off))
			}
		}
		checkTime(t, ver, now, times, times[len(times)-1].Add(time.Hour))
		s.close()
	}
}

// checkTime proves a key, a list and a count at a time.
func checkTime(t *testing.T, ver *proof.Verifier, now *View, times []time.Time, at time.Time) {
	t.Helper()
	pos := -1
	for seq := range times {
		if !times[seq].After(at) {
			pos = seq
		}
	}
	w, err := now.AtTime(at.In(time.FixedZone("", 3600)))
	if pos < 0 {
		if !errors.Is(err, ErrNotFound) {
			t.Fatalf("before the vault began: %v", err)
		}
		return
	}
	if err != nil || w.Seq() != uint64(pos) {
		t.Fatalf("%v: position %d, %v, wanted %d", at, w.Seq(), err, pos)
	}
	newest := pos == len(times)-1
	q := Query{Prefix: []byte("k"), Compact: pos%2 == 0}
	file, err := w.ProveKey([]byte("k3"))
	list, listErr := w.ProveList(q)
	count, countErr := w.ProveCount(Query{})
	if pos == 0 {
		if !errors.Is(err, ErrNotFound) || !errors.Is(listErr, ErrNotFound) || !errors.Is(countErr, ErrNotFound) {
			t.Fatalf("before record 1: %v, %v, %v", err, listErr, countErr)
		}
		return
	}
	var res [3]*proof.Result
	for i, b := range [][]byte{file, list, count} {
		if err := errors.Join(err, listErr, countErr); err != nil {
			t.Fatalf("%v: %v", at, err)
		}
		if res[i], err = ver.Verify(b); err != nil {
			t.Fatalf("%v, position %d: %v\n%s", at, pos, err, b)
		}
	}
	e, getErr := w.Get([]byte("k3"))
	switch c := res[0].Claim().(type) {
	case proof.Past:
		if newest || !c.Time.Equal(at) || c.At != uint64(pos) || c.Version.Live != (getErr == nil) || getErr == nil && c.Version.Seq != e.Seq {
			t.Fatalf("%v: %+v, the view has %+v, %v", at, c, e, getErr)
		}
	case proof.Present:
		if !newest || c.Seq != e.Seq {
			t.Fatalf("%v: %+v", at, c)
		}
	case proof.Absent:
		if !newest || getErr == nil {
			t.Fatalf("%v: %+v", at, c)
		}
	}
	commit, _, err := w.commitAt()
	if err != nil {
		t.Fatal(err)
	}
	as, err := now.At(commit)
	if err != nil {
		t.Fatal(err)
	}
	var keys, proven []string
	for e, err := range as.List(q) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, string(e.Key))
	}
	c := res[1].Claim().(proof.Listed)
	for _, e := range c.Entries {
		proven = append(proven, string(e.Key))
	}
	if !slices.Equal(keys, proven) || c.Subject.Compact != q.Compact {
		t.Fatalf("%v: listed %q, wanted %q", at, proven, keys)
	}
	live := 0
	for range as.List(Query{}) {
		live++
	}
	n := res[2].Claim().(proof.Counted)
	for _, s := range []record.RangeSubject{c.Subject, n.Subject} {
		if newest != s.Time.IsZero() || !newest && !s.Time.Equal(at) || s.At != 0 {
			t.Fatalf("%v: about %+v", at, s)
		}
	}
	if n.Live != uint64(live) || !newest && (c.At != uint64(pos) || n.At != uint64(pos)) {
		t.Fatalf("%v: counted %+v, wanted %d", at, n, live)
	}
}

// TestViewsForgetTimes: a view is about the last thing that cut it off.
func TestViewsForgetTimes(t *testing.T) {
	s := slowly(t, 4)
	defer s.close()
	ver, err := proof.NewVerifier(s.vault.VKeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	now := s.vault.View()
	at := func(w *View, seq uint64) *View { return mustView(t)(w.At(seq)) }
	atTime := func(w *View, t0 time.Time) *View { return mustView(t)(w.AtTime(t0)) }
	early, err := now.timeOf(20)
	if err != nil {
		t.Fatal(err)
	}
	late, err := now.timeOf(60)
	if err != nil {
		t.Fatal(err)
	}
	pos := atTime(now, early).Seq()
	for name, c := range map[string]struct {
		w    *View
		want string // the subject's end
	}{
		"a time":                        {atTime(now, early), `"time":"` + early.Format("2006-01-02T15:04:05.000000000Z") + `"}`},
		"a later time, then an earlier": {atTime(atTime(now, late), early), `"time":"` + early.Format("2006-01-02T15:04:05.000000000Z") + `"}`},
		"an earlier time, then a later": {atTime(atTime(now, early), late), `"time":"` + early.Format("2006-01-02T15:04:05.000000000Z") + `"}`},
		"a position, then a time":       {atTime(at(now, 70), early), `"time":"` + early.Format("2006-01-02T15:04:05.000000000Z") + `"}`},
		"a time, then its position":     {at(atTime(now, early), pos), fmt.Sprintf(`"at":%d}`, pos)},
		"a time, then a position":       {at(atTime(now, early), 7), `"at":7}`},
		"a position, then a later time": {atTime(at(now, 7), late), `"at":7}`},
	} {
		file, err := c.w.ProveKey([]byte("k3"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := ver.Verify(file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !strings.HasSuffix(res.Subject(), c.want) {
			t.Errorf("%s: %s, wanted …%s", name, res.Subject(), c.want)
		}
	}
}

func mustView(t *testing.T) func(w *View, err error) *View {
	return func(w *View, err error) *View {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return w
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
