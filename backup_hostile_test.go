package graven

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
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
	m, err := manifestIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range m.files {
		name := f.path()
		m.files[i].name, m.files[i].size = name, int64(len(readAll(d, name)))
		if m.files[i].hash, err = hashOf(dir, name, m.files[i].size); err != nil {
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
					if f.path() == sealed[0] {
						m.files = append(m.files[:i], m.files[i+1:]...)
						return
					}
				}
			})
		},
		"the checkpoint of a newer one": func(d fsx.Disk) {
			resign(t, d, func(m *manifest) {
				n, err := manifestIn(fsx.NewDir(newer, nil))
				if err != nil {
					t.Fatal(err)
				}
				m.note, m.head = n.note, n.head
			})
		},
		"the checkpoint of another vault": func(d fsx.Disk) {
			resign(t, d, func(m *manifest) {
				n, err := manifestIn(fsx.NewDir(other, nil))
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
	m, err := manifestIn(fsx.NewDir(sound, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, grown := range []bool{false, true} {
		if grown {
			s.grow(2)
		}
		for _, f := range m.files {
			for how, spoil := range map[string]func(fsx.Disk) error{
				"gone":    func(d fsx.Disk) error { return d.Remove(f.path()) },
				"changed": func(d fsx.Disk) error { hurt(t, d, f.path()); return nil },
				"longer":  func(d fsx.Disk) error { rewriteFile(t, d, f.path(), append(readAll(d, f.path()), 'x')); return nil },
			} {
				if how == "changed" && strings.HasPrefix(f.path(), "blocks/sealed/") {
					continue // it is not read again
				}
				d := sound.Clone()
				if err := spoil(d); err != nil {
					t.Fatal(err)
				}
				r := s.backup(d, BackupOptions{})
				now, err := manifestIn(fsx.NewDir(d, nil))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := restored(BackupIn(d), false); err != nil {
					t.Errorf("%s %s: %v", f.path(), how, err)
				}
				_, listed := now.file(f.path())
				if isKey := f.path() == logKey || f.path() == cosignerKey; isKey {
					if exists, _ := fsx.NewDir(d, nil).Exists(f.path()); listed || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], f.path()) || exists == (how == "gone") {
						t.Errorf("%s %s: listed %v, there %v, notes %q", f.path(), how, listed, exists, r.Notes)
					}
					continue
				}
				for _, f := range now.files {
					if f.grows {
						continue // at least as long
					}
					if got, _, err := hashFile(context.Background(), fsx.NewDir(d, nil), f.path()); err != nil || got != f.hash {
						t.Errorf("%s: %s %v", how, f.path(), err)
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

// TestRestoreOfWhatNoBackupHolds: files that a manifest lists, with everything made to
// fit, and that no backup of the vault can have.
func TestRestoreOfWhatNoBackupHolds(t *testing.T) {
	s := backedUpVault(t, fsx.NewMem())
	sound := fsx.NewMem()
	s.backup(sound, BackupOptions{})
	s.close()
	o := otherVault(t)
	other := fsx.NewMem()
	o.backup(other, BackupOptions{})
	o.close()
	open := filesUnder(t, sound, "blocks/open")
	theirs := filesUnder(t, other, "blocks/sealed")[0]
	add := func(t *testing.T, d fsx.Disk, name string, b []byte) {
		dir := fsx.NewDir(d, fsx.RestoreRules())
		if err := dir.PublishBytes(name, b); err != nil {
			t.Fatal(err)
		}
		resign(t, d, func(m *manifest) {
			m.list(append(m.files, backedUp{name: name, hash: record.IDOf(b), size: int64(len(b))}))
		})
	}
	for name, spoil := range map[string]func(t *testing.T, d fsx.Disk){
		"a sealed block of another vault": func(t *testing.T, d fsx.Disk) { add(t, d, theirs, readAll(other, theirs)) },
		"junk as a sealed block": func(t *testing.T, d fsx.Disk) {
			add(t, d, sealedBlock(record.IDOf([]byte("junk"))), []byte("junk"))
		},
		"junk as an open block":      func(t *testing.T, d fsx.Disk) { add(t, d, "blocks/open/main-00000099.blk", []byte("junk")) },
		"an open block of new class": func(t *testing.T, d fsx.Disk) { add(t, d, "blocks/open/other-00000000.blk", []byte("junk")) },
		"a log file":                 func(t *testing.T, d fsx.Disk) { add(t, d, logName(1<<40), []byte("junk")) },
		"junk behind an open block": func(t *testing.T, d fsx.Disk) {
			rewriteFile(t, d, open[0], append(readAll(d, open[0]), "junk"...))
			resign(t, d, func(*manifest) {})
		},
		"zeros behind an open block": func(t *testing.T, d fsx.Disk) {
			rewriteFile(t, d, open[0], append(readAll(d, open[0]), make([]byte, 100)...))
			resign(t, d, func(*manifest) {})
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := sound.Clone()
			spoil(t, d)
			into, err := restored(BackupIn(d), false)
			if !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			if entries, err := into.ReadDir(vaultsName); err == nil && len(entries) > 0 {
				t.Errorf("the restore leaves %v", entries)
			}
		})
	}
}

// endless is a stream of one file that repeats a text for ever, and counts what is taken.
type endless struct {
	text string
	read int64
}

func (e *endless) Next() (string, io.Reader, error) { return manifestFile, e, nil }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.text[(e.read+int64(i))%int64(len(e.text))]
	}
	e.read += int64(len(p))
	return len(p), nil
}

// TestManifestsWithoutEnd are refused when more came than can be meant.
func TestManifestsWithoutEnd(t *testing.T) {
	target := fsx.NewMem()
	s := backedUpVault(t, fsx.NewMem())
	s.backup(target, BackupOptions{})
	s.close()
	text := string(readAll(target, manifestFile))
	head, _, _ := strings.Cut(text, "# checkpoint\n")
	list := strings.Index(text, "# length")
	for _, c := range []struct {
		head, more string
		most       int64
	}{
		{"", "#", 2 * maxManifestLine},
		{manifestHead, "# unfinished\n# unfinished\n", 2 * maxManifestLine},
		{head + "# checkpoint\n", "#>\n", 4 * maxCheckpoint},
		{head + "# checkpoint\n", "#>" + strings.Repeat("x", 1000) + "\n", 4 * maxCheckpoint},
		{text[:list], "# length 1\n", 2 * maxManifestLine},
		{text[:list], text[list : list+300], 2 * maxManifestLine},
	} {
		src := &endless{text: c.more}
		_, err := readManifest(io.MultiReader(strings.NewReader(c.head), src))
		if !errors.Is(err, ErrDamaged) || src.read > c.most {
			t.Errorf("%.30q for ever: %v after %d bytes", c.more, err, src.read)
		}
	}
}

// TestMemoryOfAManifest: the longest that is taken costs what is promised.
func TestMemoryOfAManifest(t *testing.T) {
	target := fsx.NewMem()
	s := backedUpVault(t, fsx.NewMem())
	s.backup(target, BackupOptions{})
	s.close()
	m, err := manifestIn(fsx.NewDir(target, nil))
	if err != nil {
		t.Fatal(err)
	}
	const files = 20_000
	list := make([]backedUp, files)
	for i := range list {
		id := record.IDOf(fmt.Append(nil, i))
		list[i] = backedUp{name: sealedBlock(id), hash: id}
	}
	m.list(list)
	text := m.text()
	m, list = nil, nil
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if m, err = parseManifest(text); err != nil || len(m.files) != files {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / files; each*maxBackupFiles > 256<<20 {
		t.Errorf("%d bytes a file, so %d files take %d MiB", each, maxBackupFiles, each*maxBackupFiles>>20)
	}
	runtime.KeepAlive(m)
	runtime.KeepAlive(text)
}

// TestRestoreTakesNoMoreThanIsListed: a file that goes on behind its length is refused there.
func TestRestoreTakesNoMoreThanIsListed(t *testing.T) {
	s := backedUpVault(t, fsx.NewMem())
	defer s.close()
	stream := &memStream{}
	if _, err := s.store.BackupStream(context.Background(), "main", stream, BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, sized := range []bool{true, false} {
		for i, name := range stream.names {
			if i == 0 {
				continue
			}
			src := &swollen{memStream: memStream{names: stream.names, files: stream.files}, at: i, sized: sized}
			_, err := restored(src, false)
			if madeAgain(name) == errors.Is(err, ErrDamaged) || !madeAgain(name) && err == nil {
				t.Errorf("%s with more behind it: %v", name, err)
			}
			if most := int64(stream.files[i].Len()) + 1; src.more.read > most || sized && src.more.read > 0 {
				t.Errorf("%s with more behind it: %d bytes were read of what was behind", name, src.more.read)
			}
		}
	}
}

// swollen is a stream of which one file goes on for ever.
type swollen struct {
	memStream
	at    int
	sized bool
	more  endless
}

func (m *swollen) Next() (string, io.Reader, error) {
	name, r, err := m.memStream.Next()
	if err != nil || m.next-1 != m.at {
		return name, r, err
	}
	m.more.text = "0"
	r = io.MultiReader(r, &m.more)
	if m.sized {
		return name, sizedReader{r}, nil
	}
	return name, r, nil
}

type sizedReader struct{ io.Reader }

func (sizedReader) Size() int64 { return 1 << 40 }

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
		m, err := manifestIn(fsx.NewDir(target, nil))
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
		} else if r, err := manifestIn(fsx.NewDir(to, nil)); err != nil || r.head.Size != first.Size {
			t.Errorf("%s: the earlier backup: %v", short, err)
		}
		if _, err := restored(BackupIn(to), false); err != nil {
			t.Errorf("%s: the earlier backup: %v", short, err)
		}
		_ = store.Close() // of a damaged vault
	}
}
