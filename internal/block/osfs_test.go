package block

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"graven/internal/fsx"
	"graven/internal/fsx/osfs"
	"graven/record"
)

// On a real disk: the whole life of blocks and uploads, and what stands in the
// place of a file.
func TestOnARealDisk(t *testing.T) {
	root := t.TempDir()
	disk, err := osfs.Open(root)
	must(t, err)
	defer disk.Close()
	s := openOn(t, disk)
	must(t, s.Reserve("main", 1000))
	put(t, s, "main", arts("a", 3)...)
	must(t, s.Sync())
	first := sealFull(t, s, "main")
	must(t, s.Reserve("main", 1000))
	put(t, s, "main", arts("b", 4)...)
	must(t, s.Sealed(first))
	second, err := s.Seal("main", 1, 2)
	must(t, err)
	must(t, s.Sealed(second))
	up := upload(t, s, art("value", 1000).Bytes, 100)
	must(t, s.Admit(up.Block))
	all := append(arts("a", 3), arts("b", 4)...)
	has(t, s, all...)
	must(t, s.Sync())
	must(t, s.Close())

	name := filepath.Join(root, "blocks", sealedName(first.ID))
	b, err := os.ReadFile(name)
	must(t, err)
	if record.IDOf(b) != first.ID {
		t.Fatal("the sealed file does not have the hash of its name")
	}
	if st, err := os.Stat(name); err != nil || st.Sys().(*syscall.Stat_t).Nlink != 1 {
		t.Fatal("the sealed file has a second name left")
	}
	s = openOn(t, disk)
	for _, rec := range []record.Block{first, second, up.Block} {
		must(t, s.LoadSealed(rec))
		noDamage(t, s, rec)
	}
	must(t, s.LoadFound())
	must(t, s.CutOpen(nil))
	has(t, s, all...)
	_, err = readValue(s, up)
	must(t, err)
	put(t, s, "main", arts("c", 1)...)
	must(t, s.Sync())

	// Links, pipes and folders are refused, and nothing waits for them.
	ref, _, _ := s.LookupAny(all[0].ID)
	s.files.evictAll()
	for _, put := range []func() error{
		func() error { return os.Symlink("/etc/hostname", name) },
		func() error { return syscall.Mkfifo(name, 0o600) },
		func() error { return os.Mkdir(name, 0o700) },
	} {
		must(t, os.RemoveAll(name))
		must(t, put())
		_, err := s.Read(ref, all[0].ID)
		wants(t, err, fsx.ErrNotRegular)
		wants(t, openOn(t, disk).LoadSealed(first), fsx.ErrNotRegular)
		found := 0
		s.CheckSealed(first, func(*Damage) { found++ })
		s.CheckNames(func(*Damage) { found++ }, nil)
		if found != 2 {
			t.Fatalf("%d findings", found)
		}
	}
	must(t, os.Symlink("x", filepath.Join(root, "blocks/open/main-00000009.blk")))
	_, err = Open(blocksOf(disk), testVault)
	wants(t, err, fsx.ErrNotRegular)
}
