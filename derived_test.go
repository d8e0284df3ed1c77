package graven

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"graven/internal/fsx"
)

// derivedStory makes a vault with segments of two levels and sets of state pages.
func derivedStory(t testing.TB, mem *fsx.Mem) {
	t.Helper()
	s := newScript(t, mem, small)
	for i := range 80 {
		s.group(put(fmt.Sprintf("k%02d", i%23), fmt.Sprintf("value %d", i)), put(fmt.Sprintf("only%d", i), "once"))
		if i%4 == 3 {
			if err := s.vault.settle(); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.group(s.stage("big", strings.Repeat("0123456789", 25)), wide("w", 6))
	s.close()
}

// filesBelow lists the files of a disk below a folder.
func filesBelow(t testing.TB, d fsx.Disk, folder string) (files []string) {
	t.Helper()
	entries, err := d.ReadDir(folder)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if name := path.Join(folder, e.Name); e.Dir {
			files = append(files, filesBelow(t, d, name)...)
		} else {
			files = append(files, name)
		}
	}
	return files
}

// contentOf is every file of a vault.
func contentOf(t testing.TB, d fsx.Disk) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, f := range filesBelow(t, d, "vaults/main") {
		all[f] = string(readAll(d, f))
	}
	if len(all) == 0 {
		t.Fatal("no files")
	}
	return all
}

