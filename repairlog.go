package graven

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"graven/internal/fsx"
	"graven/merkle"
)

// wholeLog is a log that was read as far as it is taken for the vault's.
type wholeLog struct {
	scan  *scanner
	open  func(first uint64) (io.ReadCloser, error)
	parts []logPart
}

// log verifies the log: up to the vault's own signed checkpoint, as it is and, if it is
// not whole, with the bytes of the copy where both differ. It returns nil if neither
// is whole.
func (r *repairer) log() (*wholeLog, error) {
	head, why, err := r.ownHead()
	if err != nil {
		return nil, err
	}
	if why != nil {
		return r.logWithout(why)
	}
	own := r.reader(head.size, logFilesOf(r.dir))
	ownErr := head.holds(own)
	if ownErr == nil {
		return r.take(own), nil
	}
	if r.ctx.Err() != nil {
		return nil, r.ctx.Err()
	}
	return r.logMixed(head, ownErr)
}

func (r *repairer) reader(limit uint64, open func(uint64) (io.ReadCloser, error)) *logReader {
	return newLogReader(r.ctx, r.genesis, limit, open)
}

// take makes a log that was read the one that the rest is held against.
func (r *repairer) take(l *logReader) *wholeLog {
	r.report.Size = l.scan.size
	r.report.Checked += len(l.parts)
	mark, clean := readClean(r.dir)
	r.closed = clean && mark == l.scan.size
	return &wholeLog{scan: l.scan, open: l.open, parts: l.parts}
}

// logMixed brings the log back up to a head.
func (r *repairer) logMixed(head signedHead, ownErr error) (*wholeLog, error) {
	mixed, err := r.mixedTo(head)
	if err != nil {
		r.fail("log", ownErr.Error(), fmt.Errorf("with the bytes of the copy it is not whole either: %w", err))
		r.report.Size = head.size
		return nil, r.ctx.Err()
	}
	l := r.take(mixed)
	return l, r.replaceLog(l.parts)
}

// mixedTo reads the log with the bytes of the copy. From then on no more of these are
// taken than lead to the head: what the copy has behind them no signature covers.
func (r *repairer) mixedTo(head signedHead) (*logReader, error) {
	mixed := r.reader(head.size, r.mixed)
	if err := head.holds(mixed); err != nil {
		return nil, err
	}
	r.taken = map[string]int64{}
	for _, part := range mixed.parts {
		r.taken[part.name()] = part.size
	}
	return mixed, nil
}

// logWithout verifies a log whose own checkpoint is not there to say what it must come
// to. A log that is whole by its own commits is taken as it is, whatever the copy
// holds. Otherwise the copy's checkpoint must be signed by the vault's key, and what
// the vault still has must be of the same history.
func (r *repairer) logWithout(why error) (*wholeLog, error) {
	theirs, notTheirs, err := r.copiedHead()
	if err != nil {
		return nil, err
	}
	own := r.reader(noLimit, logFilesOf(r.dir))
	own.roots[theirs.size] = merkle.Hash{}
	ownErr := own.run() // ends with an error, at the latest at its end
	if r.ctx.Err() != nil {
		return nil, r.ctx.Err()
	}
	size := own.scan.size
	if notTheirs == nil && theirs.size <= size && own.roots[theirs.size] != theirs.root {
		return nil, otherHistory(theirs.size, own.roots[theirs.size], theirs.root)
	}
	lost, _, err := r.lostBehind(own.scan)
	if err != nil {
		return nil, err
	}
	switch {
	case lost == nil && notTheirs == nil && theirs.size > size:
		if _, err := r.mixedTo(theirs); err == nil {
			if err := r.goesOn(size); err != nil {
				return nil, err
			}
		}
	case lost == nil:
	case notTheirs != nil:
		return nil, fmt.Errorf("%w: nothing says what the log must come to: %w; its own lines do not (%w), and the checkpoint of the copy is not taken: %w", ErrDamaged, why, errors.Join(ownErr, lost), notTheirs)
	case theirs.size > size:
		return r.logTo(theirs, size, ownErr)
	default:
		r.fail("log", ownErr.Error(), fmt.Errorf("%w; the copy ends before it, at size %d", lost, theirs.size))
	}
	return r.readTo(size, logFilesOf(r.dir))
}

// logTo brings a log back to the signed checkpoint of the copy. The first records are
// whole.
func (r *repairer) logTo(head signedHead, first uint64, ownErr error) (*wholeLog, error) {
	mixed, err := r.mixedTo(head)
	if err != nil {
		return r.logMixed(head, ownErr)
	}
	if err := r.goesOn(first); err != nil {
		return nil, err
	}
	// What the vault has behind the copy's size goes on from there, or it is another.
	all := r.reader(noLimit, r.mixed)
	endErr := all.run()
	if r.ctx.Err() != nil {
		return nil, r.ctx.Err()
	}
	lost, there, err := r.lostBehind(all.scan)
	if err != nil {
		return nil, err
	}
	if lost != nil && there && all.scan.size == head.size {
		return nil, fmt.Errorf("%w: what the vault's log holds behind size %d, where the copy ends, does not go on from there: %w; nothing was changed, since it may be another history. Give a newer copy", ErrConflict, head.size, endErr)
	}
	if err := r.replaceLog(mixed.parts); err != nil {
		return nil, err
	}
	if lost != nil {
		r.fail("log", endErr.Error(), fmt.Errorf("%w; the copy ends before it, at size %d", lost, head.size))
	}
	return r.readTo(all.scan.size, r.mixed)
}

