package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	childIfAsked()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	Entries uint64        `json:"entries"` // in the loaded store
	Rounds  int           `json:"rounds"`
	Phase   time.Duration `json:"phase_ns"` // of each timed phase
	Limit   time.Duration `json:"limit_ns"` // of each child process
	Peers   []string      `json:"peers"`
	Only    []string      `json:"workloads"`

	dir  string // where the stores are made, in a directory of their own
	json string // file for all figures; empty: none
}

// short and full are the two forms of a run: three minutes and about half an hour on two cores.
var (
	short = settings{Entries: 100_000, Rounds: 3, Phase: time.Second, Limit: 2 * time.Minute}
	full  = settings{Entries: 1_000_000, Rounds: 5, Phase: 5 * time.Second, Limit: 20 * time.Minute}
)

// parse reads the flags. Those that are given win over the form.
func parse(args []string, complaints io.Writer) (settings, error) {
	form := short
	if slices.Contains(args, "-full") || slices.Contains(args, "--full") {
		form = full
	}
	s := form
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(complaints)
	flags.Bool("full", false, "the long form: 1,000,000 entries, 5 rounds, phases of 5s")
	flags.Uint64Var(&s.Entries, "n", form.Entries, "entries of the loaded store")
	flags.IntVar(&s.Rounds, "rounds", form.Rounds, "rounds; the table shows medians over them")
	flags.DurationVar(&s.Phase, "phase", form.Phase, "length of each timed phase")
	flags.DurationVar(&s.Limit, "limit", form.Limit, "most time for each peer's part of each workload")
	peers := flags.String("peers", strings.Join(defaultPeers(), ","), "peers, of "+strings.Join(allPeers(), ", ")+"; the first one is compared with the others")
	only := flags.String("only", strings.Join(allWork(), ","), "workloads; get, verify and open do the load first")
	flags.StringVar(&s.dir, "dir", os.TempDir(), "directory for the stores, on the disk that is to be measured")
	flags.StringVar(&s.json, "json", "", "file for all figures of all rounds")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	var err error
	if s.Peers, err = choose("peer", *peers, allPeers()); err != nil {
		return s, err
	}
	if s.Only, err = choose("workload", *only, allWork()); err != nil {
		return s, err
	}
	if s.Entries < 10 || s.Rounds < 1 || s.Phase <= 0 || s.Limit <= 0 {
		return s, errors.New("wanted: -n of 10 or more, -rounds of 1 or more, -phase and -limit above 0")
	}
	return s, nil
}

// choose splits a list of names, each of which must be known.
func choose(what, list string, known []string) ([]string, error) {
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("no %s %q: there are %s", what, name, strings.Join(known, ", "))
		}
	}
	return names, nil
}

// bench does a whole run and writes the table to out, what is going on to progress.
func bench(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	s, err := parse(args, progress)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.dir, "graven-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := newRun(s, dir, progress)
	r.rounds(ctx)
	r.report.Machine = describeMachine(dir)
	if err := r.report.writeTable(out); err != nil {
		return err
	}
	if s.json != "" {
		if err := r.report.writeJSON(s.json); err != nil {
			return err
		}
	}
	if n := len(r.report.Failures); n > 0 {
		return fmt.Errorf("%d parts failed: see below the table", n)
	}
	return ctx.Err()
}
