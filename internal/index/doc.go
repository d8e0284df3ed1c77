// Package index finds things without reading the log: the newest version of a
// key at a position, the keys of a range, the history of a key, where an artifact
// lies, what an idempotency id or a signed request stands for, where a record is.
//
// # Model
//
// The log is cut in runs of records. A segment of level 0 is about one run, one
// of level L+1 takes the place of 16 of level L:
//
//	records   0 ────────────────────────────────────────────────▶ border ──────▶ next
//	segments  ├──────── 1/0 ────────┤├─ 0/16 ─┤├─ 0/17 ─┤├─ 0/18 ─┤   memory
//
// A segment is four tables, each a file of package segment or, for the artifacts,
// a file a shard:
//
//	index/keys/<level>-<number>.seg        versions of keys
//	index/shard-<hex>/<level>-<number>.seg artifacts, by the first bits of their digest
//	index/ids/<level>-<number>.seg         idempotency ids
//	index/log/<level>-<number>.seg         what an open wants to know of the log
//
// Versions of keys that are newer than the last segment are in memory. A reader
// names a position and sees only versions at or below it, so one index serves the
// newest view and every older one, and the committer may add the versions of a
// group before that group is durable: no view reaches them yet.
//
// Everything here is derived: which files there are and every byte in them
// follows from the log. No file says which others exist. A file that is missing,
// damaged or unknown ends the part of the index that counts; the log is replayed
// from there on and makes it again.
//
// # Invariants
//
//   - Segments in play cover [0, border) without a gap; they never change.
//   - An answer is right or an error, a [*DamageError] if a file is damaged. What
//     is missing in a damaged file is never called absent.
//   - There is one writer ([Index.Add], [Index.Cut], [Index.Seal], [Index.Merge],
//     [Index.Sweep]) and any number of readers; readers and Add wait for nobody's
//     reads or writes of files but their own.
//
// # Example
//
//	x, notes, err := index.Open(vault.Sub("index"), genesis.Vault, index.Options{})
//	borders := x.Borders()
//	err = x.Begin(borders[len(borders)-1].Runs) // and replay from its To
//	err = x.Add(key, index.Version{Seq: 7, N: 1, Live: true, Value: id})
//	v, ok, err := x.At(key, 7)
package index
