package proof

import (
	"errors"
	"fmt"

	"graven/merkle"
	"graven/record"
)

// proveCommits checks the commit under whose state a claim is made. Without next
// it must be the last record that the checkpoint covers, and the claim about now;
// an older commit would prove an older state under a newer checkpoint. With next
// the claim is about the past: at lies between the two, and next follows commit
// without another one between them. records are what else path is over.
func proveCommits(commit, next []byte, at uint64, records recordSet, path []merkle.Hash, c Checkpoint) (Commit, error) {
	if c.Size == 0 {
		return Commit{}, fmt.Errorf("%w: a checkpoint of size 0 has no commit", ErrProof)
	}
	first, body, err := parseCommit(commit, c)
	if err != nil {
		return Commit{}, err
	}
	if err := records.add(first.Seq, commit); err != nil {
		return Commit{}, err
	}
	end, last := first.Seq, body
	switch {
	case next == nil && at != 0:
		return Commit{}, fmt.Errorf("%w: the claim is about seq %d, but the commit after it is missing", ErrProof, at)
	case next == nil && first.Seq != c.Size-1:
		return Commit{}, fmt.Errorf("%w: the commit is record %d of %d: only the state of the last record is that of now", ErrProof, first.Seq, c.Size)
	case next != nil:
		second, after, err := parseCommit(next, c)
		if err != nil {
			return Commit{}, err
		}
		if at < first.Seq || at >= second.Seq {
			return Commit{}, fmt.Errorf("%w: the claim is about seq %d, the commits are records %d and %d", ErrProof, at, first.Seq, second.Seq)
		}
		if second.Height != first.Height+1 || after.Prev == nil || *after.Prev != merkle.LeafHash(commit) {
			return Commit{}, fmt.Errorf("%w: commit %d does not follow commit %d at once", ErrProof, second.Seq, first.Seq)
		}
		if err := records.add(second.Seq, next); err != nil {
			return Commit{}, err
		}
		end, last = second.Seq, after
	}
	before, err := records.prove(path, c)
	if err != nil {
		return Commit{}, err
	}
	if end == c.Size-1 && last.Root != before {
		return Commit{}, fmt.Errorf("%w %d of %q: it says that the root before it is %s, but that is %s", ErrDamaged, end, c.Origin, last.Root, before)
	}
	return first, nil
}

// parseCommit reads a commit line that says where it stands below a checkpoint.
func parseCommit(line []byte, c Checkpoint) (Commit, *record.Commit, error) {
	rec, err := record.Parse(line)
	if err != nil {
		return Commit{}, nil, fmt.Errorf("%w proof file: commit line: %w", ErrFormat, err)
	}
	body, ok := rec.Body.(*record.Commit)
	if !ok {
		if err := record.Unsupported(rec); errors.Is(err, record.ErrUnknownVersion) && rec.Kind == record.KindCommit {
			return Commit{}, nil, fmt.Errorf("%w: %w", ErrUnknownVersion, err)
		}
		return Commit{}, nil, fmt.Errorf("%w: record %d is of kind %q, wanted a commit: only at a commit is a state signed", ErrProof, rec.Seq, rec.Kind)
	}
	if rec.Seq >= c.Size {
		return Commit{}, nil, fmt.Errorf("%w: commit %d, but the checkpoint covers %d records", ErrProof, rec.Seq, c.Size)
	}
	return Commit{Seq: rec.Seq, Time: rec.Time, Epoch: body.Epoch, Height: body.Height, State: body.State}, body, nil
}
