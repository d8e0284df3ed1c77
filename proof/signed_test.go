package proof

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"graven/merkle"
	"graven/record"
)

// actor is a key pair that signs requests.
func actor(t testing.TB, name string, typ byte) (*MessageSigner, string) {
	t.Helper()
	pair, err := GenerateKey(name, typ, strings.NewReader(strings.Repeat(name+"/", 33)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewMessageSigner(pair.SKey)
	if err != nil || s.VKey() != pair.VKey {
		t.Fatalf("%v, %s", err, s.VKey())
	}
	return s, pair.VKey
}

// signedTx appends a transaction that an actor signed, its ops in an artifact if
// wide is true. It returns its seq, and the op lines of a wide one.
func (v *vault) signedTx(signer *MessageSigner, wide bool, ops ...record.Op) (seq uint64, lines [][]byte) {
	v.t.Helper()
	var all [][]byte
	var leaves []merkle.Hash
	req := record.NewReq("alice", "id-1", "", len(ops))
	for i := range ops {
		if ops[i].Kind.WritesKey() {
			ops[i].N = 1
		}
		request, err := ops[i].AppendRequest(nil)
		if err != nil {
			v.t.Fatal(err)
		}
		req.Op(request)
		line, err := ops[i].Append(nil)
		if err != nil {
			v.t.Fatal(err)
		}
		all, leaves = append(all, line), append(leaves, merkle.LeafHash(line))
	}
	tx := &record.Tx{Actor: "alice", ID: "id-1", Req: req.Sum(), Ops: ops}
	if wide {
		artifact := append(bytes.Join(all, []byte("\n")), '\n')
		tx.Ops, tx.Wide = nil, &record.Wide{Lines: record.IDOf(artifact), Size: uint64(len(artifact)), Count: uint64(len(all)), Root: merkle.RootOf(leaves)}
		lines = all
	}
	genesis, err := record.Parse(v.lines[0])
	if err != nil {
		v.t.Fatal(err)
	}
	sig, err := signer.SignRequest(genesis.Body.(*record.Genesis).Vault, tx.Req)
	if err != nil {
		v.t.Fatal(err)
	}
	tx.Sig = &sig
	return v.add(tx), lines
}

func (v *vault) signedProof(seq uint64, ops [][]byte) SignedProof {
	v.t.Helper()
	p := SignedProof{Genesis: v.lines[0], Record: v.lines[seq], Ops: ops, Checkpoint: v.checkpointAt(v.size())}
	var err error
	if p.Path, err = merkle.MultiProof([]uint64{0, seq}, v.size(), leafReader(v.leaves)); err != nil {
		v.t.Fatal(err)
	}
	return p
}

// signedSamples are proofs of signed transactions, by name, and the key of each.
func signedSamples(t testing.TB) (v *vault, files map[string][]byte, keys map[string]string) {
	v = newVault(t, "example.com/log", "sample")
	v.commit()
	alice, aliceKey := actor(t, "alice", TypeEd25519)
	lattice, latticeKey := actor(t, "alice-pq", TypeMLDSA44)
	cond := record.Op{Kind: record.OpIf, Space: record.SpaceUser, Key: []byte("rule"), If: &record.Cond{Kind: record.Present}}
	narrow, _ := v.signedTx(alice, false, cond, put('k', "a", "1"), put('q', "row", "2"))
	v.commit()
	wide, lines := v.signedTx(alice, true, put('k', "b", "1"), put('k', "c", "2"), del('k', "d"))
	pq, _ := v.signedTx(lattice, false, put('k', "e", "1"))
	v.commit()
	files, keys = map[string][]byte{}, map[string]string{}
	for name, p := range map[string]struct {
		seq uint64
		ops [][]byte
		key string
	}{"narrow": {narrow, nil, aliceKey}, "wide": {wide, lines, aliceKey}, "ml-dsa": {pq, nil, latticeKey}} {
		files[name], keys[name] = v.signedProof(p.seq, p.ops).Encode(p.seq), p.key
	}
	return v, files, keys
}

func TestSigned(t *testing.T) {
	v, files, keys := signedSamples(t)
	_, mallory := actor(t, "mallory", TypeEd25519)
	for name, file := range files {
		res, err := v.verifier().Verify(file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c := res.Claim().(Signed)
		if c.Actor != "alice" || c.Key != record.KeyIDOf(keys[name]) || !bytes.Equal(c.Record, v.lines[c.Seq]) {
			t.Errorf("%s: %+v", name, c)
		}
		if err := errors.Join(res.CheckActor(keys[name]), res.CheckSubject(fmt.Sprint("signed:", c.Seq))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := res.CheckActor(mallory); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: another key gives %v", name, err)
		}
		if err := res.CheckActor(v.keys.Log.VKey); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: the log's key gives %v", name, err)
		}
		if err := res.CheckActor("alice"); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: no key gives %v", name, err)
		}
		if text := strings.Join(res.Describe(), "\n"); !strings.Contains(text, `actor "alice"`) || !strings.Contains(text, "against the actor's verifier key") {
			t.Errorf("%s: %s", name, text)
		}
	}
	res, err := v.verifier().Verify(v.recordProof(2, v.size()))
	if err != nil {
		t.Fatal(err)
	}
	if err := res.CheckActor(keys["narrow"]); !errors.Is(err, ErrSubject) {
		t.Errorf("a record's proof gives %v", err)
	}
}

// No bit is free, with the old sum and a new one.
func TestNoBitOfSignedIsFree(t *testing.T) {
	v, files, keys := signedSamples(t)
	ver := v.verifier()
	for _, name := range []string{"narrow", "wide"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := files[name]
			refuseChanges(t, file, func(b []byte) error {
				forged := resum(b)
				if bytes.Equal(forged, file) && !bytes.Equal(b, file) {
					return ErrFormat // only the sum was changed
				}
				_, err := ver.Verify(b)
				res, again := ver.Verify(forged)
				if (err == nil) != (again == nil) && err == nil {
					t.Fatalf("a file verifies, and not with its sum made right:\n%s", b)
				}
				if again == nil {
					return res.CheckActor(keys[name])
				}
				return again
			})
		})
	}
}

