package graven_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// floors is the plan of the house: which rooms of ours each room may import
// directly, outside of tests. A room that is not here fails the test, so the
// plan is always whole.
var floors = map[string][]string{
	// The ground knows nothing of ours.
	"graven/merkle":         {},
	"graven/internal/cache": {},
	"graven/internal/fsx":   {},
	"graven/rescue":         {},
	// The light side: all that a client or an auditor needs.
	"graven/record": {"graven/merkle"},
	"graven/state":  {"graven/internal/cache", "graven/merkle"},
	"graven/proof":  {"graven/merkle", "graven/record", "graven/state"},
	// The cellar: on fsx and the light side, not on each other.
	"graven/internal/fsx/osfs":    {"graven/internal/fsx"},
	"graven/internal/fsx/fsxtest": {"graven/internal/fsx"},
	"graven/internal/wal":         {"graven/internal/fsx", "graven/record"},
	"graven/internal/journal":     {"graven/internal/fsx", "graven/record"},
	"graven/internal/block":       {"graven/internal/fsx", "graven/record"},
	"graven/internal/tilestore":   {"graven/internal/cache", "graven/internal/fsx", "graven/merkle"},
	"graven/internal/segment":     {"graven/internal/cache", "graven/record"},
	// Of the cellar only the index has a room below it: the file that it is made of.
	"graven/internal/statestore": {"graven/internal/fsx", "graven/merkle", "graven/record", "graven/state"},
	"graven/internal/index":      {"graven/internal/fsx", "graven/internal/segment", "graven/merkle", "graven/record"},
	// The hall alone knows them all and their order.
	"graven": {
		"graven/internal/block", "graven/internal/fsx", "graven/internal/index", "graven/internal/journal",
		"graven/internal/statestore", "graven/internal/tilestore", "graven/internal/wal",
		"graven/merkle", "graven/proof", "graven/record", "graven/rescue", "graven/state",
	},
	// The host, and the command on top.
	"graven/local":      {"graven", "graven/internal/fsx/osfs"},
	"graven/cmd/graven": {"graven", "graven/local", "graven/merkle", "graven/proof", "graven/record", "graven/rescue"},
}

// light are the rooms that an auditor compiles, and what they may need from
// outside the standard library.
var light = map[string][]string{
	"graven/internal/cache": {}, "graven/merkle": {}, "graven/record": {}, "graven/state": {},
	"graven/proof": {"golang.org/x/mod/sumdb/note", "filippo.io/mldsa"},
}

// hosts may reach the operating system. All other rooms get files, clock and
// randomness through small interfaces.
var hosts = []string{"graven/internal/fsx/osfs", "graven/local", "graven/cmd/graven"}

// ambient is what only hosts may import.
var ambient = []string{"os", "os/", "net", "net/", "syscall", "crypto/rand", "math/rand", "math/rand/", "golang.org/x/sys/", "plugin", "unsafe"}

type room struct {
	ImportPath string
	Dir        string
	Doc        string
	Imports    []string
	GoFiles    []string
}

func rooms(t *testing.T) []room {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []room
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var r room
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(r.GoFiles) > 0 {
			list = append(list, r)
		}
	}
	if len(list) < len(floors) {
		t.Fatalf("go list found %d rooms, the plan has %d", len(list), len(floors))
	}
	return list
}

func TestFloors(t *testing.T) {
	for _, r := range rooms(t) {
		may, planned := floors[r.ImportPath]
		if !planned {
			t.Errorf("%s is not in the plan of the house", r.ImportPath)
		}
		for _, i := range r.Imports {
			if (i == "graven" || strings.HasPrefix(i, "graven/")) && !slices.Contains(may, i) {
				t.Errorf("%s imports %s, which is not below it", r.ImportPath, i)
			}
		}
		if r.Doc == "" {
			t.Errorf("%s has no package documentation", r.ImportPath)
		}
	}
}

func TestLightSideStaysLight(t *testing.T) {
	for _, r := range rooms(t) {
		may, ok := light[r.ImportPath]
		if !ok {
			continue
		}
		for _, i := range r.Imports {
			if strings.Contains(strings.SplitN(i, "/", 2)[0], ".") && !slices.Contains(may, i) {
				t.Errorf("%s imports %s: an auditor should not have to trust it", r.ImportPath, i)
			}
		}
	}
}

func TestNoAmbientAuthority(t *testing.T) {
	for _, r := range rooms(t) {
		if slices.Contains(hosts, r.ImportPath) {
			continue
		}
		for _, i := range r.Imports {
			for _, a := range ambient {
				if i == a || strings.HasSuffix(a, "/") && strings.HasPrefix(i, a) {
					t.Errorf("%s imports %s: only hosts may", r.ImportPath, i)
				}
			}
		}
		for _, f := range r.GoFiles {
			checkClock(t, filepath.Join(r.Dir, f))
		}
	}
}

// checkClock looks for uses of the machine's clock and timers.
func checkClock(t *testing.T, file string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
			switch sel.Sel.Name {
			case "Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep":
				t.Errorf("%s uses time.%s: the clock comes from the host", file, sel.Sel.Name)
			}
		}
		return true
	})
}

// TestBuildsElsewhere builds the core for a place without an operating system,
// and the command for the machines that it is shipped to.
func TestBuildsElsewhere(t *testing.T) {
	core := []string{".", "./merkle", "./record", "./state", "./proof"}
	for _, b := range []struct {
		os, arch string
		what     []string
		deep     bool // another system of 64 bits: built in the deep run only
	}{
		{"wasip1", "wasm", core, false},
		{"linux", "arm", []string{"./cmd/graven"}, false},
		{"linux", "arm64", []string{"./cmd/graven"}, true},
		{"darwin", "arm64", []string{"./cmd/graven"}, true},
		{"freebsd", "amd64", []string{"./cmd/graven"}, true},
	} {
		t.Run(b.os+"/"+b.arch, func(t *testing.T) {
			if testing.Short() || b.deep && os.Getenv("GRAVEN_DEEP") == "" {
				t.Skip("skipped: each cross build compiles the standard library; see make test and make test-deep")
			}
			args := []string{"build"}
			if len(b.what) == 1 {
				args = append(args, "-o", os.DevNull)
			}
			cmd := exec.Command("go", append(args, b.what...)...)
			cmd.Env = append(os.Environ(), "GOOS="+b.os, "GOARCH="+b.arch, "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

// TestFilesStaySmall keeps every file one thought.
func TestFilesStaySmall(t *testing.T) {
	files := 0
	for _, r := range rooms(t) {
		for _, f := range r.GoFiles {
			files++
			text, err := os.ReadFile(filepath.Join(r.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte{'\n'}); n > 600 {
				t.Errorf("%s/%s has %d lines; is it one thought?", r.ImportPath, f, n)
			}
		}
	}
	if files == 0 {
		t.Fatal("no files were looked at")
	}
}
