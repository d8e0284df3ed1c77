package wal

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/record"
)

var update = flag.Bool("update", false, "write the golden files")

const golden = "../../testdata/format/wal"

// goldenFrames returns the groups of the golden file and its bytes: two frames
// of one generation and the zeros behind them.
func goldenFrames(t testing.TB) (groups []*Group, file []byte) {
	t.Helper()
	when := time.Date(2025, 3, 1, 12, 0, 0, 123456789, time.UTC)
	value := []byte("hello")
	lines := func(records ...*record.Record) (out []byte) {
		for _, r := range records {
			var err error
			if out, err = r.Append(out); err != nil {
				t.Fatal(err)
			}
			out = append(out, '\n')
		}
		return out
	}
	commit := func(seq, height uint64, lines []byte) *record.Record {
		c := &record.Commit{Height: height, Lines: record.IDOf(lines), Root: merkle.LeafHash([]byte("root")), State: merkle.LeafHash([]byte("state"))}
		prev := merkle.LeafHash([]byte("prev"))
		c.Prev = &prev
		return &record.Record{V: 1, Kind: "commit", Seq: seq, Time: when, Body: c}
	}
	put := record.Op{Kind: record.OpPut, Space: record.SpaceUser, Key: []byte("greeting"), Value: record.IDOf(value), Size: uint64(len(value)), N: 1}
	tx := lines(&record.Record{V: 1, Kind: "tx", Seq: 7, Time: when, Body: &record.Tx{Actor: "ada", Req: record.IDOf([]byte("req")), Ops: []record.Op{put}}})
	first := append(tx, lines(commit(8, 3, tx))...)
	second := lines(commit(9, 4, nil))
	groups = []*Group{{
		Height: 3, First: 7, LogFile: 0, LogOffset: 2048, Records: 2, Lines: first,
		Sections: []Section{
			{Class: "log", Number: 0, Offset: 700, Count: 1, Bytes: []byte(record.IDOf([]byte("{}")).String() + " 2\n{}\n")},
			{Class: "main", Number: 0, Offset: 0, Count: 1, Bytes: []byte("graven-block 1 " + testVault.String() + " main 0\n" + record.IDOf(value).String() + " 5\nhello\n")},
		},
	}, {
		Height: 4, First: 9, LogFile: 0, LogOffset: 2048 + int64(len(first)), Records: 1, Lines: second,
	}}
	for _, g := range groups {
		h := g.header()
		h.vault, h.generation, h.salt = testVault, 42, 0x0123456789abcdef
		file = g.appendFrame(file, &h)
	}
	return groups, append(file, make([]byte, endBytes)...)
}

