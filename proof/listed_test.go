package proof

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"graven/record"
)

// TestListDoesNotSwell writes a file whose op lines, a few bytes each, unfold to many
// times its length: it is refused before it takes much memory.
func TestListDoesNotSwell(t *testing.T) {
	v := newVault(t, "example.com/log", "sample")
	v.tx(put('k', "a", "1"))
	v.commit()
	const lines = 200_000
	prefix, long := strings.Repeat("p", 230), strings.Repeat("t", 110)
	out := []byte(keyHeader + "\nclaim list\nsubject {\"prefix\":\"p\"}\n")
	var before []byte
	total := 0
	for i := range lines {
		op := record.Op{Kind: record.OpPut, Space: record.SpaceUser, Key: fmt.Appendf(nil, "%s%06d", prefix, i), Type: long, N: 1}
		line, err := op.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		out = append(appendShared(append(out, "op "...), before, line), '\n')
		before, total = line, total+len(line)
	}
	out = append(append(out, "tree AA==\ncommit "...), v.lines[v.size()-1]...)
	out = appendEnd(append(out, '\n'), path(v.size()-1, v.leaves), v.checkpointAt(v.size()))
	if total < MaxListed+MaxListed/4 || len(out) > 8<<20 {
		t.Fatalf("%d bytes unfold to %d", len(out), total)
	}
	var start, end runtime.MemStats
	runtime.ReadMemStats(&start)
	_, err := v.verifier().Verify(out)
	runtime.ReadMemStats(&end)
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "unfold") {
		t.Errorf("got %v", err)
	}
	if spent := end.TotalAlloc - start.TotalAlloc; spent > 8*MaxListed {
		t.Errorf("%d bytes of memory for a file of %d", spent, len(out))
	}
}
