package graven

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

// openFile is the newest open block of a class, in the vault's folder.
func openFile(t testing.TB, d fsx.Disk, class string) (name string) {
	t.Helper()
	for _, n := range filesUnder(t, fsx.Under(d, mainVault), "blocks/open") {
		if strings.HasPrefix(n, "blocks/open/"+class+"-") {
			name = n
		}
	}
	if name == "" {
		t.Fatalf("no block of class %s is open", class)
	}
	return name
}

// hurtText flips a bit of a text in a file of the vault.
func hurtText(t testing.TB, d fsx.Disk, name, text string) {
	t.Helper()
	at := strings.Index(string(readAll(d, mainVault+"/"+name)), text)
	if at < 0 {
		t.Fatalf("%s does not hold %q", name, text)
	}
	hurtAt(t, d, mainVault+"/"+name, int64(at))
}

// extend puts bytes behind a file of the vault.
func extend(t *testing.T, d fsx.Disk, name string, b []byte) {
	rewriteFile(t, d, mainVault+"/"+name, append(readAll(d, mainVault+"/"+name), b...))
}

// TestRepairLeavesSoundOpenBlocks: a vault that is whole is not changed, whatever the
// copy holds in its open blocks: another history, more, or room that was reserved.
func TestRepairLeavesSoundOpenBlocks(t *testing.T) {
	for what, c := range map[string][2]func(*script){
		"a fork":   {puts("mine"), puts("theirs", "and more of it")},
		"is ahead": {puts(), puts("theirs")},
		"is older": {puts("mine"), puts()},
	} {
		own, copied := forked(t, c[0], c[1])
		before := truths(t, own)
		if r, err := repairWith(own, copied, ""); err != nil || len(r.Files) > 0 {
			t.Errorf("%s: %+v %v", what, r, err)
		}
		unchanged(t, what, own, before)
	}
	own, copied := forked(t, puts(), puts())
	for _, class := range []string{"main", classLog} {
		extend(t, copied, openFile(t, copied, class), make([]byte, 4096))
	}
	before := truths(t, own)
	if r, err := repairWith(own, copied, ""); err != nil || len(r.Files) > 0 {
		t.Errorf("reserved room: %+v %v", r, err)
	}
	name := openFile(t, own, "main")
	hurtAt(t, own, mainVault+"/"+name, int64(len(readAll(own, mainVault+"/"+name)))-10)
	if r, err := repairWith(own, copied, ""); err != nil || r.Failed() || len(r.Files) != 1 {
		t.Errorf("reserved room, and damage: %+v %v", r, err)
	}
	unchanged(t, "reserved room", own, before)
}

// TestRepairOfEachArtifact hurts every frame of the open blocks, in its first line and
// its bytes, and two at once. The copy is a fork, and holds none of what came behind it:
// what it has is taken from it, by its id, and the rest is named.
func TestRepairOfEachArtifact(t *testing.T) {
	sound, copied := forked(t, puts("mine", "mine too"), puts("theirs"))
	want := truths(t, sound)
	for _, class := range []string{"main", classLog} {
		name := openFile(t, sound, class)
		text := string(readAll(sound, mainVault+"/"+name))
		common := len(text)
		if class == "main" {
			common = strings.Index(text, "the value of mine") - 80
		}
		for at := range len(text) {
			if !strings.HasPrefix(text[at:], "sha256:") {
				continue
			}
			for _, off := range []int{0, 30, 71, 76, 85} {
				disk := sound.Clone()
				hurtAt(t, disk, mainVault+"/"+name, int64(at+off))
				lost := at > common
				if !lost {
					hurtAt(t, disk, mainVault+"/"+name, 5) // its header, too
				}
				damaged := truths(t, disk)
				r, err := repairWith(disk, copied, "")
				if err != nil || r.Failed() != lost || len(r.Files) != 1 || r.Files[0].File != name {
					t.Fatalf("%s, offset %d: %+v %v", name, at+off, r, err)
				}
				if lost {
					unchanged(t, "lost", disk, damaged)
				} else {
					unchanged(t, "brought back", disk, want)
				}
			}
		}
	}
}

