package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/record"
)

// TestCheckAudits builds ledgers that hang together and break a rule that only
// a replay can see.
func TestCheckAudits(t *testing.T) {
	big := strings.Repeat("0123456789", 25)
	for what, spoil := range map[string]func(*script){
		"a condition that does not hold": func(s *script) {
			tx := &Tx{}
			tx.Put([]byte("a"), Bytes([]byte("2")), PutOptions{If: &record.Cond{Kind: record.Absent}})
			r, err := s.vault.encode(tx)
			if err != nil {
				t.Fatal(err)
			}
			cond := r.ops[0].If
			r.ops[0].If = nil // the committer does not see it
			g := s.vault.newGroup()
			s.vault.take(g, r)
			r.ops[0].If = cond
			result := make(chan error, 1)
			s.vault.dispatch(g, result)
			s.vault.persisted(g, nil, <-result)
			if d := <-r.done; d.err != nil {
				t.Fatal(d.err)
			}
		},
		"chunks of another value": func(s *script) {
			s.group(s.stage("big", big))
			e, err := s.vault.View().Get([]byte("big"))
			if err != nil {
				t.Fatal(err)
			}
			list, err := s.vault.blocks.ReadList(*e.Chunks)
			if err != nil {
				t.Fatal(err)
			}
			list.Whole = record.IDOf([]byte("another"))
			text := block.AppendList(nil, list)
			tx := put("forged", "x")
			id := record.IDOf(text)
			tx.contents[0] = Content{id: id, size: 1, bytes: text}
			tx.ops[0].Value, tx.ops[0].Size, tx.ops[0].Chunks = list.Whole, list.Size, &id
			s.group(tx)
		},
	} {
		mem := fsx.NewMem()
		s := newScript(t, mem, small)
		s.group(put("a", "1"))
		spoil(s)
		s.close()
		if r := checkAll(t, mem, true); len(r.Findings) != 1 {
			t.Errorf("%s: check finds %v", what, r.Findings)
		}
	}
}

// TestLogFilesEndWhereTheyMust joins two log files: every line is right, and
// stands where no writer puts it.
func TestLogFilesEndWhereTheyMust(t *testing.T) {
	mem, _ := settled(t, 40)
	logs := walk(t, mem, "vaults/main/log")
	var files []string
	for _, name := range logs {
		if strings.HasSuffix(name, ".jsonl") {
			files = append(files, name)
		}
	}
	if len(files) < 3 {
		t.Fatalf("only %d log files", len(files))
	}
	at := len(readAll(mem, files[0]))
	overwrite(t, mem, files[0], int64(at), readAll(mem, files[1]))
	if err := mem.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	r := checkAll(t, mem, true)
	if len(r.Findings) != 1 || r.Findings[0].Offset != int64(at) {
		t.Errorf("check finds %v, wanted one at offset %d", r.Findings, at)
	}
}

// TestCheckBesideAWriter checks at every crash state of a vault's life without
// the right to write, and beside its writer: honest states are no damage.
func TestCheckBesideAWriter(t *testing.T) {
	mem := fsx.NewMem()
	story(t, mem, &watched{Disk: mem, mem: mem}, nil)
	perPrefix := 2
	if testing.Short() {
		perPrefix = 1
	}
	states := 0
	for state := range mem.CrashStates(fsx.CrashOptions{MaxPerPrefix: perPrefix, Seed: 5}) {
		if !slices.ContainsFunc(state.Events, func(e any) bool { _, born := e.(created); return born }) {
			continue
		}
		states++
		if r := checkAll(t, fsx.ReadOnly(state.Disk), true); len(r.Findings) > 0 {
			t.Fatalf("operation %d (%s): %v", state.Prefix, state.Desc, r.Findings)
		}
	}
	if states < 200 {
		t.Errorf("only %d states", states)
	}
	mem = fsx.NewMem()
	s := newScript(t, mem, small)
	for i := range 150 {
		s.group(put(fmt.Sprint("k", i), strings.Repeat("v", 30)+fmt.Sprint(i)))
		step := [](func() error){s.vault.syncLog, s.vault.sealFull, s.vault.flushTiles, s.vault.settle}[i%4]
		if err := step(); err != nil {
			t.Fatal(err)
		}
		if i%3 > 0 && i < 60 { // the first tile fills behind these
			continue
		}
		for _, readOnly := range []bool{true, false} {
			store := s.store
			if readOnly {
				var err error
				o := scriptOptions()
				o.ReadOnly = true
				if store, err = Open(context.Background(), scriptHost(mem, 4), o); err != nil {
					t.Fatal(err)
				}
			}
			r, err := store.Check(context.Background(), "main", CheckOptions{})
			if err != nil || len(r.Findings) > 0 {
				t.Fatalf("step %d, beside %v: %v, %v", i, readOnly, r, err)
			}
			if readOnly {
				_ = store.Close()
			}
		}
	}
	s.close()
}

