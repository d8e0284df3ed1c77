// Package statestore keeps versions of the state's trees as files of pages.
//
// # Model
//
//	state/00000007.pages   ┌ header ┐┌ pages ┐┌ text: roots, older files ┐┌ trailer ┐
//	state/00000008.pages        ▲ │               │
//	state/00000009.pages        └─┴───────────────┘ a set: what this file's text says
//
// A file is written once, whole, and holds the pages that were new when it was
// written, and a text that says where the root pages of all spaces lie. So each
// file is also a set: a version of the state that stands on pages of this file
// and of older ones. The file with the greatest number is the newest set.
//
// A [Store] lists the sets, opens a [state.Map] on one, and writes new ones. A
// Map pins the files that it stands on; what neither a kept set nor a Map needs
// is removed by [Store.Collect]. Pages in old files are written again into new
// ones when too much of the files is dead.
//
// Pins hold within this process. A reader in another process whose files a writer
// has removed gets a [*DamageError] and opens the newest set anew; the two newest
// sets are always there.
//
// All of it is derived: a set that is damaged, or misses an older file, does not
// count. Losing all of them costs the time to build the state from the log.
//
// # Invariants
//
//   - No file is changed or written over. A set is visible only when it is
//     durable, and older ones are removed only after that.
//   - Every page is read with its checksum, which covers the file's number and
//     the offset: an exchanged page is damage, a [*DamageError].
//   - A set names each older file with length and checksum; another file of the
//     same number does not serve.
//   - Numbers only grow, so a number means the same file for the life of a Store
//     and its cache.
//   - Open changes nothing on disk; only Write, Collect and Reset do.
//
// # Example
//
//	s, notes, err := statestore.Open(vault.Sub("state"), id, statestore.Options{})
//	sets := s.Sets()
//	m, err := s.Map(sets[len(sets)-1])      // nothing is read yet
//	…                                       // edits of m
//	m, err = s.Write(m, position)           // the same map, now on pages
package statestore
