package record

// The first line of a log:
//
//	{"v":1,"kind":"genesis","seq":0,"time":"…"
//	,"vault":"<32 hex>","name":"…","origin":"…","store":"<32 hex>"[,"region":"…"]
//	,"hashes":{"leaf":"sha256","node":"sha256","artifact":"sha256","state":"sha256"}
//	,"features":["…"],"index":1,"shards":0,"block":67108864
//	,"file":{"records":65536,"bytes":67108864}
//	,"run":{"records":65536,"ops":65536,"bytes":16777216}
//	,"oplines":4096,"value":262144,"chunk":8388608
//	,"class":"main","sealed":"none","authority":"sha256:…","policy":"sha256:…"}

// Genesis is the body of the record at seq 0: the constants of a vault. The
// hashes are those of version 1 and have no fields.
type Genesis struct {
	// Vault is the vault's id: 128 random bits.
	Vault VaultID
	// Name is the vault's name at creation: [a-z0-9][a-z0-9._-]{0,62}.
	Name string
	// Origin is the log's C2SP origin and the name of its keys: 1 to 255 bytes
	// of UTF-8 without white space, control characters or +.
	Origin string
	// Store is the id of the store that created the vault.
	Store VaultID
	// Region is where the vault lives, 1 to 63 bytes; empty: not said.
	Region string
	// Features are the kinds and versions that a program must know, sorted,
	// without duplicates, at least one.
	Features []string
	// Index is the index format, at least 1.
	Index uint64
	// Shards is the number of bits of the artifact index's shard number, 0 to 12.
	Shards uint64
	// BlockBytes is the size at which an open block is full.
	BlockBytes uint64
	// FileRecords and FileBytes say when a log file is full.
	FileRecords, FileBytes uint64
	// RunRecords, RunOps and RunBytes say when a level-0 index run ends.
	RunRecords, RunOps, RunBytes uint64
	// OpLines is the number of bytes of op lines above which a transaction is wide.
	OpLines uint64
	// ValueLimit is the size in bytes above which a value is chunked.
	ValueLimit uint64
	// ChunkSize is the size of a chunk in bytes. Invariant: at least ValueLimit.
	ChunkSize uint64
	// Class is the class of transactions that name none. Never `log`.
	Class string
	// Sealed says what is encrypted; only `none` is supported.
	Sealed string
	// Authority and Policy are the ids of the first documents.
	Authority, Policy ID
}

// DefaultGenesis returns a genesis with the default features and limits. The
// caller sets Vault, Name, Origin, Store, Authority, Policy, and Region if any.
//
// The features are the kinds whose replay changes what a vault answers.
// Evidence (segment, snapshot) and witness are not among them, so a program
// that does not know them still opens the vault.
func DefaultGenesis() Genesis {
	return Genesis{
		Features: []string{"authority/1", "block/1", "commit/1", "genesis/1", "policy/1", "tx/1"},
		Index:    1, Shards: 0,
		BlockBytes:  64 << 20,
		FileRecords: 65536, FileBytes: 64 << 20,
		RunRecords: 65536, RunOps: 65536, RunBytes: 16 << 20,
		OpLines: 4096, ValueLimit: 256 << 10, ChunkSize: 8 << 20,
		Class: "main", Sealed: "none",
	}
}

const theHash = "sha256"

var _ Body = (*Genesis)(nil)

func (*Genesis) kindOf() string { return KindGenesis }

func (g *Genesis) check(uint64) *FieldError {
	if e := checkVaultName("name", g.Name); e != nil {
		return e
	}
	if !isKeyName(g.Origin) {
		return invalidText("origin", g.Origin, limitOrigin)
	}
	if e := checkText("region", g.Region, 0, maxRegion, "valid UTF-8, at most 63 bytes"); e != nil {
		return e
	}
	if e := checkSet("features", g.Features, isFeature, "kind/version"); e != nil {
		return e
	}
	if g.Shards > maxShards {
		return invalidInt("shards", g.Shards, "0 to 12")
	}
	limits := [...]intField{
		{"index", g.Index},
		{"block", g.BlockBytes},
		{"file.records", g.FileRecords},
		{"file.bytes", g.FileBytes},
		{"run.records", g.RunRecords},
		{"run.ops", g.RunOps},
		{"run.bytes", g.RunBytes},
		{"oplines", g.OpLines},
		{"value", g.ValueLimit},
		{"chunk", g.ChunkSize},
	}
	for _, l := range limits {
		if e := checkOne(l.name, l.value); e != nil {
			return e
		}
	}
	if g.ChunkSize < g.ValueLimit {
		return invalidInt("chunk", g.ChunkSize, "at least the value limit")
	}
	if e := checkUserClass("class", g.Class); e != nil {
		return e
	}
	return checkSealed(g.Sealed)
}

