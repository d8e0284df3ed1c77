package graven

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/internal/journal"
	"graven/internal/wal"
	"graven/record"
)

// recover makes log and blocks whole after whatever ended the last process,
// and scans the log. It may itself be cut off anywhere: it only writes bytes
// that the WAL holds, to the places they belong, and lets the WAL go only when
// all of that is synced (openWriting does, after the replay).
//
// After a clean close everything was synced: the log is the truth, and a log
// that does not verify is damage, not a crash. Otherwise every group of the WAL
// is written again, also where the log seems to hold it already: what a read
// returns after a crash or a failed sync may be memory that never reached the disk.
func (v *Vault) recover() (*scanner, error) {
	if err := v.openWAL(); err != nil {
		return nil, err
	}
	// Nothing is written from the WAL that a power cut could take out of it again.
	if err := v.wal.Secure(); err != nil {
		return nil, err
	}
	held, err := v.survey()
	if err != nil {
		return nil, v.damaged(err)
	}
	cleanSize, clean := readClean(v.dir)
	// What the WAL holds may be read and yet not be on the disk.
	limit := uint64(noLimit)
	if held.Groups > 0 && !(clean && held.next <= cleanSize) {
		limit = held.from
	} else if clean {
		limit = cleanSize
	}
	if err := v.openDerived(limit); err != nil {
		return nil, err
	}
	s, tail, err := v.scan(noLimit)
	switch {
	case clean && err == nil && held.Groups > 0 && s.size < held.next:
		// Whole groups behind the size of the mark: it is not of this log.
		v.note("meta/host/clean says size %d, but the write-ahead log holds records up to %d", cleanSize, held.next)
	case clean && err == nil:
		return s, endsAt(cleanSize, s, tail)
	case s == nil || clean:
		return nil, err
	case held.Files == 0 && v.adopting != nil:
		return v.adoptLost(held, s, err)
	case held.Files == 0:
		v.walLost = true
		v.readOnly = "it was not closed cleanly and its write-ahead log is missing, so its newest records may be lost; bring wal/ back, or if it is gone for good see graven adopt"
		return s, err
	}
	return v.restore(held, s, err)
}

// held is what the WAL holds.
type held struct {
	wal.Report
	first journal.Pos // where its first group belongs in the log
	from  uint64      // seq of its first record
	next  uint64      // seq behind its last
}

func (v *Vault) survey() (h held, err error) {
	any := false
	h.Report, err = v.wal.Read(func(g wal.Group) error {
		if !any {
			any, h.from, h.first = true, g.First, journal.Pos{File: g.LogFile, Offset: g.LogOffset}
		}
		h.next = g.First + uint64(g.Records)
		return nil
	})
	return h, err
}

func (v *Vault) openWAL() error {
	w, err := wal.Open(v.dir.Sub("wal"), wal.Options{Vault: v.genesis.Vault, FileBytes: v.opts.walBytes, Rand: v.host.Rand})
	if err != nil {
		return v.damaged(err)
	}
	v.wal = w
	return nil
}

// did remembers, for Status, what the open put right.
func (v *Vault) did(format string, args ...any) {
	v.recovered = append(v.recovered, v.warn(format, args...))
}

// note remembers, for Status, what the open met and left as it is.
func (v *Vault) note(format string, args ...any) {
	v.found = append(v.found, v.warn(format, args...))
}

func (v *Vault) warn(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	v.opts.Logger.Warn("recovery", "vault", v.name, "found", text)
	return text
}

