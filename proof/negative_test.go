package proof

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"graven/merkle"
	"graven/record"
)

// kind is a proof file of one kind, from a vault.
type kind struct {
	name string
	v    *vault
	file []byte
}

// truth holds whatever was proven against the vault.
func (k kind) truth(t *testing.T, res *Result) error {
	t.Helper()
	v := k.v
	switch c := res.Claim().(type) {
	case Listed, Counted:
		return tellsTruth(v, res)
	case History, Past:
		return chainTruth(v, res)
	case Consistent:
		if c.Root != merkle.RootOf(v.leaves[:c.Size]) {
			return fmt.Errorf("size %d has another root", c.Size)
		}
	case OpProven:
		lines, err := record.InlineOps(v.lines[c.Seq])
		if err != nil || !bytes.Equal(lines[c.Number], c.Line) {
			return fmt.Errorf("op %d of record %d is not %s: %w", c.Number, c.Seq, c.Line, err)
		}
	case Signed:
		_, key := actor(t, "alice", TypeEd25519)
		if !bytes.Equal(c.Record, v.lines[c.Seq]) {
			return fmt.Errorf("record %d is another", c.Seq)
		}
		return res.CheckActor(key)
	default:
		truth(t, v, res)
	}
	return nil
}

// everyKind has a file of every kind of proof.
func everyKind(t *testing.T) (kinds []kind) {
	t.Helper()
	v := rangeVault(t)
	add := func(name string, v *vault, file []byte) { kinds = append(kinds, kind{name, v, file}) }
	add("record", v, v.recordProof(6, v.size()))
	add("present", v, v.keyProof('k', "colours/03"))
	add("deleted", v, v.keyProof('k', "colours/07"))
	add("absent", v, v.keyProof('k', "colours/035"))
	ranges := rangeSamples(t, v)
	for _, name := range []string{"a prefix", "last two", "the past", "compact", "a time", "a count", "a count, a time"} {
		add("list: "+name, v, ranges[name])
	}
	add("history", v, mustEncode(t, v.chainProof('k', "colours/03", 0)))
	add("history, in the past", v, mustEncode(t, v.chain('k', "colours/03", 17, time.Time{}, true)))
	add("past", v, mustEncode(t, v.chainProof('k', "colours/03", 15)))
	add("past, at a time", v, mustEncode(t, v.chainProofAt('k', "colours/03", 0, v.clock(15))))
	add("consistency", v, v.consistencyProof(9, v.size()).Encode())
	seq := v.ops["kcolours/03"][1].seq
	op := OpProof{Number: 1, Evidence: Evidence{Record: v.lines[seq]}, Path: path(seq, v.leaves), Checkpoint: v.checkpointAt(v.size())}
	add("op", v, op.Encode(seq))
	s, signed, _ := signedSamples(t)
	add("signed: narrow", s, signed["narrow"])
	add("signed: wide", s, signed["wide"])
	return kinds
}

// numbers finds the decimal numbers of a file that stand for themselves: behind a
// colon, a space or at a line's beginning, and before what ends a member or a word.
var numbers = regexp.MustCompile(`(?m)(?:^|[: ])(\d+)(?:[,} \]]|$)`)

// otherNumbers are what stands in a number's place: 0, 1, its neighbours, powers of
// two with theirs, and what no field can hold.
func otherNumbers(n uint64) (all []string) {
	values := []uint64{0, 1, 2, n - 1, n + 1, 1<<53 - 1, 1 << 53, 1<<53 + 1, 1<<63 - 1, 1 << 63, 1<<63 + 1, math.MaxUint64}
	for k := range 63 {
		values = append(values, 1<<k-1, 1<<k, 1<<k+1)
	}
	slices.Sort(values)
	for _, v := range slices.Compact(values) {
		if v != n {
			all = append(all, strconv.FormatUint(v, 10))
		}
	}
	return append(all, "18446744073709551616", "00", "0"+strconv.FormatUint(n, 10), "-1", "1e3", "")
}

