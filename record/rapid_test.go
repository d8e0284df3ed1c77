package record

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"graven/merkle"
)

// Generators of every record that the format allows.

var (
	genInt  = rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64Range(0, MaxInt), rapid.Just(uint64(MaxInt)))
	genOne  = rapid.Map(genInt, func(n uint64) uint64 { return max(n, 1) })
	genID   = rapid.Custom(func(t *rapid.T) ID { return ID(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "id")) })
	genHash = rapid.Custom(func(t *rapid.T) merkle.Hash { return merkle.Hash(genID.Draw(t, "hash")) })
	// Runes of all lengths, with what the encoding treats specially.
	genRune = rapid.OneOf(rapid.Rune(), rapid.RuneFrom([]rune("\"\\\x00\x1f\x20\x7e\x7f\u0080\u0085\u009f\u00a0\u2028\ufeff\ufffd\U0010ffff/<")))
	genName = rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,62}`)
	// Key names have neither white space nor control characters.
	genKeyID   = rapid.StringMatching(`[!-*,-~é世]{1,60}\+[0-9a-f]{8}`)
	genFeature = rapid.StringMatching(`[a-z][a-z0-9-]{0,31}/(0|[1-9][0-9]{0,14})`)
)

// genText makes valid UTF-8 of least to most bytes.
func genText(least, most int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		s := rapid.StringOfN(genRune, least, most, most).Draw(t, "text")
		return s
	})
}

func genBytes(least int) *rapid.Generator[[]byte] {
	utf := rapid.Map(genText(max(least, 1), 64), func(s string) []byte { return []byte(s) })
	raw := rapid.SliceOfN(rapid.Byte(), max(least, 1), 64)
	long := rapid.Map(rapid.Byte(), func(c byte) []byte { return fillBytes(c, MaxKey) })
	if least == 0 {
		return rapid.OneOf(rapid.Just[[]byte](nil), utf, raw)
	}
	return rapid.OneOf(utf, utf, raw, long)
}

func genSet(g *rapid.Generator[string]) *rapid.Generator[[]string] {
	return rapid.Map(rapid.SliceOfNDistinct(g, 1, 5, rapid.ID[string]), func(list []string) []string {
		slices.Sort(list)
		return list
	})
}

func maybe[T any](t *rapid.T, label string, g *rapid.Generator[T]) *T {
	if !rapid.Bool().Draw(t, "has "+label) {
		return nil
	}
	return ptr(g.Draw(t, label))
}

func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

var genCond = rapid.Custom(func(t *rapid.T) Cond {
	c := Cond{Kind: rapid.SampledFrom([]CondKind{Absent, Present, AtSeq, HasValue}).Draw(t, "kind")}
	switch c.Kind {
	case AtSeq:
		c.Seq = genInt.Draw(t, "seq")
	case HasValue:
		c.Value = genID.Draw(t, "value")
	}
	return c
})

// genOp makes an op of a record at seq.
func genOp(seq uint64) *rapid.Generator[Op] {
	return rapid.Custom(func(t *rapid.T) Op {
		o := Op{Kind: rapid.SampledFrom([]OpKind{OpPut, OpPut, OpDelete, OpAppend, OpIf}).Draw(t, "op")}
		if o.Kind != OpAppend {
			o.Space = rapid.OneOf(rapid.Just(SpaceUser), rapid.Byte()).Draw(t, "space")
		}
		if o.Kind == OpIf && rapid.Bool().Draw(t, "range") {
			o.From, o.To = genBytes(0).Draw(t, "from"), genBytes(0).Draw(t, "to")
			o.Since = genInt.Draw(t, "since")
			return o
		}
		if o.Kind != OpAppend {
			o.Key = genBytes(1).Draw(t, "key")
			o.If = maybe(t, "if", genCond)
		}
		if o.Kind == OpIf && o.If == nil {
			o.If = ptr(genCond.Draw(t, "if"))
		}
		if o.Kind.holds() {
			o.Value, o.Size = genID.Draw(t, "value"), genInt.Draw(t, "size")
			o.Type = orZero(maybe(t, "type", genText(1, 255)))
			o.Chunks = maybe(t, "chunks", genID)
			o.Enc = orZero(maybe(t, "enc", genName))
		}
		if o.Kind.WritesKey() {
			genLinks(t, &o, seq)
		}
		return o
	})
}

// genLinks draws a history of the key: version n in the record, the others in
// older ones.
func genLinks(t *rapid.T, o *Op, seq uint64) {
	o.N = rapid.Uint64Range(1, min(seq, 200)).Draw(t, "n")
	if o.N == 1 {
		return
	}
	o.Prev = rapid.Uint64Range(o.N-1, seq-1).Draw(t, "prev")
	switch j := J(o.N); j {
	case 0:
	case o.N - 1:
		o.Skip = o.Prev
	default:
		o.Skip = rapid.Uint64Range(j, o.Prev-(o.N-1-j)).Draw(t, "skip")
	}
}

func genOps(seq uint64, most int) *rapid.Generator[[]Op] {
	return rapid.Custom(func(t *rapid.T) []Op {
		ops := rapid.SliceOfN(genOp(seq), 1, most).Draw(t, "ops")
		slices.SortStableFunc(ops, func(a, b Op) int {
			switch {
			case a.Kind == OpIf && b.Kind != OpIf:
				return -1
			case a.Kind != OpIf && b.Kind == OpIf:
				return 1
			}
			return 0
		})
		seen := map[string]bool{}
		return slices.DeleteFunc(ops, func(o Op) bool {
			stored := string(o.StoredKey())
			again := o.Key != nil && seen[stored]
			seen[stored] = true
			return again
		})
	})
}

var genSig = rapid.Custom(func(t *rapid.T) Sig {
	return Sig{Key: genKeyID.Draw(t, "key"), Sig: rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "sig")}
})

func genBody(kind string, seq uint64) *rapid.Generator[Body] {
	return rapid.Custom(func(t *rapid.T) Body {
		switch kind {
		case KindGenesis:
			return genGenesis(t)
		case KindTx:
			return genTx(t, seq)
		case KindCommit:
			c := &Commit{Epoch: genInt.Draw(t, "epoch"), Height: genInt.Draw(t, "height")}
			if c.Height != 0 {
				c.Prev = ptr(genHash.Draw(t, "prev"))
			}
			c.Lines, c.Root, c.State = genID.Draw(t, "lines"), genHash.Draw(t, "root"), genHash.Draw(t, "state")
			return c
		case KindBlock:
			return &Block{
				Number: maybe(t, "number", genInt), ID: genID.Draw(t, "id"), Size: genInt.Draw(t, "size"),
				Count: genInt.Draw(t, "count"), Class: genName.Draw(t, "class"),
			}
		case KindSegment:
			return &Segment{
				Level: genInt.Draw(t, "level"), Number: genInt.Draw(t, "number"),
				Format: genInt.Draw(t, "format"), Root: genHash.Draw(t, "root"),
			}
		case KindSnapshot:
			return &Snapshot{Number: genInt.Draw(t, "number"), Position: genInt.Draw(t, "position"), Manifest: genID.Draw(t, "manifest")}
		}
		sigs := rapid.SliceOfNDistinct(genSig, 1, 4, func(s Sig) string { return s.Key }).Draw(t, "sigs")
		slices.SortFunc(sigs, func(a, b Sig) int { return strings.Compare(a.Key, b.Key) })
		return &Document{Kind: kind, Number: genOne.Draw(t, "number"), Doc: genID.Draw(t, "doc"), Sigs: sigs}
	})
}

func genGenesis(t *rapid.T) *Genesis {
	class := rapid.Map(genName, func(s string) string {
		if s == ClassLog {
			return "main"
		}
		return s
	})
	g := &Genesis{
		Name: genName.Draw(t, "name"), Origin: rapid.StringMatching(`[!-*,-~é世]{1,80}`).Draw(t, "origin"),
		Region:   orZero(maybe(t, "region", genText(1, 63))),
		Features: genSet(genFeature).Draw(t, "features"), Index: genOne.Draw(t, "index"),
		Shards: rapid.Uint64Range(0, 12).Draw(t, "shards"), BlockBytes: genOne.Draw(t, "block"),
		FileRecords: genOne.Draw(t, "records"), FileBytes: genOne.Draw(t, "bytes"),
		RunRecords: genOne.Draw(t, "records"), RunOps: genOne.Draw(t, "ops"), RunBytes: genOne.Draw(t, "bytes"),
		OpLines: genOne.Draw(t, "oplines"), ValueLimit: genOne.Draw(t, "value"),
		Class: class.Draw(t, "class"), Sealed: "none",
		Authority: genID.Draw(t, "authority"), Policy: genID.Draw(t, "policy"),
	}
	copy(g.Vault[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "vault"))
	copy(g.Store[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "store"))
	g.ChunkSize = rapid.Uint64Range(g.ValueLimit, MaxInt).Draw(t, "chunk")
	return g
}

func genTx(t *rapid.T, seq uint64) *Tx {
	tx := &Tx{
		Actor: genText(0, MaxName).Draw(t, "actor"), ID: genText(0, MaxName).Draw(t, "id"),
		Class: orZero(maybe(t, "class", genName)), Req: genID.Draw(t, "req"), Sig: maybe(t, "sig", genSig),
	}
	if tx.Class == ClassLog {
		tx.Class = ""
	}
	if rapid.IntRange(0, 4).Draw(t, "wide") > 0 {
		tx.Ops = genOps(seq, 5).Draw(t, "ops")
		return tx
	}
	tx.Wide = &Wide{
		Lines: genID.Draw(t, "lines"), Size: genOne.Draw(t, "size"),
		Count: rapid.Uint64Range(1, MaxOps).Draw(t, "count"), Root: genHash.Draw(t, "root"),
	}
	return tx
}

var kinds = []string{KindGenesis, KindTx, KindCommit, KindBlock, KindSegment, KindSnapshot, KindAuthority, KindPolicy, KindWitness}

// genRecord makes any record.
var genRecord = rapid.Custom(func(t *rapid.T) *Record {
	kind := rapid.SampledFrom(append([]string{KindTx, KindTx}, kinds...)).Draw(t, "kind")
	seq := genOne.Draw(t, "seq")
	if kind == KindGenesis {
		seq = 0
	}
	at := time.Unix(rapid.Int64Range(minSeconds, maxSeconds).Draw(t, "time"), rapid.Int64Range(0, 999999999).Draw(t, "nano")).UTC()
	return New(seq, at, genBody(kind, seq).Draw(t, "body"))
})

// Every record has a line; the line is JSON with the same meaning and parses to
// the record. Any damaged line is refused or is another record's line.
func TestRandomRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rec := genRecord.Draw(t, "record")
		line := checkRoundTrip(t, rec)
		bad := slices.Clone(line)
		i := rapid.IntRange(0, len(bad)-1).Draw(t, "place")
		switch rapid.IntRange(0, 2).Draw(t, "damage") {
		case 0:
			bad[i] = rapid.Byte().Draw(t, "byte")
		case 1:
			bad = slices.Delete(bad, i, min(i+rapid.IntRange(1, 8).Draw(t, "count"), len(bad)))
		case 2:
			bad = slices.Insert(bad, i, rapid.SliceOfN(rapid.Byte(), 1, 4).Draw(t, "bytes")...)
		}
		got, err := Parse(bad)
		if err != nil {
			return
		}
		if again, err := got.Append(nil); err != nil || !slices.Equal(again, bad) {
			t.Fatalf("%q encodes as %q, %v", bad, again, err)
		}
		if !slices.Equal(bad, line) && reflect.DeepEqual(got, rec) {
			t.Fatalf("%q is the same record as %q", bad, line)
		}
	})
}

// The ways of the caller, the committer and the verifier meet.
func TestRandomTransactions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seq := rapid.Uint64Range(1, MaxInt).Draw(t, "seq")
		ops := genOps(seq, 20).Draw(t, "ops")
		tx := &Tx{Actor: genText(0, 20).Draw(t, "actor"), ID: genText(0, 20).Draw(t, "id")}
		req := NewReq(tx.Actor, tx.ID, "", len(ops))
		var lines []byte
		for i := range ops {
			request, err := ops[i].AppendRequest(nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Op(request)
			lines = append(FinishOp(lines, request, ops[i].Prev, ops[i].Skip, ops[i].N), '\n')
		}
		tx.Req = req.Sum()
		line, err := AppendTx(nil, seq, sampleTime, tx, lines)
		if err != nil {
			t.Fatal(err)
		}
		tx.Ops = ops
		if want := checkRoundTrip(t, New(seq, sampleTime, tx)); !slices.Equal(line, want) {
			t.Fatalf("the committer's line %s, the encoder's %s", line, want)
		}
		inline, err := InlineOps(line)
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.VerifyReq(inline); err != nil {
			t.Fatal(err)
		}
		wide, err := NewWide(lines)
		if err != nil {
			t.Fatal(err)
		}
		got, cut, err := wide.Open(lines)
		if err != nil || !reflect.DeepEqual(cut, inline) || !reflect.DeepEqual(got, normal(New(seq, sampleTime, tx)).Body.(*Tx).Ops) {
			t.Fatalf("wide: %v", err)
		}
	})
}

func TestRandomSubjects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		space, key := rapid.Byte().Draw(t, "space"), genBytes(1).Draw(t, "key")
		s := FormatSubject(space, key)
		if strings.Contains(s, "key64") == utf8.Valid(key) {
			t.Fatalf("%q is %s", key, s)
		}
		gotSpace, gotKey, err := ParseSubject(s)
		if err != nil || gotSpace != space || !slices.Equal(gotKey, key) {
			t.Fatalf("%s is %02x, %q, %v", s, gotSpace, gotKey, err)
		}
	})
}

func TestRandomDocuments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		y := &Policy{Features: genSet(genFeature).Draw(t, "features"), Classes: genSet(rapid.Map(genName, func(s string) string { return "c" + s[1:] })).Draw(t, "classes")}
		y.Refuse = rapid.Bool().Draw(t, "refuse")
		for _, actor := range genSet(genName).Draw(t, "actors") {
			a := PolicyActor{Actor: actor}
			for i := range rapid.IntRange(0, 3).Draw(t, "keys") {
				a.Keys = append(a.Keys, vkeyFor(fmt.Sprintf("key%d", i), 1, 32))
			}
			y.Actors = append(y.Actors, a)
		}
		doc, err := y.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParsePolicy(doc); err != nil || !reflect.DeepEqual(got, y) {
			t.Fatalf("%s is %+v, %v", doc, got, err)
		}

		a := &Authority{Epoch: genInt.Draw(t, "epoch")}
		signers := 0
		for i := range rapid.IntRange(1, 6).Draw(t, "keys") {
			k := AuthorityKey{VKey: vkeyFor(fmt.Sprintf("key%02d", i), rapid.Byte().Draw(t, "type"), rapid.IntRange(1, 40).Draw(t, "size"))}
			for role, has := range map[string]bool{RoleAuthority: i == 0, RoleCosigner: i%2 == 1, RoleLog: i%2 == 0} {
				if has {
					k.Roles = append(k.Roles, role)
				}
			}
			slices.Sort(k.Roles)
			if k.Has(RoleAuthority) {
				signers++
			}
			a.Keys = append(a.Keys, k)
		}
		a.Threshold = uint64(signers)
		if doc, err = a.Append(nil); err != nil {
			t.Fatal(err)
		}
		if got, err := ParseAuthority(doc); err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("%s is %+v, %v", doc, got, err)
		}
	})
}
