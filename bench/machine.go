package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// machine measures what the commonest steps of any ledger cost here.
func machine(ctx context.Context, t task) ([]metric, error) {
	if err := os.MkdirAll(t.Dir, 0o755); err != nil {
		return nil, err
	}
	metrics := hashing(ctx, t.Phase/5)
	signature, err := verifying(ctx, t.Phase/5)
	if err != nil {
		return nil, err
	}
	metrics = append(metrics, signature)
	for _, syncs := range []struct {
		name string
		room int64 // written and synced ahead
	}{{"sync of 288 B that grow a file", 0}, {"sync of 288 B over written room", 16 << 20}} {
		rate, err := syncing(ctx, filepath.Join(t.Dir, "sync"), syncs.room, t.Phase/2)
		if err != nil {
			return nil, err
		}
		metrics = append(metrics, metric{syncs.name, "/s", true, rate})
	}
	rate, err := writing(filepath.Join(t.Dir, "write"), 64<<20)
	return append(metrics, metric{"sequential write, synced at the end", "MB/s", true, rate}), err
}

// hashing measures SHA-256 of a tree node, of a value, of a page.
func hashing(ctx context.Context, d time.Duration) (metrics []metric) {
	for _, size := range []int{64, valueSize, 8192} {
		data := make([]byte, size)
		over, stop := timer(ctx, d)
		n := 0
		start := time.Now()
		for ; !over.Load(); n++ {
			sum := sha256.Sum256(data)
			data[0] = sum[0] // so that no call can be left out
		}
		elapsed := time.Since(start)
		stop()
		metrics = append(metrics, metric{fmt.Sprintf("SHA-256 of %d B", size), "ns", false, float64(elapsed.Nanoseconds()) / float64(n)})
	}
	return metrics
}

// verifying measures the check of an Ed25519 signature under a text as long as a
// checkpoint: whoever checks a signed proof alone pays for one.
func verifying(ctx context.Context, d time.Duration) (metric, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return metric{}, err
	}
	text := make([]byte, 128)
	sig := ed25519.Sign(private, text)
	over, stop := timer(ctx, d)
	defer stop()
	n := 0
	start := time.Now()
	for ; !over.Load(); n++ {
		if !ed25519.Verify(public, text, sig) {
			return metric{}, errors.New("a good Ed25519 signature was refused")
		}
	}
	return metric{"check of an Ed25519 signature", "ns", false, float64(time.Since(start).Nanoseconds()) / float64(n)}, nil
}

// syncing writes an entry and syncs, again and again, and returns how often a
// second. It goes round within the room, if there is any.
func syncing(ctx context.Context, name string, room int64, d time.Duration) (rate float64, err error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(name)) }()
	if _, err := f.WriteAt(make([]byte, room), 0); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	entry := make([]byte, entrySize)
	over, stop := timer(ctx, d)
	defer stop()
	n, at := 0, int64(0)
	start := time.Now()
	for ; !over.Load(); n++ {
		if room > 0 && at+entrySize > room {
			at = 0
		}
		if _, err := f.WriteAt(entry, at); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		at += entrySize
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

// writing writes size bytes in pieces of 1 MiB and syncs once. In MB (10^6 bytes) a
// second.
func writing(name string, size int) (rate float64, err error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(name)) }()
	piece := make([]byte, 1<<20)
	start := time.Now()
	for range size / len(piece) {
		if _, err := f.Write(piece); err != nil {
			return 0, err
		}
	}
	if err := syscall.Fdatasync(int(f.Fd())); err != nil {
		return 0, err
	}
	return float64(size) / 1e6 / time.Since(start).Seconds(), nil
}
