package main

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"graven"
)

// A backup as a stream is a tar archive in zstd: backup.txt, then every file that
// it lists, with no folders of their own. Unpacked into a directory it is a backup
// there, from which the next one can go on.

// backupStream writes a backup to standard output.
func (a *app) backupStream(ctx context.Context, s *graven.Store, o graven.BackupOptions) (*graven.BackupReport, error) {
	out := bufio.NewWriterSize(a.out, 1<<20)
	z, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	t := &tarStream{ctx: ctx, w: tar.NewWriter(z)}
	r, err := s.BackupStream(ctx, a.conf.Vault, t, o)
	if err != nil {
		return r, err // not ended, so that nobody takes it for whole
	}
	return r, errors.Join(t.w.Close(), z.Close(), out.Flush())
}

// tarStream is a [graven.BackupStream].
type tarStream struct {
	ctx context.Context
	w   *tar.Writer
}

// File implements [graven.BackupStream].
func (t *tarStream) File(name string, size int64, private bool) (io.Writer, error) {
	mode := int64(0o644)
	if private {
		mode = 0o600
	}
	// Without times and owners: the same vault gives the same bytes.
	err := t.w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: mode, Format: tar.FormatPAX})
	return &ctxWriter{t.ctx, t.w}, err
}

// restoreStream restores from a file, or with "-" from standard input.
func (a *app) restoreStream(ctx context.Context, s *graven.Store, source string, o graven.RestoreOptions) (*graven.RestoreReport, error) {
	in, err := a.input(ctx, []string{source}, 0)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	const window = 128 << 20 // what a stream may ask for in memory, in bytes
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	r, err := s.Restore(ctx, &tarSource{tar.NewReader(z), z}, o)
	if errors.Is(err, graven.ErrFull) {
		return nil, err // the store's disk
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return r, nil
}

// tarSource is a [graven.BackupReader].
type tarSource struct {
	r   *tar.Reader
	raw io.Reader // what r reads from
}

// Next implements [graven.BackupReader].
func (t *tarSource) Next() (string, io.Reader, error) {
	h, err := t.r.Next()
	if errors.Is(err, io.EOF) {
		if err := t.end(); err != nil {
			return "", nil, err
		}
		return "", nil, io.EOF
	}
	if err != nil {
		return "", nil, streamError(err)
	}
	if h.Typeflag != tar.TypeReg {
		return "", nil, fmt.Errorf("%w: the stream holds %q, which is no file", graven.ErrDamaged, h.Name)
	}
	for name := range h.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") { // a few bytes would stand for as many zeros as they say
			return "", nil, fmt.Errorf("%w: the stream holds %q, a file with holes", graven.ErrDamaged, h.Name)
		}
	}
	return h.Name, &streamReader{t.r, h.Size}, nil
}

// end reads what stands behind the archive: zeros to fill a block, as tar writes them,
// and nothing else.
func (t *tarSource) end() error {
	for b := make([]byte, 32<<10); ; {
		n, err := t.raw.Read(b)
		if i := slices.IndexFunc(b[:n], func(c byte) bool { return c != 0 }); i >= 0 {
			return fmt.Errorf("%w: the stream goes on behind the end of the backup", graven.ErrDamaged)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, context.Canceled):
			return err
		case err != nil:
			return fmt.Errorf("%w: the stream has bytes behind the end of the backup: %w", graven.ErrDamaged, err)
		}
	}
}

// streamReader says of an archive that breaks off that it is damaged.
type streamReader struct {
	r    io.Reader
	size int64
}

// Size is what the archive says.
func (s *streamReader) Size() int64 { return s.size }

func (s *streamReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = streamError(err)
	}
	return n, err
}

func streamError(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: the stream is no whole backup in .tar.zst: %w", graven.ErrDamaged, err)
}
