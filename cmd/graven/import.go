package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"graven"
	"graven/record"
)

// Borders of a transaction of import: it ends with the file that reaches one.
const (
	importFiles = 256
	importBytes = 8 << 20
)

func (a *app) importCommand() *cobra.Command {
	var prefix string
	cmd := &cobra.Command{
		Use:   "import DIR [--prefix P]",
		Short: "Put every regular file of a tree under its path",
		Long: "Put every regular file below DIR under the key P and its path, with / between the parts. A file whose bytes\n" +
			"its key has already is passed over. What is not a regular file is listed as skipped, and so is the store itself.\n" +
			"A transaction holds up to 256 files or 8 MiB and prints its receipt once it is durable, so that an import that\n" +
			"was interrupted is simply run again. Nothing is deleted. Files that could not be read are listed, and the exit\n" +
			"code is then 7.",
		Example: "  graven import ~/documents --prefix documents/",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			if info, err := os.Stat(argv[0]); err != nil {
				return err
			} else if !info.IsDir() {
				return usage("%s is not a directory; put takes single files", argv[0])
			}
			start, err := parsePrefix(prefix)
			if err != nil {
				return err
			}
			return a.withVault(cmd.Context(), false, func(v *graven.Vault) error {
				im, err := a.newImporter(cmd.Context(), v, argv[0], start)
				if err != nil {
					return err
				}
				return errors.Join(im.run(), im.root.Close())
			})
		},
	}
	prefixFlag(cmd, &prefix)
	return cmd
}

func prefixFlag(cmd *cobra.Command, prefix *string) {
	cmd.Flags().StringVar(prefix, "prefix", "", "what the keys begin with; written like a key")
}

// importer is one import under way.
type importer struct {
	a      *app
	ctx    context.Context
	v      *graven.Vault
	dir    string
	root   *os.Root // a folder that is exchanged for a link leads nowhere else
	prefix []byte

	files []sourceFile
	total int64 // bytes of files, as the walk saw them

	// The transaction that is being filled.
	tx      *graven.Tx
	staged  []graven.Content
	txBytes int64

	stored, same int
	skipped      int // not regular, or gone before it was read
	failed       int // regular, and not in the store
}

type sourceFile struct {
	path string // for people
	rel  string // below the directory
	key  []byte
	size int64
}

func (a *app) newImporter(ctx context.Context, v *graven.Vault, dir string, prefix []byte) (*importer, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &importer{a: a, ctx: ctx, v: v, dir: dir, root: root, prefix: prefix, tx: &graven.Tx{}}, nil
}

func (im *importer) run() error {
	if err := im.walk(); err != nil {
		return err
	}
	err := im.store()
	if err == nil {
		err = im.commit()
	}
	if err != nil {
		for _, c := range im.staged {
			c.Discard()
		}
		return err
	}
	im.a.talk("imported %d files, %d unchanged, %d skipped", im.stored, im.same, im.skipped+im.failed)
	if err := im.ctx.Err(); err != nil {
		return err
	}
	if im.failed > 0 {
		return fmt.Errorf("%d files could not be imported; they are listed above", im.failed)
	}
	return nil
}

// store adds the files one after the other. After an interrupt it stops between
// two of them, and what is in the transaction by then is still committed.
func (im *importer) store() error {
	p := im.a.newProgress("imported")
	defer p.end()
	done := int64(0)
	for i, f := range im.files {
		if im.ctx.Err() != nil {
			return nil
		}
		if err := im.file(f); err != nil {
			if errors.Is(err, im.ctx.Err()) {
				return nil
			}
			return err
		}
		done += f.size
		p.show(i+1, done, im.total)
	}
	return nil
}

func (im *importer) skip(path, why string) {
	im.skipped++
	im.a.talk("skipped %s: %s", oneLine(path), why)
}

func (im *importer) fail(path string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		im.skip(path, "it is gone")
		return
	}
	im.failed++
	im.a.talk("skipped %s: %s", oneLine(path), oneLine(err.Error()))
}