// A log that lies is caught by the signature or by the request's digest.
func TestForgedSigned(t *testing.T) {
	alice, key := actor(t, "alice", TypeEd25519)
	for name, c := range map[string]struct {
		make func(v *vault) (uint64, [][]byte)
		want error // of Verify; nil: of CheckActor
	}{
		"another vault's signature": {func(v *vault) (uint64, [][]byte) {
			other := newVault(t, "example.com/other", "other")
			seq, _ := other.signedTx(alice, false, put('k', "a", "1"))
			v.addLine(bytes.Replace(other.lines[seq], []byte(`"seq":1,`), []byte(`"seq":2,`), 1))
			return 2, nil
		}, nil},
		"another request's signature": {func(v *vault) (uint64, [][]byte) {
			_, _ = v.signedTx(alice, false, put('k', "a", "1"))
			seq, _ := v.signedTx(alice, false, put('k', "b", "2"))
			sigOf := func(line []byte) []byte {
				rest := line[bytes.Index(line, []byte(`"sig":{`)):]
				return rest[:bytes.IndexByte(rest, '}')]
			}
			v.lines[seq] = bytes.Replace(v.lines[seq], sigOf(v.lines[seq]), sigOf(v.lines[seq-1]), 1)
			v.leaves[seq] = merkle.LeafHash(v.lines[seq])
			return seq, nil
		}, nil},
		"other ops under the digest": {func(v *vault) (uint64, [][]byte) {
			seq, _ := v.signedTx(alice, false, put('k', "a", "1"))
			v.lines[seq] = bytes.Replace(v.lines[seq], []byte(`"key":"a"`), []byte(`"key":"b"`), 1)
			v.leaves[seq] = merkle.LeafHash(v.lines[seq])
			return seq, nil
		}, ErrDamaged},
		"another actor under the digest": {func(v *vault) (uint64, [][]byte) {
			seq, _ := v.signedTx(alice, false, put('k', "a", "1"))
			v.lines[seq] = bytes.Replace(v.lines[seq], []byte(`"alice","id"`), []byte(`"mallo","id"`), 1)
			v.leaves[seq] = merkle.LeafHash(v.lines[seq])
			return seq, nil
		}, ErrDamaged},
		"wide ops in another order": {func(v *vault) (uint64, [][]byte) {
			seq, lines := v.signedTx(alice, true, put('k', "a", "1"), put('k', "b", "2"))
			slices.Reverse(lines)
			return seq, lines
		}, ErrProof},
		"a wide op left out": {func(v *vault) (uint64, [][]byte) {
			seq, lines := v.signedTx(alice, true, put('k', "a", "1"), put('k', "b", "2"))
			return seq, lines[:1]
		}, ErrProof},
		"no wide op": {func(v *vault) (uint64, [][]byte) {
			seq, _ := v.signedTx(alice, true, put('k', "a", "1"), put('k', "b", "2"))
			return seq, nil
		}, ErrProof},
		"ops beside a narrow one": {func(v *vault) (uint64, [][]byte) {
			seq, _ := v.signedTx(alice, false, put('k', "a", "1"))
			return seq, [][]byte{[]byte(`{"op":"delete","key":"b","prev":0,"skip":0,"n":1}`)}
		}, ErrFormat},
		"a record that says another seq": {func(v *vault) (uint64, [][]byte) {
			seq, _ := v.signedTx(alice, false, put('k', "a", "1"))
			v.lines[seq] = bytes.Replace(v.lines[seq], []byte(`"seq":2,`), []byte(`"seq":3,`), 1)
			v.leaves[seq] = merkle.LeafHash(v.lines[seq])
			return seq, nil
		}, ErrDamaged},
		"not signed": {func(v *vault) (uint64, [][]byte) { return v.tx(put('k', "a", "1")), nil }, ErrProof},
		"no transaction": {func(v *vault) (uint64, [][]byte) {
			v.commit()
			return v.size() - 1, nil
		}, ErrProof},
	} {
		v := newVault(t, "example.com/log", "sample")
		v.commit()
		seq, ops := c.make(v)
		v.commit()
		res, err := v.verifier().Verify(v.signedProof(seq, ops).Encode(seq))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, wanted %v", name, err, c.want)
		}
		if c.want == nil && err == nil {
			if err := res.CheckActor(key); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: the actor's key gives %v", name, err)
			}
		}
	}
	// A genesis of another origin, in its place.
	v := newVault(t, "example.com/log", "sample")
	other := newVault(t, "example.com/other", "sample")
	v.lines[0], v.leaves[0] = other.lines[0], other.leaves[0]
	v.commit()
	seq, _ := v.signedTx(alice, false, put('k', "a", "1"))
	v.commit()
	if _, err := v.verifier().Verify(v.signedProof(seq, nil).Encode(seq)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a genesis of another origin: %v", err)
	}
}

