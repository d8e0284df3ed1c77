package graven

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"graven/merkle"
	"graven/rescue"
)

// The open that comes before a check makes derived files again, as every open
// does, without a word. Who checks wants to know: so the check looks at them
// before, and says what has become of them.

// formerFile is what was read of a file before the open.
type formerFile struct {
	content []byte
	err     error
}

// maxSetAside bounds what is read of a derived file, and kept if it is replaced.
const maxSetAside = 16 << 20

// lookBefore remembers the derived files that an open may make again.
func (c *checker) lookBefore() {
	names := []string{"checkpoint", logPub, cosignerPub}
	mark, clean := readClean(c.dir)
	if clean { // a crash may honestly leave an older policy
		names = append(names, policyFile)
	}
	c.former = map[string]formerFile{}
	for _, name := range names {
		content, err := c.dir.ReadFile(name, maxSetAside)
		c.former[name] = formerFile{content, err}
	}
	if clean { // a crash may honestly leave less of them
		c.formerIndex = append(c.namesBelow("index"), c.namesBelow("state")...)
	}
	c.formerTiles, c.tilesTo = c.namesBelow("tile"), max(mark, checkpointSize(c.dir))
}

// namesBelow lists the files below a folder. What cannot be read has none.
func (c *checker) namesBelow(folder string) []string {
	names := []string{}
	entries, _ := c.dir.ReadDir(folder)
	for _, e := range entries {
		if name := folder + "/" + e.Name; e.Dir {
			names = append(names, c.namesBelow(name)...)
		} else {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// sayRemade lists the files that the open has made again.
func (c *checker) sayRemade(v *Vault) {
	for _, name := range []string{"checkpoint", logPub, cosignerPub, policyFile} {
		was, looked := c.former[name]
		now, err := c.dir.ReadFile(name, maxSetAside)
		if !looked || err != nil || was.err == nil && bytes.Equal(was.content, now) {
			continue
		}
		what := "it was not what follows from log and blocks"
		switch {
		case errors.Is(was.err, fs.ErrNotExist):
			what = "it was missing"
		case was.err != nil:
			what = was.err.Error()
		case name == "checkpoint":
			_, err := openNote(was.content, v.ownKeys()...)
			if err == nil {
				continue // an older one, to which the open has added
			}
			what = err.Error()
		}
		c.mended(name, what+"; it was made again")
	}
}

// sayLost lists the files of index and state that were missing before the open, which
// makes them again without a word. Where all are missing they are one finding.
func (c *checker) sayLost(folder string) {
	if c.formerIndex == nil {
		return
	}
	names := c.namesBelow(folder)
	was := func(name string) bool { return slices.Contains(c.formerIndex, name) }
	if lost := len(names); lost > 0 && !slices.ContainsFunc(c.formerIndex, func(f string) bool { return strings.HasPrefix(f, folder+"/") }) {
		c.mended(folder, fmt.Sprintf("it had no files; %d were made again", lost))
		return
	}
	for _, name := range names {
		if folder == "index" && !was(name) { // sets of pages have other names when they come again
			c.mended(name, "it was missing")
		}
	}
}

// checkLostTiles says which tiles the open had to write although they had been
// written. Where nothing was written they are missed by nobody: a reader takes
// the hashes from the log.
func (c *checker) checkLostTiles() {
	if c.formerTiles == nil {
		return
	}
	var lost []string
	size := min(c.tilesTo, c.report.Size)
	for level := uint8(0); merkle.FullTiles(level, size) > 0; level++ {
		for n := range merkle.FullTiles(level, size) {
			name := merkle.TileID{Level: level, Index: n}.Path()
			if _, there := slices.BinarySearch(c.formerTiles, name); !there {
				lost = append(lost, name)
			}
		}
	}
	switch {
	case len(lost) == 0:
	case c.live == nil:
		c.note("%d tiles are missing, the first is %s; a command that writes makes them again", len(lost), lost[0])
	case len(lost) == 1:
		c.mended(lost[0], "it was missing; it was made again")
	default:
		c.mended("tile", fmt.Sprintf("%d tiles were missing, the first was %s; they were made again", len(lost), lost[0]))
	}
}

// mended notes a derived file that was not as it should be and now is.
func (c *checker) mended(name, what string) {
	c.add(Finding{File: name, Offset: -1, What: what, Mended: true})
}

// derived compares a derived file with what it must be, and with Rebuild, or if
// always, makes it again where the log is whole and the vault can be written.
func (c *checker) derived(name string, want []byte, always bool) {
	if c.live != nil {
		c.live.settling.Lock()
		defer c.live.settling.Unlock()
		if c.live.ended.Load() {
			return // the files may be another process's by now
		}
	}
	c.compare(name, want, always)
}

// derivedNow is derived for a file that follows the log's end: it is left alone if
// the log has grown since.
func (c *checker) derivedNow(name string, want []byte, always bool) {
	if c.live == nil {
		if c.limit == noLimit || c.mirror != nil && !c.mirror.longer {
			c.compare(name, want, always)
		}
		return
	}
	c.live.settling.Lock()
	defer c.live.settling.Unlock()
	c.live.filing.Lock()
	defer c.live.filing.Unlock()
	if !c.live.ended.Load() && c.live.journal.Next() == c.limit {
		c.compare(name, want, always)
	}
}

// compare is derived for who holds what keeps the file as it is.
func (c *checker) compare(name string, want []byte, always bool) {
	got, err := c.dir.ReadFile(name, maxSetAside)
	if err == nil && bytes.Equal(got, want) {
		return
	}
	f := Finding{File: name, Offset: -1, What: "it is not what follows from log and blocks"}
	if errors.Is(err, fs.ErrNotExist) {
		f.What = "it is missing"
	} else if err != nil {
		f.What = err.Error()
	}
	if v := cmp.Or(c.live, c.mirror); v != nil && c.broken == noLimit && (always || c.opts.Rebuild) {
		if err := v.replaceDerived(name, got, want); err != nil {
			f.What += "; it could not be made again: " + err.Error()
		} else {
			f.Mended = true
		}
	}
	c.add(f)
}

// replaceDerived makes a derived file again. What stood in its place and could be
// read is set aside: how it came there may be worth knowing.
func (v *Vault) replaceDerived(name string, old, text []byte) error {
	if err := v.setAside(path.Base(name), old); err != nil {
		return err
	}
	return v.dir.Replace(name, text)
}

// checkRescue looks whether the vault can still be read without the program. An
// older or newer program writes other texts, so another is no damage; a rebuild
// writes those of this program.
func (c *checker) checkRescue() error {
	readme, script := rescue.Files()
	c.checkText("README.txt", readme)
	c.checkText("rescue.sh", script)
	return nil
}

func (c *checker) checkText(name string, want []byte) {
	got, err := c.dir.ReadFile(name, maxSetAside)
	if !c.opts.Rebuild && err == nil && !bytes.Equal(got, want) {
		c.note("%s is not what this version of the program writes; do not run a script that nobody knows; graven rebuild writes it again", name)
		return
	}
	c.derived(name, want, false)
}
