package graven

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/internal/journal"
	"graven/proof"
	"graven/record"
)

// The manifest of a backup, backup.txt, is text that a person can read and
// `sha256sum -c` can check, which passes over lines that begin with #:
//
//	# graven-backup 2
//	# vault <vault id, 32 hex> <name>
//	# time 2026-01-01T00:00:00.000000001Z          of the newest record
//	# checkpoint
//	#>ledger.example/main                          the signed note, line by line: origin,
//	#>4711                                         size and
//	#>PMygj5zxEg0S7M8SWt7+2lKq7JxlkyhCXGQLNZN0UU4= root are the backup's
//	#>
//	#>— ledger.example/main x097l+9d…
//	# length 1913                                  of every file, in byte order of the names:
//	<64 hex>  README.txt                           its length and its SHA-256
//	…
//	# end <files> <64 hex>                         SHA-256 of all lines above
//
// A backup that has begun and not ended for the first time has only the first
// line and `# unfinished`. Version 1 had no lengths but of the files that grow.
// Other versions are a newer program's.

const (
	manifestFile   = "backup.txt"
	manifestHead   = "# graven-backup 2\n"
	manifestNewest = "# graven-backup "
	unfinished     = manifestHead + "# unfinished\n"

	// What a manifest may cost before anything in it is verified. In memory a file
	// is 64 bytes, for the moment when the list grows almost twice that.
	maxBackupFiles  = 2 << 20
	maxManifestLine = 64 << 10
	maxManifest     = maxBackupFiles*192 + 2*maxCheckpoint // bytes: no file has longer lines on an average
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
	name  string    // of a sealed block that is listed it is empty; see path
	hash  record.ID // SHA-256 of its bytes
	size  int64     // in bytes
	grows bool      // a later backup appends to it: the last log file, an open block
}

// path is the file's name.
func (f *backedUp) path() string {
	if f.name == "" {
		return sealedBlock(f.hash)
	}
	return f.name
}

// find returns where in the list a file stands, or would.
func (m *manifest) find(name string) (int, bool) {
	if m == nil {
		return 0, false
	}
	return slices.BinarySearchFunc(m.files, name, func(f backedUp, name string) int { return strings.Compare(f.path(), name) })
}

// file finds a file by name.
func (m *manifest) file(name string) (backedUp, bool) {
	i, ok := m.find(name)
	if !ok {
		return backedUp{}, false
	}
	return m.files[i], true
}

// list takes the files of a backup, in any order.
func (m *manifest) list(files []backedUp) {
	m.files = files
	for i, f := range m.files {
		if f.name == sealedBlock(f.hash) {
			m.files[i].name = ""
		}
	}
	slices.SortFunc(m.files, func(x, y backedUp) int { return strings.Compare(x.path(), y.path()) })
	m.growing()
}

// growing marks the files that grow.
func (m *manifest) growing() {
	last := -1
	for i := range m.files {
		f := &m.files[i]
		f.grows = strings.HasPrefix(f.name, "blocks/open/")
		if strings.HasPrefix(f.name, "log/") {
			last = i
		}
	}
	if last >= 0 {
		m.files[last].grows = true
	}
}

// text is the manifest as it stands in its file.
func (m *manifest) text() []byte {
	b := []byte(manifestHead)
	b = fmt.Appendf(b, "# vault %v %s\n# time %s\n# checkpoint\n", m.vault, m.name, m.time.UTC().Format(manifestTime))
	for line := range strings.Lines(string(m.note)) {
		b = append(append(b, "#>"...), line...)
	}
	for _, f := range m.files {
		b = fmt.Appendf(b, "# length %d\n%s  %s\n", f.size, f.hash.Hex(), f.path())
	}
	return fmt.Appendf(b, "# end %d %s\n", len(m.files), record.IDOf(b).Hex())
}

const manifestTime = "2006-01-02T15:04:05.000000000Z"

// manifestError is a manifest that is not what a backup writes.
func manifestError(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrDamaged, manifestFile, fmt.Sprintf(format, args...))
}

// parseManifest is readManifest of a text.
func parseManifest(b []byte) (*manifest, error) { return readManifest(bytes.NewReader(b)) }

// readManifest reads what text writes and nothing else, line by line. Names are those
// that a backup may hold. Nothing is verified but its own hash: the checkpoint's
// signature needs the log's key.
func readManifest(from io.Reader) (*manifest, error) {
	r := &manifestReader{in: bufio.NewReaderSize(from, maxManifestLine), sum: sha256.New()}
	first, err := r.line()
	if err != nil {
		return nil, err
	}
	if first+"\n" != manifestHead {
		switch version, ok := strings.CutPrefix(first, manifestNewest); {
		case ok && version == "1":
			return nil, fmt.Errorf("%w: %s is of version 1, which only programs before the first release wrote; restore it with the one that did, or make a new backup in another directory", ErrInvalid, manifestFile)
		case ok:
			return nil, fmt.Errorf("%w: %s is of version %q, this program knows 2", ErrUnsupported, manifestFile, version)
		}
		return nil, manifestError("it does not begin with %q", strings.TrimSpace(manifestHead))
	}
	m := &manifest{}
	if err := r.head(m); err != nil {
		return nil, err
	}
	for r.text != "" {
		if err := r.file(m); err != nil {
			return nil, err
		}
	}
	m.growing()
	return m, nil
}

// manifestReader reads a manifest. It holds one line at a time: who wrote it is
// not known yet.
type manifestReader struct {
	in     *bufio.Reader
	sum    hash.Hash // of all lines before the present one
	number int       // of the present line
	text   string    // of it, without \n; empty behind the last
}

