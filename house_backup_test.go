package graven_test

import (
	"strings"
	"testing"
)

// TestOnlyTheCommandCompresses: what is on disk is plain, so nothing but the
// command needs a library for more.
func TestOnlyTheCommandCompresses(t *testing.T) {
	for _, r := range rooms(t) {
		for _, i := range r.Imports {
			if strings.HasPrefix(i, "github.com/klauspost/") && r.ImportPath != "graven/cmd/graven" {
				t.Errorf("%s imports %s", r.ImportPath, i)
			}
		}
	}
}
