package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"graven/internal/fsx"
	"graven/record"
)

// scriptClock is a clock that goes on only when somebody waits for it.
type scriptClock struct {
	mu     sync.Mutex // guards what follows
	now    time.Time
	waited func(d time.Duration) // told of each wait, if set
}

func newScriptClock() *scriptClock {
	return &scriptClock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (c *scriptClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *scriptClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	if c.waited != nil {
		c.waited(d)
	}
	ch := make(chan time.Time, 1)
	ch <- c.now
	return ch
}

// openScrubbed opens a vault for writing that a test scrubs by hand.
func openScrubbed(t testing.TB, d fsx.Disk, clock *scriptClock, o Options) (*Store, *Vault) {
	t.Helper()
	host := scriptHost(d, 9)
	host.Now, host.After = clock.Now, clock.After
	store, err := Open(context.Background(), host, o)
	if err != nil {
		t.Fatal(err)
	}
	v, err := store.Vault(context.Background(), "main")
	if err != nil {
		t.Fatal(err)
	}
	return store, v
}

func scrubOnce(t testing.TB, v *Vault) []Finding {
	t.Helper()
	if err := v.scrub.pass(context.Background()); err != nil {
		t.Fatal(err)
	}
	return v.Status().Scrub.Findings
}

// scrubbed reports whether a scrubber looks at a file, and whether it is truth.
func scrubbed(name string) (truth, looked bool) {
	for _, p := range []string{"wal/", "meta/host/", "README.txt", "rescue.sh"} {
		if strings.HasPrefix(name, p) {
			return false, false
		}
	}
	truth = strings.HasPrefix(name, "log/log-") || strings.HasPrefix(name, "blocks/") || strings.HasPrefix(name, "meta/keys/priv/")
	return truth, true
}

// TestScrubFindsEveryFlippedByte flips bytes of every file of an open vault: the next
// pass names the file, leaves truth as it is, and mends what is derived or condemns it.
func TestScrubFindsEveryFlippedByte(t *testing.T) {
	step := 331
	if testing.Short() {
		step = 997
	}
	tiled, _ := settled(t, 150)
	paged := fsx.NewMem()
	derivedStory(t, paged)
	flips, met := 0, map[string]int{}
	for _, mem := range []*fsx.Mem{tiled, paged} {
		for _, file := range walk(t, mem, "vaults/main") {
			name := strings.TrimPrefix(file, "vaults/main/")
			truth, looked := scrubbed(name)
			if !looked {
				continue
			}
			disk := mem.Clone()
			store, v := openScrubbed(t, disk, newScriptClock(), scriptOptions())
			if found := scrubOnce(t, v); len(found) > 0 {
				t.Fatalf("%s: a whole vault has findings: %v", name, found)
			}
			content := readAll(disk, file)
			kind, _, _ := strings.Cut(name, "/")
			for off := flips % step; off < len(content); off += step {
				v.scrub.state = scrubState{}
				overwrite(t, disk, file, int64(off), []byte{content[off] ^ 1<<(off%8)})
				flipped := readAll(disk, file)
				found := scrubOnce(t, v)
				if kind == "state" && len(found) == 0 && len(v.pages.Check(context.Background())) == 0 {
					met["state, dead bytes"]++ // of no page of the newest set
				} else if i := slices.IndexFunc(found, func(f Finding) bool {
					// A block that was sealed a moment ago is one file with two names.
					return f.File == name || kind == "blocks" && strings.HasPrefix(f.File, "blocks/sealed/")
				}); i < 0 {
					t.Errorf("%s, byte %d: found %v", name, off, found)
				} else if now := readAll(disk, file); truth && (found[i].Mended || !bytes.Equal(now, flipped)) {
					t.Errorf("%s, byte %d: truth was touched: %v", name, off, found[i])
				} else if found[i].Mended && !bytes.Equal(now, content) {
					t.Errorf("%s, byte %d: it is mended and not what it was: %v", name, off, found[i])
				} else if !truth && !found[i].Mended && kind != "index" && kind != "state" && !strings.HasPrefix(name, "meta/keys/pub") {
					t.Errorf("%s, byte %d: derived, and not mended: %v", name, off, found[i])
				}
				overwrite(t, disk, file, 0, content)
				flips++
				met[kind]++
			}
			v.condemned.files, v.condemned.pages = nil, false
			if err := store.Close(); err != nil {
				t.Fatal(name, err)
			}
		}
	}
	t.Logf("%d flips: %v", flips, met)
	for _, kind := range []string{"log", "blocks", "tile", "index", "state", "meta", "checkpoint"} {
		if met[kind] == 0 {
			t.Errorf("no flip in %s", kind)
		}
	}
}

// TestScrubMissingFiles takes files away from under an open vault.
func TestScrubMissingFiles(t *testing.T) {
	mem, _ := settled(t, 150)
	for _, file := range walk(t, mem, "vaults/main") {
		name := strings.TrimPrefix(file, "vaults/main/")
		if _, looked := scrubbed(name); !looked || strings.HasPrefix(name, "log/log-") || strings.HasPrefix(name, "meta/keys/priv") {
			continue // log files are open; a copy for readers has no signing key
		}
		disk := mem.Clone()
		store, v := openScrubbed(t, disk, newScriptClock(), scriptOptions())
		if err := disk.Remove(file); err != nil {
			t.Fatal(err)
		}
		found := scrubOnce(t, v)
		if !slices.ContainsFunc(found, func(f Finding) bool { return f.File == name || name == "checkpoint" && f.Mended }) &&
			!strings.HasPrefix(name, "state/") {
			t.Errorf("without %s: %v", name, found)
		}
		_ = store.Close()
	}
}

// counting is a disk that counts what is read.
type counting struct {
	fsx.Disk
	read func(n int)
}

func (c *counting) Open(name string, mode fsx.Mode) (fsx.File, error) {
	f, err := c.Disk.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return countingFile{f, c}, nil
}

type countingFile struct {
	fsx.File
	c *counting
}

func (f countingFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if f.c.read != nil {
		f.c.read(n)
	}
	return n, err
}

// TestScrubPace counts the bytes that are read in each second of the script, and how
// long a pass takes.
func TestScrubPace(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, func(g *record.Genesis) { g.BlockBytes = 256 << 10 })
	for i := range 40 {
		s.group(put(fmt.Sprint("k", i), strings.Repeat(fmt.Sprint(i), 20_000)))
	}
	s.close()
	for name, o := range map[string]struct {
		period time.Duration
		rate   int64
	}{
		"a tight limit":  {time.Second, 100 << 10},
		"an hour's time": {time.Hour, 1 << 30},
	} {
		clock, disk := newScriptClock(), &counting{Disk: mem.Clone()}
		opts := scriptOptions()
		opts.ScrubPeriod, opts.ScrubRate = o.period, o.rate
		_, v := openScrubbed(t, disk, clock, opts)
		var at time.Time
		sum, most, inSecond := 0, 0, 0
		disk.read = func(n int) {
			if now := clock.Now().Truncate(time.Second); now != at {
				at, inSecond = now, 0
			}
			inSecond += n
			sum += n
			most = max(most, inSecond)
		}
		began := clock.Now()
		scrubOnce(t, v)
		took := clock.Now().Sub(began)
		t.Logf("%s: %d bytes in %v, at most %d in a second", name, sum, took, most)
		if sum < 1<<20 {
			t.Errorf("%s: only %d bytes were read", name, sum)
		}
		if limit := int(o.rate) + 2*scrubQuantum + 64<<10; o.rate < 1<<30 && most > limit {
			t.Errorf("%s: %d bytes in a second, the limit is %d", name, most, o.rate)
		}
		if o.period == time.Hour && (took < 30*time.Minute || took > 65*time.Minute) {
			t.Errorf("%s: a pass took %v", name, took)
		}
	}
}

