package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"graven"
)

func (a *app) exportCommand() *cobra.Command {
	var prefix, at string
	cmd := &cobra.Command{
		Use:   "export DIR [--prefix P] [--at AT]",
		Short: "Write every value under a prefix to a file, now or as it was",
		Long: "Write the value of every key that begins with P to DIR, under the key without P. Keys that cannot be\n" +
			"names of files below DIR are listed as skipped, and the command then exits with 7.",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			return a.withView(cmd.Context(), at, func(w *graven.View) error {
				ex := &exporter{a: a, ctx: cmd.Context(), w: w, dir: argv[0], prefix: []byte(prefix)}
				return ex.run()
			})
		},
	}
	atFlag(cmd, &at)
	cmd.Flags().StringVar(&prefix, "prefix", "", "what keys begin with")
	return cmd
}

// exporter is one export under way.
type exporter struct {
	a       *app
	ctx     context.Context
	w       *graven.View
	dir     string
	prefix  []byte
	root    *os.Root // nothing outside the directory can be written
	written int
	skipped int
}

func (ex *exporter) run() (err error) {
	if err := os.MkdirAll(ex.dir, 0o755); err != nil {
		return err
	}
	if ex.root, err = os.OpenRoot(ex.dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ex.root.Close()) }()
	total, done := int64(0), int64(0)
	for e := range ex.w.List(graven.Query{Prefix: ex.prefix}) {
		total += int64(e.Size)
	}
	p := ex.a.newProgress("exported")
	for e, err := range ex.w.List(graven.Query{Prefix: ex.prefix}) {
		if err == nil {
			err = ex.ctx.Err()
		}
		if err == nil {
			err = ex.file(e)
		}
		if err != nil {
			p.end()
			return err
		}
		done += int64(e.Size)
		p.show(ex.written, done, total)
	}
	p.end()
	ex.a.talk("exported %d files, %d skipped", ex.written, ex.skipped)
	if ex.skipped > 0 {
		return fmt.Errorf("%d keys could not be written as files; they are listed above", ex.skipped)
	}
	return nil
}

// file writes one value. A key that cannot be a file is listed and left out.
func (ex *exporter) file(e graven.Entry) error {
	name := string(bytes.TrimPrefix(e.Key, ex.prefix))
	if why := badName(name); why != "" {
		ex.skip(e, why)
		return nil
	}
	val, err := ex.w.Value(e)
	if err != nil {
		return err
	}
	if dir := filepath.Dir(name); dir != "." {
		if err := ex.root.MkdirAll(dir, 0o755); err != nil {
			ex.skip(e, err.Error())
			return nil
		}
	}
	if info, err := ex.root.Lstat(name); err == nil && !info.Mode().IsRegular() {
		ex.skip(e, "something that is no regular file has its name")
		return nil
	}
	temp := filepath.Join(filepath.Dir(name), ".graven-export")
	f, err := ex.root.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = val.WriteTo(f)
	if err = errors.Join(err, f.Close()); err == nil {
		err = ex.root.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("key %s: %w", formatKey(e.Key), err), ex.root.Remove(temp))
	}
	ex.written++
	return nil
}

func (ex *exporter) skip(e graven.Entry, why string) {
	ex.skipped++
	ex.a.talk("skipped %s: %s", formatKey(e.Key), why)
}

// badName says why a name cannot be a path below a directory; "" if it can.
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
		switch part {
		case "":
			return "it has an empty part"
		case ".", "..":
			return "it has a part " + part
		case ".graven-export":
			return "its name is taken by the export itself"
		}
		if len(part) > 255 {
			return "a part of it is longer than 255 bytes"
		}
	}
	return ""
}