// edit puts a text in the place of some bytes, and makes the sum right again.
func edit(file []byte, at, cut int, put string) []byte {
	return resum(slices.Concat(file[:at], []byte(put), file[at+cut:]))
}

// TestEveryNumber exchanges every number of a file of every kind for many others.
// What verifies is true of another subject, and no number decides how much memory
// a verification takes.
func TestEveryNumber(t *testing.T) {
	tried, others := 0, 0
	for _, k := range everyKind(t) {
		ver := k.v.verifier()
		good, err := ver.Verify(k.file)
		if err != nil {
			t.Fatalf("%s: %v", k.name, err)
		}
		if err := k.truth(t, good); err != nil {
			t.Fatalf("%s: %v", k.name, err)
		}
		fields, seen := 0, 0
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for at, n := range numbersOf(t, k.file) {
			fields++
			for _, put := range otherNumbers(n.value) {
				forged := edit(k.file, at, n.length, put)
				if bytes.Equal(forged, k.file) {
					continue
				}
				seen += len(forged)
				tried++
				res, err := ver.Verify(forged)
				if err != nil {
					if !typed(err) {
						t.Errorf("%s, byte %d, %q: untyped error %v", k.name, at, put, err)
					}
					continue
				}
				others++
				if res.Subject() == good.Subject() {
					t.Errorf("%s, byte %d, %q: two proofs of one subject:\n%s", k.name, at, put, forged)
				}
				if err := k.truth(t, res); err != nil {
					t.Errorf("%s, byte %d, %q: %v\n%s", k.name, at, put, err, forged)
				}
			}
		}
		runtime.ReadMemStats(&after)
		if fields < 2 {
			t.Errorf("%s: %d numbers", k.name, fields)
		}
		if spent := after.TotalAlloc - before.TotalAlloc; spent > 40*uint64(seen)+1<<20 {
			t.Errorf("%s: files of %d bytes in all took %d bytes of memory", k.name, seen, spent)
		}
	}
	if tried < 60_000 || others > tried/50 {
		t.Errorf("%d files, %d of them prove something else", tried, others)
	}
	t.Logf("%d files with another number, %d of them are proofs of another subject", tried, others)
}

type number struct {
	value  uint64
	length int
}

// numbersOf finds the numbers of a file, by offset.
func numbersOf(t *testing.T, file []byte) map[int]number {
	t.Helper()
	found := map[int]number{}
	// The bytes that end one number may begin the next: look again behind each.
	for from := 0; ; {
		m := numbers.FindSubmatchIndex(file[from:])
		if m == nil {
			return found
		}
		start, end := from+m[2], from+m[3]
		if value, err := strconv.ParseUint(string(file[start:end]), 10, 64); err == nil {
			found[start] = number{value, end - start}
		}
		from = end
	}
}

// hashLine is the length of a line that holds a hash alone.
const hashLine = 45

