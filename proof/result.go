package proof

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"graven/merkle"
	"graven/record"
)

// Result is what a verified proof file proves. Only Verifier.Verify makes one; it
// is the only way to the data. It is immutable as long as its caller does not
// write to the slices in its claim.
type Result struct {
	claim      Claim
	checkpoint Checkpoint
	commit     Commit
	hasCommit  bool
	past       bool       // commit is not that of now
	unknown    int        // signatures of keys that the verifier does not know
	signers    []VKey     // keys that it knows and that have signed the checkpoint
	cosigned   []Cosigned // those among them that are cosigners'
}

// Cosigned says that a key has cosigned a checkpoint, and when.
type Cosigned struct {
	// Key is of type 4 or 6.
	Key VKey
	// Seconds is the POSIX time that the cosigner states, at most 2^63-1. Nobody else
	// vouches for it. With 0 a key of type 6 states none.
	Seconds uint64
}

// Claim is what was proven: a RecordProven, a Present, an Absent, a Listed, a
// Counted, a History, a Past, a Consistent, an OpProven or a Signed.
type Claim interface{ isClaim() }

// RecordProven: the log has this record at this place.
type RecordProven struct {
	// Seq is the record's position.
	Seq uint64
	// Line is the record's bytes, without the line feed.
	Line []byte
	// Record is the parsed line. Its body is a *record.Unknown if this program
	// does not know its kind or version: then it is proven as bytes.
	Record *record.Record
}

// Present: the key has a value, and this is its newest version at the commit.
type Present struct {
	// Space and Key are the subject.
	Space byte
	Key   []byte
	// Value and Size are the SHA-256 and the length of the value's bytes as they
	// are stored; CheckValue compares. Type is its media type or "". Enc says how
	// the stored bytes are encrypted, "" if they are not.
	Value record.ID
	Size  uint64
	Type  string
	Enc   string
	// Seq is the record that wrote this version, N the version's number, Created
	// the record that wrote version 1.
	Seq, N, Created uint64
	// Op is the op line.
	Op []byte
}

// Absent: the key has no value at the commit.
type Absent struct {
	// Space and Key are the subject.
	Space byte
	Key   []byte
	// Deleted: the key's newest version is a deletion, and the fields below tell
	// of it as in Present. Otherwise the key never had a version, and they are
	// zero.
	Deleted         bool
	Seq, N, Created uint64
	Op              []byte
}

// Listed: these are all keys of a range that have a value at the commit. With
// Subject.Compact, that nothing but deleted keys was left out is what the log's own
// counts say: true if a replay finds them so.
type Listed struct {
	// Subject names the range. More: its limit was reached, and nothing is said
	// about the keys behind the last entry. At is the position: Subject.At, or the
	// record that was the newest at Subject.Time; 0: now.
	Subject record.RangeSubject
	At      uint64
	More    bool
	// Entries are in the direction that the subject asks for.
	Entries []Present
}

// Counted: so many keys of a range have a value at the commit. Counts of whole
// subtrees are what the log says of them: true if a replay finds them so.
type Counted struct {
	Subject record.RangeSubject
	At      uint64 // as in Listed
	Live    uint64
}

// Version is one version of a key.
type Version struct {
	// Seq is the record that wrote it, N its number from 1; both 0: there is none.
	Seq, N uint64
	// Live: it is a value, and the next four fields are as in Present; otherwise it
	// is a deletion.
	Live  bool
	Value record.ID
	Size  uint64
	Type  string
	Enc   string
	// Op is the op line.
	Op []byte
}

// History: these are the versions of a key, the newest first, down to version 1;
// none if it never had one. That each was written by its record is proven. That
// there was no other between two of them is what the ops say in prev, which a
// replay checks. If At is above 0, they are those that there were after record At,
// and Time is as in Past.
type History struct {
	Space    byte
	Key      []byte
	At       uint64
	Time     time.Time
	Versions []Version
	Never    bool // it never had a version, also not after At
}

