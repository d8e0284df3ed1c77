package graven

import (
	"graven/internal/block"
	"graven/internal/index"
	"graven/internal/journal"
	"graven/record"
)

// run is the stretch of records that will be one index segment of level 0. Where
// it ends follows from the log and the limits in genesis: with the first commit by
// which one of them is reached (docs/format.md §12).
type run struct {
	number uint64 // counted from 0
	from   uint64 // its first record

	records, ops, bytes uint64 // so far; the bytes are those of op lines, with newlines
}

// full reports whether the run ends with a commit that was just counted.
func (r *run) full(g *record.Genesis) bool {
	return r.records >= g.RunRecords || r.ops >= g.RunOps || r.bytes >= g.RunBytes
}

// endedRun is a run whose records are all known. Its segment is made once the log
// is synced up to its end.
type endedRun struct {
	number, from, to uint64 // records [from, to)
	txs, versions    uint64 // up to its end, since genesis
	// begin and end say what had entered the blocks before its first record and
	// behind its last; set by whoever files the group.
	begin, end block.Mark
}

// endRun begins the tip's next run, with record next, if the commit before it ends
// the present one.
func (v *Vault) endRun(next uint64) *endedRun {
	r := v.tip.run
	if !r.full(v.genesis) {
		return nil
	}
	v.tip.run = run{number: r.number + 1, from: next}
	return &endedRun{number: r.number, from: r.from, to: next, txs: v.recent.transactions(), versions: v.tip.versions}
}

// finishRun hands a run to the keeper, now that its records are filed and no later
// ones; mark says what has entered the blocks so far.
func (v *Vault) finishRun(r *endedRun, mark block.Mark) {
	r.begin, r.end = v.runMark, mark
	v.runMark = r.end
	v.runsMu.Lock()
	defer v.runsMu.Unlock()
	v.runsEnded = append(v.runsEnded, r)
}

// rowsOf is what the index stores of a run besides the versions of keys, which it
// has in memory.
func (v *Vault) rowsOf(r *endedRun) (index.Run, error) {
	out := index.Run{Number: r.number, From: r.from, To: r.to, Txs: r.txs, Versions: r.versions, Entered: enteredRows(r.end)}
	v.recent.rows(&out)
	err := v.journal.Places(r.from, r.to, index.GridStep, func(seq uint64, at journal.Pos) {
		out.Grid = append(out.Grid, index.Grid{Seq: seq, File: at.File, Offset: at.Offset})
	})
	if err != nil {
		return out, err
	}
	out.Artifacts = make([]index.Place, 0, r.end.Since(r.begin))
	for p, err := range v.blocks.Entered(r.begin, r.end) {
		if err != nil {
			return out, err
		}
		out.Artifacts = append(out.Artifacts, index.Place{
			ID: p.ID, Class: p.Class, Chunk: p.Chunks, Number: p.Number, Block: p.Block, Offset: p.Offset, Size: int64(p.Size),
		})
	}
	return out, nil
}

// rows adds to a run what is remembered of its records.
func (d *recent) rows(out *index.Run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.idRows[d.idsBefore(out.From):d.idsBefore(out.To)] {
		out.IDs = append(out.IDs, index.IDRow{Actor: r.key.actor, ID: r.key.id, Seq: r.seq, Number: r.number, Req: r.req})
	}
	for _, r := range d.signedRows[d.signedBefore(out.From):d.signedBefore(out.To)] {
		out.Signed = append(out.Signed, index.Signed{Req: r.req, Seq: r.seq})
	}
	for _, r := range d.others[d.othersBefore(out.From):d.othersBefore(out.To)] {
		out.Features = append(out.Features, index.Feature{Name: record.Feature(r.kind, r.v), Seq: r.seq})
		switch {
		case r.v != record.Version:
		case r.kind == record.KindBlock:
			out.Blocks = append(out.Blocks, r.seq)
		default:
			out.Documents = append(out.Documents, index.Document{Kind: r.kind, Seq: r.seq})
		}
	}
}

// enteredRows is a mark as the index stores it.
func enteredRows(m block.Mark) []index.Entered {
	rows := []index.Entered{{Total: m.Chunks}} // of chunk blocks
	for _, c := range m.Classes {
		rows = append(rows, index.Entered{Class: c.Class, Number: c.Number, Count: c.Count, Total: c.Total})
	}
	return rows
}

// markOf is the mark of what the index stored.
func markOf(rows []index.Entered) (m block.Mark) {
	for _, r := range rows {
		if r.Class == "" {
			m.Chunks = r.Total
			continue
		}
		m.Classes = append(m.Classes, block.ClassMark{Class: r.Class, Number: r.Number, Count: r.Count, Total: r.Total})
	}
	return m
}