func checkSealed(sealed string) *FieldError {
	if sealed == "none" {
		return nil
	}
	e := invalidText("sealed", sealed, "none")
	e.Reserved = sealed == "values" || sealed == "values+keys"
	return e
}

func (g *Genesis) appendFields(dst []byte) []byte {
	dst = append(dst, `,"vault":"`...)
	dst = append(dst, g.Vault.String()...)
	dst = appendStringField(dst, `","name":`, g.Name)
	dst = appendStringField(dst, `,"origin":`, g.Origin)
	dst = append(dst, `,"store":"`...)
	dst = append(dst, g.Store.String()...)
	dst = append(dst, '"')
	if g.Region != "" {
		dst = appendStringField(dst, `,"region":`, g.Region)
	}
	dst = append(dst, `,"hashes":{"leaf":"sha256","node":"sha256","artifact":"sha256","state":"sha256"}`...)
	dst = appendStrings(dst, `,"features":`, g.Features)
	dst = appendInt(dst, `,"index":`, g.Index)
	dst = appendInt(dst, `,"shards":`, g.Shards)
	dst = appendInt(dst, `,"block":`, g.BlockBytes)
	dst = appendInt(dst, `,"file":{"records":`, g.FileRecords)
	dst = appendInt(dst, `,"bytes":`, g.FileBytes)
	dst = appendInt(dst, `},"run":{"records":`, g.RunRecords)
	dst = appendInt(dst, `,"ops":`, g.RunOps)
	dst = appendInt(dst, `,"bytes":`, g.RunBytes)
	dst = appendInt(dst, `},"oplines":`, g.OpLines)
	dst = appendInt(dst, `,"value":`, g.ValueLimit)
	dst = appendInt(dst, `,"chunk":`, g.ChunkSize)
	dst = appendStringField(dst, `,"class":`, g.Class)
	dst = appendStringField(dst, `,"sealed":`, g.Sealed)
	dst = appendID(dst, `,"authority":`, &g.Authority)
	return appendID(dst, `,"policy":`, &g.Policy)
}

func (p *scanner) genesis() *Genesis {
	at := p.i
	g := new(Genesis)
	p.hex(`,"vault":`, g.Vault[:])
	g.Name = p.string(`,"name":`)
	g.Origin = p.string(`,"origin":`)
	p.hex(`,"store":`, g.Store[:])
	g.Region = p.optional(`,"region":`)
	p.hashName(`,"hashes":{"leaf":`, "hashes.leaf")
	p.hashName(`,"node":`, "hashes.node")
	p.hashName(`,"artifact":`, "hashes.artifact")
	p.hashName(`,"state":`, "hashes.state")
	g.Features = p.strings(`},"features":`)
	g.Index = p.int(`,"index":`)
	g.Shards = p.int(`,"shards":`)
	g.BlockBytes = p.int(`,"block":`)
	g.FileRecords = p.int(`,"file":{"records":`)
	g.FileBytes = p.int(`,"bytes":`)
	g.RunRecords = p.int(`},"run":{"records":`)
	g.RunOps = p.int(`,"ops":`)
	g.RunBytes = p.int(`,"bytes":`)
	g.OpLines = p.int(`},"oplines":`)
	g.ValueLimit = p.int(`,"value":`)
	g.ChunkSize = p.int(`,"chunk":`)
	g.Class = p.string(`,"class":`)
	g.Sealed = p.string(`,"sealed":`)
	p.id(`,"authority":`, &g.Authority)
	p.id(`,"policy":`, &g.Policy)
	p.refuse(at, g.check(0))
	return g
}

// hashName reads the name of a hash, of which version 1 has one.
func (p *scanner) hashName(name, field string) {
	at := p.i
	if s := p.string(name); s != theHash {
		e := invalidText(field, s, theHash)
		e.Reserved = isName(s, maxClass, "._/-")
		p.refuse(at, e)
	}
}

// optional reads a string that is left out when empty.
func (p *scanner) optional(name string) string {
	at := p.i
	if !p.has(name) {
		return ""
	}
	s := p.string("")
	if s == "" {
		p.fail(at, "no empty string; an absent field is left out")
	}
	return s
}
