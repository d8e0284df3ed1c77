package rescue_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"graven/rescue"
)

// vault writes a vault's folder straight from docs/format.md. It shares no code with the engine, so that it and
// rescue.sh are a second opinion about the formats.
type vault struct {
	t      *testing.T
	dir    string
	id     string
	lines  []string // the log
	group  []string // lines of the group at hand
	files  map[string][]byte
	first  uint64 // of the active log file
	perLog int    // records a log file

	height   int
	prev     string
	open     map[string]*open // by class
	held     []string         // WAL frames, one a group, if keepWAL
	mark     map[string]int   // class -> length of the open block at the last commit
	seen     map[string]bool
	values   map[string]string // id -> bytes, everything that must be extracted
	versions map[string]uint64
	noLog    bool // groups go to the WAL only
}

type open struct {
	class  string
	number int
	data   []byte
	toc    []string
}

const oplines = 4096

func newVault(t *testing.T, perLog int) *vault {
	t.Helper()
	v := &vault{
		t: t, dir: t.TempDir(), id: "00112233445566778899aabbccddeeff", files: map[string][]byte{}, perLog: perLog,
		open: map[string]*open{}, mark: map[string]int{}, seen: map[string]bool{}, values: map[string]string{}, versions: map[string]uint64{},
	}
	authority, policy := `{"v":1,"kind":"authority"}`, `{"v":1,"kind":"policy"}`
	v.artifact("log", authority)
	v.artifact("log", policy)
	v.record("genesis", fmt.Sprintf(`"vault":%q,"name":"main","origin":"graven.local/x","store":%q,"hashes":{"leaf":"sha256"},"features":["tx/1"],"index":1,"oplines":4096,"class":"main","sealed":"none","authority":%q,"policy":%q`,
		v.id, v.id, id(authority), id(policy)))
	v.commit()
	return v
}

func sum(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
func id(s string) string  { return "sha256:" + sum(s) }

func (v *vault) record(kind, fields string) uint64 {
	seq := uint64(len(v.lines) + len(v.group))
	when := time.Date(2026, 1, 2, 3, 4, 5, int(seq), time.UTC).Format("2006-01-02T15:04:05.000000000Z")
	v.group = append(v.group, fmt.Sprintf(`{"v":1,"kind":%q,"seq":%d,"time":%q,%s}`, kind, seq, when, fields))
	return seq
}

func (v *vault) block(class string) *open {
	b := v.open[class]
	if b == nil {
		b = &open{class: class}
		v.open[class] = b
	}
	if len(b.data) == 0 {
		b.data = fmt.Appendf(nil, "graven-block 1 %s %s %d\n", v.id, class, b.number)
		v.mark[class] = 0
	}
	return b
}

func (v *vault) artifact(class, value string) {
	v.values[sum(value)] = value
	if v.seen[class+sum(value)] {
		return
	}
	v.seen[class+sum(value)] = true
	v.block(class).add(value)
}

func (b *open) add(value string) {
	b.data = fmt.Appendf(b.data, "%s %d\n", id(value), len(value))
	b.toc = append(b.toc, fmt.Sprintf("%s %d %d\n", sum(value), len(b.data), len(value)))
	b.data = append(append(b.data, value...), '\n')
}

func (b *open) sealed() []byte {
	at := len(b.data)
	out := fmt.Appendf(b.data, "toc %d\n%s", len(b.toc), strings.Join(b.toc, ""))
	return fmt.Appendf(out, "end %016d %010d\n", at, len(b.toc))
}

func (v *vault) publish(b *open) (name string, size int) {
	data := b.sealed()
	name = sum(string(data))
	v.files["blocks/sealed/"+name[:2]+"/"+name+".blk"] = data
	return name, len(data)
}

// seal seals the open block of a class; its record goes into the next group.
func (v *vault) seal(class string) (file string) {
	b := v.open[class]
	name, size := v.publish(b)
	v.record("block", fmt.Sprintf(`"number":%d,"id":"sha256:%s","size":%d,"count":%d,"class":%q`, b.number, name, size, len(b.toc), class))
	v.open[class], v.mark[class] = &open{class: class, number: b.number + 1}, 0
	return "blocks/sealed/" + name[:2] + "/" + name + ".blk"
}

// chunked stores a value as chunks; its block's record stands in the group of the transaction.
func (v *vault) chunked(value string, chunk int) (file, list string) {
	b := &open{data: fmt.Appendf(nil, "graven-block 1 %s main\n", v.id)}
	list = fmt.Sprintf("graven-chunks 1 %s %d %d\n", id(value), len(value), chunk)
	once := map[string]bool{}
	for rest := value; rest != ""; {
		n := min(chunk, len(rest))
		if !once[rest[:n]] {
			b.add(rest[:n])
			once[rest[:n]] = true
		}
		v.values[sum(rest[:n])] = rest[:n]
		list += fmt.Sprintf("%s %d\n", id(rest[:n]), n)
		rest = rest[n:]
	}
	b.add(list)
	v.values[sum(list)], v.values[sum(value)] = list, value
	name, size := v.publish(b)
	v.record("block", fmt.Sprintf(`"id":"sha256:%s","size":%d,"count":%d,"class":"main"`, name, size, len(b.toc)))
	return "blocks/sealed/" + name[:2] + "/" + name + ".blk", id(list)
}

// put is one op; key is what stands between the quotes.
func (v *vault) put(key, value string) string {
	v.versions[key]++
	v.artifact("main", value)
	return fmt.Sprintf(`{"op":"put","key":"%s","value":%q,"size":%d,"prev":0,"skip":0,"n":%d}`, key, id(value), len(value), v.versions[key])
}

func (v *vault) tx(ops ...string) {
	lines := strings.Join(ops, "\n") + "\n"
	head := fmt.Sprintf(`"actor":"a","id":"","req":%q,`, id(lines))
	if len(lines) <= oplines {
		v.record("tx", head+`"ops":[`+strings.Join(ops, ",")+`]`)
		return
	}
	v.artifact("log", lines)
	v.record("tx", head+fmt.Sprintf(`"wide":{"lines":%q,"size":%d,"count":%d,"root":"x"}`, id(lines), len(lines), len(ops)))
}

func leaf(line string) [32]byte { return sha256.Sum256([]byte("\x00" + line)) }

// root is the definition in RFC 6962 §2.1, word for word.
func root(leaves [][32]byte) [32]byte {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	default:
		k := 1 << (bits.Len(uint(n-1)) - 1)
		l, r := root(leaves[:k]), root(leaves[k:])
		return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
	}
}

