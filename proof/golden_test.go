package proof

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"graven/merkle"
	"graven/record"
)

// The golden vectors in testdata/format/proof are for readers in other languages;
// README.md there says what the fields mean. They are made from the sample vault,
// whose keys come from fixed bytes:
//
//	go test ./proof -run Golden -update
var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenDir = "../testdata/format/proof"

type goldenKey struct {
	Name string `json:"name"`
	VKey string `json:"vkey"`
	SKey string `json:"skey,omitempty"`
	Want string `json:"want"`
	Type byte   `json:"type,omitempty"`
	ID   string `json:"id,omitempty"`
}

type goldenCheckpoint struct {
	Name   string   `json:"name"`
	VKeys  []string `json:"vkeys"`
	Note   string   `json:"note"`
	Want   string   `json:"want"`
	Origin string   `json:"origin,omitempty"`
	Size   *uint64  `json:"size,omitempty"`
	Root   string   `json:"root,omitempty"`
}

type goldenProof struct {
	Name    string `json:"name"`
	VKey    string `json:"vkey"`
	MinSize uint64 `json:"min_size,omitempty"`
	File    string `json:"file"`
	Want    string `json:"want"`

	Claim   string       `json:"claim,omitempty"`
	Subject string       `json:"subject,omitempty"`
	Space   string       `json:"space,omitempty"`
	Key64   string       `json:"key64,omitempty"`
	Value   string       `json:"value,omitempty"`
	Size    *uint64      `json:"size,omitempty"`
	Type    string       `json:"type,omitempty"`
	Seq     uint64       `json:"seq,omitempty"`
	N       uint64       `json:"n,omitempty"`
	Created uint64       `json:"created,omitempty"`
	Line    string       `json:"line,omitempty"`
	Under   *goldenUnder `json:"under,omitempty"`
}

type goldenUnder struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	Root   string `json:"root"`
	Height uint64 `json:"height"`
	Epoch  uint64 `json:"epoch"`
	Time   string `json:"time,omitempty"`
	State  string `json:"state,omitempty"`
}

// goldenWant names the outcomes in the files.
func goldenWant(err error) string {
	for name, known := range map[string]error{
		"malformed": ErrFormat, "unknown version": ErrUnknownVersion, "signature": ErrSignature, "quorum": ErrQuorum, "origin": ErrOrigin,
		"not proven": ErrProof, "damaged": ErrDamaged, "too old": ErrTooOld,
	} {
		if errors.Is(err, known) {
			return name
		}
	}
	return "ok"
}

func goldenFile[T any](t *testing.T, name string, made []T) []T {
	t.Helper()
	file := filepath.Join(goldenDir, name)
	want, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var read []T
	if err := json.Unmarshal(have, &read); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s is not what the code makes now; formats are frozen, so the code is wrong", file)
		for i := range max(len(made), len(read)) {
			switch {
			case i >= len(made):
				t.Errorf("%s: one too many: %s", name, goldenName(read[i]))
			case i >= len(read):
				t.Errorf("%s: missing: %s", name, goldenName(made[i]))
			default:
				if diff := goldenDiff(made[i], read[i]); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
		}
	}
	if len(read) == 0 {
		t.Fatalf("%s has no vectors", file)
	}
	return read
}

// goldenName returns the name of a vector.
func goldenName(g any) string { return reflect.ValueOf(g).FieldByName("Name").String() }

// goldenDiff returns "" for equal vectors, or else the name and the first field in
// which they differ, in one short line.
func goldenDiff(got, want any) string {
	a, b := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range a.NumField() {
		have, _ := json.Marshal(a.Field(i).Interface())
		wanted, _ := json.Marshal(b.Field(i).Interface())
		if bytes.Equal(have, wanted) {
			continue
		}
		at := 0
		for at < min(len(have), len(wanted)) && have[at] == wanted[at] {
			at++
		}
		field, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		return fmt.Sprintf("%s: %s, from byte %d: got %s, wanted %s", goldenName(want), field, at, clip(have[at:]), clip(wanted[at:]))
	}
	return ""
}

