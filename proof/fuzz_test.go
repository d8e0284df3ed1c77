package proof

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"graven/merkle"
	"graven/record"
)

// truth fails the test unless what was proven is so in the vault.
func truth(t *testing.T, v *vault, res *Result) {
	t.Helper()
	c := res.Checkpoint()
	if c.Origin != v.origin || c.Size > v.size() || c.Root != merkle.RootOf(v.leaves[:c.Size]) {
		t.Fatalf("checkpoint %+v", c)
	}
	newest := func(space byte, key []byte) (version, bool) {
		have := v.ops[string(append([]byte{space}, key...))]
		if len(have) == 0 {
			return version{}, false
		}
		return have[len(have)-1], true
	}
	switch claim := res.Claim().(type) {
	case RecordProven:
		if !bytes.Equal(claim.Line, v.lines[claim.Seq]) {
			t.Fatalf("record %d is not %q", claim.Seq, claim.Line)
		}
	case Present:
		have, ok := newest(claim.Space, claim.Key)
		if !ok || have.seq != claim.Seq || !bytes.Equal(have.line, claim.Op) {
			t.Fatalf("present: %+v, the newest is %+v", claim, have)
		}
	case Absent:
		have, ok := newest(claim.Space, claim.Key)
		if ok != claim.Deleted || ok && (have.seq != claim.Seq || !bytes.Equal(have.line, claim.Op)) {
			t.Fatalf("absent: %+v, the newest is %+v", claim, have)
		}
	default:
		t.Fatalf("claim %T", claim)
	}
}

// Whatever verifies is true of the vault. So that a mutated head gets past the sum
// and the signature, it is also tried with its own sum and above the real
// checkpoint.
func FuzzVerify(f *testing.F) {
	v, files := samples(f)
	for name, file := range files {
		if name != "present, only key" && name != "absent, one neighbour" { // of another vault with the same keys
			f.Add(file)
		}
	}
	ver := v.verifier()
	checkpoint := v.checkpointAt(v.size())
	f.Fuzz(func(t *testing.T, b []byte) {
		head, _, _ := bytes.Cut(b, []byte("\n\n"))
		above := append(append(bytes.Clone(head), "\n\n"...), checkpoint...)
		for _, file := range [][]byte{b, above, resum(above)} {
			res, err := ver.Verify(file)
			if err == nil {
				truth(t, v, res)
				continue
			}
			if !typed(err) {
				t.Fatalf("untyped error %v", err)
			}
		}
	})
}

func typed(err error) bool {
	for _, known := range []error{ErrFormat, ErrUnknownVersion, ErrSignature, ErrQuorum, ErrOrigin, ErrProof, ErrDamaged} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// Both file parsers accept one spelling: what parses encodes to the same bytes. Key
// proofs are tried with the sum that they should have as well.
func FuzzParseFiles(f *testing.F) {
	_, files := samples(f)
	for _, file := range files {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parseRecordProof(b); err == nil {
			if out := EncodeRecordProof(p.record, p.index, p.path, p.checkpoint); !bytes.Equal(out, b) {
				t.Fatalf("%q is spelled %q", b, out)
			}
		} else if !errors.Is(err, ErrFormat) {
			t.Fatalf("untyped error %v", err)
		}
		for _, file := range [][]byte{b, resum(b)} {
			if p, err := parseKeyProof(file); err == nil {
				if out, err := p.Encode(); err != nil || !bytes.Equal(out, file) {
					t.Fatalf("%q is spelled %q, %v", file, out, err)
				}
			} else if !typed(err) {
				t.Fatalf("untyped error %v", err)
			}
		}
	})
}

// Random vaults against a map of what their keys hold: every key that there was,
// and some that were not, at every commit.
func TestRandomVaults(t *testing.T) {
	for round := range uint64(12) {
		rnd := rand.New(rand.NewPCG(round, 7))
		v := newVault(t, "example.com/log", fmt.Sprint("random ", round))
		ver := v.verifier()
		v.commit()
		name := func() (byte, string) {
			key := make([]byte, 1+rnd.IntN(3))
			for i := range key {
				key[i] = "ab\x00\xff"[rnd.IntN(4)]
			}
			return "kkkkq\x00"[rnd.IntN(6)], string(key)
		}
		model := map[string]string{} // stored key to live value
		for range 10 {
			for range 1 + rnd.IntN(8) {
				space, key := name()
				stored := string([]byte{space}) + key
				if rnd.IntN(4) == 0 {
					v.tx(del(space, key))
					delete(model, stored)
					continue
				}
				value := fmt.Sprint("value ", rnd.IntN(1000))
				v.tx(put(space, key, value))
				model[stored] = value
			}
			v.commit()
			for range 12 {
				space, key := name()
				res, err := ver.Verify(v.keyProof(space, key))
				if err != nil {
					t.Fatalf("round %d: %02x %q: %v", round, space, key, err)
				}
				truth(t, v, res)
				value, live := model[string([]byte{space})+key]
				switch claim := res.Claim().(type) {
				case Present:
					if !live || claim.Value != record.IDOf([]byte(value)) || res.CheckValue(bytes.NewReader([]byte(value))) != nil {
						t.Fatalf("round %d: %+v, wanted %q", round, claim, value)
					}
				case Absent:
					if live {
						t.Fatalf("round %d: %+v, wanted %q", round, claim, value)
					}
				}
			}
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	v, files := samples(b)
	ver := v.verifier()
	for _, name := range []string{"record", "present", "absent by neighbour", "absent, empty space"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(files[name])))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ver.Verify(files[name]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	big := newBigVault(b, longLog, 1<<14, 1<<13)
	bigVerifier, err := NewVerifier(big.keys.Log.VKey)
	if err != nil {
		b.Fatal(err)
	}
	file := big.proof(b, big.probes[0])
	b.Run("present, 2^14 keys, 2^21 records", func(b *testing.B) {
		b.SetBytes(int64(len(file)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := bigVerifier.Verify(file); err != nil {
				b.Fatal(err)
			}
		}
	})
	// The share of the checkpoint's signature in all of them.
	note, key := v.checkpointAt(v.size()), mustVKey(b, v.keys.Log.VKey)
	b.Run("checkpoint alone", func(b *testing.B) {
		for b.Loop() {
			if _, err := OpenCheckpoint(note, key); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	v := sampleVault(b)
	p := v.key('k', "colours/03")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}
