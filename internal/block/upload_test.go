package block

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"graven/internal/fsx"
	"graven/internal/fsx/osfs"
	"graven/record"
)

// upload stores a value in pieces of odd sizes.
func upload(t testing.TB, s *Store, value []byte, chunk uint64) Uploaded {
	t.Helper()
	u, err := s.NewUpload("main", chunk)
	must(t, err)
	for i := 0; len(value) > 0; i++ {
		n := min(len(value), 1+i*37%101)
		_, err := u.Write(value[:n])
		must(t, err)
		value = value[n:]
	}
	up, err := u.Finish()
	must(t, err)
	return up
}

func readValue(s *Store, up Uploaded) ([]byte, error) {
	v, err := s.OpenValue(up.List, up.Whole, up.Size)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = v.WriteTo(&b)
	return b.Bytes(), err
}

func TestUploadSizes(t *testing.T) {
	const chunk = 64
	for _, size := range []int{1, chunk - 1, chunk, chunk + 1, 2 * chunk, 10*chunk + 5} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			disk := fsx.NewMem()
			s := openOn(t, disk)
			value := art("value", size).Bytes
			up := upload(t, s, value, chunk)
			if up.Whole != record.IDOf(value) || up.Size != uint64(size) || up.Class != "main" || up.Known || up.Block.Number != nil {
				t.Fatalf("uploaded %+v", up)
			}
			if got := fmt.Sprint(names(t, disk, "blocks/open")); got != "[up-"+up.Block.ID.Hex()+"]" {
				t.Fatalf("open: %s", got)
			}
			if record.IDOf(content(t, disk, "blocks/"+upName(up.Block.ID))) != up.Block.ID {
				t.Fatal("the waiting file does not have the hash of its name")
			}
			if _, err := readValue(s, up); !errors.Is(err, ErrNotFound) {
				t.Fatalf("it can be read before it is admitted: %v", err)
			}
			must(t, s.Admit(up.Block))
			must(t, s.Admit(up.Block))
			if got := names(t, disk, "blocks/open"); len(got) != 0 {
				t.Fatalf("open: %v", got)
			}
			noDamage(t, s, up.Block)
			got, err := readValue(s, up)
			must(t, err)
			if !bytes.Equal(got, value) {
				t.Fatal("another value came back")
			}
			list, err := s.ReadList(up.List)
			must(t, err)
			if list.Size != uint64(size) || list.Chunk != chunk || len(list.Chunks) != (size+chunk-1)/chunk {
				t.Fatalf("list %+v", list)
			}
			if mentioned(t, s, "main", list.Chunks[0]) || mentioned(t, s, "main", up.List) {
				t.Fatal("artifacts of a chunk block count as mentioned")
			}
			again := openOn(t, disk)
			must(t, again.LoadSealed(up.Block))
			must(t, again.LoadSealed(up.Block))
			got, err = readValue(again, up)
			must(t, err)
			if !bytes.Equal(got, value) || !again.Admitted(up.Block.ID) {
				t.Fatal("another value came back")
			}
		})
	}
}

func TestUploadEqualChunksOnce(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	value := bytes.Repeat(art("chunk", 1000).Bytes, 50)
	up := upload(t, s, value, 1000)
	if up.Block.Count != 2 || up.Block.Size > 8000 {
		t.Fatalf("50 equal chunks take %d artifacts, %d bytes", up.Block.Count, up.Block.Size)
	}
	must(t, s.Admit(up.Block))
	got, err := readValue(s, up)
	must(t, err)
	if !bytes.Equal(got, value) {
		t.Fatal("another value came back")
	}
}

func TestUploadRefuses(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	_, err := s.NewUpload("", 10)
	wants(t, err, ErrInvalid)
	_, err = s.NewUpload("main", 0)
	wants(t, err, ErrInvalid)
	u, err := s.NewUpload("main", 10)
	must(t, err)
	_, err = u.Finish()
	wants(t, err, ErrInvalid)
	_, err = u.Write([]byte("x"))
	wants(t, err, ErrClosed)
	_, err = u.Finish()
	wants(t, err, ErrClosed)
	u, err = s.NewUpload("main", 10)
	must(t, err)
	_, err = u.Write(make([]byte, 25))
	must(t, err)
	must(t, u.Abort())
	must(t, u.Abort())
	_, err = u.Write([]byte("x"))
	wants(t, err, ErrClosed)
	if got := names(t, disk, "blocks/open"); len(got) != 0 {
		t.Fatalf("left open: %v", got)
	}
	n := uint64(3)
	wants(t, s.Admit(record.Block{Number: &n, Class: "main"}), ErrInvalid)
	err = s.Admit(record.Block{Class: "main", ID: record.ID{1}})
	wants(t, err, ErrMissing)
	if !strings.Contains(err.Error(), "up-01") || !strings.Contains(err.Error(), "sealed/01") {
		t.Errorf("the error does not name both files: %v", err)
	}
}

