package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"graven/internal/fsx"
)

// settled is a vault that was closed cleanly, and what its keys hold.
func settled(t testing.TB, groups int) (*fsx.Mem, map[string]string) {
	t.Helper()
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	want := map[string]string{}
	note := func(pairs ...string) *Tx {
		for i := 0; i < len(pairs); i += 2 {
			want[pairs[i]] = pairs[i+1]
		}
		return put(pairs...)
	}
	big := strings.Repeat("0123456789", 25)
	want["big"] = big
	s.group(note("a", "one"), note("b", "two", "empty", ""))
	s.group(wide("w", 6))
	for i := range 6 {
		want[fmt.Sprint("w", i)] = fmt.Sprintf("value %d of w", i)
	}
	s.group(s.stage("big", big))
	for i := range groups {
		s.group(note(fmt.Sprint("key", i), fmt.Sprintf("value %d %s", i, strings.Repeat("x", i%40))))
		if i%10 == 9 {
			if err := s.vault.settle(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A block that became full is sealed by a settle, and recorded by the group after it.
	if err := s.vault.settle(); err != nil {
		t.Fatal(err)
	}
	s.group(note("last", "one"))
	s.close()
	return mem, want
}

// walk lists the files of a disk below a folder.
func walk(t testing.TB, d fsx.Disk, folder string) []string {
	t.Helper()
	entries, err := d.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, e := range entries {
		name := path.Join(folder, e.Name)
		if e.Dir {
			files = append(files, walk(t, d, name)...)
		} else {
			files = append(files, name)
		}
	}
	return files
}

func overwrite(t testing.TB, d fsx.Disk, name string, off int64, b []byte) {
	t.Helper()
	f, err := d.Open(name, fsx.ReadWrite)
	if err == nil {
		_, err = f.WriteAt(b, off)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// neverWrong reads every key. Errors are fine, wrong bytes are not.
func neverWrong(d fsx.Disk, want map[string]string) (readable int, err error) {
	ctx := context.Background()
	o := scriptOptions()
	o.ReadOnly = true
	store, err := Open(ctx, scriptHost(d, 3), o)
	if err != nil {
		return 0, nil
	}
	defer store.Close()
	v, err := store.Vault(ctx, "main")
	if err != nil {
		return 0, nil
	}
	w := v.View()
	for key, value := range want {
		e, err := w.Get([]byte(key))
		if err != nil {
			return 0, fmt.Errorf("key %s is gone: %w", key, err)
		}
		val, err := w.Value(e)
		var got bytes.Buffer
		if err == nil {
			_, err = val.WriteTo(&got)
		}
		if err == nil && got.String() != value {
			return 0, fmt.Errorf("key %s: read %q, wanted %q", key, got.String(), value)
		}
		if err == nil {
			readable++
		} else if !errors.Is(err, ErrDamaged) {
			return 0, fmt.Errorf("key %s: %w, wanted it to be called damaged", key, err)
		}
	}
	return readable, nil
}

func checkAll(t testing.TB, d fsx.Disk, readOnly bool) *Report {
	t.Helper()
	ctx := context.Background()
	o := scriptOptions()
	o.ReadOnly = readOnly
	store, err := Open(ctx, scriptHost(d, 4), o)
	if err != nil {
		t.Fatal(err)
	}
	report, err := store.Check(ctx, "main", CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_ = store.Close() // of a damaged vault
	return report
}

// TestFlippedBitsInTruth flips bits all over log and blocks: check finds each,
// in the file where it is, and no read returns a wrong byte.
func TestFlippedBitsInTruth(t *testing.T) {
	step := 11
	if testing.Short() {
		step = 197
	}
	mem, want := settled(t, 12)
	if r := checkAll(t, mem.Clone(), false); len(r.Findings) > 0 {
		t.Fatalf("check of a whole vault finds %v", r.Findings)
	}
	files := append(walk(t, mem, "vaults/main/log"), walk(t, mem, "vaults/main/blocks")...)
	flips, met := 0, map[string]int{}
	for _, file := range files {
		if strings.HasSuffix(file, "/current") {
			continue // a hint
		}
		content := readAll(mem, file)
		for off := flips % step; off < len(content); off += step {
			bit := byte(1) << (off % 8)
			disk := mem.Clone()
			overwrite(t, disk, file, int64(off), []byte{content[off] ^ bit})
			flips++
			met[path.Dir(strings.TrimPrefix(file, "vaults/main/"))]++
			if _, err := neverWrong(disk, want); err != nil {
				t.Errorf("%s, byte %d, bit %08b: %v", file, off, bit, err)
			}
			checked := disk.Clone()
			r := checkAll(t, checked, flips%2 == 0)
			// The table of contents of a block that no record names yet follows
			// from its frames: it may be mended, and said.
			if mended := len(r.Findings) > 0 && bytes.Equal(readAll(checked, file), content); !r.Damaged() && !mended {
				t.Errorf("%s, byte %d, bit %08b: check finds %v", file, off, bit, r.Findings)
				continue
			}
			name := strings.TrimPrefix(file, "vaults/main/")
			if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.File == name || strings.Contains(f.What, name) }) {
				t.Errorf("%s, byte %d: no finding names the file: %v", file, off, r.Findings)
			}
		}
	}
	t.Logf("%d flips: %v", flips, met)
	if flips < 20 || len(met) < 4 {
		t.Errorf("too few flips to prove anything: %v", met)
	}
}

// TestEveryDamageIsListed damages several places at once.
func TestEveryDamageIsListed(t *testing.T) {
	mem, _ := settled(t, 12)
	var broken []string
	for _, file := range walk(t, mem, "vaults/main/blocks") {
		content := readAll(mem, file)
		overwrite(t, mem, file, int64(len(content)/2), []byte{content[len(content)/2] ^ 1})
		broken = append(broken, strings.TrimPrefix(file, "vaults/main/"))
	}
	r := checkAll(t, mem, false)
	named := map[string]bool{}
	for _, f := range r.Findings {
		named[f.File] = true
	}
	for _, name := range broken {
		if !named[name] {
			t.Errorf("%s is damaged and not listed; listed are %v", name, slices.Sorted(maps.Keys(named)))
		}
	}
	if len(broken) < 4 {
		t.Fatalf("only %d blocks were damaged", len(broken))
	}
}

// TestFlippedBitsInTiles flips bits in tiles: found, mended, and never in the
// way of a reader.
func TestFlippedBitsInTiles(t *testing.T) {
	mem, want := settled(t, 150)
	tiles := walk(t, mem, "vaults/main/tile")
	if len(tiles) == 0 {
		t.Fatal("the vault has no full tile")
	}
	step := 211
	if testing.Short() {
		step = 1999
	}
	for _, file := range tiles {
		content := readAll(mem, file)
		for off := 0; off < len(content); off += step {
			disk := mem.Clone()
			overwrite(t, disk, file, int64(off), []byte{content[off] ^ 1})
			if n, err := neverWrong(disk, want); err != nil || n != len(want) {
				t.Errorf("%s, byte %d: %d of %d keys can be read: %v", file, off, n, len(want), err)
			}
			if r := checkAll(t, disk.Clone(), true); !r.Damaged() {
				t.Errorf("%s, byte %d: a check that may not mend finds nothing", file, off)
			}
			r := checkAll(t, disk, false)
			if r.Damaged() || len(r.Findings) == 0 {
				t.Errorf("%s, byte %d: not found and mended: %v", file, off, r.Findings)
			}
			if got := readAll(disk, file); !bytes.Equal(got, content) {
				t.Errorf("%s, byte %d: the tile is not what it was", file, off)
			}
			if r := checkAll(t, disk, false); len(r.Findings) > 0 {
				t.Errorf("%s, byte %d: after mending check finds %v", file, off, r.Findings)
			}
		}
	}
}

// TestLostFiles removes each file of a vault: derived ones are made again,
// truth is missed, and nothing is ever answered wrongly.
func TestLostFiles(t *testing.T) {
	mem, want := settled(t, 150)
	derived := func(name string) bool {
		for _, p := range []string{"tile/", "checkpoint", "log/current", "wal/", "README.txt", "rescue.sh", "meta/authority/", "meta/policy/"} {
			if strings.HasPrefix(name, p) {
				return true
			}
		}
		return false
	}
	n := 0
	for _, file := range walk(t, mem, "vaults/main") {
		name := strings.TrimPrefix(file, "vaults/main/")
		disk := mem.Clone()
		if err := disk.Remove(file); err != nil {
			t.Fatal(err)
		}
		n++
		readable, err := neverWrong(disk.Clone(), want)
		if err != nil {
			t.Errorf("without %s: %v", name, err)
		}
		if derived(name) && readable != len(want) {
			t.Errorf("without %s: %d of %d keys can be read, though it is derived", name, readable, len(want))
		}
		r := checkAll(t, disk, false)
		truth := strings.HasPrefix(name, "log/log-") || strings.HasPrefix(name, "blocks/")
		if truth && !r.Damaged() && readAll(disk, file) == nil {
			t.Errorf("without %s: check finds nothing", name)
		}
	}
	if n < 10 {
		t.Fatalf("only %d files were removed", n)
	}
}
