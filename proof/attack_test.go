package proof

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"graven/merkle"
	"graven/record"
	"graven/state"
)

// No bit of a proof file without cosignatures is free, and nothing can be cut off,
// taken out, or put in: no changed file verifies, whatever it would be about.
func TestNoBitIsFree(t *testing.T) {
	v, files := samples(t)
	ver := v.verifier()
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refuseChanges(t, file, func(b []byte) error {
				_, err := ver.Verify(b)
				return err
			})
		})
	}
}

// The same changes by somebody who computes the sum anew, so that the checks behind
// it are what refuses them. One thing can change then: the subject of a proof of
// absence, to another key for which the search ends at the same place. That is a
// true proof about something else, which CheckSubject refuses.
func TestNoBitIsFreeWithNewSum(t *testing.T) {
	v, files := samples(t)
	ver := v.verifier()
	for _, name := range []string{
		"present", "present, only key", "deleted",
		"absent by neighbour", "absent, one leaf", "absent, empty space",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := files[name]
			good, err := ver.Verify(file)
			if err != nil {
				t.Fatal(err)
			}
			others, unproven := 0, 0
			refuseChanges(t, file, func(b []byte) error {
				forged := resum(b)
				if bytes.Equal(forged, file) && !bytes.Equal(b, file) {
					return ErrFormat // only the sum was changed; TestNoBitIsFree has seen it
				}
				res, err := ver.Verify(forged)
				switch {
				case bySum(err):
					t.Fatalf("the sum refuses what it fits:\n%s", forged)
				case errors.Is(err, ErrProof):
					unproven++
				}
				if err != nil {
					return err
				}
				if err := res.CheckSubject(good.Subject()); err != nil {
					others++
					truth(t, v, res)
					return ErrProof
				}
				return nil
			})
			if strings.HasPrefix(name, "absent") == (others == 0) {
				t.Errorf("%d changed files prove another subject", others)
			}
			if unproven < len(file) {
				t.Errorf("the hashes refused %d changes of %d bytes", unproven, len(file))
			}
			t.Logf("%d bytes: %d changes are refused by the hashes, %d prove another subject", len(file), unproven, others)
		})
	}
}

// Lines taken out, doubled, and swapped, in every place, with the old sum and a new
// one.
func TestLinesCannotMove(t *testing.T) {
	v, files := samples(t)
	ver := v.verifier()
	for name, file := range files {
		lines := bytes.SplitAfter(file, []byte("\n"))
		lines = lines[:len(lines)-1]
		try := func(what string, lines ...[]byte) {
			moved := bytes.Join(lines, nil)
			for _, b := range [][]byte{moved, resum(moved)} {
				if bytes.Equal(b, file) {
					continue
				}
				if _, err := ver.Verify(b); err == nil {
					t.Errorf("%s: %s verifies:\n%s", name, what, b)
				}
			}
		}
		for i := range lines {
			without := append(append([][]byte{}, lines[:i]...), lines[i+1:]...)
			try("a missing line", without...)
			for j := range lines {
				with := append(append([][]byte{}, lines[:j]...), lines[i])
				try("a surplus line", append(with, lines[j:]...)...)
				swapped := append([][]byte{}, lines...)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				try("swapped lines", swapped...)
			}
		}
		try("CRLF", bytes.ReplaceAll(file, []byte("\n"), []byte("\r\n")))
	}
}

