package proof

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"graven/record"
)

// timed is a claim about a time that a test may change: of a list or of a key.
type timed struct {
	v    *vault
	list *RangeProof
	key  *ChainProof
}

// with returns the claim with other lines and another time, and with the hashes of
// all records that it then names and the log has.
func (c timed) with(a Around, t time.Time) ([]byte, error) {
	if c.key != nil {
		p := *c.key
		p.Around, p.Time = a, t
		c.v.repath(&p)
		return p.Encode()
	}
	p := *c.list
	p.Around, p.Subject.Time = a, t
	var seqs []uint64
	for _, line := range [][]byte{p.Then, p.After, p.Commit, p.Next} {
		if f, err := record.ParseFrame(line); err == nil && f.Seq < c.v.size() {
			seqs = append(seqs, f.Seq)
		}
	}
	p.Path = c.v.together(seqs)
	return p.Encode()
}

// TestAroundATime shows other records around a time than the two between which it
// lies, with everything else made to fit. Three records each are of one time.
func TestAroundATime(t *testing.T) {
	v := slowRangeVault(t, 3)
	ver := v.verifier()
	const at = 14 // the last of 12, 13 and 14; commits are around it
	now := v.clock(at).Add(time.Second)
	list := v.rangeProof(record.RangeSubject{Space: 'k', Prefix: []byte("colours/"), Time: now}, false)
	count := v.rangeProof(record.RangeSubject{Space: 'k', Time: now}, true)
	key := v.chainProofAt('k', "colours/03", 0, now)
	lines := func(then, after uint64) Around { return Around{v.lines[then], v.lines[after]} }
	changed := func(a Around, from, to string) Around {
		b := Around{bytes.Replace(a.Then, []byte(from), []byte(to), 1), bytes.Replace(a.After, []byte(from), []byte(to), 1)}
		if bytes.Equal(a.Then, b.Then) && bytes.Equal(a.After, b.After) {
			t.Fatalf("no %q to replace", from)
		}
		return b
	}
	good := lines(at, at+1)
	seqOf := func(seq uint64) string { return fmt.Sprintf(`"seq":%d,`, seq) }
	text := func(seq uint64) string { return v.clock(seq).Format("2006-01-02T15:04:05.000000000Z") }
	for _, tc := range []struct {
		name string
		a    Around
		t    time.Time
		want error // nil: it verifies
	}{
		{"as it is", good, now, nil},
		{"at the very time", good, v.clock(at), nil},
		{"right before the next", good, v.clock(at + 1).Add(-1), nil},

		{"before its time", good, v.clock(at).Add(-1), ErrProof},
		{"at the time of the next", good, v.clock(at + 1), ErrProof},
		{"the pair before, of one time", lines(at-1, at), now, ErrProof},
		{"the pair before, at its own time", lines(at-1, at), v.clock(at), ErrProof},
		{"the pair behind, of one time", lines(at+1, at+2), now, ErrProof},
		{"the next edge", lines(at+3, at+4), now, ErrProof},
		{"the edge before", lines(at-3, at-2), now, ErrProof},
		{"one passed over", lines(at-1, at+1), now, ErrProof},
		{"one passed over behind", lines(at, at+2), now, ErrProof},
		{"swapped", Around{good.After, good.Then}, now, ErrProof},
		{"then twice", lines(at, at), now, ErrProof},
		{"after twice", lines(at+1, at+1), now, ErrProof},
		{"genesis and its neighbour", lines(0, 1), now, ErrProof},
		{"an earlier time written in", changed(lines(at+1, at+2), text(at+1), text(at)), now, ErrProof},
		{"a later time written in", changed(lines(at-1, at), text(at), text(at+1)), now, ErrProof},
		{"another seq written in", changed(lines(at+1, at+2), seqOf(at+1), seqOf(at)), now, ErrProof},
		{"behind the end of the log", Around{v.lines[v.size()-1], []byte(fmt.Sprintf(`{"v":1,"kind":"x",%s"time":"2027-01-02T03:04:05.000000006Z"}`, seqOf(v.size())))}, v.clock(v.size()), ErrProof},
		{"no frame", Around{good.Then, []byte("{}")}, now, ErrFormat},
		{"an empty line", Around{[]byte{}, good.After}, now, ErrFormat},
		{"a time that no line has", good, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), ErrFormat},
	} {
		for name, c := range map[string]timed{"list": {v, &list, nil}, "count": {v, &count, nil}, "key": {v, nil, &key}} {
			file, err := c.with(tc.a, tc.t)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, tc.name, err)
			}
			res, err := ver.Verify(file)
			if tc.want == nil && err == nil {
				if name == "key" {
					err = chainTruth(v, res)
				} else {
					err = tellsTruth(v, res)
				}
			}
			if !errors.Is(err, tc.want) {
				t.Errorf("%s, %s: got %v, wanted %v", name, tc.name, err, tc.want)
			}
		}
	}
}

