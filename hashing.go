package graven

import (
	"crypto/sha256"
	"hash"
	"io"

	"graven/record"
)

// hashing passes bytes on and hashes the first of them.
type hashing struct {
	w    io.Writer // nil: they are only hashed
	left int64     // so many more are hashed
	h    hash.Hash
}

func (s *hashing) Write(p []byte) (int, error) {
	if s.h == nil {
		s.h = sha256.New()
	}
	part := p[:min(int64(len(p)), s.left)]
	s.h.Write(part)
	s.left -= int64(len(part))
	if s.w == nil {
		return len(p), nil
	}
	return s.w.Write(p)
}

// sum is the hash of what came so far.
func (s *hashing) sum() record.ID {
	if s.h == nil {
		s.h = sha256.New()
	}
	return record.ID(s.h.Sum(nil))
}