// TestCheckBesideNewPages checks beside a writer that writes state pages and removes
// older ones while the check replays: they are no damage, damage of the newest is.
func TestCheckBesideNewPages(t *testing.T) {
	for _, hurt := range []bool{false, true} {
		mem := fsx.NewMem()
		s := newScript(t, mem, small)
		n := 0
		write := func() {
			for range 60 {
				n++
				s.group(put(fmt.Sprint("k", n%20), fmt.Sprint(n)))
				if err := s.vault.settle(); err != nil {
					t.Fatal(err)
				}
			}
		}
		write()
		listed, done := false, false
		disk := &hooked{Disk: mem, opened: func(name string) {
			if strings.HasPrefix(name, "vaults/main/state/") {
				listed = true
			} else if listed && !done && strings.HasPrefix(name, "vaults/main/log/") {
				done = true
				write()
				if hurt {
					pages := filesBelow(t, mem, "vaults/main/state")
					hurtAt(t, mem, pages[len(pages)-1], 60)
				}
			}
		}}
		store, err := Open(context.Background(), scriptHost(disk, 8), readingOptions())
		if err != nil {
			t.Fatal(err)
		}
		r, err := store.Check(context.Background(), "main", CheckOptions{})
		if err != nil || !done || r.Damaged() != hurt {
			t.Errorf("damaged %v, replayed meanwhile %v: %v, %v", hurt, done, err, r.Findings)
		}
		_ = store.Close()
		s.close()
	}
}

// TestRebuildSaysWhatWasMissing removes files of index and state, which the open that comes
// first makes again.
func TestRebuildSaysWhatWasMissing(t *testing.T) {
	mem := fsx.NewMem()
	derivedStory(t, mem)
	for _, lost := range [][]string{{"index"}, {"state"}, {"index", "state"}, {"index/keys/1-00000001.seg"}} {
		disk := mem.Clone()
		for _, name := range lost {
			files := filesBelow(t, disk, "vaults/main/"+name)
			if files == nil {
				files = []string{"vaults/main/" + name}
			}
			for _, f := range files {
				if err := disk.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
		var said []string
		for _, f := range rebuild(t, disk).Findings {
			if !f.Mended {
				t.Errorf("%s: not mended: %v", lost, f)
			}
			said = append(said, f.File)
		}
		if !slices.Equal(said, lost) {
			t.Errorf("it speaks of %s, wanted %s", said, lost)
		}
		if again := rebuild(t, disk).Findings; len(again) > 0 {
			t.Errorf("%s: once more: %v", lost, again)
		}
	}
}

// TestCheckWithoutRights checks what this process may not read: that is no damage.
func TestCheckWithoutRights(t *testing.T) {
	mem := fsx.NewMem()
	derivedStory(t, mem)
	for _, place := range []string{"open vaults/main/log/", "readdir vaults/main/blocks", "open vaults/main/index/keys/", "open vaults/main/wal/"} {
		disk := fsx.Fault(mem.Clone(), func(c fsx.Call) error {
			if strings.HasPrefix(c.Op+" "+c.Name, place) {
				return fs.ErrPermission
			}
			return nil
		})
		for _, o := range []Options{scriptOptions(), readingOptions()} {
			store, err := Open(context.Background(), scriptHost(disk, 4), o)
			if err != nil {
				t.Fatal(err)
			}
			r, err := store.Check(context.Background(), "main", CheckOptions{})
			if !errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %+v, %v", place, r, err)
			}
			_ = store.Close()
		}
	}
}

// TestCheckWhileSealing checks a vault whose blocks are sealed and dropped while
// the check is under way, after it has chosen how far to look.
func TestCheckWhileSealing(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	for i := range 100 {
		s.group(put(fmt.Sprint("k", i), strings.Repeat("v", 30)+fmt.Sprint(i)))
	}
	n := 0
	r, err := s.store.Check(context.Background(), "main", CheckOptions{Progress: func(_, _ int64) {
		if n++; n == 50 { // the log is being read
			for i := range 60 {
				s.group(put(fmt.Sprint("later", i), strings.Repeat("w", 30)+fmt.Sprint(i)))
				if err := s.vault.settle(); err != nil {
					t.Error(err)
				}
			}
		}
	}})
	if err != nil || len(r.Findings) > 0 {
		t.Errorf("%v, %v", r, err)
	}
	s.close()
}

// TestCheckNamesStrangersInTheLog: also behind the last file that is read.
func TestCheckNamesStrangersInTheLog(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, nil)
	s.group(put("a", "1"))
	setFile(t, mem, "vaults/main/log/zzz", []byte("x"))
	r, err := s.store.Check(context.Background(), "main", CheckOptions{})
	if err != nil || !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.File == "log/zzz" }) {
		t.Errorf("%v, %v", r, err)
	}
}