// TestAroundEdges are proofs whose records fall together, and times before record 1.
func TestAroundEdges(t *testing.T) {
	v := rangeVault(t)
	ver := v.verifier()
	end := v.size() - 1 // a commit, behind a transaction that stands behind a commit
	for name, p := range map[string]RangeProof{
		"then is the commit":              v.rangeProof(record.RangeSubject{Space: 'k', Time: v.clock(end - 2)}, true),
		"after is the next commit":        v.rangeProof(record.RangeSubject{Space: 'k', Time: v.clock(end - 1)}, true),
		"the first commit, and no others": v.rangeProof(record.RangeSubject{Space: 'k', Time: v.clock(1)}, true),
	} {
		file, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		res, err := ver.Verify(file)
		if err == nil {
			err = tellsTruth(v, res)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// The same record under another line: only one of them can be in the log.
		if bytes.Equal(p.Then, p.Commit) {
			p.Then = append(bytes.Clone(p.Then[:len(p.Then)-1]), ` }`...)
		} else {
			p.After = append(bytes.Clone(p.After[:len(p.After)-1]), ` }`...)
		}
		if file, err = p.Encode(); err != nil {
			t.Fatal(err)
		}
		if _, err := ver.Verify(file); !errors.Is(err, ErrProof) {
			t.Errorf("%s, spelled twice: %v", name, err)
		}
	}
	// When the log held genesis alone there was no state, and none was signed.
	p := v.rangeProof(record.RangeSubject{Space: 'k'}, true)
	p.Subject.Time, p.Around = v.clock(0), Around{v.lines[0], v.lines[1]}
	p.Path = v.together([]uint64{0, 1, end})
	file, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ver.Verify(file); !errors.Is(err, ErrProof) {
		t.Errorf("the state of now as that of record 0: %v", err)
	}
	// Of the two records only the frame is looked at.
	odd := sampleVault(t)
	for range 2 {
		odd.addLine(fmt.Appendf(nil, `{"v":9,"kind":"hold","seq":%d,"time":"%s","new":{}}`, odd.size(), odd.clock(odd.size()).Format("2006-01-02T15:04:05.000000000Z")))
	}
	odd.commit()
	res, err := odd.verifier().Verify(mustEncode(t, odd.chainProofAt('k', "colours/03", 0, odd.clock(odd.size()-3))))
	if err == nil {
		err = chainTruth(odd, res)
	}
	if err != nil {
		t.Errorf("between records of an unknown kind: %v", err)
	}
}

// The lines stand in a file exactly if its subject names a time.
func TestAroundOnlyWithATime(t *testing.T) {
	v := rangeVault(t)
	ver := v.verifier()
	now := v.clock(9)
	timedList, pastList := v.rangeProof(record.RangeSubject{Space: 'k', Time: now}, false), v.rangeProof(record.RangeSubject{Space: 'k', At: 9}, false)
	timedKey, pastKey := v.chainProofAt('k', "colours/03", 0, now), v.chainProof('k', "colours/03", 9)
	for name, make := range map[string]func(a Around, t time.Time, at uint64) ([]byte, error){
		"list": func(a Around, t time.Time, at uint64) ([]byte, error) {
			p := timedList
			p.Around, p.Subject.Time, p.Subject.At = a, t, at
			return p.Encode()
		},
		"key": func(a Around, t time.Time, at uint64) ([]byte, error) {
			p := timedKey
			p.Around, p.Time, p.At = a, t, at
			return p.Encode()
		},
	} {
		for what, c := range map[string]struct {
			a  Around
			t  time.Time
			at uint64
		}{
			"nothing":               {Around{}, now, 0},
			"then alone":            {Around{Then: timedList.Then}, now, 0},
			"after alone":           {Around{After: timedList.After}, now, 0},
			"both, no time":         {timedList.Around, time.Time{}, 9},
			"a time and a position": {timedList.Around, now, 9},
		} {
			if file, err := make(c.a, c.t, c.at); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s, %s: %v\n%s", name, what, err, file)
			}
		}
	}
	subject := func(t time.Time) string { return `"time":"` + t.Format("2006-01-02T15:04:05.000000000Z") + `"` }
	around := func(a Around) string { return string(a.append(nil)) }
	for name, files := range map[string][2][]byte{
		"list": {mustEncodeRange(t, timedList), mustEncodeRange(t, pastList)},
		"key":  {mustEncode(t, timedKey), mustEncode(t, pastKey)},
	} {
		for what, b := range map[string][]byte{
			"no lines":               forge(t, files[0], around(timedList.Around), ""),
			"no then":                forge(t, files[0], "\nthen "+string(timedList.Then), ""),
			"no after":               forge(t, files[0], "\nafter "+string(timedList.After), ""),
			"then twice":             forge(t, files[0], "\nthen "+string(timedList.Then), strings.Repeat("\nthen "+string(timedList.Then), 2)),
			"the other order":        forge(t, files[0], around(timedList.Around), "\nafter "+string(timedList.After)+"\nthen "+string(timedList.Then)),
			"a position, with lines": forge(t, files[0], subject(now), `"at":9`),
			"a time, without":        forge(t, files[1], `"at":9`, subject(now)),
		} {
			if _, err := ver.Verify(b); !errors.Is(err, ErrFormat) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
}

func mustEncodeRange(t testing.TB, p RangeProof) []byte {
	t.Helper()
	file, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestCompactSize: a thousand deleted keys cost a list what they are; a compact list
// shows the live ones among them for little more than without them.
func TestCompactSize(t *testing.T) {
	build := func(dead int) *vault {
		v := newVault(t, "example.com/log", fmt.Sprint("compact ", dead))
		v.commit()
		for _, op := range []func(i int) record.Op{
			func(i int) record.Op { return put('k', fmt.Sprintf("sensor/%04d", i), "value") },
			func(i int) record.Op { return del('k', fmt.Sprintf("sensor/%04d", i)) },
		} {
			for i := 0; i < dead; i += 100 {
				var ops []record.Op
				for j := range 100 {
					ops = append(ops, op(i+j))
				}
				v.tx(ops...)
			}
		}
		v.tx(put('k', "sensor/", "first"), put('k', "sensor/0500/a", "middle"), put('k', "sensor/~", "last"), put('q', "row", "x"))
		v.tx(del('q', "row"))
		v.commit()
		return v
	}
	sizes := map[string]int{}
	v := build(1000)
	for name, s := range map[string]record.RangeSubject{
		"whole":   {Space: 'k', Prefix: []byte("sensor/")},
		"compact": {Space: 'k', Prefix: []byte("sensor/"), Compact: true},
	} {
		file := mustEncodeRange(t, v.rangeProof(s, false))
		res, err := v.verifier().Verify(file)
		if err == nil {
			err = tellsTruth(v, res)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n := len(res.Claim().(Listed).Entries); n != 3 {
			t.Errorf("%s: %d entries", name, n)
		}
		sizes[name] = len(file)
	}
	few := build(0)
	sizes["without them"] = len(mustEncodeRange(t, few.rangeProof(record.RangeSubject{Space: 'k', Prefix: []byte("sensor/")}, false)))
	t.Logf("three keys among a thousand deleted ones: %v bytes", sizes)
	if sizes["compact"] > sizes["without them"]+3000 || sizes["whole"] < 30*sizes["compact"] {
		t.Errorf("a compact list does not save what it should: %v", sizes)
	}
	// A space whose keys are all deleted is one line.
	dead := v.rangeProof(record.RangeSubject{Space: 'q', Compact: true}, false)
	res, err := v.verifier().Verify(mustEncodeRange(t, dead))
	if err == nil {
		err = tellsTruth(v, res)
	}
	if err != nil || dead.State.Tree != nil || len(dead.State.Spaces) != 2 {
		t.Errorf("a space of deleted keys: %+v, %v", dead.State, err)
	}
	// One list is not the other: neither is proven by the other's file.
	s := record.RangeSubject{Space: 'k', Prefix: []byte("sensor/")}
	for _, compact := range []bool{false, true} {
		s.Compact = compact
		p := v.rangeProof(s, false)
		p.Subject.Compact = !compact
		if _, err := v.verifier().Verify(mustEncodeRange(t, p)); !errors.Is(err, ErrProof) {
			t.Errorf("compact: %v, shown as the other: %v", compact, err)
		}
	}
	p := v.rangeProof(record.RangeSubject{Space: 'k'}, true)
	p.Subject.Compact = true
	if _, err := p.Encode(); !errors.Is(err, ErrInvalid) {
		t.Errorf("a compact count: %v", err)
	}
	if _, err := v.verifier().Verify(forge(t, mustEncodeRange(t, v.rangeProof(record.RangeSubject{Space: 'k'}, true)), "{}", `{"compact":true}`)); !errors.Is(err, ErrFormat) {
		t.Errorf("a compact count in a file: %v", err)
	}
}

func TestDescribeMoments(t *testing.T) {
	v := rangeVault(t)
	now := v.clock(9).Add(time.Second / 2)
	const when = "at 2026-01-02T03:04:14.500000006Z by the log's own clock, when record 9 was the newest"
	for name, c := range map[string]struct {
		file    []byte
		subject string
		want    []string
	}{
		"list":         {mustEncodeRange(t, v.rangeProof(record.RangeSubject{Space: 'k', Time: now}, false)), `list:{"time":"2026-01-02T03:04:14.500000006Z"}`, []string{when}},
		"count":        {mustEncodeRange(t, v.rangeProof(record.RangeSubject{Space: 'k', Time: now}, true)), `count:{"time":"2026-01-02T03:04:14.500000006Z"}`, []string{when}},
		"past":         {mustEncode(t, v.chainProofAt('k', "colours/03", 0, now)), `past:{"key":"colours/03","time":"2026-01-02T03:04:14.500000006Z"}`, []string{when, "after record 9 was: version 1"}},
		"compact list": {mustEncodeRange(t, v.rangeProof(record.RangeSubject{Space: 'k', Compact: true}, false)), `list:{"compact":true}`, []string{"left out by the log's own counts"}},
	} {
		res, err := v.verifier().Verify(c.file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := res.CheckSubject(c.subject); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		said := strings.Join(res.Describe(), "\n")
		for _, want := range c.want {
			if !strings.Contains(said, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, said)
			}
		}
	}
	res, err := v.verifier().Verify(mustEncode(t, v.chainProof('k', "colours/03", 9)))
	if err != nil {
		t.Fatal(err)
	}
	if said := strings.Join(res.Describe(), "\n"); strings.Contains(said, "was the newest") {
		t.Errorf("a claim about a position names a time:\n%s", said)
	}
}

// A leaf cannot be of a record behind the commit whose state it is in, also where it
// is only beside what is shown.
func TestLeavesBeforeTheirCommit(t *testing.T) {
	v := rangeVault(t)
	edit := v.state.Edit()
	leaf, _, err := v.state.Get([]byte("kcolours/05"))
	if err != nil {
		t.Fatal(err)
	}
	leaf.Seq, leaf.N = v.size()+5, 2
	if err := edit.Put(leaf); err != nil {
		t.Fatal(err)
	}
	v.state = edit.Map()
	v.commit()
	for name, p := range map[string]RangeProof{
		"beside a list": v.rangeProof(record.RangeSubject{Space: 'k', From: []byte("colours/05\x00"), To: []byte("colours/06")}, false),
		"in a count":    v.rangeProof(record.RangeSubject{Space: 'k', From: []byte("colours/05"), To: []byte("colours/05\x00")}, true),
	} {
		if _, err := v.verifier().Verify(mustEncodeRange(t, p)); !errors.Is(err, ErrProof) || !strings.Contains(err.Error(), "the commit is record") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
