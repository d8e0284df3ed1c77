package record

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"graven/merkle"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const goldenDir = "../testdata/format/record"

// The golden files are for other implementations too; README.md beside them
// says what the members mean.
type (
	lineVector struct {
		Name    string `json:"name"`
		Line    string `json:"line,omitempty"`
		Line64  string `json:"line64,omitempty"` // instead of line, if that is not UTF-8
		Valid   bool   `json:"valid"`
		Meaning string `json:"meaning,omitempty"`
		Leaf    string `json:"leaf,omitempty"`
		Why     string `json:"why,omitempty"`
	}
	opVector struct {
		Name    string `json:"name"`
		Op      string `json:"op"`
		Request string `json:"request"`
		Digest  string `json:"digest"`
	}
	requestVector struct {
		Name     string   `json:"name"`
		Vault    string   `json:"vault"`
		Actor    string   `json:"actor"`
		ID       string   `json:"id"`
		Class    string   `json:"class,omitempty"`
		Requests []string `json:"requests"`
		Req      string   `json:"req"`
		Message  string   `json:"message"`
	}
	signedVector struct {
		Name     string `json:"name"`
		Kind     string `json:"kind"`
		Vault    string `json:"vault"`
		Number   uint64 `json:"number"`
		Doc      string `json:"doc"`
		PrevSeq  uint64 `json:"prevSeq"`
		PrevHash string `json:"prevHash"`
		Message  string `json:"message"`
	}
	wideVector struct {
		Name     string `json:"name"`
		Artifact string `json:"artifact"`
		Lines    string `json:"lines"`
		Size     uint64 `json:"size"`
		Count    uint64 `json:"count"`
		Root     string `json:"root"`
	}
	subjectVector struct {
		Name      string `json:"name"`
		Subject   string `json:"subject,omitempty"`
		Subject64 string `json:"subject64,omitempty"` // instead of subject, if that is not UTF-8
		Valid     bool   `json:"valid"`
		Space     byte   `json:"space"`
		Key       string `json:"key,omitempty"` // base64
	}
	jumpVector struct {
		N uint64 `json:"n"`
		J uint64 `json:"j"`
	}
)

const (
	meaningKnown   = "known"
	meaningVersion = "unknown version"
	meaningKind    = "unknown kind"
)

// newVector describes bytes; those that are not UTF-8 go to line64.
func newVector(name string, line []byte, valid bool) lineVector {
	v := lineVector{Name: name, Line: string(line), Valid: valid}
	if strings.ToValidUTF8(v.Line, "") != v.Line {
		v.Line, v.Line64 = "", base64.StdEncoding.EncodeToString(line)
	}
	if valid {
		v.Meaning, v.Leaf = meaningKnown, merkle.LeafHash(line).String()
	} else {
		v.Why = name
	}
	return v
}

func (v lineVector) bytes(t *testing.T) []byte {
	t.Helper()
	if v.Line64 == "" {
		return []byte(v.Line)
	}
	b, err := base64.StdEncoding.DecodeString(v.Line64)
	if err != nil || v.Line != "" {
		t.Fatalf("%s: line64: %v", v.Name, err)
	}
	return b
}

// goldenLines returns the vectors of records by the file they stand in.
func goldenLines(t *testing.T) map[string][]lineVector {
	files := map[string][]lineVector{}
	lines := sampleLines(t)
	for _, s := range samples() {
		files[s.rec.Kind] = append(files[s.rec.Kind], newVector(s.name, lines[s.name], true))
	}
	for _, s := range limits() {
		files[s.rec.Kind] = append(files[s.rec.Kind], newVector(s.name, mustLine(t, s.rec), true))
	}
	for _, name := range sortedKeys(unknowns()) {
		v := newVector(name, lines["unknown-"+name], true)
		v.Meaning = meaningKind
		if rec, err := Parse([]byte(v.Line)); err == nil && knownKind(rec.Kind) {
			v.Meaning = meaningVersion
		}
		files["unknown"] = append(files["unknown"], v)
	}
	bases := refusals()
	for _, base := range sortedKeys(bases) {
		file := base
		if base == "snapshot" {
			file = "frame"
			files[file] = append(files[file], newVector(base, lines[base], true))
		} else {
			file, _, _ = strings.Cut(base, "-")
		}
		for _, c := range bases[base] {
			files[file] = append(files[file], newVector(c.name, c.apply(t, lines[base]), false))
		}
	}
	return files
}

