package graven_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"graven"
	"graven/internal/fsx"
	"graven/internal/fsx/osfs"
	"graven/local"
	"graven/proof"
	"graven/record"
)

// The benchmarks of the main job, with the limits of the machine beside them:
// read them as ratios within one run.
//
//	go test -run '^$' -bench . .

func benchVault(b *testing.B) *graven.Vault {
	b.Helper()
	ctx := context.Background()
	s, err := local.Create(ctx, filepath.Join(b.TempDir(), "store"), graven.CreateOptions{}, graven.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	v, err := s.Vault(ctx, "main")
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func benchKey(n uint64) []byte { return fmt.Appendf(nil, "key-%028d", n) }

// BenchmarkRawSync is the limit of a lone commit: 1 KiB written and synced.
func BenchmarkRawSync(b *testing.B) {
	d, err := osfs.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	f, err := d.Open("raw", fsx.Create)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 64<<20), 0); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	block := make([]byte, 1024)
	off := int64(0)
	for b.Loop() {
		if _, err := f.WriteAt(block, off%(64<<20)); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		off += int64(len(block))
	}
}

// BenchmarkRawSHA256 is the limit of hashing.
func BenchmarkRawSHA256(b *testing.B) {
	for _, size := range []int{64, 8192} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			data := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				sha256.Sum256(data)
			}
		})
	}
}

// BenchmarkCommit commits one put of 256 bytes under a key of 32 a time.
func BenchmarkCommit(b *testing.B) {
	for _, committers := range []int{1, 16, 64, 256} {
		benchCommit(b, fmt.Sprint(committers), committers, nil)
	}
}

// BenchmarkSignedCommit is the same with a signature of each request, by 64
// committers who sign and whose signatures the vault checks.
func BenchmarkSignedCommit(b *testing.B) {
	const committers = 64
	benchCommit(b, "none", committers, nil)
	for name, typ := range map[string]byte{"ed25519": proof.TypeEd25519, "ml-dsa-44": proof.TypeMLDSA44} {
		pair, err := proof.GenerateKey("bench", typ, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		signer, err := proof.NewMessageSigner(pair.SKey)
		if err != nil {
			b.Fatal(err)
		}
		benchCommit(b, name, committers, signer)
	}
}

func benchCommit(b *testing.B, name string, committers int, signer *proof.MessageSigner) {
	b.Run(name, func(b *testing.B) {
		v := benchVault(b)
		if signer != nil {
			doc, number := v.Policy()
			doc.Actors = []record.PolicyActor{{Actor: "bench", Keys: []string{signer.VKey()}}}
			if _, err := v.SetPolicy(context.Background(), doc, number); err != nil {
				b.Fatal(err)
			}
		}
		var next atomic.Uint64
		var failed atomic.Pointer[error]
		var wg sync.WaitGroup
		b.ResetTimer()
		for range committers {
			wg.Go(func() {
				value := make([]byte, 256)
				for n := next.Add(1); n <= uint64(b.N); n = next.Add(1) {
					copy(value, benchKey(n))
					tx := &graven.Tx{}
					if signer != nil {
						tx.Actor, tx.Sign = "bench", signer.SignRequest
					}
					tx.Put(benchKey(n), graven.Bytes(append([]byte(nil), value...)), graven.PutOptions{})
					if _, err := v.Commit(context.Background(), tx); err != nil {
						failed.Store(&err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.StopTimer()
		if err := failed.Load(); err != nil {
			b.Fatal(*err)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	})
}

// BenchmarkRead reads, proves and verifies in a vault of 100,000 keys.
func BenchmarkRead(b *testing.B) {
	v := benchVault(b)
	const keys = 100_000
	for n := uint64(0); n < keys; {
		tx := &graven.Tx{}
		for range 1000 {
			tx.Put(benchKey(n), graven.Bytes(fmt.Appendf(make([]byte, 0, 256), "%0256d", n)), graven.PutOptions{})
			n++
		}
		if _, err := v.Commit(context.Background(), tx); err != nil {
			b.Fatal(err)
		}
	}
	w := v.View()
	n := uint64(0)
	key := func() []byte { n += 7919; return benchKey(n % keys) }
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			e, err := w.Get(key())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := w.Value(e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("prove", func(b *testing.B) {
		size := 0
		for b.Loop() {
			file, err := w.ProveKey(key())
			if err != nil {
				b.Fatal(err)
			}
			size = max(size, len(file))
		}
		b.ReportMetric(float64(size), "bytes-max")
	})
	b.Run("verify", func(b *testing.B) {
		ver, err := proof.NewVerifier(v.VKeys()[0])
		if err != nil {
			b.Fatal(err)
		}
		file, err := w.ProveKey(key())
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := ver.Verify(file); err != nil {
				b.Fatal(err)
			}
		}
	})
}
