package proof

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"testing"
)

// ed25519Vectors holds edge cases of keys and signatures that others made. It
// lies beside the repository, not in it.
const ed25519Vectors = "../../shared/vectors/ed25519vectors.json"

// TestEd25519Vectors: no key is accepted under which anybody could sign or that
// has two spellings, and of the other signatures those that every verifier takes.
func TestEd25519Vectors(t *testing.T) {
	raw, err := os.ReadFile(ed25519Vectors)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("SKIPPED: the Ed25519 vectors are not beside the repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Key, Sig, Msg string
		Flags         []string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil || len(vectors) < 900 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	refused, accepted := 0, 0
	for i, v := range vectors {
		key, err1 := hex.DecodeString(v.Key)
		sig, err2 := hex.DecodeString(v.Sig)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		has := func(flag string) bool { return slices.Contains(v.Flags, flag) }
		k, err := newVKey("example.com/log", TypeEd25519, key)
		if bad := has("low_order_A") || has("non_canonical_A"); bad != (err != nil) {
			t.Errorf("vector %d, %v: key is refused: %v", i, v.Flags, err)
		}
		if err != nil {
			refused++
			continue
		}
		want := !has("low_order_residue") && !has("non_canonical_R") && !has("reencoded_k")
		if got := k.verify([]byte(v.Msg), Checkpoint{}, sig); got != want {
			t.Errorf("vector %d, %v: accepted %v", i, v.Flags, got)
		}
		accepted++
	}
	t.Logf("%d keys refused, %d signatures judged", refused, accepted)
}
