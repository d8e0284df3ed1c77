package graven

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"graven/internal/fsx"
)

// randomLife is a vault with a history of its own: some groups of transactions of
// every shape, closed now and then.
func randomLife(t testing.TB, seed uint64) (*fsx.Mem, string) {
	rng := rand.New(rand.NewPCG(seed, 11))
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	key := func() string {
		return []string{"a", "b/1", "b/2", "ü", "\xff", "\x00x", "quote\"", "c", "d", "e"}[rng.IntN(10)]
	}
	value := func() string { return strings.Repeat("v", rng.IntN(50)) + fmt.Sprint(rng.IntN(30)) }
	for range rng.IntN(12) {
		var txs []*Tx
		keys := map[string]bool{} // that this group has written
		for range 1 + rng.IntN(4) {
			tx := &Tx{Actor: key()[:1]}
			if !strings.Contains("abcde", tx.Actor) {
				tx.Actor = ""
			}
			for range 1 + rng.IntN(5) {
				if k := key(); !keys[k] {
					keys[k] = true
					if rng.IntN(4) == 0 {
						tx.Delete([]byte(k), DeleteOptions{AllowAbsent: true})
					} else {
						tx.Put([]byte(k), Bytes([]byte(value())), PutOptions{Type: []string{"", "text/plain"}[rng.IntN(2)]})
					}
				}
			}
			switch rng.IntN(6) {
			case 0:
				tx.Append(Bytes([]byte(value())), "")
			case 1:
				tx.RequireUnchanged([]byte("zz"), []byte("zzz"), 0)
			case 2:
				for i := range 12 { // wide
					tx.Put(fmt.Appendf(nil, "wide/%d/%d", i, rng.IntN(1000)), Bytes([]byte(value())), PutOptions{})
				}
			}
			if tx.Len() > 0 {
				txs = append(txs, tx)
			}
		}
		if rng.IntN(5) == 0 {
			txs = append(txs, s.stage("big", strings.Repeat(value()+"/", 40)))
		}
		if len(txs) > 0 {
			s.group(txs...)
		}
		switch rng.IntN(6) {
		case 0:
			s.close()
			s.reopen()
		case 1, 2:
			if err := s.vault.settle(); err != nil {
				t.Fatal(err)
			}
		}
	}
	w := s.vault.View()
	want := fmt.Sprintf("size %d\nroot %v\nstate %v\n", w.Size(), w.Head().Root, w.state.Root())
	s.close()
	return mem, want
}

// TestSecondReader lets a reader that somebody wrote in another language, from
// docs/format.md alone, recompute tree root and state root of many histories.
func TestSecondReader(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: there is no python3 on this machine")
	}
	lives := 200
	if testing.Short() {
		lives = 20
	}
	if os.Getenv("GRAVEN_DEEP") != "" {
		lives = 10_000
	}
	records := 0
	for from := 0; from < lives; from += 200 {
		dir := t.TempDir()
		args, want := []string{"docs/reader.py"}, ""
		for i := from; i < min(from+200, lives); i++ {
			mem, says := randomLife(t, uint64(i))
			folder := filepath.Join(dir, fmt.Sprint(i))
			if err := os.MkdirAll(filepath.Join(folder, "blocks", "open"), 0o777); err != nil { // it may be empty
				t.Fatal(err)
			}
			for _, name := range walk(t, mem, "vaults/main") {
				path := filepath.Join(folder, strings.TrimPrefix(name, "vaults/main/"))
				if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, readAll(mem, name), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			args, want = append(args, folder), want+says
			records += bytes.Count(readAll(mem, "vaults/main/log/log-0000000000000000.jsonl"), []byte{'\n'})
		}
		var errs bytes.Buffer
		cmd := exec.Command(python, args...)
		cmd.Stderr = &errs
		got, err := cmd.Output()
		if err != nil || string(got) != want {
			t.Fatalf("from history %d: %v %s\n%s", from, err, &errs, firstDifference(string(got), want))
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d histories agree, with %d records in their first files", lives, records)
	if records < lives*5 {
		t.Errorf("only %d records", records)
	}
}

// firstDifference shows where two texts part.
func firstDifference(a, b string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("at byte %d: %.80q, wanted %.80q", i, a[i:], b[i:])
		}
	}
	return fmt.Sprintf("%d bytes, wanted %d", len(a), len(b))
}