// TestRepairFindsArtifactsElsewhere: in second copies of the vault's own, and in blocks
// that a newer copy has sealed.
func TestRepairFindsArtifactsElsewhere(t *testing.T) {
	own := fsx.NewMem()
	s := newScript(t, own, small)
	s.group(put("k", "to be hurt"))
	s.close()
	sealed := own.Clone()
	goOn(t, sealed, 9, func(s *script) { s.grow(3) })
	want := truths(t, own)
	name := openFile(t, own, "main")
	if _, err := sealed.Stat(mainVault + "/" + name); err == nil {
		t.Fatalf("%s is not sealed", name)
	}
	disk := own.Clone()
	hurtText(t, disk, name, "to be hurt")
	if r, err := repairWith(disk, sealed, ""); err != nil || r.Failed() || len(r.Files) != 1 {
		t.Errorf("sealed in the copy: %+v %v", r, err)
	}
	unchanged(t, "sealed in the copy", disk, want)

	disk = own.Clone()
	hurtText(t, disk, name, "to be hurt")
	remove(t, disk, name) // and all of the file
	if r, err := repairWith(disk, sealed, ""); err != nil || r.Failed() || len(r.Files) != 1 {
		t.Errorf("gone: %+v %v", r, err)
	}
	unchanged(t, "gone", disk, want)

	disk = own.Clone()
	hurtText(t, disk, name, "to be hurt")
	goOn(t, disk, 9, puts()) // opens all the same
	goOn(t, disk, 9, func(s *script) { s.group(put("k2", "to be hurt")) })
	empty := own.Clone()
	remove(t, empty, name)
	r, err := repairWith(disk, empty, "")
	if err != nil || r.Failed() || len(r.Files) != 1 {
		t.Errorf("healed: %+v %v", r, err)
	}
	if !strings.HasPrefix(string(readAll(disk, mainVault+"/"+name)), string(readAll(own, mainVault+"/"+name))) {
		t.Error("healed: it is not what it was")
	}
}

// TestRepairNamesWhatNobodyHas: an open block that is gone or was cut, and a copy that is
// older. What it has comes back, and the rest is counted; a copy that has it brings it
// back later.
func TestRepairNamesWhatNobodyHas(t *testing.T) {
	sound, older := forked(t, puts("mine", "mine too"), puts())
	want := truths(t, sound)
	name := openFile(t, sound, "main")
	text := string(readAll(sound, mainVault+"/"+name))
	for what, damage := range map[string]func(*fsx.Mem){
		"gone": func(d *fsx.Mem) { remove(t, d, name) },
		"cut":  func(d *fsx.Mem) { rewriteFile(t, d, mainVault+"/"+name, []byte(text[:100])) },
		"cut behind": func(d *fsx.Mem) {
			rewriteFile(t, d, mainVault+"/"+name, []byte(text[:strings.Index(text, "the value of mine")+3]))
		},
		"empty": func(d *fsx.Mem) { rewriteFile(t, d, mainVault+"/"+name, nil) },
	} {
		disk := sound.Clone()
		damage(disk)
		r, err := repairWith(disk, older, "")
		if err != nil || !r.Failed() || r.Damaged() != 1 {
			t.Errorf("%s: %+v %v", what, r, err)
			continue
		}
		if last := r.Files[len(r.Files)-1]; last.File != name || !errors.Is(last.Err, errNotInCopy) {
			t.Errorf("%s: %+v", what, last)
		}
		if got := string(readAll(disk, mainVault+"/"+name)); !strings.HasPrefix(got, text[:strings.Index(text, "the value of mine")-80]) {
			t.Errorf("%s: %d bytes are there", what, len(got))
		}
		if r, err = repairWith(disk, sound, ""); err != nil || r.Failed() {
			t.Errorf("%s: a newer copy: %+v %v", what, r, err)
		}
		unchanged(t, what, disk, want)
	}
}

// TestRepairOfBlocksThatEndedEarly: a snapshot lets the class begin a new block, and a
// crash comes before the old one is sealed. Each of the two is brought back as it was.
func TestRepairOfBlocksThatEndedEarly(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	s.group(put("a", "in the first"))
	s.vault.blocks.Advance("main")
	s.group(put("b", "in the second"))
	s.group(put("c", "in the second, too"))
	if err := s.vault.publish(s.vault.View()); err != nil {
		t.Fatal(err)
	}
	sound := mem.Clone()
	s.close()
	want := truths(t, sound)
	names := []string{openBlockName("main", 0), openBlockName("main", 1)}
	for i, text := range []string{"in the first", "in the second"} {
		for what, damage := range map[string]func(*fsx.Mem){
			"hurt":   func(d *fsx.Mem) { hurtText(t, d, names[i], text) },
			"header": func(d *fsx.Mem) { hurtAt(t, d, mainVault+"/"+names[i], 4) },
			"frame":  func(d *fsx.Mem) { hurtText(t, d, names[i], "sha256:") },
			"gone":   func(d *fsx.Mem) { remove(t, d, names[i]) },
		} {
			if what == "gone" && i == 1 {
				continue // nothing tells that it was there
			}
			disk := sound.Clone()
			damage(disk)
			r, err := repairWith(disk, sound, "")
			if err != nil || r.Failed() || len(r.Files) != 1 || r.Files[0].File != names[i] {
				t.Errorf("%s, %s: %+v %v", names[i], what, r, err)
			}
			unchanged(t, names[i]+" "+what, disk, want)
		}
	}
}