func TestGoldenDiff(t *testing.T) {
	size := uint64(7)
	a := goldenProof{Name: "a", File: strings.Repeat("x", 5000), Want: "ok", Size: &size}
	if diff := goldenDiff(a, a); diff != "" {
		t.Errorf("equal: %s", diff)
	}
	b := a
	b.Size = nil
	if diff, want := goldenDiff(b, a), `a: size, from byte 0: got "null", wanted "7"`; diff != want {
		t.Errorf("got %s, wanted %s", diff, want)
	}
	b.File = a.File[:4000] + "y" + a.File[4001:]
	if diff := goldenDiff(b, a); !strings.HasPrefix(diff, `a: file, from byte 4001: got "yx`) || len(diff) > 200 {
		t.Errorf("got %s", diff)
	}
}

func TestGoldenKeys(t *testing.T) {
	keys := testKeys(t, "example.com/log", "golden")
	name, rest, _ := strings.Cut(keys.Log.VKey, "+")
	id, key64, _ := strings.Cut(rest, "+")
	typed := func(typ byte, public []byte) string {
		return fmt.Sprintf("%s+%08x+%s", name, keyID(name, typ, public), base64.StdEncoding.EncodeToString(append([]byte{typ}, public...)))
	}
	public := mustVKey(t, keys.Log.VKey).Public()
	witness := cosignerKey(t, "witness.example/w1", TypeCosignEd25519, "golden witness")
	made := []goldenKey{
		{Name: "Ed25519", VKey: keys.Log.VKey, SKey: keys.Log.SKey},
		{Name: "ML-DSA-44", VKey: keys.Cosigner.VKey, SKey: keys.Cosigner.SKey},
		{Name: "Unicode name", VKey: testKeys(t, "例え.example/ü", "golden").Log.VKey},
		{Name: "id in capitals", VKey: name + "+" + strings.ToUpper(id) + "+" + key64},
		{Name: "other id", VKey: name + "+00000000+" + key64},
		{Name: "name with a space", VKey: "example.com log+" + id + "+" + key64},
		{Name: "line feed behind", VKey: keys.Log.VKey + "\n"},
		{Name: "cosigner's Ed25519", VKey: witness.VKey, SKey: witness.SKey},
		{Name: "the log's key as a cosigner's", VKey: typed(4, public)},
		{Name: "a cosigner's key with the id of the log's", VKey: name + "+" + id + "+" + base64.StdEncoding.EncodeToString(append([]byte{4}, public...))},
		{Name: "type 4, 31 bytes", VKey: typed(4, public[:31])},
		{Name: "type 4, a point of order 1", VKey: typed(4, append([]byte{1}, make([]byte, 31)...))},
		{Name: "type 7 is not known", VKey: typed(7, public)},
		{Name: "31 bytes", VKey: typed(1, public[:31])},
		{Name: "a point of order 1", VKey: typed(1, append([]byte{1}, make([]byte, 31)...))},
		{Name: "a point of order 4", VKey: typed(1, make([]byte, 32))},
	}
	for i := range made {
		g := &made[i]
		k, err := ParseVKey(g.VKey)
		if g.Want = goldenWant(err); err == nil {
			g.Type, g.ID = k.Type(), fmt.Sprintf("%08x", k.ID())
		}
	}
	good := 0
	for _, g := range goldenFile(t, "keys.json", made) {
		k, err := ParseVKey(g.VKey)
		if got := goldenWant(err); got != g.Want {
			t.Errorf("%s: %v, wanted %s", g.Name, err, g.Want)
			continue
		}
		if err != nil {
			continue
		}
		good++
		if k.Type() != g.Type || fmt.Sprintf("%08x", k.ID()) != g.ID {
			t.Errorf("%s: type %d, id %08x", g.Name, k.Type(), k.ID())
		}
		if g.SKey == "" {
			continue
		}
		secret, err := parseSecret(g.SKey, g.Type)
		if err != nil || secret.vkey.String() != g.VKey {
			t.Errorf("%s: signing key: %v", g.Name, err)
		}
	}
	if good < 3 {
		t.Errorf("%d good keys", good)
	}
}

