package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

const indexFolder = "vaults/main/index"

// repeatable is known at a crash when numbered(n) is record seq.
type repeatable struct {
	n   int
	seq uint64
}

// numbered is a transaction that is written once, however often it is committed.
func numbered(n int) *Tx {
	tx := put(fmt.Sprint("k", n%7), fmt.Sprint("value ", n), fmt.Sprint("only", n), "once")
	tx.ID = fmt.Sprint("number ", n)
	return tx
}

// rot flips a bit in the middle of a file, for good.
func rot(t testing.TB, d fsx.Disk, file string) {
	t.Helper()
	content := readAll(d, file)
	f, err := d.Open(file, fsx.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{content[len(content)/2] ^ 4}, int64(len(content)/2))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// mendStory is a life in which files of the index rot while the vault is open: of both
// levels, some of one segment at a time, met by a reader, by the scrubber and by a merge.
// Each is mended, and writes go on behind it. It returns how many disk operations came
// before the first bit flipped, and what could be repeated before any.
func mendStory(t testing.TB, mem *fsx.Mem) (from int, early []any) {
	t.Helper()
	n := 0
	s := newScript(t, mem, func(g *record.Genesis) {
		small(g)
		g.RunRecords = 2
	})
	write := func() {
		t.Helper()
		r := s.group(numbered(n))[0]
		line, err := s.vault.View().Record(r.Seq)
		if err != nil {
			t.Fatal(err)
		}
		mem.Mark(repeatable{n, r.Seq})
		mem.Mark(acknowledged{r.Seq, merkle.LeafHash(line), proof.Checkpoint{Origin: s.vault.Origin(), Size: r.Size, Root: r.Root}})
		if n++; from == 0 {
			early = append(early, repeatable{n - 1, r.Seq})
		}
		s.settle()
	}
	keys := func(level string) int {
		return len(slices.DeleteFunc(filesBelow(t, mem, indexFolder+"/keys"), func(f string) bool { return !strings.Contains(f, "/"+level+"-") }))
	}
	s.group(s.stage("big", strings.Repeat("0123456789", 25)), wide("w", 6), put("gone", "soon"))
	s.group(del("gone"))
	for keys("1") < 1 || keys("0") < 12 {
		write()
	}
	s.close()
	mem.Record()

	var told bytes.Buffer
	o := scriptOptions()
	o.Logger = slog.New(slog.NewTextHandler(&told, nil))
	s.store, s.vault = openScrubbed(t, mem, newScriptClock(), o)
	from = len(mem.Ops())
	mends := func(want int, who string, meet func(), files ...string) {
		t.Helper()
		told.Reset()
		whole := map[string][]byte{}
		for _, f := range files {
			f = indexFolder + "/" + f
			whole[f] = readAll(mem, f)
			rot(t, mem, f)
		}
		meet()
		if got := strings.Count(told.String(), "was made again from the log"); got != want {
			t.Fatalf("%s mended %d times, wanted %d: %s", who, got, want, &told)
		}
		for f, content := range whole {
			if now := readAll(mem, f); now != nil && !bytes.Equal(now, content) {
				t.Fatalf("%s is not what it was after %s met it", f, who)
			}
		}
		write()
	}
	mends(1, "a reader", func() { saysOf(t, s.vault) }, "keys/1-00000000.seg", "shard-000/1-00000000.seg")
	mends(2, "the scrubber", func() { scrubOnce(t, s.vault) },
		"log/0-00000016.seg", "ids/0-00000016.seg", "keys/0-00000016.seg", "shard-000/1-00000000.seg")
	mends(2, "a merge", func() {
		for keys("1") < 2 {
			write()
		}
	}, "keys/0-00000018.seg", "shard-000/0-00000019.seg")
	s.close()
	return from, early
}

// repeated commits what can be repeated once more, and says whether each is what it was.
func repeated(v *Vault, events []any) error {
	var txs []*Tx
	var first []uint64
	for _, e := range events {
		if e, ok := e.(repeatable); ok {
			txs, first = append(txs, numbered(e.n)), append(first, e.seq)
		}
	}
	size := v.View().Size()
	for txs := range slices.Chunk(txs, 16) {
		receipts, err := commitGroup(v, txs...)
		if err != nil {
			return err
		}
		for _, r := range receipts {
			if !r.Replayed || r.Seq != first[0] {
				return fmt.Errorf("what was record %d is record %d when it is committed again", first[0], r.Seq)
			}
			first = first[1:]
		}
	}
	if now := v.View().Size(); now != size {
		return fmt.Errorf("size %d grew to %d", size, now)
	}
	return nil
}

// mendCrashes examines what crashes left. What a vault says whose index is made anew
// follows from its log, so that it is asked once for each root.
type mendCrashes struct {
	early []any // what was known before the trace

	mu   sync.Mutex // guards anew
	anew map[string]madeAnew
}

// madeAnew is what a vault says that was opened without index and state, and its disk.
type madeAnew struct {
	says []string
	disk *fsx.Mem
}

// examine opens what a crash left. Nothing that was told is lost, nothing is on the side,
// and the index says what one says that is made anew. What is still rotten is found by a
// check; then the index is the one that is made anew, byte by byte.
func (c *mendCrashes) examine(state *fsx.CrashState, deep bool) error {
	disk := state.Disk
	store, v, err := openedMain(disk)
	if err != nil {
		return fmt.Errorf("does not open: %w", err)
	}
	if files, folders := onTheSide(disk); files > 0 || folders > 2 { // the open itself may mend
		return fmt.Errorf("%d files and %d folders are left on the side", files, folders)
	}
	if err := remembers(v, state.Events); err != nil {
		return err
	}
	if err := repeated(v, slices.Concat(c.early, state.Events)); err != nil {
		return fmt.Errorf("repeating: %w", err)
	}
	if _, err := commitGroup(v, put("life", "goes on")); err != nil {
		return fmt.Errorf("cannot commit after recovery: %w", err)
	}
	got, err := says(v)
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	if err := store.Close(); err != nil {
		return err
	}
	if files, folders := onTheSide(disk); files > 0 || folders > 2 {
		return fmt.Errorf("%d files and %d folders are left on the side after a mend", files, folders)
	}
	anew, err := c.madeAnew(got[0], disk)
	if err != nil {
		return fmt.Errorf("without index and state: %w", err)
	}
	if !slices.Equal(got, anew.says) {
		got, want := apartFrom(got, anew.says), apartFrom(anew.says, got)
		return fmt.Errorf("the index says %q, made anew it says %q", got, want)
	}
	if !deep {
		return nil
	}
	for round := range 2 {
		if store, err = Open(context.Background(), scriptHost(disk, 2), scriptOptions()); err != nil {
			return err
		}
		report, err := store.Check(context.Background(), "main", CheckOptions{})
		if err := errors.Join(err, store.Close()); err != nil {
			return err
		}
		for _, f := range report.Findings {
			if round > 0 || !f.Mended || !strings.HasPrefix(f.File, "index/") {
				return fmt.Errorf("check number %d finds %v", round+1, f)
			}
		}
	}
	return sameIndex(disk, anew.disk)
}

// apartFrom returns what one list has and another lacks, at most some of it.
func apartFrom(list, other []string) (all []string) {
	for _, s := range list {
		if !slices.Contains(other, s) && len(all) < 4 {
			all = append(all, s)
		}
	}
	return all
}

// madeAnew opens a copy of a vault that lacks index and state.
func (c *mendCrashes) madeAnew(root string, d *fsx.Mem) (madeAnew, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.anew[root]; ok {
		return m, nil
	}
	m := madeAnew{disk: d.Clone()}
	dir := fsx.NewDir(fsx.Under(m.disk, "vaults/main"), fsx.VaultRules())
	if err := errors.Join(dir.DiscardAll("index"), dir.DiscardAll("state")); err != nil {
		return m, err
	}
	store, v, err := openedMain(m.disk)
	if err != nil {
		return m, err
	}
	m.says, err = says(v)
	if err := errors.Join(err, store.Close()); err != nil {
		return m, err
	}
	c.anew[root] = m
	return m, nil
}

func openedMain(d fsx.Disk) (*Store, *Vault, error) {
	store, err := Open(context.Background(), scriptHost(d, 2), scriptOptions())
	if err != nil {
		return nil, nil, err
	}
	v, err := store.Vault(context.Background(), "main")
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, v, nil
}

// onTheSide counts files and folders in the scratch of a vault; a file in its index that
// has a temporary name is one too.
func onTheSide(d fsx.Disk) (files, folders int) {
	var below func(folder string, all bool)
	below = func(folder string, all bool) {
		entries, _ := d.ReadDir(folder) // it may be missing
		for _, e := range entries {
			if e.Dir {
				below(folder+"/"+e.Name, all)
			}
			switch {
			case e.Dir && all:
				folders++
			case !e.Dir && (all || strings.HasPrefix(e.Name, ".new-")):
				files++
			}
		}
	}
	below("vaults/main/tmp", true)
	below(indexFolder, false)
	return files, folders
}

// sameIndex compares the files of two indexes.
func sameIndex(a, b fsx.Disk) error {
	n := 0
	tables, err := a.ReadDir(indexFolder)
	if err != nil {
		return err
	}
	for _, t := range tables {
		folder := indexFolder + "/" + t.Name
		mine, err := a.ReadDir(folder)
		if err != nil {
			return err
		}
		others, err := b.ReadDir(folder)
		if err != nil {
			return err
		}
		if !slices.EqualFunc(mine, others, func(x, y fsx.Entry) bool { return x.Name == y.Name }) {
			return fmt.Errorf("%s holds %v, made anew %v", folder, mine, others)
		}
		for _, e := range mine {
			n++
			if name := folder + "/" + e.Name; !bytes.Equal(readAll(a, name), readAll(b, name)) {
				return fmt.Errorf("%s differs from what is made anew", name)
			}
		}
	}
	if n < 8 {
		return fmt.Errorf("an index of %d files", n)
	}
	return nil
}

// TestMendCrashStates cuts the power after every disk operation of a life in which
// segments of the index rot and are made again.
func TestMendCrashStates(t *testing.T) {
	perPrefix, every, each, least := 3, 12, 2, 250 // every so many, of those in the index each so many
	switch {
	case testing.Short():
		perPrefix, every, each, least = 1, 20, 6, 50
	case os.Getenv("GRAVEN_DEEP") != "":
		perPrefix, every, each, least = 100, 1, 1, 10_000
	}
	mem := fsx.NewMem()
	from, early := mendStory(t, mem)
	jobs := make(chan func(), 2)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for job := range jobs {
				job()
			}
		})
	}
	crashes := mendCrashes{early: early, anew: map[string]madeAnew{}}
	all, n, aside, placed, failures := 0, 0, 0, 0, 0
	ops := mem.Ops()
	var mu sync.Mutex // guards failures
	for state := range mem.CrashStates(fsx.CrashOptions{MaxPerPrefix: perPrefix, Seed: 6, From: from}) {
		all++
		switch name := ops[state.Prefix-1].Name; {
		case strings.HasPrefix(name, indexFolder):
			if all%each != 0 {
				continue
			}
			placed++
		case all%every != 0:
			continue
		case strings.Contains(name, scratch+"/mend"):
			aside++
		}
		n++
		deep := n%8 == 0
		jobs <- func() {
			if err := crashes.examine(state, deep); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if failures++; failures < 5 {
					t.Errorf("after operation %d (%s): %v", state.Prefix, state.Desc, err)
				}
			}
		}
	}
	close(jobs)
	workers.Wait()
	t.Logf("%d of %d crash states of %d operations, %d of them beside the index and %d in it, %d failures", n, all, len(ops)-from, aside, placed, failures)
	if n < least || aside < least/8 || placed < least/4 {
		t.Errorf("%d states, %d beside the index and %d in it, are too few; wanted %d", n, aside, placed, least)
	}
}