// restore writes the WAL's groups into the log again, keeps what the log holds
// whole behind them, cuts off the rest, and syncs. The blocks follow in
// restoreBlocks, once the scan has said which of them are sealed. front is a
// scan of the log as it was found, and what ended it.
func (v *Vault) restore(h held, front *scanner, frontErr error) (*scanner, error) {
	if h.Torn != nil {
		if err := v.setAside("wal", h.Torn.Bytes); err != nil {
			return nil, err
		}
		v.did("the write-ahead log ends in a torn group (%s, offset %d), as a crash before its sync leaves it; its bytes are in meta/host/cut", h.Torn.File, h.Torn.Offset)
	}
	if h.Groups == 0 && frontErr != nil {
		return nil, frontErr // nothing was written to the log since it was synced whole
	}
	if h.Groups > 0 && front.size < h.from {
		return nil, errors.Join(fmt.Errorf("%w: the log is whole up to record %d, the write-ahead log begins with record %d; bring the lost records back from a copy", ErrDamaged, front.size, h.from), frontErr)
	}
	for _, d := range h.Damaged {
		if d.Next == 0 && front.height <= d.Height || front.height < d.Next {
			return nil, errors.Join(fmt.Errorf("%w: %s, offset %d: %s; the log does not hold the group of height %d either", ErrDamaged, d.File, d.Offset, d.Reason, d.Height), frontErr)
		}
	}
	// What the log alone holds goes the same way as the rest: it is read, and
	// written again.
	if h.Groups == 0 {
		h.first, h.from, h.next = front.end, front.size, front.size
	}
	from := h.next
	if h.Damage != nil {
		from = h.from
	}
	kept, err := v.groupsOfLog(from, front.size)
	if err != nil {
		return nil, err
	}
	s, err := v.rewrite(h, kept)
	if err != nil {
		return nil, v.damaged(err)
	}
	if err := v.cutLog(s); err != nil {
		return nil, err
	}
	v.restoring = true
	return s, v.journal.Sync()
}

// cutLog gives back the room that was reserved behind the last commit. Lines are
// written only after the sync of their group in the WAL, so anything but zeros
// there belongs to a durable group that is lost, and nothing is touched.
func (v *Vault) cutLog(s *scanner) error {
	at, err := v.behindEnd(s.end)
	if err != nil {
		return err
	}
	if at != nil && v.adopting != nil {
		err = v.keepBehindLog(*at)
	} else if at != nil {
		err = fmt.Errorf("%w: %s, offset %d: bytes behind the last commit, of a group that the write-ahead log does not hold; a file of wal/ or log/ is missing or not the newest, bring it back from a copy", ErrDamaged, logName(at.File), at.Offset)
	}
	if err != nil {
		return err
	}
	_, err = v.journal.Cut(s.end)
	return v.damaged(err)
}

// maxSpare is more than the room that is ever reserved behind the log's end.
const maxSpare = 1 << 30

// behindEnd finds the first byte of the log behind a position that is not zero.
func (v *Vault) behindEnd(end journal.Pos) (*journal.Pos, error) {
	entries, err := v.dir.ReadDir("log")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		first, ok := journal.ParseName(e.Name)
		if !ok || first < end.File {
			continue
		}
		at := journal.Pos{File: first}
		if first == end.File {
			at = end
		}
		f, err := v.dir.Open("log/" + e.Name)
		if err != nil {
			return nil, err
		}
		n, err := firstNonzero(f, at.Offset)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		if n >= 0 {
			at.Offset = n
			return &at, nil
		}
	}
	return nil, nil
}

