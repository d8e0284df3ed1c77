package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// taskVariable names the environment variable that makes this program a child: it
// holds the child's task in JSON.
const taskVariable = "GRAVEN_BENCH_TASK"

// task is what one child process does.
type task struct {
	Work  string // key of workloads
	Peer  string
	Dir   string        // of the store
	N     uint64        // entries of the loaded store
	Phase time.Duration // of each timed phase
	Limit time.Duration // of the whole child; the parent kills it then
	// Held is how many entries a killed process added to the store; of Work "open".
	Held uint64
}

// metric is one figure of one child.
type metric struct {
	Case  string  `json:"case"`
	Unit  string  `json:"unit"`
	More  bool    `json:"more"` // more is better
	Value float64 `json:"value"`
}

// childIfAsked does the task in the environment, if there is one, and ends the
// process. The answer is one JSON array of metrics on standard output.
func childIfAsked() {
	text := os.Getenv(taskVariable)
	if text == "" {
		return
	}
	go endWithParent()
	if err := child(text, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// endWithParent ends this process when its standard input ends: the parent holds
// the other end of that pipe and never writes.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

func child(text string, out io.Writer) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return fmt.Errorf("%s: %w", taskVariable, err)
	}
	work, ok := workloads()[t.Work]
	if !ok {
		return fmt.Errorf("%s: no workload %q", taskVariable, t.Work)
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.Limit)
	defer cancel()
	metrics, err := work(ctx, t)
	if err != nil {
		return err
	}
	if t.Work != machineWork && t.Work != commitWork { // those do as much as they can: no memory to compare
		peak, err := peakMemory()
		if err != nil {
			return err
		}
		metrics = append(metrics, metric{"peak memory" + t.suffix(), "MB", false, peak})
	}
	if err := json.NewEncoder(out).Encode(metrics); err != nil {
		return err
	}
	if t.Work == holdWork {
		select {} // with the store open, until the parent kills this process
	}
	return nil
}

// suffix tells the children of one workload apart.
func (t task) suffix() string {
	switch {
	case t.Work == verifyWork:
		return ", transactions of 1,000"
	case t.Work == narrowWork:
		return ", transactions of 1"
	case t.Work == openWork && t.Held > 0:
		return ", after a kill"
	case t.Work == openWork:
		return ", after a close"
	}
	return ""
}

// peakMemory is the most physical memory that this process ever had, in MB (10^6
// bytes): VmHWM, see proc_pid_status(5). Unlike ru_maxrss it starts anew with exec.
func peakMemory() (float64, error) {
	const file = "/proc/self/status"
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 64)
			if err != nil {
				return 0, fmt.Errorf("%s: VmHWM: %w", file, err)
			}
			return kib * 1024 / 1e6, nil
		}
	}
	return 0, fmt.Errorf("%s: no VmHWM in it", file)
}

// runChild runs a task in a process of its own and waits until that is gone,
// whatever happens. A child with the work "hold" is killed once it has answered.
func runChild(ctx context.Context, t task) ([]metric, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, self) // kills the child when ctx ends
	cmd.Env = append(os.Environ(), taskVariable+"="+string(text))
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	stdin, err := cmd.StdinPipe() // open for as long as the child shall live: endWithParent
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var metrics []metric
	answer := json.NewDecoder(stdout).Decode(&metrics)
	killed := t.Work == holdWork && answer == nil
	if killed {
		answer = cmd.Process.Kill()
	}
	ended := cmd.Wait()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("not done within %s: %w", t.Limit, ctx.Err())
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case killed:
		return metrics, answer
	case answer != nil || ended != nil:
		return nil, errors.Join(fmt.Errorf("child: %w", errors.Join(ended, answer)), lastLines(complaint.String()))
	}
	return metrics, nil
}

// lastLines is the end of what a child complained of.
func lastLines(s string) error {
	const most = 2000
	if s = strings.TrimSpace(s); s == "" {
		return nil
	}
	return errors.New(s[max(0, len(s)-most):])
}
