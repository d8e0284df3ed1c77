// Package segment is the file of which the index is made: sorted rows that
// never change, with a search tree above them and a filter beside them.
//
// # Model
//
// A row is (key, seq, value). Rows are ordered by key as bytes, and those of one
// key newest first, that is by falling seq. No two rows have the same key and
// seq. A file is written once, from its first byte to its last:
//
//	┌────────┬──────┬──────┬──────┬───┬──────┬──────┬─────────────────┬────────┐
//	│ header │ data │ data │ tree │ … │ data │ root │ filter │ filter │ footer │
//	└────────┴──────┴──────┴──────┴───┴──────┴──────┴─────────────────┴────────┘
//	 one line  pages, each with its checksum           pages of 4 KiB   80 bytes
//	 of text
//
// A page of the tree has a row for each page below it: where it begins in the
// order of rows, and where it lies in the file. It follows the last of them, so
// the root is the last page. A lookup reads the filter's page for its key and,
// if the key may be there, one page a level. All go through one [Cache].
//
// The bytes are a function of header, summary, and rows: no time, no chance.
//
// # Invariants
//
//   - Every byte of a file is under a checksum whose seed tells file and offset.
//     A page that rotted, or stands at another place or in another file than it
//     was written to, is a [*DamageError], never an absent row.
//   - A page says how many rows it has, and is held against its whole form once,
//     when it is read into the cache.
//   - The filter says "absent" only of keys that are absent.
//
// # Example
//
//	id, err := segment.Write(w, header, summary, segment.Filter{Keys: 2}, rows)
//	r, err := segment.Open(file, "index/keys/0-00000000.seg", header, cache)
//	row, ok, err := r.Floor(key, seq) // the newest row of key at or before seq
package segment
