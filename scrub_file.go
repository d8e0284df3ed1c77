package graven

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"graven/internal/fsx"
)

// The file meta/host/scrub, which only this program reads:
//
//	graven scrub 1
//	started 2026-01-02T03:04:05.000000006Z
//	finished 2026-01-01T00:00:00Z       - if no pass was whole yet
//	read 1048576 of 8388608             bytes, of the pass under way; of about so many
//	at "log" "512"                      station, and what of it is done; "" "" between two passes
//	more 0                              findings that had no room
//	finding "log/log-….jsonl" 77 false "record 3: …"
//	…                                   file, offset, mended, what; at most 100
//
// A file that does not parse is as none: a pass begins anew.
const scrubHead = "graven scrub 1\n"

// maxScrub bounds what is read of the file.
const maxScrub = 1 << 20

func (s *scrubState) append(dst []byte) []byte {
	dst = append(dst, scrubHead...)
	dst = fmt.Appendf(dst, "started %s\nfinished %s\nread %d of %d\nat %q %q\nmore %d\n",
		timeOrDash(s.started), timeOrDash(s.finished), s.read, s.total, s.station, s.after, s.more)
	for _, f := range s.findings {
		dst = fmt.Appendf(dst, "finding %q %d %v %q\n", f.File, f.Offset, f.Mended, f.What)
	}
	return dst
}

func timeOrDash(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func parseTimeOrDash(text string) (time.Time, error) {
	if text == "-" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339Nano, text)
}

// readScrub reads the file. If there is none, or another one, the state is that
// before the first pass.
func readScrub(dir fsx.Dir) scrubState {
	text, err := dir.ReadFile(scrubFile, maxScrub)
	if err != nil {
		return scrubState{}
	}
	s, err := parseScrub(string(text))
	if err != nil {
		return scrubState{}
	}
	return s
}

func parseScrub(text string) (s scrubState, err error) {
	rest, ok := strings.CutPrefix(text, scrubHead)
	if !ok || !strings.HasSuffix(text, "\n") {
		return scrubState{}, fmt.Errorf("%s: wanted a file that begins with %q", scrubFile, scrubHead)
	}
	lines := strings.Split(strings.TrimSuffix(rest, "\n"), "\n")
	if len(lines) < 5 || len(lines) > 5+maxFindings {
		return scrubState{}, fmt.Errorf("%s: %d lines, wanted 6 to %d", scrubFile, len(lines)+1, 6+maxFindings)
	}
	var started, finished string
	for i, field := range []struct {
		form string
		into []any
	}{
		{"started %s", []any{&started}},
		{"finished %s", []any{&finished}},
		{"read %d of %d", []any{&s.read, &s.total}},
		{"at %q %q", []any{&s.station, &s.after}},
		{"more %d", []any{&s.more}},
	} {
		if _, err := fmt.Sscanf(lines[i], field.form, field.into...); err != nil {
			return scrubState{}, fmt.Errorf("%s, line %d: wanted %q, got %s", scrubFile, i+2, field.form, strconv.Quote(lines[i]))
		}
	}
	if s.started, err = parseTimeOrDash(started); err == nil {
		s.finished, err = parseTimeOrDash(finished)
	}
	if err != nil {
		return scrubState{}, fmt.Errorf("%s: %w", scrubFile, err)
	}
	for i, line := range lines[5:] {
		var f scrubFinding
		if _, err := fmt.Sscanf(line, "finding %q %d %t %q", &f.File, &f.Offset, &f.Mended, &f.What); err != nil {
			return scrubState{}, fmt.Errorf("%s, line %d: wanted a finding, got %s", scrubFile, i+7, strconv.Quote(line))
		}
		s.findings = append(s.findings, f)
	}
	return s, nil
}
