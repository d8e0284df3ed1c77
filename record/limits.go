package record

// Version is the version of every kind and document that this package knows.
const Version = 1

// Limits of the format.
const (
	// MaxLine is the greatest length of a record's line in bytes, without the
	// line feed: what fits the length field of a C2SP entry bundle.
	MaxLine = 65535
	// MaxKey is the greatest length of a key in bytes; the least is 1.
	MaxKey = 1024
	// MaxName is the greatest length of an actor and of an idempotency id in bytes.
	MaxName = 256
	// MaxOps is the greatest number of ops of a transaction.
	MaxOps = 100000
	// MaxInt is the greatest integer of a record: what JavaScript and others
	// that know only doubles read exactly.
	MaxInt = 1<<53 - 1

	maxSig    = 8192
	maxOrigin = 255
	maxType   = 255
	maxRegion = 63
	maxClass  = 63
	maxShards = 12
)

// Spaces that have a meaning of their own. The space is the first byte of a
// stored key.
const (
	// SpaceUser is the space of users' keys. In lines it is never written.
	SpaceUser byte = 'k'
	// SpaceSystem is Graven's own space.
	SpaceSystem byte = 0
)

// The kinds of version 1.
const (
	KindGenesis   = "genesis"
	KindTx        = "tx"
	KindCommit    = "commit"
	KindBlock     = "block"
	KindSegment   = "segment"
	KindSnapshot  = "snapshot"
	KindAuthority = "authority"
	KindPolicy    = "policy"
	KindWitness   = "witness"
)

// ClassLog is the class of documents and op lines. No transaction names it.
const ClassLog = "log"

// Rules as texts, for errors.
const (
	limitInt    = "0 to 9007199254740991"
	limitOne    = "1 to 9007199254740991"
	limitKey    = "1 to 1024 bytes"
	limitName   = "valid UTF-8, at most 256 bytes"
	limitClass  = "1 to 63 bytes of [a-z0-9._-], starting with a letter or a digit"
	limitKeyID  = "NAME+HHHHHHHH with a name of 1 to 255 bytes without white space, control characters or +"
	limitOrigin = "1 to 255 bytes of UTF-8 without white space, control characters or +"
)
