package graven

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"graven/internal/statestore"
	"graven/merkle"
	"graven/record"
	"graven/state"
)

// SnapshotOptions say how to verify a snapshot.
type SnapshotOptions struct {
	Replay bool // build the state from the first record on, and not only read its pages
}

// SnapshotReport is what was found of a snapshot.
type SnapshotReport struct {
	SnapshotInfo
	Root, State merkle.Hash // that the log has at the position
	Blocks      int         // sealed blocks that were read and are what the list says
	Segments    int         // files of index and state pages, likewise
	Bytes       int64       // read and hashed
	Gone        int         // listed files of index and state that are not there any more, which can be made again
	Paged       bool        // the state was read from its pages
	Replayed    bool        // the state was built from the log
	Findings    []Finding   // what is wrong
	Notes       []string    // what is not as it was, and need not be
}

// Damaged reports whether anything is wrong.
func (r *SnapshotReport) Damaged() bool { return len(r.Findings) > 0 }

// VerifySnapshot holds a snapshot against the log: its manifest against its record,
// root and state against what the log has at the position, every pinned file against
// its SHA-256, and the pages of its state against the state root. Lists and pages
// that were dropped or lost are no damage: the list of blocks is made again from the
// log, and with Replay so is the state. A number that no record has is [ErrNotFound];
// what is wrong is not an error but among the findings.
func (v *Vault) VerifySnapshot(ctx context.Context, number uint64, o SnapshotOptions) (*SnapshotReport, error) {
	w := v.View()
	info, err := v.findSnapshot(w, number)
	if err != nil {
		return nil, err
	}
	c := &snapshotVerifier{v: v, w: w, ctx: ctx, report: &SnapshotReport{SnapshotInfo: info}}
	for _, step := range []func() error{c.readManifest, c.holdAgainstLog, c.readBlocks, c.readSegments, c.readState} {
		if err := errors.Join(step(), ctx.Err()); err != nil {
			return nil, err
		}
	}
	if o.Replay {
		c.replay()
	}
	return c.report, ctx.Err()
}

// snapshotVerifier is one verification under way.
type snapshotVerifier struct {
	v        *Vault
	w        *View
	ctx      context.Context
	report   *SnapshotReport
	manifest *snapshotManifest // nil if it is not the one that was recorded
}

