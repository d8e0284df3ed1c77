package graven

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"

	"graven/internal/block"
	"graven/internal/journal"
	"graven/internal/tilestore"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

// checkTiles compares every tile with the leaves of the log. Tiles are derived:
// with mend, what differs is made again.
func (c *checker) checkTiles() error {
	if c.treeLost {
		return nil // the damage that was found says why; nothing tells what the tiles should be
	}
	c.report.Tiles = merkle.FullTiles(0, c.report.Size)
	tiles, leaves := c.tiles, c.leaves
	mend := c.live != nil && c.broken == noLimit
	if mend {
		// There may be tiles of records that are not published yet: the vault's
		// own room knows of them, and nobody else may change them.
		tiles, leaves = c.live.tiles, c.live.leaves
	} else if err := c.growTiles(); err != nil {
		c.find("tile", -1, "%v", err)
		return nil
	}
	// A tile is mended only from a log that is whole: against a damaged one it is
	// a witness.
	err := tiles.Check(leaves, mend, func(f tilestore.Finding) {
		if f.Kind == tilestore.Beyond && c.live == nil && c.limit != noLimit {
			return // of records that were not looked at
		}
		what := f.Err.Error()
		if f.Failed != nil {
			what += "; it could not be mended: " + f.Failed.Error()
		}
		c.add(Finding{File: f.File, Offset: -1, What: what, Mended: f.Mended})
	})
	if err != nil {
		c.find("tile", -1, "%v", err)
	}
	c.checkLostTiles()
	return c.ctx.Err()
}

// checkCheckpoint verifies the published checkpoint and holds it against the log.
func (c *checker) checkCheckpoint() error {
	head := c.head
	if errors.Is(c.headErr, fs.ErrNotExist) {
		return nil // derived; a command that writes publishes one
	}
	if c.headErr != nil {
		c.find("checkpoint", -1, "%v", c.headErr)
		return nil
	}
	if head.Origin != c.genesis.Origin {
		c.find("checkpoint", -1, "it is of origin %q, this is %q", head.Origin, c.genesis.Origin)
	}
	if head.Size > c.report.Size && !c.treeLost {
		c.find("checkpoint", -1, "it is of size %d, the log holds %d records", head.Size, c.report.Size)
		return nil
	}
	if head.Size > c.grown {
		return nil
	}
	root := c.headRoot
	if root == head.Root {
		return nil
	}
	// The signature is good, so the log is not. Whatever differs before the last
	// commit line contradicts that line and was found; else it is the line itself.
	for _, last := range slices.Backward(c.atHead) {
		if last.seq < head.Size {
			c.find(logName(last.at.File), last.at.Offset, "record %d: with it the first %d records have root %v, the signed checkpoint says %v", last.seq, head.Size, root, head.Root)
			c.broken = min(c.broken, last.seq)
			return nil
		}
	}
	c.find("checkpoint", -1, "at size %d it has root %v, the log gives %v", head.Size, head.Root, root)
	return nil
}

// checkBlocks hashes every block and artifact, and checkState replays the
// transactions: both on rooms of their own, opened for reading.
func (c *checker) checkBlocks() (err error) {
	v := &Vault{name: c.report.Vault, dir: c.dir, genesis: c.genesis, opts: Options{ReadOnly: true}.withDefaults()}
	v.audit = &audit{chunked: map[chunkedValue]uint64{}}
	defer func() { _ = v.closeRooms() }()
	defer func() { err = errors.Join(err, c.dropScratch()) }()
	if v.blocks, err = block.Open(c.dir.Sub("blocks"), c.genesis.Vault); err != nil {
		c.find("blocks", -1, "%v", err)
		return nil
	}
	damage := func(d *block.Damage) {
		c.add(Finding{File: d.File, Offset: d.Offset, What: damageText(d)})
	}
	for _, rec := range c.blocks {
		c.report.Blocks++
		// What is wrong with the file as a whole CheckSealed says in detail.
		err := v.blocks.LoadSealed(rec)
		if c.opts.Quick {
			if err != nil {
				c.find("", -1, "%v", err)
			}
			continue
		}
		if err == nil && c.verifiedBefore(rec) {
			continue
		}
		before := len(c.report.Findings)
		v.blocks.CheckSealed(rec, damage)
		if err == nil && before == len(c.report.Findings) {
			if err := c.verifiedNow(rec); err != nil {
				return err
			}
		}
		if err := c.read(int64(rec.Size)); err != nil {
			return err
		}
	}
	if err := v.blocks.LoadFound(); err != nil {
		c.find("blocks/open", -1, "%v", err)
	}
	v.blocks.CheckNames(damage, c.checkUnnamed)
	// The record of a sealed block may lie behind those that are looked at, or be
	// the one that is damaged.
	if c.limit != noLimit || c.broken != noLimit {
		v.blocks.LoadUnnamed()
	}
	if err := c.checkState(v); err != nil {
		return err
	}
	for _, b := range v.blocks.OpenBlocks() {
		c.report.Blocks++
		if c.opts.Quick {
			continue
		}
		info, err := c.dir.Stat(fmt.Sprintf("blocks/open/%s-%08d.blk", b.Class, b.Number))
		if c.limit != noLimit && errors.Is(err, fs.ErrNotExist) {
			continue // it was sealed meanwhile, and verified for that
		}
		v.blocks.CheckOpen(b.Class, b.Number, b.Count, damage)
		if err := c.read(info.Size); err != nil {
			return err
		}
	}
	if !c.opts.Quick {
		v.blocks.CheckHealed(damage)
	}
	c.sayMissed(v.audit.missing)
	artifacts, _ := v.blocks.Stats()
	c.report.Artifacts = artifacts
	return c.checkChunked(v)
}

