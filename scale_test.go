package graven_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"graven"
	"graven/local"
)

// The store at scale: what it holds, how much memory and disk that takes, and how
// long an open takes, also after a kill. Each life is a process of its own, so that
// its memory is its own.
//
//	go test . -run TestScale -scale 10000000 -v

var scaleFlag = flag.Int("scale", 0, "keys of TestScale; 0: as many as the time allows")

const scaleEnv = "GRAVEN_SCALE_CHILD" // what a child process is to do

// payload of an entry: a key of 32 random bytes and a value of 256.
const scalePayload = 32 + 256

func scaleEntry(n int) (key, value []byte) {
	b := make([]byte, scalePayload)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := 0; i < len(b); i += 8 {
		binary.BigEndian.PutUint64(b[i:], r.Uint64())
	}
	return b[:32], b[32:]
}

func TestScale(t *testing.T) {
	if job := os.Getenv(scaleEnv); job != "" {
		scaleChild(t, strings.Fields(job))
		return
	}
	keys := *scaleFlag
	switch {
	case keys > 0:
	case testing.Short():
		keys = 100_000
	case os.Getenv("GRAVEN_DEEP") != "":
		keys = 10_000_000
	default:
		keys = 1_000_000
	}
	dir := filepath.Join(t.TempDir(), "store")
	load := scaleLife(t, dir, "load", 0, keys)
	if disk := float64(diskUsed(t, dir)) / float64(keys) / scalePayload; disk > 3.3 {
		t.Errorf("the store takes %.2f times the payload, wanted at most 3.3", disk)
	} else {
		t.Logf("disk: %.2f times the payload", disk)
	}
	clean := scaleLife(t, dir, "read", keys, 0)
	keys += scaleRates(t, dir, keys)
	killed := scaleLife(t, dir, "kill", keys, keys+keys/10)
	after := scaleLife(t, dir, "read", keys+keys/10, 0)
	t.Logf("%d keys: loaded %s/s; open after a clean end %s ms, after a kill %s ms; memory in MiB: load %s, add and be killed %s, reads %s and %s",
		keys, load["rate"], clean["open"], after["open"], load["memory"], killed["memory"], clean["memory"], after["memory"])
	for what, life := range map[string]map[string]string{"load": load, "kill": killed, "read": clean, "read after the kill": after} {
		if mib, _ := strconv.Atoi(life["memory"]); mib >= 1024 {
			t.Errorf("%s: the process took %d MiB, wanted less than 1024", what, mib)
		}
	}
	if ms, _ := strconv.Atoi(clean["open"]); ms >= 1000 {
		t.Errorf("open after a clean end: %d ms, wanted less than 1000", ms)
	}
	if ms, _ := strconv.Atoi(after["open"]); ms >= 3000 {
		t.Errorf("open after a kill: %d ms, wanted less than 3000", ms)
	}
}

// scaleRates holds the commits of 256 goroutines, one entry each, in the store against
// those in one of 100,000 keys, in turns. It returns how many keys that added.
func scaleRates(t *testing.T, dir string, keys int) (added int) {
	t.Helper()
	const small, each = 100_000, 50_000
	other := filepath.Join(t.TempDir(), "small")
	scaleLife(t, other, "load", 0, small)
	var few, many float64 // the best of two
	for i := range 2 {
		rate := func(dir string, from int) float64 {
			r, _ := strconv.ParseFloat(scaleLife(t, dir, "many", from+i*each, from+(i+1)*each)["rate"], 64)
			return r
		}
		few, many = max(few, rate(other, small)), max(many, rate(dir, keys))
	}
	t.Logf("256 writers: %.0f entries/s in %d keys, %.0f in %d: %.2f", many, keys, few, small, many/few)
	if many/few < 2./3 && keys >= 10_000_000 {
		t.Errorf("256 writers: %.2f of the rate with %d keys, wanted two thirds", many/few, small)
	}
	return 2 * each
}

// TestScaleSingles loads entries, one a transaction, from 64 goroutines.
func TestScaleSingles(t *testing.T) {
	keys := 1_000_000
	switch {
	case *scaleFlag > 0:
		keys = *scaleFlag
	case testing.Short():
		keys = 30_000
	}
	dir := filepath.Join(t.TempDir(), "store")
	load := scaleLife(t, dir, "single", 0, keys)
	disk := float64(diskUsed(t, dir)) / float64(keys) / scalePayload
	t.Logf("%d keys: loaded %s/s; disk: %.2f times the payload", keys, load["rate"], disk)
	if !testing.Short() && disk > 3.8 {
		t.Errorf("the store takes %.2f times the payload, wanted at most 3.8", disk)
	}
	vault := filepath.Join(dir, "vaults", "main")
	folders, err := os.ReadDir(vault)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		t.Logf("%-12s %6.1f bytes an entry", f.Name(), float64(diskUsed(t, filepath.Join(vault, f.Name())))/float64(keys))
	}
}

