package graven

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

// lifeKeys are the keys of a random life, the space in front: of users and of others, UTF-8 or not.
var lifeKeys = []string{
	"ka", "kb/1", "kb/2", "kü", "k\xff", "k\x00x", "kquote\"", "kc", "kd", "ke", "k\x7f\u0085", "k" + strings.Repeat("long/", 40),
	"\x00a", "\x00\xfe", "Aa", "Ab", "\xffz", "\xff\xff\xff",
}

// randomLife is a vault with a history of its own: some groups of transactions of
// every shape, closed now and then. It returns the disk and what a reader should say.
func randomLife(t testing.TB, seed uint64) (*fsx.Mem, string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 11))
	mem := fsx.NewMem()
	s := newScript(t, mem, func(g *record.Genesis) {
		small(g)
		g.BlockBytes, g.FileRecords = uint64(300+rng.IntN(900)), uint64(5+rng.IntN(40))
		g.ValueLimit, g.ChunkSize = uint64(40+rng.IntN(30)), uint64(70+rng.IntN(60))
	})
	key := func() string { return lifeKeys[rng.IntN(len(lifeKeys))] }
	value := func() Content {
		return Bytes(fmt.Appendf(nil, "%s%d", strings.Repeat("v", rng.IntN(38)), rng.IntN(30)))
	}
	for range rng.IntN(14) {
		var txs []*Tx
		before := s.vault.View()
		wrote := map[string]bool{} // what the transactions of this group write
		for range 1 + rng.IntN(4) {
			tx := &Tx{Actor: []string{"", "a", "ü \"\\"}[rng.IntN(3)]}
			if rng.IntN(4) == 0 {
				tx.ID = fmt.Sprint(seed, "/", rng.Uint64())
			}
			if rng.IntN(4) == 0 {
				lifeCondition(tx, rng, before, key(), wrote)
			}
			for range 1 + rng.IntN(5) {
				k := key()
				if wrote[k] {
					continue
				}
				wrote[k] = true
				op := record.Op{Kind: record.OpPut, Space: k[0], Key: []byte(k[1:])}
				if rng.IntN(5) == 0 && k[0] == record.SpaceUser {
					op.If = holding(rng, before, k[1:])
				}
				if c := value(); rng.IntN(4) == 0 {
					op.Kind = record.OpDelete
					tx.add(op, Content{}, true)
				} else {
					op.Type = []string{"", "text/plain"}[rng.IntN(2)]
					tx.add(valueOp(op, c), c, false)
				}
			}
			switch rng.IntN(6) {
			case 0:
				tx.Append(value(), "")
			case 1:
				for i := range 12 { // wide
					k := fmt.Sprintf("kwide/%d/%d", i, rng.IntN(20))
					if !wrote[k] {
						wrote[k] = true
						tx.Put([]byte(k[1:]), value(), PutOptions{})
					}
				}
			}
			if tx.Len() > 0 {
				txs = append(txs, tx)
			}
		}
		if rng.IntN(5) == 0 {
			txs = append(txs, s.stage("big", strings.Repeat(fmt.Sprint(rng.IntN(20), "/"), 40+rng.IntN(100))))
		}
		if len(txs) > 0 {
			s.group(txs...)
		}
		switch rng.IntN(6) {
		case 0:
			s.close()
			s.reopen()
		case 1, 2:
			if err := s.vault.settle(); err != nil {
				t.Fatal(err)
			}
		}
	}
	w := s.vault.View()
	want := fmt.Sprintf("size %d\nroot %v\nstate %v\n", w.Size(), w.Head().Root, w.state.Root())
	s.close()
	return mem, want
}

// lifeCondition adds a condition that holds on what the group has not written.
func lifeCondition(tx *Tx, rng *rand.Rand, before *View, k string, wrote map[string]bool) {
	switch {
	case len(wrote) == 0:
		tx.RequireUnchanged(nil, nil, before.Seq())
	case k[0] == record.SpaceUser && !wrote[k] && rng.IntN(3) > 0:
		wrote[k] = true // once in a transaction
		tx.Require([]byte(k[1:]), *holding(rng, before, k[1:]))
	default:
		tx.RequireUnchanged([]byte("zz"), []byte("zzz"), uint64(rng.IntN(2)))
	}
}

// holding is a condition on a key of users that holds.
func holding(rng *rand.Rand, before *View, key string) *record.Cond {
	e, err := before.Get([]byte(key))
	switch n := rng.IntN(3); {
	case errors.Is(err, ErrNotFound):
		return &record.Cond{Kind: record.Absent}
	case n == 0:
		return &record.Cond{Kind: record.Present}
	case n == 1:
		return &record.Cond{Kind: record.AtSeq, Seq: e.Seq}
	}
	return &record.Cond{Kind: record.HasValue, Value: e.Value}
}

// secondReader finds the reader that somebody wrote in another language, from
// docs/format.md alone. Its function reads vaults' folders.
func secondReader(t *testing.T) func(folders ...string) (out, errs string, err error) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: there is no python3 on this machine")
	}
	return func(folders ...string) (string, string, error) {
		var out, errs bytes.Buffer
		cmd := exec.Command(python, append([]string{"docs/reader.py"}, folders...)...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		return out.String(), errs.String(), err
	}
}

