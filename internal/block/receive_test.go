package block

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"graven/internal/fsx"
)

// TestReceive copies a chunk block from one store to another: whole and true, or not at all.
func TestReceive(t *testing.T) {
	value := art("value", 1000).Bytes
	from := openOn(t, fsx.NewMem())
	up := upload(t, from, value, 64)
	must(t, from.Admit(up.Block))
	file, err := from.OpenFile(up.Block)
	must(t, err)
	size, err := file.Size()
	must(t, err)
	whole := make([]byte, size)
	must(t, readFull(file, whole, 0))

	disk := fsx.NewMem()
	to := openOn(t, disk)
	receive := func(content []byte) (Uploaded, error) {
		return to.Receive(up.Block, &constFile{content})
	}
	for at := 0; at < len(whole); at += 7 {
		bad := bytes.Clone(whole)
		bad[at] ^= 4
		if _, err := receive(bad); !errors.Is(err, ErrDamaged) {
			t.Fatalf("with byte %d changed: %v", at, err)
		}
	}
	for _, n := range []int{0, 10, len(whole) - 1} {
		if _, err := receive(whole[:n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes of it: %v", n, err)
		}
	}
	if got := names(t, disk, "blocks/open"); len(got) > 0 {
		t.Fatalf("refused copies left %v", got)
	}
	first, err := to.Receive(up.Block, file)
	must(t, err)
	if got := fmt.Sprint(names(t, disk, "blocks/open")); got != "[up-"+up.Block.ID.Hex()+"]" {
		t.Fatalf("waiting: %s", got)
	}
	to.DropUpload(first)
	if got := names(t, disk, "blocks/open"); len(got) > 0 {
		t.Fatalf("a copy that was given back left %v", got)
	}
	_, err = to.Receive(up.Block, file)
	must(t, err)
	must(t, to.Admit(up.Block))
	if got, err := readValue(to, up); err != nil || !bytes.Equal(got, value) {
		t.Errorf("the copy reads %d bytes, %v", len(got), err)
	}
	if again, err := to.Receive(up.Block, file); err != nil || !again.Known || len(names(t, disk, "blocks/open")) > 0 {
		t.Errorf("a second copy: %+v, %v", again, err)
	}
	must(t, file.Close())
	number := uint64(0)
	numbered := up.Block
	numbered.Number = &number
	if _, err := to.Receive(numbered, file); !errors.Is(err, ErrInvalid) {
		t.Errorf("a numbered block: %v", err)
	}
}

// constFile is a file of fixed content.
type constFile struct{ content []byte }

func (f *constFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.content).ReadAt(p, off)
}
func (f *constFile) Size() (int64, error)               { return int64(len(f.content)), nil }
func (f *constFile) WriteAt([]byte, int64) (int, error) { return 0, fsx.ErrReadOnly }
func (f *constFile) Truncate(int64) error               { return fsx.ErrReadOnly }
func (f *constFile) Reserve(int64, int64) error         { return fsx.ErrReadOnly }
func (f *constFile) Sync() error                        { return nil }
func (f *constFile) Close() error                       { return nil }
