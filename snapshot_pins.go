package graven

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// pin says that the state pages and the lists of a snapshot are kept. The pins stand
// in the file snapshots/kept, one a line; without it nothing is kept, and nothing
// lost that the log does not have.
type pin struct {
	number, size uint64
	demand       bool // somebody asked for it; otherwise the policy did
}

const pinsFile = snapshotsName + "/kept"

func pinsText(pins []pin) []byte {
	var b []byte
	for _, p := range pins {
		b = fmt.Appendf(b, "%d %d %s\n", p.number, p.size, map[bool]string{true: "demand", false: "policy"}[p.demand])
	}
	return b
}

// readPins reads them at an open. What cannot be read keeps nothing.
func (v *Vault) readPins() {
	text, err := v.dir.ReadFile(pinsFile, maxPinList)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var pins []pin
	for line := range strings.Lines(string(text)) {
		var p pin
		var why string
		if _, scan := fmt.Sscanf(line, "%d %d %s\n", &p.number, &p.size, &why); scan != nil && err == nil {
			err = fmt.Errorf("line %q", line)
		}
		p.demand = why == "demand"
		pins = append(pins, p)
	}
	if err == nil && string(pinsText(pins)) != string(text) {
		err = errors.New("its text is not as it would be written")
	}
	if err != nil {
		v.note("%s: %v; pages of older snapshots are not kept", pinsFile, err)
		return
	}
	// Now, before a replay writes sets of its own, which may come to the same positions.
	var kept []pin
	for _, p := range pins {
		if _, ok := v.pages.At(p.size); ok {
			kept = append(kept, p)
		} else {
			v.pinsGone = append(v.pinsGone, p)
		}
	}
	v.setPins(kept)
}

func (v *Vault) setPins(pins []pin) {
	v.pinsMu.Lock()
	defer v.pinsMu.Unlock()
	v.pins = pins
}

// pinned returns the pins, by number. Nobody may change them.
func (v *Vault) pinned() []pin {
	v.pinsMu.Lock()
	defer v.pinsMu.Unlock()
	return v.pins
}

// keepPages lets the state's pages be kept at the sizes of all pins, and others. Of
// those that are gone a replay may make some again.
func (v *Vault) keepPages(sizes ...uint64) {
	for _, p := range v.pinned() {
		sizes = append(sizes, p.size)
	}
	for _, p := range v.pinsGone {
		if p.demand {
			sizes = append(sizes, p.size)
		}
	}
	v.pages.Keep(sizes...)
}

// asksFor reports whether a replay is to make the pages of a snapshot again: somebody
// asked for it, and they are gone.
func (v *Vault) asksFor(size uint64) bool {
	return slices.ContainsFunc(v.pinsGone, func(p pin) bool { return p.demand && p.size == size })
}

// savePins replaces the pins, on disk first: a crash between the two keeps less than
// it says, never more.
func (v *Vault) savePins(pins []pin) error {
	if slices.Equal(pins, v.pinned()) {
		return nil
	}
	if err := v.dir.Replace(pinsFile, pinsText(pins)); err != nil {
		return err
	}
	v.setPins(pins)
	v.keepPages()
	return nil
}

// addPin adds the pin of a snapshot that is about to be recorded. One of its number
// or a later one is of an attempt that was not.
func (v *Vault) addPin(p pin) error {
	pins := slices.DeleteFunc(slices.Clone(v.pinned()), func(old pin) bool { return old.number >= p.number })
	return v.savePins(append(pins, p))
}

// retainPins drops what the policy made and does not keep any more: what is more than
// SnapshotKeep, and the oldest of them as long as the pages that are there only for
// their sake take much beside those of now. Callers hold snapping.
func (v *Vault) retainPins() error {
	var kept []pin
	var policy []uint64 // sizes of the policy's
	for _, p := range v.pinned() {
		if !p.demand {
			policy = append(policy, p.size)
		}
	}
	for _, p := range v.pinned() {
		if p.demand || len(policy) <= v.opts.SnapshotKeep && !v.muchFor(policy) {
			kept = append(kept, p)
			continue
		}
		policy = policy[1:]
		if err := v.discardLists(p.number); err != nil {
			return err
		}
	}
	return v.savePins(kept)
}

// muchFor reports whether the pages that snapshots of these sizes alone need take more
// than an eighth of those of now, and not only a little.
func (v *Vault) muchFor(sizes []uint64) bool {
	extra, living := v.pages.Extra(sizes...)
	return extra > max(v.opts.snapshotBytes, living/8)
}

// discardLists removes the lists of a snapshot's pinned files. They follow from the
// log, but for the names of state pages, which go with them; and a list of all blocks
// for every snapshot would grow with the square of their number. They are gone for
// good when it returns: the pin that remembers them goes next.
func (v *Vault) discardLists(number uint64) error {
	folder := snapshotFolder(number)
	err := errors.Join(v.dir.Discard(folder+"/"+pinnedSegments), v.dir.Discard(folder+"/"+pinnedBlocks))
	if err != nil {
		return err
	}
	if err := v.dir.Sync(folder + "/" + manifestName); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// DropSnapshot lets go of the state pages and the lists of pinned files of a
// snapshot. Its record and its manifest stay, and it can still be verified: from the
// log. An unknown number is [ErrNotFound]; one that was dropped is fine.
func (v *Vault) DropSnapshot(_ context.Context, number uint64) error {
	v.snapping.Lock()
	defer v.snapping.Unlock()
	if err := v.writable(); err != nil {
		return err
	}
	if _, err := v.findSnapshot(v.View(), number); err != nil {
		return err
	}
	if err := v.discardLists(number); err != nil {
		return err
	}
	if err := v.savePins(slices.DeleteFunc(slices.Clone(v.pinned()), func(p pin) bool { return p.number == number })); err != nil {
		return err
	}
	v.keeping.Lock()
	defer v.keeping.Unlock()
	return v.pages.Collect()
}

// dropGone ends, at an open for writing, what began when pages of snapshots were
// gone, as in a rebuild: a snapshot that was asked for is kept on if the replay has
// made them again, others are not. Pages that were made again have other names and
// bytes: they are in no list.
func (v *Vault) dropGone() error {
	if len(v.pinsGone) == 0 {
		return nil
	}
	pins := slices.Clone(v.pinned())
	for _, p := range v.pinsGone {
		drop := v.discardLists
		if p.demand {
			drop = v.listWithoutPages
		}
		if err := drop(p.number); err != nil {
			return err
		}
		if _, again := v.pages.At(p.size); again && p.demand {
			pins = append(pins, p)
		}
	}
	slices.SortFunc(pins, func(a, b pin) int { return cmp.Compare(a.number, b.number) })
	v.pinsGone = nil
	if err := v.dir.Replace(pinsFile, pinsText(pins)); err != nil {
		return err
	}
	v.setPins(pins)
	v.keepPages()
	return nil
}

// listWithoutPages takes the pages of the state out of a snapshot's list.
func (v *Vault) listWithoutPages(number uint64) error {
	name := snapshotFolder(number) + "/" + pinnedSegments
	text, err := v.dir.ReadFile(name, maxPinList)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var without []byte
	for line := range strings.Lines(string(text)) {
		if _, file, ok := parseSum(strings.TrimSuffix(line, "\n")); !ok || !strings.HasPrefix(file, "state/") {
			without = append(without, line...)
		}
	}
	return v.dir.Replace(name, without)
}