// saysOf is says where nothing may fail.
func saysOf(t testing.TB, v *Vault) []string {
	t.Helper()
	all, err := says(v)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// says is all that a vault says of its keys; each is proven.
func says(v *Vault) (all []string, err error) {
	w := v.View()
	all = append(all, w.Head().Root.String(), w.state.Root().String())
	for e, err := range w.List(Query{Deleted: true}) {
		if err != nil {
			return nil, err
		}
		all = append(all, fmt.Sprintf("%q %d %d %v", e.Key, e.Seq, e.N, e.Value))
		for old, err := range w.History(e.Key) {
			if err != nil {
				return nil, err
			}
			if !old.Live {
				all = append(all, fmt.Sprint(old.Seq, old.N, "deleted"))
				continue
			}
			value, err := w.Value(old)
			if err != nil {
				return nil, err
			}
			all = append(all, fmt.Sprint(old.Seq, old.N, value.Size()))
		}
		if _, err := w.ProveKey(e.Key); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func openMain(t testing.TB, d fsx.Disk, o Options) (*Store, *Vault) {
	t.Helper()
	store, err := Open(context.Background(), scriptHost(d, 9), o)
	if err != nil {
		t.Fatal(err)
	}
	v, err := store.Vault(context.Background(), "main")
	if err != nil {
		t.Fatal(err)
	}
	return store, v
}

func rebuild(t testing.TB, d fsx.Disk) *Report {
	t.Helper()
	store, err := Open(context.Background(), scriptHost(d, 9), scriptOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	report, err := store.Check(context.Background(), "main", CheckOptions{Rebuild: true})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestOpenFromABorder opens a vault with segments and pages, and shows that it reads
// the tail of the log only and says the same as one that read everything.
func TestOpenFromABorder(t *testing.T) {
	mem := fsx.NewMem()
	derivedStory(t, mem)
	index, pages := filesBelow(t, mem, "vaults/main/index"), filesBelow(t, mem, "vaults/main/state")
	if !slices.ContainsFunc(index, func(f string) bool { return strings.Contains(f, "keys/1-") }) || len(pages) == 0 {
		t.Fatalf("the story makes no segment of level 1, or no pages: %v %v", index, pages)
	}
	for _, o := range []Options{{ReadOnly: true}, scriptOptions()} {
		store, v := openMain(t, mem.Clone(), o)
		if v.entry.size == 0 || v.View().Size()-v.entry.size > 40 {
			t.Errorf("read-only %v: it began at %d of %d records", o.ReadOnly, v.entry.size, v.View().Size())
		}
		if len(v.found) > 0 || len(v.recovered) > 0 {
			t.Errorf("read-only %v: the open says %v %v", o.ReadOnly, v.found, v.recovered)
		}
		got := saysOf(t, v)
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		bare := mem.Clone()
		for _, f := range slices.Concat(index, pages) {
			if err := bare.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
		store, v = openMain(t, bare, o)
		if want := saysOf(t, v); !slices.Equal(got, want) {
			t.Errorf("read-only %v: from a border it says\n%v\nfrom the log\n%v", o.ReadOnly, got, want)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDerivedFilesLost removes each derived file, each folder of them, and all
// together: the vault opens, and a rebuild gives the same bytes, of the state the same
// root.
func TestDerivedFilesLost(t *testing.T) {
	mem := fsx.NewMem()
	derivedStory(t, mem)
	whole := contentOf(t, mem)
	_, v := openMain(t, mem.Clone(), Options{ReadOnly: true})
	want := saysOf(t, v)
	var lost [][]string
	folders := map[string][]string{}
	for _, root := range []string{"index", "state", "tile", "checkpoint", "meta/keys/pub", "log/current"} {
		files := filesBelow(t, mem, "vaults/main/"+root)
		if len(files) == 0 { // it is a file
			files = []string{"vaults/main/" + root}
		}
		for _, f := range files {
			lost = append(lost, []string{f})
			folders[path.Dir(f)] = append(folders[path.Dir(f)], f)
			folders["all"] = append(folders["all"], f)
		}
	}
	for _, files := range folders {
		lost = append(lost, files)
	}
	for _, files := range lost {
		disk := mem.Clone()
		for _, f := range files {
			if err := disk.Remove(f); err != nil {
				t.Fatal(f, err)
			}
		}
		store, v := openMain(t, disk, scriptOptions())
		if got := saysOf(t, v); !slices.Equal(got, want) {
			t.Errorf("without %v it says\n%v\nwanted\n%v", files, got, want)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if report := rebuild(t, disk); report.Damaged() {
			t.Errorf("without %v: %v", files, report.Findings)
		}
		now := contentOf(t, disk)
		for f, bytes := range whole {
			local := strings.Contains(f, "/state/") || strings.Contains(f, "/wal/") || strings.Contains(f, "/host/")
			if again := now[f]; again != bytes && !local {
				t.Errorf("without %v: %s has %d bytes, before %d", files, f, len(again), len(bytes))
			}
		}
	}
	t.Logf("%d ways to lose derived files", len(lost))
}

// TestShortLives opens, writes little and closes, again and again: what the next open
// has to replay stays little.
func TestShortLives(t *testing.T) {
	mem := fsx.NewMem()
	newScript(t, mem, nil).close()
	o := scriptOptions()
	o.stateBytes, o.closePuts = 1<<30, 10
	for life := range 12 {
		store, v := openMain(t, mem, o)
		if puts := v.tip.state.Puts(); puts >= o.closePuts {
			t.Errorf("life %d: the open put %d leaves again", life, puts)
		}
		for i := range 4 {
			if _, err := commitGroup(v, put(fmt.Sprint(life, i), "value")); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPagesAreWrittenOnce settles while the committer has taken a new ground and what
// readers see stands on the old one: its nodes are on pages already. A second set comes
// only when there is something to write, and holds what is new and no more.
func TestPagesAreWrittenOnce(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, nil)
	defer s.close()
	v := s.vault
	v.opts.stateBytes = 1 << 15
	sets := func() int { return len(filesBelow(t, mem, "vaults/main/state")) }
	newest := func() uint32 { all := v.pages.Sets(); return all[len(all)-1].Number }
	var txs []*Tx
	for i := range 400 {
		txs = append(txs, put(fmt.Sprintf("key %03d", i), "value"))
	}
	s.group(txs...)
	if err := v.settle(); err != nil || sets() == 0 {
		t.Fatal("no pages were written", err)
	}
	first := newest()
	g := v.newGroup() // here the committer goes over
	if !v.standsOnPages(v.tip.state) || v.tip.state.Weight() != 0 {
		t.Errorf("the committer's state holds %d bytes beside the pages", v.tip.state.Weight())
	}
	if err := v.settle(); err != nil || newest() != first {
		t.Errorf("pages were written again: set %d behind %d, %v", newest(), first, err)
	}
	v.reply(g, v.View())
	if v.ground.Load() == nil {
		t.Error("the ground is gone, but no durable group stands on it")
	}
	s.group(put("key 000", "another value"))
	if err := v.settle(); err != nil || newest() != first {
		t.Errorf("pages were written for one put: set %d behind %d, %v", newest(), first, err)
	}
	if v.ground.Load() != nil || v.tip.state.Puts() != 1 {
		t.Errorf("the ground is still there, or %d puts are on no page, wanted 1", v.tip.state.Puts())
	}
}

// TestStatePressure: a group waits for pages when the state has grown far. Where no pages
// are written, since some are damaged, it waits for nothing.
func TestStatePressure(t *testing.T) {
	s := newScript(t, fsx.NewMem(), nil)
	defer s.close()
	v := s.vault
	v.opts.stateBytes = 1
	s.group(put("a", "1"))
	s.group(put("b", "1"))
	if len(v.pages.Sets()) == 0 || v.published.Load() == 0 {
		t.Error("the group did not wait for pages")
	}
	v.condemned.pages = true
	s.group(put("c", "1"))
	published := v.published.Load()
	s.group(put("d", "1"))
	if v.published.Load() != published {
		t.Error("a group waited for what is not done")
	}
}

// TestGroundWithoutRefusedGroups writes pages of a state behind which a group was
// refused and others were not: the committer goes over to that ground, so nothing of the
// refused group was put into it.
func TestGroundWithoutRefusedGroups(t *testing.T) {
	s := newScript(t, fsx.NewMem(), nil)
	defer s.close()
	v := s.vault
	v.opts.stateBytes = 1 << 30
	s.group(put("a", "1"), put("b", "1"))
	if err := v.settle(); err != nil {
		t.Fatal(err)
	}
	then := v.View()
	r, err := v.encode(put("refused", "1"))
	if err != nil {
		t.Fatal(err)
	}
	g := v.newGroup()
	v.take(g, r)
	v.persisted(g, nil, ErrFull)
	s.group(put("c", "1"))
	if err := v.writeStateOf(then); err != nil {
		t.Fatal(err)
	}
	s.group(put("d", "1"))
	if v.paged.Load() == nil || !v.standsOnPages(v.tip.state) || v.tip.state.Puts() != 2 {
		t.Errorf("the committer did not go over to the pages: %d puts are on none, wanted 2", v.tip.state.Puts())
	}
	// A group on the new ground is refused, and so is the one before it, which was begun
	// on the old one: the committer goes back there, and over again.
	one := v.newGroup()
	if err := v.writeStateOf(v.View()); err != nil {
		t.Fatal(err)
	}
	r, err = v.encode(put("refused too", "1"))
	if err != nil {
		t.Fatal(err)
	}
	v.take(one, r)
	other := v.newGroup()
	if !v.standsOnPages(v.tip.state) {
		t.Error("the committer did not go over to the pages")
	}
	v.persisted(one, other, ErrFull)
	if v.standsOnPages(v.tip.state) {
		t.Error("the refused group left the committer on the new ground")
	}
	s.group(put("e", "1"))
	if !v.standsOnPages(v.tip.state) || v.tip.state.Puts() != 1 {
		t.Errorf("the committer did not go over to the pages again: %d puts are on none, wanted 1", v.tip.state.Puts())
	}
	if _, err := v.View().ProveKey([]byte("d")); err != nil {
		t.Error(err)
	}
}

// TestFoldersInTheWayOfFiles: a folder that holds something stands where a file of the
// state or of the host belongs. Derived files are done without; else the message says
// what to do, and nothing is poisoned.
func TestFoldersInTheWayOfFiles(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	s.grow(1)
	s.close()
	for name, refused := range map[string]bool{
		"state/00000001.pages": false, "state/00000077.pages": false, "index/keys/0-00000000.seg": false,
		scrubFile: false, cleanFile: true,
	} {
		d := mem.Clone()
		path := "vaults/main/" + name
		_ = d.Remove(path)
		if err := errors.Join(d.Mkdir(path, false), d.Link("vaults/main/README.txt", path+"/x")); err != nil {
			t.Fatal(err)
		}
		store, err := Open(context.Background(), scriptHost(d, 3), scriptOptions())
		if err != nil {
			t.Fatal(err)
		}
		v, err := store.Vault(context.Background(), "main")
		if refused {
			if !errors.Is(err, fsx.ErrFolder) || !strings.Contains(err.Error(), name) || errors.Is(err, ErrPoisoned) {
				t.Errorf("%s: %v", name, err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if _, err := commitGroup(v, put("x", "y")); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if notes := fmt.Sprint(v.Status().Notes); strings.HasPrefix(name, "state/") && !strings.Contains(notes, name+": a directory stands") {
			t.Errorf("%s: the notes are %s", name, notes)
		}
		if err := store.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := mem.Clone()
	path := "vaults/main/" + checkFile
	if err := errors.Join(d.Mkdir(path, false), d.Link("vaults/main/README.txt", path+"/x")); err != nil {
		t.Fatal(err)
	}
	s = &script{t: t, host: scriptHost(d, 3)}
	s.reopen()
	defer s.close()
	if _, err := s.store.Check(context.Background(), "main", CheckOptions{}); !errors.Is(err, fsx.ErrFolder) || !strings.Contains(err.Error(), checkFile) {
		t.Error(err)
	}
}

// TestReplayLeavesTheRest: an open for writing waits for no segment and no pages but those
// for which writers would wait too. The keeper makes them behind it.
func TestReplayLeavesTheRest(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	for i := range 20 {
		s.group(put(fmt.Sprintf("k%02d", i%7), fmt.Sprintf("value %d", i)))
	}
	if err := s.vault.settle(); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		s.group(put(fmt.Sprint("later", i), "value"))
	}
	want := saysOf(t, s.vault)
	mem.Kill()

	goOn := make(chan struct{})
	disk := &gated{Disk: mem}
	stop := func(name string) {
		if strings.HasPrefix(name, "vaults/main/index/") || strings.HasPrefix(name, "vaults/main/state/") {
			<-goOn
		}
	}
	disk.gate.Store(&stop)
	opened := make(chan struct{})
	go func() {
		select {
		case <-opened:
		case <-time.After(20 * time.Second):
			t.Error("the open waits for segments or pages")
		}
		close(goOn)
	}()
	store, v := openMain(t, disk, Options{walBytes: 4096, SnapshotCommits: -1, SnapshotEvery: -1})
	if got := saysOf(t, v); !slices.Equal(got, want) {
		t.Errorf("it says\n%v\nwanted\n%v", got, want)
	}
	if v.endedRuns() == 0 {
		t.Error("no run is left for the keeper: this test tests nothing")
	}
	close(opened)
	for tries := 0; v.endedRuns() > 0; tries++ {
		if tries > 1000 {
			t.Fatal("the keeper leaves runs without segments")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if r := checkAll(t, mem, false); r.Damaged() {
		t.Error(r.Findings)
	}
}

// TestRebuildOfALiveVault: a rebuild holds the files that were there against all that it
// makes, though an open leaves some of them to the keeper.
func TestRebuildOfALiveVault(t *testing.T) {
	mem := fsx.NewMem()
	derivedStory(t, mem)
	disk := &gated{Disk: mem}
	slow := func(name string) {
		if strings.HasPrefix(name, "vaults/main/index/") {
			time.Sleep(time.Millisecond)
		}
	}
	disk.gate.Store(&slow)
	options := Options{walBytes: 4096, SnapshotCommits: -1, SnapshotEvery: -1}
	ctx := context.Background()
	for i := range 3 {
		store, v := openMain(t, disk, options)
		for range 3 { // so that another number of runs is left each time
			if _, err := v.Commit(ctx, put(fmt.Sprint("more", i), "value")); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		store, err := Open(ctx, scriptHost(disk, 9), options)
		if err != nil {
			t.Fatal(err)
		}
		report, err := store.Check(ctx, "main", CheckOptions{Rebuild: true})
		if err != nil || len(report.Findings) > 0 {
			t.Errorf("a rebuild of what is whole finds %v, %v", report.Findings, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