// TestRepairOfOpLines: the op lines of a wide transaction say what other classes hold. If
// they are lost for good, nothing of these is touched, and it is said.
func TestRepairOfOpLines(t *testing.T) {
	sound := fsx.NewMem()
	s := newScript(t, sound, small)
	s.group(put("a", "before"))
	s.group(wide("w", 6))
	s.group(put("b", "behind"))
	s.close()
	want := truths(t, sound)
	lines, main := openFile(t, sound, classLog), openFile(t, sound, "main")
	none := sound.Clone()
	hurtText(t, none, lines, `"op":"put"`)
	hurtText(t, none, main, "behind")

	disk := sound.Clone()
	hurtText(t, disk, lines, `"op":"put"`)
	hurtText(t, disk, main, "behind")
	if r, err := repairWith(disk, sound, ""); err != nil || r.Failed() || r.Damaged() != 3 { // one has two names
		t.Errorf("%+v %v", r, err)
	}
	unchanged(t, "brought back", disk, want)

	disk = none.Clone()
	damaged := truths(t, disk)
	r, err := repairWith(disk, none, "")
	if err != nil || !r.Failed() || r.Damaged() != 2 {
		t.Errorf("%+v %v", r, err)
	}
	if text := fmt.Sprint(r.Files); !strings.Contains(text, "class main was not looked at to its end") || !strings.Contains(text, lines) {
		t.Errorf("it says %s", text)
	}
	unchanged(t, "lost", disk, damaged)
}

// TestRepairPassesOverWhatIsNotListed: a backup that was killed leaves files that its
// manifest does not list, and longer ones than it lists. They mean nothing.
func TestRepairPassesOverWhatIsNotListed(t *testing.T) {
	mem, backup := fsx.NewMem(), fsx.NewMem()
	s := backedUpVault(t, mem)
	s.backup(backup, BackupOptions{})
	s.grow(2)
	s.close()
	want := truths(t, mem)
	name := openFile(t, mem, "main")
	if len(readAll(backup, name)) > 0 {
		t.Fatalf("the backup has %s", name)
	}
	writePlain(t, backup, name, readAll(mem, mainVault+"/"+name), false)
	hurtAt(t, mem, mainVault+"/"+name, int64(len(want[mainVault+"/"+name]))-10)
	damaged := truths(t, mem)
	store, err := Open(context.Background(), scriptHost(mem, 7), scriptOptions())
	if err != nil {
		t.Fatal(err)
	}
	r, err := store.Repair(context.Background(), "main", backup, RepairOptions{})
	if err != nil || !r.Failed() || r.Damaged() != 1 {
		t.Errorf("%+v %v", r, err)
	}
	unchanged(t, "not listed", mem, damaged)
	if err := backup.Remove(manifestFile); err != nil { // then all that is there counts
		t.Fatal(err)
	}
	if r, err = store.Repair(context.Background(), "main", backup, RepairOptions{}); err != nil || r.Failed() {
		t.Errorf("a plain copy: %+v %v", r, err)
	}
	unchanged(t, "a plain copy", mem, want)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRepairBesideLaterSeals: a block that is open by the checkpoint was sealed behind it,
// and its open file is gone, as a mirror has it whose sync was cut off. Nothing is missing.
func TestRepairBesideLaterSeals(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	s.group(put("a", "a value"))
	s.settle()
	name, older := openFile(t, mem, "main"), readAll(mem, mainVault+"/checkpoint")
	s.fill("more")
	killed := mem.Clone()
	s.close()
	rewriteFile(t, killed, mainVault+"/checkpoint", older)
	if _, err := killed.Stat(mainVault + "/" + name); err == nil {
		t.Fatalf("%s is still open", name)
	}
	if r, err := repairWith(killed, killed.Clone(), ""); err != nil || len(r.Files) > 0 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestFullBlocks: a block ends with the group that fills it. What came over from one that
// was sealed in part does not fill it alone.
func TestFullBlocks(t *testing.T) {
	d := openDemand{header: make([]byte, 50)}
	for i, height := range []uint64{3, 3, 4, 5, 5, 6} {
		d.list = append(d.list, wanted{id: record.ID{byte(i)}, size: 24, height: height}) // 100 bytes each
	}
	for _, c := range []struct {
		began, threshold uint64
		want             int
	}{{0, 150, 2}, {0, 250, 2}, {0, 251, 3}, {0, 351, 5}, {5, 150, 5}, {6, 150, 6}, {9, 150, 6}, {0, 9000, 6}} {
		if got := d.full(c.began, c.threshold); got != c.want {
			t.Errorf("a block of %d bytes that began at height %d takes %d, wanted %d", c.threshold, c.began, got, c.want)
		}
	}
}