// walk lists the regular files, the names of each folder in byte order, so that
// the same tree gives the same transactions.
func (im *importer) walk() error {
	store, _ := os.Stat(im.a.conf.Store)
	return filepath.WalkDir(im.dir, func(path string, d fs.DirEntry, err error) error {
		if im.ctx.Err() != nil {
			return im.ctx.Err()
		}
		if err != nil {
			if path == im.dir {
				return err
			}
			im.fail(path, err)
			return nil
		}
		info, err := d.Info()
		switch {
		case err != nil:
			im.fail(path, err)
			return nil
		case d.IsDir():
			if store != nil && os.SameFile(info, store) {
				im.skip(path, "it is the store itself")
				return fs.SkipDir
			}
			return nil
		case !info.Mode().IsRegular():
			im.skip(path, "it is not a regular file")
			return nil
		}
		rel, err := filepath.Rel(im.dir, path)
		if err != nil {
			return err
		}
		key := append(im.prefix[:len(im.prefix):len(im.prefix)], filepath.ToSlash(rel)...)
		if len(key) > record.MaxKey {
			im.fail(path, fmt.Errorf("its key would have %d bytes, the limit is %d", len(key), record.MaxKey))
			return nil
		}
		im.files = append(im.files, sourceFile{path, rel, key, info.Size()})
		im.total += info.Size()
		return nil
	})
}

// file adds one file to the transaction, unless its key has these bytes already.
func (im *importer) file(f sourceFile) error {
	seen, err := im.root.Lstat(f.rel)
	if err != nil {
		im.fail(f.path, err)
		return nil
	}
	// A pipe that takes its place now is not waited for.
	in, err := im.root.OpenFile(f.rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		im.fail(f.path, err)
		return nil
	}
	defer in.Close()
	before, err := in.Stat()
	if err != nil {
		im.fail(f.path, err)
		return nil
	}
	if !before.Mode().IsRegular() || !os.SameFile(seen, before) {
		im.skip(f.path, "it is not a regular file any more")
		return nil
	}
	same, err := im.unchanged(f.key, in, before.Size())
	switch {
	case im.ctx.Err() != nil:
		return im.ctx.Err()
	case err != nil:
		im.fail(f.path, err)
		return nil
	case same:
		im.same++
		return nil
	}
	source := &sourceReader{r: in}
	c, err := im.v.Stage(im.ctx, source)
	if source.err != nil {
		im.fail(f.path, source.err)
		return nil
	}
	if err != nil {
		return err
	}
	after, err := in.Stat()
	if err == nil && (after.Size() != int64(c.Size()) || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime())) {
		err = errors.New("it changed while it was read")
	}
	if err != nil {
		c.Discard()
		im.fail(f.path, err)
		return nil
	}
	return im.add(f.key, c)
}

// unchanged reports whether a key has the bytes of a file already. The file is
// left at its beginning.
func (im *importer) unchanged(key []byte, in *os.File, size int64) (bool, error) {
	e, err := im.v.View().Get(key)
	if err != nil || e.Size != uint64(size) {
		return false, nil // absent or different: the store speaks up when it is written to
	}
	h := sha256.New()
	if _, err := io.Copy(&ctxWriter{im.ctx, h}, in); err != nil {
		return false, err
	}
	if record.ID(h.Sum(nil)) == e.Value {
		return true, nil
	}
	_, err = in.Seek(0, io.SeekStart)
	return false, err
}

// add puts a value into the transaction, and commits it when it is full.
func (im *importer) add(key []byte, c graven.Content) error {
	if im.tx.Len() > 0 && im.txBytes+int64(c.Size()) > importBytes {
		if err := im.commit(); err != nil {
			c.Discard()
			return err
		}
	}
	im.tx.Put(key, c, graven.PutOptions{})
	im.staged = append(im.staged, c)
	im.txBytes += int64(c.Size())
	if im.tx.Len() == importFiles || im.txBytes >= importBytes {
		return im.commit()
	}
	return nil
}

// commit makes the transaction durable, prints its receipt, and begins the next.
func (im *importer) commit() error {
	if im.tx.Len() == 0 {
		return nil
	}
	if err := im.a.commit(im.ctx, im.v, im.tx); err != nil {
		return err
	}
	im.stored += im.tx.Len()
	im.tx, im.staged, im.txBytes = &graven.Tx{}, nil, 0
	return nil
}

// sourceReader remembers that reading the file failed, not storing it.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