func TestUploadsSideBySide(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	const n = 16
	ups := make([]Uploaded, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			u, err := s.NewUpload("main", 100)
			if err == nil {
				_, err = u.Write(art(fmt.Sprint("value", i%4), 1234).Bytes) // four values, four times each
			}
			if err == nil {
				ups[i], err = u.Finish()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := names(t, disk, "blocks/open"); len(got) != 4 {
		t.Fatalf("waiting: %v", got)
	}
	// Three of the four that count on a file give up; the last keeps it.
	for i := range 12 {
		s.DropUpload(ups[i])
	}
	if got := names(t, disk, "blocks/open"); len(got) != 4 {
		t.Fatalf("waiting: %v", got)
	}
	s.DropUpload(ups[12])
	if got := names(t, disk, "blocks/open"); len(got) != 3 {
		t.Fatalf("waiting: %v", got)
	}
	for _, up := range ups[13:] {
		must(t, s.Admit(up.Block))
		s.DropUpload(up) // after the fact it does nothing
		if _, err := readValue(s, up); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, disk, "blocks/open"); len(got) != 0 {
		t.Fatalf("waiting: %v", got)
	}
}

// Equal uploads, of which one is admitted while the others still finish or give
// up: it stays whole, and nothing is left waiting.
func TestUploadsAdmittedMeanwhile(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	for round := range 30 {
		value := art(fmt.Sprint("round ", round), 500).Bytes
		var admitted Uploaded
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				u, err := s.NewUpload("main", 100)
				if err == nil {
					_, err = u.Write(value)
				}
				var up Uploaded
				if err == nil {
					up, err = u.Finish()
				}
				if err == nil && i == 0 {
					admitted = up
					err = s.Admit(up.Block)
				} else if err == nil {
					s.DropUpload(up)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got, err := readValue(s, admitted)
		must(t, err)
		if !bytes.Equal(got, value) {
			t.Fatal("another value came back")
		}
		if got := names(t, disk, "blocks/open"); len(got) != 0 {
			t.Fatalf("left open: %v", got)
		}
	}
}

func TestUploadOfWhatIsKnown(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	value := art("value", 1000).Bytes
	up := upload(t, s, value, 100)
	must(t, s.Admit(up.Block))
	list, err := s.ReadList(up.List)
	must(t, err)
	// Rot in a chunk, and in the list.
	for _, id := range []record.ID{list.Chunks[3], up.List} {
		ref, _, _ := s.LookupAny(id)
		flip(t, disk, "blocks/"+sealedName(up.Block.ID), 8*(ref.off+5))
	}
	if _, err := readValue(s, up); !errors.Is(err, ErrDamaged) {
		t.Fatalf("rot was not met: %v", err)
	}
	again := upload(t, s, value, 100)
	if !again.Known || again.Block != up.Block {
		t.Fatalf("uploaded %+v", again)
	}
	got, err := readValue(s, up)
	must(t, err)
	if !bytes.Equal(got, value) || !exists(t, disk, "blocks/"+healedName(list.Chunks[3])) || !exists(t, disk, "blocks/"+healedName(up.List)) {
		t.Fatal("the rotten chunk was not healed from the new upload")
	}
	if got := names(t, disk, "blocks/open"); len(got) != 0 {
		t.Fatalf("left open: %v", got)
	}
	s.DropUpload(again)
	must(t, s.Admit(up.Block))
}

func TestUploadMeetsALeftover(t *testing.T) {
	value := art("value", 500).Bytes
	disk := fsx.NewMem()
	up := upload(t, openOn(t, disk), value, 100)
	name := "blocks/" + upName(up.Block.ID)
	for _, rot := range []bool{false, true} {
		if rot {
			flip(t, disk, name, 800)
		}
		s := openOn(t, disk)
		if got := s.Waiting(); len(got) != 1 || got[0] != up.Block.ID {
			t.Fatalf("waiting: %v", got)
		}
		again := upload(t, s, value, 100)
		if again.Block != up.Block || again.Known {
			t.Fatalf("uploaded %+v", again)
		}
		if record.IDOf(content(t, disk, name)) != up.Block.ID {
			t.Fatal("a rotten leftover was trusted")
		}
		must(t, s.SweepUploads(nil)) // it is used now
		if !exists(t, disk, name) {
			t.Fatal("a waiting upload of this process was swept")
		}
	}
}

func TestSweepUploads(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	kept := upload(t, s, art("kept", 300).Bytes, 100)
	gone := upload(t, s, art("gone", 300).Bytes, 100)
	u, err := s.NewUpload("main", 100)
	must(t, err)
	_, err = u.Write(make([]byte, 1000))
	must(t, err)
	put(t, s, "main", art("a", 5))
	s = openOn(t, disk)
	must(t, s.SweepUploads(func(id record.ID) bool { return id == kept.Block.ID }))
	if got, want := fmt.Sprint(names(t, disk, "blocks/open")), "[main-00000000.blk up-"+kept.Block.ID.Hex()+"]"; got != want {
		t.Fatalf("open: %v, wanted %v", got, want)
	}
	wants(t, s.Admit(gone.Block), ErrMissing)
	must(t, s.Admit(kept.Block))
	must(t, s.SweepUploads(nil))
}

// A crash may leave the block waiting, published, or both.
func TestAdmitAfterACrash(t *testing.T) {
	value := art("value", 500).Bytes
	disk := fsx.NewMem()
	up := upload(t, openOn(t, disk), value, 100)
	must(t, disk.Mkdir("blocks/sealed", false))
	must(t, disk.Mkdir("blocks/sealed/"+up.Block.ID.Hex()[:2], false))
	to := "blocks/" + sealedName(up.Block.ID)
	must(t, disk.Link("blocks/"+upName(up.Block.ID), to))
	for range 2 { // under both names, then under the published one
		s := openOn(t, disk)
		must(t, s.Admit(up.Block))
		if _, err := readValue(s, up); err != nil {
			t.Fatal(err)
		}
		if got := names(t, disk, "blocks/open"); len(got) != 0 {
			t.Fatalf("open: %v", got)
		}
	}
}

// patterned is a long value that is not held anywhere.
type patterned struct {
	r    *rand.ChaCha8
	left int64
	each func() // called for every piece
}

func (p *patterned) Read(b []byte) (int, error) {
	p.each()
	if p.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.left))
	_, err := p.r.Read(b[:n])
	p.left -= int64(n)
	return n, err
}

// checking compares what it is written with a patterned value.
type checking struct {
	want *patterned
	h    hash.Hash
	buf  [64 << 10]byte
}

func (c *checking) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		part := b[done:min(len(b), done+len(c.buf))]
		if _, err := io.ReadFull(c.want, c.buf[:len(part)]); err != nil {
			return done, err
		}
		if !bytes.Equal(part, c.buf[:len(part)]) {
			return done, errors.New("other bytes came back")
		}
		done += len(part)
	}
	c.h.Write(b)
	return len(b), nil
}

