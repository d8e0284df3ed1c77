// Package block keeps artifacts: immutable bytes named by their SHA-256.
//
// The format is docs/format.md §5. In short: an artifact stands in a frame, a
// line with id and length before its bytes; frames stand in blocks, files that
// begin with a line naming vault, class and number. A block is open while
// artifacts are appended, then sealed: a table of contents and a trailer end
// it, and its name is the SHA-256 of the file.
//
//	open/<class>-<8 digits>.blk      open blocks, read up to what the log mentions
//	open/new-<n>                     files in the making; worthless after a crash
//	open/up-<64 hex>                 chunk blocks that wait for their transaction
//	sealed/<hh>/<64 hex>.blk         sealed blocks, never changed again
//	healed/<hh>/<64 hex>             second copies of artifacts whose first copy rotted
//
// A [Store] is the blocks of one vault. It decides nothing about the ledger:
// which artifact is appended where, and which block is sealed, its caller says,
// who knows the log. What it adds is the way from an id to its place, and the files.
//
// In memory are the places of what lies in open blocks, and of what came lately.
// An index on disk, which a store sees as a [Finder], has the others: when a run
// of the log ends, [Store.Mark] tells how far the classes have come,
// [Store.Entered] lists what entered since the [Mark] before, and when the index
// has that, [Store.Forget] lets it leave memory. Each artifact has its turn once,
// since the blocks of a class hold its artifacts in the order of their first
// mention: so a mark is no more than a few numbers, and follows from the log.
//
// Life of a block: [Store.Append] writes frames behind the last one and
// [Store.Sync] makes them durable. [Store.Advance] lets the next artifacts go
// to the next block. [Store.Seal] reads the full block back, verifies each
// artifact, ends it and publishes it under its hash; when the block record is
// durable, [Store.Sealed] moves the references and discards the open file.
//
// Life of a large value: an [Upload] cuts it into chunks in a file of its own,
// [Upload.Finish] publishes that as open/up-…, and when its block record is
// durable [Store.Admit] publishes it under sealed/.
//
// After a crash, in this order: Open; SetFinder; for each block record, in log
// order, [Store.KnowSealed] if the index has all of its artifacts ([Mark.Covers],
// or for a chunk block a record before the border) or else [Store.LoadSealed], and
// [Store.Admit] for a chunk block that is missing; [Store.Settle];
// [Store.LoadFound]; [Store.Restore] for each section of the write-ahead log;
// [Store.SweepUploads]; an [Order] from the index's mark over all that the log
// mentions behind it, to its Finish; [Store.CutOpen]; [Store.Sync]. Only then may
// the write-ahead log go. The border may be any that the write-ahead log does not
// hold; without an index it is the start of the log, and the zero Mark.
//
// Invariants:
//   - Bytes that [Store.Read] or a [Value] returns have been hashed and have the
//     id that was asked for.
//   - sealed <= synced <= written: a block is published only after a successful
//     sync and after it was read back and hashed.
//   - An open file is discarded only when all its artifacts are durable in
//     sealed or later open files.
//   - After a failed sync of an open block or a folder nothing is written any
//     more ([ErrFailed]); reads go on.
//   - A [Ref] stays valid while its block is sealed and when it leaves memory.
//   - A wrong index makes an answer an error, never other bytes.
//   - No length that was read from a file is trusted before it was compared
//     with the length of the file.
//
// One goroutine at a time changes a store (further ones wait), any number read.
//
// Example:
//
//	s, err := block.Open(dir.Sub("blocks"), vault)
//	section := s.Encode("main", []block.Artifact{{ID: record.IDOf(b), Bytes: b}})
//	number, offset, _ := s.Tail("main")
//	err = s.Append("main", number, offset, section)
//	err = s.Sync()
//	ref, ok, err := s.LookupAny(record.IDOf(b))
//	b, err = s.Read(ref, record.IDOf(b))
package block
