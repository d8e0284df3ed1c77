package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"graven/merkle"
)

// sourceTree writes n files, a few of them large enough to be chunked.
func sourceTree(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	random := rand.New(rand.NewSource(3))
	for i := range n {
		size := random.Intn(6000)
		if i%400 == 399 {
			size = 300_000
		}
		data := make([]byte, size)
		random.Read(data)
		name := filepath.Join(dir, fmt.Sprintf("%02d", i%37), fmt.Sprintf("file %d", i))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

type receipt struct {
	seq, size uint64
	root      string
}

var receiptLine = regexp.MustCompile(`^seq=(\d+) size=(\d+) root=([A-Za-z0-9+/]{43}=)$`)

func parseReceipt(t *testing.T, line string) receipt {
	t.Helper()
	m := receiptLine.FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("not a receipt: %q", line)
	}
	seq, _ := strconv.ParseUint(m[1], 10, 64)
	size, _ := strconv.ParseUint(m[2], 10, 64)
	return receipt{seq, size, m[3]}
}

// importUntil starts an import and sends a signal after some receipts. It
// returns all receipts that were printed.
func importUntil(t *testing.T, store, dir string, receipts int, signal os.Signal) (got []receipt, state *os.ProcessState) {
	t.Helper()
	cmd := command(t, store, "import", dir, "--prefix", "r/")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		got = append(got, parseReceipt(t, lines.Text()))
		if len(got) == receipts {
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	return got, cmd.ProcessState
}

// holds checks that every receipt names a size and root of the log as it is.
func holds(t *testing.T, store string, receipts []receipt) {
	t.Helper()
	var leaves []merkle.Hash
	for line := range strings.Lines(mustRun(t, store, "log", "--from", "0", "-o", "json")) {
		leaves = append(leaves, merkle.LeafHash([]byte(strings.TrimSuffix(line, "\n"))))
	}
	vkey, _, _ := strings.Cut(mustRun(t, store, "key"), "\n")
	for i, r := range receipts {
		if r.size > uint64(len(leaves)) {
			t.Fatalf("a receipt names size %d, the log has %d records", r.size, len(leaves))
		}
		if root := merkle.RootOf(leaves[:r.size]); root.String() != r.root {
			t.Errorf("a receipt names root %s at size %d, the log has %v", r.root, r.size, root)
		}
		if i == len(receipts)-1 {
			proof := filepath.Join(t.TempDir(), "proof")
			mustRun(t, store, "prove", "--record", fmt.Sprint(r.seq), "--out", proof)
			mustRun(t, "/nonexistent", "verify", proof, "--vkey", vkey, "--subject", fmt.Sprintf("record:%d", r.seq), "--min-size", fmt.Sprint(r.size))
		}
	}
}

// TestKill: kill -9 at several moments of an import. The store opens, checks,
// and holds what every receipt said; the next import goes on.
func TestKill(t *testing.T) {
	dir := sourceTree(t, 3000)
	store := filepath.Join(t.TempDir(), "store")
	mustRun(t, store, "init")
	var all []receipt
	kills := 0
	for _, after := range []int{1, 1, 2, 3} {
		got, state := importUntil(t, store, dir, after, syscall.SIGKILL)
		if len(got) < after {
			t.Fatalf("%d receipts, then %v", len(got), state)
		}
		if !state.Success() {
			kills++
		}
		all = append(all, got...)
		if out := mustRun(t, store, "check"); !strings.HasPrefix(out, "ok: ") {
			t.Errorf("check says %s", out)
		}
		holds(t, store, all)
	}
	if kills == 0 {
		t.Fatal("every import ended before it was killed")
	}
	mustRun(t, store, "import", dir, "--prefix", "r/")
	sameExport(t, store, dir, "r/")
	mustRun(t, store, "check")
	holds(t, store, all)
}

func sameExport(t *testing.T, store, dir, prefix string, more ...string) {
	t.Helper()
	to := t.TempDir()
	mustRun(t, store, append([]string{"export", to, "--prefix", prefix}, more...)...)
	want, err := tree(dir)
	if err != nil || len(want) == 0 {
		t.Fatal(len(want), "files", err)
	}
	got, err := tree(to)
	if err != nil {
		t.Fatal(err)
	}
	if why := differ(want, got); why != "" {
		t.Errorf("the export of %s differs: %s", dir, why)
	}
}

// TestInterrupt: a first signal ends an import between two transactions; what
// was acknowledged is there, nothing is torn, and the next import goes on.
func TestInterrupt(t *testing.T) {
	dir := sourceTree(t, 1200)
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		store := filepath.Join(t.TempDir(), "store")
		mustRun(t, store, "init")
		got, state := importUntil(t, store, dir, 1, signal)
		if want := 128 + int(signal); state.ExitCode() != want {
			t.Errorf("%v: exit code %d, want %d", signal, state.ExitCode(), want)
		}
		holds(t, store, got)
		head := strings.Split(mustRun(t, store, "checkpoint"), "\n")
		if last := got[len(got)-1]; fmt.Sprint(last.size) != head[1] || last.root != head[2] {
			t.Errorf("%v: the last receipt names size %d, the checkpoint %s", signal, last.size, head[1])
		}
		mustRun(t, store, "check")
		mustRun(t, store, "import", dir, "--prefix", "r/")
	}
}

// TestInterruptedInput: a signal ends a put that waits for its standard input.
func TestInterruptedInput(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	mustRun(t, store, "init")
	cmd := command(t, store, "put", "k")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The pipe is full once the command has stopped reading, so it is under way when this returns.
	if _, err := in.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 143 || !strings.Contains(stderr.String(), "interrupted by terminated") {
		t.Errorf("exit code %d, want 143; %q", got, &stderr)
	}
	if out := mustRun(t, store, "list"); out != "" {
		t.Errorf("list says %q", out)
	}
	mustRun(t, store, "check")
}

// TestBrokenPipe: when the reader goes, the command ends without a word.
func TestBrokenPipe(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	mustRun(t, store, "init")
	mustRun(t, store, "import", sourceTree(t, 1600))
	for _, args := range [][]string{{"list", "-o", "json"}, {"get", "00/file 1591"}, {"log"}} {
		cmd := command(t, store, args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := out.(io.Closer).Close(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != 141 || stderr.Len() > 0 {
			t.Errorf("graven %s: exit code %d, want 141; standard error %q", strings.Join(args, " "), got, &stderr)
		}
	}
}

// TestDenied: another user may not write, and is told so; what may be read, is.
func TestDenied(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can run a command as another user")
	}
	place, err := os.MkdirTemp("", "graven-denied-") // not TempDir: others cannot enter that
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(place)
	if err := os.Chmod(place, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(place, "graven")
	if from, err := exec.LookPath("graven"); err != nil {
		t.Fatal(err)
	} else if b, err := os.ReadFile(from); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(binary, b, 0o755); err != nil {
		t.Fatal(err)
	}
	value := filepath.Join(place, "value")
	if err := os.WriteFile(value, []byte("value\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(place, "store")
	mustRun(t, store, "init")
	mustRun(t, store, "put", "k", value)
	for _, c := range []struct {
		code int
		args []string
	}{
		{0, []string{"get", "k"}},
		{0, []string{"list"}},
		{0, []string{"prove", "k"}},
		{0, []string{"check"}},
		{exitDenied, []string{"put", "k", value}},
		{exitDenied, []string{"delete", "k"}},
		{exitDenied, []string{"init", "--store", filepath.Join(place, "other")}},
		{exitDenied, []string{"vault", "create", "other"}},
		{exitDenied, []string{"get", "k", "--out", filepath.Join(place, "copy")}},
		{exitDenied, []string{"export", filepath.Join(place, "out")}},
	} {
		cmd := exec.Command(binary, c.args...)
		cmd.Dir, cmd.Env = place, []string{"GRAVEN_STORE=" + store}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != c.code {
			t.Errorf("graven %s: exit code %d, want %d: %s", strings.Join(c.args, " "), got, c.code, out)
		}
		if c.code == exitDenied && !strings.Contains(string(out), "owner and the mode") {
			t.Errorf("graven %s does not say what to do: %s", strings.Join(c.args, " "), out)
		}
	}
}

func uintText(n uint64) string { return strconv.FormatUint(n, 10) }
