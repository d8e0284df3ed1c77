package segment

import (
	"bytes"
	"testing"
)

// FuzzPage parses any bytes. What parses is a page that the builder makes again,
// and whose rows are all found.
func FuzzPage(f *testing.F) {
	for _, height := range []int{0, 1} {
		b := pageBuilder{from: 5}
		for i, key := range []string{"a", "ab", "ab", "b"} {
			b.add([]byte(key), uint64(10-i), appendPlace(nil, place{int64(1000 * i), 100}))
		}
		f.Add(b.appendTo(nil, height), byte(height))
	}
	b := pageBuilder{from: 5}
	for i := range 40 {
		b.add([]byte{byte(i / 3), 'x'}, uint64(50-i%3), nil)
	}
	f.Add(b.appendTo(nil, 0), byte(0))
	f.Add([]byte{0, 1, 0, 0, 0, 0}, byte(0))
	f.Fuzz(func(t *testing.T, data []byte, height byte) {
		p, err := parsePage(data, int(height), 5, 1000)
		if err != nil {
			return
		}
		b := pageBuilder{from: 5}
		c := cursor{p: p, i: -1, next: int(p.marks[0])}
		for i := range p.rows {
			c.step()
			b.add(c.key, c.seq, c.value)
			if h := p.search(c.key, c.seq); h.i != i || !h.exact || !h.same {
				t.Fatalf("row %d is found as %+v", i, h)
			}
		}
		if again := b.appendTo(nil, int(height)); !bytes.Equal(again, data) {
			t.Fatalf("%x becomes %x", data, again)
		}
	})
}

// FuzzFile opens any bytes as a file, with the checksum of the footer made good,
// and asks for everything in it.
func FuzzFile(f *testing.F) {
	for _, n := range []int{0, 1, 200} {
		f.Add(made(f, testHeader, randomRows(n, 10, 6), 0))
	}
	f.Add([]byte("graven index 2 \n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if end := bytes.IndexByte(data, '\n') + 1; len(data) >= end+footerSize {
			off := len(data) - footerSize
			s := newSeed(data[:end])
			foot, _ := parseFooter(append(bytes.Clone(data[off:len(data)-sumSize]), data[len(data)-sumSize:]...), int64(end), int64(len(data)), s)
			if again := foot.append(nil, int64(off), s); foot.rows > 0 && !bytes.Equal(again, data[off:]) {
				t.Fatalf("footer %x becomes %x", data[off:], again)
			}
		}
		r, err := Open(memory(data), "f", testHeader, 0, NewCache(1<<16))
		if err != nil {
			return
		}
		_ = r.Check(func(error) error { return nil })
		it := r.Iter()
		for ok := it.First(); ok; ok = it.Next() {
			if _, _, err := r.Floor(it.Row().Key, it.Row().Seq); err != nil {
				break
			}
		}
		_, _ = r.May(HashOf([]byte("x")))
	})
}
