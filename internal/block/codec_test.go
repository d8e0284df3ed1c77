package block

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

func TestHeader(t *testing.T) {
	vault := testVault.String()
	longest := strings.Repeat("a", maxClass)
	for _, h := range []Header{
		{Vault: testVault, Class: "main"},
		{Vault: testVault, Class: "main", Number: 17},
		{Vault: testVault, Class: "0", Number: record.MaxInt},
		{Vault: otherVault, Class: longest, Number: record.MaxInt},
		{Vault: testVault, Class: "a.b_c-d", Chunks: true},
	} {
		b := AppendHeader([]byte("x"), h)[1:]
		if len(b) > maxHeader {
			t.Errorf("%q is longer than maxHeader", b)
		}
		got, n, err := ParseHeader(append(b, "sha256:"...))
		if err != nil || got != h || n != len(b) {
			t.Errorf("%q parses as %+v, %d, %v", b, got, n, err)
		}
	}
	for text, want := range map[string]error{
		"":                                                                ErrSyntax,
		"graven-block":                                                    ErrSyntax,
		"graven-block 1 " + vault + " main 0":                             ErrSyntax,
		"graven-block 1 " + vault + " main":                               ErrSyntax,
		"graven-block 1 " + vault + " main \n":                            ErrSyntax,
		"graven-block 1 " + vault + " main 00\n":                          ErrSyntax,
		"graven-block 1 " + vault + " main 01\n":                          ErrSyntax,
		"graven-block 1 " + vault + " main -1\n":                          ErrSyntax,
		"graven-block 1 " + vault + " main 9007199254740992\n":            ErrSyntax,
		"graven-block 1 " + vault + " main 0 \n":                          ErrSyntax,
		"graven-block 1 " + vault + " main 0\r\n":                         ErrSyntax,
		"graven-block 1 " + vault + " Main 0\n":                           ErrSyntax,
		"graven-block 1 " + vault + " -main 0\n":                          ErrSyntax,
		"graven-block 1 " + vault + " ma/in 0\n":                          ErrSyntax,
		"graven-block 1 " + vault + "  0\n":                               ErrSyntax,
		"graven-block 1 " + vault + " " + longest + "a 0\n":               ErrSyntax,
		"graven-block 1 " + strings.ToUpper(vault) + " main 0\n":          ErrSyntax,
		"graven-block 1 " + vault[1:] + " main 0\n":                       ErrSyntax,
		"graven-block  1 " + vault + " main 0\n":                          ErrSyntax,
		"Graven-block 1 " + vault + " main 0\n":                           ErrSyntax,
		"graven-block 01 " + vault + " main 0\n":                          ErrSyntax,
		"graven-block 1x " + vault + " main 0\n":                          ErrSyntax,
		"graven-block 2x " + vault + " main 0\n":                          ErrSyntax,
		"graven-block 2 " + vault + " main 0\n":                           ErrUnknownVersion,
		"graven-block 2\n":                                                ErrUnknownVersion,
		"graven-block 10 whatever comes then":                             ErrUnknownVersion,
		"graven-block 0 " + vault + " main 0\n":                           ErrUnknownVersion,
		"\xef\xbb\xbfgraven-block 1 " + vault + " main 0\n":               ErrSyntax,
		"graven-block 1 " + vault + " main\x00 0\n":                       ErrSyntax,
		"graven-chunks 1 sha256:" + strings.Repeat("0", 64) + " 5 5\n":    ErrSyntax,
		"graven-block 1 " + vault + " main 99999999999999999999999999\n":  ErrSyntax,
		"graven-block 1 " + vault[:30] + "zz main 0\n":                    ErrSyntax,
		"graven-block 99999999999999999999 " + vault + " main 0\n":        ErrSyntax,
		"graven-block 1 " + vault + "main 0\n":                            ErrSyntax,
		"graven-block 1 " + vault + " main 0\n"[:len(" main 0\n")-1] + "": ErrSyntax,
	} {
		_, n, err := ParseHeader([]byte(text))
		if !errors.Is(err, want) || n != 0 || want == ErrUnknownVersion && errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %d, %v, wanted %v", text, n, err, want)
		}
	}
}