func TestVerifyOtherVault(t *testing.T) {
	v, files := samples(t)
	otherOrigin := newVault(t, "example.com/other", "other")
	otherKey := newVault(t, v.origin, "other")
	for name, file := range files {
		if _, err := otherOrigin.verifier().Verify(file); !errors.Is(err, ErrOrigin) {
			t.Errorf("%s: other origin: %v", name, err)
		}
		if _, err := otherKey.verifier().Verify(file); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: other key: %v", name, err)
		}
	}
	// A log of another vault under our origin, signed with our key, is another
	// history: its parts do not mix with ours.
	fork := newVault(t, v.origin, "sample")
	fork.tx(put('k', "colours/03", "forged"))
	fork.commit()
	p := fork.key('k', "colours/03")
	p.Checkpoint = v.checkpointAt(v.size())
	if _, err := v.verifier().Verify(encode(t, p)); !errors.Is(err, ErrProof) {
		t.Errorf("another history: %v", err)
	}
	if _, err := NewVerifier(v.keys.Cosigner.VKey, v.keys.Log.VKey); !errors.Is(err, ErrInvalid) {
		t.Errorf("a cosigner's key first: %v", err)
	}
	if _, err := NewVerifier("nonsense"); !errors.Is(err, ErrFormat) {
		t.Errorf("no key: %v", err)
	}
	several, err := NewVerifier(otherOrigin.keys.Log.VKey, v.keys.Log.VKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := several.Verify(files["present"]); err != nil {
		t.Errorf("any of several keys: %v", err)
	}
}

// The attacks that a proof of "newest" and "absent" has to withstand.
func TestVerifyStaleAndMixed(t *testing.T) {
	v := sampleVault(t)
	old := v.key('k', "colours/03")
	oldAbsent := v.key('k', "new")
	oldSize := v.size()
	v.tx(put('k', "colours/03", "sixth"), put('k', "new", "1"))
	v.commit()
	ver := v.verifier()
	refused := func(what string, p KeyProof, want error) {
		t.Helper()
		file, err := p.Encode()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if _, err := ver.Verify(file); !errors.Is(err, want) {
			t.Errorf("%s: got %v, wanted %v", what, err, want)
		}
	}
	fresh := v.checkpointAt(v.size())
	for _, p := range []KeyProof{old, oldAbsent} {
		if _, err := ver.Verify(encode(t, p)); err != nil {
			t.Fatal(err)
		}
		p.Checkpoint = fresh
		refused("an old commit under a fresh checkpoint", p, ErrProof)
		p.Path = path(oldSize-1, v.leaves)
		refused("an old commit with its own siblings", p, ErrProof)
		p.Commit, p.Path = v.lines[v.size()-1], path(v.size()-1, v.leaves)
		refused("an old state under a fresh commit", p, ErrProof)
	}
	good := v.key('k', "colours/03")
	p := good
	p.Checkpoint, p.Path = v.checkpointAt(v.size()-1), path(v.size()-2, v.leaves[:v.size()-1])
	p.Commit = v.lines[v.size()-2]
	refused("a tx as the last record", p, ErrProof)
	p.Commit = v.lines[v.size()-1]
	refused("a commit that does not count yet", p, ErrProof)
	p = good
	p.Checkpoint = v.checkpointAt(1)
	refused("size 1", p, ErrProof)
	p.Commit, p.Path = v.lines[0], nil
	refused("genesis as the commit", p, ErrProof)
	p = good
	empty, err := v.signer.SignCheckpoint(Checkpoint{Origin: v.origin, Root: merkle.EmptyRoot()})
	if err != nil {
		t.Fatal(err)
	}
	p.Checkpoint = empty
	refused("size 0", p, ErrProof)
	p.Path = nil
	refused("size 0, no siblings", p, ErrProof)
	p = good
	huge, err := v.signer.SignCheckpoint(Checkpoint{Origin: v.origin, Size: MaxSize, Root: merkle.RootOf(v.leaves)})
	if err != nil {
		t.Fatal(err)
	}
	p.Checkpoint = huge
	refused("the greatest size", p, ErrProof)
	p.Path = make([]merkle.Hash, merkle.InclusionLen(MaxSize-1, MaxSize))
	refused("the greatest size, with siblings", p, ErrProof)
	for i := range good.Path[1:] {
		p = good
		p.Path = append([]merkle.Hash{}, good.Path...)
		p.Path[i], p.Path[i+1] = p.Path[i+1], p.Path[i]
		refused("swapped siblings", p, ErrProof)
	}
	for i := range good.State.Steps[1:] {
		p = good
		p.State.Steps = append([]state.Step{}, good.State.Steps...)
		p.State.Steps[i], p.State.Steps[i+1] = p.State.Steps[i+1], p.State.Steps[i]
		refused("swapped steps", p, ErrProof)
	}
	p = good
	p.State.Spaces = p.State.Spaces[1:]
	refused("a space left out", p, ErrProof)
	p = v.key('k', "colours/00")
	p.State.Steps = good.State.Steps
	refused("another key's path", p, ErrProof)
	// An older version of the key: its op and leaf are real, and not the newest.
	history := v.ops["kcolours/03"]
	for _, version := range history[:len(history)-1] {
		op, err := record.ParseOp(version.line)
		if err != nil {
			t.Fatal(err)
		}
		p = good
		leaf := *good.State.Leaf
		leaf.Seq, leaf.N, leaf.Digest, leaf.Live = version.seq, op.N, record.OpDigest(version.line), true
		p.Op, p.State.Leaf = version.line, &leaf
		refused("an older version", p, ErrProof)
	}
	// Absence by a leaf that is not where the search for the subject ends.
	p = v.key('k', "colours/00")
	p.Key, p.Op = []byte("colours/03"), nil
	refused("absence of a present key", p, ErrProof)
	p = v.key('k', "colours/03")
	p.Key, p.Op = []byte("colours/04x"), nil
	refused("absence by a far leaf", p, ErrProof)
	p = v.key('z', "x")
	p.Space, p.Key = 'k', []byte("colours/03")
	refused("absence in a space that has keys", p, ErrProof)
}