func TestMessages(t *testing.T) {
	for _, typ := range []byte{TypeEd25519, TypeMLDSA44} {
		signer, vkey := actor(t, "alice", typ)
		k, err := ParseVKey(vkey)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := signer.Sign([]byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		if err := k.VerifyMessage([]byte("message"), sig); err != nil {
			t.Error(err)
		}
		if err := k.VerifyMessage([]byte("massage"), sig); !errors.Is(err, ErrSignature) {
			t.Errorf("another message: %v", err)
		}
		for i := range sig.Sig {
			bad := record.Sig{Key: sig.Key, Sig: bytes.Clone(sig.Sig)}
			bad.Sig[i] ^= 1 << (i % 8)
			if k.VerifyMessage([]byte("message"), bad) == nil {
				t.Fatalf("type %d: byte %d is free", typ, i)
			}
		}
		for _, bad := range []record.Sig{{Key: sig.Key}, {Key: "alice+00000000", Sig: sig.Sig}, {Key: sig.Key, Sig: sig.Sig[1:]}, {Key: sig.Key, Sig: append(bytes.Clone(sig.Sig), 0)}} {
			if err := k.VerifyMessage([]byte("message"), bad); !errors.Is(err, ErrSignature) {
				t.Errorf("type %d: %+v verifies: %v", typ, bad.Key, err)
			}
		}
	}
	if _, err := GenerateKey("a b", TypeEd25519, strings.NewReader(strings.Repeat("x", 32))); !errors.Is(err, ErrInvalid) {
		t.Errorf("a name with a space: %v", err)
	}
	if _, err := GenerateKey("a", 9, strings.NewReader(strings.Repeat("x", 32))); !errors.Is(err, ErrUnknownVersion) {
		t.Errorf("type 9: %v", err)
	}
	if _, err := GenerateKey("a", TypeEd25519, strings.NewReader("short")); err == nil {
		t.Error("too little randomness makes a key")
	}
}
