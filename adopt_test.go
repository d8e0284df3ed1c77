package graven

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

// lostWAL is a vault that was killed with groups that only the write-ahead log holds
// for sure, and whose write-ahead log is gone.
func lostWAL(t *testing.T) (mem *fsx.Mem, published uint64) {
	mem = fsx.NewMem()
	s := backedUpVault(t, mem)
	if err := s.vault.settle(); err != nil {
		t.Fatal(err)
	}
	published = s.vault.View().Size()
	s.group(put("written", "behind the checkpoint"))
	mem.Kill()
	for _, name := range filesUnder(t, mem, "vaults/main/wal") {
		if err := mem.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	return mem, published
}

func adoptIn(d fsx.Disk, o AdoptOptions) (*AdoptReport, error) {
	store, err := Open(context.Background(), scriptHost(d, 7), scriptOptions())
	if err != nil {
		return nil, err
	}
	r, err := store.Adopt(context.Background(), "main", o)
	return r, errors.Join(err, store.Close())
}

// TestAdoptWithoutWAL: what log and blocks hold whole is taken up again in a new
// epoch; what stands behind that is kept.
func TestAdoptWithoutWAL(t *testing.T) {
	for _, how := range []string{"whole", "torn"} {
		mem, published := lostWAL(t)
		if how == "torn" { // the end of the newest line never reached the disk
			files := filesUnder(t, mem, "vaults/main/log")
			last := files[len(files)-1]
			if strings.HasSuffix(last, "current") {
				last = files[len(files)-2]
			}
			f, err := mem.Open(last, fsx.ReadWrite)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.TrimRight(string(readAll(mem, last)), "\x00")
			if err := errors.Join(f.Truncate(int64(len(text))-20), f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		s := &script{t: t, host: scriptHost(mem, 5)}
		s.reopen()
		if st := s.vault.Status(); st.Writable || !strings.Contains(st.Why, "adopt") {
			t.Fatalf("%s: %+v", how, st)
		}
		s.close()
		r, err := adoptIn(mem, AdoptOptions{NothingNewer: true})
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if r.Epoch != 1 || r.Size != r.From+1 || how == "torn" && r.From != published {
			t.Errorf("%s: adopted %+v, published was %d", how, r, published)
		}
		s.reopen()
		s.group(put("life", "goes on"))
		s.close()
		if rep := checkAll(t, mem, false); len(rep.Findings) > 0 {
			t.Errorf("%s: check finds %v", how, rep.Findings)
		}
		if kept, _ := mem.ReadDir("vaults/main/meta/host/cut"); how == "torn" && len(kept) == 0 {
			t.Error("the end of the log is not kept")
		}
	}
}

// TestAdoptionKeepsAllBehind: whatever stands behind the last whole commit is set aside to
// its last byte before it is cut.
func TestAdoptionKeepsAllBehind(t *testing.T) {
	mem, _ := lostWAL(t)
	name := lastLog(t, mem)
	whole := len(readAll(mem, mainVault+"/"+name))
	behind := bytes.Repeat([]byte("what a lost group left"), 1<<20)
	extend(t, mem, name, behind)
	r, err := adoptIn(mem, AdoptOptions{NothingNewer: true})
	if err != nil {
		t.Fatal(err)
	}
	kept := "meta/host/cut/log-" + record.IDOf(behind).Hex()[:16]
	if !bytes.Equal(readAll(mem, mainVault+"/"+kept), behind) || len(readAll(mem, mainVault+"/"+name)) < whole {
		t.Errorf("%s does not hold the %d bytes", kept, len(behind))
	}
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, kept) }) {
		t.Errorf("it says %q", r.Notes)
	}
}

