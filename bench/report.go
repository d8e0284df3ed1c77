package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
)

// report is all that a run found out, as it is written to a JSON file.
type report struct {
	Machine  map[string]string `json:"machine"`
	Settings settings          `json:"settings"`
	Rows     []*row            `json:"rows"` // in the order of the run
	Failures []string          `json:"failures"`
}

// row is one figure of all peers.
type row struct {
	Work    string               `json:"workload"`
	Case    string               `json:"case"`
	Unit    string               `json:"unit"`
	More    bool                 `json:"more_is_better"`
	Samples map[string][]float64 `json:"samples"` // by peer, a value a round
}

func newReport(s settings) *report { return &report{Settings: s} }

// add keeps a figure of one round.
func (r *report) add(work, peer string, m metric) {
	at := slices.IndexFunc(r.Rows, func(o *row) bool { return o.Work == work && o.Case == m.Case })
	if at < 0 {
		at = len(r.Rows)
		r.Rows = append(r.Rows, &row{Work: work, Case: m.Case, Unit: m.Unit, More: m.More, Samples: map[string][]float64{}})
	}
	r.Rows[at].Samples[peer] = append(r.Rows[at].Samples[peer], m.Value)
}

func (r *report) fail(work, peer string, err error) {
	r.Failures = append(r.Failures, fmt.Sprintf("%s, %s: %v", work, peer, err))
}

// median of a few values; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// ratio is the median of the ratios of one peer to another, round by round: what
// disturbs the machine for a while disturbs both sides of one ratio. ok is false if
// there is nothing to divide.
func (r *row) ratio(peer, to string) (ratio float64, ok bool) {
	mine, other := r.Samples[peer], r.Samples[to]
	var ratios []float64
	for i := range min(len(mine), len(other)) {
		if other[i] > 0 {
			ratios = append(ratios, mine[i]/other[i])
		}
	}
	return median(ratios), len(ratios) > 0
}

// writeTable writes the table for people.
func (r *report) writeTable(out io.Writer) error {
	for _, what := range []string{"graven", "immudb", "go", "cores", "system", "file system"} {
		if r.Machine[what] != "" {
			fmt.Fprintf(out, "%s: %s\n", what, r.Machine[what])
		}
	}
	fmt.Fprintf(out, "%d entries of %d B, %s: median (least-most). + means that %s is better, - that it is worse.\n\n",
		r.Settings.Entries, entrySize, counted(r.Settings.Rounds, "round"), r.Settings.Peers[0])
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	head := []string{"", "", "unit"}
	head = append(head, r.Settings.Peers...)
	for _, other := range r.Settings.Peers[1:] {
		head = append(head, r.Settings.Peers[0]+"/"+other)
	}
	fmt.Fprintln(w, strings.Join(head, "\t"))
	work := ""
	for _, o := range r.Rows {
		cells := append([]string{"", o.Case, o.Unit}, o.cells(r.Settings.Peers)...)
		if o.Work != work {
			work, cells[0] = o.Work, o.Work
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range r.Failures {
		fmt.Fprintf(out, "\nFAILED: %s\n", f)
	}
	return nil
}

// cells are the figures of each peer, then the ratios of the first to the others.
func (r *row) cells(peers []string) (cells []string) {
	for _, peer := range peers {
		v := r.Samples[peer]
		switch len(v) {
		case 0:
			cells = append(cells, "")
		case 1:
			cells = append(cells, figure(v[0]))
		default:
			cells = append(cells, fmt.Sprintf("%s (%s-%s)", figure(median(v)), figure(slices.Min(v)), figure(slices.Max(v))))
		}
	}
	for _, other := range peers[1:] {
		cell := ""
		if q, ok := r.ratio(peers[0], other); ok {
			cell = figure(q)
			switch {
			case q == 1:
			case (q > 1) == r.More:
				cell += " +"
			default:
				cell += " -"
			}
		}
		cells = append(cells, cell)
	}
	return cells
}

// figure writes a number with three digits that count.
func figure(v float64) string {
	switch {
	case v >= 999_500:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 9995:
		return fmt.Sprintf("%.3gk", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func (r *report) writeJSON(name string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o644)
}

// describeMachine says what the figures depend on besides the programs.
func describeMachine(dir string) map[string]string {
	m := map[string]string{"go": runtime.Version(), "cores": fmt.Sprint(runtime.NumCPU()), "graven": "the working tree of this module's parent"}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/codenotary/immudb" {
				m["immudb"] = dep.Version
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m["system"] = runtime.GOOS + " " + strings.TrimSpace(string(b)) + ", " + runtime.GOARCH
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil {
		m["file system"] = fileSystem(int64(fs.Type))
	}
	return m
}

// fileSystem names a magic number of statfs(2).
func fileSystem(magic int64) string {
	const tmpfs, ext4, xfs, btrfs = 0x01021994, 0xef53, 0x58465342, 0x9123683e
	switch magic {
	case tmpfs:
		return "tmpfs: A SYNC COSTS NOTHING HERE, choose another -dir"
	case ext4:
		return "ext4"
	case xfs:
		return "xfs"
	case btrfs:
		return "btrfs"
	}
	return fmt.Sprintf("magic %#x", magic)
}
