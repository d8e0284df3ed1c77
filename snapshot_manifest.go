package graven

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"graven/internal/block"
	"graven/internal/index"
	"graven/merkle"
	"graven/record"
)

// manifest says what a snapshot is. Everything in it follows from the log up to its
// position, so that the same log gives the same bytes on every machine:
//
//	graven-snapshot: 1
//	vault: "0123…"
//	number: 3
//	position: 120                  seq of a commit line
//	size: 121                      of the tree right behind it
//	time: "2026-01-01T00:00:00.001000000Z"   of that line
//	height: 40                     of that commit
//	root: "…"                      of the tree of that size, base64
//	state: "…"                     the state root that the line holds
//	blocks:                        all that hold artifacts of records up to the position
//	  count: 4
//	  bytes: 4711                  of their files
//	  list: "sha256:…"             of pinned-blocks.txt
//	  classes:
//	    - class: "log"
//	      sealed: 1                blocks 0 to sealed-1
//	      artifacts: 2             in them, up to the position
//	  chunk_blocks: 0              the first that the log admits
//	index:                         the runs that end at or before size
//	  format: 1
//	  runs: 12
//	  records: 96                  in them
//	  segments: ["0-00000000"]     that cover them when all merges are done
//
// It is YAML, and only what this program would write itself is read.
type snapshotManifest struct {
	vault            record.VaultID
	number, position uint64
	time             time.Time
	height           uint64
	root, state      merkle.Hash

	blocks, bytes uint64
	list          record.ID
	mark          block.Mark // of each class Number is that of the last block, Total the artifacts; Count is not written

	format, runs, records uint64
}

const (
	manifestVersion     = 1
	snapshotTimeForm    = "2006-01-02T15:04:05.000000000Z"
	maxSnapshotManifest = 1 << 20
)

// size is that of the tree right behind the position.
func (m *snapshotManifest) size() uint64 { return m.position + 1 }

// text is the manifest as it is written.
func (m *snapshotManifest) text() []byte {
	b := fmt.Appendf(nil, "graven-snapshot: %d\nvault: %q\nnumber: %d\nposition: %d\nsize: %d\n", manifestVersion, m.vault, m.number, m.position, m.size())
	b = fmt.Appendf(b, "time: %q\nheight: %d\nroot: %q\nstate: %q\n", m.time.UTC().Format(snapshotTimeForm), m.height, m.root, m.state)
	b = fmt.Appendf(b, "blocks:\n  count: %d\n  bytes: %d\n  list: %q\n  classes:\n", m.blocks, m.bytes, m.list)
	for _, c := range m.mark.Classes {
		b = fmt.Appendf(b, "    - class: %q\n      sealed: %d\n      artifacts: %d\n", c.Class, c.Number+1, c.Total)
	}
	b = fmt.Appendf(b, "  chunk_blocks: %d\nindex:\n  format: %d\n  runs: %d\n  records: %d\n  segments: [", m.mark.Chunks, m.format, m.runs, m.records)
	for i, name := range index.Cover(m.runs) {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendQuote(b, name)
	}
	return append(b, "]\n"...)
}

// parseSnapshotManifest reads what text wrote.
func parseSnapshotManifest(b []byte) (*snapshotManifest, error) {
	if line, _, _ := strings.Cut(string(b), "\n"); line != fmt.Sprintf("graven-snapshot: %d", manifestVersion) {
		return nil, fmt.Errorf("%w: a manifest that begins with %q, wanted version %d", ErrUnsupported, line, manifestVersion)
	}
	m := &snapshotManifest{}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimLeft(strings.TrimSuffix(line, "\n"), " -"), ":")
		if err := m.parseLine(key, strings.TrimPrefix(value, " ")); err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
	}
	const most = 100_000_000 // runs: their numbers have eight digits
	if m.runs > most {
		return nil, fmt.Errorf("%d runs of the index, at most %d", m.runs, most)
	}
	if string(m.text()) != string(b) {
		return nil, errors.New("its text is not as it would be written")
	}
	return m, nil
}

// parseLine reads one line. What it does not refuse, parseSnapshotManifest does.
func (m *snapshotManifest) parseLine(key, value string) (err error) {
	numbers := map[string]*uint64{
		"number": &m.number, "position": &m.position, "height": &m.height, "count": &m.blocks, "bytes": &m.bytes,
		"chunk_blocks": &m.mark.Chunks, "format": &m.format, "runs": &m.runs, "records": &m.records,
	}
	last := &block.ClassMark{}
	if n := len(m.mark.Classes); n > 0 {
		last = &m.mark.Classes[n-1]
	}
	text := value
	if strings.HasPrefix(value, `"`) {
		if text, err = strconv.Unquote(value); err != nil {
			return err
		}
	}
	switch key {
	case "vault":
		m.vault, err = record.ParseVaultID(text)
	case "time":
		m.time, err = time.Parse(snapshotTimeForm, text)
	case "root":
		m.root, err = merkle.ParseHash(text)
	case "state":
		m.state, err = merkle.ParseHash(text)
	case "list":
		m.list, err = record.ParseID(text)
	case "class":
		m.mark.Classes = append(m.mark.Classes, block.ClassMark{Class: text})
	case "sealed":
		if last.Number, err = strconv.ParseUint(text, 10, 64); err == nil {
			last.Number--
		}
	case "artifacts":
		last.Total, err = strconv.ParseUint(text, 10, 64)
	default:
		if to := numbers[key]; to != nil {
			*to, err = strconv.ParseUint(text, 10, 64)
		}
	}
	return err
}
