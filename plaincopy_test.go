package graven

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/internal/journal"
	"graven/merkle"
	"graven/record"
)

// plainCopy copies files of a vault as cp does: it lists a folder, then reads each
// file piece by piece until it ends. It yields wherever the writer may go on. Files
// that are gone meanwhile are passed over.
type plainCopy struct {
	t        testing.TB
	from, to fsx.Disk
	rng      *rand.Rand
	yield    func(struct{}) bool
}

// folder copies the files below a folder whose names fit.
func (c *plainCopy) folder(name string, fits func(string) bool) {
	entries, err := c.from.ReadDir(name)
	if err != nil {
		return // not there
	}
	c.yield(struct{}{})
	for _, e := range entries {
		switch full := path.Join(name, e.Name); {
		case e.Dir:
			c.folder(full, fits)
		case fits(full):
			c.file(full)
		}
	}
}

// file copies a file, over the one that an earlier round may have copied.
func (c *plainCopy) file(name string) {
	f, err := c.from.Open(name, fsx.Read)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	info, err := c.from.Stat(name)
	private := err == nil && info.Private
	var all []byte
	for {
		piece := make([]byte, 1+c.rng.IntN(3000))
		n, err := f.ReadAt(piece, int64(len(all)))
		if all = append(all, piece[:n]...); errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.t.Fatal(err)
		}
		c.yield(struct{}{})
	}
	writePlain(c.t, c.to, name, all, private)
}

