package proof

import (
	"encoding/base64"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"graven/record"
)

// goldenClaim is a proof of a list, a count, a history, a key in the past, an op, a
// signed transaction,
// or of consistency, and what it proves: docs/format.md §10.3 to §10.9.
type goldenClaim struct {
	Name string `json:"name"`
	VKey string `json:"vkey"`
	File string `json:"file"`
	Want string `json:"want"`

	Subject  string          `json:"subject,omitempty"`
	Commit   uint64          `json:"commit,omitempty"` // the state is that of this record
	At       uint64          `json:"at,omitempty"`     // of a claim about a time: the newest record then
	More     bool            `json:"more,omitempty"`   // a list's limit was reached
	Versions []goldenVersion `json:"versions,omitempty"`
	Live     *uint64         `json:"live,omitempty"` // of a count
	OldRoot  string          `json:"old_root,omitempty"`
	Line     string          `json:"line,omitempty"` // of an op; the record of a signed transaction

	// Signer is the key that a signed transaction is checked against, Signed whether
	// the signature is good.
	Signer string `json:"signer,omitempty"`
	Signed *bool  `json:"signed,omitempty"`
}

// goldenVersion is an entry of a list, or a version of a key.
type goldenVersion struct {
	Key64 string `json:"key64,omitempty"`
	Seq   uint64 `json:"seq"`
	N     uint64 `json:"n"`
	Line  string `json:"line"`
}

func (g *goldenClaim) fill(t *testing.T) {
	t.Helper()
	ver, err := NewVerifier(g.VKey)
	if err != nil {
		t.Fatal(err)
	}
	res, err := ver.Verify([]byte(g.File))
	if g.Want = goldenWant(err); err != nil {
		return
	}
	g.Subject = res.Subject()
	if c, ok := res.Commit(); ok {
		g.Commit = c.Seq
	}
	if at, named := res.moment(); !named.IsZero() {
		g.At = at
	}
	version := func(v Version) {
		g.Versions = append(g.Versions, goldenVersion{Seq: v.Seq, N: v.N, Line: string(v.Op)})
	}
	switch c := res.Claim().(type) {
	case Listed:
		g.More = c.More
		for _, e := range c.Entries {
			g.Versions = append(g.Versions, goldenVersion{base64.StdEncoding.EncodeToString(e.Key), e.Seq, e.N, string(e.Op)})
		}
	case Counted:
		g.Live = &c.Live
	case History:
		for _, v := range c.Versions {
			version(v)
		}
	case Past:
		if c.Version.N > 0 {
			version(c.Version)
		}
	case Consistent:
		g.OldRoot = c.Root.String()
	case OpProven:
		g.Line = string(c.Line)
	case Signed:
		signed := res.CheckActor(g.Signer) == nil
		g.Line, g.Signed = string(c.Record), &signed
	}
}

// withSigned adds proofs of signed transactions, each with a key.
func withSigned(t *testing.T, made []goldenClaim) []goldenClaim {
	v, files, keys := signedSamples(t)
	_, mallory := actor(t, "mallory", TypeEd25519)
	one := func(name string, file []byte, signer string) {
		made = append(made, goldenClaim{Name: name, VKey: v.keys.Log.VKey, File: string(file), Signer: signer})
	}
	for _, name := range []string{"narrow", "wide", "ml-dsa"} {
		one("signed, "+name, files[name], keys[name])
	}
	one("signed, another key", files["narrow"], mallory)
	one("signed, another seq", forge(t, files["narrow"], `subject {"seq":2}`, `subject {"seq":3}`), keys["narrow"])
	one("signed, another genesis", forge(t, files["narrow"], `"name":"main"`, `"name":"mine"`), keys["narrow"])
	one("signed, other ops", forge(t, files["narrow"], `"key":"a"`, `"key":"b"`), keys["narrow"])
	lines := strings.SplitAfter(string(files["wide"]), "\n")
	at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "op ") })
	one("signed, a wide op left out", resum([]byte(strings.Join(slices.Delete(slices.Clone(lines), at, at+1), ""))), keys["wide"])
	one("signed, wide ops exchanged", resum([]byte(strings.Join(slices.Concat(lines[:at], []string{lines[at+1], lines[at]}, lines[at+2:]), ""))), keys["wide"])
	return made
}

