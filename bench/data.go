package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// The shape of an entry. Peers may rely on it: the raw one does.
const (
	keySize   = sha256.Size
	valueSize = 256
	entrySize = keySize + valueSize // the payload that disk bytes are compared with
)

// batchSize is the entries of a transaction of a load. The most that immudb takes
// by default is 1,024.
const batchSize = 1000

// space keeps the keys of different purposes apart.
type space byte

const (
	loadedKeys    space = 'l' // 0 to n-1, in the loaded store
	absentKeys    space = 'a' // in no store
	committedKeys space = 'c' // of the commit workload
	narrowKeys    space = 'n' // of transactions with a single entry
	heldKeys      space = 'h' // written by the process that is killed
)

// Entry is one key and its value. Nobody changes the bytes once it is made.
type Entry struct{ Key, Value []byte }

// keyOf is key n of a space: it looks random, and every process can make it again.
func keyOf(s space, n uint64) []byte {
	var seed [9]byte
	seed[0] = byte(s)
	binary.BigEndian.PutUint64(seed[1:], n)
	key := sha256.Sum256(seed[:])
	return key[:]
}

// valueOf is the value that belongs to a key: random bytes that follow from it, so
// no two values are alike and none can be compressed.
func valueOf(key []byte) []byte {
	value := make([]byte, valueSize)
	// Read fills the slice and never fails, says its documentation.
	rand.NewChaCha8([keySize]byte(key)).Read(value)
	return value
}

func entryOf(s space, n uint64) Entry {
	key := keyOf(s, n)
	return Entry{Key: key, Value: valueOf(key)}
}

// batch are the entries from to to-1 of a space.
func batch(s space, from, to uint64) []Entry {
	entries := make([]Entry, 0, to-from)
	for n := from; n < to; n++ {
		entries = append(entries, entryOf(s, n))
	}
	return entries
}

// checkValue holds what a peer returned against what was written.
func checkValue(key, got []byte) error {
	if want := valueOf(key); !bytes.Equal(got, want) {
		return fmt.Errorf("key %x: the peer returned %d bytes that begin %.8x, written were %d that begin %.8x",
			key, len(got), got, len(want), want)
	}
	return nil
}
