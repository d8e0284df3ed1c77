package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

// backedUpVault is a script whose vault has met everything: sealed blocks, chunked
// values, several log files, open blocks.
func backedUpVault(t testing.TB, d fsx.Disk) *script {
	s := newScript(t, d, small)
	s.grow(1)
	return s
}

// grow commits some groups with keys of a round.
func (s *script) grow(round int) {
	value := strings.Repeat("v", 50)
	s.group(put("a", fmt.Sprint("first", round)))
	s.group(wide(fmt.Sprint("w", round, "/"), 6))
	s.group(s.stage("big", strings.Repeat(fmt.Sprint(round%10, "123456789"), 25)))
	for i := range 12 {
		s.group(put(fmt.Sprint("fill", i), value+fmt.Sprint(round, " ", i)))
		if i%5 == 4 {
			if err := s.vault.settle(); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

func (s *script) backup(to fsx.Disk, o BackupOptions) *BackupReport {
	s.t.Helper()
	r, err := s.store.Backup(context.Background(), "main", to, o)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// restored restores a backup into a new disk, adopts it and returns the disk.
func restored(from BackupReader, adopt bool) (*fsx.Mem, error) {
	mem := fsx.NewMem()
	return mem, restoreInto(mem, from, adopt)
}

func restoreInto(disk fsx.Disk, from BackupReader, adopt bool) error {
	ctx := context.Background()
	store, err := OpenForRestore(ctx, scriptHost(disk, 3), scriptOptions())
	if err != nil {
		return err
	}
	_, err = store.Restore(ctx, from, RestoreOptions{})
	if err == nil && adopt {
		_, err = store.Adopt(ctx, "main", AdoptOptions{NothingNewer: true})
	}
	return errors.Join(err, store.Close())
}

// valuesOf are all values of a vault by key.
func valuesOf(t testing.TB, v *Vault) map[string]string {
	t.Helper()
	got := map[string]string{}
	w := v.View()
	for e, err := range w.List(Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		val, err := w.Value(e)
		if err == nil {
			_, err = val.WriteTo(&b)
		}
		if err != nil {
			t.Fatal(err)
		}
		got[string(e.Key)] = b.String()
	}
	return got
}

// TestBackupRestoreAdopt goes the whole way, twice: the second backup is an
// incremental one.
func TestBackupRestoreAdopt(t *testing.T) {
	ctx := context.Background()
	mem, target := fsx.NewMem(), fsx.NewMem()
	s := backedUpVault(t, mem)
	first := s.backup(target, BackupOptions{WithKeys: true})
	if first.Before != 0 || first.Written != first.Bytes {
		t.Errorf("a first backup: %+v", first)
	}
	if again := s.backup(target, BackupOptions{}); again.Written > first.Written/2 || !again.Keys {
		t.Errorf("a backup of the same again wrote %d of %d bytes, keys %v", again.Written, again.Bytes, again.Keys)
	}
	s.grow(2)
	s.grow(3)
	second := s.backup(target, BackupOptions{})
	if second.Before != first.Size || second.Size <= first.Size || second.Written >= second.Bytes {
		t.Errorf("an incremental backup: %+v after %+v", second, first)
	}
	want := valuesOf(t, s.vault)
	s.close()

	disk, err := restored(BackupIn(target), false)
	if err != nil {
		t.Fatal(err)
	}
	r := &script{t: t, host: scriptHost(disk, 4)}
	r.reopen()
	st := r.vault.Status()
	if st.Writable || !strings.Contains(st.Why, "graven adopt") || st.Root != second.Root {
		t.Errorf("a restored vault says %+v", st)
	}
	if got := valuesOf(t, r.vault); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the restored vault holds %d keys that are not the %d of the original", len(got), len(want))
	}
	if _, err := commitGroup(r.vault, put("x", "y")); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a restored vault takes a write: %v", err)
	}
	report, err := r.store.Adopt(ctx, "main", AdoptOptions{Newest: r.vault.View().note})
	if err != nil {
		t.Fatal(err)
	}
	if report.From != second.Size || report.Size != second.Size+1 || report.Epoch != 1 {
		t.Errorf("adopted: %+v", report)
	}
	r.vault = r.main()
	r.group(put("x", "y"))
	if _, err := r.store.Adopt(ctx, "main", AdoptOptions{NothingNewer: true}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a writable vault is adopted: %v", err)
	}
	if st := r.vault.Status(); st.Epoch != 1 {
		t.Errorf("epoch %d behind an adoption", st.Epoch)
	}
	r.close()
	if rep := checkAll(t, disk, false); len(rep.Findings) > 0 {
		t.Errorf("check finds %v", rep.Findings)
	}
	r.reopen()
	if st := r.vault.Status(); !st.Writable || st.Epoch != 1 {
		t.Errorf("after the next open: %+v", st)
	}
	third := r.backup(fsx.NewMem(), BackupOptions{})
	if third.Size != r.vault.View().Size() {
		t.Errorf("a backup of the adopted vault: %+v", third)
	}
	r.close()
}

// TestBackupFolderIsAVault: the folder itself, put into a store, opens, checks
// clean, and cannot be written.
func TestBackupFolderIsAVault(t *testing.T) {
	mem, disk := fsx.NewMem(), fsx.NewMem()
	s := backedUpVault(t, mem)
	for _, folder := range []string{"vaults", "vaults/main"} {
		if err := disk.Mkdir(folder, false); err != nil {
			t.Fatal(err)
		}
	}
	s.backup(fsx.Under(disk, "vaults/main"), BackupOptions{WithKeys: true})
	s.grow(2)
	s.backup(fsx.Under(disk, "vaults/main"), BackupOptions{})
	s.close()
	r := &script{t: t, host: scriptHost(disk, 4)}
	r.reopen()
	if st := r.vault.Status(); st.Writable {
		t.Error("a backup's folder can be written")
	}
	r.close()
	if rep := checkAll(t, disk, false); len(rep.Findings) > 0 {
		t.Errorf("check finds %v", rep.Findings)
	}
}

// memStream keeps a backup stream in memory.
type memStream struct {
	names []string
	files []*bytes.Buffer
	next  int
}

func (m *memStream) File(name string, _ int64, _ bool) (io.Writer, error) {
	m.names = append(m.names, name)
	m.files = append(m.files, &bytes.Buffer{})
	return m.files[len(m.files)-1], nil
}

func (m *memStream) Next() (string, io.Reader, error) {
	if m.next == len(m.names) {
		return "", nil, io.EOF
	}
	m.next++
	return m.names[m.next-1], bytes.NewReader(m.files[m.next-1].Bytes()), nil
}

func TestBackupStream(t *testing.T) {
	s := backedUpVault(t, fsx.NewMem())
	m := &memStream{}
	r, err := s.store.BackupStream(context.Background(), "main", m, BackupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := valuesOf(t, s.vault)
	s.close()
	disk, err := restored(m, false)
	if err != nil {
		t.Fatal(err)
	}
	v := &script{t: t, host: scriptHost(disk, 4)}
	v.reopen()
	if got := valuesOf(t, v.vault); fmt.Sprint(got) != fmt.Sprint(want) || v.vault.View().Size() != r.Size {
		t.Error("the restored vault is another")
	}
	// The key was left behind: an adoption asks for it.
	if _, err := v.store.Adopt(context.Background(), "main", AdoptOptions{NothingNewer: true}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("adopted without a key: %v", err)
	}
	key := string(bytes.TrimSpace(readAll(s.host.Disk, "vaults/main/"+logKey)))
	if _, err := v.store.Adopt(context.Background(), "main", AdoptOptions{NothingNewer: true, Keys: []string{key}}); err != nil {
		t.Error(err)
	}
	v.close()
	for cut := range len(m.names) {
		short := &memStream{names: m.names[:cut], files: m.files[:cut]}
		disk, err := restored(short, false)
		if missing := m.names[cut:]; err == nil && len(missing) > 0 && !madeAgain(missing[0]) {
			t.Errorf("a stream without %v is restored", missing)
		}
		if entries, _ := disk.ReadDir("vaults"); err != nil && len(entries) > 0 {
			t.Errorf("a refused restore leaves %v", entries)
		}
	}
}

// TestManifest: what parses is written again as the same bytes; any flipped byte is refused.
func TestManifest(t *testing.T) {
	target := fsx.NewMem()
	s := backedUpVault(t, fsx.NewMem())
	s.backup(target, BackupOptions{})
	text := readAll(target, manifestFile)
	m, err := parseManifest(text)
	if err != nil || !bytes.Equal(m.text(), text) {
		t.Fatalf("%v\n%s", err, text)
	}
	for i := range text {
		bad := bytes.Clone(text)
		bad[i] ^= 1
		if _, err := parseManifest(bad); err == nil {
			t.Fatalf("a manifest with byte %d flipped is accepted", i)
		}
		if _, err := parseManifest(text[:i]); err == nil {
			t.Fatalf("a manifest of %d bytes is accepted", i)
		}
	}
	for _, name := range []string{
		"../x", "log/../../x", "/etc/passwd", "wal/wal-00000000", "backup.txt", "log/log-0", "log/current", "meta/keys/priv/x", ".lock",
		"meta/keys/pub/x.vkey", "meta/keys/priv/y.skey", "blocks/sealed/.x/y.blk", "blocks/open/up-" + record.IDOf(nil).Hex(), "blocks/open/main-1.blk", sealedBlock(record.ID{1}),
	} {
		bad := *m
		bad.files = []backedUp{{name: name, hash: record.IDOf(nil)}}
		if _, err := parseManifest(bad.text()); err == nil {
			t.Errorf("a manifest may list %q", name)
		}
	}
}

// TestOtherVersionsOfManifests are refused, and by the next backup too.
func TestOtherVersionsOfManifests(t *testing.T) {
	s := backedUpVault(t, fsx.NewMem())
	defer s.close()
	for version, c := range map[string]struct {
		says string
		is   error
	}{"1": {"before the first release", ErrInvalid}, "3": {"this program knows 2", ErrUnsupported}} {
		target := fsx.NewMem()
		s.backup(target, BackupOptions{})
		text := "# graven-backup " + version + "\n" + strings.TrimPrefix(string(readAll(target, manifestFile)), manifestHead)
		rewriteFile(t, target, manifestFile, []byte(text))
		_, restoring := restored(BackupIn(target), false)
		_, backing := s.store.Backup(context.Background(), "main", target, BackupOptions{})
		for _, err := range []error{restoring, backing} {
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("version %s: %v", version, err)
			}
		}
		if string(readAll(target, manifestFile)) != text {
			t.Errorf("version %s was changed", version)
		}
	}
}

// TestBackupWithoutCosigner: a vault may lack its second key; its backup does too.
func TestBackupWithoutCosigner(t *testing.T) {
	mem, target := fsx.NewMem(), fsx.NewMem()
	s := backedUpVault(t, mem)
	s.close()
	if err := mem.Remove("vaults/main/" + cosignerKey); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	r := s.backup(target, BackupOptions{WithKeys: true})
	if len(r.Notes) != 1 || !r.Keys {
		t.Errorf("%+v", r)
	}
	s.close()
	if _, err := restored(BackupIn(target), true); err != nil {
		t.Error(err)
	}
	if info, err := target.Stat(logKey); err != nil || !info.Private {
		t.Errorf("the key in the backup: %+v %v", info, err)
	}
	if err := mem.Remove("vaults/main/" + logKey); err != nil {
		t.Fatal(err)
	}
	o := scriptOptions()
	o.ReadOnly = true
	store, err := Open(context.Background(), scriptHost(mem, 3), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Backup(context.Background(), "main", fsx.NewMem(), BackupOptions{WithKeys: true}); err == nil {
		t.Error("a backup with keys that are not there")
	}
	if _, err := store.Backup(context.Background(), "main", fsx.NewMem(), BackupOptions{}); err != nil {
		t.Error(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestBackupHeals: an artifact that rotted in an open block and has a second copy
// stands sound in the backup.
func TestBackupHeals(t *testing.T) {
	mem, target := fsx.NewMem(), fsx.NewMem()
	s := newScript(t, mem, small)
	s.group(put("k", "to be hurt"))
	if err := s.vault.settle(); err != nil {
		t.Fatal(err)
	}
	name := "vaults/main/blocks/open/main-00000000.blk"
	i := bytes.Index(readAll(mem, name), []byte("to be hurt"))
	f, err := mem.Open(name, fsx.ReadWrite)
	if err == nil {
		_, err = f.WriteAt([]byte("T"), int64(i))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Backup(context.Background(), "main", fsx.NewMem(), BackupOptions{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "main-00000000.blk, offset") {
		t.Errorf("a damaged artifact: %v", err)
	}
	s.group(put("again", "to be hurt")) // whoever brings the value again heals it
	if r := s.backup(target, BackupOptions{}); len(r.Notes) != 1 {
		t.Errorf("%+v", r)
	}
	s.close()
	disk := mustRestore(t, target)
	if text := string(readAll(disk, name)); !strings.Contains(text, "to be hurt") {
		t.Errorf("the backup holds %q", text)
	}
}