func (c *snapshotVerifier) find(file string, format string, args ...any) {
	c.report.Findings = append(c.report.Findings, Finding{File: file, Offset: -1, What: strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")})
}

func (c *snapshotVerifier) note(format string, args ...any) {
	c.report.Notes = append(c.report.Notes, fmt.Sprintf(format, args...))
}

func (c *snapshotVerifier) path(name string) string {
	return snapshotFolder(c.report.Number) + "/" + name
}

// readManifest holds the manifest against its record.
func (c *snapshotVerifier) readManifest() error {
	name := c.path(manifestName)
	text, err := c.v.dir.ReadFile(name, maxPinList)
	if err != nil {
		c.find(name, "%v", err)
		return nil
	}
	if got := record.IDOf(text); got != c.report.Manifest {
		c.find(name, "its SHA-256 is %v, record %d says %v", got, c.report.Seq, c.report.Manifest)
		return nil
	}
	m, err := parseSnapshotManifest(text)
	if errors.Is(err, ErrUnsupported) {
		return err
	}
	if err != nil {
		c.find(name, "%v", err)
		return nil
	}
	c.manifest = m
	c.report.Bytes += int64(len(text))
	return nil
}

// holdAgainstLog holds root and state against what the log has at the position.
func (c *snapshotVerifier) holdAgainstLog() error {
	r := c.report
	if r.Size > c.w.head.Size {
		c.find("", "record %d says position %d, which is behind the log's end", r.Seq, r.Position)
		c.manifest = nil
		return nil
	}
	commit, frame, err := c.w.commitLine(r.Position)
	if err != nil {
		c.find("", "position %d: %v", r.Position, err)
		c.manifest = nil
		return nil
	}
	r.State = commit.State
	if r.Root, err = merkle.RootFrom(r.Size, treeHashes{c.w}); err != nil {
		return c.v.damaged(err)
	}
	m := c.manifest
	if m == nil {
		return nil
	}
	for _, fact := range []struct {
		what      string
		says, has any
	}{
		{"vault", m.vault, c.v.genesis.Vault},
		{"number", m.number, r.Number},
		{"position", m.position, r.Position},
		{"height", m.height, commit.Height},
		{"time", m.time.UTC(), frame.Time.UTC()},
		{"root", m.root, r.Root},
		{"state", m.state, r.State},
	} {
		if fact.says != fact.has {
			c.find(c.path(manifestName), "%s %v, the log has %v", fact.what, fact.says, fact.has)
		}
	}
	return nil
}

// readBlocks holds the list of blocks against the log, and each block against the list.
func (c *snapshotVerifier) readBlocks() error {
	if c.manifest == nil {
		return nil
	}
	name := c.path(pinnedBlocks)
	pins, err := c.v.blocks.Pins(c.manifest.mark)
	if err != nil {
		c.find(name, "%v", err)
		return nil
	}
	ids := map[string]record.ID{}
	for _, p := range pins {
		ids[p.Name] = p.ID
	}
	want := sumLines(ids)
	if got := record.IDOf(want); got != c.manifest.list {
		c.find(c.path(manifestName), "it lists blocks with SHA-256 %v, the log gives %v", c.manifest.list, got)
	}
	text, err := c.v.dir.ReadFile(name, maxPinList)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.note("%s is not kept any more; the list was made again from the log", name)
	case err != nil:
		c.find(name, "%v", err)
	case !bytes.Equal(text, want):
		c.find(name, "it is not the list that the manifest means")
	}
	for _, p := range pins {
		if good, _ := c.sum(p.Name, p.ID, false); good {
			c.report.Blocks++
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// sum holds a file against its SHA-256, and reports whether it is the one. One that
// may have gone and is not there is no finding.
func (c *snapshotVerifier) sum(name string, want record.ID, mayGo bool) (good, there bool) {
	got, n, err := hashFile(c.ctx, c.v.dir, name)
	c.report.Bytes += n
	switch {
	case mayGo && errors.Is(err, fs.ErrNotExist):
		return false, false
	case err != nil && c.ctx.Err() == nil:
		c.find(name, "%v", err)
	case err == nil && got != want:
		c.find(name, "its SHA-256 is %v, wanted %v", got, want)
	}
	return err == nil && got == want, true
}

// readSegments holds what is there of the listed files of index and state against the
// list. Merged segments and pages that were let go are not there any more.
func (c *snapshotVerifier) readSegments() error {
	for _, b := range c.v.index.Borders() {
		if m := c.manifest; m != nil && b.Runs == m.runs && b.To != m.records {
			c.find(c.path(manifestName), "%d runs of the index with %d records, the index has %d", m.runs, m.records, b.To)
		}
	}
	name := c.path(pinnedSegments)
	f, err := c.v.dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		c.note("%s is not kept any more; index and state are made again on need", name)
		return nil
	}
	if err != nil {
		c.find(name, "%v", err)
		return nil
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(io.NewSectionReader(f, 0, size))
	for lines.Scan() && c.ctx.Err() == nil {
		id, file, ok := parseSum(lines.Text())
		if !ok || !strings.HasPrefix(file, "index/") && !strings.HasPrefix(file, "state/") {
			c.find(name, "line %q is no SHA-256 of a file of index or state", lines.Text())
			continue
		}
		switch good, there := c.sum(file, id, true); {
		case !there:
			c.report.Gone++
		case good:
			c.report.Segments++
		}
	}
	if c.report.Gone > 0 {
		c.note("%d files of %s were merged or let go since; they can be made again", c.report.Gone, name)
	}
	return lines.Err()
}

// readState reads the pages of the state, if they are there.
func (c *snapshotVerifier) readState() error {
	if c.report.State == (merkle.Hash{}) {
		return nil // the position is no commit, as was said
	}
	set, ok := c.v.pages.At(c.report.Size)
	if !ok {
		c.note("its state is in no pages; it is built again from the log on need, as --replay does")
		return nil
	}
	m, err := c.v.pages.Map(set)
	if err != nil {
		return err
	}
	if got := m.Root(); got != c.report.State {
		c.find(fmt.Sprintf("state/%08d.pages", set.Number), "it holds state root %v, the log has %v at the position", got, c.report.State)
		return nil
	}
	var found []error
	if err := m.VerifyPages(c.ctx, func(_ state.Ref, err error) { found = append(found, err) }); err != nil {
		return err
	}
	if len(found) > 0 && c.v.opts.ReadOnly {
		now, _, err := statestore.Open(c.v.dir.Sub("state"), c.v.genesis.Vault, statestore.Options{})
		if err != nil {
			return err
		}
		defer now.Close()
		if _, there := now.At(c.report.Size); !there {
			c.note("the pages of its state were let go by another process while they were read")
			return nil
		}
	}
	for _, err := range found {
		c.find("state", "%v", c.v.damaged(err))
	}
	c.report.Paged = len(found) == 0
	return nil
}

// replay builds the state from the first record on.
func (c *snapshotVerifier) replay() {
	if c.report.State == (merkle.Hash{}) {
		return // the position is no commit, as was said
	}
	if _, err := c.w.stateFrom(pastState{}, c.report.Position); err != nil {
		c.find("log", "%v", err)
		return
	}
	c.report.Replayed = true
}
