package graven

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/record"
)

// The second reader must be able to say no. These tests change a vault's log and
// blocks, and make every hash above the change true again, so that only what the
// reader recomputes can give it away.

const (
	firstLog = "log/log-0000000000000000.jsonl"
	firstDoc = "blocks/open/log-00000000.blk"
)

// reseal makes the commit lines of a log true again: all of them but their state roots.
func reseal(t *testing.T, log []byte) []byte {
	t.Helper()
	var out, group []byte
	var tree merkle.Tree
	var before *merkle.Hash
	for line := range bytes.Lines(log) {
		r, err := record.Parse(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		text := bytes.TrimSuffix(line, []byte{'\n'})
		c, ends := r.Body.(*record.Commit)
		if ends {
			c.Prev, c.Lines, c.Root = before, record.IDOf(group), tree.Root()
			if text, err = r.Append(nil); err != nil {
				t.Fatal(err)
			}
		}
		leaf := merkle.LeafHash(text)
		tree.Append(leaf)
		out = append(append(out, text...), '\n')
		if group = append(append(group, text...), '\n'); ends {
			before, group = &leaf, nil
		}
	}
	return out
}

// lies is a vault's files for the reader, to be changed.
type lies struct {
	t     *testing.T
	files lifeFiles
	at    time.Time
	seq   uint64         // of the next record
	last  *record.Commit // the newest
}

func newLies(t *testing.T, files lifeFiles) *lies {
	t.Helper()
	l := &lies{t: t, files: lifeFiles{}}
	for name, data := range files {
		l.files[name] = bytes.Clone(data)
	}
	for line := range bytes.Lines(l.files[firstLog]) {
		r, err := record.Parse(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil {
			t.Fatal(err)
		}
		l.at, l.seq = r.Time, r.Seq+1
		l.last, _ = r.Body.(*record.Commit)
	}
	return l
}

// edit replaces a text that must be there in a file.
func (l *lies) edit(name, old, changed string) {
	l.t.Helper()
	if !bytes.Contains(l.files[name], []byte(old)) {
		l.t.Fatalf("%s has no %s:\n%s", name, old, l.files[name])
	}
	l.files[name] = bytes.Replace(l.files[name], []byte(old), []byte(changed), 1)
}

// flip changes the character behind the last place of a text in the log.
func (l *lies) flip(text string) {
	l.t.Helper()
	log := l.files[firstLog]
	at := bytes.LastIndex(log, []byte(text))
	if at < 0 {
		l.t.Fatalf("the log has no %s:\n%s", text, log)
	}
	if at += len(text); log[at] == 'A' {
		log[at] = 'B'
	} else {
		log[at] = 'A'
	}
}

func (l *lies) reseal() { l.files[firstLog] = reseal(l.t, l.files[firstLog]) }

// group appends records and a commit under which the state is as before.
func (l *lies) group(bodies ...record.Body) {
	l.t.Helper()
	next := *l.last
	next.Height++
	next.Prev = new(merkle.Hash) // reseal knows it
	for _, body := range append(bodies, &next) {
		line, err := record.New(l.seq, l.at, body).Append(nil)
		if err != nil {
			l.t.Fatal(err)
		}
		l.files[firstLog] = append(append(l.files[firstLog], line...), '\n')
		l.seq++
	}
	l.last = &next
	l.reseal()
}

// document is a record that puts doc into force, with a signature that nobody looks at.
func (l *lies) document(number uint64, doc string) record.Body {
	id := record.IDOf([]byte(doc))
	l.files[firstDoc] = fmt.Appendf(l.files[firstDoc], "%v %d\n%s\n", id, len(doc), doc)
	return &record.Document{Kind: record.KindPolicy, Number: number, Doc: id, Sigs: []record.Sig{{Key: "authority+01234567", Sig: []byte{0}}}}
}

// claim is a transaction that changes nothing: it holds one condition.
func (l *lies) claim(actor, class, key string) record.Body {
	l.t.Helper()
	tx := &record.Tx{Actor: actor, Class: class, Ops: []record.Op{{Kind: record.OpIf, Space: record.SpaceUser, Key: []byte("no such key"), If: &record.Cond{Kind: record.Absent}}}}
	line, err := tx.Ops[0].AppendRequest(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	req := record.NewReq(actor, "", class, 1)
	req.Op(line)
	tx.Req = req.Sum()
	if key != "" {
		tx.Sig = &record.Sig{Key: key, Sig: []byte{0}}
	}
	return tx
}

// says runs the reader; an empty text means that it must find nothing.
func (l *lies) says(read func(...string) (string, string, error), want string) {
	l.t.Helper()
	folder := filepath.Join(l.t.TempDir(), "vault")
	l.files.write(l.t, folder)
	out, errs, err := read(folder)
	if want == "" && (err != nil || !strings.HasPrefix(out, "size ")) {
		l.t.Errorf("the reader says %s%s, %v", out, errs, err)
	}
	if want != "" && (err == nil || out != "" || !strings.Contains(errs, ": damage: ") || !strings.Contains(errs, want)) {
		l.t.Errorf("the reader says %s%s, %v, wanted damage and %q", out, errs, err, want)
	}
}

// simpleLife is a short vault with one log file and one open block a class.
func simpleLife(t *testing.T) lifeFiles {
	t.Helper()
	mem := fsx.NewMem()
	s := newScript(t, mem, func(g *record.Genesis) { small(g); g.BlockBytes = 1 << 20 })
	s.group(put("a", "1", "b", "2"), put("a", "3"))
	s.group(wide("w/", 12), del("b"))
	s.close()
	return lifeFilesOf(t, mem)
}

// TestSecondReaderSaysNo: one op, one root, one byte of a value is another.
func TestSecondReaderSaysNo(t *testing.T) {
	read := secondReader(t)
	files := simpleLife(t)
	if log := files[firstLog]; !bytes.Equal(reseal(t, log), log) {
		t.Fatal("reseal changes a log that is as it should be")
	}
	for _, c := range []struct {
		name   string
		change func(l *lies)
		says   string
	}{
		{"nothing", func(*lies) {}, ""},
		{"a time", func(l *lies) { l.edit(firstLog, `000Z","actor"`, `001Z","actor"`) }, "lines is not the hash"},
		{"an op", func(l *lies) { l.edit(firstLog, `"size":1`, `"size":2`) }, "req"},
		{"an op's key", func(l *lies) { l.edit(firstLog, `"key":"b"`, `"key":"c"`); l.reseal() }, "req"},
		{"an op's number", func(l *lies) { l.edit(firstLog, `"n":2}`, `"n":4}`); l.reseal() }, "n, prev, skip"},
		{"an op's link", func(l *lies) { l.edit(firstLog, `"prev":2,"skip":2`, `"prev":1,"skip":1`); l.reseal() }, "n, prev, skip"},
		{"an actor", func(l *lies) { l.edit(firstLog, `"actor":"script"`, `"actor":"other"`); l.reseal() }, "req"},
		{"a state root", func(l *lies) { l.flip(`"state":"`) }, "the state root is"},
		{"a root", func(l *lies) { l.flip(`"root":"`) }, "the root of the records before is"},
		{"the chain of commits", func(l *lies) { l.flip(`"height":2,"prev":"`) }, "prev is not the leaf hash"},
		{"an epoch", func(l *lies) { l.edit(firstLog, `"epoch":0`, `"epoch":1`); l.reseal() }, "record 1: epoch"},
		{"a wide transaction's root", func(l *lies) { l.flip(`"count":12,"root":"`); l.reseal() }, "wide: count or root"},
		{"an op of a wide transaction", func(l *lies) { l.edit(firstDoc, `"key":"w/3"`, `"key":"w/X"`) }, "hash of frame"},
		{"a value", func(l *lies) { l.edit("blocks/open/main-00000000.blk", "\n1\n", "\n7\n") }, "hash of frame"},
		{"a commit that is cut off", func(l *lies) {
			log := bytes.TrimSuffix(l.files[firstLog], []byte{'\n'})
			l.files[firstLog] = log[:bytes.LastIndexByte(log, '\n')+1]
		}, "no commit behind"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLies(t, files)
			c.change(l)
			l.says(read, c.says)
		})
	}
}

// TestSecondReaderPolicies: policies of both versions, and what each lets actors do.
func TestSecondReaderPolicies(t *testing.T) {
	read := secondReader(t)
	files := simpleLife(t)
	const (
		first   = `{"v":1,"kind":"policy","features":["authority/1","block/1","commit/1","genesis/1","policy/1","tx/1"],"classes":["main"]}`
		alice   = "alice+11111111"
		vkeys   = `"alice+11111111+AQ==","alice+22222222+Bg=="`
		classes = `"classes":["archive","main"]}`
	)
	second := func(others string, actors string) string {
		return strings.Replace(strings.TrimSuffix(first, "}"), `"v":1`, `"v":2`, 1) + `,"actors":[` + actors + `],"others":"` + others + `"}`
	}
	known := `{"actor":"alice","keys":[` + vkeys + `]},{"actor":"mute","keys":[]}`
	for _, c := range []struct {
		name               string
		doc                string
		actor, class, keys string // of the transaction behind it
		says               string
	}{
		{"version 1", first, "alice", "", "", ""},
		{"version 1, signed", first, "alice", "", alice, "who signed"},
		{"a class", strings.Replace(first, `"classes":["main"]}`, classes, 1), "", "archive", "", ""},
		{"no such class", first, "", "archive", "", "class"},
		{"known, signed", second("allow", known), "alice", "", alice, ""},
		{"known, signed by the second key", second("refuse", known), "alice", "", "alice+22222222", ""},
		{"known, not signed", second("allow", known), "alice", "", "", "who signed"},
		{"known, signed by a stranger", second("allow", known), "alice", "", "bob+11111111", "who signed"},
		{"known, without a key", second("allow", known), "mute", "", "", "who signed"},
		{"others", second("allow", known), "bob", "", "", ""},
		{"others, signed", second("allow", known), "bob", "", "bob+11111111", "who signed"},
		{"others refused", second("refuse", known), "bob", "", "", "who signed"},
		{"all refused", second("refuse", ""), "bob", "", "", "who signed"},
		{"version 2 for what version 1 can say", second("allow", ""), "", "", "", "version of the policy"},
		{"version 1 with actors", strings.Replace(second("allow", known), `"v":2`, `"v":1`, 1), "", "", "", "version of the policy"},
		{"version 3", strings.Replace(first, `"v":1`, `"v":3`, 1), "", "", "", "lacks such a policy"},
		{"another document", strings.Replace(first, "policy", "authority", 1), "", "", "", "lacks such a policy"},
		{"actors in another order", second("allow", `{"actor":"b","keys":[]},{"actor":"a","keys":[]}`), "", "", "", "order in the policy"},
		{"keys in another order", second("allow", `{"actor":"a","keys":["b+11111111+AQ==","a+11111111+AQ=="]}`), "", "", "", "order in the policy"},
		{"two keys of one name", second("allow", `{"actor":"a","keys":["a+11111111+AQ==","a+11111111+Bg=="]}`), "", "", "", "order in the policy"},
		{"a feature less", strings.Replace(first, `"block/1",`, "", 1), "", "", "", "features"},
		{"a feature that nobody has", strings.Replace(first, `"tx/1"]`, `"tx/1","zoning/3"]`, 1), "", "", "", ""},
		{"without the default class", strings.Replace(first, `"main"`, `"archive"`, 1), "", "", "", "classes"},
		{"white space", strings.Replace(first, `,"kind"`, `, "kind"`, 1), "", "", "", "canonical"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLies(t, files)
			l.group(l.document(1, c.doc))
			l.group(l.claim(c.actor, c.class, c.keys))
			l.says(read, c.says)
		})
	}
	t.Run("the newer one counts", func(t *testing.T) {
		l := newLies(t, files)
		// It is in force from the record behind its own on, not from the next group on.
		l.group(l.document(1, second("refuse", known)), l.claim("alice", "", alice), l.document(2, first), l.claim("alice", "", ""))
		l.says(read, "")
		l.group(l.claim("alice", "", alice))
		l.says(read, "who signed")
	})
	t.Run("a number that was there", func(t *testing.T) {
		l := newLies(t, files)
		l.group(l.document(1, first))
		l.group(l.document(1, first+" "))
		l.says(read, "number or doc")
	})
}
