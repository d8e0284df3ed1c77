package graven

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// A scrubber reads a whole vault again and again, each time over a set period, so
// that what rots is found while there is still a copy of it. It goes through the
// stations of scrub_walk.go in order, a little at a time. How far it has come and
// what it has found stands in meta/host/scrub, so it goes on after a restart.
//
// Damaged truth is reported and never touched. Derived data that is damaged is made
// again.
//
// It reads beside everything else and holds no lock while it reads or waits; only
// what is damaged it looks at once more, and mends, under the lock of whoever else
// writes that file.
type scrubber struct {
	v    *Vault
	gone chan struct{} // closed when its goroutine has ended

	// Of the goroutine that scrubs:
	debt    float64   // bytes that were read and are not waited for
	derived int64     // bytes of derived files, when they were last counted
	saved   time.Time // when the file was last replaced
	dirty   bool      // something has changed since

	mu     sync.Mutex // guards what follows
	loaded bool       // the file was read
	state  scrubState
}

// scrubState is what meta/host/scrub says.
type scrubState struct {
	started  time.Time // of the pass under way, or the last one if it is over; zero: there was none
	finished time.Time // of the last whole pass; zero: there was none
	read     int64     // bytes, in the pass under way
	total    int64     // about, of a pass
	station  string    // where it is; "" between two passes
	after    string    // what of the station is done: a name, or a number of records
	findings []scrubFinding
	more     int // findings that had no room
}

// scrubFinding is a finding, and whether the pass under way has met it.
type scrubFinding struct {
	Finding
	fresh bool
}

const (
	scrubFile     = "meta/host/scrub"
	maxFindings   = 100
	scrubQuantum  = 64 << 10        // bytes that are read before they are waited for
	scrubSlice    = time.Minute     // the longest single wait: the pace may have to change
	scrubSave     = 5 * time.Minute // between two writes of the file
	scrubPatience = time.Minute     // before the first look: short commands should not scrub
)

// ScrubStatus says how far the reading of the whole vault over time has come.
type ScrubStatus struct {
	Period   time.Duration // of one pass; 0: this process does not scrub
	Started  time.Time     // of the pass under way, or of the last one; zero: there was none yet
	Finished time.Time     // of the last whole pass; zero: there was none yet
	Done     float64       // share of the pass under way, 0 to 1; 1 between two passes
	// Findings of the pass under way and of the one before, at most 100, and how
	// many more there were.
	Findings []Finding
	More     int
}

func newScrubber(v *Vault) *scrubber {
	return &scrubber{v: v, gone: make(chan struct{})}
}

// load reads what an earlier process has left. Callers hold mu. A process that only
// reads looks each time: another one may be scrubbing.
func (s *scrubber) load() {
	if s.loaded && s.v.readOnly == "" {
		return
	}
	s.loaded, s.state = true, readScrub(s.v.dir)
	for i := range s.state.findings {
		s.state.findings[i].fresh = true // since when is not known: they stay for this pass
	}
}

// runs reports whether this process scrubs.
func (s *scrubber) runs() bool {
	v := s.v
	return v.readOnly == "" && v.opts.ScrubPeriod > 0 && v.host.After != nil
}

// status describes the scrubber now. A process that only reads says what the file says.
func (s *scrubber) status() ScrubStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	st := ScrubStatus{Started: s.state.started, Finished: s.state.finished, More: s.state.more}
	if s.runs() {
		st.Period = s.v.opts.ScrubPeriod
	}
	for _, f := range s.state.findings {
		st.Findings = append(st.Findings, f.Finding)
	}
	switch {
	case s.state.started.IsZero():
	case s.state.station == "":
		st.Done = 1
	case s.state.total > 0:
		st.Done = min(float64(s.state.read)/float64(s.state.total), 0.99)
	}
	return st
}

// total is about how many bytes a pass reads. Log and blocks are asked for each
// time, since they grow.
func (s *scrubber) total() int64 {
	_, blocks := s.v.blocks.Stats()
	return s.v.journal.Bytes() + blocks + s.derived
}

// loop scrubs until the vault closes.
func (s *scrubber) loop(ctx context.Context) {
	defer close(s.gone)
	defer s.save()
	if s.sleep(ctx, scrubPatience) != nil {
		return
	}
	for ctx.Err() == nil {
		s.mu.Lock()
		s.load()
		next := s.state.started.Add(s.v.opts.ScrubPeriod)
		if s.state.station != "" || s.state.started.IsZero() {
			next = time.Time{} // go on
		}
		s.mu.Unlock()
		if now := s.v.host.Now(); now.Before(next) {
			_ = s.sleep(ctx, min(next.Sub(now), time.Hour)) // the clock may jump
			continue
		}
		if err := s.pass(ctx); err != nil && ctx.Err() == nil {
			s.v.opts.Logger.Error("scrub", "vault", s.v.name, "err", err)
			_ = s.sleep(ctx, time.Hour)
		}
	}
}