func goldenDocuments(t *testing.T) map[string][]lineVector {
	files := map[string][]lineVector{}
	authority, policy := documentRefusals()
	for kind, doc := range map[string][]byte{
		KindAuthority: mustAuthority(t, sampleAuthority()), KindPolicy: mustPolicy(t, samplePolicy()),
	} {
		changes := authority
		if kind == KindPolicy {
			changes = policy
		}
		v := newVector(kind, doc, true)
		v.Leaf = ""
		next := "2"
		if kind == KindPolicy {
			next = "3"
		}
		list := []lineVector{v, {
			Name: "version " + next, Line: `{"v":` + next + `,"kind":"` + kind + `","new":[]}`, Meaning: meaningVersion, Why: "a missing feature, not damage",
		}}
		for _, c := range changes {
			list = append(list, newVector(c.name, c.apply(t, doc), false))
		}
		files["document-"+kind] = list
	}
	doc := mustPolicy(t, sampleSigners())
	v := newVector("policy of version 2", doc, true)
	v.Leaf = ""
	list := append(files["document-"+KindPolicy], v)
	for _, c := range signerRefusals() {
		list = append(list, newVector(c.name, c.apply(t, doc), false))
	}
	files["document-"+KindPolicy] = list
	return files
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func goldenOps(t *testing.T) (ops []opVector, wide wideVector, req requestVector) {
	vault := sampleGenesis().Vault
	req = requestVector{Name: "all ops", Vault: vault.String(), Actor: "al\"ice\u0085", ID: "7", Class: "archive"}
	sum := NewReq(req.Actor, req.ID, req.Class, len(sampleOps()))
	for i, op := range sampleOps() {
		line, err := op.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		request, err := op.AppendRequest(nil)
		if err != nil {
			t.Fatal(err)
		}
		sum.Op(request)
		ops = append(ops, opVector{opName(&op, i), string(line), string(request), OpDigest(line).String()})
		req.Requests = append(req.Requests, string(request))
	}
	id := sum.Sum()
	req.Req, req.Message = id.String(), string(SigMessage(vault, id))
	artifact := opLines(sampleOps())
	w, err := NewWide(artifact)
	if err != nil {
		t.Fatal(err)
	}
	return ops, wideVector{"all ops", string(artifact), w.Lines.String(), w.Size, w.Count, w.Root.String()}, req
}

func goldenSigned() (list []signedVector) {
	vault := sampleGenesis().Vault
	for i, kind := range []string{KindAuthority, KindPolicy, KindWitness} {
		d := &Document{Kind: kind, Number: uint64(i + 1), Doc: idFor(kind)}
		prev := hashFor("previous " + kind)
		list = append(list, signedVector{
			kind, kind, vault.String(), d.Number, d.Doc.String(), uint64(10 * i), prev.String(),
			string(d.SignedMessage(vault, uint64(10*i), prev)),
		})
	}
	return list
}

func goldenSubjects() (list []subjectVector) {
	for _, space := range []byte{SpaceUser, SpaceSystem, 0xff} {
		for _, key := range []string{"a", "é\u0085\"\\\x00", "\ufeff", "\xff", "\xed\xa0\x80"} {
			s := FormatSubject(space, []byte(key))
			list = append(list, subjectVector{Name: s, Subject: s, Valid: true, Space: space, Key: b64([]byte(key))})
		}
	}
	for _, s := range subjectRefusals() {
		v := subjectVector{Name: "refused: " + short(s), Subject: s}
		if strings.ToValidUTF8(s, "") != s {
			v.Subject, v.Subject64 = "", b64([]byte(s))
		}
		list = append(list, v)
	}
	return list
}

func goldenJumps() (list []jumpVector) {
	for n := range uint64(65) {
		list = append(list, jumpVector{n, J(n)})
	}
	for k := 7; k <= 53; k++ {
		for _, n := range []uint64{1<<k - 1, 1 << k, 1<<k + 1} {
			if n <= MaxInt {
				list = append(list, jumpVector{n, J(n)})
			}
		}
	}
	return list
}

// goldenFiles returns the text of every file by its name.
func goldenFiles(t *testing.T) map[string][]byte {
	ops, wide, req := goldenOps(t)
	content := map[string]any{
		"op": ops, "wide": []wideVector{wide}, "request": []requestVector{req},
		"signed": goldenSigned(), "subject": goldenSubjects(), "jump": goldenJumps(),
	}
	for name, list := range goldenLines(t) {
		content["record-"+name] = list
	}
	for name, list := range goldenDocuments(t) {
		content[name] = list
	}
	files := map[string][]byte{}
	for name, list := range content {
		var buf bytes.Buffer
		e := json.NewEncoder(&buf)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		if err := e.Encode(list); err != nil {
			t.Fatal(err)
		}
		files[name+".json"] = buf.Bytes()
	}
	return files
}

// What the encoder prints today is what the files say.
func TestGoldenFiles(t *testing.T) {
	files := goldenFiles(t)
	for _, name := range sortedKeys(files) {
		path := filepath.Join(goldenDir, name)
		if *update {
			if err := os.WriteFile(path, files[name], 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, files[name]) {
			t.Errorf("%s differs from what the encoder prints; a frozen format must not change", name)
		}
	}
	found, err := filepath.Glob(filepath.Join(goldenDir, "*.json"))
	if err != nil || len(found) != len(files) {
		t.Errorf("%d files, wanted %d, %v", len(found), len(files), err)
	}
}

// load reads one file and fails if it holds nothing.
func load[V any](t *testing.T, name string) []V {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldenDir, name))
	if err != nil {
		t.Fatal(err)
	}
	var list []V
	if err := json.Unmarshal(data, &list); err != nil || len(list) == 0 {
		t.Fatalf("%s: %d vectors, %v", name, len(list), err)
	}
	return list
}