// Past: this was the newest version of a key after record At; its N is 0 if there
// was none yet. That At lies between it and the version after it is what the ops
// say in prev, which a replay checks. Time, unless it is zero, is what the claim
// is about: by the log's own clock At was the newest record then.
type Past struct {
	Space   byte
	Key     []byte
	At      uint64
	Time    time.Time
	Version Version
	Never   bool // as in History
}

func (RecordProven) isClaim() {}
func (Present) isClaim()      {}
func (Absent) isClaim()       {}
func (Listed) isClaim()       {}
func (Counted) isClaim()      {}
func (History) isClaim()      {}
func (Past) isClaim()         {}

// Commit is the commit under whose state a claim was proven: the last record that
// the checkpoint covers, or an older one of a list or a count of the past.
type Commit struct {
	// Seq is the commit's position.
	Seq uint64
	// Time is when the log says that it committed. Nobody else vouches for it.
	Time time.Time
	// Epoch counts adopted restores, Height the commits.
	Epoch, Height uint64
	// State is the state root.
	State merkle.Hash
}

// Claim returns what was proven.
func (r *Result) Claim() Claim { return r.claim }

// Checkpoint returns the signed checkpoint that everything was proven under.
func (r *Result) Checkpoint() Checkpoint { return r.checkpoint }

// Commit returns the commit of a key claim; ok is false for a record proof.
func (r *Result) Commit() (c Commit, ok bool) { return r.commit, r.hasCommit }

// Cosigners returns the cosigners that the verifier knows and that have cosigned
// the checkpoint, in the order of their signatures.
func (r *Result) Cosigners() []Cosigned { return slices.Clone(r.cosigned) }

// Subject returns what the proof is about, in one line of text; two subjects never
// have the same text.
//
//	record:17          record 17
//	colours/red        a user's key that is UTF-8
//	b64:/wA=           a user's key that is not
//	space:01:t/1       a key of another space, two hex digits
//	list:{"prefix":"a/"}   keys of a range, see record.RangeSubject
//	count:{}               their number
//	history:{"key":"a"}    all versions of a key
//	past:{"key":"a","at":17}   a key as it was after record 17, or
//	past:{"key":"a","time":"2026-01-02T03:04:05.000000006Z"}   at a time
//	op:{"seq":17,"op":3}   an op of a transaction
//	signed:17              the transaction in record 17, with its actor's signature
//	size:17                that the first 17 records are those of an older checkpoint
//
// A key that itself begins with one of these words is written in base64. Keys
// may hold control characters; quote the text before it reaches a terminal.
func (r *Result) Subject() string {
	switch c := r.claim.(type) {
	case RecordProven:
		return "record:" + strconv.FormatUint(c.Seq, 10)
	case Present:
		return keySubject(c.Space, c.Key)
	case Absent:
		return keySubject(c.Space, c.Key)
	case Listed:
		return "list:" + c.Subject.Format()
	case Counted:
		return "count:" + c.Subject.Format()
	case OpProven:
		return "op:" + opSubject(c.Seq, c.Number)
	case Signed:
		return "signed:" + strconv.FormatUint(c.Seq, 10)
	case Consistent:
		return consistencySubject(c.Size)
	case History:
		return "history:" + record.FormatSubjectAt(c.Space, c.Key, record.Moment{At: c.At, Time: c.Time})
	case Past:
		return "past:" + record.FormatSubjectAt(c.Space, c.Key, record.Moment{At: c.At, Time: c.Time})
	}
	return ""
}

// SubjectWords are what subjects begin with that are not keys of users as they
// stand. A key that begins with one is written in base64.
var SubjectWords = []string{"record:", "b64:", "space:", "list:", "count:", "history:", "past:", "size:", "op:", "signed:"}

func keySubject(space byte, key []byte) string {
	text := string(key)
	special := func(word string) bool { return strings.HasPrefix(text, word) }
	if !utf8.Valid(key) || slices.ContainsFunc(SubjectWords, special) {
		text = "b64:" + b64.EncodeToString(key)
	}
	if space != record.SpaceUser {
		return "space:" + hex.EncodeToString([]byte{space}) + ":" + text
	}
	return text
}