// TestMendCrashesAgain cuts the power in a mend, again and again: what that leaves on the
// side is never more than one mend has there, and the last one ends well.
func TestMendCrashesAgain(t *testing.T) {
	lives := 12
	if testing.Short() {
		lives = 3
	}
	disk := fsx.NewMem()
	_, early := mendStory(t, disk)
	const file = indexFolder + "/keys/1-00000000.seg"
	whole := readAll(disk, file)
	most := 0 // files on the side in the first life
	for life := range lives {
		disk.Record()
		_, v, err := openedMain(disk)
		if err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		from := len(disk.Ops())
		if bytes.Equal(readAll(disk, file), whole) {
			rot(t, disk, file)
		}
		if _, err := says(v); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		var cuts []*fsx.CrashState
		ops := disk.Ops()
		for state := range disk.CrashStates(fsx.CrashOptions{MaxPerPrefix: 2, Seed: uint64(life), From: from}) {
			if strings.Contains(ops[state.Prefix-1].Name, scratch+"/mend") {
				cuts = append(cuts, state)
			}
			files, folders := onTheSide(state.Disk)
			if life == 0 {
				most = max(most, files)
			}
			if files > most || folders > 6 {
				t.Fatalf("life %d, after operation %d (%s): %d files and %d folders on the side", life, state.Prefix, state.Desc, files, folders)
			}
		}
		if len(cuts) < 100 {
			t.Fatalf("life %d: the power can be cut at %d moments of a mend", life, len(cuts))
		}
		disk = cuts[len(cuts)*(life+1)/(lives+1)].Disk
	}
	crashes := mendCrashes{early: early, anew: map[string]madeAnew{}}
	if err := crashes.examine(&fsx.CrashState{Disk: disk}, true); err != nil {
		t.Error(err)
	}
	if most < 16 {
		t.Errorf("a mend has only %d files on the side", most)
	}
}
