package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"graven"
	"graven/local"
)

// TestImportRaces: what the walk saw is not there any more, or something else
// is, when the file is to be read. It is listed and left out; the rest goes in.
func TestImportRaces(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"good", "gone", "link", "pipe", "folder", "grown", "target"} {
		if err := os.WriteFile(path(name), []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := t.TempDir() // holds another file of the same name
	for _, folder := range []string{path("sub"), elsewhere} {
		err := os.MkdirAll(folder, 0o777)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, "file"), []byte(folder), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := local.Create(t.Context(), path("store"), graven.CreateOptions{}, graven.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	v, err := store.Vault(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	var out, talk bytes.Buffer
	im, err := (&app{out: &out, err: &talk, conf: config{Store: path("store")}}).newImporter(t.Context(), v, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer im.root.Close()
	if err := im.walk(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Remove(path("gone")),
		os.Remove(path("link")), os.Symlink("target", path("link")),
		os.Remove(path("pipe")), syscall.Mkfifo(path("pipe"), 0o666),
		os.Remove(path("folder")), os.Mkdir(path("folder"), 0o777),
		os.RemoveAll(path("sub")), os.Symlink(elsewhere, path("sub")),
		os.WriteFile(path("grown"), []byte("grown since"), 0o666), // fine: it did not change while it was read
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := im.store(); err != nil {
		t.Fatal(err)
	}
	if err := im.commit(); err != nil {
		t.Fatal(err)
	}
	if im.stored != 3 || im.skipped != 5 || im.failed != 1 { // and the store
		t.Errorf("stored %d, skipped %d, failed %d; want 3, 5, 1\n%s", im.stored, im.skipped, im.failed, &talk)
	}
	for _, want := range []string{
		"gone: it is gone", "link: it is not a regular file any more", "pipe: it is not a regular file any more",
		"folder: it is not a regular file any more", "store: it is the store itself",
	} {
		if !strings.Contains(talk.String(), want+"\n") {
			t.Errorf("nothing says %q:\n%s", want, &talk)
		}
	}
	if !strings.Contains(talk.String(), "sub/file") {
		t.Errorf("nothing says that sub/file was left out:\n%s", &talk)
	}
	var keys []string
	for e, err := range v.View().List(graven.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, string(e.Key))
	}
	if got := strings.Join(keys, " "); got != "good grown target" {
		t.Errorf("keys %s", got)
	}
	if strings.Count(out.String(), "\n") != 1 {
		t.Errorf("receipts %q", &out)
	}
}

func TestBadName(t *testing.T) {
	for name, bad := range map[string]bool{
		"a": false, "a/b": false, "..a": false, "a..": false, ".a": false, "...": false, "a b": false, "-": false, "\xff": false, "a\nb": false,
		strings.Repeat("x", 255): false,
		"":                       true, "/": true, "/a": true, "a/": true, "a//b": true, ".": true, "..": true, "./a": true, "../a": true, "a/..": true,
		"a/../b": true, "a/./b": true, "a\x00": true, strings.Repeat("x", 256): true, "a/" + strings.Repeat("x", 256): true,
	} {
		if why := badName(name); (why != "") != bad {
			t.Errorf("badName(%q) = %q", name, why)
		}
	}
}
