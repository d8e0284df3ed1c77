package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The commands of the documentation are run as they stand there, so that a
// page that has gone stale fails like any other code.
//
// In docs/proofs.md, docs/cookbook.md and docs/operations.md these are the blocks that are fenced with
//
//	```sh test             every command of it succeeds
//	```sh test exits=1     the block ends with this code
//
// They run in order in one directory, each in a shell of its own that stops at
// the first failure.

// docsBlock is a fenced block of a page.
type docsBlock struct {
	line  int // of the opening fence, from 1
	text  string
	exits int // the code that it must end with
}

// docsBlocks finds the blocks of a page that are marked as tested. What is
// marked in a way that is not understood is an error, so that no block drops
// out by a slip of the pen.
func docsBlocks(page string) ([]docsBlock, error) {
	var blocks []docsBlock
	var open *docsBlock // the block that the line is in; nil: none
	var tested bool     // open is marked
	for i, line := range strings.Split(page, "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case !fence && open != nil:
			open.text += line + "\n"
		case fence && open != nil:
			if info != "" {
				return nil, fmt.Errorf("line %d: a fence inside the block of line %d", i+1, open.line)
			}
			if tested {
				blocks = append(blocks, *open)
			}
			open = nil
		case fence:
			words := strings.Fields(info)
			open, tested = &docsBlock{line: i + 1}, len(words) > 1
			if !tested {
				continue
			}
			if words[0] != "sh" || words[1] != "test" || len(words) > 3 {
				return nil, fmt.Errorf("line %d: fence %q, wanted `sh test` or `sh test exits=N`", i+1, info)
			}
			if len(words) == 3 {
				code, ok := strings.CutPrefix(words[2], "exits=")
				var err error
				if open.exits, err = strconv.Atoi(code); !ok || err != nil {
					return nil, fmt.Errorf("line %d: %q, wanted exits=N", i+1, words[2])
				}
			}
		}
	}
	if open != nil {
		return nil, fmt.Errorf("the block of line %d has no end", open.line)
	}
	return blocks, nil
}

// docsNeeds says which tools must be there for a block that has a word in it.
// The scripts stand for the tools that they call.
var docsNeeds = []struct {
	word  string
	tools []string
}{
	{"jq ", []string{"jq"}},
	{"openssl ", []string{"openssl"}},
	{"sha256sum", []string{"sha256sum"}},
	{"base64", []string{"base64"}},
	{"python3", []string{"python3"}},
	{"by-hand", []string{"basenc", "base64", "sha256sum"}},
	{"rescue", []string{"basenc", "base64", "sha256sum", "split", "paste"}},
}

// docsMissing names the tool that a block needs and this machine does not
// have; empty: none.
func docsMissing(text string) string {
	for _, need := range docsNeeds {
		if !strings.Contains(text, need.word) {
			continue
		}
		for _, tool := range need.tools {
			if _, err := exec.LookPath(tool); err != nil {
				return tool
			}
			if tool == "openssl" && !docsOpenSSL() {
				return "openssl 3 or newer"
			}
		}
	}
	return ""
}

// docsOpenSSL reports whether the openssl here can verify Ed25519: others that
// go by the name cannot.
func docsOpenSSL() bool {
	out, err := exec.Command("openssl", "version").Output()
	major, _, _ := strings.Cut(strings.TrimPrefix(string(out), "OpenSSL "), ".")
	n, notNumber := strconv.Atoi(major)
	return err == nil && notNumber == nil && n >= 3
}

// docsShell runs a block in dir and compares the code that it ends with.
func docsShell(t testing.TB, dir string, b docsBlock, env []string) error {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", b.text)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		code = exit.ExitCode()
	} else if err != nil {
		return fmt.Errorf("%w (%w)\n%s\n%s", err, ctx.Err(), b.text, out)
	}
	if code != b.exits {
		return fmt.Errorf("exit code %d, wanted %d\n%s\n%s", code, b.exits, b.text, out)
	}
	return nil
}

// docsEnv is this process's environment without settings of the command, with
// a folder in front of PATH.
func docsEnv(bin string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GRAVEN_") })
	return append(env, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "CGO_ENABLED=0")
}

