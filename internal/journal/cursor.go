package journal

// Pos is a place in the log: an offset in the file whose first record is File.
type Pos struct {
	File   uint64
	Offset int64
}

// before reports whether p is a place before q.
func (p Pos) before(q Pos) bool {
	return p.File < q.File || p.File == q.File && p.Offset < q.Offset
}

// Cursor walks over the log's places without touching a file. It says where
// groups go that are still to be written.
type Cursor struct {
	opts    Options
	file    uint64 // the last file
	offset  int64  // its end
	records uint64 // lines in it
	next    uint64 // seq of the next line
	ended   bool   // the last line ended a group
}

// NewCursor is the start of a log.
func NewCursor(opts Options) Cursor { return Cursor{opts: opts, ended: true} }

// Pos returns where the next line goes.
func (c *Cursor) Pos() Pos {
	if c.ended && c.full() {
		return Pos{File: c.next}
	}
	return Pos{File: c.file, Offset: c.offset}
}

// at returns the end of the last line, also if the next goes to another file.
func (c *Cursor) at() Pos { return Pos{File: c.file, Offset: c.offset} }

// Next returns the seq of the next line.
func (c *Cursor) Next() uint64 { return c.next }

// Add walks over lines of a group.
func (c *Cursor) Add(bytes int64, records int) {
	if p := c.Pos(); p.File != c.file {
		c.file, c.offset, c.records = p.File, 0, 0
	}
	c.offset += bytes
	c.records += uint64(records)
	c.next += uint64(records)
	c.ended = false
}

// EndGroup says that the last line ended a group, so that the next may go to
// the next file.
func (c *Cursor) EndGroup() { c.ended = true }

// full reports whether the last file takes no further group.
func (c *Cursor) full() bool {
	return c.records >= c.opts.FileRecords || c.records > 0 && uint64(c.offset) >= c.opts.FileBytes
}
