package graven

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"graven/internal/fsx"
)

// TestBackupOfALivingVault: writers go on while backups are made, by the process
// that writes and by one beside it. Each can be restored and is of this history.
func TestBackupOfALivingVault(t *testing.T) {
	ctx := context.Background()
	mem := fsx.NewMem()
	o := scriptOptions()
	o.scripted = false
	o.walBytes = 1 << 16
	store, err := Create(ctx, scriptHost(mem, 1), CreateOptions{genesis: small}, o)
	if err != nil {
		t.Fatal(err)
	}
	v, err := store.Vault(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	wrote := make(chan struct{}) // now and then
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			_, err := v.Commit(ctx, put(fmt.Sprint("k", i%50), strings.Repeat("v", 40)+fmt.Sprint(i)))
			if err == nil && i%10 == 9 {
				err = v.Publish()
			}
			if err != nil {
				stopped <- err
				close(wrote)
				return
			}
			if i%10 == 9 {
				select {
				case wrote <- struct{}{}:
				default: // a backup is under way
				}
			}
		}
	}()
	targets := []*fsx.Mem{fsx.NewMem(), fsx.NewMem()}
	var sizes [2][]uint64
	for range 4 {
		<-wrote
		r, err := store.Backup(ctx, "main", targets[0], BackupOptions{})
		if err != nil {
			t.Fatal(err)
		}
		sizes[0] = append(sizes[0], r.Size)
		reader := o
		reader.ReadOnly = true
		beside, err := Open(ctx, scriptHost(mem, 2), reader)
		if err != nil {
			t.Fatal(err)
		}
		if r, err = beside.Backup(ctx, "main", targets[1], BackupOptions{}); err != nil {
			t.Fatal(err)
		}
		sizes[1] = append(sizes[1], r.Size)
		if err := beside.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	for i, target := range targets {
		if !slices.IsSorted(sizes[i]) || sizes[i][0] == sizes[i][3] {
			t.Errorf("sizes %v", sizes[i])
		}
		disk, err := restored(BackupIn(target), false)
		if err != nil {
			t.Fatal(err)
		}
		note := readAll(disk, "vaults/main/checkpoint")
		head, err := openNote(note, v.VKeys()...)
		if err != nil {
			t.Fatal(err)
		}
		line, err := v.View().Record(head.Size - 1)
		if err != nil || !strings.Contains(string(line), `"kind":"commit"`) {
			t.Errorf("the backup's last record: %s %v", line, err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestBackupKeepsNobodyOut: while a reader's backup is under way, a writer may take the store.
func TestBackupKeepsNobodyOut(t *testing.T) {
	ctx := context.Background()
	mem := fsx.NewMem()
	s := backedUpVault(t, mem)
	s.close()
	o := scriptOptions()
	o.ReadOnly = true
	reader, err := Open(ctx, scriptHost(mem, 2), o)
	if err != nil {
		t.Fatal(err)
	}
	wrote := false
	target := fsx.Fault(fsx.NewMem(), func(c fsx.Call) error {
		if !wrote && c.Op == "write" && strings.Contains(c.Name, "sealed") {
			wrote = true
			s.reopen()
			s.group(put("written", "meanwhile"))
			s.grow(2)
			s.close()
		}
		return nil
	})
	_, err = reader.Backup(ctx, "main", target, BackupOptions{})
	if err = errors.Join(err, reader.Close()); err != nil || !wrote {
		t.Errorf("%v, wrote %v", err, wrote)
	}
	if _, err := restored(BackupIn(target), false); err != nil {
		t.Error(err)
	}
}

// TestOneBackupAtATime: two into the same folder would be neither.
func TestOneBackupAtATime(t *testing.T) {
	s := backedUpVault(t, fsx.NewMem())
	target := fsx.NewMem()
	lock, err := target.Lock(backupLock, "another")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Backup(context.Background(), "main", target, BackupOptions{}); !errors.Is(err, ErrLocked) {
		t.Errorf("%v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	s.backup(target, BackupOptions{})
	s.close()
}

// FuzzManifest: nothing panics, and what is taken is written again as the same bytes.
func FuzzManifest(f *testing.F) {
	s := backedUpVault(f, fsx.NewMem())
	target := fsx.NewMem()
	s.backup(target, BackupOptions{})
	f.Add(readAll(target, manifestFile))
	f.Add([]byte(unfinished))
	f.Add([]byte(manifestHead + "# end 0 x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseManifest(b); err == nil && string(m.text()) != string(b) {
			t.Errorf("it is written again as\n%s", m.text())
		}
	})
}

// TestCancelOfABackup ends one in the middle of a file.
func TestCancelOfABackup(t *testing.T) {
	s := newScript(t, fsx.NewMem(), small)
	s.group(s.stage("big", strings.Repeat("0123456789", 200_000)))
	s.settle()
	ctx, cancel := context.WithCancel(context.Background())
	writes := 0
	target := fsx.Fault(fsx.NewMem(), func(c fsx.Call) error {
		if c.Op == "write" && strings.Contains(c.Name, "sealed") {
			writes++
			cancel()
		}
		return nil
	})
	if _, err := s.store.Backup(ctx, "main", target, BackupOptions{}); !errors.Is(err, context.Canceled) || writes != 1 {
		t.Errorf("%v after %d writes", err, writes)
	}
	s.close()
}
