package graven

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"graven/internal/fsx"
)

// TestManifestVectors holds testdata/format/backup against the program: the manifest of
// a small vault's backup, and those of the versions before and after it.
func TestManifestVectors(t *testing.T) {
	target := fsx.NewMem()
	s := backedUpVault(t, fsx.NewMem())
	s.backup(target, BackupOptions{WithKeys: true})
	s.close()
	text := string(readAll(target, manifestFile))
	version := func(v string) string { return "# graven-backup " + v + "\n" + strings.TrimPrefix(text, manifestHead) }
	for _, v := range []struct {
		name, text string
		is         error
	}{
		{"backup.txt", text, nil},
		{"unfinished.txt", unfinished, ErrDamaged},
		{"version-1.txt", version("1"), ErrInvalid},
		{"version-3.txt", version("3"), ErrUnsupported},
	} {
		name := filepath.Join("testdata", "format", "backup", v.name)
		if *update {
			if err := os.WriteFile(name, []byte(v.text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != v.text {
			t.Errorf("%s is\n%s\nwanted\n%s", name, b, v.text)
		}
		m, err := parseManifest(b)
		if !errors.Is(err, v.is) {
			t.Errorf("%s: %v, wanted %v", name, err, v.is)
		}
		if err == nil && string(m.text()) != v.text {
			t.Errorf("%s is written again as\n%s", name, m.text())
		}
	}
}
