package block

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

var (
	testVault  = record.VaultID{0x8d, 0x5f, 0x0c, 0x3a, 0x91, 0xb2, 0x4e, 0x6f, 0x8d, 0x5f, 0x0c, 0x3a, 0x91, 0xb2, 0x4e, 0x6f}
	otherVault = record.VaultID{0xff}
)

// blocksOf is the folder of blocks on a disk that holds one vault.
func blocksOf(d fsx.Disk) fsx.Dir { return fsx.NewDir(d, fsx.VaultRules()).Sub("blocks") }

func openOn(t testing.TB, d fsx.Disk) *Store {
	t.Helper()
	s, err := Open(blocksOf(d), testVault)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants fails unless err matches target.
func wants(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, wanted one that matches %q", err, target)
	}
}

// art is an artifact of its own kind and size.
func art(kind string, size int) Artifact {
	b := make([]byte, size)
	pattern := []byte(kind + "|")
	for i := range b {
		b[i] = pattern[i%len(pattern)] ^ byte(i/len(pattern))
	}
	return Artifact{ID: record.IDOf(b), Bytes: b}
}

// arts is n small artifacts.
func arts(kind string, n int) []Artifact {
	list := make([]Artifact, n)
	for i := range list {
		list[i] = art(fmt.Sprintf("%s %d", kind, i), 20+7*i%90)
	}
	return list
}

// put appends artifacts at the tail of a class.
func put(t testing.TB, s *Store, class string, list ...Artifact) {
	t.Helper()
	number, offset, _ := s.Tail(class)
	must(t, s.Append(class, number, offset, s.Encode(class, list)))
}

// has fails unless the store returns the artifacts' bytes.
func has(t testing.TB, s *Store, list ...Artifact) {
	t.Helper()
	for _, a := range list {
		if err := holds(s, a); err != nil {
			t.Fatal(err)
		}
	}
}

func holds(s *Store, a Artifact) error {
	ref, ok, err := s.LookupAny(a.ID)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: %v", ErrNotFound, a.ID)
	}
	b, err := s.Read(ref, a.ID)
	if err != nil {
		return err
	}
	if !bytes.Equal(b, a.Bytes) {
		return fmt.Errorf("artifact %v: other bytes were returned", a.ID)
	}
	return nil
}

// mentioned fails the test if the store cannot tell.
func mentioned(t testing.TB, s *Store, class string, id record.ID) bool {
	t.Helper()
	ok, err := s.Mentioned(class, id)
	must(t, err)
	return ok
}

// content reads a whole file of a disk.
func content(t testing.TB, d fsx.Disk, name string) []byte {
	t.Helper()
	b, err := fsx.NewDir(d, nil).ReadFile(name, 1<<30)
	must(t, err)
	return b
}

// write replaces the content of a file of a disk, behind the store's back.
func write(t testing.TB, d fsx.Disk, name string, b []byte) {
	t.Helper()
	f, err := d.Open(name, fsx.ReadWrite)
	if errors.Is(err, errNotExist) {
		f, err = d.Open(name, fsx.Create)
	}
	must(t, err)
	must(t, f.Truncate(0))
	_, err = f.WriteAt(b, 0)
	must(t, err)
	must(t, f.Close())
}

// flip inverts one bit of a file.
func flip(t testing.TB, d fsx.Disk, name string, bit int64) {
	t.Helper()
	f, err := d.Open(name, fsx.ReadWrite)
	must(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], bit/8)
	must(t, err)
	b[0] ^= 1 << (bit % 8)
	_, err = f.WriteAt(b[:], bit/8)
	must(t, err)
	must(t, f.Close())
}

// exists reports whether a disk has a name.
func exists(t testing.TB, d fsx.Disk, name string) bool {
	t.Helper()
	ok, err := fsx.NewDir(d, nil).Exists(name)
	must(t, err)
	return ok
}

// names lists a folder of a disk.
func names(t testing.TB, d fsx.Disk, folder string) []string {
	t.Helper()
	entries, err := d.ReadDir(folder)
	if errors.Is(err, errNotExist) {
		return nil
	}
	must(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name)
	}
	return list
}

// sealFull advances a class and seals the block before, without its record.
func sealFull(t testing.TB, s *Store, class string) record.Block {
	t.Helper()
	number, _, count := s.Tail(class)
	s.Advance(class)
	rec, err := s.Seal(class, number, count)
	must(t, err)
	return rec
}

// recordOf is the record of a sealed block that is known.
func recordOf(class string, number uint64, b *sealedBlock) record.Block {
	return record.Block{Number: &number, ID: b.id, Size: b.size, Count: b.count, Class: class}
}

// noDamage fails if a sealed block has any.
func noDamage(t testing.TB, s *Store, rec record.Block) {
	t.Helper()
	s.CheckSealed(rec, func(d *Damage) { t.Errorf("unexpected: %v", d) })
}
