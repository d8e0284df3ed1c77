package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"graven/internal/fsx"
)

func folder(d fsx.Disk) fsx.Dir { return fsx.NewDir(d, fsx.VaultRules()).Sub("log") }

// line returns the line of a seq with its newline: always the same, a whole
// record of a kind that no program knows.
func line(seq uint64) string {
	fill := strings.Repeat(fmt.Sprint(seq, " "), int(seq*seq%41))
	return fmt.Sprintf(`{"v":1,"kind":"test","seq":%d,"time":"2025-01-02T03:04:05.000000000Z","fill":"%s"}`+"\n", seq, fill)
}

// group is what a vault appends at once.
type group struct {
	first   uint64
	records int
	lines   []byte
	at      Pos
}

// makeGroups returns groups of 1 to 4 records and where they go.
func makeGroups(opts Options, n int) []group {
	c := NewCursor(opts)
	var list []group
	for i := range n {
		g := group{first: c.Next(), records: 1 + i*7%4, at: c.Pos()}
		for k := range g.records {
			g.lines = append(g.lines, line(g.first+uint64(k))...)
		}
		c.Add(int64(len(g.lines)), g.records)
		c.EndGroup()
		list = append(list, g)
	}
	return list
}

func (l *Log) appendGroup(g group) error {
	if err := l.Reserve(len(g.lines)); err != nil {
		return err
	}
	if at := l.Tail(); at != g.at {
		return fmt.Errorf("group at %v goes to %v", g.at, at)
	}
	if err := l.Append(g.lines, g.records); err != nil {
		return err
	}
	l.EndGroup()
	return nil
}

// start is where a group begins.
func (g group) start() Start { return Start{Seq: g.first, Pos: g.at} }

// end is where a group ends, which is as good a start.
func (g group) end() Start {
	return Start{Seq: g.first + uint64(g.records), Pos: Pos{File: g.at.File, Offset: g.at.Offset + int64(len(g.lines))}}
}

// places returns where each line of groups begins.
func places(groups []group) []Pos {
	var list []Pos
	for _, g := range groups {
		at := g.at
		for _, l := range bytes.SplitAfter(g.lines[:len(g.lines)-1], []byte("\n")) {
			list = append(list, at)
			at.Offset += int64(len(l))
		}
	}
	return list
}

// gridOf is a grid of the groups that names every so many records.
func gridOf(groups []group, every uint64) Grid {
	list := places(groups)
	return func(seq uint64) (uint64, Pos, error) {
		at := seq - seq%every
		return at, list[at], nil
	}
}

// check is a callback for Scan that accepts the lines of line only.
func check(seq uint64, got []byte, _ Pos) error {
	if string(got)+"\n" != line(seq) {
		return fmt.Errorf("seq %d: %w: %.40q", seq, errBadLine, got)
	}
	return nil
}

var errBadLine = errors.New("bad line")

// open opens and scans a log.
func open(t testing.TB, d fsx.Disk, opts Options) *Log {
	t.Helper()
	l, err := Open(folder(d), opts)
	if err == nil {
		_, err = l.Scan(check)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// written returns a disk with groups in the log, synced.
func written(t testing.TB, opts Options, groups []group) *fsx.Mem {
	t.Helper()
	d := fsx.NewMem()
	l := open(t, d, opts)
	for _, g := range groups {
		must(t, l.appendGroup(g))
	}
	must(t, l.Sync())
	must(t, l.Close())
	return d
}

// files returns the log files by name.
func files(t testing.TB, d fsx.Disk) map[string]string {
	t.Helper()
	entries, err := folder(d).ReadDir(".")
	all := map[string]string{}
	if errors.Is(err, fs.ErrNotExist) {
		return all
	}
	must(t, err)
	for _, e := range entries {
		if e.Name != currentName {
			all[e.Name] = string(content(t, d, e.Name))
		}
	}
	return all
}

func content(t testing.TB, d fsx.Disk, name string) []byte {
	t.Helper()
	data, err := folder(d).ReadFile(name, 1<<30)
	must(t, err)
	return data
}

// want returns the log files that groups make.
func want(groups []group) map[string]string {
	all := map[string]string{}
	for _, g := range groups {
		all[Name(g.at.File)] += string(g.lines)
	}
	return all
}

// sameFiles returns an error unless the files are those of the groups; a file
// that was begun for the next group may be there too.
func sameFiles(got map[string]string, groups []group) error {
	wanted := want(groups)
	for name, data := range wanted {
		if got[name] != data {
			return fmt.Errorf("%s: %d bytes, wanted %d", name, len(got[name]), len(data))
		}
	}
	for name, data := range got {
		if _, ok := wanted[name]; !ok && data != "" {
			return fmt.Errorf("%s: %d bytes, wanted no such file", name, len(data))
		}
	}
	return nil
}

// rewrite replaces a file's bytes behind the log's back.
func rewrite(t testing.TB, d fsx.Disk, name string, data []byte) {
	t.Helper()
	f, err := folder(d).Append(name, true)
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(int64(len(data))))
	_, err = f.WriteAt(data, 0)
	must(t, err)
}

// readBack compares everything that a log answers with the groups.
func readBack(l *Log, groups []group) error {
	seq := uint64(0)
	for _, g := range groups {
		off := g.at.Offset
		for _, want := range bytes.SplitAfter(g.lines[:len(g.lines)-1], []byte("\n")) {
			got, err := l.Line(seq)
			if err != nil || string(got) != strings.TrimSuffix(string(want), "\n") {
				return fmt.Errorf("line %d is %.40q: %v", seq, got, err)
			}
			if at, err := l.Position(seq); err != nil || at != (Pos{g.at.File, off}) {
				return fmt.Errorf("line %d at %v, wanted %v: %v", seq, at, Pos{g.at.File, off}, err)
			}
			off += int64(len(line(seq)))
			seq++
		}
	}
	if l.Next() != seq {
		return fmt.Errorf("next %d, wanted %d", l.Next(), seq)
	}
	if _, err := l.Line(seq); !errors.Is(err, ErrOutOfRange) {
		return fmt.Errorf("line %d: %v", seq, err)
	}
	if at, err := l.Position(seq); err != nil || at != l.Tail() {
		return fmt.Errorf("position of the next line: %v %v", at, err)
	}
	return nil
}
