package fsx

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"path"
)

// Item is a file to publish.
type Item struct {
	Name string
	Data []byte
}

// Publish makes a new file with what write puts out. It appears under its name
// whole and durable, or not at all; after an error it may be there, whole. A
// name that is taken is fs.ErrExist and is left alone, write may not be called.
// Folders above it are made.
//
// What a crash leaves: before the link, a temporary name that the next Publish
// of this name removes; after it, the whole file, whose name may vanish until
// the folder is synced.
func (d Dir) Publish(name string, write func(w io.Writer) error) error {
	name, err := d.allow(Publish, name)
	if err != nil {
		return err
	}
	return d.publish(name, fillFrom(write))
}

// PublishBytes is Publish of bytes at hand.
func (d Dir) PublishBytes(name string, data []byte) error {
	name, err := d.allow(Publish, name)
	if err != nil {
		return err
	}
	return d.publish(name, fillWith(data))
}

func (d Dir) publish(name string, fill func(File) error) error {
	if err := d.place(name, fill); err != nil {
		return err
	}
	folder, _ := split(name)
	return d.syncFolder(folder)
}

// PublishAll publishes many files and syncs each folder once, at the end. Names
// that are taken are left alone and returned, in the order of items; they are
// no error, and need not be durable (see Sync). After an error any of the items
// may be there, each whole.
func (d Dir) PublishAll(items []Item) (taken []string, err error) {
	var folders []string
	seen := map[string]bool{}
	for _, item := range items {
		name, err := d.allow(Publish, item.Name)
		if err != nil {
			return taken, err
		}
		err = d.place(name, fillWith(item.Data))
		if errors.Is(err, fs.ErrExist) {
			taken = append(taken, item.Name)
			continue
		}
		if err != nil {
			return taken, err
		}
		if folder, _ := split(name); !seen[folder] {
			seen[folder] = true
			folders = append(folders, folder)
		}
	}
	for _, folder := range folders {
		if err := d.syncFolder(folder); err != nil {
			return taken, err
		}
	}
	return taken, nil
}

// PublishLink gives a finished file, which the rules call a source, its
// published name as well. It syncs the file, which costs nothing if that was
// done. A name that is taken is fs.ErrExist and is left alone.
func (d Dir) PublishLink(from, to string) error {
	from, err := d.allow(Source, from)
	if err != nil {
		return err
	}
	to, err = d.allow(Publish, to)
	if err != nil {
		return err
	}
	folder, _ := split(to)
	if err := d.makeFolder(folder); err != nil {
		return err
	}
	if err := d.syncFile(from); err != nil {
		return err
	}
	if err := d.disk.Link(from, to); err != nil {
		return err
	}
	return d.syncFolder(folder)
}

// Replace puts data in the place of what a name held, if anything. A crash
// leaves the old content or the new one, whole; a nil error says the new one.
func (d Dir) Replace(name string, data []byte) error {
	return d.replace(name, fillWith(data))
}

// ReplaceFrom is Replace with what write puts out, for files that do not fit
// into memory.
func (d Dir) ReplaceFrom(name string, write func(w io.Writer) error) error {
	return d.replace(name, fillFrom(write))
}

func (d Dir) replace(name string, fill func(File) error) error {
	name, err := d.allow(Replace, name)
	if err != nil {
		return err
	}
	folder, _ := split(name)
	if err := d.makeFolder(folder); err != nil {
		return err
	}
	temp, release := d.book.temp(name)
	defer release()
	err = d.writeTemp(temp, d.createMode(name), fill)
	if err == nil {
		err = d.disk.Rename(temp, name)
	}
	if err != nil {
		_ = d.disk.Remove(temp) // best effort; the next Replace removes it too
		if info, statErr := d.disk.Stat(name); statErr == nil && info.Dir {
			err = pathError("replace", name, ErrFolder)
		}
		return err
	}
	return d.syncFolder(folder)
}

// place is Publish without the last sync of the folder.
func (d Dir) place(name string, fill func(File) error) error {
	if err := d.vacant(name); err != nil {
		return err
	}
	folder, _ := split(name)
	if err := d.makeFolder(folder); err != nil {
		return err
	}
	temp, release := d.book.temp(name)
	defer release()
	err := d.writeTemp(temp, d.createMode(name), fill)
	if err == nil {
		// Not a rename: that would replace a file that came meanwhile.
		err = d.disk.Link(temp, name)
	}
	if err != nil {
		_ = d.disk.Remove(temp) // best effort; the next Publish removes it too
		return err
	}
	return d.disk.Remove(temp)
}

// writeTemp makes a temporary file, fills and syncs it. A leftover is removed,
// never written into: it may be a second name of a published file.
func (d Dir) writeTemp(temp string, mode Mode, fill func(File) error) error {
	if err := d.remove(temp); err != nil {
		return err
	}
	f, err := d.disk.Open(temp, mode)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// vacant returns fs.ErrExist if a name is taken.
func (d Dir) vacant(name string) error {
	_, err := d.disk.Stat(name)
	switch {
	case err == nil:
		return pathError("publish", name, fs.ErrExist)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// fillWith fills a file with bytes.
func fillWith(data []byte) func(File) error {
	return func(f File) error {
		_, err := f.WriteAt(data, 0)
		return err
	}
}

// fillFrom fills a file with what write puts out.
func fillFrom(write func(w io.Writer) error) func(File) error {
	return func(f File) error {
		w := bufio.NewWriterSize(&fileWriter{f: f}, 1<<16)
		if err := write(w); err != nil {
			return err
		}
		return w.Flush()
	}
}

// fileWriter writes a file from its start.
type fileWriter struct {
	f   File
	off int64
}

func (w *fileWriter) Write(p []byte) (int, error) {
	n, err := w.f.WriteAt(p, w.off)
	w.off += int64(n)
	return n, err
}

// temp reserves a temporary name beside the target: the first that no other
// call is using, so that a leftover of a crash is met again and removed.
func (b *book) temp(name string) (temp string, release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	dir, base := split(name)
	for n := 0; ; n++ {
		temp = path.Join(dir, tempName(n, base))
		if !b.busy[temp] {
			break
		}
	}
	b.busy[temp] = true
	return temp, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.busy, temp)
	}
}
