package merkle

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// vectorFile holds proofs that others made, good and bad. It lies beside the
// repository, not in it.
const vectorFile = "../../shared/vectors/rfc6962-merkle-testdata.tar.xz"

type vector struct {
	LeafIdx, TreeSize uint64 // inclusion
	Root, LeafHash    string
	Size1, Size2      uint64 // consistency
	Root1, Root2      string
	Start, End, Size  uint64 // of a subtree, and of the tree around it
	Proof             []string
	WantErr           bool
}

// decode returns a field's hash. Some vectors have other bytes in place of a
// hash; the hash of those stands for them, so that equal ones stay equal.
func decode(t *testing.T, s string) (h Hash, isHash bool) {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) != HashSize {
		return LeafHash(raw), false
	}
	return Hash(raw), true
}

// verify returns the verdict, and whether all fields are hashes: the type
// excludes claims with others.
func (v *vector) verify(t *testing.T, kind string) (verdict error, wellFormed bool) {
	path := make([]Hash, len(v.Proof))
	for i, s := range v.Proof {
		path[i], _ = decode(t, s)
	}
	if kind == "subtreeinclusion" {
		// A subtree over [start, end) is an RFC 6962 tree of its own leaves.
		leaf, ok1 := decode(t, v.LeafHash)
		root, ok2 := decode(t, v.Root)
		if !isSubtree(v.Start, v.End) || v.LeafIdx < v.Start {
			return ErrRange, ok1 && ok2
		}
		return VerifyInclusion(v.LeafIdx-v.Start, v.End-v.Start, leaf, root, path), ok1 && ok2
	}
	if kind == "subtreeconsistency" {
		v.Size1, v.Size2 = v.End, v.Size // of a subtree that starts at 0
	}
	if kind == "inclusion" {
		leaf, ok1 := decode(t, v.LeafHash)
		root, ok2 := decode(t, v.Root)
		return VerifyInclusion(v.LeafIdx, v.TreeSize, leaf, root, path), ok1 && ok2
	}
	root1, ok1 := decode(t, v.Root1)
	root2, ok2 := decode(t, v.Root2)
	return VerifyConsistency(v.Size1, v.Size2, root1, root2, path), ok1 && ok2
}

// isSubtree reports whether some tree has a node over the leaves [start, end), maybe
// at its right edge.
func isSubtree(start, end uint64) bool {
	if start >= end {
		return false
	}
	level := bits.Len64(end - start - 1)
	return start>>level<<level == start
}

func TestVectors(t *testing.T) {
	if _, err := os.Stat(filepath.Dir(vectorFile)); errors.Is(err, os.ErrNotExist) {
		t.Skip("the folder with the vectors of others is not beside the repository")
	}
	xz, err := exec.LookPath("xz")
	if err != nil {
		t.Skip("the vectors of others are packed with xz, which is not installed")
	}
	data, err := exec.Command(xz, "-dc", vectorFile).Output()
	if err != nil {
		t.Fatal(err)
	}
	run := map[string]int{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		header, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(header.Name, "testdata/")
		kind, _, _ := strings.Cut(name, "/")
		if header.Typeflag != tar.TypeReg {
			continue
		}
		var v vector
		if err := json.NewDecoder(r).Decode(&v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// Consistency of a subtree that is empty says nothing about the tree, of one that
		// starts behind 0 this package proves nothing.
		if kind == "subtreeconsistency" && (v.Start > 0 || v.End == 0) {
			run["skipped subtrees"]++
			continue
		}
		verdict, wellFormed := v.verify(t, kind)
		if refused := verdict != nil || v.WantErr && !wellFormed; refused != v.WantErr {
			t.Errorf("%s: got %v, want an error: %v", name, verdict, v.WantErr)
		}
		run[kind]++
		if !v.WantErr {
			run["good "+kind]++
		}
	}
	for _, kind := range []string{"inclusion", "consistency", "subtreeinclusion", "subtreeconsistency"} {
		if run[kind] == 0 || run["good "+kind] == 0 || run["good "+kind] == run[kind] {
			t.Errorf("%d vectors of %s, %d of them good", run[kind], kind, run["good "+kind])
		}
	}
	t.Logf("vectors: %v", run)
}
