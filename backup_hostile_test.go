package graven

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

// otherVault is a vault with another id.
func otherVault(t *testing.T) *script {
	s := &script{t: t, host: scriptHost(fsx.NewMem(), 9)}
	var err error
	if s.store, err = Create(context.Background(), s.host, CreateOptions{genesis: small}, scriptOptions()); err != nil {
		t.Fatal(err)
	}
	s.vault = s.main()
	s.grow(1)
	return s
}

// resign makes the manifest of a backup fit what is in its folder.
func resign(t *testing.T, d fsx.Disk, change func(*manifest)) {
	t.Helper()
	dir := fsx.NewDir(d, fsx.BackupRules())
	m, err := readManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range m.files {
		size := int64(len(readAll(d, f.name)))
		if f.grows {
			m.files[i].size = size
		}
		if m.files[i].hash, err = hashOf(dir, f.name, size); err != nil {
			t.Fatal(err)
		}
	}
	change(m)
	if err := dir.Replace(manifestFile, m.text()); err != nil {
		t.Fatal(err)
	}
}

func rewriteFile(t *testing.T, d fsx.Disk, name string, b []byte) {
	t.Helper()
	f, err := d.Open(name, fsx.ReadWrite)
	if err == nil {
		_, err = f.WriteAt(b, 0)
		err = errors.Join(err, f.Truncate(int64(len(b))), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestHostileBackups: a backup that was cut, edited or mixed with another, with a
// manifest that was made to fit, restores nothing.
func TestHostileBackups(t *testing.T) {
	s := backedUpVault(t, fsx.NewMem())
	sound := fsx.NewMem()
	s.backup(sound, BackupOptions{})
	s.grow(2)
	newer := fsx.NewMem()
	s.backup(newer, BackupOptions{})
	other := fsx.NewMem()
	o := otherVault(t)
	o.backup(other, BackupOptions{})
	sealed := filesUnder(t, sound, "blocks/sealed")
	open := filesUnder(t, sound, "blocks/open")
	theirs := filesUnder(t, other, "blocks/sealed")
	for name, spoil := range map[string]func(d fsx.Disk){
		"a log of another vault": func(d fsx.Disk) {
			rewriteFile(t, d, logName(0), readAll(other, logName(0)))
			resign(t, d, func(*manifest) {})
		},
		"a block of another vault": func(d fsx.Disk) {
			rewriteFile(t, d, sealed[0], readAll(other, theirs[0]))
			resign(t, d, func(*manifest) {})
		},
		"a log cut at a commit": func(d fsx.Disk) {
			text := string(readAll(d, logName(0)))
			i := strings.LastIndex(text[:len(text)/2], `"kind":"commit"`)
			rewriteFile(t, d, logName(0), []byte(text[:i+strings.Index(text[i:], "\n")+1]))
			resign(t, d, func(*manifest) {})
		},
		"an open block cut": func(d fsx.Disk) {
			b := readAll(d, open[0])
			rewriteFile(t, d, open[0], b[:len(b)/2])
			resign(t, d, func(*manifest) {})
		},
		"an open block with a flipped bit": func(d fsx.Disk) {
			hurt(t, d, open[0])
			resign(t, d, func(*manifest) {})
		},
		"a block not listed": func(d fsx.Disk) {
			resign(t, d, func(m *manifest) {
				for i, f := range m.files {
					if f.name == sealed[0] {
						m.files = append(m.files[:i], m.files[i+1:]...)
						return
					}
				}
			})
		},
		"the checkpoint of a newer one": func(d fsx.Disk) {
			resign(t, d, func(m *manifest) {
				n, err := readManifest(fsx.NewDir(newer, nil))
				if err != nil {
					t.Fatal(err)
				}
				m.note, m.head = n.note, n.head
			})
		},
		"the checkpoint of another vault": func(d fsx.Disk) {
			resign(t, d, func(m *manifest) {
				n, err := readManifest(fsx.NewDir(other, nil))
				if err != nil {
					t.Fatal(err)
				}
				m.note, m.head = n.note, n.head
			})
		},
		"another vault id":   func(d fsx.Disk) { resign(t, d, func(m *manifest) { m.vault = record.VaultID{1} }) },
		"another vault name": func(d fsx.Disk) { resign(t, d, func(m *manifest) { m.name = "else" }) },
		"a missing block": func(d fsx.Disk) {
			if err := d.Remove(sealed[0]); err != nil {
				t.Fatal(err)
			}
		},
		"a manifest cut short": func(d fsx.Disk) {
			b := readAll(d, manifestFile)
			rewriteFile(t, d, manifestFile, b[:len(b)*2/3])
		},
		"no end": func(d fsx.Disk) { rewriteFile(t, d, manifestFile, []byte(unfinished)) },
	} {
		d := sound.Clone()
		spoil(d)
		into, err := restored(BackupIn(d), false)
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if entries, err := into.ReadDir(vaultsName); err == nil && len(entries) > 0 {
			t.Errorf("%s: the restore leaves %v", name, entries)
		}
		// The next backup to the same place makes it whole again, or says why not.
		damaged := name == "a manifest cut short"
		_, err = s.store.Backup(context.Background(), "main", d, BackupOptions{})
		if errors.Is(err, ErrConflict) {
			continue
		}
		if damaged && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: the next backup: %v", name, err)
		}
		if err == nil {
			_, err = restored(BackupIn(d), false)
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: the next backup: %v", name, err)
		}
	}
	for name, d := range map[string]*fsx.Mem{"another vault": other.Clone(), "ahead": newer.Clone()} {
		before := len(readAll(d, logName(0)))
		v := s
		if name == "ahead" {
			v = &script{t: t, host: scriptHost(mustRestore(t, sound), 3)}
			v.reopen()
		}
		if _, err := v.store.Backup(context.Background(), "main", d, BackupOptions{}); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
		if len(readAll(d, logName(0))) != before {
			t.Errorf("%s was changed", name)
		}
	}
	s.close()
	o.close()
}

// bytesOf are the files of a disk with their bytes.
func bytesOf(t testing.TB, d fsx.Disk) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, name := range filesUnder(t, d, ".") {
		got[name] = string(readAll(d, name))
	}
	return got
}

// TestBackupOverADamagedManifest: what the folder holds is not known then, and nothing
// of it is touched. One that says unfinished is gone on from.
func TestBackupOverADamagedManifest(t *testing.T) {
	s := backedUpVault(t, fsx.NewMem())
	older := fsx.NewMem()
	s.backup(older, BackupOptions{WithKeys: true})
	s.grow(2)
	s.backup(older, BackupOptions{})
	text := readAll(older, manifestFile)
	for name, bad := range map[string]string{
		"empty": "", "cut": string(text[:len(text)/2]), "another text": "hello\n", "a byte more": string(text) + "\n",
		"another size": strings.Replace(string(text), "# length ", "# length 1", 1),
	} {
		d := older.Clone()
		rewriteFile(t, d, manifestFile, []byte(bad))
		before := bytesOf(t, d)
		r, err := s.store.Backup(context.Background(), "main", d, BackupOptions{})
		if !errors.Is(err, ErrDamaged) || r != nil || !strings.Contains(err.Error(), manifestFile) || !strings.Contains(err.Error(), "another directory") {
			t.Errorf("%s: %+v %v", name, r, err)
		}
		if !maps.Equal(bytesOf(t, d), before) {
			t.Errorf("%s: the folder was changed", name)
		}
	}
	d := fsx.NewMem()
	if err := fsx.NewDir(d, fsx.BackupRules()).Replace(manifestFile, []byte(unfinished)); err != nil {
		t.Fatal(err)
	}
	s.backup(d, BackupOptions{})
	s.close()
}

// TestBackupLooksAtWhatIsThere: what is gone from a backup, or was changed there, is
// not taken as there by the next one, which can be restored. Signing keys that are not
// in the vault's backup any more are not listed, and what stands there is not touched.
func TestBackupLooksAtWhatIsThere(t *testing.T) {
	s := backedUpVault(t, fsx.NewMem())
	sound := fsx.NewMem()
	s.backup(sound, BackupOptions{WithKeys: true})
	m, err := readManifest(fsx.NewDir(sound, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, grown := range []bool{false, true} {
		if grown {
			s.grow(2)
		}
		for _, f := range m.files {
			for how, spoil := range map[string]func(fsx.Disk) error{
				"gone":    func(d fsx.Disk) error { return d.Remove(f.name) },
				"changed": func(d fsx.Disk) error { hurt(t, d, f.name); return nil },
				"longer":  func(d fsx.Disk) error { rewriteFile(t, d, f.name, append(readAll(d, f.name), 'x')); return nil },
			} {
				if how == "changed" && strings.HasPrefix(f.name, "blocks/sealed/") {
					continue // it is not read again
				}
				d := sound.Clone()
				if err := spoil(d); err != nil {
					t.Fatal(err)
				}
				r := s.backup(d, BackupOptions{})
				now, err := readManifest(fsx.NewDir(d, nil))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := restored(BackupIn(d), false); err != nil {
					t.Errorf("%s %s: %v", f.name, how, err)
				}
				_, listed := now.file(f.name)
				if isKey := f.name == logKey || f.name == cosignerKey; isKey {
					if exists, _ := fsx.NewDir(d, nil).Exists(f.name); listed || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], f.name) || exists == (how == "gone") {
						t.Errorf("%s %s: listed %v, there %v, notes %q", f.name, how, listed, exists, r.Notes)
					}
					continue
				}
				for _, f := range now.files {
					if f.grows {
						continue // at least as long
					}
					if got, _, err := hashFile(context.Background(), fsx.NewDir(d, nil), f.name); err != nil || got != f.hash {
						t.Errorf("%s: %s %v", how, f.name, err)
					}
				}
			}
		}
	}
	s.close()
}

func mustRestore(t *testing.T, from fsx.Disk) *fsx.Mem {
	t.Helper()
	d, err := restored(BackupIn(from), false)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestBackupOfADamagedVault stops, says where, and leaves the earlier backup.
func TestBackupOfADamagedVault(t *testing.T) {
	mem, target := fsx.NewMem(), fsx.NewMem()
	s := backedUpVault(t, mem)
	first := s.backup(target, BackupOptions{})
	s.grow(2)
	s.close()
	for _, name := range append(filesUnder(t, mem, "vaults/main/blocks"), filesUnder(t, mem, "vaults/main/log")...) {
		if strings.HasSuffix(name, "current") || strings.Contains(name, "healed") {
			continue
		}
		short := strings.TrimPrefix(name, "vaults/main/")
		m, err := readManifest(fsx.NewDir(target, nil))
		if err != nil {
			t.Fatal(err)
		}
		d, to := mem.Clone(), target.Clone()
		hurt(t, d, name)
		store, err := Open(context.Background(), scriptHost(d, 3), scriptOptions())
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Backup(context.Background(), "main", to, BackupOptions{})
		if had, listed := m.file(short); listed && !had.grows && strings.HasPrefix(short, "blocks/sealed/") {
			// It is not read again, unless the vault needs it to open.
			if err != nil && !strings.Contains(err.Error(), short) {
				t.Errorf("%s, which the backup has already: %v", short, err)
			}
		} else if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), short) {
			t.Errorf("%s: %v", short, err)
		} else if r, err := readManifest(fsx.NewDir(to, nil)); err != nil || r.head.Size != first.Size {
			t.Errorf("%s: the earlier backup: %v", short, err)
		}
		if _, err := restored(BackupIn(to), false); err != nil {
			t.Errorf("%s: the earlier backup: %v", short, err)
		}
		_ = store.Close() // of a damaged vault
	}
}
