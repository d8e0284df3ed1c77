package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/proof"
	"graven/record"
)

func readingOptions() Options {
	o := scriptOptions()
	o.ReadOnly = true
	return o
}

// syncDisks brings the mirror on one disk up to the vault on another.
func syncDisks(from, to fsx.Disk, o SyncOptions) (*SyncReport, error) {
	return syncWith(context.Background(), from, to, o)
}

func syncWith(ctx context.Context, from, to fsx.Disk, o SyncOptions) (report *SyncReport, err error) {
	source, err := Open(ctx, scriptHost(from, 5), readingOptions())
	if err != nil {
		return nil, fmt.Errorf("the source: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	v, err := source.Vault(ctx, "main")
	if err != nil {
		return nil, fmt.Errorf("the source: %w", err)
	}
	target, err := OpenForSync(ctx, scriptHost(to, 6), scriptOptions())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	return target.Sync(ctx, v, o)
}

func mustSync(t testing.TB, from, to fsx.Disk) *SyncReport {
	t.Helper()
	r, err := syncDisks(from, to, SyncOptions{Where: "a test"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sourceStory is the life of a source, in as many parts as somebody syncs between.
// Each part ends closed.
func sourceStory(t testing.TB, mem *fsx.Mem) (parts []func()) {
	var s *script
	value := strings.Repeat("v", 50)
	settle := func() {
		t.Helper()
		if err := s.vault.settle(); err != nil {
			t.Fatal(err)
		}
	}
	return []func(){
		func() {
			s = newScript(t, mem, small)
			s.group(put("a", "first"))
			s.group(put("a", "second", "b", "first"), put("c", value))
			s.group(wide("w", 6))
			settle()
			s.group(s.stage("big", strings.Repeat("0123456789", 25)))
			s.close()
		},
		func() {
			s.reopen()
			s.group(del("b"))
			if _, err := s.setPolicy(func(p *record.Policy) {
				_, key := actorKey(t, "signer", proof.TypeEd25519)
				p.Actors = []record.PolicyActor{{Actor: "signer", Keys: []string{key}}}
			}); err != nil {
				t.Fatal(err)
			}
			signer, _ := actorKey(t, "signer", proof.TypeEd25519)
			tx := signed(put("s", "signed"), "signer", signer)
			tx.ID = "an id"
			s.group(tx)
			for i := range 14 {
				s.group(put("fill"+fmt.Sprint(i), value+fmt.Sprint(i)), put("a", fmt.Sprint("more ", i)))
				if i%5 == 4 {
					settle()
				}
			}
			s.close()
		},
		func() {
			s.reopen()
			for i := range 60 {
				s.group(put(fmt.Sprintf("k%02d", i%23), fmt.Sprintf("value %d", i)), put(fmt.Sprintf("only%d", i), "once"))
				if i%4 == 3 {
					settle()
				}
			}
			s.group(s.stage("big2", strings.Repeat("abcdefghij", 21)), put("z", "last"), wide("x", 7))
			s.close()
		},
	}
}

// sourceAlone is the whole source story.
func sourceAlone(t testing.TB) *fsx.Mem {
	t.Helper()
	mem := fsx.NewMem()
	for _, part := range sourceStory(t, mem) {
		part()
	}
	return mem
}

// ledgerOf is every file of a vault that must be equal in its mirrors: all but what
// is of this host, the private keys, and the state's pages, of which the roots are
// equal. Whether a tile lies in a file or is still in memory, and a full block is
// sealed already, is equal after a sync too.
func ledgerOf(t testing.TB, d fsx.Disk) map[string]string {
	t.Helper()
	all := contentsOf(d)
	for name := range all {
		if !equalInMirrors(name) {
			delete(all, name)
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d files", len(all))
	}
	return all
}

func equalInMirrors(name string) bool {
	for _, folder := range []string{"wal/", "meta/host/", "meta/keys/priv/", "state/"} {
		if strings.HasPrefix(name, "vaults/main/"+folder) {
			return false
		}
	}
	return true
}

// contentsOf is every file of a vault; of one that is not there none.
func contentsOf(d fsx.Disk) map[string]string {
	all := map[string]string{}
	var below func(folder string)
	below = func(folder string) {
		entries, _ := d.ReadDir(folder)
		for _, e := range entries {
			if name := folder + "/" + e.Name; e.Dir {
				below(name)
			} else {
				all[name] = string(readAll(d, name))
			}
		}
	}
	below("vaults/main")
	return all
}

// sameLedger compares two vaults byte by byte.
func sameLedger(t testing.TB, from, to fsx.Disk) {
	t.Helper()
	want, got := ledgerOf(t, from), ledgerOf(t, to)
	for name, text := range want {
		if other, ok := got[name]; !ok {
			t.Errorf("the mirror has no %s", name)
		} else if text != other {
			t.Errorf("%s differs: %d bytes, the mirror has %d", name, len(text), len(other))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("the mirror has %s besides", name)
		}
	}
}

// TestSyncMakesEqualBytes follows a vault through its life, and compares files,
// answers and proofs after each sync.
func TestSyncMakesEqualBytes(t *testing.T) {
	from, to, second := fsx.NewMem(), fsx.NewMem(), fsx.NewMem()
	size := uint64(0)
	for i, part := range sourceStory(t, from) {
		part()
		r := mustSync(t, from, to)
		if r.Created != (i == 0) || r.From != size || r.Size <= size || r.Records != r.Size-r.From || r.Artifacts == 0 || r.Bytes == 0 {
			t.Errorf("part %d: %+v, the mirror had %d records", i, r, size)
		}
		size = r.Size
		sameLedger(t, from, to)
		sameProofs(t, from, to)
		if r := mustSync(t, from, to); r.Records != 0 || r.Bytes != 0 || r.Size != size {
			t.Errorf("part %d again: %+v", i, r)
		}
	}
	// At once, from the mirror.
	if r := mustSync(t, to, second); r.Size != size || r.Records != size {
		t.Errorf("a mirror of the mirror: %+v", r)
	}
	sameLedger(t, from, second)
	sameProofs(t, from, second)
	index := filesBelow(t, second, "vaults/main/index")
	if !slices.ContainsFunc(index, func(f string) bool { return strings.Contains(f, "keys/1-") }) || len(filesBelow(t, second, "vaults/main/blocks/sealed")) < 6 || len(filesBelow(t, second, "vaults/main/log")) < 4 {
		t.Errorf("the story is too short to show anything: %v", index)
	}
	for _, d := range []fsx.Disk{to, second} {
		mirrorStands(t, d)
	}
}

// mirrorStands checks a mirror, and that nobody can write it.
func mirrorStands(t testing.TB, d fsx.Disk) {
	t.Helper()
	store, v := openMain(t, d, scriptOptions())
	defer store.Close()
	if _, err := v.Commit(context.Background(), put("a", "b")); !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), "mirror of graven.local/") {
		t.Errorf("a commit to a mirror: %v", err)
	}
	if _, err := v.SetPolicy(context.Background(), record.Policy{}, 0); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a policy for a mirror: %v", err)
	}
	if st := v.Status(); !strings.HasPrefix(st.Mirror, v.Origin()+", from a test") || st.Writable {
		t.Errorf("status of a mirror: %+v", st)
	}
	for _, o := range []CheckOptions{{}, {Rebuild: true}} {
		report, err := store.Check(context.Background(), "main", o)
		if err != nil || len(report.Findings) > 0 || report.Size != v.View().Size() {
			t.Errorf("check of a mirror: %v %+v", err, report)
		}
	}
	readsAll(t, v.View(), v.published.Load())
}

// readsAll reads every value of a view of this size.
func readsAll(t testing.TB, w *View, size uint64) {
	t.Helper()
	if w.Size() != size {
		t.Errorf("a reader sees size %d, published is %d", w.Size(), size)
	}
	for e, err := range w.List(Query{}) {
		var b bytes.Buffer
		value, readErr := w.Value(e)
		if err = errors.Join(err, readErr); err == nil {
			_, err = value.WriteTo(&b)
		}
		if err != nil || uint64(b.Len()) != e.Size {
			t.Errorf("value of %q: %d bytes, %v", e.Key, b.Len(), err)
		}
	}
}

// proofsOf are proofs of every kind, at the published checkpoint.
func proofsOf(t testing.TB, d fsx.Disk) [][]byte {
	t.Helper()
	store, v := openMain(t, d, readingOptions())
	defer store.Close()
	var all [][]byte
	add := func(b []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	w, err := v.View().Cosigned()
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, w.Checkpoint(), []byte(w.state.Root().String()))
	for _, w := range []*View{v.View(), w} {
		for seq := uint64(0); seq < w.Size(); seq += 7 {
			add(w.ProveRecord(seq))
		}
		for _, key := range []string{"a", "b", "big", "w3", "nothing"} {
			add(w.ProveKey([]byte(key)))
		}
		add(w.ProveList(Query{Prefix: []byte("w")}))
		add(w.ProveHistory([]byte("a")))
		add(w.ProveConsistency(2))
	}
	return all
}

func sameProofs(t testing.TB, from, to fsx.Disk) {
	t.Helper()
	want, got := proofsOf(t, from), proofsOf(t, to)
	for i := range want {
		if !bytes.Equal(want[i], got[i]) {
			t.Errorf("proof %d differs:\n%s\nthe mirror's:\n%s", i, want[i], got[i])
		}
	}
}

// TestSyncGoesOn cuts a sync off behind each of its groups, lets readers look, and
// goes on.
func TestSyncGoesOn(t *testing.T) {
	from, to := fsx.NewMem(), fsx.NewMem()
	parts := sourceStory(t, from)
	parts[0]()
	old := mustSync(t, from, to).Size
	parts[1]()
	parts[2]()
	ctx, rounds := context.Background(), 0
	for stop := 3; ; stop += 3 {
		rounds++
		ctx, cancel := context.WithCancel(ctx)
		groups := 0
		_, err := syncWith(ctx, from, to, SyncOptions{Progress: func(int64, int64) {
			store, v := openMain(t, to, readingOptions()) // beside the sync
			readsAll(t, v.View(), old)
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			if groups++; groups == stop {
				cancel()
			}
		}})
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if groups != stop {
			t.Fatalf("%d groups, wanted %d", groups, stop)
		}
		for _, o := range []Options{readingOptions(), scriptOptions()} {
			store, v := openMain(t, to, o)
			readsAll(t, v.View(), old)
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if rounds < 4 {
		t.Errorf("only %d rounds", rounds)
	}
	sameLedger(t, from, to)
	sameProofs(t, from, to)
}

// TestNewMirrorIsUnfinished: until its first sync is done there is nothing to read.
func TestNewMirrorIsUnfinished(t *testing.T) {
	from, to := sourceAlone(t), fsx.NewMem()
	ctx, cancel := context.WithCancel(context.Background())
	_, err := syncWith(ctx, from, to, SyncOptions{Progress: func(int64, int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for _, o := range []Options{readingOptions(), scriptOptions()} {
		store, err := Open(context.Background(), scriptHost(to, 9), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Vault(context.Background(), "main"); !errors.Is(err, ErrUnfinished) {
			t.Errorf("read-only %v: %v", o.ReadOnly, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if r := mustSync(t, from, to); r.Created || r.From == 0 {
		t.Errorf("%+v", r)
	}
	sameLedger(t, from, to)
}

// TestMirrorAhead: an older source has nothing to give, also to a mirror that was
// brought further.
func TestMirrorAhead(t *testing.T) {
	from, to := fsx.NewMem(), fsx.NewMem()
	parts := sourceStory(t, from)
	parts[0]()
	older := from.Clone()
	parts[1]()
	middle := from.Clone()
	parts[2]()
	size := mustSync(t, from, to).Size
	before := contentOf(t, to)
	r := mustSync(t, older, to)
	if r.Records != 0 || r.Size != size || r.Source >= size {
		t.Errorf("%+v", r)
	}
	sameContent(t, before, contentOf(t, to))

	// A sync that was cut off goes to an older checkpoint that it has passed.
	to = fsx.NewMem()
	mustSync(t, older, to)
	ctx, cancel := context.WithCancel(context.Background())
	groups := 0
	_, err := syncWith(ctx, from, to, SyncOptions{Progress: func(int64, int64) {
		if groups++; groups == 40 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if r := mustSync(t, middle, to); r.Records != 0 || r.Size != r.Source {
		t.Errorf("%+v", r)
	}
	sameProofs(t, middle, to)
	mustSync(t, from, to)
	sameLedger(t, from, to)
}

// sameContent compares the files of one vault. An open that changes nothing may turn
// to a new file of the write-ahead log, and write pages of the state.
func sameContent(t testing.TB, want, got map[string]string) {
	t.Helper()
	passed := func(name string) bool {
		return strings.HasPrefix(name, "vaults/main/wal/") || strings.HasPrefix(name, "vaults/main/state/")
	}
	for name := range want {
		if got[name] != want[name] && !passed(name) {
			t.Errorf("%s has changed", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok && !passed(name) {
			t.Errorf("%s is new", name)
		}
	}
}

// TestFork: of two histories under one key the second is refused, and both
// checkpoints are kept, once.
func TestFork(t *testing.T) {
	from, to := fsx.NewMem(), fsx.NewMem()
	parts := sourceStory(t, from)
	parts[0]()
	mustSync(t, from, to)
	early := to.Clone()
	other := from.Clone()
	parts[1]()
	mustSync(t, from, to)
	store, v := openMain(t, other, scriptOptions())
	for i := range 30 {
		if _, err := commitGroup(v, put("another", fmt.Sprint("history ", i))); err != nil {
			t.Fatal(err)
		}
		if i == 1 || i == 29 {
			if err := v.settle(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	before := contentOf(t, to)
	for range 2 {
		_, err := syncDisks(other, to, SyncOptions{})
		var fork *ForkError
		if !errors.As(err, &fork) || !errors.Is(err, ErrFork) {
			t.Fatalf("a fork: %v", err)
		}
		kept := contentOf(t, to)
		text := kept["vaults/main/"+fork.File]
		mine, theirs := string(readAll(to, "vaults/main/checkpoint")), string(readAll(other, "vaults/main/checkpoint"))
		if !strings.Contains(text, mine) || !strings.Contains(text, theirs) || string(fork.Mirror) != mine || string(fork.Source) != theirs {
			t.Errorf("kept is\n%s", text)
		}
		delete(kept, "vaults/main/"+fork.File)
		sameContent(t, before, kept)
	}
	// A source that goes on with its own history has new checkpoints without end.
	first := filesBelow(t, to, "vaults/main/"+forkFolder)
	for i := range 4 {
		store, v := openMain(t, other, scriptOptions())
		if _, err := commitGroup(v, put("another", fmt.Sprint("more ", i))); err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, err := syncDisks(other, to, SyncOptions{})
			var fork *ForkError
			if !errors.As(err, &fork) || !strings.Contains(string(readAll(to, "vaults/main/"+fork.File)), string(readAll(other, "vaults/main/checkpoint"))) {
				t.Errorf("the newest fork is not kept: %v", err)
			}
		}
	}
	if kept := filesBelow(t, to, "vaults/main/"+forkFolder); len(kept) != 2 || kept[0] != first[0] {
		t.Errorf("kept are %v, the first was %v", kept, first)
	}
	// Ahead of the published checkpoint: the one that the sync went to is the evidence.
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := syncWith(ctx, from, early, SyncOptions{Progress: func(int64, int64) { cancel() }}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	_, err := syncDisks(other, early, SyncOptions{})
	var fork *ForkError
	if !errors.As(err, &fork) || string(fork.Mirror) != string(readAll(from, "vaults/main/checkpoint")) {
		t.Errorf("a fork behind the published checkpoint: %v", err)
	}
}

// TestSyncRefuses: what cannot be synced is told apart, and the target is as it was.
func TestSyncRefuses(t *testing.T) {
	from := fsx.NewMem()
	parts := sourceStory(t, from)
	parts[0]()
	to := fsx.NewMem()
	mustSync(t, from, to)
	alone := fsx.NewMem() // another vault of that name
	s := &script{t: t, host: scriptHost(alone, 77)}
	var err error
	if s.store, err = Create(context.Background(), s.host, CreateOptions{genesis: small}, scriptOptions()); err != nil {
		t.Fatal(err)
	}
	s.vault = s.main()
	s.group(put("other", "vault"))
	s.close()
	mirrorOfOther := fsx.NewMem()
	mustSync(t, alone, mirrorOfOther)
	vkey := string(bytes.TrimSpace(readAll(alone, "vaults/main/"+logPub)))
	for _, c := range []struct {
		name     string
		from, to *fsx.Mem
		o        SyncOptions
		want     error
	}{
		{"the target is written itself", from, alone, SyncOptions{}, ErrVaultExists},
		{"the source itself", alone, alone.Clone(), SyncOptions{}, ErrVaultExists},
		{"another vault's mirror", from, mirrorOfOther, SyncOptions{}, ErrConflict},
		{"another key than the one given", from, to, SyncOptions{VKey: vkey}, ErrDamaged},
	} {
		before := contentOf(t, c.to)
		if _, err := syncDisks(c.from, c.to, c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		sameContent(t, before, contentOf(t, c.to))
	}
	empty := fsx.NewMem()
	if _, err := syncDisks(from, empty, SyncOptions{VKey: vkey}); !errors.Is(err, ErrDamaged) || len(filesBelow(t, empty, "vaults")) > 0 {
		t.Errorf("a new mirror with another key: %v", err)
	}
}

// TestMirrorMendsWhatAMergeNeeds cuts a sync off in a merge, and one of the segments
// that were to be merged rots: the next sync makes it again.
func TestMirrorMendsWhatAMergeNeeds(t *testing.T) {
	source, mem := fsx.NewMem(), fsx.NewMem()
	s := newScript(t, source, small)
	for i := range 29 {
		s.group(put(fmt.Sprint("k", i%7), fmt.Sprint(i)))
	}
	s.close()
	mustSync(t, source, mem)
	s.reopen()
	for i := range 11 {
		s.group(put(fmt.Sprint("k", i%7), fmt.Sprint("later", i)))
	}
	s.close()
	cut := fsx.Fault(mem, func(c fsx.Call) error {
		if c.Op == "link" && strings.Contains(fmt.Sprint(c), "/1-0000000") {
			return fsx.ErrIO // a kill there leaves the same
		}
		return nil
	})
	if _, err := syncDisks(source, cut, SyncOptions{}); !errors.Is(err, fsx.ErrIO) {
		t.Fatal(err)
	}
	mem.Kill()
	for _, file := range filesBelow(t, mem, "vaults/main/index/keys") {
		disk := mem.Clone()
		hurtAt(t, disk, file, 70)
		mustSync(t, source, disk)
		if r := checkAll(t, disk, false); r.Damaged() {
			t.Errorf("%s: %v", file, r.Findings)
		}
		if n := len(filesBelow(t, disk, "vaults/main/index/keys")); n > 15 {
			t.Errorf("%s: %d segments: none were merged", file, n)
		}
	}
}

// TestMirrorMakesDerivedFilesAgain: an open of a mirror's store for writing makes its
// derived files again, to the same bytes; only the checkpoint comes from the source.
func TestMirrorMakesDerivedFilesAgain(t *testing.T) {
	from, to := sourceAlone(t), fsx.NewMem()
	mustSync(t, from, to)
	for _, kind := range []string{"tile/", "index/", "state/", "meta/keys/pub/", "meta/policy/", "checkpoint"} {
		bare := to.Clone()
		for _, file := range filesBelow(t, bare, "vaults/main") {
			if strings.HasPrefix(file, "vaults/main/"+kind) {
				if err := bare.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
		}
		if kind == "checkpoint" {
			if _, err := recheck(bare); err == nil {
				t.Error("a mirror without a checkpoint is read")
			}
			if r := mustSync(t, from, bare); r.Records != 0 {
				t.Errorf("without its checkpoint: %+v", r)
			}
		}
		report, err := recheck(bare)
		if err != nil || report.Damaged() {
			t.Errorf("without %s: %v %+v", kind, err, report)
		}
		sameLedger(t, from, bare)
		mirrorStands(t, bare)
	}
}

// TestMirrorMendsItsTexts: copies of documents come again in a mirror as in its source, and
// with a rebuild what is written into each vault.
func TestMirrorMendsItsTexts(t *testing.T) {
	from, to := sourceAlone(t), fsx.NewMem()
	mustSync(t, from, to)
	for _, name := range []string{authorityFile, policyFile, "README.txt", "rescue.sh"} {
		for _, lost := range []bool{true, false} {
			disk, file := to.Clone(), "vaults/main/"+name
			want := readAll(disk, file)
			setFile(t, disk, file, []byte("something else\n"))
			if lost {
				if err := disk.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
			r := rebuild(t, disk)
			if r.Damaged() || len(r.Findings) != 1 || r.Findings[0].File != name || !bytes.Equal(readAll(disk, file), want) {
				t.Errorf("%s, lost %v: %v", name, lost, r.Findings)
			}
			if r := checkAll(t, disk, false); len(r.Findings) > 0 {
				t.Errorf("%s, lost %v: then %v", name, lost, r.Findings)
			}
			mirrorStands(t, disk)
		}
	}
}

// recheck rebuilds what can be of a vault that opens.
func recheck(d fsx.Disk) (*Report, error) {
	ctx := context.Background()
	store, err := Open(ctx, scriptHost(d, 9), scriptOptions())
	if err != nil {
		return nil, err
	}
	_, err = store.Vault(ctx, "main")
	report, checkErr := store.Check(ctx, "main", CheckOptions{Rebuild: true})
	return report, errors.Join(err, checkErr, store.Close())
}

// TestSyncOfRandomLives: vaults of other limits and histories, whose shapes nobody chose.
func TestSyncOfRandomLives(t *testing.T) {
	lives := uint64(60)
	if testing.Short() {
		lives = 10
	}
	for seed := range lives {
		from, _ := randomLife(t, seed)
		to := fsx.NewMem()
		mustSync(t, from, to)
		sameLedger(t, from, to)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestSyncOfSnapshots syncs a source that makes snapshots, which end blocks before they
// are full, while it goes on: the mirror's log and blocks have equal bytes.
func TestSyncOfSnapshots(t *testing.T) {
	source, mirror := fsx.NewMem(), fsx.NewMem()
	s := newScript(t, source, small)
	for i := range 12 {
		s.group(put(fmt.Sprint("a", i), fmt.Sprint("value ", i)), put(fmt.Sprint("b", i), "x"))
		if i%3 == 1 {
			s.snap()
		}
		if i%4 == 3 {
			if err := s.vault.settle(); err != nil {
				t.Fatal(err)
			}
			mustSync(t, source, mirror)
		}
	}
	s.snap()
	s.close()
	mustSync(t, source, mirror)
	want, got := contentOf(t, source), contentOf(t, mirror)
	compared := 0
	for name, bytes := range want {
		if strings.Contains(name, "/log/log-") || strings.Contains(name, "/blocks/") || strings.Contains(name, "/tile/") {
			if compared++; got[name] != bytes {
				t.Errorf("%s: %d bytes in the mirror, %d in the source", name, len(got[name]), len(bytes))
			}
		}
	}
	if compared < 8 {
		t.Errorf("only %d files were compared", compared)
	}
	if r := checkAll(t, mirror, false); r.Damaged() {
		t.Error(r.Findings)
	}
}
