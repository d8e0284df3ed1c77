package fsx

import (
	"fmt"
	"slices"
)

// OpKind names a recorded change.
type OpKind uint8

// The kinds of recorded changes.
const (
	OpCreate   OpKind = iota // a new file Name
	OpWrite                  // Data at Off
	OpTruncate               // the length became Size
	OpSync                   // of a file; Failed if it did not work
	OpReserve                // room for [Off, Off+Size); changes nothing
	OpLink                   // To is one more name of Name
	OpRename                 // Name became To
	OpRemove                 // Name is gone
	OpMkdir                  // a new folder Name
	OpSyncDir                // of a folder; Failed if it did not work
	OpLock                   // a lock file Name was made
	OpMark                   // Event happened
)

func (k OpKind) String() string {
	names := [...]string{"create", "write", "truncate", "sync", "reserve", "link", "rename", "remove", "mkdir", "syncdir", "lock", "mark"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("op(%d)", k)
}

// Op is one recorded change. Inodes tell files apart that had the same name at
// different times; names are those under which the call was made.
type Op struct {
	Kind    OpKind
	Name    string
	To      string // link, rename
	Inode   uint64 // the file or folder it is about
	Dir     uint64 // folder of Name: create, link, rename, remove, mkdir, lock
	ToDir   uint64 // folder of To
	Private bool   // create, mkdir
	Failed  bool   // sync, syncdir
	Off     int64  // write, reserve
	Size    int64  // truncate, reserve
	Data    []byte // write; never to be changed
	Event   any    // mark
}

// String describes the change in one line, without its data.
func (o Op) String() string {
	s := o.Kind.String()
	if o.Name != "" {
		s += " " + o.Name
	}
	switch o.Kind {
	case OpWrite:
		s += fmt.Sprintf(" %d+%d", o.Off, len(o.Data))
	case OpReserve:
		s += fmt.Sprintf(" %d+%d", o.Off, o.Size)
	case OpTruncate:
		s += fmt.Sprintf(" %d", o.Size)
	case OpLink, OpRename:
		s += " " + o.To
	case OpMark:
		s += fmt.Sprintf(" %v", o.Event)
	}
	if o.Failed {
		s += " failed"
	}
	return s
}

// Record begins a new trace. What is on the disk now counts as durable; earlier
// operations are forgotten.
func (m *Mem) Record() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recording = true
	m.start = copyTree(m.root, map[*node]*node{})
	m.ops = nil
}

// Mark puts an event for the oracle into the trace: from here on the outside
// world knows something. It does nothing unless the disk records.
func (m *Mem) Mark(event any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.record(Op{Kind: OpMark, Event: event})
}

// Ops returns the trace so far. The slice is the caller's, the bytes of writes
// are not.
func (m *Mem) Ops() []Op {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Clone(m.ops)
}

// record appends an operation, with a copy of its data. Callers hold the lock.
func (m *Mem) record(op Op) {
	if !m.recording {
		return
	}
	op.Data = slices.Clone(op.Data)
	m.ops = append(m.ops, op)
}
