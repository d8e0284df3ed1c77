package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"graven/merkle"
)

// The records that the tables, the golden files and the fuzz targets start from.

var sampleTime = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

type sample struct {
	name string
	rec  *Record
}

func idFor(s string) ID              { return IDOf([]byte(s)) }
func hashFor(s string) merkle.Hash   { return merkle.LeafHash([]byte(s)) }
func ptr[T any](v T) *T              { return &v }
func userPut(key string) Op          { return sizedPut(SpaceUser, []byte(key)) }
func fillBytes(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

func sizedPut(space byte, key []byte) Op {
	return Op{Kind: OpPut, Space: space, Key: key, Value: idFor("value"), Size: 5, N: 1}
}

// vkeyFor makes a verifier key of a type with a made-up public key.
func vkeyFor(name string, kind byte, size int) string {
	key := append([]byte{kind}, fillBytes(0x5a, size)...)
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return fmt.Sprintf("%s+%x+%s", name, sum[:4], base64.StdEncoding.EncodeToString(key))
}

func sampleGenesis() *Genesis {
	g := DefaultGenesis()
	copy(g.Vault[:], "0123456789abcdef")
	copy(g.Store[:], "fedcba9876543210")
	g.Name, g.Origin = "main", "example.org/graven/main"
	g.Authority, g.Policy = idFor("authority"), idFor("policy")
	return &g
}

func sampleAuthority() *Authority {
	return &Authority{Threshold: 1, Keys: []AuthorityKey{
		{Roles: []string{RoleAuthority, RoleLog}, VKey: vkeyFor("example.org/graven/main", 1, 32)},
		{Roles: []string{RoleCosigner}, VKey: vkeyFor("example.org/graven/main2", 6, 1312)},
	}}
}

func samplePolicy() *Policy {
	return &Policy{Features: DefaultGenesis().Features, Classes: []string{"archive", "main"}}
}

// sampleSigners is a policy of version 2.
func sampleSigners() *Policy {
	y := samplePolicy()
	y.Actors = []PolicyActor{
		{Actor: "alice", Keys: []string{vkeyFor("alice", 1, 32), vkeyFor("alice2", 6, 1312)}},
		{Actor: "clerk 3"},
	}
	y.Refuse = true
	return y
}

func sampleTx(ops ...Op) *Tx {
	return &Tx{Actor: "alice", ID: "order-7", Req: idFor("request"), Ops: ops}
}

// sampleOps has one op for every form.
func sampleOps() []Op {
	old := func(o Op) Op {
		o.Prev, o.Skip, o.N = 9, 3, 6
		return o
	}
	full := old(sizedPut(SpaceUser, []byte("full")))
	full.Size, full.Type, full.Chunks, full.Enc = 1<<40, "text/plain; charset=utf-8", ptr(idFor("list")), "age-v1"
	full.If = &Cond{Kind: AtSeq, Seq: 9}
	empty := Op{Kind: OpAppend, Value: IDOf(nil)}
	event := Op{Kind: OpAppend, Value: idFor("e"), Size: 1 << 30, Type: "a", Chunks: ptr(idFor("l")), Enc: "x"}
	return []Op{
		{Kind: OpIf, Space: SpaceUser, Key: []byte("absent"), If: &Cond{Kind: Absent}},
		{Kind: OpIf, Space: SpaceUser, Key: []byte("present"), If: &Cond{Kind: Present}},
		{Kind: OpIf, Space: SpaceSystem, Key: []byte("seq"), If: &Cond{Kind: AtSeq}},
		{Kind: OpIf, Space: SpaceUser, Key: []byte{0xff}, If: &Cond{Kind: HasValue, Value: idFor("v")}},
		{Kind: OpIf, Space: SpaceUser, Since: 5},
		{Kind: OpIf, Space: 'q', From: []byte("a"), To: []byte("b"), Since: MaxInt},
		{Kind: OpIf, Space: SpaceUser, From: []byte{0x80}, Since: 1},
		{Kind: OpIf, Space: SpaceUser, To: []byte{0xc0, 0xaf}, Since: 1},
		userPut("a"),
		full,
		sizedPut(SpaceSystem, []byte("system")),
		sizedPut(0xff, []byte("other space")),
		sizedPut(SpaceUser, []byte{0xff, 0x00}),
		sizedPut(SpaceUser, []byte("\ufeffbom \u0085\u00a0 \"\\\x00\x1f\x7f\u009f </script>\u2028é😀")),
		{Kind: OpPut, Space: SpaceUser, Key: []byte("if value"), Value: idFor("v"), Size: 1, If: &Cond{Kind: HasValue, Value: idFor("w")}, N: 1},
		{Kind: OpPut, Space: SpaceUser, Key: []byte("second"), Value: idFor("v"), Size: 1, Prev: 4, Skip: 4, N: 2},
		old(Op{Kind: OpDelete, Space: SpaceUser, Key: []byte("gone"), If: &Cond{Kind: Present}}),
		old(Op{Kind: OpDelete, Space: 1, Key: []byte("gone")}),
		{Kind: OpDelete, Space: SpaceUser, Key: []byte("never there"), N: 1, If: &Cond{Kind: Absent}},
		empty,
		event,
	}
}

func samples() []sample {
	at := func(seq uint64, body Body) *Record { return New(seq, sampleTime, body) }
	region := sampleGenesis()
	region.Region, region.Shards, region.Sealed = "eu-west", 12, "none"
	wide, err := NewWide(opLines(sampleOps()))
	if err != nil {
		panic(err)
	}
	signed := sampleTx(userPut("a"))
	signed.Class, signed.Sig = "archive", &Sig{Key: "alice+0123abcd", Sig: []byte{1, 2, 3, 4}}
	sigs := []Sig{{Key: "a+00000000", Sig: fillBytes(7, 64)}, {Key: "b+ffffffff", Sig: fillBytes(9, 2420)}}
	last := New(MaxInt, time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), &Snapshot{Position: MaxInt, Manifest: idFor("m")})
	list := []sample{
		{"genesis", at(0, sampleGenesis())},
		{"genesis-region", at(0, region)},
		{"tx", at(7, sampleTx(userPut("a")))},
		{"tx-bare", at(1, &Tx{Ops: []Op{{Kind: OpAppend, Value: IDOf(nil)}}})},
		{"tx-signed", at(7, signed)},
		{"tx-all-ops", at(10, sampleTx(sampleOps()...))},
		{"tx-wide", at(7, &Tx{Actor: "é\u0085", ID: "\"", Req: idFor("r"), Wide: wide})},
		{"commit-first", at(2, &Commit{Lines: idFor("lines"), Root: hashFor("root"), State: hashFor("state")})},
		{"commit", at(8, &Commit{Epoch: 1, Height: 3, Prev: ptr(hashFor("prev")), Lines: idFor("lines"), Root: hashFor("root"), State: hashFor("state")})},
		{"block", at(9, &Block{Number: ptr(uint64(0)), ID: idFor("block"), Size: 1 << 26, Count: 3, Class: "log"})},
		{"block-chunks", at(9, &Block{ID: idFor("block"), Size: 1 << 26, Count: 3, Class: "main"})},
		{"segment", at(9, &Segment{Level: 1, Number: 2, Format: 1, Root: hashFor("files")})},
		{"snapshot", at(9, &Snapshot{Number: 4, Position: 8, Manifest: idFor("manifest")})},
		{"snapshot-last", last},
		{"snapshot-year-1", New(1, time.Time{}, &Snapshot{})},
	}
	for _, kind := range []string{KindAuthority, KindPolicy, KindWitness} {
		list = append(list, sample{kind, at(9, &Document{Kind: kind, Number: 1, Doc: idFor("doc"), Sigs: sigs})})
	}
	return list
}