// writePlain makes a file and the folders that it lies in.
func writePlain(t testing.TB, d fsx.Disk, name string, data []byte, private bool) {
	t.Helper()
	for i, r := range name {
		if r == '/' {
			if err := d.Mkdir(name[:i], false); err != nil && !errors.Is(err, fs.ErrExist) {
				t.Fatal(err)
			}
		}
	}
	if err := d.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	mode := fsx.Create
	if private {
		mode = fsx.CreatePrivate
	}
	f, err := d.Open(name, mode)
	if err == nil {
		_, err = f.WriteAt(data, 0)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// documented is the order of docs/operations.md.
func (c *plainCopy) documented(keys bool) {
	const main = "vaults/main/"
	all := func(string) bool { return true }
	blocks := func(name string) bool { return strings.HasSuffix(name, ".blk") }
	logs := func(name string) bool { return strings.HasSuffix(name, ".jsonl") }
	// What takes long, and may be old.
	for _, name := range []string{"README.txt", "rescue.sh"} {
		c.file(main + name)
	}
	for _, folder := range []string{"tile", "index", "state", "meta/authority", "meta/policy", "meta/keys/pub", "blocks/sealed", "blocks/healed"} {
		c.folder(main+folder, all)
	}
	c.folder(main+"log", logs)
	// What counts.
	c.file(main + "checkpoint")
	c.folder(main+"log", logs)
	c.folder(main+"blocks/open", blocks)
	c.folder(main+"blocks/sealed", all)
	if keys {
		c.folder(main+"meta/keys/priv", all)
	}
}

// reversed copies what counts in the other order: the twin of documented, which is
// to be refused where the vault went on meanwhile.
func (c *plainCopy) reversed() {
	for _, part := range []string{"blocks", "log", "meta"} {
		c.folder("vaults/main/"+part, func(name string) bool { return !strings.Contains(name, "/host/") })
	}
	c.file("vaults/main/checkpoint")
}

// careless copies everything once, folder by folder in any order.
func (c *plainCopy) careless() {
	parts := []string{"README.txt", "rescue.sh", "checkpoint", "blocks", "index", "log", "meta", "state", "tile", "wal"}
	c.rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	for _, part := range parts {
		if info, err := c.from.Stat("vaults/main/" + part); err == nil && info.Regular {
			c.file("vaults/main/" + part)
			continue
		}
		c.folder("vaults/main/"+part, func(string) bool { return true })
	}
}

// liveCopy lets a vault write while it is copied: at some of the writer's calls to
// the disk the copy goes on for a piece. It returns the copy, the roots of all sizes
// that the writer committed, and the size that was published when the copy began.
func liveCopy(t testing.TB, seed uint64, limits func(*record.Genesis), order func(*plainCopy)) (*fsx.Mem, map[uint64]merkle.Hash, uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	mem, to := fsx.NewMem(), fsx.NewMem()
	step, often := func() bool { return false }, 0
	s := newScript(t, fsx.Fault(mem, func(c fsx.Call) error {
		if often > 0 && c.Mutates() && rng.IntN(often) == 0 {
			step()
		}
		return nil
	}), limits)
	roots := map[uint64]merkle.Hash{}
	written := 0
	write := func() {
		written++
		tx := put(fmt.Sprintf("k%02d", written%17), fmt.Sprintf("value %d of %d", written, seed))
		switch rng.IntN(6) {
		case 0:
			tx = s.stage("big", strings.Repeat(fmt.Sprintf("%04d", written), 40))
		case 1:
			tx = wide("w", 6+rng.IntN(4))
		}
		for _, r := range s.group(tx, put("last", fmt.Sprint(written))) {
			roots[r.Size] = r.Root
		}
		if rng.IntN(3) == 0 {
			if err := s.vault.Publish(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 10 + rng.IntN(40) {
		write()
	}
	if err := s.vault.Publish(); err != nil {
		t.Fatal(err)
	}
	published := s.vault.published.Load()
	c := &plainCopy{t: t, from: mem, to: to, rng: rng}
	next, stop := iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		order(c)
	})
	defer stop()
	done := false
	step = func() bool {
		if !done {
			_, ok := next()
			done = !ok
		}
		return done
	}
	for often = []int{1, 3, 20}[seed%3]; !done; {
		write()
	}
	often = 0
	writePlain(t, to, "lock", nil, false)
	s.close()
	return to, roots, published
}

// refusals are the errors that a copy may be refused with. The last three are met by
// recoveries from a write-ahead log and files of different moments.
var refusals = []error{ErrDamaged, ErrReadOnly, fs.ErrNotExist, block.ErrConflict, block.ErrInvalid, journal.ErrConflict}

// openCopy opens a copy and holds what it says against what the writer committed. It
// reports whether it opened; a refusal must be one of those that say what is wrong.
func openCopy(t testing.TB, d fsx.Disk, roots map[uint64]merkle.Hash, least uint64, readOnly bool) (opened, writable bool) {
	t.Helper()
	o := scriptOptions()
	o.ReadOnly = readOnly
	store, err := Open(context.Background(), scriptHost(d, 9), o)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	v, err := store.Vault(context.Background(), "main")
	if err != nil {
		for _, why := range refusals {
			if errors.Is(err, why) {
				return false, false
			}
		}
		t.Fatalf("refused with %v", err)
	}
	head := v.View().Head()
	if want, ok := roots[head.Size]; !ok || head.Root != want {
		t.Fatalf("the copy opens at size %d with root %v, there it was %v", head.Size, head.Root, want)
	}
	if head.Size < least {
		t.Fatalf("the copy opens at size %d, when it was begun %d was published", head.Size, least)
	}
	saysOf(t, v)
	return true, v.Status().Writable
}

// TestPlainCopyOfALiveVault copies a vault with plain reads while it is written, in
// the order of docs/operations.md: the copy holds at least what was published when
// it was begun, check finds no damage in it, and nobody can write it; or it is refused.
// It is refused only where a block was sealed in the short second part, which
// limits as in life make rare.
func TestPlainCopyOfALiveVault(t *testing.T) {
	lives := 30
	if testing.Short() {
		lives = 9
	}
	calm := func(g *record.Genesis) { small(g); g.BlockBytes = 1 << 20 }
	for name, limits := range map[string]func(*record.Genesis){"calm": calm, "blocks are sealed all the time": small} {
		t.Run(name, func(t *testing.T) {
			opened := 0
			for seed := range uint64(lives) {
				withKeys := seed%2 == 0
				d, roots, published := liveCopy(t, seed, limits, func(c *plainCopy) { c.documented(withKeys) })
				reads, writable := openCopy(t, d.Clone(), roots, published, true)
				if writable {
					t.Fatalf("seed %d: a copy that is read can be written", seed)
				}
				if _, writable = openCopy(t, d.Clone(), roots, published, false); writable {
					t.Fatalf("seed %d: a copy without a write-ahead log can be written", seed)
				}
				if reads {
					opened++
				} else if !strings.HasPrefix(name, "blocks") {
					t.Errorf("seed %d: the copy is refused", seed)
				}
				if r := checkAll(t, d, true); reads && len(r.Findings) > 0 {
					t.Errorf("seed %d: check of the copy finds %v", seed, r.Findings)
				}
			}
			t.Logf("%d of %d copies opened", opened, lives)
			if opened == 0 {
				t.Error("no copy opened")
			}
		})
	}
}

// TestReversedCopyOfALiveVault shows that the order matters.
func TestReversedCopyOfALiveVault(t *testing.T) {
	refused := 0
	for seed := range uint64(9) {
		d, roots, published := liveCopy(t, seed, small, (*plainCopy).reversed)
		if opened, _ := openCopy(t, d, roots, published, true); !opened {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no copy was refused")
	}
}

// TestCarelessCopyOfALiveVault copies everything in any order, the write-ahead log
// too: what opens is a moment that the vault had, and not before its own checkpoint.
func TestCarelessCopyOfALiveVault(t *testing.T) {
	lives := 45
	if testing.Short() {
		lives = 12
	}
	opened := map[string]int{}
	for seed := range uint64(lives) {
		d, roots, _ := liveCopy(t, seed, small, (*plainCopy).careless)
		least := checkpointSize(mustUnder(t, d))
		for _, readOnly := range []bool{true, false} {
			ok, writable := openCopy(t, d.Clone(), roots, least, readOnly)
			opened[fmt.Sprintf("for reading %v, opened %v, writable %v", readOnly, ok, writable)]++
		}
	}
	t.Log(opened)
}

func mustUnder(t testing.TB, d fsx.Disk) fsx.Dir {
	t.Helper()
	s, err := Open(context.Background(), scriptHost(d, 9), scriptOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.vaultDir("main")
}
