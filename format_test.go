package graven

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

var update = flag.Bool("update", false, "write the samples of docs/format.md again")

// sample is a piece of a format as docs/format.md shows it.
type sample struct {
	text  []byte
	again func([]byte) ([]byte, error) // parses it and encodes what was parsed
}

// TestGoldenSamples makes a small vault with a fixed clock, fixed randomness and
// small limits, and holds the samples in docs/format.md, section 11, against it:
// each is what the program writes, each parses, and what was parsed encodes to the
// same bytes. There is one of every kind of record, op, document, file and claim.
func TestGoldenSamples(t *testing.T) {
	samples := formatSamples(t)
	const name = "docs/format.md"
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	fence := regexp.MustCompile("(?s)```sample ([^\n]*)\n(.*?)```\n")
	shown := map[string]bool{}
	made := fence.ReplaceAllFunc(doc, func(block []byte) []byte {
		m := fence.FindSubmatch(block)
		name := string(m[1])
		s, ok := samples[name]
		if !ok || shown[name] {
			t.Errorf("sample %q: known: %v, shown before: %v", name, ok, shown[name])
			return block
		}
		shown[name] = true
		if !*update && !bytes.Equal(m[2], s.text) {
			t.Errorf("sample %q is\n%s\nthe program writes\n%s", name, m[2], s.text)
		}
		if again, err := s.again(s.text); err != nil || !bytes.Equal(again, s.text) {
			t.Errorf("sample %q: parsed and encoded again it is %q, %v", name, again, err)
		}
		changed := bytes.Replace(s.text, []byte("1"), []byte("01"), 1)
		if again, err := s.again(changed); err == nil && !bytes.Equal(changed, s.text) && bytes.Equal(again, changed) {
			t.Errorf("sample %q is changed, parses, and encodes as it was changed:\n%s", name, changed)
		}
		return fmt.Appendf(nil, "```sample %s\n%s```\n", name, s.text)
	})
	for name := range samples {
		if !shown[name] {
			t.Errorf("%s has no sample %q", name, name)
		}
	}
	if len(shown) < 35 {
		t.Errorf("%d samples", len(shown))
	}
	if *update && !bytes.Equal(made, doc) {
		if err := os.WriteFile(name, made, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// sampleLimits are those of the vault of the samples.
func sampleLimits(g *record.Genesis) {
	g.Origin = "ledger.example/main"
	g.BlockBytes, g.OpLines, g.ValueLimit, g.ChunkSize = 400, 500, 64, 64
}

// formatSamples makes every sample. Lines end with a line feed.
func formatSamples(t *testing.T) map[string]sample {
	mem := fsx.NewMem()
	s := newScript(t, mem, sampleLimits)
	v := s.vault
	samples := map[string]sample{}
	line := func(name string, text []byte, again func([]byte) ([]byte, error)) {
		samples[name] = sample{append(slices.Clone(text), '\n'), func(b []byte) ([]byte, error) {
			text, ok := bytes.CutSuffix(b, []byte("\n"))
			if !ok {
				return nil, errors.New("no line feed at its end")
			}
			out, err := again(text)
			return append(out, '\n'), err
		}}
	}
	whole := func(name string, text []byte, again func([]byte) ([]byte, error)) {
		samples[name] = sample{text, again}
	}
	file := func(name string) []byte {
		b := readAll(mem, "vaults/main/"+name)
		if len(b) == 0 {
			t.Fatalf("%s is empty or not there", name)
		}
		return b
	}
	logged := func(name string, seq uint64) {
		b, err := v.View().Record(seq)
		if err != nil {
			t.Fatal(err)
		}
		line(name, b, reencodeRecord)
	}

	// A life in eight groups.
	logged("record genesis", 0)
	logged("record commit", 1)
	alice, aliceKey := actorKey(t, "alice", proof.TypeEd25519)
	if _, err := s.setPolicy(func(p *record.Policy) {
		p.Actors = []record.PolicyActor{{Actor: "alice", Keys: []string{aliceKey}}, {Actor: "retired"}}
	}); err != nil {
		t.Fatal(err)
	}
	logged("record policy", 2)
	line("document policy, version 2", v.tip.policy.text, reencodePolicy)
	line("document policy, version 1", v.first.text, reencodePolicy)
	narrow := &Tx{Actor: "alice", ID: "decision-17", Sign: alice.SignRequest}
	narrow.Require([]byte("rules/limit"), record.Cond{Kind: record.Absent})
	narrow.RequireUnchanged([]byte("rules/"), []byte("rules0"), 3)
	narrow.Put([]byte("decisions/17"), Bytes([]byte("granted\n")), PutOptions{Type: "text/plain", If: &record.Cond{Kind: record.AtSeq}})
	narrow.Put([]byte("\xff\x00"), Bytes([]byte("a key that is not UTF-8")), PutOptions{})
	first := s.group(narrow)[0]
	logged("record tx, signed", first.Seq)
	many := wide("w/", 4)
	many.Append(Bytes([]byte("a reading")), "text/plain")
	many.Delete([]byte("never there"), DeleteOptions{AllowAbsent: true})
	broad := s.group(many)[0]
	logged("record tx, wide", broad.Seq)
	lines, err := v.View().opLines(broad.Seq)
	if err != nil {
		t.Fatal(err)
	}
	whole("artifact op lines", append(bytes.Join(lines, []byte("\n")), '\n'), reencodeOpLines)
	chunked := s.group(s.stage("big", strings.Repeat("0123456789", 15)))[0]
	logged("record block, of chunks", chunked.Seq-1)
	logged("record tx, chunked", chunked.Seq)
	s.group(put("decisions/17", "granted, and paid\n"), del("w/3"))
	if err := v.settle(); err != nil {
		t.Fatal(err)
	}
	sealed := s.group(put("after", "the seal"))[0]
	seal := sealed.Seq + 1
	for isLogBlock(t, v, seal) {
		seal++
	}
	logged("record block", seal)
	if err := v.settle(); err != nil {
		t.Fatal(err)
	}

	// Kinds that this program reads and does not write yet.
	at := time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC)
	sig := record.Sig{Key: record.KeyIDOf(v.VKeys()[0]), Sig: bytes.Repeat([]byte{7}, 64)}
	for name, body := range map[string]record.Body{
		"record segment":   &record.Segment{Level: 1, Number: 2, Format: 1, Root: v.View().Head().Root},
		"record snapshot":  &record.Snapshot{Number: 1, Position: 40, Manifest: record.IDOf([]byte("manifest"))},
		"record authority": &record.Document{Kind: record.KindAuthority, Number: 1, Doc: record.IDOf([]byte("document")), Sigs: []record.Sig{sig}},
		"record witness":   &record.Document{Kind: record.KindWitness, Number: 1, Doc: record.IDOf([]byte("document")), Sigs: []record.Sig{sig}},
	} {
		b, err := record.New(40, at, body).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		line(name, b, reencodeRecord)
	}
	line("record of a kind to come", []byte(`{"v":1,"kind":"anchor","seq":40,"time":"2026-01-01T00:00:01.000000000Z","anything":[null]}`), reencodeRecord)
	small := record.Authority{Threshold: 1, Keys: []record.AuthorityKey{{Roles: []string{"authority", "log"}, VKey: v.VKeys()[0]}}}
	doc, err := small.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	line("document authority", doc, func(b []byte) ([]byte, error) {
		a, err := record.ParseAuthority(b)
		if err != nil {
			return nil, err
		}
		return a.Append(nil)
	})

	// Files.
	number := uint64(0)
	for _, b := range v.blocks.OpenBlocks() {
		if b.Class == "main" {
			number = b.Number
		}
	}
	whole("file blocks/open/main", file(fmt.Sprintf("blocks/open/main-%08d.blk", number)), reencodeBlock)
	for _, name := range []string{"record block", "record block, of chunks"} {
		rec, err := record.Parse(bytes.TrimSuffix(samples[name].text, []byte("\n")))
		if err != nil {
			t.Fatal(err)
		}
		b := rec.Body.(*record.Block)
		text := file("blocks/sealed/" + b.ID.Hex()[:2] + "/" + b.ID.Hex() + ".blk")
		if record.IDOf(text) != b.ID {
			t.Errorf("the sealed block is %v, its record says %v", record.IDOf(text), b.ID)
		}
		whole(strings.Replace(name, "record block", "file blocks/sealed", 1), text, reencodeBlock)
	}
	line("file log/current", bytes.TrimSuffix(file("log/current"), []byte("\n")), func(b []byte) ([]byte, error) {
		if !regexp.MustCompile(`^log-[0-9a-f]{16}\.jsonl$`).Match(b) {
			return nil, fmt.Errorf("%q is no name of a log file", b)
		}
		return b, nil
	})
	own, _, err := v.splitNote(file("checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	whole("file checkpoint, without its cosignature", own, func(b []byte) ([]byte, error) {
		key, err := proof.ParseVKey(v.VKeys()[0])
		if err != nil {
			return nil, err
		}
		if _, err := proof.OpenCheckpoint(b, key); err != nil {
			return nil, err
		}
		n, err := proof.ParseNote(b)
		return n.Bytes(), err
	})
	line("file meta/keys/pub/log.vkey", bytes.TrimSuffix(file("meta/keys/pub/log.vkey"), []byte("\n")), func(b []byte) ([]byte, error) {
		k, err := proof.ParseVKey(string(b))
		return []byte(k.String()), err
	})
	line("file meta/keys/priv/log.skey", bytes.TrimSuffix(file("meta/keys/priv/log.skey"), []byte("\n")), func(b []byte) ([]byte, error) {
		s, err := proof.NewSigner(string(b))
		if err != nil || s.VKey() != v.VKeys()[0] {
			return nil, errors.Join(err, errors.New("another key"))
		}
		return b, nil
	})
	samples["file tile/0/000"] = tileSample()
	whole("file wal", firstFrame(t, file("wal/wal-00000000")), reencodeFrame)

	s.proofSamples(whole, first.Seq, broad.Seq)
	s.close()
	line("file meta/host/clean", bytes.TrimSuffix(file("meta/host/clean"), []byte("\n")), func(b []byte) ([]byte, error) {
		n, err := strconv.ParseUint(strings.TrimPrefix(string(b), "clean "), 10, 64)
		return fmt.Appendf(nil, "clean %d", n), err
	})
	return samples
}

// isLogBlock reports whether a record seals a block of class log.
func isLogBlock(t *testing.T, v *Vault, seq uint64) bool {
	t.Helper()
	line, err := v.View().Record(seq)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(line, []byte(`"kind":"block"`)) && bytes.Contains(line, []byte(`"class":"log"`))
}

// proofSamples adds a proof of every claim, made in the newest view.
func (s *script) proofSamples(whole func(string, []byte, func([]byte) ([]byte, error)), narrow, broad uint64) {
	s.t.Helper()
	w := s.vault.View()
	ver, err := proof.NewVerifier(s.vault.VKeys()[0])
	if err != nil {
		s.t.Fatal(err)
	}
	past, err := w.At(broad)
	if err != nil {
		s.t.Fatal(err)
	}
	at, err := past.timeOf(broad)
	if err != nil {
		s.t.Fatal(err)
	}
	then, err := w.AtTime(at)
	if err != nil {
		s.t.Fatal(err)
	}
	prove := func(file []byte, err error) []byte {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
		return file
	}
	for name, file := range map[string][]byte{
		"proof record":               prove(w.ProveRecord(1)),
		"proof present":              prove(w.ProveKey([]byte("decisions/17"))),
		"proof absent":               prove(w.ProveKey([]byte("decisions/18"))),
		"proof absent, deleted":      prove(w.ProveKey([]byte("w/3"))),
		"proof list":                 prove(w.ProveList(Query{Prefix: []byte("w/")})),
		"proof list, in the past":    prove(past.ProveList(Query{Prefix: []byte("w/"), Limit: 2, Reverse: true})),
		"proof list, compact":        prove(w.ProveList(Query{Prefix: []byte("w/"), Compact: true})),
		"proof count, at a time":     prove(then.ProveCount(Query{Prefix: []byte("w/")})),
		"proof past, at a time":      prove(then.ProveKey([]byte("decisions/17"))),
		"proof count":                prove(w.ProveCount(Query{Prefix: []byte("w/")})),
		"proof history":              prove(w.ProveHistory([]byte("decisions/17"))),
		"proof history, in the past": prove(past.ProveHistory([]byte("w/3"))),
		"proof past":                 prove(past.ProveKey([]byte("w/3"))),
		"proof consistency":          prove(w.ProveConsistency(4)),
		"proof op":                   prove(w.ProveOp(broad, 2)),
		"proof signed transaction":   prove(w.ProveSigned(narrow)),
	} {
		// A verifier encodes what it parsed and compares.
		whole(name, file, func(b []byte) ([]byte, error) {
			_, err := ver.Verify(b)
			return b, err
		})
	}
}

// reencodeRecord parses a line and encodes the record.
func reencodeRecord(b []byte) ([]byte, error) {
	rec, err := record.Parse(b)
	if err != nil {
		return nil, err
	}
	return rec.Append(nil)
}

func reencodePolicy(b []byte) ([]byte, error) {
	p, err := record.ParsePolicy(b)
	if err != nil {
		return nil, err
	}
	return p.Append(nil)
}

func reencodeOpLines(b []byte) (out []byte, err error) {
	lines, err := record.WideOps(b)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		op, err := record.ParseOp(l)
		if err != nil {
			return nil, err
		}
		if out, err = op.Append(out); err != nil {
			return nil, err
		}
		out = append(out, '\n')
	}
	return out, nil
}

// reencodeBlock reads a block as docs/format.md says, and writes it anew.
func reencodeBlock(b []byte) ([]byte, error) {
	header, rest, _ := bytes.Cut(b, []byte("\n"))
	if !regexp.MustCompile(`^graven-block 1 [0-9a-f]{32} [a-z0-9][a-z0-9._-]* ?(0|[1-9][0-9]*)?$`).Match(header) {
		return nil, fmt.Errorf("header %q", header)
	}
	out := append(slices.Clone(header), '\n')
	toc := []string{}
	for len(rest) > 0 && !bytes.HasPrefix(rest, []byte("toc ")) {
		frame, behind, _ := bytes.Cut(rest, []byte("\n"))
		var id string
		var n int
		if _, err := fmt.Sscanf(string(frame), "sha256:%s %d", &id, &n); err != nil || n >= len(behind) || behind[n] != '\n' {
			return nil, fmt.Errorf("frame %q: %v", frame, err)
		}
		if record.IDOf(behind[:n]).Hex() != id {
			return nil, fmt.Errorf("artifact %s has another hash", id)
		}
		out = fmt.Appendf(out, "sha256:%s %d\n", id, n)
		toc = append(toc, fmt.Sprintf("%s %d %d\n", id, len(out), n))
		out = append(append(out, behind[:n]...), '\n')
		rest = behind[n+1:]
	}
	if len(rest) == 0 {
		return out, nil
	}
	at := len(out)
	out = fmt.Appendf(out, "toc %d\n", len(toc))
	return fmt.Appendf(append(out, strings.Join(toc, "")...), "end %016d %010d\n", at, len(toc)), nil
}

// tileSample is a full tile whose leaves are the records "0", "1", … "255": its
// first two lines and its last.
func tileSample() sample {
	var hashes []merkle.Hash
	for i := range merkle.TileWidth {
		hashes = append(hashes, merkle.LeafHash([]byte(strconv.Itoa(i))))
	}
	lines := bytes.SplitAfter(merkle.TileText(hashes), []byte("\n"))
	text := slices.Concat(lines[0], lines[1], []byte("…\n"), lines[merkle.TileWidth-1])
	return sample{text, func(b []byte) ([]byte, error) {
		head, tail, _ := bytes.Cut(b, []byte("…\n"))
		full := slices.Concat(head, bytes.Join(lines[2:merkle.TileWidth-1], nil), tail)
		parsed, err := merkle.ParseTileText(full)
		if err != nil {
			return nil, err
		}
		if again := merkle.TileText(parsed); !bytes.Equal(again, full) {
			return again, nil
		}
		return b, nil
	}}
}

// firstFrame is the first frame of a WAL file.
func firstFrame(t *testing.T, b []byte) []byte {
	t.Helper()
	header, _, _ := bytes.Cut(b, []byte("\n"))
	fields := strings.Fields(string(header))
	body, err := strconv.Atoi(fields[len(fields)-2])
	if err != nil {
		t.Fatalf("header %q: %v", header, err)
	}
	return b[:len(header)+1+body]
}

// reencodeFrame reads a frame of the WAL as docs/format.md says, and writes it anew.
func reencodeFrame(b []byte) ([]byte, error) {
	header, body, _ := bytes.Cut(b, []byte("\n"))
	var vault, generation, salt, sum string
	var height, first, file, offset, records, lines, sections, length uint64
	if _, err := fmt.Sscanf(string(header), "graven-wal 1 %32s %20s %16s %d %d %d %d %d %d %d %d %16s", &vault, &generation, &salt,
		&height, &first, &file, &offset, &records, &lines, &sections, &length, &sum); err != nil {
		return nil, fmt.Errorf("header %q: %w", header, err)
	}
	if length != uint64(len(body)) || lines > length || uint64(bytes.Count(body[:lines], []byte("\n"))) != records {
		return nil, fmt.Errorf("header %q, a body of %d bytes", header, len(body))
	}
	out := slices.Clone(body[:lines])
	rest := body[lines:]
	for range sections {
		line, behind, _ := bytes.Cut(rest, []byte("\n"))
		var class string
		var number, at, count, n int
		if _, err := fmt.Sscanf(string(line), "block %s %d %d %d %d", &class, &number, &at, &count, &n); err != nil || n > len(behind) {
			return nil, fmt.Errorf("section %q: %w", line, err)
		}
		if block := behind[:n]; at == 0 {
			if again, err := reencodeBlock(block); err != nil || !bytes.Equal(again, block) {
				return nil, fmt.Errorf("section %q: %w", line, err)
			}
		}
		out = append(fmt.Appendf(out, "block %s %d %d %d %d\n", class, number, at, count, n), behind[:n]...)
		rest = behind[n:]
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes behind the last section", len(rest))
	}
	again := fmt.Appendf(nil, "graven-wal 1 %s %s %s %d %d %d %d %d %d %d %d ", vault, generation, salt,
		height, first, file, offset, records, lines, sections, len(out))
	digest := xxhash.New()
	digest.Write(again)
	digest.Write(out)
	return append(fmt.Appendf(again, "%016x\n", digest.Sum64()), out...), nil
}
