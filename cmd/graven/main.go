// Command graven keeps files in a tamper-evident ledger and proves what it
// holds.
//
// Data goes to standard output, talk and progress to standard error. Exit
// codes: 0 done; 1 verification failed, or damage was found; 2 wrong use; 3 not
// found; 4 denied; 5 unavailable: locked, full, poisoned; 6 a precondition does
// not hold; 7 any other error.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// A second signal ends the process at once: the first may have to wait for a disk.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
