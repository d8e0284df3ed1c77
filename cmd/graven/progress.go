package main

import (
	"fmt"
	"io"
	"time"
)

// progress tells how far a long command is, on standard error: on a terminal
// often and in place, elsewhere every few seconds on a line of its own.
type progress struct {
	w       io.Writer
	what    string
	term    bool
	start   time.Time
	shown   time.Time
	visible bool
}

func (a *app) newProgress(what string) *progress {
	return &progress{w: a.err, what: what, term: isTerminal(a.err), start: time.Now(), shown: time.Now()}
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
	text := p.what
	if items > 0 {
		text += fmt.Sprintf(" %d files,", items)
	}
	spent := now.Sub(p.start).Seconds()
	text += fmt.Sprintf(" %s of %s, %s/s", formatBytes(done), formatBytes(total), formatBytes(int64(float64(done)/spent)))
	if done > 0 && total > done {
		left := time.Duration(spent * float64(total-done) / float64(done) * float64(time.Second))
		text += fmt.Sprintf(", %v left", left.Round(time.Second))
	}
	if p.term {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
		p.visible = true
		return
	}
	fmt.Fprintln(p.w, text)
}

// end clears the line that show left on a terminal.
func (p *progress) end() {
	if p.visible {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