// scaleLife lets a child process do a job and returns what it tells, and its memory.
func scaleLife(t *testing.T, dir, job string, from, to int) map[string]string {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestScale$", "-test.timeout=2h")
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d %d", scaleEnv, job, dir, from, to))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok {
			told[name] = value
		}
		if told["kill"] != "" {
			told["memory"] = peakMemory(child.Process.Pid)
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, out)
			break
		}
	}
	if err := child.Wait(); err != nil && job != "kill" || told["failed"] != "" {
		t.Fatalf("%s: %v %v", job, err, told)
	}
	if told["memory"] == "" {
		t.Fatalf("%s told nothing of its memory: %v", job, told)
	}
	return told
}

// peakMemory is the most that a process has had in memory, in MiB; "0" where the
// system does not tell.
func peakMemory(pid int) string {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return strconv.Itoa(kib >> 10)
		}
	}
	return "0"
}

// scaleChild does one job: load entries from one number to another and close, 1,000 a
// transaction, or one by one from 64 or 256 goroutines ("single", "many"); load and say
// that it may be killed; or open and read so many.
func scaleChild(t *testing.T, job []string) {
	dir := job[1]
	from, _ := strconv.Atoi(job[2])
	to, _ := strconv.Atoi(job[3])
	ctx := context.Background()
	open := local.Open
	if job[0] != "read" && from == 0 {
		open = func(ctx context.Context, dir string, o graven.Options) (*graven.Store, error) {
			return local.Create(ctx, dir, graven.CreateOptions{}, o)
		}
	}
	began := time.Now()
	s, err := open(ctx, dir, graven.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Vault(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("open=%d\n", time.Since(began).Milliseconds())
	switch job[0] {
	case "read":
		scaleRead(t, v, from)
	default:
		each, writers := 1000, 4
		switch job[0] {
		case "single":
			each, writers = 1, 64
		case "many":
			each, writers = 1, 256
		}
		began = time.Now()
		scaleLoad(t, v, from, to, each, writers)
		fmt.Printf("rate=%.0f\n", float64(to-from)/time.Since(began).Seconds())
	}
	if job[0] == "kill" {
		fmt.Println("kill=now")
		time.Sleep(time.Hour)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("memory=%s\n", peakMemory(os.Getpid()))
}

// scaleLoad commits entries, so many in each transaction, from so many goroutines.
// Each is readable as soon as it is acknowledged.
func scaleLoad(t *testing.T, v *graven.Vault, from, to, each, writers int) {
	parts := make(chan int)
	var done sync.WaitGroup
	for range writers {
		done.Go(func() {
			for first := range parts {
				tx := &graven.Tx{}
				last := min(to, first+each)
				for n := first; n < last; n++ {
					key, value := scaleEntry(n)
					tx.Put(key, graven.Bytes(value), graven.PutOptions{})
				}
				if _, err := v.Commit(context.Background(), tx); err != nil {
					t.Error(err)
					fmt.Println("failed=yes")
					return
				}
				scaleHas(t, v, last-1)
			}
		})
	}
	for first := from; first < to; first += each {
		parts <- first
	}
	close(parts)
	done.Wait()
}

// scaleHas reads an entry back.
func scaleHas(t *testing.T, v *graven.Vault, n int) {
	key, value := scaleEntry(n)
	w := v.View()
	e, err := w.Get(key)
	if err != nil {
		t.Error(err)
		fmt.Println("failed=yes")
		return
	}
	got, err := w.Value(e)
	if err != nil || got.Size() != uint64(len(value)) {
		t.Error(err)
		fmt.Println("failed=yes")
	}
}

// scaleRead reads entries of a store of so many at random, and proves some.
func scaleRead(t *testing.T, v *graven.Vault, keys int) {
	if got := v.Status().Keys; got != uint64(keys) {
		t.Errorf("%d keys, wanted %d", got, keys)
		fmt.Println("failed=yes")
	}
	for i := range 20_000 {
		n := rand.IntN(keys)
		scaleHas(t, v, n)
		if key, _ := scaleEntry(n); i%20 == 0 {
			if _, err := v.View().ProveKey(key); err != nil {
				t.Error(err)
				fmt.Println("failed=yes")
			}
		}
	}
	runtime.KeepAlive(v)
}

// diskUsed is what the files below a folder come to.
func diskUsed(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