// TestSecondReaderWantsAFolder: without one it says how it is called.
func TestSecondReaderWantsAFolder(t *testing.T) {
	out, errs, err := secondReader(t)()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || out != "" || !strings.HasPrefix(errs, "usage: python3 docs/reader.py ") {
		t.Errorf("%v, output %q, errors %q", err, out, errs)
	}
}

// lifeFiles are the files of a vault that a reader of log and blocks looks at.
type lifeFiles map[string][]byte

func lifeFilesOf(t testing.TB, d fsx.Disk) lifeFiles {
	t.Helper()
	files := lifeFiles{}
	for _, name := range slices.Concat(walk(t, d, "vaults/main/log"), walk(t, d, "vaults/main/blocks")) {
		files[strings.TrimPrefix(name, "vaults/main/")] = readAll(d, name)
	}
	return files
}

func (f lifeFiles) write(t testing.TB, folder string) {
	t.Helper()
	for name, data := range f {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, data, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(folder, "blocks", "open"), 0o777); err != nil { // it may be empty
		t.Fatal(err)
	}
}

// memoryDir is a folder for a test, in memory if there is such a place: of some
// ten small files a history, making them on a disk takes most of the time.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "graven-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// lifeSigns are what histories must have between them to be worth a test.
var lifeSigns = map[string]*regexp.Regexp{
	"a second version of a key":   regexp.MustCompile(`"n":2}`),
	"a version with a far link":   regexp.MustCompile(`"skip":[1-9]\d*,"n":(4|7)}`),
	"a delete":                    regexp.MustCompile(`{"op":"delete"`),
	"a put of a deleted key":      regexp.MustCompile(`"op":"put".*"if":{"absent":true},"prev":[1-9]`),
	"an append":                   regexp.MustCompile(`{"op":"append"`),
	"an op of a system space":     regexp.MustCompile(`"space":"00"`),
	"an op of the last space":     regexp.MustCompile(`"space":"ff"`),
	"a key that is no UTF-8":      regexp.MustCompile(`"key64":`),
	"a condition on an absence":   regexp.MustCompile(`"op":"if","key.*"absent":true`),
	"a condition on a seq":        regexp.MustCompile(`"if":{"seq":[1-9]`),
	"a condition on a value":      regexp.MustCompile(`"if":{"value":`),
	"a condition on a range":      regexp.MustCompile(`{"op":"if",("from"|"since")`),
	"a wide transaction":          regexp.MustCompile(`"wide":{`),
	"a chunked value":             regexp.MustCompile(`"chunks":`),
	"a block of chunks":           regexp.MustCompile(`"kind":"block",.*"time":"[^"]*","id"`),
	"a sealed block":              regexp.MustCompile(`"kind":"block",.*"number":[1-9]`),
	"a commit above the tenth":    regexp.MustCompile(`"height":1\d,`),
	"a transaction with an id":    regexp.MustCompile(`"id":"[^"]`),
	"an actor that needs escapes": regexp.MustCompile(`"actor":"ü `),
}

// TestSecondReader lets the second reader recompute tree root and state root of
// many histories. They are dealt out to as many processes as there are processors.
func TestSecondReader(t *testing.T) {
	read := secondReader(t)
	lives := 2000
	if testing.Short() {
		lives = 100
	}
	if os.Getenv("GRAVEN_DEEP") != "" {
		lives = 10_000
	}
	type count struct {
		records, files int
		signs          map[string]bool
	}
	const deal = 100
	counts := make([]count, lives/deal)
	t.Run("lives", func(t *testing.T) {
		for i := range counts {
			t.Run(fmt.Sprint(i*deal), func(t *testing.T) {
				t.Parallel()
				c := &counts[i]
				c.signs = map[string]bool{}
				dir, want := memoryDir(t), ""
				var folders []string
				for life := range deal {
					mem, says := randomLife(t, uint64(i*deal+life))
					files := lifeFilesOf(t, mem)
					folder := filepath.Join(dir, fmt.Sprint(life))
					files.write(t, folder)
					folders, want = append(folders, folder), want+says
					for name, data := range files {
						if strings.HasSuffix(name, ".jsonl") {
							c.files++
							c.records += bytes.Count(data, []byte{'\n'})
							for sign, pattern := range lifeSigns {
								c.signs[sign] = c.signs[sign] || pattern.Match(data)
							}
						}
					}
				}
				if got, errs, err := read(folders...); err != nil || got != want {
					t.Fatalf("%v %s\n%s", err, errs, firstDifference(got, want))
				}
			})
		}
	})
	var all count
	all.signs = map[string]bool{}
	for _, c := range counts {
		all.records, all.files = all.records+c.records, all.files+c.files
		for sign, seen := range c.signs {
			all.signs[sign] = all.signs[sign] || seen
		}
	}
	t.Logf("%d histories agree, with %d records in %d files", lives, all.records, all.files)
	for sign := range lifeSigns {
		if !all.signs[sign] {
			t.Errorf("no history has %s", sign)
		}
	}
	if all.records < lives*15 || all.files < lives*3/2 {
		t.Errorf("only %d records in %d files", all.records, all.files)
	}
}

// firstDifference shows where two texts part.
func firstDifference(a, b string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("at byte %d: %.80q, wanted %.80q", i, a[i:], b[i:])
		}
	}
	return fmt.Sprintf("%d bytes, wanted %d", len(a), len(b))
}