// What the files say is what the parser does.
func TestGoldenLines(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldenDir, "record-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	valid, refused, seen := 0, 0, map[string]bool{}
	for _, path := range files {
		for _, v := range load[lineVector](t, filepath.Base(path)) {
			line := v.bytes(t)
			rec, err := Parse(line)
			if !v.Valid {
				refused++
				if !errors.Is(err, ErrSyntax) || v.Why == "" {
					t.Errorf("%s: %s: %v", path, v.Name, err)
				}
				continue
			}
			valid++
			if err != nil {
				t.Errorf("%s: %s: %v", path, v.Name, err)
				continue
			}
			seen[rec.Kind] = true
			want := map[string]error{meaningKnown: nil, meaningVersion: ErrUnknownVersion, meaningKind: ErrUnknownKind}[v.Meaning]
			if err := Unsupported(rec); !errors.Is(err, want) {
				t.Errorf("%s: %s: %v, wanted %q", path, v.Name, err, v.Meaning)
			}
			if again, err := rec.Append(nil); err != nil || !bytes.Equal(again, line) {
				t.Errorf("%s: %s encodes as %s, %v", path, v.Name, short(again), err)
			}
			if leaf := merkle.LeafHash(line).String(); leaf != v.Leaf {
				t.Errorf("%s: %s: leaf %s, wanted %s", path, v.Name, leaf, v.Leaf)
			}
		}
	}
	if valid == 0 || refused == 0 {
		t.Errorf("%d valid and %d refused vectors", valid, refused)
	}
	for _, kind := range append([]string{"hold", "retain", "shred", "anchor", "renew", "read"}, kinds...) {
		if !seen[kind] {
			t.Errorf("no vector of kind %s", kind)
		}
	}
}