func TestFrameHeader(t *testing.T) {
	id := record.IDOf([]byte("x"))
	for _, size := range []int64{0, 1, 9, 10, 99, 100, 8 << 20, record.MaxInt} {
		b := AppendFrameHeader(nil, id, size)
		if int64(len(b)) != frameHeaderLen(size) || len(b) > maxFrameHeader {
			t.Errorf("size %d: %d bytes, computed %d", size, len(b), frameHeaderLen(size))
		}
		gotID, gotSize, n, err := ParseFrameHeader(append(b, "more"...))
		if err != nil || gotID != id || gotSize != size || n != len(b) {
			t.Errorf("%q: %v %d %d %v", b, gotID, gotSize, n, err)
		}
	}
	hex := id.Hex()
	for _, text := range []string{
		"", "sha256:", "sha256:" + hex, "sha256:" + hex + " \n", "sha256:" + hex + " 1", "sha256:" + hex + " 01\n",
		"sha256:" + hex + " -1\n", "sha256:" + hex + " 9007199254740992\n", "sha256:" + strings.ToUpper(hex) + " 1\n",
		"sha512:" + hex + " 1\n", "sha256:" + hex[1:] + " 1\n", "sha256:" + hex + "  1\n", "sha256:" + hex + " 1 \n", "toc 1\n",
	} {
		if _, _, n, err := ParseFrameHeader([]byte(text)); !errors.Is(err, ErrSyntax) || n != 0 {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
}

// tocOf is the table of a block of these artifacts, and its header's length.
func tocOf(list []Artifact) (toc []byte, entries []Entry, headerLen int64) {
	h := Header{Vault: testVault, Class: "main"}
	_, entries, err := parseSection(EncodeSection(h, 0, list), 0)
	if err != nil {
		panic(err)
	}
	return AppendTOC(nil, entries), entries, int64(len(AppendHeader(nil, h)))
}

func TestTOC(t *testing.T) {
	for _, n := range []int{0, 1, 2, 11} {
		list := arts("v", n)
		var toc []byte
		var entries []Entry
		var headerLen int64
		if n == 0 {
			toc, headerLen = AppendTOC(nil, nil), 60
		} else {
			toc, entries, headerLen = tocOf(list)
		}
		got, err := ParseTOC(toc, headerLen)
		if err != nil || len(got) != n {
			t.Fatalf("%d entries: %v", n, err)
		}
		for i := range got {
			if got[i] != entries[i] {
				t.Fatalf("entry %d is %+v, wanted %+v", i, got[i], entries[i])
			}
		}
		for cut := range toc {
			if _, err := ParseTOC(toc[:cut], headerLen); !errors.Is(err, ErrSyntax) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
		if _, err := ParseTOC(append(toc, '\n'), headerLen); !errors.Is(err, ErrSyntax) {
			t.Fatalf("one byte more: %v", err)
		}
		if _, err := ParseTOC(toc, headerLen+1); n > 0 && !errors.Is(err, ErrSyntax) {
			t.Fatalf("another header: %v", err)
		}
	}
	twice := EncodeSection(Header{Vault: testVault, Class: "main"}, 0, []Artifact{art("a", 3), art("a", 3)})
	_, entries, err := parseSection(twice, 0)
	must(t, err)
	_, err = ParseTOC(AppendTOC(nil, entries), int64(len(AppendHeader(nil, Header{Vault: testVault, Class: "main"}))))
	wants(t, err, ErrSyntax)
	for _, text := range []string{"toc 9007199254740991\n", "toc 10000000000\n", "toc 1\n", "toc 01\n", "toc\n", "toc 0", "TOC 0\n"} {
		if _, err := ParseTOC([]byte(text), 60); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTrailer(t *testing.T) {
	for _, tt := range []struct {
		toc   int64
		count uint64
		text  string
	}{
		{0, 0, "end 0000000000000000 0000000000\n"},
		{262362, 2, "end 0000000000262362 0000000002\n"},
		{record.MaxInt, maxCount, "end 9007199254740991 9999999999\n"},
	} {
		b := AppendTrailer(nil, tt.toc, tt.count)
		if string(b) != tt.text || len(b) != TrailerSize {
			t.Fatalf("%q, wanted %q", b, tt.text)
		}
		toc, count, err := ParseTrailer(b)
		if err != nil || toc != tt.toc || count != tt.count {
			t.Fatalf("%q: %d %d %v", b, toc, count, err)
		}
		for cut := range b {
			if _, _, err := ParseTrailer(b[:cut]); !errors.Is(err, ErrSyntax) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
	}
	for _, text := range []string{
		"end 9007199254740992 0000000000\n", "end 000000000000000  0000000000\n", "end 0000000000000000 000000000a\n",
		"End 0000000000000000 0000000000\n", "end 0000000000000000 0000000000 ", "end 0000000000000000 0000000000\n\n",
		"end +000000000000000 0000000000\n",
	} {
		if _, _, err := ParseTrailer([]byte(text)); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestList(t *testing.T) {
	whole := record.IDOf([]byte("whole"))
	ids := make([]record.ID, 5)
	for i := range ids {
		ids[i] = record.IDOf([]byte{byte(i)})
	}
	for _, l := range []List{
		{whole, 1, 1, ids[:1]},
		{whole, 1, record.MaxInt, ids[:1]},
		{whole, 10, 10, ids[:1]},
		{whole, 11, 10, ids[:2]},
		{whole, 50, 10, ids},
		{whole, 20, 10, []record.ID{ids[0], ids[0]}},
	} {
		b := AppendList(nil, l)
		got, err := ParseList(b)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(l) {
			t.Fatalf("%q: %+v, %v", b, got, err)
		}
		for cut := range b {
			if _, err := ParseList(b[:cut]); !errors.Is(err, ErrSyntax) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
		_, err = ParseList(append(b, '\n'))
		wants(t, err, ErrSyntax)
	}
	head := "graven-chunks 1 " + whole.String()
	line := ids[0].String()
	for text, want := range map[string]error{
		"":                                  ErrSyntax,
		head + " 0 10\n":                    ErrSyntax,
		head + " 10 0\n":                    ErrSyntax,
		head + " 0 0\n":                     ErrSyntax,
		head + " 10 10\n":                   ErrSyntax,
		head + " 010 10\n" + line + " 10\n": ErrSyntax,
		head + " 10 10\n" + line + " 9\n":   ErrSyntax,
		head + " 10 10\n" + line + " 10\n" + line + " 10\n":                ErrSyntax,
		head + " 15 10\n" + line + " 5\n" + line + " 10\n":                 ErrSyntax,
		head + " 9007199254740991 1\n" + line + " 1\n":                     ErrSyntax,
		strings.Replace(head, "s 1", "s 2", 1) + " 5 5\n" + line + " 5\n":  ErrUnknownVersion,
		strings.Replace(head, "s 1", "s 02", 1) + " 5 5\n" + line + " 5\n": ErrSyntax,
		head + " 5 5\n" + strings.ToUpper(line) + " 5\n":                   ErrSyntax,
	} {
		if _, err := ParseList([]byte(text)); !errors.Is(err, want) || want == ErrUnknownVersion && errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v, wanted %v", text, err, want)
		}
	}
}

const goldenDir = "../../testdata/format/block"

// goldenFiles are small files of each kind, made by the store itself.
func goldenFiles(t *testing.T) map[string][]byte {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	values := []Artifact{{Bytes: []byte("hello\n")}, {Bytes: []byte{}}, {Bytes: []byte("toc 1\nsha256:\x00\xff")}}
	for i := range values {
		values[i].ID = record.IDOf(values[i].Bytes)
	}
	put(t, s, "main", values...)
	open := content(t, disk, openMain0)
	rec := sealFull(t, s, "main")
	up, err := s.NewUpload("main", 8)
	must(t, err)
	_, err = up.Write([]byte("01234567" + "abcdefgh" + "01234567" + "end"))
	must(t, err)
	done, err := up.Finish()
	must(t, err)
	chunks := content(t, disk, "blocks/"+upName(done.Block.ID))
	must(t, s.Admit(done.Block))
	ref, _, _ := s.LookupAny(done.List)
	list, err := s.Read(ref, done.List)
	must(t, err)
	sealed := content(t, disk, "blocks/"+sealedName(rec.ID))
	next := func(b []byte, magic string) []byte {
		return []byte(strings.Replace(string(b), magic+" 1 ", magic+" 2 ", 1))
	}
	return map[string][]byte{
		"open.blk":             open,
		"open-version-2.blk":   next(open, magicBlock),
		"sealed.blk":           sealed,
		"sealed-version-2.blk": next(sealed, magicBlock),
		"chunks.blk":           chunks,
		"list":                 list,
		"list-version-2":       next(list, magicChunks),
	}
}

// The vectors are the format: a change of one of them is a new version.
func TestGoldenVectors(t *testing.T) {
	files := goldenFiles(t)
	for name, want := range files {
		path := filepath.Join(goldenDir, name)
		if *update {
			must(t, os.MkdirAll(goldenDir, 0o755))
			must(t, os.WriteFile(path, want, 0o644))
		}
		got, err := os.ReadFile(path)
		must(t, err)
		if string(got) != string(want) {
			t.Errorf("%s is not what this program writes", name)
		}
	}
	entries, err := os.ReadDir(goldenDir)
	must(t, err)
	if len(entries) != len(files)+1 || len(files) == 0 { // and README.md
		t.Fatalf("%d vectors on disk, %d known", len(entries), len(files))
	}
	golden := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(goldenDir, name))
		must(t, err)
		return b
	}
	number := uint64(0)
	sealed := golden("sealed.blk")
	rec := record.Block{Number: &number, ID: record.IDOf(sealed), Size: uint64(len(sealed)), Count: 3, Class: "main"}
	Verify("sealed.blk", bytesReader(sealed), int64(len(sealed)), Header{Vault: testVault, Class: "main"}, rec, func(d *Damage) { t.Error(d) })
	chunks := golden("chunks.blk")
	rec = record.Block{ID: record.IDOf(chunks), Size: uint64(len(chunks)), Count: 4, Class: "main"}
	Verify("chunks.blk", bytesReader(chunks), int64(len(chunks)), Header{Vault: testVault, Class: "main", Chunks: true}, rec, func(d *Damage) { t.Error(d) })
	l, err := ParseList(golden("list"))
	must(t, err)
	if l.Size != 27 || l.Chunk != 8 || len(l.Chunks) != 4 || l.Chunks[0] != l.Chunks[2] || l.Whole != record.IDOf([]byte("01234567abcdefgh01234567end")) {
		t.Fatalf("list %+v", l)
	}

	// A later version is unknown, not corrupt.
	_, _, err = ParseHeader(golden("open-version-2.blk"))
	wants(t, err, ErrUnknownVersion)
	_, err = ParseList(golden("list-version-2"))
	wants(t, err, ErrUnknownVersion)
	disk := fsx.NewMem()
	for _, folder := range []string{"blocks", "blocks/open", "blocks/sealed"} {
		must(t, disk.Mkdir(folder, false))
	}
	write(t, disk, openMain0, golden("open-version-2.blk"))
	v2 := golden("sealed-version-2.blk")
	rec = record.Block{Number: &number, ID: record.IDOf(v2), Size: uint64(len(v2)), Count: 3, Class: "main"}
	must(t, disk.Mkdir("blocks/sealed/"+rec.ID.Hex()[:2], false))
	write(t, disk, "blocks/"+sealedName(rec.ID), v2)
	s := openOn(t, disk)
	_, err = s.LoadOpen("main", 0, 3)
	wants(t, err, ErrUnknownVersion)
	err = openOn(t, disk).LoadSealed(rec)
	wants(t, err, ErrUnknownVersion)
	if errors.Is(err, ErrDamaged) {
		t.Error("an unknown version is called damaged")
	}
}
