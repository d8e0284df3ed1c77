// Command bench measures Graven beside other ledgers, on one machine, in one
// run:
//
//	cd bench && go run .
//
// It is a module of its own, so that what the peers need never becomes a
// dependency of Graven. It runs on Linux.
//
// Three peers do the same work behind one interface, [Peer]: Graven, the
// embedded store of immudb in its default synced mode, and raw, which is no
// ledger: the same bytes in one file, a sync for each group, a map in memory. Raw
// is the limit of the machine, as far as a program this simple can reach it.
//
// The work (keys of 32 random bytes, values of 256; a commit returns when it is
// durable):
//
//   - machine: what one hash, one sync, one write cost here (raw only)
//   - commit: single entries by 1, 16, 64 and 256 writers at a time
//   - load: n entries, 1,000 a transaction, 4 committers, until all can be read
//   - get: random keys that are there and keys that are not, by 1 and 4 readers
//   - verify: a proof made and checked, in the loaded store (wide transactions) and
//     in one of transactions with a single entry
//   - open: after a clean end, and after a process was killed while it had the
//     store open with n/10 entries more
//
// Each peer's part of each workload runs in a process of its own (child.go), so
// that its memory is its own. The peers take turns within a round, and there are
// several rounds (run.go): compare the ratios, not the seconds. What the peers are
// spared or charged is said in README.md, beside how to read the table.
package main
