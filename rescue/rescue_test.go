package rescue_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"graven/rescue"
)

// run runs the vault's own rescue.sh as a stranger would, with nothing in the environment.
func run(t *testing.T, dir string) (out, folder string, code int) {
	t.Helper()
	for _, tool := range []string{"/bin/sh", "/usr/bin/sha256sum", "/usr/bin/basenc"} {
		if _, err := os.Stat(tool); err != nil {
			t.Skipf("no %s here: rescue.sh needs GNU coreutils", tool)
		}
	}
	folder = filepath.Join(t.TempDir(), "new [folder] *", "out")
	return runIn(t, "/bin/sh", dir, folder)
}

func runIn(t *testing.T, shell, dir, to string) (out, folder string, code int) {
	t.Helper()
	folder = to
	before := tree(t, dir)
	cmd := exec.Command(shell, "rescue.sh", folder)
	cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin"}
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if after := tree(t, dir); after != before {
		t.Errorf("rescue.sh changed the vault:\n%s\nwas\n%s", after, before)
	}
	if _, err := os.Stat(filepath.Join(folder, ".work")); err == nil {
		t.Error("rescue.sh left its scratch folder behind")
	}
	if bytes.Contains(text, []byte("rescue.sh: ")) {
		t.Errorf("the shell complains:\n%s", text)
	}
	return string(text), folder, cmd.ProcessState.ExitCode()
}

