package graven

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"graven/internal/fsx"
	"graven/record"
)

// What a check reads longest are the sealed blocks, which never change. Those that it
// has verified stand in meta/host/check while it is under way, so that one that was
// interrupted can go on:
//
//	graven check 1
//	began 2026-01-02T03:04:05Z
//	block sha256:…           verified since then, one a line
//
// Log, tiles, open blocks and the state are read anew: what has been verified of them
// hangs on what the log was then. A file that does not parse is as none.
const (
	checkFile    = "meta/host/check"
	checkHead    = "graven check 1\n"
	maxCheckFile = 256 << 20
	checkSave    = 1 << 30 // bytes of blocks that may have to be read again
)

// checkRun is what is kept of a check under way.
type checkRun struct {
	began    time.Time
	verified map[record.ID]bool
	unsaved  int64 // bytes of blocks
	skipped  int   // blocks that were verified before
}

// beginRun starts a run, or goes on with one that was interrupted. Blocks that
// whoever made the checker has verified stand in it already.
func (c *checker) beginRun() error {
	if c.progress.verified == nil {
		c.progress.verified = map[record.ID]bool{}
	}
	if c.live == nil {
		if c.opts.Resume {
			c.note("an interrupted check goes on only where this process may write; this one begins anew")
		}
		return nil
	}
	if c.opts.Resume {
		text, err := c.dir.ReadFile(checkFile, maxCheckFile)
		if err == nil {
			if run, err := parseCheckRun(text); err == nil {
				c.progress = run
				c.note("going on with the check that began at %s: %d sealed blocks were verified", run.began.Format(time.RFC3339), len(run.verified))
				return nil
			}
		}
		c.note("no interrupted check was found; this one begins anew")
	}
	c.progress.began = c.live.host.Now()
	return c.dropRun()
}

// verifiedBefore reports whether the run has verified a sealed block already.
func (c *checker) verifiedBefore(b record.Block) bool {
	if c.progress.verified[b.ID] {
		c.progress.skipped++
		return true
	}
	return false
}

// verifiedNow remembers a sealed block that is whole.
func (c *checker) verifiedNow(b record.Block) error {
	if c.live == nil || c.opts.Quick {
		return nil
	}
	c.progress.verified[b.ID] = true
	if c.progress.unsaved += int64(b.Size); c.progress.unsaved < checkSave {
		return nil
	}
	return c.saveRun()
}

// saveRun writes down how far the run has come.
func (c *checker) saveRun() error {
	if c.live == nil || c.live.ended.Load() || c.live.writable() != nil || len(c.progress.verified) == 0 {
		return nil
	}
	text := fmt.Appendf([]byte(checkHead), "began %s\n", timeOrDash(c.progress.began))
	for _, b := range c.blocks { // in order, so that the file reads well
		if c.progress.verified[b.ID] {
			text = fmt.Appendf(text, "block %v\n", b.ID)
		}
	}
	c.progress.unsaved = 0
	return c.dir.Replace(checkFile, text)
}

// endRun lets go of a run that came to its end, and keeps one that did not.
func (c *checker) endRun(err error) error {
	if err != nil {
		return c.saveRun()
	}
	if c.live == nil || c.live.ended.Load() {
		return nil
	}
	return c.dropRun()
}

func (c *checker) dropRun() error {
	err := c.dir.Discard(checkFile)
	if errors.Is(err, fsx.ErrNotEmpty) {
		err = fmt.Errorf("%s: %w", checkFile, fsx.ErrFolder)
	}
	return err
}

func parseCheckRun(text []byte) (checkRun, error) {
	run := checkRun{verified: map[record.ID]bool{}}
	rest, ok := bytes.CutPrefix(text, []byte(checkHead))
	if !ok || !bytes.HasSuffix(text, []byte{'\n'}) {
		return run, fmt.Errorf("%s: wanted a file that begins with %q", checkFile, checkHead)
	}
	lines := bufio.NewScanner(bytes.NewReader(rest))
	for n := 2; lines.Scan(); n++ {
		field, value, _ := strings.Cut(lines.Text(), " ")
		var err error
		switch {
		case n == 2 && field == "began":
			run.began, err = time.Parse(time.RFC3339Nano, value)
		case n > 2 && field == "block":
			var id record.ID
			id, err = record.ParseID(value)
			run.verified[id] = true
		default:
			err = fmt.Errorf("got field %q", field)
		}
		if err != nil {
			return run, fmt.Errorf("%s, line %d: %w", checkFile, n, err)
		}
	}
	if run.began.IsZero() {
		return run, fmt.Errorf("%s: it does not say when the check began", checkFile)
	}
	return run, lines.Err()
}