// limits are records with the greatest values that are allowed, right beside
// the refused ones. The flips of bits leave them out because they are long.
func limits() []sample {
	long := strings.Repeat("x", 1024)
	g := sampleGenesis()
	g.Name, g.Origin, g.Region, g.Class = long[:63], long[:255], long[:63], long[:63]
	g.Features = []string{"a/0", long[:32] + "/9007199254740991"}
	g.ChunkSize = g.ValueLimit
	tx := sampleTx(sizedPut(SpaceUser, []byte(long)), sizedPut(SpaceUser, fillBytes(0xff, 1024)))
	tx.Actor, tx.ID, tx.Class = strings.Repeat("é", 128), long[:256], long[:63]
	tx.Sig = &Sig{Key: long[:255] + "+00000000", Sig: fillBytes(1, 8192)}
	tx.Ops[0].Type, tx.Ops[0].Enc, tx.Ops[0].Size = long[:255], long[:63], MaxInt
	return []sample{
		{"limits", New(0, sampleTime, g)},
		{"limits", New(1, sampleTime, tx)},
		{"limits-wide", New(1, sampleTime, &Tx{Wide: &Wide{Size: MaxInt, Count: MaxOps}})},
	}
}

// unknowns are lines that every program must keep without knowing them.
func unknowns() map[string]string {
	const frame = `,"seq":5,"time":"2026-01-02T03:04:05.000000006Z"`
	return map[string]string{
		"tx-2":              `{"v":2,"kind":"tx"` + frame + `,"ops":{}}`,
		"tx-0":              `{"v":0,"kind":"tx"` + frame + `}`,
		"genesis-2":         `{"v":2,"kind":"genesis"` + frame + `}`,
		"commit-max":        `{"v":9007199254740991,"kind":"commit"` + frame + `,"x":null}`,
		"inert":             `{"v":1,"kind":"note"` + frame + `,"text":"é"}`,
		"not-json":          `{"v":1,"kind":"note"` + frame + `, anything at all }`,
		"feature":           `{"v":3,"kind":"x-9"` + frame + `}`,
		"longest-kind":      `{"v":1,"kind":"` + strings.Repeat("z", 32) + `"` + frame + `}`,
		"hold":              `{"v":1,"kind":"hold"` + frame + `,"until":"2030-01-01"}`,
		"retain":            `{"v":1,"kind":"retain"` + frame + `}`,
		"shred":             `{"v":1,"kind":"shred"` + frame + `}`,
		"anchor":            `{"v":1,"kind":"anchor"` + frame + `}`,
		"renew":             `{"v":1,"kind":"renew"` + frame + `}`,
		"read":              `{"v":1,"kind":"read"` + frame + `}`,
		"no-fields":         `{"v":1,"kind":"note"` + frame + `,}`,
		"raw-c1-and-delete": `{"v":1,"kind":"note"` + frame + ",\u0085\x7f}",
	}
}

func opLines(ops []Op) []byte {
	var lines []byte
	for i := range ops {
		line, err := ops[i].Append(lines)
		if err != nil {
			panic(err)
		}
		lines = append(line, '\n')
	}
	return lines
}

func mustLine(t testing.TB, r *Record) []byte {
	t.Helper()
	line, err := r.Append(nil)
	if err != nil {
		t.Fatalf("encoding %+v: %v", r, err)
	}
	return line
}

// sampleLines returns the lines of all samples by name, unknown ones too.
func sampleLines(t testing.TB) map[string][]byte {
	lines := make(map[string][]byte)
	for _, s := range samples() {
		lines[s.name] = mustLine(t, s.rec)
	}
	for name, line := range unknowns() {
		lines["unknown-"+name] = []byte(line)
	}
	return lines
}