// tree lists names, sizes and hashes below a folder.
func tree(t *testing.T, dir string) string {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			fmt.Fprintln(&b, path)
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintln(&b, path, len(data), sum(string(data)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// found compares what was extracted with what the vault holds; lost are the ids that may be missing.
func found(t *testing.T, v *vault, folder string, lost ...string) {
	t.Helper()
	n := 0
	for name, want := range v.values {
		got, err := os.ReadFile(filepath.Join(folder, name))
		if strings.Contains(strings.Join(lost, " "), name) {
			if err == nil {
				t.Errorf("%s was extracted, although it is damaged", name)
			}
			continue
		}
		if err != nil || string(got) != want {
			t.Errorf("artifact %s was not extracted: %v, %d bytes of %d", name, err, len(got), len(want))
		}
		n++
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if len(e.Name()) == 64 && v.values[e.Name()] == "" && e.Name() != sum("") {
			t.Errorf("%s was extracted, but the vault has no such artifact", e.Name())
		}
	}
	if n == 0 {
		t.Error("nothing was compared")
	}
}

// sample is a vault with everything: two log files, blocks sealed and open, wide and narrow transactions, chunks,
// and bytes of all sorts in keys and values.
func sample(t *testing.T) *vault {
	v := newVault(t, 12)
	random := rand.New(rand.NewSource(1))
	blob := func(n int) string {
		b := make([]byte, n)
		random.Read(b)
		return string(b)
	}
	v.tx(v.put("a/plain.txt", "hello\n"), v.put("empty", ""), v.put("binary", blob(3000)))
	v.commit()
	v.tx(v.put(`quote \u0022 back \u005c tab \u0009 é 水 😀 `+"\u0081\u0088", "toc 3\n"), v.put("value", "sha256:"+strings.Repeat("0", 64)+" 3\nabc\n"),
		`{"op":"if","key":"value","value":"sha256:`+strings.Repeat("1", 64)+`"}`,
		`{"op":"put","space":"00","key":"chunks","value":"`+id("hello\n")+`","size":6,"type":"text/plain","if":{"value":"sha256:`+strings.Repeat("2", 64)+`"},"prev":0,"skip":0,"n":1}`)
	v.commit()
	var ops []string
	for i := range 40 {
		ops = append(ops, v.put(fmt.Sprintf("wide/%d  two  spaces", i), blob(i*7)))
	}
	v.tx(ops...)
	v.seal("main")
	v.commit()
	_, list := v.chunked(blob(1000), 300)
	big := v.values[list[7:]]
	whole := regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(big)
	v.tx(`{"op":"put","key":"big","value":"`+whole+`","size":1000,"chunks":"`+list+`","prev":0,"skip":0,"n":1}`, v.put("a/plain.txt", "hello again\n"))
	v.commit()
	v.tx(`{"op":"delete","key64":"gIE=","prev":1,"skip":1,"n":2}`, `{"op":"append","value":"`+id("appended")+`","size":8}`)
	v.artifact("main", "appended")
	v.commit()
	for i := range 4 {
		v.tx(v.put(fmt.Sprintf("late/%d", i), blob(500+i)))
		v.commit()
	}
	return v
}

func TestWhole(t *testing.T) {
	t.Parallel()
	v := sample(t)
	v.write(len(v.lines), true)
	out, folder, code := run(t, v.dir)
	if code != 0 || !strings.Contains(out, rootOf(v.lines)) || strings.Contains(out, "DAMAGED") || strings.Contains(out, "note ") {
		t.Fatalf("exit code %d, root %s wanted, output:\n%s", code, rootOf(v.lines), out)
	}
	found(t, v, folder)
	keys, err := os.ReadFile(filepath.Join(folder, "keys.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n4 " + sum("toc 3\n") + ` "quote \u0022 back \u005c tab \u0009 é 水 😀 ` + "\u0081\u0088\"\n", "4 " + sum("hello\n") + " 00:\"chunks\"\n",
		"deleted b64:gIE=\n", ` "wide/39  two  spaces"` + "\n", " " + sum("hello again\n") + ` "a/plain.txt"` + "\n",
	} {
		if !strings.Contains(string(keys), want) {
			t.Errorf("keys.txt lacks %q:\n%s", want, keys)
		}
	}
}

// TestSizes recomputes the root at every size up to and beyond some powers of two.
func TestSizes(t *testing.T) {
	t.Parallel()
	v := newVault(t, 100)
	for i := range 9 {
		v.write(len(v.lines), i%2 == 0)
		if out, _, code := run(t, v.dir); code != 0 || !strings.Contains(out, rootOf(v.lines)) {
			t.Fatalf("%d records: exit code %d:\n%s", len(v.lines), code, out)
		}
		for range i % 3 {
			v.tx(v.put("k", fmt.Sprint(i)))
		}
		v.commit()
	}
}

// TestOlderCheckpoint: the log is ahead of the checkpoint, as it is while a process writes or after a crash.
func TestOlderCheckpoint(t *testing.T) {
	t.Parallel()
	v := sample(t)
	v.write(10, false)
	out, folder, code := run(t, v.dir)
	if code != 0 || !strings.Contains(out, rootOf(v.lines[:10])) || !strings.Contains(out, "agrees") {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	found(t, v, folder)
}

// TestNewestInWAL: after a crash groups stand in wal/ that neither the log nor the blocks have.
func TestNewestInWAL(t *testing.T) {
	t.Parallel()
	v := sample(t)
	n := len(v.lines)
	v.noLog = true
	v.tx(v.put("only/in/wal", "newest\n"))
	v.commit()
	v.tx(v.put("only/in/wal", "newer still\n"))
	v.commit()
	want := strings.Join(v.lines[n:], "\n") + "\n"
	v.tx(v.put("torn", "lost\n"))
	v.commit()
	torn := v.held[len(v.held)-1]
	v.held[len(v.held)-1] = torn[:len(torn)-40]
	delete(v.values, sum("lost\n"))
	v.write(n, false)
	out, folder, code := run(t, v.dir)
	if code != 0 || !strings.Contains(out, fmt.Sprintf("records %d-%d stand only here", n, n+1)) {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	found(t, v, folder)
	wal, err := os.ReadFile(filepath.Join(folder, "wal-groups.jsonl"))
	if err != nil || string(wal) != want {
		t.Errorf("wal-groups.jsonl: %v\n%swanted\n%s", err, wal, want)
	}
	keys, _ := os.ReadFile(filepath.Join(folder, "keys.txt"))
	if !strings.Contains(string(keys), sum("newer still\n")+` "only/in/wal"`) {
		t.Errorf("keys.txt lacks what only wal/ holds:\n%s", keys)
	}
}

// TestBlockBehindLog: after a crash the log may be written while an open block is not; wal/ holds the artifacts.
func TestBlockBehindLog(t *testing.T) {
	t.Parallel()
	v := sample(t)
	name := "blocks/open/main-00000001.blk"
	v.files[name] = v.files[name][:len(v.files[name])-700]
	v.write(len(v.lines), false)
	out, folder, code := run(t, v.dir)
	if code != 0 || !strings.Contains(out, "wal/ holds them") {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	found(t, v, folder)
}

func TestDamage(t *testing.T) {
	t.Parallel()
	edit := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte {
			if !bytes.Contains(b, []byte(old)) {
				panic("nothing to edit: " + old)
			}
			return bytes.Replace(b, []byte(old), []byte(new), 1)
		}
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			c := bytes.Clone(b)
			if at < 0 {
				at += len(c)
			}
			c[at] ^= 4
			return c
		}
	}
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:len(b)-n] } }
	add := func(s string) func([]byte) []byte {
		return func(b []byte) []byte { return append(b[:len(b):len(b)], s...) }
	}
	remove := func([]byte) []byte { return nil }
	const (
		log1   = `log/log-0000000000000000\.jsonl`
		log2   = `log/log-000000000000000c\.jsonl`
		open0  = `blocks/open/main-00000001\.blk`
		openL  = `blocks/open/log-00000000\.blk`
		sealed = `blocks/sealed/../[0-9a-f]*\.blk`
	)
	hello, big := sum("hello\n"), "[0-9a-f]{64}"
	for i, c := range []struct {
		name, file string
		change     func([]byte) []byte
		want       string   // a regular expression that one DAMAGED line matches
		lost       []string // artifacts that cannot be extracted
	}{
		{"edited record", log1, edit(`"seq":2,"time":"20`, `"seq":2,"time":"21`), log1 + `: lines 3-4 \(records 2-3, offset \d+\): edited`, nil},
		{"edited seq", log1, edit(`"seq":2,`, `"seq":7,`), log1 + `: line 3 \(offset \d+\): record 2 must be here`, nil},
		{"edited commit", log1, edit(`"state":"s"}`, `"state":"t"}`), log1 + `: line 2 \(record 1, offset \d+\): edited`, nil},
		{"edited last commit", log2, func(b []byte) []byte { return append(b[:len(b)-4:len(b)-4], "t\"}\n"...) }, `checkpoint: its root`, nil},
		{"line lost", log1, edit("\n", " "), log1 + `: line 2 \(offset \d+\): record 1 must be here`, nil},
		{"empty line", log1, edit("\n", "\n\n"), log1 + `: 1 empty lines`, nil},
		{"control byte", log1, edit(`"actor":"a"`, "\"actor\":\"\x00a\""), log1 + `: offset \d+: control`, nil},
		{"carriage return", log1, edit("\n", "\r\n"), log1 + `: offset \d+: control`, nil},
		{"log file lost", log2, remove, `log/: the checkpoint covers`, nil},
		{"first log file lost", log1, remove, log2 + ` begins with record 12: records 0-11 are missing`, []string{"some"}},
		{"log file cut", log1, cut(300), log2 + ` begins with record`, nil},
		{"last log file cut", log2, cut(1), log2 + `: line 10 \(offset \d+\): it has no end`, nil},
		{"bytes behind the log", log2, add("{}\n"), log2 + `: offset \d+: 1 lines behind the last whole group, although`, nil},
		{"part of a line behind the log", log2, add(`{"v":1`), log2 + `: offset \d+: 1 lines behind`, nil},
		{"checkpoint root", "checkpoint", edit("=\n", "A\n"), `checkpoint: its root`, nil},
		{"checkpoint origin", "checkpoint", edit("graven.local/x\n", "graven.local/y\n"), `checkpoint: line 1 is "graven.local/y"`, nil},
		{"checkpoint size", "checkpoint", edit("\n", "\n9"), `log/: the checkpoint covers 9\d+ records`, nil},
		{"checkpoint is not one", "checkpoint", edit("\n", "\nx"), `checkpoint: line 2 is not a size`, nil},
		{"checkpoint unsigned", "checkpoint", edit("\n\n— graven.local/x AAAA\n", "\n"), `checkpoint: it has no signature`, nil},
		{"checkpoint lost", "checkpoint", remove, `checkpoint: it is missing`, nil},
		{"open value", open0, edit("hello again\n", "hello Again\n"), open0 + `: offset \d+: 12 bytes that must be sha256:` + sum("hello again\n"), []string{sum("hello again\n")}},
		{"open header", open0, edit(id("hello again\n"), "sha256;"+sum("hello again\n")), open0 + `: offset \d+: no artifact's header`, nil},
		{"open hash", open0, edit(sum("appended"), strings.Repeat("a", 64)), open0 + `: offset \d+: 8 bytes that must be`, nil},
		{"open length", open0, edit(id("appended")+" 8", id("appended")+" 9"), open0 + `: offset \d+: `, nil},
		{"open line end", open0, edit("appended\n", "appended\x0b"), open0 + `: offset \d+: no line end`, nil},
		{"open first line", open0, flip(3), open0 + `: offset \d+: no header line`, nil},
		{"open cut", open0, cut(100), open0 + `: offset \d+: sha256:`, []string{"last"}},
		{"open cut at a frame", open0, func(b []byte) []byte { return b[:bytes.LastIndex(b, []byte("sha256:"))] }, open0 + `: it ends at offset \d+, where 1 more`, []string{"last"}},
		{"open lost", open0, remove, open0 + `: it is missing, where 6 more artifacts`, []string{"open"}},
		{"open extended", open0, add(id("x") + " 1\nx\n"), open0 + `: there is more in it`, []string{"extra"}},
		{"open extended with dirt", open0, add("dirt"), open0 + `: there is more in it`, nil},
		{"op lines changed", openL, edit("wide/7 ", "wide/8 "), openL + `: offset \d+: \d+ bytes that must be`, []string{"wide"}},
		{"op lines' header", openL, func(b []byte) []byte {
			i := bytes.LastIndex(b, []byte("sha256:"+big[:0]))
			for bytes.LastIndex(b[:i], []byte("sha256:")) > 0 && b[i-1] != '\n' {
				i = bytes.LastIndex(b[:i], []byte("sha256:"))
			}
			return append(append(b[:i:i], 'S'), b[i+1:]...)
		}, openL + `: offset \d+: no artifact's header`, nil},
		{"log block lost", openL, remove, openL + `: it is missing|log/: what record 6 did is not known`, []string{"log"}},
		{"sealed value", sealed, edit("hello\n", "hellO\n"), sealed + `: offset \d+: 6 bytes that must be sha256:` + hello, []string{hello}},
		{"sealed header", sealed, edit(id("hello\n"), "sha256;"+hello), sealed + `: offset \d+: no artifact's header`, nil},
		{"sealed contents", sealed, edit("\n"+hello, "\n"+strings.Repeat("b", 64)), sealed + `: its artifacts are whole`, nil},
		{"sealed trailer", sealed, flip(-3), sealed + `: its artifacts are whole`, nil},
		{"sealed first line", sealed, flip(1), sealed + `: offset 0: no header line`, nil},
		{"sealed cut", sealed, cut(40), sealed, nil},
		{"sealed extended", sealed, add("x"), sealed + `: its artifacts are whole`, nil},
		{"sealed lost", sealed, remove, sealed + `: it is missing; record 7 names it`, []string{"sealed"}},
		{"chunk block", "chunk", flip(700), sealed + `: offset \d+: 300 bytes`, []string{"chunk"}},
		{"chunk block lost", "chunk", remove, sealed + `: it is missing; record 9`, []string{"chunks"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && i%4 != 0 {
				t.Skip("one case in four")
			}
			t.Parallel()
			v := sample(t)
			v.write(len(v.lines), true)
			file := target(t, v, c.file)
			data, err := os.ReadFile(filepath.Join(v.dir, file))
			if err != nil {
				t.Fatal(err)
			}
			changed := c.change(data)
			if changed == nil {
				err = os.Remove(filepath.Join(v.dir, file))
			} else {
				err = os.WriteFile(filepath.Join(v.dir, file), changed, 0o644)
			}
			if err != nil || bytes.Equal(changed, data) {
				t.Fatal("nothing was changed", err)
			}
			out, folder, code := run(t, v.dir)
			if code != 1 || !regexp.MustCompile(`(?m)^DAMAGED (`+c.want+`)`).MatchString(out) {
				t.Fatalf("exit code %d, want 1 and a line DAMAGED %s:\n%s", code, c.want, out)
			}
			if len(c.lost) == 1 && c.lost[0] == "extra" {
				v.values[sum("x")] = "x"
				found(t, v, folder)
			} else if len(c.lost) == 1 && c.lost[0] == "some" {
				return
			} else if c.lost == nil || len(c.lost[0]) == 64 {
				found(t, v, folder, c.lost...)
			} else if !strings.Contains(out, "is missing (") && !strings.Contains(out, "cannot be put together") && !strings.Contains(out, "not known") {
				t.Errorf("it does not say what is lost:\n%s", out)
			}
		})
	}
}

// target finds the file of the vault that a pattern of TestDamage means.
func target(t *testing.T, v *vault, pattern string) string {
	t.Helper()
	for name, data := range v.files {
		chunk := bytes.HasPrefix(data, []byte("graven-block 1 "+v.id+" main\n"))
		switch {
		case pattern == "chunk":
			if chunk {
				return name
			}
		case regexp.MustCompile("^"+pattern+"$").MatchString(name) && !chunk:
			if _, err := os.Stat(filepath.Join(v.dir, name)); err == nil {
				return name
			}
		}
	}
	t.Fatalf("no file %s", pattern)
	return ""
}

// TestEveryByte flips bytes all over log and blocks: each is noticed.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewSource(2))
	v := sample(t)
	v.write(len(v.lines), true)
	var names []string
	for name := range v.files {
		if _, err := os.Stat(filepath.Join(v.dir, name)); err == nil && (strings.HasPrefix(name, "log/") || strings.HasPrefix(name, "blocks/")) {
			names = append(names, name)
		}
	}
	for range 12 {
		name := names[random.Intn(len(names))]
		data := bytes.Clone(v.files[name])
		at, bit := random.Intn(len(data)), byte(1)<<random.Intn(8)
		data[at] ^= bit
		v.save(name, data)
		if out, folder, code := run(t, v.dir); code != 1 {
			t.Errorf("%s: bit %#x of byte %d flipped, exit code %d:\n%s", name, bit, at, code, out)
		} else {
			for name, want := range v.values {
				if got, err := os.ReadFile(filepath.Join(folder, name)); err == nil && string(got) != want {
					t.Errorf("%s was extracted with wrong bytes", name)
				}
			}
		}
		v.save(name, v.files[name])
	}
}

// TestMany holds the number of processes down: thousands of artifacts and records are a matter of seconds.
func TestMany(t *testing.T) {
	if testing.Short() {
		t.Skip("2,000 artifacts")
	}
	v := newVault(t, 80)
	for i := range 100 {
		var ops []string
		for j := range 20 {
			ops = append(ops, v.put(fmt.Sprintf("dir/%d/%d", i, j), fmt.Sprint("value ", i, " ", j)))
		}
		v.tx(ops...)
		v.commit()
	}
	v.write(len(v.lines), true)
	out, folder, code := run(t, v.dir)
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	found(t, v, folder)
	t.Log(out)
}

// TestOtherShells: bash reads the script as well as the system's sh does.
func TestOtherShells(t *testing.T) {
	t.Parallel()
	v := sample(t)
	v.write(len(v.lines), true)
	n := 0
	for _, shell := range []string{"bash", "ksh", "mksh", "yash"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		out, folder, code := runIn(t, path, v.dir, t.TempDir())
		if code != 0 || !strings.Contains(out, rootOf(v.lines)) {
			t.Errorf("%s: exit code %d:\n%s", shell, code, out)
		}
		found(t, v, folder)
		n++
	}
	if n == 0 {
		t.Skip("no other shell here")
	}
}

// TestFullFolder: a folder that holds anything, also what an earlier run wrote, is not
// written to.
func TestFullFolder(t *testing.T) {
	t.Parallel()
	v := sample(t)
	v.write(len(v.lines), true)
	_, used, _ := run(t, v.dir)
	hidden := t.TempDir()
	if err := os.WriteFile(filepath.Join(hidden, ".x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{used, hidden} {
		before, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/sh", filepath.Join(v.dir, "rescue.sh"), folder)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "choose an empty folder") {
			t.Errorf("exit code %d:\n%s", cmd.ProcessState.ExitCode(), out)
		}
		if after, err := os.ReadDir(folder); err != nil || len(after) != len(before) {
			t.Errorf("%d entries, before %d: %v", len(after), len(before), err)
		}
	}
}

// TestHealed: a second copy stands in for a value that rotted, and the rot is told.
func TestHealed(t *testing.T) {
	t.Parallel()
	v := sample(t)
	name := "blocks/open/main-00000001.blk"
	v.files[name] = bytes.Replace(v.files[name], []byte("hello again\n"), []byte("hello Again\n"), 1)
	id := sum("hello again\n")
	v.files["blocks/healed/"+id[:2]+"/"+id] = []byte("hello again\n")
	v.write(len(v.lines), true)
	out, folder, code := run(t, v.dir)
	if code != 1 || !strings.Contains(out, "a good copy was found elsewhere") || strings.Contains(out, "is missing") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	found(t, v, folder)
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	_, script := rescue.Files()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rescue.sh"), script, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "usage: sh rescue.sh OUT"},
		{[]string{""}, "usage"},
		{[]string{"a", "b"}, "one argument wanted"},
		{[]string{filepath.Join(t.TempDir(), "out")}, "must lie in a vault's folder"},
		{[]string{filepath.Join(dir, "rescue.sh")}, "cannot make"},
	} {
		cmd := exec.Command("/bin/sh", append([]string{"rescue.sh"}, c.args...)...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin"}
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), c.want) {
			t.Errorf("rescue.sh %q: exit code %d, %q; want 2 and %q", c.args, cmd.ProcessState.ExitCode(), out, c.want)
		}
	}
}