// TestGolden compares the bytes of frames with those of the repository, and
// reads those back. Bytes of another version are another version, not damage.
func TestGolden(t *testing.T) {
	groups, want := goldenFrames(t)
	next := bytes.ReplaceAll(want, []byte("graven-wal 1 "), []byte("graven-wal 2 "))
	if *update {
		if err := errors.Join(os.MkdirAll(golden, 0o755), os.WriteFile(filepath.Join(golden, "frames.wal"), want, 0o644), os.WriteFile(filepath.Join(golden, "next-version.wal"), next, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(filepath.Join(golden, "frames.wal"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("frames.wal differs:\n%q\nwanted\n%q", got, want)
	}
	opts := options(4096)
	back, report, err := read(folder(diskWith(t, got)), opts)
	if err != nil || report.Damage != nil || report.Torn != nil || len(back) != len(groups) {
		t.Fatalf("%+v %v", report, err)
	}
	for i := range groups {
		if back[i].encode() != groups[i].encode() {
			t.Errorf("group %d differs", i)
		}
	}
	if got, err = os.ReadFile(filepath.Join(golden, "next-version.wal")); err != nil || !bytes.Equal(got, next) {
		t.Fatalf("next-version.wal differs: %v", err)
	}
	if _, err := Open(folder(diskWith(t, got)), opts); !errors.Is(err, ErrUnknownVersion) {
		t.Errorf("next version: %v", err)
	}
}

// TestChecksumByHand computes a checksum as a stranger would, from the document.
func TestChecksumByHand(t *testing.T) {
	_, file := goldenFrames(t)
	line, body, _ := strings.Cut(string(file), "\n")
	fields := strings.Split(line, " ")
	h, n, err := parseHeader(file)
	if err != nil || len(fields) != 14 {
		t.Fatal(len(fields), err)
	}
	prefix := line[:len(line)-16]
	want := xxhash.Sum64String(prefix + body[:h.body])
	if h.sum != want || n != len(line)+1 || fields[4] != "0123456789abcdef" || fields[3] != "00000000000000000042" {
		t.Errorf("%q: checksum %016x, wanted %016x", line, h.sum, want)
	}
}

// diskWith returns a disk with one file of a log, which begins with some bytes.
func diskWith(t testing.TB, data []byte) *fsx.Mem {
	d := fsx.NewMem()
	f, err := folder(d).Append(fileName(0), true)
	if err == nil {
		_, err = f.WriteAt(data, 0)
	}
	if err == nil {
		err = f.Truncate(max(roundUp(int64(len(data))), pageBytes))
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestHeaders(t *testing.T) {
	_, file := goldenFrames(t)
	good, _, _ := strings.Cut(string(file), "\n")
	good += "\n"
	if _, _, err := parseHeader([]byte(good)); err != nil {
		t.Fatal(err)
	}
	edit := func(field int, value string) string {
		f := strings.Split(good, " ")
		f[field] = value
		return strings.Join(f, " ")
	}
	for name, s := range map[string]string{
		"empty":               "",
		"no newline":          strings.TrimSuffix(good, "\n"),
		"carriage return":     strings.TrimSuffix(good, "\n") + "\r\n",
		"two spaces":          strings.Replace(good, " ", "  ", 1),
		"another magic":       edit(0, "graven-val"),
		"version 0":           edit(1, "0"),
		"version 01":          edit(1, "01"),
		"version x":           edit(1, "x"),
		"vault in capitals":   edit(2, strings.ToUpper(testVault.String())),
		"vault short":         edit(2, testVault.String()[2:]),
		"generation short":    edit(3, "42"),
		"generation long":     edit(3, "000000000000000000042"),
		"generation great":    edit(3, "99999999999999999999"),
		"salt in capitals":    edit(4, "0123456789ABCDEF"),
		"salt short":          edit(4, "123456789abcdef"),
		"height with sign":    edit(5, "+3"),
		"height with zero":    edit(5, "03"),
		"height great":        edit(5, "9007199254740992"),
		"height empty":        edit(5, ""),
		"no records":          edit(9, "0"),
		"no lines":            edit(10, "0"),
		"body below lines":    edit(12, "1"),
		"checksum short":      edit(13, "123\n"),
		"checksum in capital": edit(13, "ABCDEFABCDEFABCD\n"),
		"one field more":      edit(13, "1 0123456789abcdef\n"),
	} {
		if h, _, err := parseHeader([]byte(s)); !errors.Is(err, errNotHeader) {
			t.Errorf("%s: %+v %v", name, h, err)
		}
	}
	for _, v := range []string{"2", "10", "9007199254740991"} {
		if _, _, err := parseHeader([]byte(edit(1, v))); !errors.Is(err, ErrUnknownVersion) {
			t.Errorf("version %s: %v", v, err)
		}
	}
	great := header{vault: testVault, generation: 1<<64 - 1, salt: 1<<64 - 1, sum: 1<<64 - 1}
	for _, n := range great.numbers() {
		*n = maxNumber
	}
	line := great.append(nil)
	if h, n, err := parseHeader(line); err != nil || n != len(line) || h != great || n > maxHeader {
		t.Errorf("greatest header: %+v %d of %d: %v", h, n, maxHeader, err)
	}
}

func FuzzHeader(f *testing.F) {
	_, file := goldenFrames(f)
	line, _, _ := bytes.Cut(file, []byte("\n"))
	f.Add(append(line, '\n'))
	f.Add([]byte("graven-wal 2 what ever\n"))
	f.Add([]byte("graven-wal 1 \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := parseHeader(b)
		if err == nil && !bytes.Equal(h.append(nil), b[:n]) {
			t.Errorf("%q encodes to %q", b[:n], h.append(nil))
		}
	})
}

func FuzzBody(f *testing.F) {
	groups, _ := goldenFrames(f)
	for _, g := range groups {
		h := g.header()
		frame := g.appendFrame(nil, &h)
		f.Add(h.lines, h.sections, h.records, frame[len(frame)-int(h.body):])
	}
	f.Fuzz(func(t *testing.T, lines, sections, records uint64, body []byte) {
		h := header{lines: lines, sections: sections, records: records, body: uint64(len(body))}
		if lines > h.body || lines == 0 || records > maxNumber {
			return // parseHeader refuses these
		}
		g, err := parseBody(&h, body)
		if err != nil {
			return
		}
		h = g.header()
		frame := g.appendFrame(nil, &h)
		if !bytes.Equal(frame[len(frame)-int(h.body):], body) {
			t.Errorf("%q encodes to %q", body, frame)
		}
	})
}

// FuzzRead reads two files of any bytes. It must not panic, and what it takes
// for a group must stand in a file, byte by byte.
func FuzzRead(f *testing.F) {
	_, file := goldenFrames(f)
	f.Add(file, []byte{}, false)
	f.Add(file[:500], file, true)
	f.Add(bytes.Replace(file, []byte("hello"), []byte("hallo"), 1), file, false)
	var log *fsx.Mem
	{
		log = fsx.NewMem()
		w := start(f, folder(log), options(4096))
		for h := range uint64(12) {
			mustPut(f, w, makeGroup(h, 700))
			w.Forget(h)
		}
	}
	f.Add(content(f, log, "wal-00000000"), content(f, log, "wal-00000001"), true)
	f.Fuzz(func(t *testing.T, a, b []byte, mark bool) {
		d := diskWith(t, a)
		size := max(roundUp(int64(len(b))), pageBytes)
		if mark {
			size += markBytes
		}
		file, err := folder(d).Append(fileName(1), true)
		if err == nil {
			_, err = file.WriteAt(b, 0)
		}
		if err == nil {
			err = file.Truncate(size)
		}
		if err != nil {
			t.Fatal(err)
		}
		groups, report, err := read(folder(d), options(4096))
		if err != nil {
			return
		}
		if len(groups) != report.Groups {
			t.Errorf("%d groups, report says %d", len(groups), report.Groups)
		}
		for i, g := range groups {
			if i > 0 && g.Height <= groups[i-1].Height {
				t.Errorf("height %d follows %d", g.Height, groups[i-1].Height)
			}
			h := g.header()
			frame := g.appendFrame(nil, &h)
			body := frame[len(frame)-int(h.body):]
			if !bytes.Contains(a, body) && !bytes.Contains(b, body) {
				t.Errorf("group %d stands nowhere", g.Height)
			}
		}
	})
}