// CheckCosigners returns an error that wraps ErrSignature unless each of these
// keys, which the verifier was made with, has cosigned the checkpoint. A log's key
// never has: its signature is that of the log.
func (r *Result) CheckCosigners(vkeys ...string) error {
	for _, text := range vkeys {
		k, err := ParseVKey(text)
		switch {
		case err != nil:
			return err
		case k.typ == TypeEd25519:
			return fmt.Errorf("%w: %s is a log's key, wanted a cosigner's (type %d or %d)", ErrSignature, k.KeyName(), TypeCosignEd25519, TypeMLDSA44)
		case !slices.ContainsFunc(r.signers, k.equal):
			return fmt.Errorf("%w: the checkpoint bears no cosignature of %s", ErrSignature, k.KeyName())
		}
	}
	return nil
}

// CheckSubject returns an error that wraps ErrSubject unless the proof is about
// want, as Subject writes it. A proof that somebody else chose may be valid and
// about something else. A proof of the newest state is also one of the state after
// its last record, so whoever asked for that position may say so.
func (r *Result) CheckSubject(want string) error {
	if have := r.Subject(); have != want && r.subjectAtEnd() != want {
		return fmt.Errorf("%w: the proof is about %q, wanted %q", ErrSubject, have, want)
	}
	return nil
}

// subjectAtEnd is the subject of a claim about now as one of the last record that
// the checkpoint covers; empty for any other claim.
func (r *Result) subjectAtEnd() string {
	end := record.Moment{At: r.checkpoint.Size - 1}
	switch c := r.claim.(type) {
	case Present:
		return "past:" + record.FormatSubjectAt(c.Space, c.Key, end)
	case Absent:
		return "past:" + record.FormatSubjectAt(c.Space, c.Key, end)
	case History:
		if c.At == 0 {
			return "history:" + record.FormatSubjectAt(c.Space, c.Key, end)
		}
	case Listed:
		if s := c.Subject; c.At == 0 {
			s.At = end.At
			return "list:" + s.Format()
		}
	case Counted:
		if s := c.Subject; c.At == 0 {
			s.At = end.At
			return "count:" + s.Format()
		}
	}
	return ""
}

// provenValue is the one value that the claim is about, if it is about one.
func (r *Result) provenValue() (id record.ID, size uint64, ok bool) {
	switch c := r.claim.(type) {
	case Present:
		return c.Value, c.Size, true
	case Past:
		return c.Version.Value, c.Version.Size, c.Version.Live
	case OpProven:
		return c.Op.Value, c.Op.Size, c.Op.HasValue()
	case RecordProven:
		tx, isTx := c.Record.Body.(*record.Tx)
		for i := 0; isTx && i < len(tx.Ops); i++ {
			if op := &tx.Ops[i]; op.HasValue() {
				if ok {
					return record.ID{}, 0, false // of several nobody knows which is meant
				}
				id, size, ok = op.Value, op.Size, true
			}
		}
	}
	return id, size, ok
}

// CheckValue reads from value to its end and returns nil if the bytes are those of
// the proven value: equal SHA-256 and size. It stops reading one byte behind the
// proven size. Errors wrap ErrValue, or are those of value. Claims about one value
// are those of a present key, of a key in the past, of an op, and of a record whose
// transaction holds one value and says so itself.
func (r *Result) CheckValue(value io.Reader) error {
	id, size, ok := r.provenValue()
	if !ok {
		return fmt.Errorf("%w: the proof about %q is not of one value", ErrValue, r.Subject())
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(value, int64(size)+1))
	switch {
	case err != nil:
		return fmt.Errorf("proof: read the value of %q: %w", r.Subject(), err)
	case uint64(n) > size:
		return fmt.Errorf("%w of %q: more than %d bytes, wanted %d", ErrValue, r.Subject(), size, size)
	case uint64(n) < size:
		return fmt.Errorf("%w of %q: %d bytes, wanted %d", ErrValue, r.Subject(), n, size)
	}
	if have := record.ID(h.Sum(nil)); have != id {
		return fmt.Errorf("%w of %q: %s, wanted %s", ErrValue, r.Subject(), have, id)
	}
	return nil
}

