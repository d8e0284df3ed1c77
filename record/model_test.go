package record

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// The model says what members a record has, without the encoder: the tests
// compare it with what encoding/json reads from the encoder's lines.

func num(n uint64) json.Number { return json.Number(fmt.Sprint(n)) }

func hexID(id ID) string { return "sha256:" + hex.EncodeToString(id[:]) }

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func modelRecord(r *Record) map[string]any {
	m := map[string]any{
		"v": num(r.V), "kind": r.Kind, "seq": num(r.Seq),
		"time": r.Time.UTC().Format("2006-01-02T15:04:05.000000000Z"),
	}
	switch b := r.Body.(type) {
	case *Genesis:
		modelGenesis(m, b)
	case *Tx:
		modelTx(m, b)
	case *Commit:
		m["epoch"], m["height"] = num(b.Epoch), num(b.Height)
		if b.Prev != nil {
			m["prev"] = b64(b.Prev[:])
		}
		m["lines"], m["root"], m["state"] = hexID(b.Lines), b64(b.Root[:]), b64(b.State[:])
	case *Block:
		if b.Number != nil {
			m["number"] = num(*b.Number)
		}
		m["id"], m["size"], m["count"], m["class"] = hexID(b.ID), num(b.Size), num(b.Count), b.Class
	case *Segment:
		m["level"], m["number"], m["format"], m["root"] = num(b.Level), num(b.Number), num(b.Format), b64(b.Root[:])
	case *Snapshot:
		m["number"], m["position"], m["manifest"] = num(b.Number), num(b.Position), hexID(b.Manifest)
	case *Document:
		m["number"], m["doc"] = num(b.Number), hexID(b.Doc)
		sigs := []any{}
		for i := range b.Sigs {
			sigs = append(sigs, modelSig(&b.Sigs[i]))
		}
		m["sigs"] = sigs
	}
	return m
}

func modelGenesis(m map[string]any, g *Genesis) {
	m["vault"], m["store"] = hex.EncodeToString(g.Vault[:]), hex.EncodeToString(g.Store[:])
	m["name"], m["origin"], m["class"], m["sealed"] = g.Name, g.Origin, g.Class, g.Sealed
	if g.Region != "" {
		m["region"] = g.Region
	}
	m["hashes"] = map[string]any{"leaf": "sha256", "node": "sha256", "artifact": "sha256", "state": "sha256"}
	m["features"] = anys(g.Features)
	m["index"], m["shards"], m["block"] = num(g.Index), num(g.Shards), num(g.BlockBytes)
	m["file"] = map[string]any{"records": num(g.FileRecords), "bytes": num(g.FileBytes)}
	m["run"] = map[string]any{"records": num(g.RunRecords), "ops": num(g.RunOps), "bytes": num(g.RunBytes)}
	m["oplines"], m["value"], m["chunk"] = num(g.OpLines), num(g.ValueLimit), num(g.ChunkSize)
	m["authority"], m["policy"] = hexID(g.Authority), hexID(g.Policy)
}

func modelTx(m map[string]any, t *Tx) {
	m["actor"], m["id"], m["req"] = t.Actor, t.ID, hexID(t.Req)
	if t.Class != "" {
		m["class"] = t.Class
	}
	if t.Sig != nil {
		m["sig"] = modelSig(t.Sig)
	}
	if w := t.Wide; w != nil {
		m["wide"] = map[string]any{"lines": hexID(w.Lines), "size": num(w.Size), "count": num(w.Count), "root": b64(w.Root[:])}
		return
	}
	ops := []any{}
	for i := range t.Ops {
		ops = append(ops, modelOp(&t.Ops[i], true))
	}
	m["ops"] = ops
}

func modelOp(o *Op, whole bool) map[string]any {
	names := map[OpKind]string{OpPut: "put", OpDelete: "delete", OpAppend: "append", OpIf: "if"}
	m := map[string]any{"op": names[o.Kind]}
	if o.Kind != OpAppend && o.Space != 'k' {
		m["space"] = fmt.Sprintf("%02x", o.Space)
	}
	modelBytes(m, "key", o.Key)
	modelBytes(m, "from", o.From)
	modelBytes(m, "to", o.To)
	if o.Kind == OpIf && o.Key == nil {
		m["since"] = num(o.Since)
	}
	if o.Kind == OpPut || o.Kind == OpAppend {
		m["value"], m["size"] = hexID(o.Value), num(o.Size)
		if o.Type != "" {
			m["type"] = o.Type
		}
		if o.Chunks != nil {
			m["chunks"] = hexID(*o.Chunks)
		}
		if o.Enc != "" {
			m["enc"] = o.Enc
		}
	}
	if o.If != nil {
		cond := m
		if o.Kind != OpIf {
			cond = map[string]any{}
			m["if"] = cond
		}
		switch o.If.Kind {
		case Absent:
			cond["absent"] = true
		case Present:
			cond["present"] = true
		case AtSeq:
			cond["seq"] = num(o.If.Seq)
		case HasValue:
			cond["value"] = hexID(o.If.Value)
		}
	}
	if whole && (o.Kind == OpPut || o.Kind == OpDelete) {
		m["prev"], m["skip"], m["n"] = num(o.Prev), num(o.Skip), num(o.N)
	}
	return m
}

func modelBytes(m map[string]any, name string, b []byte) {
	switch {
	case len(b) == 0:
	case utf8.Valid(b):
		m[name] = string(b)
	default:
		m[name+"64"] = b64(b)
	}
}

func modelSig(s *Sig) map[string]any { return map[string]any{"key": s.Key, "sig": b64(s.Sig)} }

func anys(list []string) []any {
	out := []any{}
	for _, s := range list {
		out = append(out, s)
	}
	return out
}
