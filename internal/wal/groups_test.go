package wal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

var (
	testVault  = record.VaultID{0xa1, 0xb2, 0xc3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	otherVault = record.VaultID{0xff}
)

// random is a reproducible source of salts.
type random struct{ r *rand.Rand }

func newRandom(n uint64) random { return random{rand.New(rand.NewPCG(n, n))} }

func (r random) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.r.Uint64())
	}
	return len(p), nil
}

func folder(d fsx.Disk) fsx.Dir { return fsx.NewDir(d, fsx.VaultRules()).Sub("wal") }

func options(fileBytes int64) Options {
	return Options{Vault: testVault, FileBytes: fileBytes, Rand: newRandom(1)}
}

// makeGroup returns the group of a height: always the same for the same
// arguments, about size bytes, with two records.
func makeGroup(height uint64, size int) *Group {
	text := fmt.Sprintf("group %d ", height)
	value := strings.Repeat(text, size/len(text)+1)[:size]
	lines := fmt.Sprintf("{\"seq\":%d,\"fill\":%q}\n{\"seq\":%d,\"kind\":\"commit\"}\n", 2*height, value[:size/2], 2*height+1)
	g := &Group{
		Height: height, First: 2 * height, LogFile: 2 * height / 10 * 10, LogOffset: int64(height % 5 * 100),
		Records: 2, Lines: []byte(lines),
	}
	if height%3 != 0 {
		g.Sections = append(g.Sections, Section{Class: "log", Number: height / 7, Offset: int64(height), Count: 1, Bytes: []byte(value[size/2:])})
	}
	if height%3 == 2 {
		g.Sections = append(g.Sections, Section{Class: "main", Number: 3, Offset: 0, Count: 2, Bytes: []byte("graven-wal 1 \x00\n" + value[:size/4])})
	}
	return g
}

// clone copies a group that Read has passed on.
func (g Group) clone() *Group {
	g.Lines = bytes.Clone(g.Lines)
	sections := g.Sections
	g.Sections = nil
	for _, s := range sections {
		s.Bytes = bytes.Clone(s.Bytes)
		g.Sections = append(g.Sections, s)
	}
	return &g
}

// encode returns what tells groups apart.
func (g *Group) encode() string {
	h := g.header()
	return string(g.appendFrame(nil, &h))
}

// read opens a log and reads all of it.
func read(dir fsx.Dir, opts Options) (groups []*Group, report Report, err error) {
	w, err := Open(dir, opts)
	if err != nil {
		return nil, report, err
	}
	report, err = w.Read(func(g Group) error {
		groups = append(groups, g.clone())
		return nil
	})
	return groups, report, errors.Join(err, w.Close())
}

// start opens a log, reads it and makes it ready for writing.
func start(t testing.TB, dir fsx.Dir, opts Options) *WAL {
	t.Helper()
	w, err := Open(dir, opts)
	if err == nil {
		_, err = w.Read(func(Group) error { return nil })
	}
	if err == nil {
		err = w.Reset()
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// put makes a group durable.
func (w *WAL) put(g *Group) error {
	if err := w.Reserve(g.BodyLen()); err != nil {
		return err
	}
	if err := w.Append(g); err != nil {
		return err
	}
	return w.Sync()
}

func mustPut(t testing.TB, w *WAL, g *Group) {
	t.Helper()
	if err := w.put(g); err != nil {
		t.Fatalf("group %d: %v", g.Height, err)
	}
}

// same returns an error unless the groups are those of makeGroup from a height on.
func same(groups []*Group, size func(height uint64) int) error {
	for i, g := range groups {
		if i > 0 && g.Height != groups[i-1].Height+1 {
			return fmt.Errorf("height %d follows %d", g.Height, groups[i-1].Height)
		}
		if g.encode() != makeGroup(g.Height, size(g.Height)).encode() {
			return fmt.Errorf("group %d is not the one that was written", g.Height)
		}
	}
	return nil
}

// content returns a file's bytes.
func content(t testing.TB, d fsx.Disk, name string) []byte {
	t.Helper()
	data, err := folder(d).ReadFile(name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// rewrite replaces a file's bytes behind the log's back.
func rewrite(t testing.TB, d fsx.Disk, name string, data []byte) {
	t.Helper()
	f, err := d.Open("wal/"+name, fsx.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(len(data))); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
}

// names returns the names of the log's files.
func names(t testing.TB, d fsx.Disk) []string {
	t.Helper()
	entries, err := d.ReadDir("wal")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name)
	}
	return list
}
