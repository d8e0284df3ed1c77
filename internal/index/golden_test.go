package index

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/internal/segment"
	"graven/record"
)

var update = flag.Bool("update", false, "write the golden files")

const golden = "../../testdata/format/index/segment.json"

// vector is a segment, file by file.
type vector struct {
	Vault string       `json:"vault"`
	Files []vectorFile `json:"files"`
	Root  string       `json:"root"` // of the segment record
	// Unknown is a file of the next version of the format, with its name.
	Unknown vectorFile `json:"unknown_version"`
}

type vectorFile struct {
	Name     string      `json:"name"`
	SHA256   string      `json:"sha256"`
	Txs      uint64      `json:"txs"`
	Versions uint64      `json:"versions"`
	Keys     uint64      `json:"keys"`
	Rows     []vectorRow `json:"rows,omitempty"`
	Bytes    string      `json:"bytes"` // hex
}

type vectorRow struct {
	Key   string `json:"key"` // hex
	Seq   uint64 `json:"seq"`
	Value string `json:"value"` // hex
}

// goldenRun is a small run with every kind of row.
func goldenRun(t *testing.T, x *Index) Run {
	chunks := idOf("list")
	for _, k := range []keyed{
		{"kapple", Version{Seq: 1, N: 1, Live: true, Size: 5, Value: idOf("red"), Type: "text/plain"}},
		{"kapple", Version{Seq: 4, N: 2, Prev: 1, Skip: 1, Op: 1}},
		{"kapricot", Version{Seq: 4, N: 1, Live: true, Size: 300000, Value: idOf("large"), Chunks: &chunks}},
		{"\x00\xff", Version{Seq: 4, N: 1, Op: 300, Live: true, Value: idOf("")}},
	} {
		must(t, x.Add([]byte(k.key), k.v))
	}
	return Run{
		Number: 0, From: 0, To: 7, Txs: 2, Versions: 4,
		Artifacts: []Place{
			{ID: idOf("red"), Class: "main", Number: 0, Offset: 90, Size: 5},
			{ID: idOf("large"), Class: "main", Chunk: true, Block: idOf("block"), Offset: 200, Size: 300000},
			{ID: idOf("list"), Class: "log", Number: 3, Offset: 1000, Size: 64},
		},
		IDs:       []IDRow{{Actor: "ann", ID: "once", Seq: 4, Number: 1, Req: idOf("req 4")}},
		Grid:      []Grid{{Seq: 0, File: 0, Offset: 0}},
		Blocks:    []uint64{3, 5},
		Documents: []Document{{"authority", 2}},
		Signed:    []Signed{{idOf("req 4"), 4}},
		Features:  []Feature{{"tx/1", 1}, {"block/1", 3}, {"authority/1", 2}, {"genesis/1", 0}},
		Entered:   []Entered{{Total: 1}, {Class: "log", Number: 3, Count: 2, Total: 9}, {Class: "main", Count: 1, Total: 1}},
	}
}

// TestGolden compares the files of a small segment, byte by byte, with those in
// the repository, and opens those.
func TestGolden(t *testing.T) {
	disk := fsx.NewMem()
	x := mustOpen(t, disk, Options{})
	must(t, x.Begin(0))
	run := goldenRun(t, x)
	root, err := x.Seal(run)
	must(t, err)
	got := vector{Vault: testVault.String(), Root: root.Root.String()}
	all := contents(t, disk)
	for name, data := range all {
		got.Files = append(got.Files, describe(t, x, name, data))
	}
	slices.SortFunc(got.Files, func(a, b vectorFile) int { return strings.Compare(a.Name, b.Name) })
	next := strings.Replace(all[got.Files[0].Name], "index 1", "index 2", 1)
	got.Unknown = vectorFile{Name: got.Files[0].Name, SHA256: record.IDOf([]byte(next)).Hex(), Bytes: hex.EncodeToString([]byte(next))}
	text, err := json.MarshalIndent(got, "", "  ")
	must(t, err)
	text = append(text, '\n')
	if *update {
		must(t, os.MkdirAll(filepath.Dir(golden), 0o755))
		must(t, os.WriteFile(golden, text, 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if !bytes.Equal(text, want) {
		t.Fatalf("the segment differs from %s:\n%s", golden, text)
	}
	openGolden(t, want, run)
}

// describe reads a file back, row by row.
func describe(t *testing.T, x *Index, name, data string) vectorFile {
	t.Helper()
	table := strings.Split(name, "/")[1]
	f := *x.set.Load().segs[0].file(table)
	v := vectorFile{
		Name: name, SHA256: record.IDOf([]byte(data)).Hex(), Bytes: hex.EncodeToString([]byte(data)),
		Txs: f.Summary().Txs, Versions: f.Summary().Versions, Keys: f.Keys(),
	}
	for row, err := range segment.Merge([]*segment.Reader{f.Reader})() {
		must(t, err)
		v.Rows = append(v.Rows, vectorRow{hex.EncodeToString(row.Key), row.Seq, hex.EncodeToString(row.Value)})
	}
	return v
}

// openGolden opens the files of the repository.
func openGolden(t *testing.T, text []byte, run Run) {
	t.Helper()
	var v vector
	must(t, json.Unmarshal(text, &v))
	if len(v.Files) != 4 {
		t.Fatalf("%d files", len(v.Files))
	}
	disk := fsx.NewMem()
	for _, f := range v.Files {
		data, err := hex.DecodeString(f.Bytes)
		must(t, err)
		put(t, disk, f.Name, data)
	}
	x, notes, err := Open(folder(disk), testVault, Options{})
	must(t, err)
	must(t, x.Begin(1))
	got, ok, err := x.At([]byte("kapple"), 3)
	if len(notes) > 0 || err != nil || !ok || got.Type != "text/plain" || got.Value != idOf("red") {
		t.Fatalf("notes %q; At = %+v, %v, %v", notes, got, ok, err)
	}
	places, err := placesOf(x, idOf("large"))
	if err != nil || !slices.Equal(places, run.Artifacts[1:2]) {
		t.Fatalf("Artifact = %v, %v", places, err)
	}
	wantSound(t, x)
	data, err := hex.DecodeString(v.Unknown.Bytes)
	must(t, err)
	put(t, disk, v.Unknown.Name, data)
	_, notes, err = Open(folder(disk), testVault, Options{})
	must(t, err)
	if len(notes) == 0 || !strings.Contains(notes[0], segment.ErrVersion.Error()) {
		t.Fatalf("version 2: notes %q", notes)
	}
}
