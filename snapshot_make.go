package graven

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"graven/internal/fsx"
	"graven/internal/index"
	"graven/record"
)

// making is a snapshot on its way. Its steps come in this order, and each may be the
// last before a crash:
//
//	border   nothing on disk; blocks that end early, as if they had been full
//	cover    these blocks sealed and recorded; nothing else refers to them differently
//	keep     a set of state pages, like any other
//	merge    segments, as they are merged at any time
//	publish  the folder, whole, which no record names: the next snapshot replaces it
//	record   the snapshot
//
// Steps wait for the disk and for a group, never with a lock that commits wait for.
type making struct {
	v        *Vault
	demand   bool
	at       border
	manifest snapshotManifest
	blocks   []byte // text of pinned-blocks.txt
	segments []byte // text of pinned-segments.txt
}

// snapshot makes a snapshot. Callers hold snapping.
func (v *Vault) snapshot(ctx context.Context, demand bool) (info SnapshotInfo, err error) {
	if err := v.writable(); err != nil {
		return info, err
	}
	m := &making{v: v, demand: demand}
	for _, step := range []func(context.Context) error{m.border, m.cover, m.keep, m.merge, m.publish} {
		if err := errors.Join(step(ctx), ctx.Err()); err != nil {
			return info, fmt.Errorf("snapshot: %w", err)
		}
	}
	seq, err := m.record()
	if err != nil {
		return info, fmt.Errorf("snapshot: %w", err)
	}
	if err := v.retainPins(); err != nil { // it is there; what it replaces goes another time
		v.opts.Logger.Error("old snapshots still hold pages", "vault", v.name, "err", err)
	}
	return v.snapshotAt(v.View(), seq)
}

// border asks for a position. Wherever this ends, the policy counts from here: an
// attempt that fails begins new blocks, and is not to be repeated with every commit.
// Without hope none are begun.
func (m *making) border(ctx context.Context) error {
	if err := m.v.sealable(); err != nil {
		if err := m.v.settle(); err != nil { // it may have been healed meanwhile
			return err
		}
		if err := m.v.sealable(); err != nil {
			m.countFrom(m.v.View())
			return err
		}
	}
	e := &errand{border: true}
	if _, err := m.v.ask(ctx, e); err != nil {
		return err
	}
	m.at = e.at
	m.countFrom(m.at.view)
	return nil
}

// countFrom lets the policy count from a view.
func (m *making) countFrom(w *View) {
	m.v.lastSnap = snapMark{size: w.head.Size, height: w.height - 1, time: w.at, scanned: w.head.Size}
}

// cover lets everything up to the border be synced, and its artifacts be in sealed
// blocks whose records are durable.
func (m *making) cover(ctx context.Context) error {
	if err := errors.Join(m.v.settle(), m.v.sealable()); err != nil { // seals what ended at the border
		return err
	}
	if _, err := m.v.ask(ctx, &errand{flush: true}); err != nil {
		return err
	}
	return m.v.settle() // publishes these records, on which the blocks move
}

// keep lets the index end at the border if it can, and writes the state there.
func (m *making) keep(context.Context) error {
	v, size := m.v, m.at.view.head.Size
	v.keeping.Lock()
	defer v.keeping.Unlock()
	condemned, err := v.discardCondemned()
	if condemned || v.stateCondemned() || err != nil {
		return err // without pages: the next open builds the state again from the log
	}
	if err := v.sealRuns(v.published.Load()); err != nil {
		return err
	}
	v.keepPages(size)
	if _, there := v.pages.At(size); there {
		return nil
	}
	return v.writeStateOf(m.at.view)
}

// merge lets the index have as few files as it can. It takes as long as they have rows,
// and writers may wait for whoever holds keeping.
func (m *making) merge(ctx context.Context) error { return m.v.onlyDerived(m.v.merge(ctx)) }

// publish writes the folder. Whatever stands under its name is of an attempt that
// was never recorded.
func (m *making) publish(ctx context.Context) error {
	v, w := m.v, m.at.view
	newest, err := v.newestSnapshot(v.View())
	if err != nil {
		return err
	}
	number := newest.Number + 1
	if err := m.list(ctx); err != nil {
		return err
	}
	m.manifest.vault, m.manifest.number, m.manifest.position = v.genesis.Vault, number, w.head.Size-1
	m.manifest.time, m.manifest.height = w.at, w.height-1
	m.manifest.root, m.manifest.state = w.head.Root, w.state.Root()
	m.manifest.format, m.manifest.runs, m.manifest.records = v.genesis.Index, m.at.runs, m.at.from
	folder := snapshotFolder(number)
	err = errors.Join(v.dir.Sweep(snapshotsName), v.dir.DiscardAll(folder))
	if err == nil {
		err = v.dir.Discard(folder)
	}
	if err != nil {
		return err
	}
	err = v.dir.PublishFolder(folder, func(d fsx.Disk) error {
		dir := fsx.NewDir(d, fsx.Rules{{Pattern: "*", Verbs: fsx.Publish}})
		return errors.Join(
			dir.PublishBytes(manifestName, m.manifest.text()),
			dir.PublishBytes(pinnedSegments, m.segments),
			dir.PublishBytes(pinnedBlocks, m.blocks),
		)
	})
	if err != nil {
		return err
	}
	// Its pages are kept from here on, recorded or not: an entry too many is dropped
	// with the next snapshot.
	return v.addPin(pin{number: number, size: w.head.Size, demand: m.demand})
}