// TestCrashOfAnAdoptionWithoutWAL: it can be made again, and makes one epoch.
func TestCrashOfAnAdoptionWithoutWAL(t *testing.T) {
	mem, _ := lostWAL(t)
	mem.Record()
	first, err := adoptIn(mem, AdoptOptions{NothingNewer: true})
	if err != nil {
		t.Fatal(err)
	}
	mem.Mark(adoptDone{})
	eachCrash(t, mem, 8, func(d *fsx.Mem, events []any) error {
		r, err := adoptIn(d, AdoptOptions{NothingNewer: true})
		if errors.Is(err, errNoAdoption) { // it was over
			err = nil
		} else if err == nil && (r.Epoch != 1 || r.Size != first.Size) {
			t.Errorf("adopted again as %+v, first as %+v", r, first)
		} else if err == nil && len(events) > 0 {
			t.Error("an adoption that had ended was made again")
		}
		if err != nil {
			return err
		}
		s := &script{t: t, host: scriptHost(d, 8)}
		s.reopen()
		defer s.close()
		if st := s.vault.Status(); !st.Writable || st.Epoch != 1 {
			t.Errorf("after it: %+v", st)
		}
		return nil
	})
}

// TestAdoptionNeedsGround: a checkpoint beyond the vault, one of another history, no
// word at all, a garbled mark.
func TestAdoptionNeedsGround(t *testing.T) {
	target := fsx.NewMem()
	s := backedUpVault(t, fsx.NewMem())
	s.backup(target, BackupOptions{WithKeys: true})
	s.group(put("behind", "the backup"))
	beyond := s.vault.View().note
	s.close()
	disk, err := restored(BackupIn(target), false)
	if err != nil {
		t.Fatal(err)
	}
	// Another who restores goes another way.
	fork := disk.Clone()
	if _, err := adoptIn(fork, AdoptOptions{NothingNewer: true}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    AdoptOptions
		want error
	}{
		{AdoptOptions{Newest: beyond}, ErrLost},
		{AdoptOptions{Newest: readAll(fork, "vaults/main/checkpoint")}, ErrLost},
		{AdoptOptions{Newest: []byte("x")}, ErrDamaged},
		{AdoptOptions{}, ErrInvalid},
		{AdoptOptions{Newest: beyond, NothingNewer: true}, ErrInvalid},
		{AdoptOptions{NothingNewer: true, Keys: []string{"PRIVATE+KEY+x"}}, ErrInvalid},
	} {
		if _, err := adoptIn(disk, c.o); !errors.Is(err, c.want) {
			t.Errorf("%v, wanted %v", err, c.want)
		}
	}
	// The fork has gone on; the newest of the other history is of a size that it has.
	f := &script{t: t, host: scriptHost(fork, 6)}
	f.reopen()
	f.group(put("x", "y"))
	f.close()
	if err := fsx.NewDir(fsx.Under(fork, "vaults/main"), fsx.RestoreRules()).PublishBytes(restoredFile, []byte("garbled")); err != nil {
		t.Fatal(err)
	}
	if _, err := adoptIn(fork, AdoptOptions{Newest: beyond}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "two histories") {
		t.Errorf("another history: %v", err)
	}
	if r, err := adoptIn(fork, AdoptOptions{NothingNewer: true}); err != nil || r.Epoch != 2 {
		t.Errorf("a garbled mark: %+v %v", r, err)
	}
	if r, err := adoptIn(disk, AdoptOptions{NothingNewer: true}); err != nil || r.Epoch != 1 {
		t.Errorf("refusals changed something: %+v %v", r, err)
	}
}

// TestAdoptOfARottenMark: a mark with another number in it is no adoption that was cut off.
func TestAdoptOfARottenMark(t *testing.T) {
	mem, target := fsx.NewMem(), fsx.NewMem()
	s := backedUpVault(t, mem)
	size := s.backup(target, BackupOptions{WithKeys: true}).Size
	s.close()
	sound := mustRestore(t, target)
	for _, says := range []uint64{0, 1, 2, 4, size / 2, size - 1} {
		disk := sound.Clone()
		rewriteFile(t, disk, "vaults/main/"+restoredFile, restoredMark(says))
		r, err := adoptIn(disk, AdoptOptions{NothingNewer: true})
		if err != nil || r.Epoch != 1 || r.Size != size+1 || r.From != size || len(r.Notes) == 0 {
			t.Errorf("the mark says %d: %+v %v", says, r, err)
		}
	}
	disk := sound.Clone()
	rewriteFile(t, disk, "vaults/main/"+restoredFile, restoredMark(size+1))
	if _, err := adoptIn(disk, AdoptOptions{NothingNewer: true}); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}
