package proof

import "errors"

// Errors that say what is wrong with a proof, a note or a key. Each is wrapped
// with what was wanted and what was found; test for them with errors.Is.
var (
	// ErrFormat: the bytes are not in the one spelling that the format allows.
	ErrFormat = errors.New("proof: malformed")

	// ErrUnknownVersion: the bytes are of a version, claim or key type that this
	// program does not know. They may be fine; a newer program is needed.
	ErrUnknownVersion = errors.New("proof: unknown version")

	// ErrSignature: the log's signature is missing, or a signature of a known key
	// does not verify.
	ErrSignature = errors.New("proof: bad signature")

	// ErrQuorum: the log has signed, but too few of the policy's witnesses have.
	ErrQuorum = errors.New("proof: quorum not met")

	// ErrOrigin: the checkpoint is of another log than the verifier key, or than those
	// of the policy.
	ErrOrigin = errors.New("proof: other origin")

	// ErrProof: the hashes do not lead to the signed root, or the claim does not
	// follow from what they prove.
	ErrProof = errors.New("proof: not proven")

	// ErrDamaged: the log holds this record, but it is not a valid record at this
	// place. The log itself is damaged, not the proof.
	ErrDamaged = errors.New("proof: damaged record")

	// ErrTooOld: the checkpoint is smaller than the least size asked for.
	ErrTooOld = errors.New("proof: checkpoint too old")

	// ErrSubject: the proof is valid, but about something else.
	ErrSubject = errors.New("proof: other subject")

	// ErrValue: the bytes are not the proven value, or the proof is not of a value.
	ErrValue = errors.New("proof: other value")

	// ErrInvalid: what the caller wants to sign or encode breaks a rule of the
	// format.
	ErrInvalid = errors.New("proof: invalid")
)
