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

	"github.com/spf13/cobra"

	"graven"
	"graven/record"
)

// Borders of a transaction of import.
const (
	importFiles = 256
	importBytes = 8 << 20
)

func (a *app) importCommand() *cobra.Command {
	var prefix string
	cmd := &cobra.Command{
		Use:   "import DIR [--prefix P]",
		Short: "Put every regular file of a tree under its path",
		Long: "Put every regular file below DIR under P and its path. Files whose bytes a key has already are passed\n" +
			"over. What is not a regular file is listed as skipped. One transaction holds up to 256 files or 8 MiB;\n" +
			"each prints its receipt when it is durable, so an interrupted import is simply run again.",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			if info, err := os.Stat(argv[0]); err != nil {
				return err
			} else if !info.IsDir() {
				return usage("%s is not a directory; use put for a single file", argv[0])
			}
			return a.withVault(cmd.Context(), false, func(v *graven.Vault) error {
				im := &importer{a: a, ctx: cmd.Context(), v: v, dir: argv[0], prefix: prefix}
				return im.run()
			})
		},
	}
	cmd.Flags().StringVar(&prefix, "prefix", "", "what keys begin with")
	return cmd
}

// importer is one import under way.
type importer struct {
	a      *app
	ctx    context.Context
	v      *graven.Vault
	dir    string
	prefix string
	limit  treeLimit // of the demonstration

	files    []sourceFile
	total    int64
	done     int64
	seen     int
	tx       *graven.Tx
	staged   []graven.Content
	txBytes  int64
	stored   int
	same     int
	skipped  int
	progress *progress
}

// treeLimit bounds how much of a tree is taken; zero fields do not.
type treeLimit struct {
	files int
	bytes int64
	leave string // name of folders to leave out
}

type sourceFile struct {
	path string // on disk
	key  []byte
	size int64
}

func (im *importer) run() error {
	if err := im.walk(); err != nil {
		return err
	}
	im.progress = im.a.newProgress("imported")
	im.tx = &graven.Tx{}
	for _, f := range im.files {
		if err := im.ctx.Err(); err != nil {
			break // what is staged so far is committed below; the rest another time
		}
		if err := im.file(f); err != nil {
			im.progress.end()
			return err
		}
		im.seen++
		im.done += f.size
		im.progress.show(im.seen, im.done, im.total)
	}
	im.progress.end()
	if err := im.commit(); err != nil {
		return err
	}
	im.a.talk("imported %d files, %d unchanged, %d skipped", im.stored, im.same, im.skipped)
	return im.ctx.Err()
}

func (im *importer) skip(path, why string) {
	im.skipped++
	im.a.talk("skipped %s: %s", oneLine(path), why)
}

// walk lists the tree in byte order of paths, so that the same tree gives the
// same transactions.
func (im *importer) walk() error {
	return filepath.WalkDir(im.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == im.dir {
				return err
			}
			im.skip(path, err.Error())
			return nil
		}
		if d.IsDir() {
			if im.limit.leave != "" && d.Name() == im.limit.leave {
				return fs.SkipDir
			}
			return im.ctx.Err()
		}
		if !d.Type().IsRegular() {
			im.skip(path, "not a regular file")
			return nil
		}
		info, err := d.Info()
		if err != nil {
			im.skip(path, err.Error())
			return nil
		}
		if im.limit.files > 0 && len(im.files) == im.limit.files || im.limit.bytes > 0 && im.total+info.Size() > im.limit.bytes {
			im.skipped++
			return nil
		}
		rel, err := filepath.Rel(im.dir, path)
		if err != nil {
			return err
		}
		key := []byte(im.prefix + filepath.ToSlash(rel))
		if len(key) > record.MaxKey {
			im.skip(path, fmt.Sprintf("its key would have %d bytes, the limit is %d", len(key), record.MaxKey))
			return nil
		}
		im.files = append(im.files, sourceFile{path, key, info.Size()})
		im.total += info.Size()
		return nil
	})
}

// file adds one file to the transaction, unless its key has these bytes already.
func (im *importer) file(f sourceFile) error {
	in, err := os.Open(f.path)
	if err != nil {
		im.skip(f.path, err.Error())
		return nil
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() {
		im.skip(f.path, "not a regular file any more")
		return nil
	}
	if e, err := im.v.View().Get(f.key); err == nil && e.Size == uint64(f.size) {
		h := sha256.New()
		if _, err := io.Copy(h, in); err != nil {
			im.skip(f.path, err.Error())
			return nil
		}
		if record.ID(h.Sum(nil)) == e.Value {
			im.same++
			return nil
		}
		if _, err := in.Seek(0, io.SeekStart); err != nil {
			im.skip(f.path, err.Error())
			return nil
		}
	}
	source := &sourceReader{r: in}
	c, err := im.v.Stage(im.ctx, source)
	if source.err != nil {
		im.skip(f.path, source.err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	if im.tx.Len() > 0 && im.txBytes+int64(c.Size()) > importBytes {
		if err := im.commit(); err != nil {
			c.Discard()
			return err
		}
	}
	im.tx.Put(f.key, c, graven.PutOptions{})
	im.staged = append(im.staged, c)
	im.txBytes += int64(c.Size())
	if im.tx.Len() == importFiles {
		return im.commit()
	}
	return nil
}

// commit makes the transaction durable and begins the next.
func (im *importer) commit() error {
	if im.tx.Len() == 0 {
		return nil
	}
	// An interrupt ends the import, not the transaction that is under way.
	err := im.a.commit(context.WithoutCancel(im.ctx), im.v, im.tx)
	if err != nil {
		for _, c := range im.staged {
			c.Discard()
		}
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