// firstNonzero finds the first byte from an offset on that is not zero, or that
// is too far away to be reserved room; -1 if there is none.
func firstNonzero(f fsx.File, from int64) (int64, error) {
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for off := from; off < size; {
		if off-from > maxSpare {
			return off, nil
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if i := bytes.IndexFunc(buf[:n], func(r rune) bool { return r != 0 }); i >= 0 {
			return off + int64(i), nil
		}
		if off += int64(n); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if n == 0 {
			break
		}
	}
	return -1, nil
}

// groupsOfLog reads groups that the log holds and the WAL does not: the frame
// of one may have rotted after its lines were written.
func (v *Vault) groupsOfLog(from, to uint64) ([]wal.Group, error) {
	var groups []wal.Group
	g := wal.Group{First: from}
	for seq := from; seq < to; seq++ {
		line, err := v.journal.Line(seq)
		if err != nil {
			return nil, v.damaged(err)
		}
		if g.Records == 0 {
			at, err := v.journal.Position(seq)
			if err != nil {
				return nil, err
			}
			g.LogFile, g.LogOffset = at.File, at.Offset
		}
		g.Lines = append(append(g.Lines, line...), '\n')
		g.Records++
		if f, err := record.ParseFrame(line); err == nil && f.Kind == record.KindCommit && f.V == record.Version {
			groups = append(groups, g)
			g = wal.Group{First: seq + 1}
		}
	}
	return groups, nil
}

// rewriter puts groups into the log, in order, each where it belongs.
type rewriter struct {
	v    *Vault
	scan *scanner
	kept []wal.Group // those that only the log has, by First
}

// rewrite scans the log up to the WAL's first group and writes that and all
// later ones in their places.
func (v *Vault) rewrite(h held, kept []wal.Group) (*scanner, error) {
	if err := v.openJournal(); err != nil {
		return nil, err
	}
	s, line, finish, err := v.newScan()
	if err != nil {
		return nil, err
	}
	if _, err := v.journal.ScanFromUntil(v.entry.from, h.first, line); err != nil {
		return nil, err
	}
	w := &rewriter{v: v, scan: s, kept: kept}
	if h.Groups > 0 {
		if _, err := v.wal.Read(w.put); err != nil {
			return nil, err
		}
		v.did("%d groups of the write-ahead log, heights %d to %d, were written into log and blocks again", h.Groups, h.First, h.Last)
	}
	if err := w.putKept(noLimit); err != nil {
		return nil, err
	}
	finish()
	return s, nil
}

// put writes a group of the WAL, and before it those that stand between it and
// the one before, which the WAL has lost.
func (w *rewriter) put(g wal.Group) error {
	if err := w.putKept(g.First); err != nil {
		return err
	}
	for len(w.kept) > 0 && w.kept[0].First == g.First {
		w.kept = w.kept[1:]
	}
	return w.write(g)
}

func (w *rewriter) putKept(before uint64) error {
	for len(w.kept) > 0 && w.kept[0].First < before {
		g := w.kept[0]
		w.kept = w.kept[1:]
		w.v.did("records %d to %d, which the write-ahead log does not hold whole, were found whole in the log", g.First, g.First+uint64(g.Records)-1)
		if err := w.write(g); err != nil {
			return err
		}
	}
	return nil
}

func (w *rewriter) write(g wal.Group) error {
	at := journal.Pos{File: g.LogFile, Offset: g.LogOffset}
	if err := w.v.journal.Restore(at, g.Lines, g.Records); err != nil {
		return err
	}
	w.v.journal.EndGroup()
	for lines, seq := g.Lines, g.First; len(lines) > 0; seq++ {
		line, rest, _ := bytes.Cut(lines, []byte{'\n'})
		if err := w.scan.line(seq, line, at); err != nil {
			return err
		}
		at.Offset += int64(len(line)) + 1
		lines = rest
	}
	return nil
}

// restoreBlocks writes the WAL's artifacts into the open blocks again. Parts of
// them that a sealed block holds are left alone.
func (v *Vault) restoreBlocks() error {
	_, err := v.wal.Read(func(g wal.Group) error {
		for _, s := range g.Sections {
			if err := v.blocks.Restore(s.Class, s.Number, s.Offset, s.Bytes); err != nil {
				return err
			}
		}
		return nil
	})
	return v.damaged(err)
}

// finishOrder cuts the open blocks to what the log mentions, and makes them durable.
func (v *Vault) finishOrder(order *block.Order) error {
	if err := order.Finish(); err != nil {
		return v.damaged(err)
	}
	if v.opts.ReadOnly || v.readOnly != "" {
		return nil
	}
	// Frames are written only after the sync of their group in the WAL, so one
	// that the log does not mention is of a durable group that is lost.
	err := v.blocks.CutOpen(func(b block.Behind) error {
		if v.adopting != nil {
			return v.keepBehind("block", b.File, b.Offset)
		}
		return fmt.Errorf("%w: %s, offset %d: %d bytes that neither log nor write-ahead log explain; bring the missing files of log/ or wal/ back from a copy", ErrDamaged, b.File, b.Offset, b.Bytes)
	})
	if err != nil {
		return v.damaged(err)
	}
	for _, class := range v.blocks.Classes() {
		if v.blocks.Full(class, v.genesis.BlockBytes) {
			v.blocks.Advance(class)
		}
	}
	return v.blocks.Sync()
}

// setAside keeps bytes that a recovery removed, for a person to look at. The
// name is their hash: cutting the same twice keeps them once.
func (v *Vault) setAside(what string, b []byte) error {
	if len(bytes.Trim(b, "\x00")) == 0 {
		return nil
	}
	name := "meta/host/cut/" + what + "-" + record.IDOf(b).Hex()[:16]
	if exists, err := v.dir.Exists(name); err != nil || exists {
		return err
	}
	return v.dir.PublishBytes(name, b)
}
