package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"graven/proof"
)

// witnessSKey is the signing key of a test's witness, which its name gives: of
// type 4, or of type 6. The program itself has no witness.
func witnessSKey(name, typ string) (string, error) {
	seed := sha256.Sum256([]byte("graven test witness " + name))
	switch typ {
	case "4":
		public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
		id := sha256.Sum256(append([]byte(name+"\n\x04"), public...))
		return fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", name, id[:4], base64.StdEncoding.EncodeToString(append([]byte{4}, seed[:]...))), nil
	case "6":
		keys, err := proof.GenerateKeys(name, bytes.NewReader(append(seed[:], seed[:]...)))
		return keys.Cosigner.SKey, err
	}
	return "", fmt.Errorf("type %q, wanted 4 or 6", typ)
}

// scriptWitness: witness VAR NAME TYPE; sets a variable to a witness's verifier key.
func scriptWitness(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: witness VAR NAME TYPE")
	}
	skey, err := witnessSKey(args[1], args[2])
	ts.Check(err)
	s, err := proof.NewCosigner(skey)
	ts.Check(err)
	ts.Setenv(args[0], s.VKey())
}

// scriptCosign: cosign FILE NAME TYPE SECONDS; a witness cosigns the checkpoint that
// is in a file or at the end of a proof file.
func scriptCosign(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: cosign FILE NAME TYPE SECONDS")
	}
	skey, err := witnessSKey(args[1], args[2])
	ts.Check(err)
	s, err := proof.NewCosigner(skey)
	ts.Check(err)
	seconds, err := strconv.ParseUint(args[3], 10, 64)
	ts.Check(err)
	name := ts.MkAbs(args[0])
	file, err := os.ReadFile(name)
	ts.Check(err)
	// A checkpoint has one empty line, a proof another before its checkpoint.
	head, note, isProof := bytes.Cut(file, []byte("\n\n"))
	if isProof = isProof && bytes.Contains(note, []byte("\n\n")); !isProof {
		note = file
	}
	note, err = s.Cosign(note, seconds)
	ts.Check(err)
	if isProof {
		note = bytes.Join([][]byte{head, note}, []byte("\n\n"))
	}
	ts.Check(os.WriteFile(name, note, 0o666))
}

func TestCosignTime(t *testing.T) {
	for seconds, want := range map[uint64]string{
		0:               "1970-01-01T00:00:00Z",
		1_700_000_000:   "2023-11-14T22:13:20Z",
		253_402_300_799: "9999-12-31T23:59:59Z",
		253_402_300_800: "second 253402300800",
		math.MaxInt64:   "second 9223372036854775807",
	} {
		if got := cosignTime(seconds); got != want {
			t.Errorf("%d: got %s, wanted %s", seconds, got, want)
		}
	}
}