// A log that signs nonsense is found out: the record is where it says, but it is
// damaged.
func TestVerifyDamagedLog(t *testing.T) {
	good := sampleVault(t)
	prove := func(line []byte) error {
		v := newVault(t, "example.com/log", "sample")
		v.addLine(line)
		_, err := v.verifier().Verify(v.recordProof(1, 2))
		return err
	}
	for what, line := range map[string]string{
		"nothing":              "",
		"no frame":             "hello",
		"another seq":          string(good.lines[2]),
		"malformed tx":         `{"v":1,"kind":"tx","seq":1,"time":"2026-01-02T03:04:05.000000006Z","actor":1}`,
		"a line feed in it":    "{\"v\":9,\"kind\":\"x\",\"seq\":1,\"time\":\"2026-01-02T03:04:05.000000006Z\",\n}",
		"no brace at the end":  `{"v":9,"kind":"x","seq":1,"time":"2026-01-02T03:04:05.000000006Z",`,
		"unknown, another seq": `{"v":9,"kind":"x","seq":2,"time":"2026-01-02T03:04:05.000000006Z"}`,
		"not UTF-8":            "{\"v\":9,\"kind\":\"x\",\"seq\":1,\"time\":\"2026-01-02T03:04:05.000000006Z\",\"\xff\"}",
	} {
		if err := prove([]byte(line)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v, wanted ErrDamaged", what, err)
		}
	}
	// A kind or a version that nobody knows yet proves as bytes.
	for _, line := range []string{
		`{"v":1,"kind":"hold","seq":1,"time":"2026-01-02T03:04:05.000000006Z","key":"a"}`,
		`{"v":2,"kind":"tx","seq":1,"time":"2026-01-02T03:04:05.000000006Z"}`,
	} {
		if err := prove([]byte(line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	// Commits that contradict the log.
	for what, tc := range map[string]struct {
		change func(v *vault) []byte
		want   error
	}{
		"honest": {func(v *vault) []byte { return v.nextCommit(func(*record.Commit) {}) }, nil},
		"other root": {func(v *vault) []byte {
			return v.nextCommit(func(c *record.Commit) { c.Root[0] ^= 1 })
		}, ErrDamaged},
		"other seq": {func(v *vault) []byte {
			line, err := record.New(v.size()+1, v.clock(v.size()), v.commitBody()).Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			return line
		}, ErrDamaged},
		"greatest height": {func(v *vault) []byte {
			return v.nextCommit(func(c *record.Commit) { c.Height, c.Epoch = record.MaxInt, record.MaxInt })
		}, nil},
		"other state": {func(v *vault) []byte {
			return v.nextCommit(func(c *record.Commit) { c.State[31] ^= 1 })
		}, ErrProof},
		"next version": {func(v *vault) []byte {
			return fmt.Appendf(nil, `{"v":2,"kind":"commit","seq":%d,"time":"2026-01-02T03:05:05.000000006Z"}`, v.size())
		}, ErrUnknownVersion},
		"unknown kind": {func(v *vault) []byte {
			return fmt.Appendf(nil, `{"v":1,"kind":"hold","seq":%d,"time":"2026-01-02T03:05:05.000000006Z"}`, v.size())
		}, ErrProof},
		"next version of tx": {func(v *vault) []byte {
			return fmt.Appendf(nil, `{"v":2,"kind":"tx","seq":%d,"time":"2026-01-02T03:05:05.000000006Z"}`, v.size())
		}, ErrProof},
		"malformed": {func(v *vault) []byte {
			return fmt.Appendf(nil, `{"v":1,"kind":"commit","seq":%d,"time":"2026-01-02T03:05:05.000000006Z"}`, v.size())
		}, ErrDamaged},
	} {
		v := sampleVault(t)
		v.tx(put('k', "one more", "1"))
		v.addLine(tc.change(v))
		for _, key := range []string{"colours/03", "absent"} {
			if _, err := v.verifier().Verify(v.keyProof('k', key)); !errors.Is(err, tc.want) {
				t.Errorf("%s: got %v, wanted %v", what, err, tc.want)
			}
		}
	}
}

// nextCommit returns the line of the next commit after a change to it.
func (v *vault) nextCommit(change func(*record.Commit)) []byte {
	v.t.Helper()
	c := v.commitBody()
	change(c)
	line, err := record.New(v.size(), v.clock(v.size()), c).Append(nil)
	if err != nil {
		v.t.Fatal(err)
	}
	return line
}

// A log whose state holds an op with impossible links, or a leaf from the future.
func TestVerifyDamagedOps(t *testing.T) {
	for what, tc := range map[string]struct {
		n, prev, skip, seq, created uint64
		want                        error
	}{
		"honest 1":                {1, 0, 0, 10, 10, nil},
		"honest 2":                {2, 4, 4, 10, 4, nil},
		"honest 3":                {3, 5, 0, 10, 4, nil},
		"honest 6":                {6, 8, 5, 10, 3, nil},
		"seq of the commit":       {1, 0, 0, 11, 11, ErrProof},
		"seq after the commit":    {1, 0, 0, 12, 12, ErrProof},
		"prev of version 2":       {2, 5, 5, 10, 4, ErrDamaged},
		"prev is this record":     {3, 10, 0, 10, 4, ErrDamaged},
		"prev is the future":      {3, 11, 0, 10, 4, ErrDamaged},
		"prev before the key":     {3, 3, 0, 10, 4, ErrDamaged},
		"prev is version 1":       {3, 4, 0, 10, 4, ErrDamaged},
		"skip before the key":     {6, 8, 2, 10, 3, ErrDamaged},
		"skip is version 1":       {6, 8, 3, 10, 3, ErrDamaged},
		"both before the key":     {6, 3, 2, 10, 4, ErrDamaged},
		"version 2 in the record": {2, 10, 10, 10, 4, ErrDamaged},
	} {
		v := newVault(t, "example.com/log", "sample")
		v.commit()
		for v.size() < 11 {
			v.tx(put('k', fmt.Sprint("other ", v.size()), ""))
		}
		op := put('k', "key", "value")
		op.N, op.Prev, op.Skip = tc.n, tc.prev, tc.skip
		line, err := op.Append(nil)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		edit := v.state.Edit()
		if err := edit.Put(state.Leaf{Key: []byte("kkey"), Digest: record.OpDigest(line), Seq: tc.seq, N: tc.n, Created: tc.created, Live: true}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		v.state = edit.Map()
		v.ops["kkey"] = []version{{tc.seq, line}}
		v.commit()
		if v.size() != 12 {
			t.Fatalf("the commit is record %d", v.size()-1)
		}
		if _, err := v.verifier().Verify(v.keyProof('k', "key")); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, wanted %v", what, err, tc.want)
		}
	}
}

// A log that binds a key's leaf to an op of another key, or of another kind, which
// its own root then confirms.
func TestVerifyForeignOp(t *testing.T) {
	own := put('k', "key", "value")
	own.N = 1
	line, err := own.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, foreign := range map[string]string{
		"its own op":    string(line),
		"another key":   strings.Replace(string(line), `"key":"key"`, `"key":"kez"`, 1),
		"another space": strings.Replace(string(line), `"key":"key"`, `"space":"71","key":"key"`, 1),
		"an append":     `{"op":"append","value":"` + own.Value.String() + `","size":5}`,
		"a condition":   `{"op":"if","key":"key","absent":true}`,
		"a deletion":    `{"op":"delete","key":"key","prev":0,"skip":0,"n":1}`,
		"no op":         "hello",
	} {
		v := newVault(t, "example.com/log", "sample")
		v.tx(put('k', "key", "value"), put('k', "other", "value"))
		edit := v.state.Edit()
		leaf := state.Leaf{Key: []byte("kkey"), Digest: record.OpDigest([]byte(foreign)), Seq: 1, N: 1, Created: 1, Live: true}
		if err := edit.Put(leaf); err != nil {
			t.Fatal(err)
		}
		v.state = edit.Map()
		v.commit()
		p := v.key('k', "key")
		leaf.Digest = record.OpDigest(line) // what Encode wants to see; it is not in the file
		p.State.Leaf = &leaf
		_, err := v.verifier().Verify(forge(t, encode(t, p), "\nop "+string(line)+"\n", "\nop "+foreign+"\n"))
		if foreign == string(line) {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if !errors.Is(err, ErrFormat) || bySum(err) {
			t.Errorf("%s: got %v, wanted ErrFormat", what, err)
		}
	}
}

// cannotLie changes every bit and every line of a file, with the sum as it was and
// made right again. With the old sum nothing passes; with a new one what passes is
// about another subject, and true of that.
func cannotLie(t *testing.T, ver *Verifier, file []byte, truth func(*Result) error) {
	t.Helper()
	good, err := ver.Verify(file)
	if err != nil {
		t.Fatal(err)
	}
	others, tried := 0, 0
	try := func(what string, b []byte) {
		if bytes.Equal(b, file) {
			return
		}
		tried++
		if _, err := ver.Verify(b); err == nil {
			t.Fatalf("%s: accepted with the old sum:\n%s", what, b)
		}
		forged := resum(b)
		if bytes.Equal(forged, file) {
			return
		}
		res, err := ver.Verify(forged)
		if bySum(err) {
			t.Fatalf("%s: the sum refuses what it fits:\n%s", what, forged)
		}
		if err != nil {
			return
		}
		others++
		if res.Subject() == good.Subject() {
			t.Fatalf("%s: two proofs of one subject:\n%s", what, forged)
		}
		if err := truth(res); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, forged)
		}
	}
	for i := range file {
		for bit := range 8 {
			if testing.Short() && (i+bit)%8 != 0 {
				continue
			}
			b := bytes.Clone(file)
			b[i] ^= 1 << bit
			try("a bit", b)
		}
		try("a byte less", slices.Delete(bytes.Clone(file), i, i+1))
		try("a byte twice", slices.Insert(bytes.Clone(file), i, file[i]))
	}
	lines := bytes.SplitAfter(file, []byte("\n"))
	lines = lines[:len(lines)-1]
	for i := range lines {
		try("a line less", bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil))
		for j := range lines {
			try("a line more", bytes.Join(slices.Insert(slices.Clone(lines), j, lines[i]), nil))
			swapped := slices.Clone(lines)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			try("lines swapped", bytes.Join(swapped, nil))
		}
	}
	t.Logf("%d bytes, %d changes, %d are proofs of another subject", len(file), tried, others)
}
