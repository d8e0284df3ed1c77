package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestReadme runs the commands of the README as they stand there, but for the
// build (the command is this test's), dates, and folders outside of the test's.
func TestReadme(t *testing.T) {
	if !hasCoreutils() {
		t.Skip("no GNU coreutils")
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var script []string
	for i, block := range strings.Split(string(text), "```") {
		if i%2 == 0 || !strings.Contains(block, "./graven ") {
			continue
		}
		_, block, _ = strings.Cut(block, "\n") // the language
		for line := range strings.Lines(block) {
			if !strings.HasPrefix(line, "go build ") {
				script = append(script, line)
			}
		}
	}
	if len(script) < 5 {
		t.Fatalf("%d commands in the README", len(script))
	}
	dir := t.TempDir()
	commands := strings.Join(script, "")
	commands = regexp.MustCompile(`--at \d{4}-\d\d-\d\d`).ReplaceAllString(commands, "--at "+time.Now().UTC().Format(time.DateOnly))
	commands = strings.ReplaceAll(commands, "/tmp/", dir+"/")
	binary, err := exec.LookPath("graven")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(dir, "graven")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"report.pdf", "evidence/log.txt", "evidence/deep/er.txt"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-ec", commands)
	cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin", "HOME=" + dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n---\n%s", err, commands, out)
	}
}
