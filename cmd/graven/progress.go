package main

import (
	"fmt"
	"io"
	"time"
)

// progress tells how far a long command is, on standard error: on a terminal
// often and in place, elsewhere every few seconds on a line of its own.
type progress struct {
	w     io.Writer
	what  string
	term  bool
	start time.Time
	shown time.Time
	line  bool // a line stands on the terminal that must be cleared
}

func (a *app) newProgress(what string) *progress {
	now := time.Now()
	a.bar = &progress{w: a.err, what: what, term: isTerminal(a.err), start: now, shown: now}
	return a.bar
}

// show tells items and bytes done so far, of total bytes.
func (p *progress) show(items int, done, total int64) {
	every := 5 * time.Second
	if p.term {
		every = 200 * time.Millisecond
	}
	now := time.Now()
	if now.Sub(p.shown) < every {
		return
	}
	p.shown = now
	text := p.text(items, done, total, now.Sub(p.start))
	if !p.term {
		fmt.Fprintln(p.w, text)
		return
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", text)
	p.line = true
}

// text is one line: what, how much, the rate, and the time that is left at it.
func (p *progress) text(items int, done, total int64, spent time.Duration) string {
	text := p.what
	if items > 0 {
		text += fmt.Sprintf(" %d files,", items)
	}
	rate := float64(done) / spent.Seconds()
	text += fmt.Sprintf(" %s of %s, %s/s", formatBytes(done), formatBytes(total), formatBytes(int64(rate)))
	if done > 0 && total > done {
		left := time.Duration(float64(total-done) / rate * float64(time.Second))
		text += fmt.Sprintf(", %v left", left.Round(time.Second))
	}
	return text
}

// end clears the line that show left on a terminal.
func (p *progress) end() {
	if p.line {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.line = false
	}
}