func rootOf(lines []string) string {
	leaves := make([][32]byte, len(lines))
	for i, l := range lines {
		leaves[i] = leaf(l)
	}
	r := root(leaves)
	return base64.StdEncoding.EncodeToString(r[:])
}

func (v *vault) commit() {
	body := strings.Join(v.group, "\n") + "\n"
	if len(v.group) == 0 {
		body = ""
	}
	all := append(v.lines[:len(v.lines):len(v.lines)], v.group...)
	prev := ""
	if v.height > 0 {
		prev = fmt.Sprintf(`"prev":%q,`, v.prev)
	}
	rootNow := "x"
	if len(all) < 5000 {
		rootNow = rootOf(all)
	}
	v.record("commit", fmt.Sprintf(`"epoch":0,"height":%d,%s"lines":%q,"root":%q,"state":"s"`, v.height, prev, id(body), rootNow))
	line := v.group[len(v.group)-1]
	h := leaf(line)
	v.prev = base64.StdEncoding.EncodeToString(h[:])

	if uint64(len(v.lines))-v.first >= uint64(v.perLog) {
		v.first = uint64(len(v.lines))
	}
	name := fmt.Sprintf("log/log-%016x.jsonl", v.first)
	v.frame(strings.Join(v.group, "\n")+"\n", len(v.files[name]))
	v.lines = append(v.lines, v.group...)
	if !v.noLog {
		v.files[name] = append(v.files[name], strings.Join(v.group, "\n")+"\n"...)
	}
	v.group = nil
	v.height++
	for class, b := range v.open {
		if len(b.data) > 0 && !v.noLog {
			v.files[fmt.Sprintf("blocks/open/%s-%08d.blk", class, b.number)] = b.data
		}
		v.mark[class] = len(b.data)
	}
}

// frame keeps the group as a frame of the WAL.
func (v *vault) frame(lines string, offset int) {
	var sections string
	n := 0
	for _, class := range []string{"log", "main"} {
		b := v.open[class]
		if b == nil || len(b.data) == v.mark[class] {
			continue
		}
		part := b.data[v.mark[class]:]
		sections += fmt.Sprintf("block %s %d %d %d %d\n%s", class, b.number, v.mark[class], 1, len(part), part)
		n++
	}
	v.held = append(v.held, fmt.Sprintf("graven-wal 1 %s %020d %016d %d %d %d %d %d %d %d %d %016x\n%s%s",
		v.id, 7, 5, v.height, len(v.lines), v.first, offset, len(v.group), len(lines), n, len(lines)+len(sections), 0, lines, sections))
}

// write puts the vault on disk: covered is the checkpoint's size, clean whether it was closed.
func (v *vault) write(covered int, clean bool) {
	v.t.Helper()
	for class, b := range v.open { // an open block goes when it is sealed
		for k := range b.number {
			delete(v.files, fmt.Sprintf("blocks/open/%s-%08d.blk", class, k))
		}
	}
	v.files["checkpoint"] = fmt.Appendf(nil, "graven.local/x\n%d\n%s\n\n— graven.local/x AAAA\n", covered, rootOf(v.lines[:covered]))
	v.files["meta/host/clean"] = []byte("open\n")
	if clean {
		v.files["meta/host/clean"] = fmt.Appendf(nil, "clean %d\n", len(v.lines))
	}
	readme, script := rescue.Files()
	v.files["README.txt"], v.files["rescue.sh"] = readme, script
	v.files["wal/wal-00000000"] = append([]byte(strings.Join(v.held, "")), make([]byte, 1<<20)...)
	for name, data := range v.files {
		v.save(name, data)
	}
}

func (v *vault) save(name string, data []byte) {
	v.t.Helper()
	path := filepath.Join(v.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		v.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		v.t.Fatal(err)
	}
}
