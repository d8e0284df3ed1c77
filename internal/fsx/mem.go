package fsx

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"sort"
	"strings"
	"sync"
)

// Mem is a disk in memory. Files and folders are inodes, as on a real one: a
// file may have several names, open files outlive their names, renaming a
// folder moves everything in it.
//
// After Record it keeps every change in order, with its data, and CrashStates
// turns that trace into the disks that a power cut could leave. Mem is safe
// for concurrent use.
type Mem struct {
	mu     sync.RWMutex
	root   *node
	nextID uint64
	life   uint64 // grows with Kill; handles of earlier lives are dead

	recording bool
	start     *node // the tree when recording began; never changed
	ops       []Op
}

// node is an inode. Guarded by its Mem's lock.
type node struct {
	id      uint64
	dir     bool
	private bool

	entries map[string]*node // of a folder

	data []byte // of a file
	// shared says that another disk reads the same bytes: copy before writing.
	// Invariant: shared implies cap(data) == len(data).
	shared bool

	exclusive bool // lock state of a folder; sharers and exclusive exclude each other
	sharers   int
}

// NewMem returns an empty disk that does not record.
func NewMem() *Mem {
	return &Mem{root: &node{id: 1, dir: true, entries: map[string]*node{}}, nextID: 2}
}

// Clone returns an independent disk with the same content, without locks, open
// files or a trace. It copies names, and shares bytes until one side writes.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Mem{root: copyTree(m.root, map[*node]*node{}), nextID: m.nextID}
}

// copyTree copies names and inodes; both sides share the bytes of files.
func copyTree(n *node, done map[*node]*node) *node {
	if c := done[n]; c != nil {
		return c
	}
	c := &node{id: n.id, dir: n.dir, private: n.private}
	done[n] = c
	if !n.dir {
		n.data = slices.Clip(n.data)
		n.shared = true
		c.data, c.shared = n.data, true
		return c
	}
	c.entries = make(map[string]*node, len(n.entries))
	for name, child := range n.entries {
		c.entries[name] = copyTree(child, done)
	}
	return c
}

// Kill behaves like the sudden end of the process: open files are dead
// (fs.ErrClosed) and locks are free. Unsynced writes stay visible, as they do
// in a page cache, and stay optional for CrashStates.
func (m *Mem) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
	var free func(n *node)
	free = func(n *node) {
		n.exclusive, n.sharers = false, 0
		for _, c := range n.entries {
			free(c)
		}
	}
	free(m.root)
}

// find returns the inode of a checked name.
func (m *Mem) find(name string) (*node, error) {
	n := m.root
	if name == "." {
		return n, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if !n.dir {
			return nil, ErrNotFolder
		}
		if n = n.entries[part]; n == nil {
			return nil, fs.ErrNotExist
		}
	}
	return n, nil
}

// findParent returns the folder that holds name, or would, and the last element.
func (m *Mem) findParent(name string) (*node, string, error) {
	if name == "." {
		return nil, "", fs.ErrExist
	}
	dir, base := split(name)
	n, err := m.find(dir)
	if err == nil && !n.dir {
		err = ErrNotFolder
	}
	return n, base, err
}

// newNode makes an inode without a name.
func (m *Mem) newNode(dir, private bool) *node {
	n := &node{id: m.nextID, dir: dir, private: private}
	m.nextID++
	if dir {
		n.entries = map[string]*node{}
	}
	return n
}