// sayMissed lists the artifacts that a replay missed. Behind a frame that cannot
// be read a block is closed to it: all that is missed for that is one damage.
func (c *checker) sayMissed(all []missed) {
	type behind struct {
		artifacts, records int
		first, last        uint64
	}
	frames := map[block.Damage]*behind{}
	var order []block.Damage
	for _, m := range all {
		var d *block.Damage
		if !errors.Is(m.err, block.ErrMissing) || !errors.As(m.err, &d) {
			c.find("", -1, "%v", m.err)
			continue
		}
		b := frames[*d]
		if b == nil {
			b = &behind{first: m.seq}
			frames[*d] = b
			order = append(order, *d)
		}
		if b.artifacts++; b.records == 0 || b.last != m.seq {
			b.records++
		}
		b.last = m.seq
	}
	for _, d := range order {
		b := frames[d]
		c.find(d.File, d.Offset, "%s; %d values of %d records (%d to %d) are not found, which stood behind it; bring the file back from a copy", damageText(&d), b.artifacts, b.records, b.first, b.last)
	}
}

// checkChunked puts chunked values together: sound chunks may still not make
// the value that a record names.
func (c *checker) checkChunked(v *Vault) error {
	if c.opts.Quick {
		return c.ctx.Err()
	}
	for _, it := range slices.SortedFunc(maps.Keys(v.audit.chunked), func(x, y chunkedValue) int {
		return cmp.Compare(v.audit.chunked[x], v.audit.chunked[y])
	}) {
		value, err := v.blocks.OpenValue(it.list, it.whole, it.size)
		if err == nil {
			_, err = value.WriteTo(reading{c})
		}
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		if err != nil && !errors.Is(err, block.ErrDamaged) { // those were found where they lie
			c.find("", -1, "record %d: value %v: %v", v.audit.chunked[it], it.whole, err)
		}
	}
	return c.ctx.Err()
}

// reading counts bytes as read.
type reading struct{ c *checker }

func (r reading) Write(p []byte) (int, error) { return len(p), r.c.read(int64(len(p))) }

// checkUnnamed verifies a sealed block that no record names yet: its name is
// its hash.
func (c *checker) checkUnnamed(id record.ID) {
	if c.opts.Quick {
		return
	}
	name := "blocks/sealed/" + id.Hex()[:2] + "/" + id.Hex() + ".blk"
	f, err := c.dir.Open(name)
	if err != nil {
		c.find(name, -1, "%v", err)
		return
	}
	defer f.Close()
	h := sha256.New()
	size, err := f.Size()
	if err == nil {
		_, err = io.Copy(h, io.NewSectionReader(f, 0, size))
	}
	if err != nil {
		c.find(name, -1, "%v", err)
	} else if got := record.ID(h.Sum(nil)); got != id {
		c.find(name, -1, "its SHA-256 is %v, which is not its name", got)
	}
}

// checkDocuments compares the keys and the copies of documents in meta with the
// documents themselves. whole says that the policy in force is known.
func (c *checker) checkDocuments(v *Vault, whole bool) {
	for i, name := range []string{logPub, cosignerPub} {
		if i < len(v.vkeys) {
			c.derived(name, []byte(v.vkeys[i]+"\n"), false)
		}
	}
	if doc, err := v.artifact(c.genesis.Authority); err == nil { // if not, that was said already
		c.derived(authorityFile, append(slices.Clone(doc), '\n'), true)
	}
	if whole {
		c.derivedNow(policyFile, append(slices.Clone(v.tip.policy.text), '\n'), true)
	}
	if c.opts.Rebuild && c.live != nil {
		c.derivedNow("log/current", []byte(journal.Name(c.lastFile)+"\n"), true)
	}
	c.checkSigner(logKey, v.vkeys, func(text string) (string, error) {
		s, err := proof.NewSigner(text)
		if err != nil {
			return "", err
		}
		return s.VKey(), nil
	})
	c.checkSigner(cosignerKey, v.vkeys, func(text string) (string, error) {
		s, err := newCosigner(text)
		if err != nil {
			return "", err
		}
		return s.VKey(), nil
	})
}

// checkSigner looks at a signing key, if it is here: copies for readers go without.
func (c *checker) checkSigner(name string, vkeys []string, open func(string) (string, error)) {
	b, err := c.dir.ReadFile(name, 8192)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return
	}
	if err != nil {
		c.find(name, -1, "%v", err)
		return
	}
	if info, err := c.dir.Stat(name); err == nil && !info.Private {
		c.find(name, -1, "others can read it; take their rights away (chmod 600) and consider the key exposed")
	}
	text, line := string(b), len(b) > 0 && b[len(b)-1] == '\n'
	if line {
		text = text[:len(text)-1]
	}
	vkey, err := open(text)
	if err != nil || !line {
		c.find(name, -1, "it is no signing key: %v", err)
	} else if !slices.Contains(vkeys, vkey) {
		c.find(name, -1, "its verifier key %s is not in the authority", vkey)
	}
}

// damageText says what is wrong with a block without its place.
func damageText(d *block.Damage) string {
	what := d.What
	if d.ID != (record.ID{}) {
		what += " " + d.ID.String()
	}
	return fmt.Sprintf("%s: wanted %s, got %s", what, d.Wanted, d.Got)
}
