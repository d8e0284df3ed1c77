package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// writeFile writes a value to a file: beside it first, so that the name never
// stands for half a value, and nothing is left behind if damage is met.
func writeFile(name string, from io.WriterTo) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".graven-*")
	if err != nil {
		return err
	}
	_, err = from.WriteTo(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// bytesTo is a value in memory as writeFile wants it.
type bytesTo []byte

func (b bytesTo) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b)
	return int64(n), err
}