// goesOn refuses a copy of which the first records are not those of the vault.
func (r *repairer) goesOn(size uint64) error {
	if size == 0 {
		return nil
	}
	own, mixed := r.reader(size, logFilesOf(r.dir)), r.reader(size, r.mixed)
	if err := errors.Join(own.run(), mixed.run()); err != nil {
		return err
	}
	if x, y := own.scan.tree.Root(), mixed.scan.tree.Root(); x != y {
		return otherHistory(size, x, y)
	}
	return nil
}

// readTo reads what was found to be whole.
func (r *repairer) readTo(size uint64, open func(uint64) (io.ReadCloser, error)) (*wholeLog, error) {
	l := r.reader(size, open)
	if err := l.run(); err != nil {
		return nil, err
	}
	return r.take(l), nil
}

func otherHistory(size uint64, own, theirs merkle.Hash) error {
	return fmt.Errorf("%w: at size %d the vault's log has root %v, the copy's has %v, and both are of one key: they are two histories; nothing was changed, keep both", ErrConflict, size, own, theirs)
}

// lostBehind says what tells of records behind the last commit that was read; there
// says that it is bytes of the log itself. What the write-ahead log holds, the next
// open writes again.
func (r *repairer) lostBehind(s *scanner) (lost error, there bool, err error) {
	if s.size == 0 {
		return errors.New("not one group of it is whole"), true, nil
	}
	v := &Vault{dir: r.dir, genesis: r.genesis, opts: r.opts}
	mark, clean := readClean(r.dir)
	if !clean && v.openWAL() == nil {
		held, err := v.survey()
		err = errors.Join(err, v.wal.Close())
		switch {
		case err != nil || held.Groups == 0:
		case held.from > s.size:
			return fmt.Errorf("the write-ahead log begins with record %d", held.from), false, nil
		default:
			return nil, false, nil
		}
	}
	at, err := v.behindEnd(s.end)
	switch {
	case err != nil:
		return nil, false, err
	case at != nil:
		return fmt.Errorf("%s, offset %d: bytes behind the last commit that is whole, of size %d", logName(at.File), at.Offset, s.size), true, nil
	case clean && mark != s.size:
		return fmt.Errorf("%s says that the vault was closed at size %d", cleanFile, mark), false, nil
	}
	return nil, false, nil
}

// lengthIn is how much of a file of the copy counts; -1 if it is not there.
func (r *repairer) lengthIn(name string) (int64, error) {
	info, err := r.copy.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return 0, err
	}
	n := info.Size
	if f, ok := r.m.file(name); ok && f.grows {
		n = min(n, f.size)
	}
	if r.taken != nil {
		n = min(n, r.taken[name])
	}
	return n, nil
}

// mixed opens a log file with the bytes of the copy as far as they go, and the
// vault's own behind them.
func (r *repairer) mixed(first uint64) (io.ReadCloser, error) {
	return r.mix(logName(first))
}

func (r *repairer) mix(name string) (io.ReadCloser, error) {
	m := &mixture{}
	n, err := r.lengthIn(name)
	if err != nil {
		return nil, err
	}
	var parts []io.Reader
	if n > 0 {
		f, err := r.copy.Open(name)
		if err != nil {
			return nil, err
		}
		m.files = append(m.files, f)
		parts = append(parts, io.NewSectionReader(f, 0, n))
	}
	own, err := r.dir.Open(name)
	switch {
	case err == nil:
		m.files = append(m.files, own)
		size, err := own.Size()
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		if from := max(n, 0); size > from {
			parts = append(parts, io.NewSectionReader(own, from, size-from))
		}
	case !errors.Is(err, fs.ErrNotExist) || n < 0:
		return nil, errors.Join(err, m.Close())
	}
	m.Reader = io.MultiReader(parts...)
	return m, nil
}

// mixture reads two files as one.
type mixture struct {
	io.Reader
	files []fsx.File
}

func (m *mixture) Close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// replaceLog puts the verified bytes of log files in their place, unless they are
// there. Behind the last one stays what the vault has there, as after a crash.
func (r *repairer) replaceLog(parts []logPart) error {
	for i, part := range parts {
		if err := r.replacePart(part, i == len(parts)-1); err != nil {
			return err
		}
	}
	return nil
}

func (r *repairer) replacePart(part logPart, last bool) error {
	name := part.name()
	if info, err := r.dir.Stat(name); err == nil && info.Size >= part.size {
		got, err := hashOf(r.dir, name, part.size)
		if err != nil {
			return err
		}
		if got == part.hash {
			return nil
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return r.replace(name, "it is not what the commits and the signed checkpoint say", func(w io.Writer) error {
		in, err := r.mix(name)
		if err != nil {
			return err
		}
		head := &hashing{w: w, left: part.size}
		var from io.Reader = in
		if !last || r.closed {
			from = io.LimitReader(in, part.size) // nothing stands behind
		}
		_, err = io.Copy(head, from)
		if err == nil && (head.left > 0 || head.sum() != part.hash) {
			err = fmt.Errorf("%w: %s changed while it was read", ErrDamaged, name)
		}
		return errors.Join(err, in.Close())
	})
}