// line reads the next line and returns it.
func (r *manifestReader) line() (string, error) {
	if r.number > 0 {
		r.sum.Write([]byte(r.text + "\n"))
	}
	r.number++
	b, err := r.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", r.wrong("it is longer than %d bytes", maxManifestLine)
	case errors.Is(err, io.EOF):
		return "", manifestError("it was cut short: its last line is not # end")
	case err != nil:
		return "", err
	}
	r.text = string(b[:len(b)-1])
	return r.text, nil
}

func (r *manifestReader) wrong(format string, args ...any) error {
	return manifestError("line %d: %s", r.number, fmt.Sprintf(format, args...))
}

// head reads what stands before the files, and the line behind it.
func (r *manifestReader) head(m *manifest) error {
	line, err := r.line()
	if err != nil {
		return err
	}
	if line == "# unfinished" {
		return errBegun
	}
	id, name, _ := strings.Cut(strings.TrimPrefix(line, "# vault "), " ")
	m.vault, err = record.ParseVaultID(id)
	if m.name = name; err != nil || !vaultName.MatchString(name) || line != fmt.Sprintf("# vault %v %s", m.vault, name) {
		return r.wrong("wanted # vault, an id and a name, got %q", line)
	}
	if line, err = r.line(); err != nil {
		return err
	}
	m.time, err = time.Parse("# time "+manifestTime, line)
	if err != nil || line != m.time.Format("# time "+manifestTime) {
		return r.wrong("wanted # time and a time, got %q", line)
	}
	if line, err = r.line(); err != nil {
		return err
	}
	if line != "# checkpoint" {
		return r.wrong("wanted # checkpoint, got %q", line)
	}
	for {
		if line, err = r.line(); err != nil {
			return err
		}
		part, ok := strings.CutPrefix(line, "#>")
		if !ok {
			break
		}
		if m.note = append(append(m.note, part...), '\n'); len(m.note) > maxCheckpoint {
			return r.wrong("the checkpoint is longer than %d bytes", maxCheckpoint)
		}
	}
	text, _, _ := bytes.Cut(m.note, []byte("\n\n"))
	if m.head, err = proof.ParseCheckpointText(append(slices.Clone(text), '\n')); err != nil {
		return manifestError("its checkpoint: %v", err)
	}
	return nil
}

// file reads the two lines of a file, or the last line, and the one behind.
func (r *manifestReader) file(m *manifest) error {
	if text, ok := strings.CutPrefix(r.text, "# end "); ok {
		return r.end(m, text)
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(r.text, "# length "), 10, 63)
	if err != nil || r.text != fmt.Sprintf("# length %d", n) {
		return r.wrong("wanted # length and a number, or # end, got %q", r.text)
	}
	line, err := r.line()
	if err != nil {
		return err
	}
	f := backedUp{size: int64(n)}
	sum, name, ok := strings.Cut(line, "  ")
	if f.hash, err = record.ParseID("sha256:" + sum); err != nil || !ok {
		return r.wrong("wanted a hash, two blanks and a name, got %q", line)
	}
	if err := checkBackupName(name, f.hash); err != nil {
		return r.wrong("%v", err)
	}
	switch n := len(m.files); {
	case n > 0 && m.files[n-1].path() >= name:
		return r.wrong("%q does not stand in order", name)
	case n == maxBackupFiles:
		return r.wrong("a backup has at most %d files", maxBackupFiles)
	}
	if name != sealedBlock(f.hash) {
		f.name = name
	}
	m.files = append(m.files, f)
	_, err = r.line()
	return err
}

// end holds the last line, behind its first words, against those before.
func (r *manifestReader) end(m *manifest, text string) error {
	number, sum, _ := strings.Cut(text, " ")
	if got := record.ID(r.sum.Sum(nil)).Hex(); got != sum {
		return manifestError("it was edited or is damaged: its lines have SHA-256 %s, the last one says %s", got, sum)
	}
	if number != strconv.Itoa(len(m.files)) {
		return r.wrong("%d files are listed, it says %q", len(m.files), number)
	}
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.Join(r.wrong("something stands behind it"), err)
	}
	r.text = ""
	return nil
}

// backupNames are the files of a backup that have fixed names.
var backupNames = []string{
	"README.txt", "rescue.sh", "checkpoint", authorityFile, policyFile, cleanFile, restoredFile, logPub, cosignerPub, logKey, cosignerKey,
}

// checkBackupName refuses names that a backup does not hold: nobody's word is
// taken for where a file goes.
func checkBackupName(name string, hash record.ID) error {
	if slices.Contains(backupNames, name) || name == sealedBlock(hash) {
		return nil
	}
	folder, base := path.Split(name)
	switch folder {
	case "log/":
		if _, ok := journal.ParseName(base); ok {
			return nil
		}
	case "blocks/open/":
		if block.IsOpenName(base) {
			return nil
		}
	}
	return fmt.Errorf("%q with SHA-256 %s is no file of a backup", name, hash.Hex())
}

// manifestIn reads the manifest of a backup's folder.
func manifestIn(dir fsx.Dir) (*manifest, error) {
	f, err := dir.Open(manifestFile)
	if err != nil {
		return nil, err
	}
	m, err := readManifest(io.NewSectionReader(f, 0, math.MaxInt64))
	return m, errors.Join(err, f.Close())
}

// errBegun is a backup that has begun and not ended for the first time.
var errBegun = fmt.Errorf("%w: %s: this backup has not been finished yet; a further graven backup to the same directory does that", ErrDamaged, manifestFile)

var errNoBackup = fmt.Errorf("%w: there is no backup here: %s is missing: %w", ErrNotFound, manifestFile, fs.ErrNotExist)