func TestGoldenCheckpoints(t *testing.T) {
	keys, spare := testKeys(t, "example.com/log", "golden"), testKeys(t, "example.com/log", "golden spare")
	log, both := []string{keys.Log.VKey}, []string{keys.Log.VKey, keys.Cosigner.VKey}
	c := Checkpoint{Origin: "example.com/log", Size: 70_000, Root: merkle.LeafHash([]byte("golden"))}
	sign := func(skey string, c Checkpoint) string {
		out, err := mustSigner(t, skey).SignCheckpoint(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	cos, err := NewCosigner(keys.Cosigner.SKey)
	if err != nil {
		t.Fatal(err)
	}
	good := sign(keys.Log.SKey, c)
	witness := cosignerKey(t, "witness.example/w1", TypeCosignEd25519, "golden witness")
	watched := []string{keys.Log.VKey, witness.VKey}
	witnessed := cosign(t, []byte(good), witness, 1_767_323_045)
	witnessLine := strings.TrimPrefix(string(witnessed), good)
	asLog := cosignerKey(t, c.Origin, TypeCosignEd25519, "golden witness")
	cosigned, err := cos.Cosign([]byte(good), 1_767_323_045)
	if err != nil {
		t.Fatal(err)
	}
	text, line, _ := strings.Cut(good, "\n\n")
	next := c
	next.Size++
	_, nextLine, _ := strings.Cut(sign(keys.Log.SKey, next), "\n\n")
	made := []goldenCheckpoint{
		{Name: "signed", VKeys: log, Note: good},
		{Name: "size 0", VKeys: log, Note: sign(keys.Log.SKey, Checkpoint{Origin: c.Origin, Root: merkle.EmptyRoot()})},
		{Name: "cosigned with ML-DSA-44", VKeys: both, Note: string(cosigned)},
		{Name: "cosigned, cosigner unknown", VKeys: log, Note: string(cosigned)},
		{Name: "cosignature of another time", VKeys: both, Note: changeCosignature(t, cosigned)},
		{Name: "cosigned with Ed25519", VKeys: watched, Note: string(witnessed)},
		{Name: "cosigned with Ed25519, cosigner unknown", VKeys: log, Note: string(witnessed)},
		{Name: "cosigned with Ed25519 at another time", VKeys: watched, Note: changeCosignature(t, witnessed)},
		{Name: "cosigned with Ed25519 at 2^63-1", VKeys: watched, Note: string(cosign(t, []byte(good), witness, math.MaxInt64))},
		{Name: "cosigned with Ed25519 at 2^63", VKeys: watched, Note: good + cosignatureLine(witness, math.MaxInt64+1, c.Text())},
		{Name: "cosigned with Ed25519 over the text alone", VKeys: watched, Note: good + textSignatureLine(witness, 1_767_323_045, c.Text())},
		{Name: "cosigned twice", VKeys: watched, Note: string(witnessed) + witnessLine},
		{Name: "cosignature of the next size", VKeys: watched, Note: good + cosignatureLine(witness, 1_767_323_045, next.Text())},
		{Name: "only by the witness", VKeys: watched, Note: strings.Replace(string(witnessed), line, "", 1)},
		{Name: "only by a cosigner of the log's name", VKeys: []string{keys.Log.VKey, asLog.VKey}, Note: text + "\n\n" + cosignatureLine(asLog, 1_767_323_045, c.Text())},
		{Name: "no log's key, but a cosigner's of its name", VKeys: []string{asLog.VKey}, Note: good + cosignatureLine(asLog, 1_767_323_045, c.Text())},
		{Name: "signed by an unknown key too", VKeys: log, Note: good + "— witness.example AAAAAQU=\n"},
		{Name: "a malformed line of an unknown key", VKeys: log, Note: good + "— witness.example AAAAAQV=\n"},
		{Name: "signed twice", VKeys: log, Note: good + line},
		{Name: "signature of the next size", VKeys: log, Note: text + "\n\n" + nextLine},
		{Name: "only by a key that is not known", VKeys: log, Note: sign(spare.Log.SKey, c)},
		{Name: "only by the cosigner", VKeys: both, Note: strings.Replace(string(cosigned), line, "", 1)},
		{Name: "another origin", VKeys: log, Note: sign(testKeys(t, "example.com/other", "golden").Log.SKey, Checkpoint{"example.com/other", c.Size, c.Root})},
		{Name: "CRLF", VKeys: log, Note: strings.ReplaceAll(good, "\n", "\r\n")},
		{Name: "hyphen for U+2014", VKeys: log, Note: strings.Replace(good, "—", "-", 1)},
		{Name: "leading zero", VKeys: log, Note: strings.Replace(good, "\n70000\n", "\n070000\n", 1)},
		{Name: "no line feed at the end", VKeys: log, Note: strings.TrimSuffix(good, "\n")},
	}
	vkeys := func(texts []string) (out []VKey) {
		for _, s := range texts {
			out = append(out, mustVKey(t, s))
		}
		return out
	}
	for i := range made {
		g := &made[i]
		got, err := OpenCheckpoint([]byte(g.Note), vkeys(g.VKeys)...)
		if g.Want = goldenWant(err); err == nil {
			g.Origin, g.Size, g.Root = got.Origin, &got.Size, got.Root.String()
		}
	}
	opened := 0
	for _, g := range goldenFile(t, "checkpoints.json", made) {
		got, err := OpenCheckpoint([]byte(g.Note), vkeys(g.VKeys)...)
		if name := goldenWant(err); name != g.Want {
			t.Errorf("%s: %v, wanted %s", g.Name, err, g.Want)
		}
		if err != nil {
			continue
		}
		opened++
		if got.Origin != g.Origin || got.Size != *g.Size || got.Root.String() != g.Root {
			t.Errorf("%s: %+v", g.Name, got)
		}
	}
	if opened < 5 {
		t.Errorf("%d good checkpoints", opened)
	}
}

// changeCosignature moves the cosignature's time by a second.
func changeCosignature(t *testing.T, note []byte) string {
	n, err := ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	n.Sigs[1].Sig[7] ^= 1
	return string(n.Bytes())
}

func TestGoldenProofs(t *testing.T) {
	v, files := samples(t)
	var made []goldenProof
	add := func(name, file string) {
		made = append(made, goldenProof{Name: name, VKey: v.keys.Log.VKey, File: file})
	}
	for _, name := range []string{
		"record", "record, first of 1", "record, commit", "present", "present, binary key", "present, other space", "present, only key",
		"deleted", "absent by neighbour", "absent, one leaf", "absent, empty space", "absent, one neighbour",
	} {
		add(name, string(files[name]))
	}
	present, rec := string(files["present"]), string(files["record"])
	swap := func(file, from, to string) string {
		if !strings.Contains(file, from) {
			t.Fatalf("no %q to replace", from)
		}
		return strings.Replace(file, from, to, 1)
	}
	// Key proofs are changed by somebody who can compute a sum: what refuses them is
	// what is named, and not the sum.
	forged := func(file, from, to string) string { return string(forge(t, []byte(file), from, to)) }
	lines := strings.SplitAfter(rec, "\n")
	add("witnessed", present+"— witness.example AAAAAQU=\n")
	add("graven-proof 2", forged(present, "graven-proof 1", "graven-proof 2"))
	add("tlog-proof@v2", swap(rec, "@v1", "@v2"))
	add("unknown claim", forged(present, "claim present", "claim of-tomorrow"))
	add("wrong claim", forged(present, "claim present", "claim absent"))
	add("other subject", forged(present, `subject {"key":"colours/03"}`, `subject {"key":"colours/04"}`))
	add("subject in another spelling", forged(present, `subject {"key":"colours/03"}`, `subject {"key64":"Y29sb3Vycy8wMw=="}`))
	add("users' space written out", forged(present, `subject {"key"`, `subject {"space":"6b","key"`))
	add("other version", forged(present, `"n":5`, `"n":4`))
	add("a space left out", forged(present, strings.SplitAfter(present[strings.Index(present, "space "):], "\n")[0], ""))
	add("no extra", lines[0]+strings.Join(lines[2:], ""))
	add("index is the size", swap(rec, "index 6", fmt.Sprintf("index %d", v.size())))
	add("other index", swap(rec, "index 6", "index 7"))
	add("swapped siblings", strings.Join(append([]string{lines[0], lines[1], lines[2], lines[4], lines[3]}, lines[5:]...), ""))
	add("surplus sibling", strings.Join(append([]string{lines[0], lines[1], lines[2], lines[3], lines[3]}, lines[4:]...), ""))
	add("CRLF", strings.ReplaceAll(present, "\n", "\r\n"))
	add("line behind", present+"\n")
	made = append(made, goldenProof{Name: "too old", VKey: v.keys.Log.VKey, MinSize: v.size() + 1, File: present})
	made = append(made, goldenProof{Name: "other origin", VKey: testKeys(t, "example.com/other", "golden").Log.VKey, File: present})
	made = append(made, goldenProof{Name: "other key", VKey: testKeys(t, "example.com/log", "golden").Log.VKey, File: present})
	stale := v.key('k', "colours/03")
	v.tx(put('k', "colours/03", "sixth"))
	v.commit()
	stale.Checkpoint = v.checkpointAt(v.size())
	add("old commit under a fresh checkpoint", string(encode(t, stale)))
	odd := newVault(t, "example.com/log", "sample")
	odd.addLine([]byte(`{"v":2,"kind":"tx","seq":1,"time":"2026-01-02T03:04:06.000000006Z","new":true}`))
	odd.addLine([]byte(`{"v":1,"kind":"tx","seq":9,"time":"2026-01-02T03:04:06.000000006Z"}`))
	add("record of an unknown version", string(odd.recordProof(1, 3)))
	add("record with another seq", string(odd.recordProof(2, 3)))
	sumLine := present[strings.Index(present, "sum ") : strings.Index(present, "sum ")+len("sum 0123456789abcdef\n")]
	other := "0"
	if strings.HasPrefix(sumLine, "sum 0") {
		other = "1"
	}
	add("wrong sum", swap(present, sumLine, "sum "+other+sumLine[5:]))
	add("no sum", swap(present, sumLine, ""))
	add("sum in capitals", swap(present, sumLine, "sum "+strings.ToUpper(sumLine[4:])))
	absent := string(files["absent by neighbour"])
	add("absent, other subject, old sum", swap(absent, `subject {"key":"colours/035"}`, `subject {"key":"colours/034"}`))
	add("absent, other subject, new sum", forged(absent, `subject {"key":"colours/035"}`, `subject {"key":"colours/034"}`))
	for i := range made {
		fillGolden(t, &made[i])
	}
	proven := 0
	for _, g := range goldenFile(t, "proofs.json", made) {
		again := goldenProof{Name: g.Name, VKey: g.VKey, MinSize: g.MinSize, File: g.File}
		fillGolden(t, &again)
		if diff := goldenDiff(again, g); diff != "" {
			t.Error(diff)
		}
		if g.Want == "ok" {
			proven++
		}
	}
	if proven < 15 {
		t.Errorf("%d good proofs", proven)
	}
}

// fillGolden verifies the file and writes down what came out.
func fillGolden(t *testing.T, g *goldenProof) {
	t.Helper()
	ver, err := NewVerifier(g.VKey)
	if err != nil {
		t.Fatal(err)
	}
	res, err := ver.AtLeast(g.MinSize).Verify([]byte(g.File))
	if g.Want = goldenWant(err); err != nil {
		return
	}
	g.Subject = res.Subject()
	c := res.Checkpoint()
	g.Under = &goldenUnder{Origin: c.Origin, Size: c.Size, Root: c.Root.String()}
	if commit, ok := res.Commit(); ok {
		g.Under.Height, g.Under.Epoch = commit.Height, commit.Epoch
		g.Under.Time, g.Under.State = commit.Time.UTC().Format(time.RFC3339Nano), commit.State.String()
	}
	key := func(space byte, key []byte) {
		g.Space, g.Key64 = fmt.Sprintf("%02x", space), base64.StdEncoding.EncodeToString(key)
	}
	switch claim := res.Claim().(type) {
	case RecordProven:
		g.Claim, g.Seq, g.Line = "record", claim.Seq, string(claim.Line)
	case Present:
		g.Claim, g.Value, g.Size, g.Type = "present", claim.Value.String(), &claim.Size, claim.Type
		g.Seq, g.N, g.Created, g.Line = claim.Seq, claim.N, claim.Created, string(claim.Op)
		key(claim.Space, claim.Key)
	case Absent:
		g.Claim, g.Seq, g.N, g.Created, g.Line = "absent", claim.Seq, claim.N, claim.Created, string(claim.Op)
		if claim.Deleted {
			g.Claim = "deleted"
		}
		key(claim.Space, claim.Key)
	}
}

// An id can be recomputed with sha256sum: it begins the hash of name, line feed,
// type and key.
func TestGoldenKeyID(t *testing.T) {
	k := mustVKey(t, testKeys(t, "example.com/log", "golden").Log.VKey)
	sum := record.IDOf(append([]byte("example.com/log\n\x01"), k.Public()...))
	if want := fmt.Sprintf("sha256:%08x", k.ID()); !strings.HasPrefix(sum.String(), want) {
		t.Errorf("the hash is %s, the id %08x", sum, k.ID())
	}
}