// record writes the record of the snapshot. A crash before it is durable leaves a
// folder that means nothing.
func (m *making) record() (seq uint64, err error) {
	rec := &record.Snapshot{Number: m.manifest.number, Position: m.manifest.position, Manifest: record.IDOf(m.manifest.text())}
	// Whether it was written must be known: this does not end with the caller's patience.
	r, err := m.v.ask(context.Background(), &errand{record: rec})
	if err != nil {
		return 0, err
	}
	return r.Seq, nil
}

// list makes the lists of pinned files.
func (m *making) list(ctx context.Context) error {
	pins, err := m.v.blocks.Pins(m.at.mark)
	if err != nil {
		return m.v.damaged(err)
	}
	ids := map[string]record.ID{}
	for _, p := range pins {
		ids[p.Name] = p.ID
		m.manifest.bytes += p.Size
	}
	m.manifest.mark, m.manifest.blocks = m.at.mark, uint64(len(pins))
	m.blocks = sumLines(ids)
	m.manifest.list = record.IDOf(m.blocks)
	for range 4 {
		m.segments, err = m.v.listSegments(ctx, m.at.runs, m.at.view.head.Size, m.demand)
		if !errors.Is(err, fs.ErrNotExist) {
			break // otherwise a merge took the place of what was listed
		}
	}
	return err
}

// sumLines are files with their SHA-256 as sha256sum writes them, by name.
func sumLines(ids map[string]record.ID) []byte {
	names := make([]string, 0, len(ids))
	for name := range ids {
		names = append(names, name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	for _, name := range names {
		fmt.Fprintf(&b, "%s  %s\n", ids[name].Hex(), name)
	}
	return b.Bytes()
}

// parseSum reads a line that sumLines wrote, without its newline.
func parseSum(line string) (id record.ID, name string, ok bool) {
	sum, name, ok := strings.Cut(line, "  ")
	id, err := record.ParseID("sha256:" + sum)
	return id, name, ok && err == nil && fsx.CheckName("open", name) == nil
}

// listSegments lists the files of the index that hold the first so many runs, and
// those of the state's pages at a size. On demand files of the index are read as a whole
// before their bytes count, and damaged ones are left out: that takes too long for what
// happens by itself.
func (v *Vault) listSegments(ctx context.Context, runs, size uint64, demand bool) ([]byte, error) {
	names, err := v.index.Files(runs)
	if err != nil {
		return nil, err
	}
	if set, ok := v.pages.At(size); ok {
		files, err := v.pages.Files(set)
		if err != nil {
			return nil, err
		}
		names = append(names, files...)
	}
	if v.sums == nil {
		v.sums = v.knownSums()
	}
	ids := map[string]record.ID{}
	for _, name := range names {
		id, ok := v.sums[name]
		if !ok {
			if demand {
				if whole, err := v.wholeOrMended(name); err != nil {
					return nil, err
				} else if !whole {
					continue // the next open for writing makes it again
				}
			}
			if id, _, err = hashFile(ctx, v.dir, name); errors.Is(err, fs.ErrNotExist) {
				continue // it was damaged, and the next open for writing makes it again
			} else if err != nil {
				return nil, err
			}
		}
		ids[name] = id
	}
	v.sums = ids // what is not pinned any more will not come again
	return sumLines(ids), nil
}

// wholeOrMended reports whether a file has the bytes that it should have, by its own
// checksums; of those of the index only. One that is damaged is made again if it can be,
// and condemned if not.
func (v *Vault) wholeOrMended(name string) (bool, error) {
	var d *index.DamageError
	err := v.index.CheckFile(name, func(f index.File) index.File { return f }, func(err error) error {
		errors.As(err, &d)
		return nil
	})
	if err != nil || d == nil || v.mendIndex(d) {
		return err == nil, err
	}
	v.condemn(d)
	return false, nil
}

// knownSums are those of index files that the newest snapshot with lists has: a name
// stands for the same bytes for ever, so that an index is hashed once and not for
// each snapshot. Names of state pages may come again after they were lost.
func (v *Vault) knownSums() map[string]record.ID {
	sums := map[string]record.ID{}
	pins := v.pinned()
	if len(pins) == 0 {
		return sums
	}
	text, err := v.dir.ReadFile(snapshotFolder(pins[len(pins)-1].number)+"/"+pinnedSegments, maxPinList)
	if err != nil {
		return sums // they are hashed again
	}
	for line := range strings.Lines(string(text)) {
		if id, name, ok := parseSum(strings.TrimSuffix(line, "\n")); ok && strings.HasPrefix(name, "index/") {
			sums[name] = id
		}
	}
	return sums
}

// maxPinList bounds a list of pinned files in bytes: a million files.
const maxPinList = 256 << 20

// hashFile reads a file and returns its SHA-256 and how long it is.
func hashFile(ctx context.Context, dir fsx.Dir, name string) (id record.ID, size int64, err error) {
	f, err := dir.Open(name)
	if err != nil {
		return id, 0, err
	}
	defer f.Close()
	if size, err = f.Size(); err != nil {
		return id, 0, err
	}
	h := sha256.New()
	const step = 1 << 20
	for off := int64(0); off < size; off += step {
		if err := ctx.Err(); err != nil {
			return id, off, err
		}
		if _, err := io.Copy(h, io.NewSectionReader(f, off, min(step, size-off))); err != nil {
			return id, off, fmt.Errorf("%s: %w", name, err)
		}
	}
	return record.ID(h.Sum(nil)), size, nil
}
