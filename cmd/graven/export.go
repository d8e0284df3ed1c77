package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"graven"
)

func (a *app) exportCommand() *cobra.Command {
	var prefix, at string
	cmd := &cobra.Command{
		Use:   "export DIR [--prefix P] [--at AT]",
		Short: "Write every value under a prefix to a file, now or as it was",
		Long: "Write the value of every key that begins with P to a file below DIR, under the key without P. Each file appears\n" +
			"whole or not at all; files that are there already are replaced, others left alone. Keys that cannot be the\n" +
			"name of a file below DIR, or of which one is both a file and a folder, are listed as skipped, and the exit\n" +
			"code is then 7. Damaged values are listed and not written; the exit code is then 1.",
		Example: "  graven export /tmp/then --prefix documents/ --at 2026-11-21",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			start, err := parsePrefix(prefix)
			if err != nil {
				return err
			}
			return a.withView(cmd.Context(), at, func(w *graven.View) error {
				ex := &exporter{a: a, ctx: cmd.Context(), w: w, prefix: start}
				return ex.run(argv[0])
			})
		},
	}
	atFlag(cmd, &at)
	prefixFlag(cmd, &prefix)
	return cmd
}

// exporter is one export under way.
type exporter struct {
	a      *app
	ctx    context.Context
	w      *graven.View
	prefix []byte
	root   *os.Root // nothing outside the directory can be written, whatever a key says

	files   int
	bytes   int64
	skipped int
	damaged int
}

func (ex *exporter) run(dir string) (err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if ex.root, err = os.OpenRoot(dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ex.root.Close()) }()
	if err := ex.all(); err != nil {
		return err
	}
	out := map[string]any{"files": ex.files, "bytes": ex.bytes, "skipped": ex.skipped, "damaged": ex.damaged, "seq": ex.w.Seq()}
	if err := ex.a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "files=%d bytes=%d skipped=%d damaged=%d seq=%d\n", ex.files, ex.bytes, ex.skipped, ex.damaged, ex.w.Seq())
	}); err != nil {
		return err
	}
	switch {
	case ex.damaged > 0:
		return fmt.Errorf("%w: %d values were not written; they are listed above", errDamage, ex.damaged)
	case ex.skipped > 0:
		return fmt.Errorf("%d keys could not be written as files; they are listed above", ex.skipped)
	}
	return nil
}

func (ex *exporter) all() error {
	query := graven.Query{Prefix: ex.prefix}
	total, done := int64(0), int64(0)
	for e := range ex.w.List(query) {
		total += int64(e.Size)
	}
	p := ex.a.newProgress("exported")
	defer p.end()
	for e, err := range ex.w.List(query) {
		if err == nil {
			err = ex.ctx.Err()
		}
		if err == nil {
			err = ex.file(e)
		}
		if err != nil {
			return err
		}
		done += int64(e.Size)
		p.show(ex.files, done, total)
	}
	return nil
}

// file writes one value. A key that cannot be a file is listed and left out,
// and so is a damaged value.
func (ex *exporter) file(e graven.Entry) error {
	name := string(bytes.TrimPrefix(e.Key, ex.prefix))
	if why := badName(name); why != "" {
		ex.skip(e, why)
		return nil
	}
	if err := ex.root.MkdirAll(filepath.Dir(name), 0o777); errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EROFS) {
		return err
	} else if err != nil {
		ex.skip(e, fmt.Sprintf("its folder cannot be made: %v", err))
		return nil
	}
	if info, err := ex.root.Lstat(name); err == nil && !info.Mode().IsRegular() {
		ex.skip(e, "its name is taken by something that is not a regular file")
		return nil
	}
	val, err := ex.w.Value(e)
	if err == nil {
		err = ex.write(name, val)
	}
	if errors.Is(err, graven.ErrDamaged) {
		ex.damaged++
		ex.a.talk("damaged %s: %s", formatKey(e.Key), oneLine(err.Error()))
		return nil
	}
	if err != nil {
		return fmt.Errorf("key %s: %w", formatKey(e.Key), err)
	}
	ex.files++
	ex.bytes += int64(e.Size)
	return nil
}

// write writes a file beside its name and renames it.
func (ex *exporter) write(name string, val *graven.Value) error {
	f, temp, err := createBeside(name, func(temp string) (*os.File, error) {
		return ex.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	})
	if err != nil {
		return err
	}
	_, err = val.WriteTo(&ctxWriter{ex.ctx, f})
	if err = errors.Join(err, f.Close()); err == nil {
		err = ex.root.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, ex.root.Remove(temp))
	}
	return nil
}

func (ex *exporter) skip(e graven.Entry, why string) {
	ex.skipped++
	ex.a.talk("skipped %s: %s", formatKey(e.Key), oneLine(why))
}

// badName says why a key cannot be a path below a directory; "" if it can.
func badName(name string) string {
	switch {
	case name == "":
		return "nothing is left of it without the prefix"
	case strings.ContainsRune(name, 0):
		return "a NUL byte cannot stand in a file's name"
	case strings.HasPrefix(name, "/"):
		return "it begins with /"
	}
	for _, part := range strings.Split(name, "/") {
		switch {
		case part == "":
			return "it has an empty part"
		case part == ".", part == "..":
			return "it has a part " + part
		case len(part) > 255:
			return "a part of it is longer than 255 bytes"
		}
	}
	return ""
}