func TestGoldenClaims(t *testing.T) {
	v := rangeVault(t)
	var made []goldenClaim
	add := func(name, file string) {
		made = append(made, goldenClaim{Name: name, VKey: v.keys.Log.VKey, File: file})
	}
	forged := func(file, from, to string) string { return string(forge(t, []byte(file), from, to)) }
	ranges := rangeSamples(t, v)
	for _, name := range []string{
		"a prefix", "a range", "first three", "last two", "the past", "nothing", "a space of two", "no such space",
		"a count", "a count of all", "a count, the past",
		"compact", "compact, last two", "a time", "a time, at a commit", "a time, before a commit", "a time, compact, limited", "a count, a time",
	} {
		add(name, string(ranges[name]))
	}
	add("history", string(mustEncode(t, v.chainProof('k', "colours/03", 0))))
	add("past", string(mustEncode(t, v.chainProof('k', "colours/03", 15))))
	add("history, in the past", string(mustEncode(t, v.chain('k', "colours/03", 17, time.Time{}, true))))
	add("history, in the past, none yet", string(mustEncode(t, v.chain('k', "a\xff", 9, time.Time{}, true))))
	add("history, at a time", string(mustEncode(t, v.chain('k', "colours/03", 0, v.clock(17), true))))
	add("history of a key that never was", string(mustEncode(t, v.chainProof('k', "never", 0))))
	add("past of a key that was not yet", string(mustEncode(t, v.chainProof('k', "a\xff", 9))))
	add("past, deleted then", string(mustEncode(t, v.chainProof('k', "a", v.size()-3))))
	add("consistency", string(v.consistencyProof(9, v.size()).Encode()))
	add("consistency with itself", string(v.consistencyProof(v.size(), v.size()).Encode()))
	op := OpProof{Number: 1, Evidence: Evidence{Record: v.lines[v.ops["kcolours/03"][1].seq]}, Checkpoint: v.checkpointAt(v.size())}
	opSeq := v.ops["kcolours/03"][1].seq
	op.Path = path(opSeq, v.leaves)
	add("op", string(op.Encode(opSeq)))

	prefix, past, history := string(ranges["a prefix"]), string(ranges["the past"]), string(mustEncode(t, v.chainProof('k', "colours/03", 0)))
	line := func(file, start string) string {
		at := strings.Index(file, "\n"+start)
		if at < 0 {
			t.Fatalf("no line begins with %q", start)
		}
		return strings.SplitAfter(file[at+1:], "\n")[0]
	}
	add("a key left out", forged(prefix, line(prefix[strings.LastIndex(prefix, "\nop "):], "op "), ""))
	add("another prefix", forged(prefix, `{"prefix":"colours/0"}`, `{"prefix":"colours/00"}`))
	add("a limit that is not there", forged(prefix, `{"prefix":"colours/0"}`, `{"prefix":"colours/0","limit":3}`))
	add("a limit of 0", forged(prefix, `{"prefix":"colours/0"}`, `{"prefix":"colours/0","limit":0}`))
	add("a list as a count", forged(prefix, "claim list", "claim count"))
	add("a past without its next commit", forged(past, line(past, "next "), ""))
	add("a past at another time", forged(past, `"at":9`, `"at":22`))
	add("a history without a version", forged(history, line(history, "record "), ""))
	older := string(mustEncode(t, v.chain('k', "colours/03", 17, time.Time{}, true)))
	add("a history in the past without its first version", forged(older, older[strings.LastIndex(older, "\nrecord ")+1:strings.LastIndex(older, "\nsum ")+1], ""))
	add("a history in the past as one of now", forged(older, `,"at":17`, ""))
	add("a history as a past", forged(older, "claim history", "claim past"))
	add("a history of another key", forged(history, `subject {"key":"colours/03"}`, `subject {"key":"colours/04"}`))
	add("a past beyond the end", string(mustEncode(t, v.chainProof('k', "never", record.MaxInt))))
	add("consistency, another root", forged(string(v.consistencyProof(9, v.size()).Encode()), `{"size":9}`, `{"size":8}`))
	add("consistency from nothing", forged(string(v.consistencyProof(9, v.size()).Encode()), `{"size":9}`, `{"size":0}`))
	add("op, another number", forged(string(op.Encode(opSeq)), `"op":1`, `"op":2`))
	add("op, no such number", forged(string(op.Encode(opSeq)), `"op":1`, `"op":9`))

	slow := slowRangeVault(t, 3)
	slowKey, now := slow.keys.Log.VKey, slow.clock(14).Add(time.Second)
	of := func(name, file string) { made = append(made, goldenClaim{Name: name, VKey: slowKey, File: file}) }
	aKey := func(change func(p *ChainProof)) string {
		p := slow.chainProofAt('k', "colours/03", 0, now)
		change(&p)
		slow.repath(&p)
		return string(mustEncode(t, p))
	}
	of("a time, three records each", string(mustEncodeRange(t, slow.rangeProof(record.RangeSubject{Space: 'k', Prefix: []byte("colours/0"), Time: now}, false))))
	of("past, a time", aKey(func(*ChainProof) {}))
	of("past, the very time", aKey(func(p *ChainProof) { p.Time = slow.clock(14) }))
	of("past, a time, not yet", string(mustEncode(t, slow.chainProofAt('k', "a\xff", 0, now))))
	timedKey := aKey(func(*ChainProof) {})
	of("a time before then", forged(timedKey, `"time":"2026-01-02T03:04:18.`, `"time":"2026-01-02T03:04:16.`))
	of("a time not before after", forged(timedKey, `"time":"2026-01-02T03:04:18.`, `"time":"2026-01-02T03:04:20.`))
	of("a time, the pair before", aKey(func(p *ChainProof) { p.Around = Around{slow.lines[13], slow.lines[14]} }))
	of("a time, a record passed over", aKey(func(p *ChainProof) { p.Around = Around{slow.lines[14], slow.lines[16]} }))
	of("a time, the lines swapped", aKey(func(p *ChainProof) { p.Then, p.After = p.After, p.Then }))
	of("a time, genesis", aKey(func(p *ChainProof) { p.Time, p.Around = slow.clock(0), Around{slow.lines[0], slow.lines[1]} }))
	of("a time without after", forged(timedKey, line(timedKey, "after "), ""))
	of("a time as a position", forged(timedKey, `"time":"2026-01-02T03:04:18.000000006Z"`, `"at":14`))
	of("a time with fewer digits", forged(timedKey, `"time":"2026-01-02T03:04:18.000000006Z"`, `"time":"2026-01-02T03:04:18Z"`))
	of("the first time there is", forged(timedKey, `"time":"2026-01-02T03:04:18.000000006Z"`, `"time":"0001-01-01T00:00:00.000000000Z"`))
	compact, colours := string(ranges["compact"]), v.rangeProof(record.RangeSubject{Space: 'k', Prefix: []byte("colours/")}, false)
	add("a compact list as a whole one", forged(compact, `,"compact":true`, ""))
	add("a whole list as a compact one", forged(string(mustEncodeRange(t, colours)), `{"prefix":"colours/"}`, `{"prefix":"colours/","compact":true}`))
	add("a compact count", forged(string(ranges["a count"]), `{"prefix":"colours/"}`, `{"prefix":"colours/","compact":true}`))
	made = withSigned(t, made)
	for i := range made {
		made[i].fill(t)
	}
	good := 0
	for _, g := range goldenFile(t, "claims.json", made) {
		again := goldenClaim{Name: g.Name, VKey: g.VKey, File: g.File, Signer: g.Signer}
		again.fill(t)
		if !reflect.DeepEqual(again, g) {
			t.Errorf("%s: got %+v, wanted %+v", g.Name, again, g)
		}
		if g.Want == "ok" {
			good++
		}
	}
	if good < 30 || len(made)-good < 25 {
		t.Errorf("%d good claims and %d bad ones", good, len(made)-good)
	}
}
