package graven

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"graven/internal/fsx"
	"graven/proof"
	"graven/record"
)

// The manifest of a backup, backup.txt, is text that a person can read and
// `sha256sum -c` can check, which passes over lines that begin with #:
//
//	# graven-backup 1
//	# vault <vault id, 32 hex> <name>
//	# time 2026-01-01T00:00:00.000000001Z          of the newest record
//	# checkpoint
//	#>ledger.example/main                          the signed note, line by line: origin,
//	#>4711                                         size and
//	#>PMygj5zxEg0S7M8SWt7+2lKq7JxlkyhCXGQLNZN0UU4= root are the backup's
//	#>
//	#>— ledger.example/main x097l+9d…
//	# length 52341 log/log-0000000000000000.jsonl  of the files that a later backup extends
//	<64 hex>  README.txt                           every file, in byte order
//	…
//	# end <files> <64 hex>                         SHA-256 of all lines above
//
// A backup that has begun and not ended for the first time has only the first
// line and `# unfinished`. An unknown version is a newer program's.

const (
	manifestFile   = "backup.txt"
	manifestHead   = "# graven-backup 1\n"
	manifestNewest = "# graven-backup "
	unfinished     = manifestHead + "# unfinished\n"

	// maxManifest is the longest that is read, in bytes: some hundred bytes a file.
	maxManifest = 1 << 30
)

// manifest says what a backup consists of.
type manifest struct {
	vault record.VaultID
	name  string           // of the vault
	time  time.Time        // of the newest record
	note  []byte           // the signed checkpoint
	head  proof.Checkpoint // what it says; unverified after parsing
	files []backedUp       // by name, in byte order
}

// backedUp is a file of a backup.
type backedUp struct {
	name  string
	hash  record.ID // SHA-256 of its bytes, of a file that grows of the first length
	grows bool      // a later backup appends to it
	size  int64     // in bytes; known only of a file that grows
}

// file finds a file by name.
func (m *manifest) file(name string) (backedUp, bool) {
	if m == nil {
		return backedUp{}, false
	}
	i, ok := slices.BinarySearchFunc(m.files, name, func(f backedUp, name string) int { return strings.Compare(f.name, name) })
	if !ok {
		return backedUp{}, false
	}
	return m.files[i], true
}

// insert adds a file.
func (m *manifest) insert(f backedUp) {
	i, _ := slices.BinarySearchFunc(m.files, f.name, func(f backedUp, name string) int { return strings.Compare(f.name, name) })
	m.files = slices.Insert(m.files, i, f)
}

// text is the manifest as it stands in its file.
func (m *manifest) text() []byte {
	b := []byte(manifestHead)
	b = fmt.Appendf(b, "# vault %v %s\n# time %s\n# checkpoint\n", m.vault, m.name, m.time.UTC().Format(manifestTime))
	for line := range strings.Lines(string(m.note)) {
		b = append(append(b, "#>"...), line...)
	}
	for _, f := range m.files {
		if f.grows {
			b = fmt.Appendf(b, "# length %d %s\n", f.size, f.name)
		}
	}
	for _, f := range m.files {
		b = fmt.Appendf(b, "%s  %s\n", f.hash.Hex(), f.name)
	}
	return fmt.Appendf(b, "# end %d %s\n", len(m.files), record.IDOf(b).Hex())
}

const manifestTime = "2006-01-02T15:04:05.000000000Z"

// manifestError is a manifest that is not what a backup writes.
func manifestError(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrDamaged, manifestFile, fmt.Sprintf(format, args...))
}

