package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// rawRoom is how much of its file a rawPeer reserves ahead, in bytes. A write into
// reserved room makes for a cheaper sync than one that grows the file, so this is
// the lower limit.
const rawRoom = 16 << 20

// rawPeer is what a ledger cannot beat by much: entries, one after the other, in one
// file, and a map in memory from key to offset. It hashes nothing and proves nothing.
type rawPeer struct {
	file    *os.File
	queue   chan rawCommit
	stopped chan struct{} // closed when the writer has ended
	end     int64         // writer, and Close after it: behind the last entry
	room    int64         // writer: reserved up to here; end <= room

	mu     sync.RWMutex // guards places
	places map[[keySize]byte]int64
}

// rawCommit is a transaction on its way to the writer.
type rawCommit struct {
	entries []Entry
	done    chan error // buffered 1
}

func openRaw(dir string) (Peer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "raw"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	p := &rawPeer{
		file: file, queue: make(chan rawCommit, 1024), stopped: make(chan struct{}),
		places: make(map[[keySize]byte]int64),
	}
	if err := p.scan(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	go p.write()
	return p, nil
}

// scan fills the map. Entries end with the file, or with reserved room, where there
// are zeros in place of a key.
func (p *rawPeer) scan() error {
	buf := make([]byte, 4096*entrySize)
	for {
		n, err := p.file.ReadAt(buf, p.end)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for b := buf[:n]; len(b) >= entrySize; b = b[entrySize:] {
			key := [keySize]byte(b)
			if key == [keySize]byte{} {
				p.room = p.end
				return nil
			}
			p.places[key] = p.end
			p.end += entrySize
		}
		if err != nil {
			p.room = p.end
			return nil
		}
	}
}

// write takes all transactions that wait, makes them durable with one write and one
// sync, and answers. It is the only writer.
func (p *rawPeer) write() {
	defer close(p.stopped)
	var group []rawCommit
	var buf []byte
	for first := range p.queue {
		group, buf = append(group[:0], first), buf[:0]
		for len(p.queue) > 0 {
			group = append(group, <-p.queue)
		}
		for _, c := range group {
			for _, e := range c.entries {
				buf = append(append(buf, e.Key...), e.Value...)
			}
		}
		err := p.persist(buf)
		if err == nil {
			p.publish(group)
		}
		for _, c := range group {
			c.done <- err
		}
	}
}

func (p *rawPeer) persist(b []byte) error {
	for p.room < p.end+int64(len(b)) {
		if err := syscall.Fallocate(int(p.file.Fd()), 0, p.room, rawRoom); err != nil {
			return fmt.Errorf("reserving room at %d: %w", p.room, err)
		}
		p.room += rawRoom
	}
	if _, err := p.file.WriteAt(b, p.end); err != nil {
		return err
	}
	return syscall.Fdatasync(int(p.file.Fd()))
}

// publish makes a durable group readable.
func (p *rawPeer) publish(group []rawCommit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range group {
		for _, e := range c.entries {
			p.places[[keySize]byte(e.Key)] = p.end
			p.end += entrySize
		}
	}
}

// Commit does not look at ctx: a group is never longer away than a sync.
func (p *rawPeer) Commit(_ context.Context, entries []Entry) error {
	c := rawCommit{entries, make(chan error, 1)}
	p.queue <- c
	return <-c.done
}

func (p *rawPeer) WaitReadable(context.Context) error { return nil }

func (p *rawPeer) Get(_ context.Context, key []byte) ([]byte, error) {
	p.mu.RLock()
	at, ok := p.places[[keySize]byte(key)]
	p.mu.RUnlock()
	if !ok {
		return nil, errAbsent
	}
	value := make([]byte, valueSize)
	_, err := p.file.ReadAt(value, at+keySize)
	return value, err
}

func (p *rawPeer) Find(_ context.Context, key []byte) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if _, ok := p.places[[keySize]byte(key)]; !ok {
		return errAbsent
	}
	return nil
}

func (p *rawPeer) VerifiedGet(context.Context, []byte) ([]byte, error) { return nil, errNoProofs }

func (p *rawPeer) Refused() uint64 { return 0 }

// Close gives back the room that was reserved.
func (p *rawPeer) Close() error {
	close(p.queue)
	<-p.stopped
	return errors.Join(p.file.Truncate(p.end), p.file.Sync(), p.file.Close())
}
