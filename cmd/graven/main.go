// Command graven keeps files in a tamper-evident ledger and proves what it
// holds.
//
//	graven init                          make a store with vault "main" in ./graven-data
//	graven put notes/today notes.txt     a receipt: seq=2 size=4 root=…
//	graven get notes/today --at 2h       as it was two hours ago
//	graven prove notes/today --out p     a proof of it, or of its absence
//	graven verify p --vkey @key.txt      anywhere, without the store
//
// Data goes to standard output, talk and progress to standard error. Every
// setting is a flag, a variable GRAVEN_… or a line of a TOML file (config.go).
// Exit codes stand in exit.go.
//
// The command holds no rules of its own about the ledger: it turns words into
// calls of packages local, graven and proof, and their answers into words. It
// is run in one process by run, so that a test or the demonstration can do the
// same.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

func main() {
	// A broken pipe is an error of the write, so that the store is closed in
	// order before the command ends without a word.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(run(untilSignal(context.Background()), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// signalError is why a context ended: somebody asked the process to.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string { return fmt.Sprintf("interrupted by %v", e.signal) }

// code is what a shell makes of a process that a signal ended.
func (e signalError) code() int { return 128 + int(e.signal) }

// untilSignal is a context that the first interrupt or request to terminate
// ends: a transaction under way is then finished and nothing new begun. The
// second ends the process at once, for the first may have to wait for a disk.
// Signals that somebody has diverted count as neither.
func untilSignal(parent context.Context) context.Context {
	in := &interrupts{}
	ctx, cancel := context.WithCancelCause(context.WithValue(parent, interruptsKey{}, in))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		var first syscall.Signal
		for s := range signals {
			switch {
			case in.diverted(s):
			case first != 0:
				os.Exit(signalError{first}.code())
			default:
				first, _ = s.(syscall.Signal)
				cancel(signalError{first})
			}
		}
	}()
	return ctx
}

// interrupts leads the signals of untilSignal to somebody else for a while: a
// command that runs on a terminal of its own decides what they mean, and to end
// at once would leave our terminal in a mode that no shell expects.
type interrupts struct {
	mu sync.Mutex
	to chan<- os.Signal // nil: they are for the context
}

type interruptsKey struct{}

// divert sends the signals to a channel, or with nil back to the context. A
// context that did not come from untilSignal has none.
func divert(ctx context.Context, to chan<- os.Signal) {
	if in, ok := ctx.Value(interruptsKey{}).(*interrupts); ok {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.to = to
	}
}

func (in *interrupts) diverted(s os.Signal) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.to == nil {
		return false
	}
	select {
	case in.to <- s:
	default: // as with signal.Notify, who does not keep up misses some
	}
	return true
}
