package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	childIfAsked() // the children of a test are this binary
	os.Exit(m.Run())
}

// Every workload runs for every peer, tiny, and leaves nothing behind.
func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	figures := filepath.Join(t.TempDir(), "figures.json")
	var out strings.Builder
	err := bench(context.Background(), []string{
		"-n", "2500", "-rounds", "1", "-phase", "30ms", "-limit", "15s", "-dir", dir, "-json", figures,
	}, &out, io.Discard)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	b, err := os.ReadFile(figures)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	parts := map[string]int{}
	for _, o := range r.Rows {
		for peer, v := range o.Samples {
			parts[o.Work+" "+peer]++
			if len(v) != 1 || v[0] < 0 || v[0] == 0 && o.Case != "refused and repeated" {
				t.Errorf("%s, %s, %s: %v", o.Work, o.Case, peer, v)
			}
		}
	}
	whole := newRun(r.Settings, "", io.Discard)
	for _, work := range allWork() {
		for _, peer := range allPeers() {
			if have := parts[work+" "+peer]; whole.wants(work, peer) != (have > 0) {
				t.Errorf("%s, %s: %d figures", work, peer, have)
			}
		}
	}
}

// A child that does not end in time is killed, and the run goes on.
func TestLimit(t *testing.T) {
	_, err := runChild(context.Background(), task{
		Work: commitWork, Peer: rawName, Dir: filepath.Join(t.TempDir(), "store"), N: 10, Phase: time.Hour, Limit: 200 * time.Millisecond,
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wanted a deadline, got %v", err)
	}
}

// A child's error reaches the report.
func TestChildFails(t *testing.T) {
	_, err := runChild(context.Background(), task{
		Work: getWork, Peer: rawName, Dir: filepath.Join(t.TempDir(), "store"), N: 10, Phase: time.Millisecond, Limit: 10 * time.Second,
	})
	if err == nil || !strings.Contains(err.Error(), errAbsent.Error()) {
		t.Errorf("wanted an absent key in an empty store, got %v", err)
	}
}

func TestFlags(t *testing.T) {
	for _, bad := range []string{"-n=0", "-rounds=0", "-peers=nobody", "-only=nothing", "-phase=0s", "more"} {
		if _, err := parse([]string{bad}, io.Discard); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
	s, err := parse([]string{"-full", "-rounds", "2"}, io.Discard)
	if err != nil || s.Entries != full.Entries || s.Rounds != 2 {
		t.Errorf("-full -rounds 2: %+v, %v", s, err)
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.01234: "0.0123", 1.5: "1.5", 99.96: "100", 1234: "1234", 9994: "9994", 12_690: "12.7k", 999_700: "1M", 1_234_000: "1.23M",
	} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %s, wanted %s", v, got, want)
		}
	}
	took := []time.Duration{4, 1, 3, 2}
	if got := quantile(took, 0.5); got != 3 {
		t.Errorf("p50 of 1, 2, 3, 4: %d", got)
	}
	if got := quantile(took, 0.99); got != 4 {
		t.Errorf("p99 of 1, 2, 3, 4: %d", got)
	}
	r := &row{Samples: map[string][]float64{"a": {10, 30, 20}, "b": {5, 10, 0}}}
	if q, ok := r.ratio("a", "b"); !ok || q != 2.5 {
		t.Errorf("ratio %v, %v: wanted the median of 2 and 3", q, ok)
	}
	if _, ok := r.ratio("a", "c"); ok {
		t.Error("a ratio to nothing")
	}
}
