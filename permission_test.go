package graven

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"graven/internal/fsx"
)

// TestMissingPermissionIsNoDamage takes the right to read away from one file or folder
// of a vault after another. Whatever fails for that says so, and calls nothing damaged.
func TestMissingPermissionIsNoDamage(t *testing.T) {
	ctx := context.Background()
	mem := repairable(t)
	const root = "vaults/main/"
	names := []string{"log", "blocks/open", "blocks/sealed"}
	for _, folder := range []string{"log", "blocks", "meta/keys/pub"} {
		for _, name := range filesUnder(t, fsx.Under(mem, "s/vaults/main"), folder) {
			if name != "log/current" {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		locked := func(d *fsx.Mem) fsx.Disk {
			return fsx.Fault(fsx.Under(d, "s"), func(c fsx.Call) error {
				// A folder's rights are asked for what is in it, a file's for its bytes.
				in := strings.HasPrefix(c.Name, root+name+"/") || c.Name == root+name && (c.Op == "open" || c.Op == "readdir")
				if in && c.Op != "read" && c.Op != "size" {
					return fs.ErrPermission
				}
				return nil
			})
		}
		failed := 0
		for what, try := range map[string]func(s *Store, d *fsx.Mem) error{
			"read": func(s *Store, _ *fsx.Mem) error {
				v, err := s.Vault(ctx, "main")
				if err != nil {
					return err
				}
				w := v.View()
				for e, err := range w.List(Query{}) {
					if err != nil {
						return err
					}
					val, err := w.Value(e)
					if err == nil {
						_, err = val.WriteTo(io.Discard)
					}
					if err != nil {
						return err
					}
				}
				return nil
			},
			"check": func(s *Store, _ *fsx.Mem) error {
				r, err := s.Check(ctx, "main", CheckOptions{})
				if err == nil {
					t.Errorf("%s: a check finds %v", name, r.Findings)
				}
				return err
			},
			"backup": func(s *Store, _ *fsx.Mem) error {
				_, err := s.Backup(ctx, "main", fsx.NewMem(), BackupOptions{})
				return err
			},
			"repair": func(s *Store, d *fsx.Mem) error {
				r, err := s.Repair(ctx, "main", fsx.Under(d, "b"), RepairOptions{})
				if err == nil && len(r.Files) > 0 {
					t.Errorf("%s: a repair replaces %+v", name, r.Files)
				}
				return err
			},
		} {
			d := mem.Clone()
			store, err := Open(ctx, scriptHost(locked(d), 4), scriptOptions())
			if err != nil {
				t.Fatal(err)
			}
			err = try(store, d)
			if err == nil {
				continue
			}
			failed++
			if errors.Is(err, ErrDamaged) || !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
			_ = store.Close()
		}
		if failed == 0 {
			t.Errorf("%s: nothing failed", name)
		}
	}
}

// TestVaultIsNamedOnce: an error says once which vault it is about.
func TestVaultIsNamedOnce(t *testing.T) {
	mem := fsx.NewMem()
	backedUpVault(t, mem)
	mem.Kill() // a reader recovers first
	hurtAt(t, mem, "vaults/main/"+logName(0), 2)
	o := scriptOptions()
	o.ReadOnly = true
	store, err := Open(context.Background(), scriptHost(mem, 4), o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Vault(context.Background(), "main")
	_, backupErr := store.Backup(context.Background(), "main", fsx.NewMem(), BackupOptions{})
	for what, err := range map[string]error{"open": err, "backup": backupErr} {
		if err == nil || strings.Count(err.Error(), `vault "main": `) != 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
}