// Open implements Disk.
func (m *Mem) Open(name string, mode Mode) (File, error) {
	if err := CheckName("open", name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.open(name, mode)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return &memFile{m: m, n: n, name: name, life: m.life, write: mode != Read}, nil
}

func (m *Mem) open(name string, mode Mode) (*node, error) {
	if mode == Read || mode == ReadWrite {
		n, err := m.find(name)
		if err == nil && n.dir {
			err = ErrNotRegular
		}
		return n, err
	}
	parent, base, err := m.findParent(name)
	if err != nil {
		return nil, err
	}
	if parent.entries[base] != nil {
		return nil, fs.ErrExist
	}
	n := m.newNode(false, mode == CreatePrivate)
	parent.entries[base] = n
	m.record(Op{Kind: OpCreate, Name: name, Inode: n.id, Dir: parent.id, Private: n.private})
	return n, nil
}

// Link implements Disk.
func (m *Mem) Link(old, new string) error {
	return m.pair("link", old, new, func(from *node, fromBase string, to *node, toBase string) error {
		n := from.entries[fromBase]
		if to.entries[toBase] != nil {
			return fs.ErrExist
		}
		to.entries[toBase] = n
		m.record(Op{Kind: OpLink, Name: old, To: new, Inode: n.id, Dir: from.id, ToDir: to.id})
		return nil
	})
}

// Rename implements Disk.
func (m *Mem) Rename(old, new string) error {
	return m.pair("rename", old, new, func(from *node, fromBase string, to *node, toBase string) error {
		n, target := from.entries[fromBase], to.entries[toBase]
		switch {
		case n == nil:
			return fs.ErrNotExist
		case target != nil && target.dir:
			return fs.ErrExist
		case n.dir && strings.HasPrefix(new, old+"/"):
			return fs.ErrInvalid
		case n == target:
			return nil // two names of one file: POSIX keeps both
		case n.dir && target != nil:
			return ErrNotFolder
		}
		delete(from.entries, fromBase)
		to.entries[toBase] = n
		m.record(Op{Kind: OpRename, Name: old, To: new, Inode: n.id, Dir: from.id, ToDir: to.id})
		return nil
	})
}

// pair resolves two names and runs a call on them.
func (m *Mem) pair(op, old, new string, call func(from *node, fromBase string, to *node, toBase string) error) error {
	if err := errors.Join(CheckEntry(op, old), CheckEntry(op, new)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	from, fromBase, err := m.findParent(old)
	if err == nil && op == "link" { // the file comes first, as on a real disk
		switch n := from.entries[fromBase]; {
		case n == nil:
			err = fs.ErrNotExist
		case n.dir:
			err = ErrNotRegular
		}
	}
	if err != nil {
		return pairError(op, old, new, err)
	}
	to, toBase, err := m.findParent(new)
	if err == nil {
		err = call(from, fromBase, to, toBase)
	}
	if err != nil {
		return pairError(op, old, new, err)
	}
	return nil
}

// Remove implements Disk.
func (m *Mem) Remove(name string) error {
	return m.single("remove", name, func(parent *node, base string) error {
		n := parent.entries[base]
		if n == nil {
			return fs.ErrNotExist
		}
		if len(n.entries) > 0 {
			return ErrNotEmpty
		}
		delete(parent.entries, base)
		m.record(Op{Kind: OpRemove, Name: name, Inode: n.id, Dir: parent.id})
		return nil
	})
}

// Mkdir implements Disk.
func (m *Mem) Mkdir(name string, private bool) error {
	return m.single("mkdir", name, func(parent *node, base string) error {
		if parent.entries[base] != nil {
			return fs.ErrExist
		}
		n := m.newNode(true, private)
		parent.entries[base] = n
		m.record(Op{Kind: OpMkdir, Name: name, Inode: n.id, Dir: parent.id, Private: private})
		return nil
	})
}

// single resolves a name and runs a call on it.
func (m *Mem) single(op, name string, call func(parent *node, base string) error) error {
	if err := CheckEntry(op, name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	parent, base, err := m.findParent(name)
	if err == nil {
		err = call(parent, base)
	}
	if err != nil {
		return pathError(op, name, err)
	}
	return nil
}

// ReadDir implements Disk.
func (m *Mem) ReadDir(name string) ([]Entry, error) {
	n, err := m.folder("readdir", name)
	if err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	list := make([]Entry, 0, len(n.entries))
	for name, c := range n.entries {
		list = append(list, Entry{Name: name, Dir: c.dir, Regular: !c.dir})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// folder finds a folder.
func (m *Mem) folder(op, name string) (*node, error) {
	if err := CheckName(op, name); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(name)
	if err == nil && !n.dir {
		err = ErrNotFolder
	}
	if err != nil {
		return nil, pathError(op, name, err)
	}
	return n, nil
}

// Stat implements Disk.
func (m *Mem) Stat(name string) (Info, error) {
	if err := CheckName("stat", name); err != nil {
		return Info{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.find(name)
	if err != nil {
		return Info{}, pathError("stat", name, err)
	}
	return Info{Size: int64(len(n.data)), Dir: n.dir, Regular: !n.dir, Private: n.private}, nil
}

// SyncDir implements Disk.
func (m *Mem) SyncDir(name string) error { return m.syncDir(name, false) }

// FailSync implements SyncFailer for SyncDir.
func (m *Mem) FailSync(name string) { _ = m.syncDir(name, true) }

func (m *Mem) syncDir(name string, failed bool) error {
	n, err := m.folder("syncdir", name)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.record(Op{Kind: OpSyncDir, Name: name, Inode: n.id, Failed: failed})
	return nil
}

// Lock implements Disk.
func (m *Mem) Lock(name, text string) (io.Closer, error) {
	return m.lock(name, func(folder, n *node) bool {
		if folder.exclusive || folder.sharers > 0 {
			return false
		}
		folder.exclusive = true
		n.data, n.shared = []byte(text), false
		return true
	}, func(folder, n *node) { folder.exclusive, n.data, n.shared = false, nil, false })
}

// LockShared implements Disk.
func (m *Mem) LockShared(name string) (io.Closer, error) {
	return m.lock(name, func(folder, _ *node) bool {
		if folder.exclusive {
			return false
		}
		folder.sharers++
		return true
	}, func(folder, _ *node) { folder.sharers-- })
}

// lock finds or makes the lock file and tries to take it.
func (m *Mem) lock(name string, take func(folder, n *node) bool, release func(folder, n *node)) (io.Closer, error) {
	if err := CheckEntry("lock", name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	parent, base, err := m.findParent(name)
	if err != nil {
		return nil, pathError("lock", name, err)
	}
	n := parent.entries[base]
	if n == nil {
		n = m.newNode(false, false)
		parent.entries[base] = n
		m.record(Op{Kind: OpLock, Name: name, Inode: n.id, Dir: parent.id})
	}
	if n.dir {
		return nil, pathError("lock", name, ErrNotRegular)
	}
	if !take(parent, n) {
		return nil, &LockedError{Name: name, Owner: string(n.data)}
	}
	return &memLock{m: m, life: m.life, release: func() { release(parent, n) }}, nil
}

// memLock is a lock that is held.
type memLock struct {
	m       *Mem
	life    uint64
	closed  bool
	release func()
}

func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.closed || l.life != l.m.life {
		return fs.ErrClosed
	}
	l.closed = true
	l.release()
	return nil
}
