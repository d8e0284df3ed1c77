package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"graven"
	"graven/local"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"graven": main})
}

// TestScripts runs the scripts in testdata/script: what a user types, and what
// comes back.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "coreutils" {
				return hasCoreutils(), nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": scriptCode, "json": scriptJSON, "oddtree": scriptOddTree, "sametree": scriptSameTree,
			"flip": scriptFlip, "edit": scriptEdit, "hold": scriptHold, "commits": scriptCommits, "save": scriptSave,
			"witness": scriptWitness, "cosign": scriptCosign,
		},
	})
}

func hasCoreutils() bool {
	for _, tool := range []string{"/bin/sh", "/usr/bin/sha256sum", "/usr/bin/basenc"} {
		if _, err := os.Stat(tool); err != nil {
			return false
		}
	}
	return true
}

// scriptCode: code N COMMAND ARG…; the command must end with exit code N.
func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || err != nil {
		ts.Fatalf("usage: code N COMMAND ARG…")
	}
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	// Whatever goes wrong is said in one line, and maybe another with what to do.
	if stderr := ts.ReadFile("stderr"); want != 0 && args[1] == "graven" && !strings.Contains("\n"+stderr, "\ngraven: ") && !strings.Contains(stderr, "recorded") {
		ts.Fatalf("standard error has no line that begins with %q", "graven: ")
	}
}

// scriptJSON: json FILE N; each of N lines is a JSON value.
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile(args[0])
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			ts.Fatalf("not JSON: %q", line)
		}
	}
	if want := args[1]; neg || strconv.Itoa(len(lines)) != want {
		ts.Fatalf("%d lines of JSON, want %s", len(lines), want)
	}
}

// oddNames are names that trees of real people have.
var oddNames = map[string]int{
	"plain.txt": 5, "empty": 0, "with space": 10, "new\nline": 11, "tab\tand\"quote\"": 12, "uml\u00e4ut/\u65e5\u672c\u8a9e/\U0001f600": 13,
	"not-utf8-\xff\xfe": 14, "b64:looks=like": 15, "-dash": 16, "deep/er/and/deep/er": 17, "deep.txt": 18, "deep-er": 19,
	"cr\r": 20, "escape\x1b[31m": 21, "bom\ufeff": 22, "\u0085next line": 23, "chunked": 300_000, "big": 9 << 20, "exact": 262_144,
}

// scriptOddTree: oddtree DIR; makes a tree with odd names, a link and a pipe.
func scriptOddTree(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	random := rand.New(rand.NewSource(7))
	for name, size := range oddNames {
		path := filepath.Join(dir, name)
		data := make([]byte, size)
		random.Read(data)
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o777))
		ts.Check(os.WriteFile(path, data, 0o666))
	}
}

// tree reads all regular files below a folder.
func tree(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			files[rel] = d.Type().String()
			return nil
		}
		b, err := os.ReadFile(path)
		files[rel] = "file " + string(b)
		return err
	})
	return files, err
}

// scriptSameTree: sametree A B; both have the same files with the same bytes.
func scriptSameTree(ts *testscript.TestScript, neg bool, args []string) {
	a, err := tree(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := tree(ts.MkAbs(args[1]))
	ts.Check(err)
	why := differ(a, b)
	if len(a) == 0 {
		ts.Fatalf("%s is empty", args[0])
	}
	if (why != "") != neg {
		ts.Fatalf("trees %s and %s: %s", args[0], args[1], why)
	}
}

func differ(a, b map[string]string) string {
	for name, want := range a {
		if got, ok := b[name]; !ok {
			return fmt.Sprintf("%q is missing", name)
		} else if got != want {
			return fmt.Sprintf("%q differs", name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			return fmt.Sprintf("%q is too much", name)
		}
	}
	return ""
}

// scriptFlip: flip PATTERN TEXT; changes a bit of the first place where a file
// holds the text. An empty text means the middle of the file.
func scriptFlip(ts *testscript.TestScript, _ bool, args []string) {
	names, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		ts.Check(err)
		at := len(b) / 2
		if args[1] != "" {
			at = bytes.Index(b, []byte(args[1]))
		}
		if at < 0 {
			continue
		}
		b[at] ^= 2
		ts.Check(os.WriteFile(name, b, 0o666))
		return
	}
	ts.Fatalf("%q is in none of %s", args[1], args[0])
}

// scriptEdit: edit PATTERN OLD NEW; replaces a text in the first file that holds it.
func scriptEdit(ts *testscript.TestScript, _ bool, args []string) {
	names, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		ts.Check(err)
		if edited := bytes.Replace(b, []byte(args[1]), []byte(args[2]), 1); !bytes.Equal(b, edited) {
			ts.Check(os.WriteFile(name, edited, 0o666))
			return
		}
	}
	ts.Fatalf("%q is in none of %s", args[1], args[0])
}

// scriptHold: hold STORE; this process owns the store until the script ends.
func scriptHold(ts *testscript.TestScript, _ bool, args []string) {
	s, err := local.Open(context.Background(), ts.MkAbs(args[0]), graven.Options{})
	ts.Check(err)
	_, err = s.Vault(context.Background(), "main")
	ts.Check(err)
	ts.Defer(func() { ts.Check(s.Close()) })
}

// scriptCommits: commits STORE N; commits N transactions with the keys n/0, n/1 and so on.
func scriptCommits(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	s, err := local.Open(context.Background(), ts.MkAbs(args[0]), graven.Options{})
	ts.Check(err)
	v, err := s.Vault(context.Background(), "main")
	ts.Check(err)
	for i := range n {
		tx := &graven.Tx{}
		tx.Put(fmt.Appendf(nil, "n/%d", i), graven.Bytes(fmt.Appendf(nil, "value %d\n", i)), graven.PutOptions{})
		_, err := v.Commit(context.Background(), tx)
		ts.Check(err)
	}
	ts.Check(s.Close())
}

// scriptSave: save NAME LINE [FIELD|N]; sets a variable to a line (from 1) of the last output,
// to what stands behind FIELD= in it, or to its word number N, from 1.
func scriptSave(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.Split(ts.ReadFile("stdout"), "\n")
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	if n > len(lines) {
		ts.Fatalf("output has %d lines", len(lines))
	}
	text := lines[n-1]
	if word, err := strconv.Atoi(args[len(args)-1]); err == nil && len(args) > 2 {
		text = append(strings.Fields(text), make([]string, word)...)[word-1]
	} else if len(args) > 2 {
		_, after, ok := strings.Cut(" "+text, " "+args[2]+"=")
		if !ok {
			ts.Fatalf("no field %s in %q", args[2], text)
		}
		text, _, _ = strings.Cut(after, " ")
	}
	ts.Setenv(args[0], text)
}

// command runs graven as a process of its own.
func command(t *testing.T, store string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("graven", args...)
	cmd.Env = append(os.Environ(), "GRAVEN_STORE="+store, "NO_COLOR=1")
	cmd.WaitDelay = time.Minute
	return cmd
}

// mustRun runs the command and wants exit code 0.
func mustRun(t *testing.T, store string, args ...string) string {
	t.Helper()
	cmd := command(t, store, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("graven %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}