// Checked is something that a caller has checked besides.
type Checked int

const (
	// ActorChecked: CheckActor found the signature of the actor's key.
	ActorChecked Checked = iota + 1
	// OldChecked: CheckOld found the older checkpoint to be of this history.
	OldChecked
)

// Describe says in plain language what the proof proves, and in the last line what
// it does not. What the caller has checked he is not asked to check. Every line is
// printable: foreign text is quoted.
func (r *Result) Describe(checked ...Checked) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	c := r.checkpoint
	switch claim := r.claim.(type) {
	case RecordProven:
		say("Record %d is in the log %q: a %q of version %d, %d bytes.", claim.Seq, c.Origin, claim.Record.Kind, claim.Record.V, len(claim.Line))
	case Present:
		say("The newest version of key %q in the log %q is a value of %d bytes, %s.", r.Subject(), c.Origin, claim.Size, claim.Value)
		if claim.Type != "" {
			say("Its media type is %q.", claim.Type)
		}
		if claim.Enc != "" {
			say("Its bytes are stored encrypted: %q.", claim.Enc)
		}
		say("It is version %d, written by record %d; version 1 was written by record %d.", claim.N, claim.Seq, claim.Created)
	case Absent:
		if claim.Deleted {
			say("Key %q in the log %q has no value: record %d deleted it.", r.Subject(), c.Origin, claim.Seq)
			say("The deletion is version %d; version 1 was written by record %d.", claim.N, claim.Created)
		} else {
			say("Key %q in the log %q has no value and never had one.", r.Subject(), c.Origin)
		}
	case Listed:
		say("%s", claim.describe(c.Origin))
		if claim.More {
			say("The limit was reached: nothing is said about the keys behind the last one.")
		}
		if claim.Subject.Compact {
			say("Deleted keys were left out by the log's own counts: that there was no other key among them is true if a replay finds it so.")
		}
		for _, e := range claim.Entries {
			say("%q: %d bytes, %s, version %d, record %d", keySubject(e.Space, e.Key), e.Size, e.Value, e.N, e.Seq)
		}
	case Counted:
		say("%d keys%s in the log %q have a value.", claim.Live, boundsText(claim.Subject), c.Origin)
		say("Counts of whole subtrees are the log's own: they are true if a replay finds them so.")
	case OpProven:
		say("Op %d of the transaction in record %d of the log %q is: %s", claim.Number, claim.Seq, c.Origin, claim.Line)
	case Signed:
		say("Record %d of the log %q is a transaction of actor %q, %d ops, which carries a signature of its request by the key %q.", claim.Seq, c.Origin, claim.Actor, len(claim.Lines), claim.Key)
		say("The request has the id %q and is for the vault %s: signed once, it counts in any log of a vault with that id.", claim.ID, claim.Vault)
		for _, line := range claim.Lines {
			say("%s", line)
		}
		if !slices.Contains(checked, ActorChecked) {
			say("Whether that key has signed it, a check against the actor's verifier key tells.")
		}
	case Consistent:
		say("The first %d records of the log %q have root %s.", claim.Size, c.Origin, claim.Root)
		if !slices.Contains(checked, OldChecked) {
			say("Compare it with the checkpoint of that size that you have.")
		}
	case History:
		key := keySubject(claim.Space, claim.Key)
		if len(claim.Versions) == 0 {
			say("%s", noVersion(key, c.Origin, claim.At, claim.Never))
			break
		}
		say("These are all versions of key %q in the log %q, the newest first: %d.", key, c.Origin, len(claim.Versions))
		if claim.At > 0 {
			say("They are those that there were after record %d.", claim.At)
		}
		for _, v := range claim.Versions {
			say("%s", v.describe())
		}
		say("That there is none between two of them is what the log says of itself: it is true if a replay finds it so.")
	case Past:
		key := keySubject(claim.Space, claim.Key)
		if claim.Version.N == 0 {
			say("%s", noVersion(key, c.Origin, claim.At, claim.Never))
			break
		}
		say("The newest version of key %q in the log %q after record %d was: %s", key, c.Origin, claim.At, claim.Version.describe())
		say("That none came between it and record %d is what the log says of itself: it is true if a replay finds it so.", claim.At)
	}
	if at, t := r.moment(); !t.IsZero() {
		say("That was so at %s by the log's own clock, when record %d was the newest. That no record before it is of a later time is what the log says of itself: it is true if a replay finds it so.", t.UTC().Format(time.RFC3339Nano), at)
	}
	say("The log's key has signed this: size %d, root %s.", c.Size, c.Root)
	if r.unknown > 0 {
		say("Signatures of %d other keys stand beside it; nobody gave those keys, so they were not checked.", r.unknown)
	}
	if r.hasCommit {
		say("The state is that of commit %d in epoch %d, made at %s by the log's own clock.", r.commit.Height, r.commit.Epoch, r.commit.Time.UTC().Format(time.RFC3339Nano))
		if r.past {
			at, _ := r.moment()
			say("It is as of record %d, the last commit at or before record %d.", r.commit.Seq, at)
			say("The claim is about the past: records behind it may have changed everything. That no other commit came between this one and the next is what the log says of itself: it is true if a replay finds it so.")
		}
		say("Not proven: that no newer checkpoint exists, that others were shown the same log, and that the log computed its state rightly (an auditor's replay shows that).")
	} else if _, ok := r.claim.(Consistent); ok {
		say("Not proven: what the records say, and that others were shown the same log.")
	} else {
		say("Not proven: what later records say, that others were shown the same log, and that what the record says is true.")
	}
	return out
}