// TestScrubGoesOn ends scrubbing after each wait in turn, opens the vault again, and
// shows that a pass is never begun twice, and finds what there is.
func TestScrubGoesOn(t *testing.T) {
	mem, _ := settled(t, 150)
	opts := scriptOptions()
	opts.ScrubRate = 1
	clock := newScriptClock()
	var bad string
	for _, f := range walk(t, mem, "vaults/main/blocks") {
		if strings.Contains(f, "/sealed/") {
			bad = f
		}
	}
	content := readAll(mem, bad)
	overwrite(t, mem, bad, int64(len(content)/3), []byte{content[len(content)/3] ^ 1})
	var started time.Time
	seen := map[string]bool{}
	for range 1000 {
		store, v := openScrubbed(t, mem, clock, opts)
		v.Status()
		seen[v.scrub.state.station] = true
		v.scrub.debt = scrubQuantum - 25_000 // so that it soon waits
		ctx, cancel := context.WithCancel(context.Background())
		clock.waited = func(time.Duration) { cancel() }
		err := v.scrub.pass(ctx)
		clock.waited = nil
		cancel()
		v.scrub.save()
		st := v.Status().Scrub
		if started.IsZero() {
			started = st.Started
		}
		if !st.Started.Equal(started) {
			t.Fatalf("a pass began at %v, and again at %v", started, st.Started)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if err == nil {
			if st.Done != 1 || st.Finished.IsZero() || len(seen) < 4 {
				t.Errorf("after a pass: %+v, seen %v", st, seen)
			}
			name := strings.TrimPrefix(bad, "vaults/main/")
			if !slices.ContainsFunc(st.Findings, func(f Finding) bool { return f.File == name && !f.Mended && f.Offset >= 0 }) {
				t.Errorf("%s is not among %v", name, st.Findings)
			}
			reader, r := openMain(t, mem, Options{ReadOnly: true})
			if got := r.Status().Scrub; !slices.Equal(got.Findings, st.Findings) || !got.Started.Equal(started) {
				t.Errorf("a reader sees %+v", got)
			}
			_ = reader.Close()
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	t.Errorf("it never ended: %v; %s", seen, readAll(mem, "vaults/main/"+scrubFile))
}

// TestScrubEnds starts the goroutine and closes the vault while it waits.
func TestScrubEnds(t *testing.T) {
	mem, _ := settled(t, 20)
	before := runtime.NumGoroutine()
	o := scriptOptions()
	o.scripted, o.ScrubRate = false, 1
	host := scriptHost(mem, 9)
	clock := newScriptClock()
	waits := make(chan struct{}, 1000)
	host.Now = clock.Now
	host.After = func(d time.Duration) <-chan time.Time {
		select {
		case waits <- struct{}{}:
		default:
		}
		if d == scrubPatience && len(waits) < 2 {
			return clock.After(d)
		}
		return nil // for ever
	}
	store, err := Open(context.Background(), host, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Vault(context.Background(), "main"); err != nil {
		t.Fatal(err)
	}
	<-waits
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for range 100 { // other tests' goroutines may be ending
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("%d goroutines, before %d", runtime.NumGoroutine(), before)
}

// TestScrubState parses what it writes, and nothing else.
func TestScrubState(t *testing.T) {
	s := scrubState{
		started: time.Unix(1, 2).UTC(), read: 77, total: 99, station: "log", after: "512", more: 3,
		findings: []scrubFinding{{Finding: Finding{File: "log/x y", Offset: -1, What: "a \"quoted\"\tthing", Mended: true}}},
	}
	text := string(s.append(nil))
	got, err := parseScrub(text)
	if err != nil || string(got.append(nil)) != text {
		t.Fatalf("%v\n%s\n%s", err, text, got.append(nil))
	}
	for _, bad := range []string{"", "graven scrub 2\n", text[:len(text)-1], strings.Replace(text, "read 77", "read x", 1), strings.Replace(text, "false", "perhaps", 1) + "junk\n"} {
		if _, err := parseScrub(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

var _ io.ReaderAt = countingFile{}
