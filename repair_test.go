package graven

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"graven/internal/fsx"
)

// filesUnder lists the files of a folder of a disk.
func filesUnder(t testing.TB, d fsx.Disk, folder string) (names []string) {
	t.Helper()
	entries, err := d.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := path.Join(folder, e.Name); e.Dir {
			names = append(names, filesUnder(t, d, name)...)
		} else {
			names = append(names, name)
		}
	}
	return names
}

// hurt flips a bit in the middle of a file.
func hurt(t testing.TB, d fsx.Disk, name string) {
	t.Helper()
	hurtAt(t, d, name, int64(len(readAll(d, name))/2))
}

// hurtAt flips a bit of a file.
func hurtAt(t testing.TB, d fsx.Disk, name string, off int64) {
	t.Helper()
	f, err := d.Open(name, fsx.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err = f.ReadAt(b, off); err == nil {
		b[0] ^= 4
		_, err = f.WriteAt(b, off)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func repair(d fsx.Disk, from fsx.Disk) (*RepairReport, error) {
	store, err := Open(context.Background(), scriptHost(d, 7), scriptOptions())
	if err != nil {
		return nil, err
	}
	r, err := store.Repair(context.Background(), "main", from, RepairOptions{})
	return r, errors.Join(err, store.Close())
}

// repairable is a vault and a backup of it that is a little older.
func repairable(t testing.TB) *fsx.Mem {
	mem := fsx.NewMem()
	folders(t, mem, "s", "b")
	s := backedUpVault(t, fsx.Under(mem, "s"))
	s.backup(fsx.Under(mem, "b"), BackupOptions{})
	s.group(put("later", "than the backup"))
	s.close()
	return mem
}

// TestRepair damages each file of truth that the backup has, and each is brought
// back with equal bytes; the damaged one is kept.
func TestRepair(t *testing.T) {
	mem := repairable(t)
	files := 0
	for _, name := range append(filesUnder(t, mem, "b/log"), filesUnder(t, mem, "b/blocks")...) {
		name = strings.TrimPrefix(name, "b/")
		if exists, _ := fsx.NewDir(fsx.Under(mem, "s/vaults/main"), nil).Exists(name); !exists {
			continue // an open block that is sealed by now
		}
		files++
		for _, how := range []string{"hurt", "gone"} {
			disk := mem.Clone()
			vault := fsx.Under(disk, "s/vaults/main")
			want := string(readAll(vault, name))
			if how == "hurt" {
				// In the part that the backup has too.
				hurtAt(t, vault, name, int64(len(readAll(disk, "b/"+name))/2))
			} else if err := vault.Remove(name); err != nil {
				t.Fatal(err)
			}
			damaged := string(readAll(vault, name))
			r, err := repair(fsx.Under(disk, "s"), fsx.Under(disk, "b"))
			if err != nil || len(r.Files) != 1 || r.Failed() || r.Files[0].File != name {
				// What was written behind the backup is gone with the file.
				if how == "gone" && r != nil && (r.Failed() || strings.HasPrefix(name, "blocks/open/")) {
					continue
				}
				t.Errorf("%s %s: %+v %v", name, how, r, err)
				continue
			}
			if got := string(readAll(vault, name)); got != want && !(how == "gone" && strings.HasPrefix(want, got)) {
				t.Errorf("%s %s: brought back with %d other bytes", name, how, len(got))
			}
			if how == "hurt" && string(readAll(vault, r.Files[0].Kept)) != damaged {
				t.Errorf("%s: the damaged file is not kept: %+v", name, r.Files[0])
			}
			if how == "hurt" {
				if rep := checkAll(t, fsx.Under(disk, "s"), false); len(rep.Findings) > 0 {
					t.Errorf("%s %s: check finds %v", name, how, rep.Findings)
				}
			}
		}
	}
	if files < 5 {
		t.Errorf("only %d files were damaged", files)
	}
}

// TestRepairNamesWhatIsLeft: damage in an open block behind the end of the copy's, and
// what is missing where a lost or cut one came back from an older copy. A copy that has
// it all brings it back.
func TestRepairNamesWhatIsLeft(t *testing.T) {
	mem := repairable(t)
	folders(t, mem, "n")
	s := &script{t: t, host: scriptHost(fsx.Under(mem, "s"), 4)}
	s.reopen()
	s.backup(fsx.Under(mem, "n"), BackupOptions{})
	s.close()
	vaultOf := func(d fsx.Disk) fsx.Disk { return fsx.Under(d, "s/vaults/main") }
	name := ""
	for _, n := range filesUnder(t, vaultOf(mem), "blocks/open") {
		if strings.HasPrefix(n, "blocks/open/main-") {
			name = n
		}
	}
	text, value := readAll(vaultOf(mem), name), "than the backup"
	at := int64(strings.Index(string(text), value))
	if at < 0 {
		t.Fatalf("%s does not hold %q", name, value)
	}
	for how, damage := range map[string]func(fsx.Disk) error{
		"hurt": func(d fsx.Disk) error { hurtAt(t, d, name, at); return nil },
		"gone": func(d fsx.Disk) error { return d.Remove(name) },
		"cut":  func(d fsx.Disk) error { rewriteFile(t, d, name, text[:at]); return nil },
	} {
		disk := mem.Clone()
		if err := damage(vaultOf(disk)); err != nil {
			t.Fatal(err)
		}
		r, err := repair(fsx.Under(disk, "s"), fsx.Under(disk, "b"))
		if err != nil || !r.Failed() || r.Damaged() == 0 {
			t.Errorf("%s: an older copy: %+v %v", how, r, err)
		}
		if rep := checkAll(t, fsx.Under(disk, "s"), false); len(rep.Findings) == 0 {
			t.Errorf("%s: nothing is left", how)
		}
		if r, err = repair(fsx.Under(disk, "s"), fsx.Under(disk, "n")); err != nil || r.Failed() || len(r.Files) != 1 {
			t.Errorf("%s: a newer copy: %+v %v", how, r, err)
		}
		if rep := checkAll(t, fsx.Under(disk, "s"), false); len(rep.Findings) > 0 {
			t.Errorf("%s: check finds %v", how, rep.Findings)
		}
	}
}

// TestRepairTakesNobodysWord: a damaged copy, also with a manifest that fits it, a
// copy of another vault, and one that is not there.
func TestRepairTakesNobodysWord(t *testing.T) {
	mem := repairable(t)
	sealed := strings.TrimPrefix(filesUnder(t, mem, "b/blocks/sealed")[0], "b/")
	for _, name := range []string{sealed, logName(0)} {
		disk := mem.Clone()
		vault, backup := fsx.Under(disk, "s/vaults/main"), fsx.Under(disk, "b")
		hurt(t, vault, name)
		hurt(t, backup, name)
		if err := backup.Remove(manifestFile); err != nil { // nothing says that it is damaged
			t.Fatal(err)
		}
		before := string(readAll(vault, name))
		r, err := repair(fsx.Under(disk, "s"), backup)
		if err == nil && !r.Failed() {
			t.Errorf("%s: a damaged copy repairs: %+v", name, r)
		}
		if string(readAll(vault, name)) != before {
			t.Errorf("%s was changed", name)
		}
	}
	other := fsx.NewMem()
	s := &script{t: t, host: scriptHost(other, 9)}
	var err error
	if s.store, err = Create(context.Background(), s.host, CreateOptions{genesis: small}, scriptOptions()); err != nil {
		t.Fatal(err)
	}
	s.close()
	if _, err := repair(fsx.Under(mem, "s"), fsx.Under(other, "vaults/main")); !errors.Is(err, ErrConflict) {
		t.Errorf("another vault: %v", err)
	}
	if _, err := repair(fsx.Under(mem, "s"), fsx.NewMem()); !errors.Is(err, ErrNotFound) {
		t.Errorf("nothing: %v", err)
	}
}

// TestCrashOfARepair: the damaged file or the sound one, never less, and the repair
// can be made again.
func TestCrashOfARepair(t *testing.T) {
	mem := repairable(t)
	vault := fsx.Under(mem, "s/vaults/main")
	names := []string{logName(0), strings.TrimPrefix(filesUnder(t, mem, "b/blocks/sealed")[0], "b/")}
	bytes := map[string][2]string{}
	for _, name := range names {
		sound := string(readAll(vault, name))
		hurt(t, vault, name)
		bytes[name] = [2]string{sound, string(readAll(vault, name))}
	}
	before := mem.Clone()
	mem.Record()
	if r, err := repair(fsx.Under(mem, "s"), fsx.Under(mem, "b")); err != nil || r.Failed() || len(r.Files) != len(names) {
		t.Fatal(r, err)
	}
	eachCrash(t, mem, 30, func(d *fsx.Mem, _ []any) error {
		vault := fsx.Under(d, "s/vaults/main")
		for _, name := range names {
			if got := string(readAll(vault, name)); got != bytes[name][0] && got != bytes[name][1] {
				return fmt.Errorf("%s is neither the old file nor the new one", name)
			}
		}
		if r, err := repair(fsx.Under(d, "s"), fsx.Under(d, "b")); err != nil || r.Failed() {
			return fmt.Errorf("again: %+v %w", r, err)
		}
		for _, name := range names {
			if got := string(readAll(vault, name)); got != bytes[name][0] {
				return fmt.Errorf("%s is not brought back", name)
			}
		}
		if kept, err := vault.ReadDir("meta/host/cut"); err != nil || len(kept) != len(names) {
			return fmt.Errorf("%d files are kept, %w", len(kept), err)
		}
		return nil
	})
	counting := fsx.Fault(fsx.Under(before.Clone(), "s"), nil)
	if _, err := repair(counting, fsx.Under(before, "b")); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < counting.Calls(); n++ {
		disk := before.Clone()
		fault := []error{fsx.ErrIO, fsx.ErrNoSpace}[n%2]
		_, err := repair(fsx.Fault(fsx.Under(disk, "s"), fsx.FailCall(n, fault, n%3 == 0)), fsx.Under(disk, "b"))
		if err != nil && !isTyped(err) {
			t.Errorf("call %d: %v is of no kind that a caller can tell", n, err)
		}
		disk.Kill()
		if r, err := repair(fsx.Under(disk, "s"), fsx.Under(disk, "b")); err != nil || r.Failed() {
			t.Errorf("call %d: again: %+v %v", n, r, err)
		}
	}
}

// TestRepairBehindACrash: what a cut of power left behind the checkpoint is for the
// next open to bring in order, and no damage that a repair names.
func TestRepairBehindACrash(t *testing.T) {
	mem := fsx.NewMem()
	folders(t, mem, "s", "b")
	s := backedUpVault(t, fsx.Under(mem, "s"))
	s.backup(fsx.Under(mem, "b"), BackupOptions{})
	mem.Record()
	s.grow(2)
	s.group(put("later", "than the backup"))
	eachCrash(t, mem, 1, func(d *fsx.Mem, _ []any) error {
		r, err := repair(fsx.Under(d, "s"), fsx.Under(d, "b"))
		if err == nil && len(r.Files) > 0 {
			err = fmt.Errorf("a repair finds %+v", r.Files)
		}
		return err
	})
}
