package graven

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"graven/internal/journal"
)

// meta looks at what stands beside log and blocks: copies of documents, keys, the
// checkpoint, log/current. All but signing keys is derived.
func (s *scrubber) meta(ctx context.Context, _ string) error {
	v := s.v
	view := v.View()
	c := &checker{ctx: ctx, dir: v.dir, genesis: v.genesis, live: v, report: &Report{}, broken: noLimit}
	side := &Vault{name: v.name, dir: v.dir, genesis: v.genesis, opts: v.opts, blocks: v.blocks, vkeys: v.vkeys}
	c.checkDocuments(side, false)
	for _, f := range c.report.Findings {
		s.find(f)
	}
	s.following(policyFile, append(slices.Clone(view.policy.text), '\n'))
	s.following("log/current", v.currentLog())
	s.checkpoint()
	return s.spend(ctx, 4<<10) // about
}

// currentLog is what log/current is to say: a full file is the last one until a line
// goes to the next.
func (v *Vault) currentLog() []byte {
	last, err := v.journal.Position(v.View().Size() - 1)
	if err != nil {
		return nil
	}
	return []byte(journal.Name(last.File) + "\n")
}

// following compares a file that follows the log's end with what it was to be a
// moment ago. What differs is made again at once if the log stood still meanwhile;
// otherwise the vault has just written it itself, or will.
func (s *scrubber) following(name string, want []byte) {
	got, err := s.v.dir.ReadFile(name, maxSetAside)
	if err == nil && bytes.Equal(got, want) {
		return
	}
	v := s.v
	v.settling.Lock()
	defer v.settling.Unlock()
	v.filing.Lock()
	defer v.filing.Unlock()
	still := append(slices.Clone(v.View().policy.text), '\n')
	if name != policyFile {
		still = v.currentLog()
	}
	if v.ended.Load() || v.published.Load() != v.View().Size() || !bytes.Equal(still, want) {
		return
	}
	c := &checker{dir: v.dir, live: v, report: &Report{}, broken: noLimit}
	c.compare(name, want, true)
	for _, f := range c.report.Findings {
		s.find(f)
	}
}

// checkpoint verifies the published checkpoint, and publishes it again if it is not
// what was published.
func (s *scrubber) checkpoint() {
	v := s.v
	v.settling.Lock()
	defer v.settling.Unlock()
	if v.ended.Load() {
		return
	}
	size := v.published.Load()
	head, note, err := v.readCheckpointBy(v.ownKeys()...)
	if err == nil && head.Size != size {
		err = fmt.Errorf("it is of size %d, published was %d", head.Size, size)
	}
	if err == nil {
		return
	}
	f := Finding{File: "checkpoint", Offset: -1, What: err.Error()}
	view := v.View()
	if err = v.setAside("checkpoint", note); err == nil {
		// All that is published must be synced; of what the view has, the last settle
		// may not have synced all.
		if view.Size() != size {
			f.What += "; the next settle publishes another"
			s.find(f)
			return
		}
		v.published.Store(0)
		if err = v.publish(view); err != nil {
			v.published.Store(size)
		}
	}
	if err != nil {
		f.What += "; it could not be published again: " + err.Error()
	} else {
		f.Mended = true
	}
	s.find(f)
}
