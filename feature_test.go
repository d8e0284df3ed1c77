package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"graven/internal/fsx"
	"graven/proof"
	"graven/record"
)

// write makes any line a record of the log, in a group of its own.
func (s *script) write(line func(seq uint64, at string) string) uint64 {
	s.t.Helper()
	v := s.vault
	g := v.newGroup()
	seq, at := v.tip.next, v.now()
	err := v.append(g, at, func(dst []byte) ([]byte, error) {
		return append(dst, line(seq, at.Format("2006-01-02T15:04:05.000000000Z"))...), nil
	})
	if f, err := record.ParseFrame(bytes.TrimSuffix(g.lines, []byte{'\n'})); err != nil {
		s.t.Fatal(err)
	} else {
		v.recent.other(seq, f.Kind, f.V) // as a program does that knows the kind
	}
	if err == nil {
		err = v.seal(g)
	}
	if err == nil {
		err = v.persist(g)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return seq
}

// TestUnknownRecordsAreInert puts records of kinds and versions of the future
// into a log: they are stored and proven as bytes, and change nothing else.
func TestUnknownRecordsAreInert(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	s.group(put("a", "1"))
	var seqs []uint64
	for _, form := range []string{
		`{"v":1,"kind":"anchor","seq":%d,"time":"%s","where":"a reserved kind"}`,
		`{"v":1,"kind":"x-future","seq":%d,"time":"%s","anything":[1,{"nested":null}]}`,
		`{"v":2,"kind":"tx","seq":%d,"time":"%s","actor":"a version that is not among the features"}`,
	} {
		seqs = append(seqs, s.write(func(seq uint64, at string) string { return fmt.Sprintf(form, seq, at) }))
	}
	s.group(put("b", "2"))
	s.close()
	s.reopen()
	s.group(put("c", "3"))
	ver, err := proof.NewVerifier(s.vault.VKeys()[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range seqs {
		file, err := s.vault.View().ProveRecord(seq)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ver.Verify(file)
		if err != nil {
			t.Fatalf("record %d of the future: %v", seq, err)
		}
		if c, ok := r.Claim().(proof.RecordProven); !ok || c.Seq != seq {
			t.Errorf("record %d: proven %+v", seq, r.Claim())
		}
	}
	for _, key := range []string{"a", "b", "c"} {
		if _, err := s.vault.View().Get([]byte(key)); err != nil {
			t.Error(err)
		}
	}
	s.close()
	if r := checkAll(t, mem, false); len(r.Findings) > 0 {
		t.Errorf("check finds %v", r.Findings)
	}
}

// TestLackingFeatureReadsOnly opens ledgers that use a feature of the future:
// they say which, refuse writes, and still read and prove.
func TestLackingFeatureReadsOnly(t *testing.T) {
	future := func(features ...string) func(*record.Genesis) {
		return func(g *record.Genesis) { small(g); g.Features = features }
	}
	known := record.DefaultGenesis().Features
	for _, c := range []struct {
		name    string
		genesis func(*record.Genesis)
		lacks   string
		line    string
	}{
		{"named in genesis", future(append(append([]string{}, known...), "zoning/3")...), "zoning/3", ""},
		{"a kind it knows by name only", small, "authority/1", `{"v":1,"kind":"authority","seq":%d,"time":"%s","number":1,"doc":"DOC","sigs":[{"key":"k+00000000","sig":"AA=="}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := fsx.NewMem()
			ctx := context.Background()
			host := scriptHost(mem, 1)
			store, err := Create(ctx, host, CreateOptions{genesis: c.genesis}, scriptOptions())
			if err != nil {
				t.Fatal(err)
			}
			v, err := store.Vault(ctx, "main")
			if err != nil {
				t.Fatal(err)
			}
			if c.line != "" {
				s := &script{t: t, host: host, store: store, vault: v}
				s.group(put("a", "1"))
				s.write(func(seq uint64, at string) string {
					return strings.Replace(fmt.Sprintf(c.line, seq, at), "DOC", v.genesis.Policy.String(), 1)
				})
				s.close()
				if store, err = Open(ctx, host, scriptOptions()); err != nil {
					t.Fatal(err)
				}
				if v, err = store.Vault(ctx, "main"); err != nil {
					t.Fatal(err)
				}
			}
			_, err = commitGroup(v, put("b", "2"))
			if !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), c.lacks) {
				t.Errorf("a write gives %v, wanted read-only and %q", err, c.lacks)
			}
			ver, err := proof.NewVerifier(v.VKeys()[0])
			if err != nil {
				t.Fatal(err)
			}
			file, err := v.View().ProveRecord(0)
			if err == nil {
				_, err = ver.Verify(file)
			}
			if err != nil {
				t.Errorf("a record cannot be proven: %v", err)
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestClockBefore1970 lets a clock that was never set run a vault.
func TestClockBefore1970(t *testing.T) {
	mem := fsx.NewMem()
	host := scriptHost(mem, 1)
	host.Now = func() time.Time { return time.Date(1969, 7, 20, 20, 17, 40, 0, time.UTC) }
	store, err := Create(context.Background(), host, CreateOptions{genesis: small}, scriptOptions())
	if err != nil {
		t.Fatal(err)
	}
	v, err := store.Vault(context.Background(), "main")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := commitGroup(v, put("a", "1")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.settle(), store.Close()); err != nil {
		t.Fatal(err)
	}
	if r := checkAll(t, mem, false); len(r.Findings) > 0 {
		t.Errorf("check finds %v", r.Findings)
	}
}

// TestTimeStandsStillAndGoesBack turns the clock while a vault lives: times
// never go back, nothing else depends on them.
func TestTimeStandsStillAndGoesBack(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	day := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for i, now := range []time.Time{day, day, day.AddDate(-1, 0, 0), day.AddDate(0, 0, 1), day} {
		s.vault.host.Now = func() time.Time { return now }
		s.group(put(fmt.Sprint("k", i), "v"))
	}
	s.host.Now = func() time.Time { return day.AddDate(-3, 0, 0) }
	s.close()
	s.reopen()
	s.group(put("later", "v"))
	last := time.Time{}
	for seq := uint64(0); seq <= s.vault.View().Seq(); seq++ {
		at, err := s.vault.View().timeOf(seq)
		if err != nil {
			t.Fatal(err)
		}
		if at.Before(last) {
			t.Errorf("record %d is of %v, the one before of %v", seq, at, last)
		}
		last = at
	}
	s.close()
}
