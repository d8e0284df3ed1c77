package graven

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/proof"
	"graven/record"
)

const mainVault = "vaults/main"

// goOn opens the vault on a disk, lets it go on, and closes it.
func goOn(t testing.TB, d fsx.Disk, seed byte, how func(*script)) {
	t.Helper()
	s := &script{t: t, host: scriptHost(d, seed)}
	s.reopen()
	how(s)
	s.close()
}

// forked is a vault, and a copy that went its own way behind a common part, under the
// same key.
func forked(t testing.TB, mine, theirs func(*script)) (own, copied *fsx.Mem) {
	t.Helper()
	own = fsx.NewMem()
	s := newScript(t, own, func(g *record.Genesis) { small(g); g.BlockBytes, g.FileRecords = 3700, 50 })
	s.grow(1)
	s.close()
	copied = own.Clone()
	goOn(t, own, 9, mine)
	goOn(t, copied, 8, theirs)
	return own, copied
}

func puts(keys ...string) func(*script) {
	return func(s *script) {
		for _, k := range keys {
			s.group(put(k, "the value of "+k))
		}
	}
}

// signAsAStranger signs the checkpoint of a vault with a stranger's key, and puts that beside it.
func signAsAStranger(t *testing.T, d fsx.Disk) {
	t.Helper()
	text, _, _ := strings.Cut(string(readAll(d, mainVault+"/checkpoint")), "\n\n")
	head, err := proof.ParseCheckpointText([]byte(text + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := proof.GenerateKeys(head.Origin, rand.NewChaCha8([32]byte{66}))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := proof.NewSigner(keys.Log.SKey)
	if err != nil {
		t.Fatal(err)
	}
	note, err := signer.SignCheckpoint(head)
	if err != nil {
		t.Fatal(err)
	}
	rewriteFile(t, d, mainVault+"/checkpoint", note)
	rewriteFile(t, d, mainVault+"/"+logPub, []byte(keys.Log.VKey+"\n"))
}

// remove takes files of the vault away.
func remove(t testing.TB, d fsx.Disk, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := d.Remove(mainVault + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
}

// truths are the bytes of log and blocks.
func truths(t testing.TB, d fsx.Disk) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, folder := range []string{"/log", "/blocks"} {
		for _, name := range filesUnder(t, d, mainVault+folder) {
			all[name] = string(readAll(d, name))
		}
	}
	return all
}

// unchanged compares log and blocks with what they were.
func unchanged(t testing.TB, what string, d fsx.Disk, before map[string]string) {
	t.Helper()
	now := truths(t, d)
	for name, b := range before {
		if now[name] != b {
			t.Errorf("%s: %s was changed, from %d bytes to %d", what, name, len(b), len(now[name]))
		}
	}
	if len(now) != len(before) {
		t.Errorf("%s: %d files were made", what, len(now)-len(before))
	}
}

func repairWith(d, from fsx.Disk, vkey string) (*RepairReport, error) {
	ctx := context.Background()
	store, err := Open(ctx, scriptHost(d, 7), scriptOptions())
	if err != nil {
		return nil, err
	}
	r, err := store.Repair(ctx, "main", fsx.Under(from, mainVault), RepairOptions{VKey: vkey})
	return r, errors.Join(err, store.Close())
}

// sizeOf is the size that a vault's checkpoint says.
func sizeOf(d fsx.Disk) uint64 {
	return checkpointSize(fsx.NewDir(fsx.Under(d, mainVault), nil))
}

// TestRepairTakesNoStrangersHistory: a folder that begins as the vault does and goes on
// otherwise, under a checkpoint that a stranger signed. What the vault lost that can be
// made again does not make its word count.
func TestRepairTakesNoStrangersHistory(t *testing.T) {
	sound, bad := forked(t, puts("mine", "mine too"), puts("theirs", "theirs too", "theirs again"))
	signAsAStranger(t, bad)
	for what, lost := range map[string][]string{
		"checkpoint":     {"checkpoint"},
		"key":            {logPub},
		"both":           {"checkpoint", logPub},
		"and authority":  {"checkpoint", logPub, authorityFile},
		"nothing is":     nil,
		"only authority": {authorityFile},
	} {
		for _, hurtLog := range []bool{false, true} {
			disk := sound.Clone()
			remove(t, disk, lost...)
			if hurtLog {
				hurtAt(t, disk, mainVault+"/"+lastLog(t, disk), 10)
			}
			before := truths(t, disk)
			r, err := repairWith(disk, bad, "")
			unchanged(t, what, disk, before)
			if !hurtLog && (err != nil || r.Failed()) {
				t.Errorf("%s: the log is whole: %+v %v", what, r, err)
			}
			if hurtLog && err == nil && !r.Failed() {
				t.Errorf("%s: %+v", what, r)
			}
			if err != nil && !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

// lastLog is the newest log file of a vault.
func lastLog(t testing.TB, d fsx.Disk) string {
	t.Helper()
	names := filesUnder(t, fsx.Under(d, mainVault), "log")
	names = slices.DeleteFunc(names, func(n string) bool { return n == "log/current" })
	return names[len(names)-1]
}

// TestRepairWithoutACheckpoint: the copy's is taken if the vault's own first record or a
// person says whose it is, and what the vault has behind it stays.
func TestRepairWithoutACheckpoint(t *testing.T) {
	sound := fsx.NewMem()
	s := backedUpVault(t, sound)
	vkey := s.vault.VKeys()[0]
	s.close()
	copied := sound.Clone()
	goOn(t, sound, 9, puts("behind", "the copy"))
	want := truths(t, sound)
	for what, c := range map[string]struct {
		damage func(d fsx.Disk)
		from   fsx.Disk
		vkey   string
		says   string // of the error; empty: all is brought back
	}{
		"only the key":         {func(d fsx.Disk) { remove(t, d, logPub) }, copied, "", ""},
		"the checkpoint":       {func(d fsx.Disk) { remove(t, d, "checkpoint") }, copied, "", ""},
		"a newer copy":         {func(d fsx.Disk) { remove(t, d, "checkpoint") }, sound, "", ""},
		"all that says it":     {func(d fsx.Disk) { remove(t, d, "checkpoint", logPub, authorityFile) }, copied, "", ""},
		"the first record too": {func(d fsx.Disk) { remove(t, d, "checkpoint"); hurtAt(t, d, mainVault+"/"+logName(0), 3) }, copied, "", "give it with --vkey"},
		"and a person":         {func(d fsx.Disk) { remove(t, d, "checkpoint"); hurtAt(t, d, mainVault+"/"+logName(0), 3) }, copied, vkey, ""},
		"and a wrong one": {
			func(d fsx.Disk) { remove(t, d, "checkpoint"); hurtAt(t, d, mainVault+"/"+logName(0), 3) }, copied, otherVault(t).vault.VKeys()[0], "the checkpoint of the copy is not taken",
		},
		"of neither": {
			func(d fsx.Disk) { remove(t, d, "checkpoint", authorityFile) },
			func() fsx.Disk { d := copied.Clone(); remove(t, d, authorityFile); return d }(), "", "give the key with --vkey",
		},
	} {
		disk := sound.Clone()
		hurtAt(t, disk, mainVault+"/"+logName(0), 5000)
		c.damage(disk)
		before := truths(t, disk)
		r, err := repairWith(disk, c.from, c.vkey)
		if c.says != "" {
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %+v %v", what, r, err)
			}
			unchanged(t, what, disk, before)
			continue
		}
		if err != nil || r.Failed() || len(r.Files) != 1 {
			t.Errorf("%s: %+v %v", what, r, err)
		}
		unchanged(t, what, disk, want)
		if rep := checkAll(t, disk, false); rep.Damaged() {
			t.Errorf("%s: check finds %v", what, rep.Findings)
		}
	}
}

// TestRepairKeepsItsOwnHistory: the copy is signed by the vault's key and is another
// history all the same, as of the disk before an adoption. The vault's checkpoint is
// lost, and its log whole or not.
func TestRepairKeepsItsOwnHistory(t *testing.T) {
	for what, keys := range map[string][2][]string{
		"the longer one":  {{"a", "b", "c"}, {"x"}},
		"the shorter one": {{"a"}, {"x", "y", "z"}},
		"two groups":      {{"a", "b"}, {"x", "y", "z"}},
	} {
		sound, copied := forked(t, puts(keys[0]...), puts(keys[1]...))
		for damage, at := range map[string]int64{"whole": -1, "in the common part": 5000, "behind it": -2} {
			disk := sound.Clone()
			remove(t, disk, "checkpoint")
			name := mainVault + "/" + lastLog(t, disk)
			switch {
			case at >= 0:
				hurtAt(t, disk, mainVault+"/"+logName(0), at)
			case at == -2:
				hurtAt(t, disk, name, int64(len(readAll(disk, name)))-100)
			}
			before := truths(t, disk)
			r, err := repairWith(disk, copied, "")
			if what == "the shorter one" && damage != "whole" || what == "two groups" && damage == "in the common part" {
				// No commit tells any more that it was another: the copy counts, and the
				// vault's own file is kept.
				if err != nil || len(r.Files) == 0 || r.Files[0].Kept == "" {
					t.Errorf("%s, %s: %+v %v", what, damage, r, err)
				}
				continue
			}
			unchanged(t, what+", "+damage, disk, before)
			if !errors.Is(err, ErrConflict) {
				t.Errorf("%s, %s: %+v %v", what, damage, r, err)
			}
		}
	}
}

// TestRepairTakesNoUnsignedLines: behind the size that the vault has signed, the copy has
// more. Its lines are not covered by any signature that counts, and what the vault has
// there stays: after a crash the next open brings it in order.
func TestRepairTakesNoUnsignedLines(t *testing.T) {
	own, copied := forked(t, puts(), puts("theirs", "theirs too"))
	killed := own.Clone()
	s := &script{t: t, host: scriptHost(killed, 9)}
	s.reopen()
	s.group(put("mine", "behind the checkpoint"))
	killed = killed.Clone() // and s goes on with another one
	for what, disk := range map[string]*fsx.Mem{"closed": own, "killed": killed} {
		want := truths(t, disk)
		hurtAt(t, disk, mainVault+"/"+lastLog(t, disk), 10)
		if sizeOf(disk) >= sizeOf(copied) {
			t.Fatal("the copy is not ahead")
		}
		if r, err := repairWith(disk, copied, ""); err != nil || r.Failed() || len(r.Files) != 1 {
			t.Errorf("%s: %+v %v", what, r, err)
		}
		unchanged(t, what, disk, want)
		goOn(t, disk, 9, puts("goes on"))
	}
	s.close()
}

// TestRepairOfAShiftedLog: bytes were put into the middle of the newest file, so that
// what stood at its end stands behind it now.
func TestRepairOfAShiftedLog(t *testing.T) {
	sound := fsx.NewMem()
	backedUpVault(t, sound).close()
	want := truths(t, sound)
	disk := sound.Clone()
	name := mainVault + "/" + lastLog(t, disk)
	b := readAll(disk, name)
	rewriteFile(t, disk, name, slices.Insert(b, 100, []byte("something")...))
	if r, err := repairWith(disk, sound, ""); err != nil || r.Failed() || len(r.Files) != 1 {
		t.Errorf("%+v %v", r, err)
	}
	unchanged(t, "shifted", disk, want)
	goOn(t, disk, 9, puts("goes on"))
}

// TestRepairAfterACrashWithoutACheckpoint: the end of the log is for the write-ahead log
// to bring in order.
func TestRepairAfterACrashWithoutACheckpoint(t *testing.T) {
	mem := fsx.NewMem()
	s := backedUpVault(t, mem)
	s.close()
	copied := mem.Clone()
	s.reopen()
	s.group(put("more", "than the copy has"))
	killed := mem.Clone()
	s.close()
	name := mainVault + "/" + lastLog(t, killed)
	b := readAll(killed, name)
	rewriteFile(t, killed, name, b[:len(b)-20]) // it did not reach the disk
	remove(t, killed, "checkpoint")
	if r, err := repairWith(killed, copied, ""); err != nil || len(r.Files) > 0 {
		t.Errorf("%+v %v", r, err)
	}
	goOn(t, killed, 9, func(s *script) {
		if got := valuesOf(t, s.vault)["more"]; got != "than the copy has" {
			t.Errorf("it opens with %q", got)
		}
	})
}