// TestPartsOfOthers puts every line of a file, and everything from an empty line on,
// in the place of those of another file: of another size of the same log, of another
// vault, of another origin, of another kind.
func TestPartsOfOthers(t *testing.T) {
	kinds := everyKind(t)
	older := sampleVault(t) // the same log, before rangeVault went on
	other := newVault(t, "example.com/log", "another vault under the same name")
	other.tx(put('k', "colours/03", "value"), put('q', "row/1", "sql"))
	other.commit()
	origin := newVault(t, "example.com/other", "sample")
	origin.tx(put('k', "colours/03", "value"))
	origin.commit()
	var donors [][]byte
	for _, v := range []*vault{older, other, origin} {
		donors = append(donors, v.keyProof('k', "colours/03"), v.recordProof(1, v.size()), v.consistencyProof(1, v.size()).Encode(),
			mustEncode(t, v.chainProof('k', "colours/03", 0)))
	}
	for _, k := range kinds {
		donors = append(donors, k.file)
	}
	tried := 0
	for _, k := range kinds {
		ver := k.v.verifier()
		good, err := ver.Verify(k.file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.SplitAfter(k.file, []byte("\n"))
		lines = lines[:len(lines)-1]
		head, _, _ := bytes.Cut(k.file, []byte("\n\n"))
		try := func(what string, b []byte) {
			if b = resum(b); bytes.Equal(b, k.file) {
				return
			}
			tried++
			res, err := ver.Verify(b)
			if err != nil || slices.ContainsFunc(donors, func(d []byte) bool { return bytes.Equal(d, b) }) {
				return
			}
			if res.Subject() == good.Subject() {
				t.Errorf("%s: %s: two proofs of one subject:\n%s", k.name, what, b)
			}
			if err := k.truth(t, res); err != nil {
				t.Errorf("%s: %s: %v\n%s", k.name, what, err, b)
			}
		}
		for _, d := range donors {
			_, checkpoint, _ := bytes.Cut(d, []byte("\n\n"))
			try("another checkpoint", slices.Concat(head, []byte("\n\n"), checkpoint))
			for _, line := range bytes.SplitAfter(d, []byte("\n")) {
				for i := range lines {
					// A line of another kind is refused at once, and was tried elsewhere.
					word, _, _ := bytes.Cut(line, []byte(" "))
					if own, _, _ := bytes.Cut(lines[i], []byte(" ")); !bytes.Equal(word, own) && len(line) != hashLine {
						continue
					}
					swapped := slices.Clone(lines)
					swapped[i] = line
					try("another line", bytes.Join(swapped, nil))
				}
			}
		}
	}
	if tried < 10_000 {
		t.Errorf("%d files", tried)
	}
	t.Logf("%d files with parts of others", tried)
}

// goldenRefused is a file, and edits of it that a reader must refuse.
type goldenRefused struct {
	Name string `json:"name"`
	VKey string `json:"vkey"`
	File string `json:"file"`
	// Edits: at byte At, Cut bytes are taken out and Put is put in; then the line
	// `sum` is made right again, if there is one.
	Edits []goldenEdit `json:"edits"`
}

type goldenEdit struct {
	At  int    `json:"at"`
	Cut int    `json:"cut"`
	Put string `json:"put"`
}

// TestGoldenRefused has, of every kind, files with other numbers for readers in
// other languages: testdata/format/proof/refused.json.
func TestGoldenRefused(t *testing.T) {
	var made []goldenRefused
	verifiers := map[string]*Verifier{}
	for _, k := range everyKind(t) {
		g := goldenRefused{Name: k.name, VKey: k.v.keys.Log.VKey, File: string(k.file)}
		verifiers[g.VKey] = k.v.verifier()
		found := numbersOf(t, k.file)
		places := make([]int, 0, len(found))
		for at := range found {
			places = append(places, at)
		}
		slices.Sort(places)
		for _, at := range places {
			n := found[at]
			for _, v := range []uint64{0, n.value - 1, n.value + 1, 1<<53 - 1, 1 << 53, 1 << 63} {
				e := goldenEdit{at, n.length, strconv.FormatUint(v, 10)}
				if _, err := verifiers[g.VKey].Verify(edit(k.file, e.At, e.Cut, e.Put)); err != nil && v != n.value && v != math.MaxUint64 {
					g.Edits = append(g.Edits, e)
				}
			}
		}
		made = append(made, g)
	}
	total := 0
	for _, g := range goldenFile(t, "refused.json", made) {
		ver := verifiers[g.VKey]
		if ver == nil {
			t.Fatalf("%s: key %s", g.Name, g.VKey)
		}
		if _, err := ver.Verify([]byte(g.File)); err != nil {
			t.Errorf("%s: %v", g.Name, err)
		}
		for _, e := range g.Edits {
			total++
			if _, err := ver.Verify(edit([]byte(g.File), e.At, e.Cut, e.Put)); err == nil {
				t.Errorf("%s: %+v verifies", g.Name, e)
			}
		}
	}
	if total < 2000 {
		t.Errorf("%d edits", total)
	}
}
