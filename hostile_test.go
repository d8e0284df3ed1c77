package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

// The tests of this file came from a hostile reading: each once failed.

// copyFile puts a file of one disk in the place of another's.
func copyFile(t testing.TB, from, to fsx.Disk, name string) {
	t.Helper()
	setFile(t, to, name, readAll(from, name))
}

// setFile gives a file other content.
func setFile(t testing.TB, d fsx.Disk, name string, content []byte) {
	t.Helper()
	if err := d.Remove(name); err != nil && content == nil {
		t.Fatal(err)
	}
	f, err := d.Open(name, fsx.Create)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
}

// TestRefusedOpenTouchesNothing puts an older log back. The open refuses, and
// once the right log is there again everything is.
func TestRefusedOpenTouchesNothing(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, nil)
	s.group(put("early", "one"))
	s.close()
	old := mem.Clone()
	s.reopen()
	want := map[string]string{"early": "one"}
	for i := range 20 {
		key, value := fmt.Sprint("k", i), strings.Repeat("v", 1000)+fmt.Sprint(i)
		want[key] = value
		s.group(put(key, value))
	}
	s.close()
	right := mem.Clone()
	for _, without := range []string{"", "vaults/main/meta/keys/pub/log.vkey"} {
		disk := right.Clone()
		for _, name := range append(walk(t, old, "vaults/main/log"), "vaults/main/meta/host/clean") {
			copyFile(t, old, disk, name)
		}
		if without != "" {
			if err := disk.Remove(without); err != nil {
				t.Fatal(err)
			}
		}
		before := truth(t, disk)
		store, err := Open(context.Background(), scriptHost(disk, 2), scriptOptions())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Vault(context.Background(), "main"); !errors.Is(err, ErrDamaged) {
			t.Errorf("without %q: an older log opens: %v", without, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		for name, content := range truth(t, disk) {
			if before[name] != content {
				t.Errorf("without %q: the refused open changed %s", without, name)
			}
		}
		for _, name := range append(walk(t, right, "vaults/main/log"), "vaults/main/meta/host/clean", "vaults/main/meta/keys/pub/log.vkey") {
			copyFile(t, right, disk, name)
		}
		if n, err := neverWrong(disk, want); err != nil || n != len(want) {
			t.Errorf("without %q: with the right log back %d of %d keys can be read: %v", without, n, len(want), err)
		}
	}
}

// TestInvalidRequestLeavesNothing refuses transactions whose value is staged
// already: no record of theirs stays, and their value can be discarded.
func TestInvalidRequestLeavesNothing(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	s.group(put("a", "1"))
	size := s.vault.View().Size()
	bad := map[string]func(*Tx){
		"actor":     func(tx *Tx) { tx.Actor = "\xff" },
		"id":        func(tx *Tx) { tx.ID = "\xff" },
		"class":     func(tx *Tx) { tx.Class = "not-in-the-policy" },
		"condition": func(tx *Tx) { tx.Delete([]byte("absent"), DeleteOptions{}) },
	}
	for name, spoil := range bad {
		c, err := s.vault.Stage(context.Background(), strings.NewReader(strings.Repeat(name, 40)))
		if err != nil {
			t.Fatal(err)
		}
		tx := &Tx{}
		tx.Put([]byte("k"), c, PutOptions{})
		spoil(tx)
		if _, err := commitGroup(s.vault, tx); err == nil {
			t.Fatalf("%s: accepted", name)
		}
		c.Discard()
		c.Discard()
	}
	if got := s.vault.View().Size(); got != size {
		t.Errorf("refused requests left %d records", got-size)
	}
	s.group(put("b", "2"))
	s.close()
	if r := checkAll(t, mem, false); len(r.Findings) > 0 {
		t.Errorf("check finds %v", r.Findings)
	}
}

// TestDiscardNeverTakesFromATransaction gives up staged values at the worst moments.
func TestDiscardNeverTakesFromATransaction(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	stage := func(text string) Content {
		c, err := s.vault.Stage(context.Background(), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	value := strings.Repeat("0123456789", 25)
	one, other := stage(value), stage(value) // equal bytes, one file
	one.Discard()
	one.Discard()
	tx := &Tx{}
	tx.Put([]byte("other"), other, PutOptions{})
	s.group(tx)
	other.Discard() // durable: it stays

	held := stage(value + "held")
	r, err := s.vault.encode(func() *Tx { tx := &Tx{}; tx.Put([]byte("held"), held, PutOptions{}); return tx }())
	if err == nil {
		err = r.takeContents()
	}
	if err != nil {
		t.Fatal(err)
	}
	held.Discard() // while its transaction waits
	g := s.vault.newGroup()
	s.vault.take(g, r)
	result := make(chan error, 1)
	s.vault.dispatch(g, result)
	s.vault.persisted(g, nil, <-result)
	if d := <-r.done; d.err != nil {
		t.Fatal(d.err)
	}
	tx = &Tx{}
	gone := stage(value + "gone")
	gone.Discard()
	tx.Put([]byte("gone"), gone, PutOptions{})
	if _, err := commitGroup(s.vault, tx); !errors.Is(err, ErrInvalid) {
		t.Errorf("a discarded value was taken: %v", err)
	}
	s.close()
	if n, err := neverWrong(mem, map[string]string{"other": value, "held": value + "held"}); n != 2 || err != nil {
		t.Errorf("%d of 2 values can be read: %v", n, err)
	}
}

// TestReaderBesideASeal reads beside a writer at every step of a block's way
// from open to sealed.
func TestReaderBesideASeal(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	want := map[string]string{}
	read := func(when string) {
		t.Helper()
		published := map[string]string{}
		w := s.vault.View()
		at, err := w.At(s.vault.published.Load() - 1)
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range want {
			if _, err := at.Get([]byte(key)); err == nil {
				published[key] = value
			}
		}
		if n, err := neverWrong(mem, published); err != nil || n != len(published) {
			t.Errorf("%s: a reader beside the writer reads %d of %d published keys: %v", when, n, len(published), err)
		}
	}
	for i := range 30 {
		key, value := fmt.Sprint("k", i), strings.Repeat("v", 50)+fmt.Sprint(i)
		want[key] = value
		s.group(put(key, value))
		read("after a commit")
		if i%5 == 4 {
			if err := s.vault.settle(); err != nil {
				t.Fatal(err)
			}
			read("after a settle")
		}
	}
	s.close()
}

// TestReaderWhileBlocksAreSealed opens a vault for reading whose writer fills, seals and
// records a block each time that the open has read the checkpoint.
func TestReaderWhileBlocksAreSealed(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	n := 0
	write := func(many int) {
		for range many {
			n++
			s.group(put(fmt.Sprint("k", n), strings.Repeat("v", 50)+fmt.Sprint(n)))
		}
		if err := s.vault.settle(); err != nil {
			t.Fatal(err)
		}
	}
	fill := func() {
		write(14)
		write(1) // records what was sealed
		write(1) // publishes that
	}
	fill()
	tries := 0
	disk := &hooked{Disk: mem, opened: func(name string) {
		if name == "vaults/main/checkpoint" {
			tries++
			fill()
		}
	}}
	store, v := openMain(t, disk, readingOptions())
	values := 0
	for e, err := range v.View().List(Query{}) {
		if err == nil {
			_, err = v.View().Value(e)
		}
		if err != nil {
			t.Fatal(err)
		}
		values++
	}
	if values < 14 || tries != 1 {
		t.Errorf("%d values after %d tries", values, tries)
	}
	target := fsx.NewMem()
	if _, err := store.Backup(context.Background(), "main", target, BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := restored(BackupIn(target), false); err != nil {
		t.Error(err)
	}
	s.close()
}

// TestReaderKeepsItsOpenBlocks reads all values of a view that is older than the seals of
// its open blocks, and has more sealed ones than files stay open.
func TestReaderKeepsItsOpenBlocks(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, func(g *record.Genesis) { small(g); g.BlockBytes = 300 })
	n := 0
	write := func(many int) {
		for range many {
			n++
			s.group(put(fmt.Sprintf("k%05d", n), strings.Repeat("v", 50)+fmt.Sprint(n)))
			if err := s.vault.settle(); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(160)
	_, v := openMain(t, mem, readingOptions())
	write(20)
	for range 2 {
		for e, err := range v.View().List(Query{}) {
			if err == nil {
				_, err = v.View().Value(e)
			}
			if err != nil {
				t.Fatalf("%s: %v", e.Key, err)
			}
		}
	}
	if sealed := len(v.blocks.SealedNames()); sealed < 70 {
		t.Errorf("only %d sealed blocks", sealed)
	}
	s.close()
}

// TestRefusalWaitsForWhatItSaw judges a request against a transaction that is
// then refused for want of room: its conflict must not be told.
func TestRefusalWaitsForWhatItSaw(t *testing.T) {
	full := false
	disk := fsx.Fault(fsx.NewMem(), func(c fsx.Call) error {
		if full && (c.Op == "reserve" || c.Op == "write" || c.Op == "create") {
			return fsx.ErrNoSpace
		}
		return nil
	})
	s := newScript(t, disk, nil)
	v := s.vault
	ask := func(tx *Tx) *request {
		r, err := v.encode(tx)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	full = true
	first, second := v.newGroup(), (*group)(nil)
	a := ask(put("lock", strings.Repeat("x", 200_000)))
	v.take(first, a)
	for i := range 60 { // more than what is reserved ahead
		v.take(first, ask(put(fmt.Sprint("fill", i), strings.Repeat("y", 200_000)+fmt.Sprint(i))))
	}
	result := make(chan error, 1)
	v.dispatch(first, result)
	second = v.newGroup()
	b := ask(put("lock", "b"))
	conflicting := &Tx{}
	conflicting.Delete([]byte("never there"), DeleteOptions{})
	c := ask(conflicting)
	v.take(second, b)
	v.take(second, c)
	v.persisted(first, second, <-result)
	for _, r := range []*request{a, b, c} {
		if d := <-r.done; !errors.Is(d.err, ErrFull) {
			t.Errorf("answered %v, wanted that the disk is full", d.err)
		}
	}
	full = false
	s.group(put("lock", "free"))
	s.close()
}

// TestStaleMarkIsNoticed puts the mark of an earlier clean end back after a
// kill: what only the WAL holds is not forgotten.
func TestStaleMarkIsNoticed(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	s.group(put("a", "1"))
	s.close()
	mark := mem.Clone()
	s.reopen()
	synced := mem.Clone()
	r := s.group(put("b", "2"))[0]
	line, err := s.vault.View().Record(r.Seq)
	if err != nil {
		t.Fatal(err)
	}
	mem.Kill()
	copyFile(t, mark, mem, "vaults/main/meta/host/clean")
	for _, name := range walk(t, synced, "vaults/main/log") {
		copyFile(t, synced, mem, name) // the log write had not reached the disk
	}
	if err := rises(mem, []any{acknowledged{r.Seq, merkle.LeafHash(line), proof.Checkpoint{Size: r.Size, Root: r.Root}}}); err != nil {
		t.Error(err)
	}
}

// TestExchangedFolder puts a vault's folder in the place of another name: two
// vaults writing under one key would be two histories, and a reader of "copy"
// must not be told what "main" holds.
func TestExchangedFolder(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	s.group(put("a", "1"))
	s.close()
	if err := mem.Rename("vaults/main", "vaults/copy"); err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []bool{false, true} {
		o := scriptOptions()
		o.ReadOnly = readOnly
		store, err := Open(context.Background(), s.host, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Vault(context.Background(), "copy"); !errors.Is(err, ErrDamaged) {
			t.Errorf("read-only %v: a copy opens: %v", readOnly, err)
		}
		r, err := store.Check(context.Background(), "copy", CheckOptions{})
		if err != nil || !r.Damaged() {
			t.Errorf("check of a copy finds nothing: %v", err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestShortenedLogIsRefused takes the last group off a cleanly closed log and
// makes the mark fit: the published checkpoint and the WAL both know better.
func TestShortenedLogIsRefused(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	s.group(put("a", "1"))
	s.group(put("b", "2"))
	s.close()
	const log = "vaults/main/log/log-0000000000000000.jsonl"
	lines := bytes.SplitAfter(readAll(mem, log), []byte{'\n'})
	short := bytes.Join(lines[:4], nil)
	for _, wal := range []bool{true, false} {
		disk := mem.Clone()
		f, err := disk.Open(log, fsx.ReadWrite)
		if err == nil {
			err = errors.Join(f.Truncate(int64(len(short))), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		overwrite(t, disk, "vaults/main/meta/host/clean", 0, []byte("clean 4\n"))
		if !wal {
			for _, name := range walk(t, disk, "vaults/main/wal") {
				if err := disk.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		}
		store, err := Open(context.Background(), scriptHost(disk, 2), scriptOptions())
		if err != nil {
			t.Fatal(err)
		}
		v, err := store.Vault(context.Background(), "main")
		if err == nil {
			if _, err := v.View().Get([]byte("b")); err != nil {
				t.Errorf("wal %v: it opens without what was acknowledged: %v", wal, err)
			}
		} else if !errors.Is(err, ErrDamaged) {
			t.Errorf("wal %v: %v", wal, err)
		}
		_ = store.Close()
	}
}

// TestAfterClose calls everything on a store that is closed.
func TestAfterClose(t *testing.T) {
	ctx := context.Background()
	s := newScript(t, fsx.NewMem(), small)
	s.group(put("a", "1"))
	v, store := s.vault, s.store
	s.close()
	_, err := v.Commit(ctx, put("b", "2"))
	_, err2 := store.CreateVault(ctx, CreateOptions{Vault: "other"})
	_, err3 := store.Check(ctx, "main", CheckOptions{})
	_, err4 := store.Vault(ctx, "main")
	for i, err := range []error{err, err2, err3, err4, v.Publish()} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call %d: %v, wanted closed", i, err)
		}
	}
}

// putBack puts the named files of an earlier moment in the place of today's.
func putBack(t testing.TB, from, to fsx.Disk, names ...string) {
	t.Helper()
	for _, name := range names {
		copyFile(t, from, to, name)
	}
}

const (
	checkpointFile = "vaults/main/checkpoint"
	markFile       = "vaults/main/meta/host/clean"
)

// TestOldCheckpointIsNoticed puts an older checkpoint back, alone and with the
// mark of its time: nobody is told old values, and nothing is signed on them.
func TestOldCheckpointIsNoticed(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	s.group(put("c", "old"))
	s.close()
	old := mem.Clone()
	s.reopen()
	s.group(put("c", "new"))
	s.group(put("only", "new"))
	s.close()
	for _, names := range [][]string{{checkpointFile, markFile}, {checkpointFile}} {
		for _, readOnly := range []bool{true, false} {
			disk := mem.Clone()
			putBack(t, old, disk, names...)
			o := scriptOptions()
			o.ReadOnly = readOnly
			store, err := Open(context.Background(), scriptHost(disk, 2), o)
			if err != nil {
				t.Fatal(err)
			}
			v, err := store.Vault(context.Background(), "main")
			if err == nil {
				e, err := v.View().Get([]byte("c"))
				t.Errorf("%v put back, read-only %v: it opens; c is %v, %v", names, readOnly, e.Value, err)
			} else if !errors.Is(err, ErrDamaged) {
				t.Errorf("%v put back, read-only %v: %v", names, readOnly, err)
			}
			_ = store.Close()
			if !checkAll(t, disk, readOnly).Damaged() {
				t.Errorf("%v put back, read-only %v: check finds nothing", names, readOnly)
			}
		}
	}
}

// TestDamagedLogDoesNotMendTiles flips bits in a log that has tiles, commit
// lines among them: the line is named, and the tile, which knows better, stays.
func TestDamagedLogDoesNotMendTiles(t *testing.T) {
	mem, _ := settled(t, 150)
	const tile = "vaults/main/tile/0/000"
	witness := readAll(mem, tile)
	if witness == nil {
		t.Fatal("there is no tile")
	}
	commits, others := 0, 0
	for _, file := range walk(t, mem, "vaults/main/log") {
		offset := 0
		for i, line := range bytes.SplitAfter(readAll(mem, file), []byte{'\n'}) {
			at := offset + bytes.Index(line, []byte(`"kind":`)) + len(`"kind":"commit"`) + (i*37)%max(1, len(line)-60)
			offset += len(line)
			if len(line) < 100 || i%7 != 0 && i%5 != 0 {
				continue
			}
			if bytes.Contains(line, []byte(`"kind":"commit"`)) {
				commits++
			} else {
				others++
			}
			disk := mem.Clone()
			was := readAll(disk, file)[at]
			overwrite(t, disk, file, int64(at), []byte{was ^ 1})
			r := checkAll(t, disk, false)
			name := strings.TrimPrefix(file, "vaults/main/")
			if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.File == name && !f.Mended }) {
				t.Errorf("%s, byte %d: no finding in the file: %v", name, at, r.Findings)
			}
			if !bytes.Equal(readAll(disk, tile), witness) {
				t.Errorf("%s, byte %d: the tile was changed", name, at)
			}
			if len(r.Findings) > 8 {
				t.Errorf("%s, byte %d: %d findings for one bit: %v", name, at, len(r.Findings), r.Findings)
			}
		}
	}
	if commits < 20 || others < 20 {
		t.Errorf("only %d commit lines and %d others were damaged", commits, others)
	}
}

// TestShortLogKeepsTiles cuts the log of a cleanly closed vault: the tile that
// holds the lost leaf hashes is evidence.
func TestShortLogKeepsTiles(t *testing.T) {
	mem, _ := settled(t, 150)
	const tile = "vaults/main/tile/0/000"
	if readAll(mem, tile) == nil {
		t.Fatal("there is no tile")
	}
	logs := walk(t, mem, "vaults/main/log")
	for _, name := range logs {
		if strings.HasSuffix(name, ".jsonl") && !strings.HasSuffix(name, "log-0000000000000000.jsonl") {
			if err := mem.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r := checkAll(t, mem, false); !r.Damaged() {
		t.Error("check finds nothing")
	}
	if readAll(mem, tile) == nil {
		t.Error("check removed the tile")
	}
}

// TestFalseSizeIsDamage lets a ledger say a wrong size of a value.
func TestFalseSizeIsDamage(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	tx := put("k", "value")
	tx.ops[0].Size = 6
	s.group(tx)
	w := s.vault.View()
	e, err := w.Get([]byte("k"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Value(e); !errors.Is(err, ErrDamaged) {
		t.Errorf("5 bytes are read for a value of 6: %v", err)
	}
	s.close()
	if r := checkAll(t, mem, false); !r.Damaged() {
		t.Error("check finds nothing")
	}
}

// emptyWAL leaves the files of the write-ahead log without a group.
func emptyWAL(t testing.TB, disk fsx.Disk) {
	t.Helper()
	for _, name := range walk(t, disk, "vaults/main/wal") {
		overwrite(t, disk, name, 0, make([]byte, len(readAll(disk, name))))
	}
}

// refused opens a vault for writing, wants that it is refused as damaged and
// that check says so too, and that neither changed a file but the marks of hosts.
func refused(t *testing.T, disk *fsx.Mem, what string) {
	t.Helper()
	was := filesOf(t, disk)
	store, err := Open(context.Background(), scriptHost(disk, 2), scriptOptions())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Vault(context.Background(), "main"); !errors.Is(err, ErrDamaged) {
		t.Errorf("%s: opening gives %v", what, err)
	}
	_ = store.Close()
	if !checkAll(t, disk, false).Damaged() {
		t.Errorf("%s: check finds nothing", what)
	}
	if now := filesOf(t, disk); !maps.Equal(now, was) {
		for name := range now {
			if now[name] != was[name] {
				t.Errorf("%s: %s was changed", what, name)
			}
		}
		t.Errorf("%s: %d files, before %d", what, len(now), len(was))
	}
}

// filesOf are the files of log, blocks, tiles, and the checkpoint.
func filesOf(t testing.TB, disk fsx.Disk) map[string]string {
	t.Helper()
	all := map[string]string{checkpointFile: string(readAll(disk, checkpointFile))}
	for _, folder := range []string{"log", "blocks", "tile"} {
		if there, err := fsx.NewDir(disk, nil).Exists("vaults/main/" + folder); err != nil || !there {
			continue
		}
		for _, name := range walk(t, disk, "vaults/main/"+folder) {
			all[name] = string(readAll(disk, name))
		}
	}
	return all
}

// TestTilesTellOfALongerLog cuts a log, adapts the mark, and takes the
// checkpoint away: only a tile still knows of the records.
func TestTilesTellOfALongerLog(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, nil)
	for range 140 {
		s.group(put("a", "the same bytes")) // no block knows how often
	}
	s.close()
	const file = "vaults/main/log/log-0000000000000000.jsonl"
	lines := bytes.SplitAfter(readAll(mem, file), []byte{'\n'})[:100]
	if !bytes.Contains(lines[99], []byte(`"kind":"commit"`)) {
		t.Fatalf("the cut is not behind a commit: %s", lines[99])
	}
	setFile(t, mem, file, bytes.Join(lines, nil))
	setFile(t, mem, markFile, []byte("clean 100\n"))
	if err := mem.Remove(checkpointFile); err != nil {
		t.Fatal(err)
	}
	for _, name := range walk(t, mem, "vaults/main/wal") {
		if err := mem.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, mem, "a cut log")
}

// TestArtifactsKeepTheirOrder exchanges two artifacts of an open block: each has
// its hash, and stands where the log does not put it.
func TestArtifactsKeepTheirOrder(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, nil)
	s.group(put("a", "first"))
	s.group(put("b", "other"))
	s.close()
	const file = "vaults/main/blocks/open/main-00000000.blk"
	frames := bytes.SplitAfter(readAll(mem, file), []byte{'\n'}) // header, then two lines a frame
	if len(frames) != 6 {
		t.Fatalf("%q", frames)
	}
	setFile(t, mem, file, bytes.Join([][]byte{frames[0], frames[3], frames[4], frames[1], frames[2]}, nil))
	if r := checkAll(t, mem, true); !r.Damaged() {
		t.Error("check finds nothing")
	}
}

// TestFramesTellOfALostGroup takes away what WAL and log hold of the newest
// groups: their artifacts still stand in a block.
func TestFramesTellOfALostGroup(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, nil)
	s.group(put("a", "1"))
	s.close()
	s.reopen()
	before := mem.Clone()
	s.group(put("b", "2"))
	s.group(put("c", "3"))
	mem.Kill()
	emptyWAL(t, mem)
	for _, name := range walk(t, before, "vaults/main/log") {
		copyFile(t, before, mem, name)
	}
	refused(t, mem, "lost groups")
}

// TestStaleMarkForReaders puts log and mark of an earlier clean end back after a
// kill: the write-ahead log knows better, and a reader must not miss it.
func TestStaleMarkForReaders(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	s.group(put("a", "1"))
	s.close()
	old := mem.Clone()
	s.reopen()
	s.group(put("a", "2"))
	mem.Kill()
	for _, name := range append(walk(t, old, "vaults/main/log"), markFile) {
		copyFile(t, old, mem, name)
	}
	for _, disk := range []fsx.Disk{fsx.ReadOnly(mem), mem} {
		o := scriptOptions()
		o.ReadOnly = true
		store, err := Open(context.Background(), scriptHost(disk, 2), o)
		if err != nil {
			t.Fatal(err)
		}
		v, err := store.Vault(context.Background(), "main")
		if err == nil {
			e, err := v.View().Get([]byte("a"))
			if err != nil || e.N != 2 {
				t.Errorf("version %d is served, %v", e.N, err)
			}
		} else if !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
		_ = store.Close()
	}
}