// pass reads what is left of a pass, or the whole vault in a new one. The error is
// ctx's; what else goes wrong is a finding.
func (s *scrubber) pass(ctx context.Context) error {
	c := checker{dir: s.v.dir}
	s.derived = c.sizeOf("index") + c.sizeOf("state") + c.sizeOf("tile")
	s.begin()
	for _, st := range stations() {
		s.mu.Lock()
		here, after := s.state.station == st.name, s.state.after
		s.mu.Unlock()
		if !here {
			continue
		}
		if err := st.walk(s, ctx, after); err != nil {
			return err
		}
		s.enter(st.next)
	}
	s.save()
	return nil
}

// begin begins a new pass if none is under way.
func (s *scrubber) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	if slices.ContainsFunc(stations(), func(st station) bool { return st.name == s.state.station }) {
		return
	}
	s.dirty = true
	s.state.started, s.state.read, s.state.total = s.v.host.Now(), 0, s.total()
	s.state.station, s.state.after = stations()[0].name, ""
	for i := range s.state.findings {
		s.state.findings[i].fresh = false
	}
}

// enter goes to the next station; "" ends the pass: what it did not meet again has
// been put right.
func (s *scrubber) enter(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
	s.state.station, s.state.after = name, ""
	if name != "" {
		return
	}
	s.state.finished = s.v.host.Now()
	s.state.findings = slices.DeleteFunc(s.state.findings, func(f scrubFinding) bool { return !f.fresh })
	s.state.more = 0
}

// did notes what of a station is done.
func (s *scrubber) did(after string) {
	s.mu.Lock()
	s.state.after, s.dirty = after, true
	s.mu.Unlock()
	if now := s.v.host.Now(); now.Sub(s.saved) >= scrubSave {
		s.save()
	}
}

// find notes a finding, and logs it if it is new.
func (s *scrubber) find(f Finding) {
	f.What = strings.ReplaceAll(f.What, "\n", "; ")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
	for i := range s.state.findings {
		if s.state.findings[i].Finding == f {
			s.state.findings[i].fresh = true
			return
		}
	}
	log := s.v.opts.Logger.Error
	if f.Mended {
		log = s.v.opts.Logger.Warn
	}
	if len(s.state.findings) >= maxFindings {
		if s.state.more++; s.state.more == 1 {
			log("scrub: there are more findings than are kept", "vault", s.v.name)
		}
		return
	}
	log("scrub", "vault", s.v.name, "finding", f.String())
	s.state.findings = append(s.state.findings, scrubFinding{f, true})
}

// spend waits for as long as n bytes that were read may take. The error is ctx's.
func (s *scrubber) spend(ctx context.Context, n int) error {
	s.mu.Lock()
	s.state.read += int64(n)
	s.mu.Unlock()
	if s.debt += float64(n); s.debt < scrubQuantum {
		return ctx.Err()
	}
	for s.debt > 0 {
		rate := s.rate()
		// Not below a nanosecond, or nothing would ever be paid.
		wait := min(max(time.Duration(s.debt/rate*float64(time.Second)), 1), scrubSlice)
		if err := s.sleep(ctx, wait); err != nil {
			return err
		}
		s.debt -= rate * wait.Seconds()
	}
	s.debt = 0
	return nil
}

// rate is how many bytes a second are to be read, so that a pass takes its period:
// what is left, over the time that is left, and never more than the limit.
func (s *scrubber) rate() float64 {
	total := s.total()
	s.mu.Lock()
	s.state.total = total
	started, read := s.state.started, s.state.read
	s.mu.Unlock()
	limit, period := float64(s.v.opts.ScrubRate), s.v.opts.ScrubPeriod
	left := started.Add(period).Sub(s.v.host.Now()).Seconds()
	if left <= 0 {
		return limit
	}
	return min(limit, max(float64(total-read)/left, float64(total)/period.Seconds(), 1))
}

func (s *scrubber) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-s.v.host.After(d):
	case <-ctx.Done():
	}
	return ctx.Err()
}

// save replaces the file, if there is anything new.
func (s *scrubber) save() {
	s.saved = s.v.host.Now()
	if !s.dirty || s.v.writable() != nil {
		return
	}
	s.dirty = false
	s.mu.Lock()
	text := s.state.append(nil)
	s.mu.Unlock()
	if err := s.v.dir.Replace(scrubFile, text); err != nil {
		s.v.opts.Logger.Error("scrub: it may begin again after a restart", "vault", s.v.name, "err", err)
	}
}