// parseManifest reads what text writes and nothing else. Names are those that a
// backup may hold. Nothing is verified but its own hash: the checkpoint's
// signature needs the log's key.
func parseManifest(b []byte) (*manifest, error) {
	if string(b) == unfinished {
		return nil, errBegun
	}
	if !bytes.HasPrefix(b, []byte(manifestHead)) {
		if bytes.HasPrefix(b, []byte(manifestNewest)) {
			return nil, fmt.Errorf("%w: %s is of another version than 1", ErrUnsupported, manifestFile)
		}
		return nil, manifestError("it does not begin with %q", strings.TrimSpace(manifestHead))
	}
	body, end, ok := cutLastLine(b)
	if text, isEnd := strings.CutPrefix(string(end), "# end "); !ok || !isEnd {
		return nil, manifestError("it was cut short: its last line is not # end")
	} else if _, sum, _ := strings.Cut(text, " "); sum != record.IDOf(body).Hex() {
		return nil, manifestError("it was edited or is damaged: its lines have SHA-256 %s, the last one says %s", record.IDOf(body).Hex(), sum)
	}
	m := &manifest{}
	lengths := map[string]int64{}
	for number, line := range strings.Split(strings.TrimSuffix(string(body), "\n"), "\n") {
		if err := m.line(line, lengths); err != nil {
			return nil, manifestError("line %d: %v", number+1, err)
		}
	}
	for i := range m.files {
		m.files[i].size, m.files[i].grows = lengths[m.files[i].name], false
		if _, ok := lengths[m.files[i].name]; ok {
			m.files[i].grows = true
		}
	}
	text, _, _ := bytes.Cut(m.note, []byte("\n\n"))
	var err error
	if m.head, err = proof.ParseCheckpointText(append(slices.Clone(text), '\n')); err != nil {
		return nil, manifestError("its checkpoint: %v", err)
	}
	if !vaultName.MatchString(m.name) || !bytes.Equal(m.text(), b) {
		return nil, manifestError("it is not written as a backup writes it")
	}
	return m, nil
}

// cutLastLine parts a text before its last line, whose \n is left out.
func cutLastLine(b []byte) (before, last []byte, ok bool) {
	if len(b) == 0 || b[len(b)-1] != '\n' {
		return nil, nil, false
	}
	i := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1
	return b[:i], b[i : len(b)-1], true
}

// line reads one line of a manifest. What it does not know it passes over: then
// the text that is made of the result is another, which is refused.
func (m *manifest) line(line string, lengths map[string]int64) error {
	var err error
	what, rest, _ := strings.Cut(line, " ")
	switch {
	case strings.HasPrefix(line, "#>"):
		m.note = append(append(m.note, line[2:]...), '\n')
	case what == "#":
		what, rest, _ = strings.Cut(rest, " ")
		first, second, _ := strings.Cut(rest, " ")
		switch what {
		case "vault":
			m.name = second
			m.vault, err = record.ParseVaultID(first)
		case "time":
			m.time, err = time.Parse(manifestTime, rest)
		case "length":
			var n uint64
			n, err = strconv.ParseUint(first, 10, 63)
			lengths[second] = int64(n)
		}
	default:
		hash, name, ok := strings.Cut(line, "  ")
		if !ok {
			return fmt.Errorf("wanted a hash, two blanks and a name, got %q", line)
		}
		f := backedUp{name: name}
		if f.hash, err = record.ParseID("sha256:" + hash); err == nil {
			err = checkBackupName(name)
		}
		if n := len(m.files); err == nil && n > 0 && m.files[n-1].name >= name {
			err = fmt.Errorf("%q does not stand in order", name)
		}
		m.files = append(m.files, f)
	}
	return err
}

// checkBackupName refuses names that a backup does not hold: nobody's word is
// taken for where a file goes.
func checkBackupName(name string) error {
	if err := fsx.CheckEntry("restore", name); err != nil {
		return err
	}
	if name == manifestFile || !fsx.BackupRules().Allows(fsx.Append|fsx.Publish|fsx.Replace, name) {
		return fmt.Errorf("%q is no file of a backup", name)
	}
	return nil
}

// readManifest reads the manifest of a backup's folder; nil if there is none.
func readManifest(dir fsx.Dir) (*manifest, error) {
	b, err := dir.ReadFile(manifestFile, maxManifest)
	if err != nil {
		return nil, err
	}
	return parseManifest(b)
}

// errBegun is a backup that has begun and not ended for the first time.
var errBegun = fmt.Errorf("%w: %s: this backup has not been finished yet; a further graven backup to the same directory does that", ErrDamaged, manifestFile)

var errNoBackup = fmt.Errorf("%w: there is no backup here: %s is missing: %w", ErrNotFound, manifestFile, fs.ErrNotExist)
