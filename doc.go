// Package graven is the hall of a tamper-evident database whose ledger is a
// text file: stores, vaults, transactions, views.
//
// A store is a directory of vaults. A vault is one ledger: a log of records,
// each a line of canonical JSON and a leaf of an RFC 6962 tree, and beside it
// the values, which the lines name by their SHA-256. Transactions put, delete
// and append; many become durable together as a group that ends with a commit
// line, whose hashes bind everything before it and the state: an authenticated
// map from every key to its newest version. Whoever holds a signed checkpoint
// can therefore check an answer (a value is there and the newest, a key is
// absent, a record is in the log) without trusting whoever gave it.
//
// The package is pure: files, clock and randomness come in through [Host]. A
// program that embeds Graven opens stores with package graven/local.
//
//	tx := &graven.Tx{Actor: "alice"}
//	tx.Put([]byte("report/2026"), graven.Bytes(pdf), graven.PutOptions{Type: "application/pdf"})
//	receipt, err := vault.Commit(ctx, tx) // durable, signed
//	view := vault.View()
//	entry, err := view.Get([]byte("report/2026"))
//	file, err := view.ProveKey(entry.Key)  // verifies with proof.Verifier, offline
//
// The way of a write, and where it is written down:
//
//	tx.go          the caller's part: check, encode, hash, digest
//	commit.go      the queue and the committer, one goroutine per vault
//	sequence.go    what the committer adds: conditions, seq, time, versions, state
//	persist.go     the commit point: room, write-ahead log, sync; then files, view, receipts
//	settle.go      behind the acknowledgements: sync, tiles, sealed blocks, published checkpoint
//	keep.go        behind that, at leisure: index segments, their merges, state pages
//
// The way of a read: view.go, value.go, prove.go. What happens at open:
// open.go, start.go, recover.go, scan.go, replay.go. What check does: check*.go.
//
// Invariants, which no change may break, are in ARCHITECTURE.md.
package graven