// TestCheckBesideUnpublishedTiles checks beside a writer, and then after its end,
// between the writing of tiles and the publishing of what they cover.
func TestCheckBesideUnpublishedTiles(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, nil)
	for i := range 130 {
		s.group(put(fmt.Sprint("k", i), "v"))
	}
	if err := errors.Join(s.vault.syncLog(), s.vault.flushTiles()); err != nil {
		t.Fatal(err)
	}
	if readAll(mem, "vaults/main/tile/0/000") == nil {
		t.Fatal("there is no tile")
	}
	for _, when := range []string{"beside the writer", "after its end"} {
		if r := checkAll(t, fsx.ReadOnly(mem), true); len(r.Findings) > 0 {
			t.Errorf("%s: %v", when, r.Findings)
		}
		mem.Kill()
	}
}

// TestCheckSaysWhatTheOpenMadeAgain: of all that an open puts right, and once.
func TestCheckSaysWhatTheOpenMadeAgain(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	if _, err := s.setPolicy(func(p *record.Policy) { p.Classes = append(p.Classes, "other") }); err != nil {
		t.Fatal(err)
	}
	s.group(put("a", "1"))
	s.close()
	for _, name := range []string{policyFile, logPub, cosignerPub, "checkpoint"} {
		for what, spoil := range map[string]func(d fsx.Disk){
			"missing": func(d fsx.Disk) {
				if err := d.Remove("vaults/main/" + name); err != nil {
					t.Fatal(err)
				}
			},
			"junk": func(d fsx.Disk) { overwrite(t, d, "vaults/main/"+name, 3, []byte("\n\n")) },
			"long": func(d fsx.Disk) { overwrite(t, d, "vaults/main/"+name, 3, make([]byte, 2<<20)) },
		} {
			disk := mem.Clone()
			spoil(disk)
			checkAll(t, fsx.ReadOnly(disk.Clone()), true)
			r := checkAll(t, disk, false)
			if len(r.Findings) != 1 || r.Findings[0].File != name || !r.Findings[0].Mended {
				t.Errorf("%s is %s: check finds %v", name, what, r.Findings)
			}
			if what != "missing" && name != policyFile && !slices.ContainsFunc(walk(t, disk, "vaults/main/meta/host/cut"), func(file string) bool {
				return strings.Contains(file, "/"+path.Base(name)+"-")
			}) {
				t.Errorf("%s is %s: it is not set aside", name, what)
			}
			if !bytes.Equal(readAll(disk, "vaults/main/"+name), readAll(mem, "vaults/main/"+name)) {
				t.Errorf("%s is %s: it is not what it was", name, what)
			}
			if r := checkAll(t, disk, false); len(r.Findings) > 0 {
				t.Errorf("%s was %s: the next check finds %v", name, what, r.Findings)
			}
		}
	}
}
