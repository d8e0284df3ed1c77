// Package proof is all that somebody needs who does not trust the server:
// checkpoints, the signed notes and keys that carry them, proof files, and one
// Verifier for both kinds of proof file.
//
// # Model
//
// A log states what it holds by a Checkpoint: its origin, its size and the
// RFC 6962 root over that many records. The log's Ed25519 key signs it as a
// C2SP signed note. Everything else follows from that one signature:
//
//	record proof   record ── siblings ──▶ root of the checkpoint
//	key proof      op line ─▶ leaf ── path ──▶ root of the key's space
//	               ── other spaces ──▶ state root, which stands in the
//	               commit line with index size-1 ── siblings ──▶ root
//
// The commit line that a key proof carries is the last record that the
// checkpoint covers. Its state root is therefore the state at that size and not
// an older one, which makes "newest" and "absent" provable.
//
// # Invariants
//
//   - The only way from a file to its data is Verifier.Verify. A Result exists
//     only if every check passed.
//   - A proof file has one spelling. What parses re-encodes to the same bytes, and
//     no bit of a file without cosignatures can change and leave it valid.
//   - The sum of a key proof is no signature: it shows what happened to a file on
//     the way, and anybody can compute it. Nothing else binds the subject of an
//     absence. Whoever computes the sum anew can turn the proof that a key is absent
//     into one of another key for which the search ends at the same place. That is
//     true, and about something else; so whoever expects a subject says so, with
//     Result.CheckSubject.
//   - Cosignature lines of keys that the verifier does not know must be well
//     formed and are otherwise ignored. No claim rests on them.
//   - A cosignature never stands for the log's signature. A Verifier made from a
//     Policy wants both: the log's, and those of enough witnesses.
//   - Sizes are bounded before anything is allocated (MaxFile, MaxNote,
//     MaxSignatures), and no count in a file decides how much is allocated.
//   - The package is pure: no files, no clock, no randomness of its own.
//
// # Example
//
//	v, err := proof.NewVerifier(vkey)
//	if err != nil { … }
//	res, err := v.AtLeast(lastSizeSeen).Verify(file)
//	if err != nil { … }
//	if err := res.CheckSubject("colours/red"); err != nil { … }
//	switch c := res.Claim().(type) {
//	case proof.Present:
//		err = res.CheckValue(valueFile) // SHA-256 and size of the value
//	case proof.Absent:
//		fmt.Println("no such key at size", res.Checkpoint().Size)
//	}
//
// Who trusts witnesses too has a policy: ParsePolicy, NewPolicyVerifier.
//
// The formats are specified in docs/format.md, sections 7, 9 and 10. The C2SP
// specifications behind them are signed-note, tlog-checkpoint, tlog-cosignature,
// tlog-policy and tlog-proof.
package proof