func TestGoldenDocuments(t *testing.T) {
	read := map[string]func([]byte) ([]byte, error){KindAuthority: reencodeAuthority, KindPolicy: reencodePolicy}
	for kind, reencode := range read {
		for _, v := range load[lineVector](t, "document-"+kind+".json") {
			doc := v.bytes(t)
			again, err := reencode(doc)
			switch {
			case v.Valid && (err != nil || !bytes.Equal(again, doc)):
				t.Errorf("%s: %s, %v", v.Name, again, err)
			case v.Meaning == meaningVersion && !errors.Is(err, ErrUnknownVersion):
				t.Errorf("%s: %v", v.Name, err)
			case !v.Valid && v.Meaning == "" && !errors.Is(err, ErrSyntax):
				t.Errorf("%s: %v", v.Name, err)
			}
		}
	}
}

func TestGoldenOps(t *testing.T) {
	for _, v := range load[opVector](t, "op.json") {
		op, err := ParseOp([]byte(v.Op))
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		request, err := RequestOf([]byte(v.Op))
		if err != nil || string(request) != v.Request {
			t.Errorf("%s: request %s, %v", v.Name, request, err)
		}
		if line := FinishOp(nil, request, op.Prev, op.Skip, op.N); string(line) != v.Op {
			t.Errorf("%s: finished %s", v.Name, line)
		}
		if digest := OpDigest([]byte(v.Op)).String(); digest != v.Digest {
			t.Errorf("%s: digest %s", v.Name, digest)
		}
	}
	for _, v := range load[wideVector](t, "wide.json") {
		w, err := NewWide([]byte(v.Artifact))
		if err != nil || w.Lines.String() != v.Lines || w.Size != v.Size || w.Count != v.Count || w.Root.String() != v.Root {
			t.Errorf("%s: %+v, %v", v.Name, w, err)
		}
	}
	for _, v := range load[requestVector](t, "request.json") {
		sum := NewReq(v.Actor, v.ID, v.Class, len(v.Requests))
		for _, line := range v.Requests {
			if _, err := ParseRequest([]byte(line)); err != nil {
				t.Errorf("%s: %v", v.Name, err)
			}
			sum.Op([]byte(line))
		}
		vault, err := ParseVaultID(v.Vault)
		req := sum.Sum()
		if err != nil || req.String() != v.Req || string(SigMessage(vault, req)) != v.Message {
			t.Errorf("%s: req %s, %v", v.Name, req, err)
		}
	}
}

func TestGoldenRest(t *testing.T) {
	for _, v := range load[signedVector](t, "signed.json") {
		vault, err1 := ParseVaultID(v.Vault)
		doc, err2 := ParseID(v.Doc)
		prev, err3 := merkle.ParseHash(v.PrevHash)
		d := &Document{Kind: v.Kind, Number: v.Number, Doc: doc}
		if err := errors.Join(err1, err2, err3); err != nil || string(d.SignedMessage(vault, v.PrevSeq, prev)) != v.Message {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
	for _, v := range load[subjectVector](t, "subject.json") {
		text := v.Subject
		if v.Subject64 != "" {
			raw, err := base64.StdEncoding.DecodeString(v.Subject64)
			if err != nil {
				t.Fatal(err)
			}
			text = string(raw)
		}
		space, key, err := ParseSubject(text)
		if (err == nil) != v.Valid || v.Valid && (space != v.Space || b64(key) != v.Key || FormatSubject(space, key) != text) {
			t.Errorf("%s: %02x, %q, %v", v.Name, space, key, err)
		}
	}
	for _, v := range load[jumpVector](t, "jump.json") {
		if got := J(v.N); got != v.J {
			t.Errorf("j(%d) = %d, wanted %d", v.N, got, v.J)
		}
	}
}