// A large value goes to a real disk and back through the memory of a few
// chunks at most.
func TestLargeValueInBoundedMemory(t *testing.T) {
	const size, chunk = 100 << 20, 8 << 20
	disk, err := osfs.Open(t.TempDir())
	must(t, err)
	defer disk.Close()
	s := openOn(t, disk)
	value := func(each func()) *patterned { return &patterned{rand.NewChaCha8([32]byte{1}), size, each} }
	runtime.GC()
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	before, peak, calls := now.HeapAlloc, uint64(0), 0
	watch := func() {
		if calls++; calls%16 == 0 {
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc)
		}
	}
	u, err := s.NewUpload("main", chunk)
	must(t, err)
	_, err = io.CopyBuffer(struct{ io.Writer }{u}, value(watch), make([]byte, 64<<10))
	must(t, err)
	up, err := u.Finish()
	must(t, err)
	must(t, s.Admit(up.Block))
	v, err := s.OpenValue(up.List, up.Whole, up.Size)
	must(t, err)
	c := &checking{want: value(watch), h: sha256.New()}
	n, err := v.WriteTo(c)
	must(t, err)
	if n != size || record.ID(c.h.Sum(nil)) != up.Whole || up.Size != size {
		t.Fatalf("%d bytes came back", n)
	}
	if calls < size/(64<<10) || peak > before+6*chunk {
		t.Fatalf("%d MiB of memory for a value in chunks of %d MiB", (peak-before)>>20, chunk>>20)
	}
	part := make([]byte, 100)
	_, err = v.ReadAt(part, 5*chunk-50)
	must(t, err)
}
