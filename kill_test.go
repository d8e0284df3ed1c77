package graven

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"graven/internal/fsx/osfs"
)

const killEnv = "GRAVEN_KILL_CHILD" // the folder in which a child process is to write until it is killed

// TestKillWhileKeeping kills a process with signal 9 that writes from several
// goroutines and seals a block with every few groups, each time at a moment at which it
// makes a file of another kind: index segments of ended runs and merged ones, state
// pages, snapshots, tiles. What was acknowledged is there, all is whole, and nothing
// gathers.
func TestKillWhileKeeping(t *testing.T) {
	if dir := os.Getenv(killEnv); dir != "" {
		writeUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	vault := filepath.Join(dir, "vaults", "main")
	patterns := map[string]string{
		"a segment":        "index/*/.new-*-0-*",
		"a merged segment": "index/*/.new-*-[1-9]-*",
		"state pages":      "state/.new-*",
		"a manifest":       "snapshots/*/.new-*",
		"a pin":            "snapshots/.new-*",
		"a tile":           "tile/0/.new-*",
	}
	rounds := 1
	if os.Getenv("GRAVEN_DEEP") != "" {
		rounds = 20
	}
	acknowledged, kills := map[string]string{}, 0
	for range rounds {
		for what, pattern := range patterns {
			at, got := killWhen(t, dir, filepath.Join(vault, pattern))
			if at {
				kills++
			} else {
				t.Logf("%s: it was not met within its time", what)
			}
			for key, root := range got {
				acknowledged[key] = root
			}
			intact(t, dir, acknowledged)
		}
	}
	if kills < rounds*len(patterns)/2 || len(acknowledged) < 50 {
		t.Errorf("%d kills at the moment that was meant, %d receipts", kills, len(acknowledged))
	}
	t.Logf("%d kills at the moment that was meant, %d receipts", kills, len(acknowledged))
}

// realVault opens the store in a folder, or makes it.
func realVault(t *testing.T, dir string, o Options) (*Store, *Vault) {
	t.Helper()
	disk, err := osfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	host := Host{Disk: disk, Now: time.Now, After: time.After, Rand: rand.Reader, Owner: fmt.Sprint("process ", os.Getpid())}
	store, err := Open(ctx, host, o)
	if err != nil {
		store, err = Create(ctx, host, CreateOptions{genesis: small}, o)
	}
	if err != nil {
		t.Fatal(err)
	}
	v, err := store.Vault(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	return store, v
}

// writeUntilKilled commits, and tells each receipt: key, size, root.
func writeUntilKilled(t *testing.T, dir string) {
	_, v := realVault(t, dir, Options{
		PublishEvery: 5 * time.Millisecond, SnapshotCommits: 25, SnapshotKeep: 1, stateBytes: 4096, snapshotBytes: 1, walBytes: 4096, BatchOps: 4, LockWait: time.Minute,
	})
	var out sync.Mutex
	var next atomic.Uint64
	next.Store(v.View().Size())
	var done sync.WaitGroup
	for range 4 {
		done.Go(func() {
			for {
				key := fmt.Sprintf("key-%d", next.Add(1))
				r, err := v.Commit(context.Background(), put(key, "value of "+key, "hot", key))
				if err != nil {
					t.Error(err)
					return
				}
				out.Lock()
				fmt.Printf("%s %d %v\n", key, r.Size, r.Root)
				out.Unlock()
			}
		})
	}
	done.Wait()
}

// killWhen lets a child write and kills it when a file shows up, or after some
// seconds. It returns what the child was told before: the size and root of each key.
func killWhen(t *testing.T, dir, pattern string) (met bool, got map[string]string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKillWhileKeeping$")
	child.Env = append(os.Environ(), killEnv+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	got = map[string]string{}
	read := make(chan struct{})
	var lines atomic.Int64
	go func() {
		defer close(read)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n') // the last may be cut off: then nobody was told
			if err != nil {
				return
			}
			if key, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok && strings.HasPrefix(key, "key-") {
				got[key] = rest
				lines.Add(1)
			}
		}
	}()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if found, _ := filepath.Glob(pattern); len(found) > 0 && lines.Load() > 10 {
			met = true
			break
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	<-read
	_, _ = io.Copy(io.Discard, out)
	_ = child.Wait() // it was killed
	return met, got
}

// intact opens the store after a kill and holds it against all receipts.
func intact(t *testing.T, dir string, acknowledged map[string]string) {
	t.Helper()
	store, v := realVault(t, dir, Options{walBytes: 4096, stateBytes: 4096, SnapshotCommits: -1, SnapshotEvery: -1, LockWait: time.Minute})
	w := v.View()
	for key, receipt := range acknowledged {
		e, err := w.Get([]byte(key))
		if err != nil {
			t.Fatalf("%s was acknowledged: %v", key, err)
		}
		value, err := w.Value(e)
		if err != nil || string(value.whole) != "value of "+key {
			t.Fatalf("%s: %v", key, err)
		}
		var size uint64
		var want string
		if _, err := fmt.Sscan(receipt, &size, &want); err != nil {
			t.Fatal(err)
		}
		if root, err := v.rootAt(size); err != nil || root.String() != want {
			t.Fatalf("%s was acknowledged with root %s at size %d, the log has %v, %v", key, want, size, root, err)
		}
	}
	report, err := store.Check(context.Background(), "main", CheckOptions{})
	if err != nil || report.Damaged() {
		t.Fatalf("check: %v, %v", err, report.Findings)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	var left []string
	err = filepath.WalkDir(filepath.Join(dir, "vaults", "main"), func(path string, d os.DirEntry, err error) error {
		if err == nil && path == filepath.Join(dir, "vaults", "main", "snapshots") {
			return filepath.SkipDir // the next snapshot sweeps there
		}
		if err == nil && strings.HasPrefix(d.Name(), ".new-") {
			left = append(left, path)
		}
		return err
	})
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left over, %v", left, err)
	}
	sets, err := filepath.Glob(filepath.Join(dir, "vaults", "main", "state", "*"))
	if slices.Sort(sets); err != nil || len(sets) > 60 {
		t.Errorf("%d files of state pages, %v", len(sets), err)
	}
}
