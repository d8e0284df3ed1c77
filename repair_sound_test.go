package graven

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

// twoHistories is a disk with a store "s" and a copy "c" of it, both of which went on
// from there.
func twoHistories(t testing.TB, mine, theirs func(s *script)) *fsx.Mem {
	t.Helper()
	mem := fsx.NewMem()
	folders(t, mem, "s", "c")
	backedUpVault(t, fsx.Under(mem, "s")).close()
	copyFolder(t, fsx.Under(mem, "s"), fsx.Under(mem, "c"), ".")
	for folder, write := range map[string]func(*script){"s": mine, "c": theirs} {
		if write == nil {
			continue
		}
		s := &script{t: t, host: scriptHost(fsx.Under(mem, folder), 9)}
		s.reopen()
		write(s)
		s.close()
	}
	return mem
}

// copyFolder copies the files below a folder.
func copyFolder(t testing.TB, from, to fsx.Disk, folder string) {
	t.Helper()
	entries, err := from.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := strings.TrimPrefix(folder+"/"+e.Name, "./")
		if e.Dir {
			if err := to.Mkdir(name, false); err != nil {
				t.Fatal(err)
			}
			copyFolder(t, from, to, name)
			continue
		}
		mode := fsx.Create
		if strings.Contains(name, "keys/priv") {
			mode = fsx.CreatePrivate
		}
		f, err := to.Open(name, mode)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(readAll(from, name), 0)
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// repairChangesNothing repairs and fails if truth has other bytes than before.
func repairChangesNothing(t *testing.T, d, from fsx.Disk) (*RepairReport, error) {
	t.Helper()
	truth := func() map[string][]byte {
		all := map[string][]byte{}
		for _, folder := range []string{"vaults/main/log", "vaults/main/blocks"} {
			for _, name := range filesUnder(t, d, folder) {
				all[name] = readAll(d, name)
			}
		}
		return all
	}
	before := truth()
	r, err := repair(d, from)
	for name, b := range truth() {
		if !bytes.Equal(b, before[name]) {
			t.Errorf("%s had %d bytes, and has %d others", name, len(before[name]), len(b))
		}
	}
	return r, err
}

// TestRepairOfASoundVault: where nothing is damaged it does not matter what a copy has.
func TestRepairOfASoundVault(t *testing.T) {
	mine := func(s *script) { s.group(put("mine", "the truth of this vault")) }
	theirs := func(s *script) { s.group(put("theirs", "something that is a good deal longer")) }
	for what, c := range map[string]struct{ mine, theirs func(*script) }{
		"another history": {mine, theirs},
		"ahead":           {nil, theirs},
		"behind":          {mine, nil},
	} {
		mem := twoHistories(t, c.mine, c.theirs)
		if r, err := repairChangesNothing(t, fsx.Under(mem, "s"), fsx.Under(mem, "c/vaults/main")); err != nil || len(r.Files) > 0 {
			t.Errorf("%s: %+v %v", what, r, err)
		}
	}
}

// TestRepairTakesNoOtherHistory: the checkpoint, which is derived, is lost. A copy with
// another history, signed with the vault's key, does not take the place of a whole log;
// nor does a stranger's that has only the vault's ids, and whose checkpoint is not asked.
func TestRepairTakesNoOtherHistory(t *testing.T) {
	lose := func(d fsx.Disk, names ...string) {
		t.Helper()
		for _, name := range names {
			if err := d.Remove("vaults/main/" + name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, longer := range []bool{false, true} {
		mem := twoHistories(t,
			func(s *script) { s.group(put("mine", "acknowledged and published")) },
			func(s *script) {
				s.group(put("theirs", "another"))
				if longer {
					s.group(put("more", "of it"))
				}
			})
		own := fsx.Under(mem, "s")
		lose(own, "checkpoint")
		if r, err := repairChangesNothing(t, own, fsx.Under(mem, "c/vaults/main")); !errors.Is(err, ErrConflict) {
			t.Errorf("longer %v: %+v %v", longer, r, err)
		}
	}
	own, bad := fsx.NewMem(), fsx.NewMem()
	s := backedUpVault(t, own)
	ours := *s.vault.genesis
	s.close()
	host := scriptHost(bad, 77)
	store, err := Create(context.Background(), host, CreateOptions{genesis: func(g *record.Genesis) {
		small(g)
		g.Vault, g.Origin, g.Store = ours.Vault, ours.Origin, ours.Store
	}}, scriptOptions())
	if err != nil {
		t.Fatal(err)
	}
	stranger := &script{t: t, host: host, store: store}
	stranger.vault = stranger.main()
	stranger.group(put("forged", "by a stranger"))
	stranger.close()
	lose(own, "checkpoint")
	if r, err := repairChangesNothing(t, own, fsx.Under(bad, "vaults/main")); err != nil || len(r.Files) > 0 {
		t.Errorf("a stranger's copy: %+v %v", r, err)
	}
	lose(own, "meta/keys/pub/log.vkey")
	if r, err := repairChangesNothing(t, own, fsx.Under(bad, "vaults/main")); err != nil || len(r.Files) > 0 {
		t.Errorf("a stranger's copy, without the own key: %+v %v", r, err)
	}
	// The first line is damaged too: the stranger's genesis would be the only one.
	hurtAt(t, own, "vaults/main/log/log-0000000000000000.jsonl", 5)
	if r, err := repairChangesNothing(t, own, fsx.Under(bad, "vaults/main")); err == nil {
		t.Errorf("a stranger's copy, without the own genesis: %+v", r)
	}
}

// TestRepairStopsAtWhatIsSigned: a line is damaged, and the copy has more lines behind
// the vault's signed size.
func TestRepairStopsAtWhatIsSigned(t *testing.T) {
	mem := twoHistories(t, nil, func(s *script) { s.group(put("theirs", "x")) })
	own := fsx.Under(mem, "s")
	logs := filesUnder(t, own, "vaults/main/log")
	last := logs[len(logs)-1]
	want := readAll(own, last)
	hurtAt(t, own, last, 10)
	r, err := repair(own, fsx.Under(mem, "c/vaults/main"))
	if got := readAll(own, last); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes, wanted the %d of before; %+v %v", last, len(got), len(want), r, err)
	}
	s := &script{t: t, host: scriptHost(own, 9)}
	s.reopen()
	s.close()
}

// TestRepairFromACopyWithRoom: the copy is a plain one, with room reserved in its open
// blocks. It is as good as any.
func TestRepairFromACopyWithRoom(t *testing.T) {
	mem := twoHistories(t, nil, nil)
	own, room := fsx.Under(mem, "s"), fsx.Under(mem, "c/vaults/main")
	for _, name := range filesUnder(t, room, "blocks/open") {
		rewriteFile(t, room, name, append(readAll(room, name), make([]byte, 100_000)...))
	}
	if r, err := repairChangesNothing(t, own, room); err != nil || len(r.Files) > 0 {
		t.Errorf("nothing is damaged: %+v %v", r, err)
	}
	for _, name := range filesUnder(t, own, "vaults/main/blocks/open") {
		hurtAt(t, own, name, int64(len(readAll(own, name)))-10)
	}
	r, err := repair(own, room)
	if err != nil || r.Failed() || len(r.Files) == 0 {
		t.Fatalf("the copy has the sound bytes: %+v %v", r, err)
	}
	list := string(readAll(own, "vaults/main/"+repairsFile))
	if strings.Count(list, "\n") != len(r.Files) || !strings.Contains(list, r.Files[0].File) || !strings.Contains(list, r.Files[0].Kept) {
		t.Errorf("%d files were replaced, the list of repairs says\n%s", len(r.Files), list)
	}
	if report := checkAll(t, own, false); len(report.Findings) > 0 {
		t.Errorf("check finds %v", report.Findings)
	}
}

// TestRepairTakesWhatIsListed: of a backup only what backup.txt lists counts.
func TestRepairTakesWhatIsListed(t *testing.T) {
	mem, target := fsx.NewMem(), fsx.NewMem()
	s := backedUpVault(t, mem)
	s.group(s.stage("big", strings.Repeat("0123456789", 25)))
	s.backup(target, BackupOptions{})
	s.close()
	open := filesUnder(t, mem, "vaults/main/blocks/open")
	if len(open) == 0 {
		t.Fatal("no open blocks")
	}
	text := string(readAll(target, manifestFile))
	m, err := parseManifest([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(open[len(open)-1], "vaults/main/")
	for i, f := range m.files {
		if f.path() == name {
			m.files = append(m.files[:i], m.files[i+1:]...)
			break
		}
	}
	rewriteFile(t, target, manifestFile, m.text())
	if err := mem.Remove("vaults/main/" + name); err != nil {
		t.Fatal(err)
	}
	r, err := repair(mem, target)
	if err != nil || !r.Failed() {
		t.Errorf("%s is in no list: %+v %v", name, r, err)
	}
	if readAll(mem, "vaults/main/"+name) != nil {
		t.Errorf("%s was taken, which is in no list", name)
	}
}
