package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"graven"
)

// TestSparseFilesInAStream: a file with holes may be as long as it says without
// taking room in the stream; a backup has none.
func TestSparseFilesInAStream(t *testing.T) {
	var records strings.Builder
	for _, r := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.realsize=1099511627776", "GNU.sparse.name=log/log-0000000000000000.jsonl"} {
		n := len(r) + len(" \n") + 2 // of two digits
		fmt.Fprintf(&records, "%d %s\n", n, r)
	}
	var b bytes.Buffer
	for _, f := range []struct {
		kind byte
		data string
	}{{tar.TypeXHeader, records.String()}, {tar.TypeReg, "0\n" + strings.Repeat("\x00", 510)}} {
		h := make([]byte, 512)
		copy(h, "x")
		copy(h[100:], fmt.Sprintf("0000644\x000000000\x000000000\x00%011o\x0000000000000\x00        %c", len(f.data), f.kind))
		copy(h[257:], "ustar\x0000")
		sum := 0
		for _, c := range h {
			sum += int(c)
		}
		copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
		b.Write(h)
		b.WriteString(f.data)
		b.Write(make([]byte, (512-len(f.data)%512)%512))
	}
	b.Write(make([]byte, 1024))
	if h, err := tar.NewReader(bytes.NewReader(b.Bytes())).Next(); err != nil || h.Typeflag != tar.TypeReg || h.Size != 1<<40 {
		t.Fatalf("the archive is not what it should be: %+v %v", h, err)
	}
	name, _, err := (&tarSource{r: tar.NewReader(&b)}).Next()
	if !errors.Is(err, graven.ErrDamaged) || !strings.Contains(err.Error(), "a file with holes") {
		t.Errorf("%q %v", name, err)
	}
}
