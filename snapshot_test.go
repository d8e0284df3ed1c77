package graven

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"graven/internal/fsx"
	"graven/internal/index"
	"graven/record"
	"graven/state"
)

// snap makes a snapshot.
func (s *script) snap() SnapshotInfo {
	s.t.Helper()
	info, err := s.vault.Snapshot(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	return info
}

// verified verifies a snapshot, which must be good.
func verified(t testing.TB, v *Vault, number uint64, replay bool) *SnapshotReport {
	t.Helper()
	r, err := v.VerifySnapshot(context.Background(), number, SnapshotOptions{Replay: replay})
	if err != nil {
		t.Fatal(err)
	}
	if r.Damaged() {
		t.Fatalf("snapshot %d: %v", number, r.Findings)
	}
	if r.Replayed != replay {
		t.Fatalf("snapshot %d was not replayed", number)
	}
	return r
}

// snapStory makes a vault with three snapshots, the first of an almost empty vault,
// and commits behind each.
func snapStory(t testing.TB, d fsx.Disk) *script {
	t.Helper()
	s := newScript(t, d, small)
	s.snap()
	for i := range 30 {
		s.group(put(fmt.Sprintf("k%02d", i%7), fmt.Sprintf("value %d", i)))
	}
	s.group(s.stage("big", strings.Repeat("0123456789", 25)), wide("w", 6))
	s.snap()
	s.group(del("k01"))
	for i := range 9 {
		s.group(put(fmt.Sprintf("m%02d", i), "again"))
	}
	s.snap()
	s.group(put("behind", "all"))
	return s
}

func TestSnapshot(t *testing.T) {
	mem := fsx.NewMem()
	s := snapStory(t, mem)
	list, err := s.vault.Snapshots()
	if err != nil || len(list) != 3 {
		t.Fatalf("%v, %v", list, err)
	}
	check := func() {
		t.Helper()
		for i, info := range list {
			if info.Number != uint64(i+1) || info.Size != info.Position+1 || info.Seq <= info.Position {
				t.Errorf("snapshot %d: %+v", i+1, info)
			}
			r := verified(t, s.vault, info.Number, true)
			if !r.Paged || r.Blocks == 0 || r.Segments == 0 || len(r.Notes) > 1 {
				t.Errorf("snapshot %d: %+v", info.Number, r)
			}
		}
	}
	check()
	m, err := parseSnapshotManifest(readAll(mem, "vaults/main/snapshots/snapshot-00000003/manifest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// As no merge went past the border, the list has what the manifest says.
	listed := readAll(mem, "vaults/main/snapshots/snapshot-00000003/pinned-segments.txt")
	for _, name := range index.Cover(m.runs) {
		if !strings.Contains(string(listed), "  index/keys/"+name+".seg\n") {
			t.Errorf("segment %s is not in\n%s", name, listed)
		}
	}
	s.close()
	s.reopen()
	check()
	if again, err := s.vault.Snapshots(); err != nil || !slices.EqualFunc(list, again, func(a, b SnapshotInfo) bool { return a.Manifest == b.Manifest && a.Seq == b.Seq }) {
		t.Errorf("after a reopen %v, %v", again, err)
	}
	if _, err := s.vault.VerifySnapshot(context.Background(), 4, SnapshotOptions{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("snapshot 4: %v", err)
	}
	s.close()
	report := rebuild(t, mem)
	if report.Damaged() {
		t.Fatal(report.Findings)
	}
}

// TestSnapshotIdle: a snapshot needs nobody else who writes, and one behind the other
// is one of the same state.
func TestSnapshotIdle(t *testing.T) {
	s := newScript(t, fsx.NewMem(), small)
	defer s.close()
	first, second := s.snap(), s.snap()
	a, b := verified(t, s.vault, 1, true), verified(t, s.vault, 2, true)
	if a.State != b.State || second.Position <= first.Seq {
		t.Errorf("%+v %+v", a, b)
	}
}

// TestSnapshotDrop lets go of a snapshot: its pages and lists go, and what is left is
// verified from the log.
func TestSnapshotDrop(t *testing.T) {
	mem := fsx.NewMem()
	s := snapStory(t, mem)
	for i := range 12 { // so that other sets are the newest
		s.group(put("k", fmt.Sprint(i)))
		s.snap()
	}
	if r := verified(t, s.vault, 2, false); !r.Paged {
		t.Fatalf("the pages of one that was asked for are gone: %+v", r)
	}
	before := len(filesBelow(t, mem, "vaults/main/state"))
	_, reader := openMain(t, mem, readingOptions())
	for n := range uint64(15) {
		if err := s.vault.DropSnapshot(context.Background(), n+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.vault.DropSnapshot(context.Background(), 16); !errors.Is(err, ErrNotFound) {
		t.Errorf("snapshot 16: %v", err)
	}
	if r := verified(t, s.vault, 2, true); r.Paged || r.Pages || r.Blocks == 0 {
		t.Errorf("dropped: %+v", r)
	}
	if after := len(filesBelow(t, mem, "vaults/main/state")); after >= before {
		t.Errorf("%d files of pages, %d before", after, before)
	}
	for n := range uint64(14) { // that knew of their pages
		verified(t, reader, n+1, false)
	}
	for _, f := range filesBelow(t, mem, "vaults/main/snapshots") {
		if !strings.HasSuffix(f, "/manifest.yaml") && !strings.HasSuffix(f, "/kept") {
			t.Errorf("%s is still there", f)
		}
	}
	s.close()
}

// TestSnapshotBesideDamagedIndex makes snapshots while files of the index are damaged, or
// were removed because they were: what the lists have is right for ever.
func TestSnapshotBesideDamagedIndex(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	for i := range 26 {
		s.group(put(fmt.Sprint("k", i), fmt.Sprint("v", i)))
	}
	if err := s.vault.settle(); err != nil {
		t.Fatal(err)
	}
	files, err := s.vault.index.Files(noLimit)
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	for i, f := range []string{files[4], files[9]} {
		hurtAt(t, mem, "vaults/main/"+f, 70)
		if i == 1 { // it cannot be made again
			s.vault.mending.tries[f] = maxMends
		}
	}
	first := s.snap()
	if got := s.vault.condemned.files; !slices.Equal(got, files[9:10]) {
		t.Errorf("condemned are %v, wanted %s", got, files[9])
	}
	if list := string(readAll(mem, "vaults/main/"+snapshotFolder(first.Number)+"/"+pinnedSegments)); strings.Contains(list, files[9]) || !strings.Contains(list, files[4]) {
		t.Errorf("%s is condemned, %s was mended; the list has\n%s", files[9], files[4], list)
	}
	s.group(put("later", "x"))
	if err := s.vault.keep(); err != nil {
		t.Fatal(err)
	}
	if readAll(mem, "vaults/main/"+files[9]) != nil {
		t.Error("it was not discarded")
	}
	s.group(put("later", "y"))
	s.snap()
	s.close()
	if r := rebuild(t, mem); r.Damaged() {
		t.Fatal(r.Findings)
	}
	s.reopen()
	s.group(put("later", "z"))
	last := s.snap()
	for n := range last.Number {
		verified(t, s.vault, n+1, false)
	}
	s.close()
}

// TestSnapshotPolicy counts commits, and the time of the records; where nobody writes
// there is no snapshot.
func TestSnapshotPolicy(t *testing.T) {
	for _, o := range []Options{{SnapshotCommits: 5, SnapshotEvery: -1}, {SnapshotCommits: -1, SnapshotEvery: 20 * time.Millisecond}, {SnapshotCommits: -1, SnapshotEvery: -1}} {
		s := newScript(t, fsx.NewMem(), small)
		v := s.vault
		v.opts.SnapshotCommits, v.opts.SnapshotEvery = o.SnapshotCommits, o.SnapshotEvery
		never := o.SnapshotCommits < 0 && o.SnapshotEvery < 0
		for i := range 40 {
			s.group(put("k", fmt.Sprint(i)))
			for range 3 {
				if err := v.snapshotIfDue(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if i == 20 {
				s.close()
				s.reopen()
				v = s.vault
				v.opts.SnapshotCommits, v.opts.SnapshotEvery = o.SnapshotCommits, o.SnapshotEvery
			}
		}
		list, err := v.Snapshots()
		if err != nil || (len(list) == 0) != never {
			t.Fatalf("%d snapshots, %v", len(list), err)
		}
		for i := range list {
			// Of the older ones only what the log has is left, and pages that are still of use.
			old := i < len(list)-2
			if r := verified(t, v, uint64(i+1), true); !r.Paged && !old || r.Segments > 0 && old {
				t.Errorf("snapshot %d of %d: %+v", i+1, len(list), r)
			}
			if i > 0 && list[i].Position-list[i-1].Position < 5 {
				t.Errorf("snapshots at %d and %d", list[i-1].Position, list[i].Position)
			}
		}
		if pins := v.pinned(); !never && len(pins) != 2 {
			t.Errorf("pins %v", pins)
		}
		v.opts.SnapshotCommits, v.opts.SnapshotEvery = 0, 0
		for range 5 { // due at once, but only if there was a transaction since
			if err := v.snapshotIfDue(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if again, err := v.Snapshots(); err != nil || len(again) != len(list)+1 {
			t.Errorf("%d snapshots, %d before the last transaction, %v", len(again), len(list), err)
		}
		s.close()
	}
}

// TestSnapshotLetsGo overwrites all keys behind a snapshot of the policy and one that
// was asked for: the first gives its pages back when they alone need much, the second
// keeps them, and the list of the first goes with its pages.
func TestSnapshotLetsGo(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	defer s.close()
	v := s.vault
	write := func() {
		t.Helper()
		for i := range 20 {
			s.group(wide(fmt.Sprint("w", i, " "), 10))
		}
		if err := v.settle(); err != nil {
			t.Fatal(err)
		}
		if err := v.writeStateOf(v.View()); err != nil {
			t.Fatal(err)
		}
	}
	write()
	s.snap()
	write()
	v.opts.SnapshotCommits = 1
	if err := v.snapshotIfDue(context.Background()); err != nil {
		t.Fatal(err)
	}
	v.opts.SnapshotCommits = -1
	pages := func() (n int) {
		for _, p := range v.pinned() {
			if _, ok := v.pages.At(p.size); ok {
				n++
			}
		}
		return n
	}
	tend := func(want int) {
		t.Helper()
		for range 3 {
			write()
		}
		if err := v.tendSnapshots(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := v.pages.Collect(); err != nil {
			t.Fatal(err)
		}
		if len(v.pinned()) != want || pages() != want {
			t.Errorf("%d pins, %d of them with pages, wanted %d", len(v.pinned()), pages(), want)
		}
	}
	tend(2) // what they need is little
	v.opts.snapshotBytes = 1
	tend(1)
	if p := v.pinned(); len(p) == 1 && !p[0].demand {
		t.Error("the snapshot that was asked for lost its pages")
	}
	if lists := len(filesBelow(t, mem, "vaults/main/snapshots/snapshot-00000002")); lists != 1 {
		t.Errorf("%d files of the snapshot that gave its pages back, wanted its manifest", lists)
	}
	for number := range uint64(2) {
		verified(t, v, number+1, true)
	}
}

// TestSnapshotDamage spoils each file of a snapshot and each file that it pins.
func TestSnapshotDamage(t *testing.T) {
	mem := fsx.NewMem()
	s := snapStory(t, mem)
	s.close()
	files := filesBelow(t, mem, "vaults/main/snapshots/snapshot-00000003")
	for _, list := range slices.Clone(files) {
		for line := range strings.Lines(string(readAll(mem, list))) {
			if _, name, ok := parseSum(strings.TrimSuffix(line, "\n")); ok {
				files = append(files, "vaults/main/"+name)
			}
		}
	}
	if len(files) < 10 {
		t.Fatal(files)
	}
	for _, f := range files {
		disk := mem.Clone()
		h, err := disk.Open(f, fsx.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := h.Size()
		at := size / 2
		if strings.HasSuffix(f, pinnedSegments) {
			at = 0 // a name that is not there is one that went
		}
		b := make([]byte, 1)
		_, _ = h.ReadAt(b, at)
		b[0] ^= 1
		if _, err := h.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
		h.Close()
		store, err := Open(context.Background(), scriptHost(disk, 9), Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		v, err := store.Vault(context.Background(), "main")
		if errors.Is(err, ErrDamaged) {
			continue // the block of the authority
		}
		r, err := v.VerifySnapshot(context.Background(), 3, SnapshotOptions{})
		if errors.Is(err, ErrDamaged) {
			continue // a file of the index that says where the record is
		}
		if err != nil || !r.Damaged() {
			t.Errorf("%s: %+v, %v", f, r, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// stateOf is the state that a view's commit says, built in the way that is asked for.
func stateOf(t testing.TB, w *View, from pastState, commit uint64) state.Map {
	t.Helper()
	m, err := w.stateFrom(from, commit)
	if err != nil {
		t.Fatalf("state of %d from %d: %v", commit, from.commit, err)
	}
	return m
}

// replaysAlike holds state(0→P) against state(S→P), for every snapshot S and every
// commit P behind it, and says how many pairs there were.
func replaysAlike(t testing.TB, v *Vault) (pairs int) {
	t.Helper()
	w := v.View()
	list, err := v.Snapshots()
	if err != nil {
		t.Fatal(err)
	}
	for commit := uint64(1); commit < w.Size(); commit++ {
		if ok, err := w.isCommit(commit); err != nil || !ok {
			continue
		}
		whole := stateOf(t, w, pastState{}, commit)
		for _, s := range list {
			if s.Position > commit {
				continue
			}
			from := pastState{commit: s.Position}
			if paged, ok := w.pagedBefore(s.Position); ok && paged.commit == s.Position {
				from = paged
			} else {
				from.state = stateOf(t, w, pastState{}, s.Position)
			}
			m := stateOf(t, w, from, commit)
			if m.Root() != whole.Root() || m.Len() != whole.Len() || m.Live() != whole.Live() {
				t.Errorf("state(0→%d) is %v, state(%d→%d) is %v", commit, whole.Root(), s.Position, commit, m.Root())
			}
			pairs++
		}
		if m, err := w.stateAt(commit); err != nil || m.Root() != whole.Root() {
			t.Errorf("stateAt(%d): %v", commit, err)
		}
	}
	return pairs
}

// listsOf is all that a vault says of its keys.
func listsOf(t testing.TB, v *Vault) (all []string) {
	t.Helper()
	w := v.View()
	all = append(all, w.Head().Root.String(), w.state.Root().String())
	for e, err := range w.List(Query{Deleted: true}) {
		if err != nil {
			t.Fatal(err)
		}
		for old, err := range w.History(e.Key) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprintf("%q %d %d %v", e.Key, old.Seq, old.N, old.Value))
		}
	}
	return all
}

// TestDeterministicReplay: a vault that does anything, with snapshots that others write
// beside, has the same states from 0 and from every snapshot, with derived files
// there, absent, and rebuilt, and the same files.
func TestDeterministicReplay(t *testing.T) {
	pairs := 0
	rapid.Check(t, func(rt *rapid.T) {
		mem := fsx.NewMem()
		s := newScript(t, mem, small)
		var half *making // a snapshot that others write beside
		var left []func(context.Context) error
		for i := range rapid.IntRange(5, 30).Draw(rt, "steps") {
			key := fmt.Sprintf("k%d", rapid.IntRange(0, 9).Draw(rt, "key"))
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0:
				s.group(wide(fmt.Sprint("w", i), rapid.IntRange(1, 7).Draw(rt, "wide")))
			case 1:
				s.group(s.stage("big", strings.Repeat(fmt.Sprint(i), 130)))
			case 2:
				if _, err := s.vault.View().Get([]byte(key)); err == nil {
					s.group(del(key))
				}
			case 3:
				if err := s.vault.settle(); err != nil {
					t.Fatal(err)
				}
			case 4:
				s.snap()
				half, left = nil, nil
			case 5:
				half = &making{v: s.vault, demand: true}
				left = []func(context.Context) error{half.border, half.cover, half.keep, half.publish}
			case 6:
				if half != nil && len(left) == 0 {
					if _, err := half.record(); err != nil {
						t.Fatal(err)
					}
					half = nil
				} else if half != nil {
					if err := left[0](context.Background()); err != nil {
						t.Fatal(err)
					}
					left = left[1:]
				}
			case 7:
				s.close()
				s.reopen()
				half, left = nil, nil
			default:
				s.group(put(key, fmt.Sprint("value ", i)), put(fmt.Sprint("only", i), strings.Repeat("x", 60)))
			}
		}
		s.snap()
		s.close()
		_, v := openMain(t, mem.Clone(), Options{ReadOnly: true})
		want := listsOf(t, v)
		pairs += replaysAlike(t, v)

		bare := mem.Clone()
		for _, folder := range []string{"index", "state", "tile", "snapshots"} {
			for _, f := range filesBelow(t, bare, "vaults/main/"+folder) {
				if err := bare.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, v = openMain(t, bare.Clone(), Options{ReadOnly: true})
		if got := listsOf(t, v); !slices.Equal(got, want) {
			t.Errorf("without derived files it says\n%v\nwanted\n%v", got, want)
		}
		pairs += replaysAlike(t, v)

		rebuilt := mem.Clone()
		if report := rebuild(t, rebuilt); report.Damaged() {
			t.Errorf("%v", report.Findings)
		}
		now := contentOf(t, rebuilt)
		for f, content := range contentOf(t, mem) {
			if local := strings.Contains(f, "/state/") || strings.Contains(f, "/wal/") || strings.Contains(f, "/host/") ||
				strings.HasSuffix(f, "/kept") || strings.HasSuffix(f, pinnedSegments); !local && now[f] != content {
				t.Errorf("rebuilt, %s has %d bytes, before %d", f, len(now[f]), len(content))
			}
		}
		_, v = openMain(t, rebuilt, Options{ReadOnly: true})
		pairs += replaysAlike(t, v)
		list, err := v.Snapshots()
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range list {
			if r := verified(t, v, info.Number, true); !r.Paged {
				t.Errorf("snapshot %d, which was asked for, lost its pages in the rebuild", info.Number)
			}
		}
	})
	t.Logf("%d pairs", pairs)
}

// TestManifest reads back what it wrote, and nothing else.
func TestSnapshotManifest(t *testing.T) {
	mem := fsx.NewMem()
	snapStory(t, mem).close()
	text := string(readAll(mem, "vaults/main/snapshots/snapshot-00000003/manifest.yaml"))
	t.Log(text)
	m, err := parseSnapshotManifest([]byte(text))
	if err != nil || string(m.text()) != text {
		t.Fatalf("%v\n%s", err, m.text())
	}
	if _, err := parseSnapshotManifest([]byte(strings.Replace(text, "snapshot: 1", "snapshot: 2", 1))); !errors.Is(err, ErrUnsupported) {
		t.Errorf("version 2: %v", err)
	}
	for i := range text {
		for _, other := range []string{text[:i], text[:i] + text[i+1:], text[:i] + "\n" + text[i:], text[:i] + "9" + text[i+1:]} {
			if m, err := parseSnapshotManifest([]byte(other)); err == nil && string(m.text()) != other {
				t.Errorf("it takes %q", other)
			}
		}
	}
	if _, err := parseSnapshotManifest([]byte(strings.Replace(text, "runs: ", "runs: 99999999999", 1))); err == nil {
		t.Error("it takes any number of runs")
	}
}

// TestSums writes and reads lines of sha256sum.
func TestSums(t *testing.T) {
	ids := map[string]record.ID{"index/keys/0-00000001.seg": {1}, "blocks/sealed/00/x.blk": {2}}
	got := map[string]record.ID{}
	for line := range strings.Lines(string(sumLines(ids))) {
		id, name, ok := parseSum(strings.TrimSuffix(line, "\n"))
		if !ok {
			t.Error(line)
		}
		got[name] = id
	}
	if !maps.Equal(got, ids) {
		t.Errorf("%v", got)
	}
	for _, bad := range []string{"", "00  x", strings.Repeat("0", 64) + " x", strings.Repeat("0", 64) + "  ../x"} {
		if _, _, ok := parseSum(bad); ok {
			t.Errorf("it takes %q", bad)
		}
	}
}

// TestPastWithoutPages: states of the past are there when pages are damaged.
func TestPastWithoutPages(t *testing.T) {
	mem := fsx.NewMem()
	snapStory(t, mem).close()
	for _, f := range filesBelow(t, mem, "vaults/main/state") {
		h, err := mem.Open(f, fsx.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.WriteAt([]byte("no page at all"), 90); err != nil {
			t.Fatal(err)
		}
		h.Close()
	}
	_, v := openMain(t, mem, Options{ReadOnly: true})
	if len(v.pages.Sets()) == 0 {
		t.Fatal("no sets")
	}
	if n := replaysAlikeFromLog(t, v); n < 20 {
		t.Errorf("%d commits", n)
	}
}

// replaysAlikeFromLog holds stateAt of every commit against a replay from 0.
func replaysAlikeFromLog(t testing.TB, v *Vault) (commits int) {
	t.Helper()
	w := v.View()
	for commit := w.Size() - 1; commit > 0; commit-- { // downwards, so that none is built on another
		if ok, err := w.isCommit(commit); err != nil || !ok {
			continue
		}
		commits++
		if m, err := w.stateAt(commit); err != nil || m.Root() != stateOf(t, w, pastState{}, commit).Root() {
			t.Errorf("stateAt(%d): %v", commit, err)
		}
	}
	return commits
}