// docsRoot is the folder of the whole source.
func docsRoot(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func docsPage(t testing.TB, name string) string {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh on this machine")
	}
	text, err := os.ReadFile(filepath.Join(docsRoot(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// docsMakes matches a file that a block writes.
var docsMakes = regexp.MustCompile(`>>? *([A-Za-z0-9-]+(?:\.[a-z]+)?)\b`)

// docsRun runs blocks in order, each as a subtest, and tells how many it had to leave out.
func docsRun(t *testing.T, dir string, blocks []docsBlock, env []string) {
	t.Helper()
	skipped := 0
	var lost []string // files that blocks which were left out would have made
	for _, b := range blocks {
		missing := docsMissing(b.text)
		for _, name := range lost {
			if missing == "" && strings.Contains(b.text, name) {
				missing = name + " of a block before it"
			}
		}
		ok := t.Run(fmt.Sprintf("line %d", b.line), func(t *testing.T) {
			if missing != "" {
				t.Skipf("it needs %s, which is not there", missing)
			}
			if err := docsShell(t, dir, b, env); err != nil {
				t.Fatal(err)
			}
		})
		if missing != "" {
			skipped++
			for _, made := range docsMakes.FindAllStringSubmatch(b.text, -1) {
				lost = append(lost, made[1])
			}
		}
		if !ok {
			t.Fatalf("the blocks behind line %d build on it", b.line)
		}
	}
	t.Logf("%d of %d blocks were run, %d skipped", len(blocks)-skipped, len(blocks), skipped)
}

func TestDocsProofs(t *testing.T) { docsTest(t, "docs/proofs.md") }

func TestDocsCookbook(t *testing.T) { docsTest(t, "docs/cookbook.md") }

func TestDocsOperations(t *testing.T) { docsTest(t, "docs/operations.md") }

// docsTest runs the blocks of a page.
func docsTest(t *testing.T, page string) {
	blocks, err := docsBlocks(docsPage(t, page))
	if err != nil {
		t.Fatalf("%s: %v", page, err)
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block that is marked as tested", page)
	}
	bin := t.TempDir()
	env := append(docsEnv(bin), "DOCS="+filepath.Join(docsRoot(t), "docs"))
	build := docsBlock{text: "go build -o '" + filepath.Join(bin, "graven") + "' ./cmd/graven"}
	if err := docsShell(t, docsRoot(t), build, env); err != nil {
		t.Fatal(err)
	}
	docsRun(t, t.TempDir(), blocks, env)
}

// TestDocsReadme runs the commands under "Use it", line by line, beside a copy
// of what they name. Adapted are where the command is built to, and the place
// of what is rescued.
func TestDocsReadme(t *testing.T) {
	_, rest, found := strings.Cut(docsPage(t, "README.md"), "\n## Use it\n")
	_, rest, opened := strings.Cut(rest, "\n```\n")
	text, _, closed := strings.Cut(rest, "\n```\n")
	if !found || !opened || !closed {
		t.Fatal("README.md has no block of commands under `## Use it`")
	}
	dir := t.TempDir()
	env := docsEnv(dir)
	root := docsRoot(t)
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "README.md"), readme, 0o644),
		os.Mkdir(filepath.Join(dir, "bin"), 0o755),
		os.CopyFS(filepath.Join(dir, "docs"), os.DirFS(filepath.Join(root, "docs"))),
	); err != nil {
		t.Fatal(err)
	}
	var blocks []docsBlock
	for i, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		line = strings.ReplaceAll(line, "/tmp/rescued", "'"+filepath.Join(dir, "rescued")+"'")
		if strings.HasPrefix(line, "go build -o bin/graven ") {
			line = "cd '" + root + "'\n" + strings.Replace(line, "-o bin/graven ", "-o '"+filepath.Join(dir, "bin", "graven")+"' ", 1)
		}
		blocks = append(blocks, docsBlock{line: i + 1, text: line})
	}
	if len(blocks) < 5 {
		t.Fatalf("README.md has %d commands under `## Use it`:\n%s", len(blocks), text)
	}
	docsRun(t, dir, blocks, env)
}

// TestDocsRunner shows that a block can fail.
func TestDocsRunner(t *testing.T) {
	page := "text\n```\nnot marked\n```\n```sh test\ntrue\n```\n```sh\nnot marked\n```\n```sh test exits=3\nexit 3\n```\n"
	blocks, err := docsBlocks(page)
	if err != nil {
		t.Fatal(err)
	}
	if want := []docsBlock{{5, "true\n", 0}, {11, "exit 3\n", 3}}; !slices.Equal(blocks, want) {
		t.Fatalf("found %+v, wanted %+v", blocks, want)
	}
	for _, slip := range []string{"```sh tset\n```\n", "```bash test\n```\n", "```sh test exit=1\n```\n", "```sh test exits=\n```\n", "```sh test\ntrue\n", "```sh test\n```sh test\n```\n"} {
		if blocks, err := docsBlocks(slip); err == nil {
			t.Errorf("%q: found %+v, wanted an error", slip, blocks)
		}
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh on this machine")
	}
	for _, tc := range []struct {
		text  string
		exits int
		good  bool
	}{
		{"true", 0, true},
		{"false\ntrue", 0, false},
		{"x=$(false)\ntrue", 0, false},
		{"echo $not_there", 0, false},
		{"true", 1, false},
		{"(exit 2)", 1, false},
		{"(exit 1)", 1, true},
	} {
		err := docsShell(t, t.TempDir(), docsBlock{text: tc.text, exits: tc.exits}, os.Environ())
		if (err == nil) != tc.good {
			t.Errorf("%q, exits=%d: %v", tc.text, tc.exits, err)
		}
	}
}
