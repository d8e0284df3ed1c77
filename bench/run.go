package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// allWork are the workloads in their order within a round.
func allWork() []string {
	return []string{machineWork, commitWork, loadWork, getWork, verifyWork, openWork}
}

// run is a run under way. It belongs to one goroutine, and has one child at a time.
type run struct {
	settings
	work     string // directory: a folder for each peer
	progress io.Writer
	report   *report
}

func newRun(s settings, dir string, progress io.Writer) *run {
	return &run{settings: s, work: dir, progress: progress, report: newReport(s)}
}

// rounds does everything, until ctx is done. Failures are kept in the report: one
// peer's do not stop the others.
func (r *run) rounds(ctx context.Context) {
	start := time.Now()
	for round := range r.Rounds {
		for _, work := range allWork() {
			for _, peer := range r.Peers {
				if ctx.Err() != nil || !r.wants(work, peer) {
					continue
				}
				fmt.Fprintf(r.progress, "%6.0fs  round %d of %d: %s, %s\n", time.Since(start).Seconds(), round+1, r.Rounds, work, peer)
				if err := r.part(ctx, work, peer); err != nil {
					r.report.fail(work, peer, err)
				}
			}
		}
		for _, peer := range r.Peers {
			if err := os.RemoveAll(filepath.Join(r.work, peer)); err != nil {
				r.report.fail("removing", peer, err)
			}
		}
	}
}

// wants says whether a peer has a part in a workload. What reads the loaded store
// needs the load.
func (r *run) wants(work, peer string) bool {
	switch work {
	case machineWork:
		return peer == rawName && slices.Contains(r.Only, work)
	case verifyWork:
		return makesProofs(peer) && slices.Contains(r.Only, work)
	case loadWork:
		return slices.ContainsFunc(r.Only, func(w string) bool { return w != machineWork && w != commitWork })
	}
	return slices.Contains(r.Only, work)
}

// part is one peer's part of one workload: a child, or several.
func (r *run) part(ctx context.Context, work, peer string) error {
	t := task{Work: work, Peer: peer, N: r.Entries, Phase: r.Phase, Limit: r.Limit, Dir: r.store(peer, "loaded")}
	if work == machineWork || work == commitWork { // these have a directory for themselves
		t.Dir = r.store(peer, work)
		defer os.RemoveAll(t.Dir)
	}
	if work != machineWork {
		if err := os.MkdirAll(filepath.Dir(t.Dir), 0o755); err != nil {
			return err
		}
	}
	if err := r.child(ctx, work, t); err != nil {
		return err
	}
	switch work {
	case verifyWork:
		t.Work, t.Dir = narrowWork, r.store(peer, narrowWork)
		defer os.RemoveAll(t.Dir)
		return r.child(ctx, work, t)
	case openWork:
		return r.killed(ctx, t)
	}
	return nil
}

// killed opens the loaded store again after a process that added to it was killed.
func (r *run) killed(ctx context.Context, t task) error {
	t.Held = max(t.N/10, 1)
	t.Work = holdWork
	if _, err := runChild(ctx, t); err != nil {
		return err
	}
	t.Work = openWork
	return r.child(ctx, openWork, t)
}

func (r *run) child(ctx context.Context, work string, t task) error {
	metrics, err := runChild(ctx, t)
	for _, m := range metrics {
		r.report.add(work, t.Peer, m)
	}
	return err
}

func (r *run) store(peer, name string) string { return filepath.Join(r.work, peer, name) }