// describe says how many keys are listed, and whether there may be others.
func (l *Listed) describe(origin string) string {
	bounds := boundsText(l.Subject)
	switch {
	case !l.More && bounds == "":
		return fmt.Sprintf("This is every key in the log %q that has a value: %d.", origin, len(l.Entries))
	case !l.More:
		return fmt.Sprintf("These are all keys%s in the log %q that have a value: %d.", bounds, origin, len(l.Entries))
	case l.Subject.Reverse:
		return fmt.Sprintf("These are the last %d keys%s in the log %q that have a value; smaller ones may follow.", len(l.Entries), bounds, origin)
	}
	return fmt.Sprintf("These are the first %d keys%s in the log %q that have a value; greater ones may follow.", len(l.Entries), bounds, origin)
}

// boundsText says which keys a list or a count is about, without limit and moment;
// empty: every key.
func boundsText(s record.RangeSubject) string {
	s = record.RangeSubject{Space: s.Space, Prefix: s.Prefix, From: s.From, To: s.To}
	if text := s.Format(); text != "{}" {
		return " of " + text
	}
	return ""
}

// noVersion says that a key had no version: never, or not yet after a record. Of the
// second only the newest version tells, which names the record of the first.
func noVersion(key, origin string, at uint64, never bool) string {
	switch {
	case never && at == 0:
		return fmt.Sprintf("Key %q in the log %q never had a version.", key, origin)
	case never:
		return fmt.Sprintf("Key %q in the log %q had no version after record %d, and has none now: it never had one.", key, origin, at)
	}
	return fmt.Sprintf("Key %q in the log %q had no version yet after record %d. That its first came later is what the log says of itself: it is true if a replay finds it so.", key, origin, at)
}

// moment is the time that the claim is about, zero if it names none, and the record
// that was the newest then.
func (r *Result) moment() (at uint64, t time.Time) {
	switch c := r.claim.(type) {
	case Listed:
		return c.At, c.Subject.Time
	case Counted:
		return c.At, c.Subject.Time
	case History:
		return c.At, c.Time
	case Past:
		return c.At, c.Time
	}
	return 0, time.Time{}
}

// describe tells of a version in words.
func (v *Version) describe() string {
	if !v.Live {
		return fmt.Sprintf("version %d, record %d: deleted", v.N, v.Seq)
	}
	return fmt.Sprintf("version %d, record %d: %d bytes, %s", v.N, v.Seq, v.Size, v.Value)
}
