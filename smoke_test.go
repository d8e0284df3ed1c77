package graven_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"graven"
	"graven/local"
	"graven/proof"
)

func TestSmoke(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s, err := local.Create(ctx, dir, graven.CreateOptions{}, graven.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Vault(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 600 {
		tx := &graven.Tx{Actor: "me"}
		tx.Put([]byte(fmt.Sprintf("k%d", i%100)), graven.Bytes([]byte(fmt.Sprint("hello", i))), graven.PutOptions{})
		r, err := v.Commit(ctx, tx)
		if err != nil {
			t.Fatal(err)
		}
		_ = r
	}
	big := bytes.Repeat([]byte("0123456789"), 2_000_000)
	c, err := v.Stage(ctx, bytes.NewReader(big))
	if err != nil {
		t.Fatal(err)
	}
	tx := &graven.Tx{Actor: "me"}
	tx.Put([]byte("big"), c, graven.PutOptions{})
	for i := range 200 {
		tx.Put([]byte(fmt.Sprintf("wide%d", i)), graven.Bytes([]byte(fmt.Sprint("w", i))), graven.PutOptions{})
	}
	if _, err := v.Commit(ctx, tx); err != nil {
		t.Fatal(err)
	}
	verify := func(v *graven.Vault) {
		w := v.View()
		ver, err := proof.NewVerifier(v.VKeys()[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{"k5", "big", "nope", "wide7"} {
			p, err := w.ProveKey([]byte(k))
			if err != nil {
				t.Fatal(err)
			}
			res, err := ver.Verify(p)
			if err != nil {
				t.Fatal(k, err, string(p))
			}
			t.Log(len(p), res.Describe())
		}
		p, err := w.ProveRecord(7)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ver.Verify(p); err != nil {
			t.Fatal(err)
		}
		e, err := w.Get([]byte("big"))
		if err != nil {
			t.Fatal(err)
		}
		val, err := w.Value(e)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := val.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), big) {
			t.Fatal(err)
		}
	}
	verify(v)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, o := range []graven.Options{{}, {ReadOnly: true}} {
		s, err = local.Open(ctx, dir, o)
		if err != nil {
			t.Fatal(err)
		}
		if v, err = s.Vault(ctx, "main"); err != nil {
			t.Fatal(err)
		}
		verify(v)
		t.Logf("%+v", v.Status())
		rep, err := s.Check(ctx, "main", graven.CheckOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", rep)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
