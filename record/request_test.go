package record

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The digest spelled out, of short and of long requests.
func TestReq(t *testing.T) {
	big := make([]Op, 0, 200)
	for i := range 200 {
		big = append(big, userPut(fmt.Sprintf("key %d", i)))
	}
	tests := []struct {
		actor, id, class, head string
		ops                    []Op
	}{
		{"", "", "", `{"actor":"","id":"","count":1}`, []Op{userPut("a")}},
		{"al\"ice", "7", "archive", `{"actor":"al\u0022ice","id":"7","class":"archive","count":21}`, sampleOps()},
		{"a", "b", "", `{"actor":"a","id":"b","count":200}`, big},
	}
	for _, tc := range tests {
		text := "graven/req/v1\n" + tc.head + "\n"
		byRequest := NewReq(tc.actor, tc.id, tc.class, len(tc.ops))
		tx := &Tx{Actor: tc.actor, ID: tc.id, Class: tc.class}
		var lines [][]byte
		for i := range tc.ops {
			request, err := tc.ops[i].AppendRequest(nil)
			if err != nil {
				t.Fatal(err)
			}
			byRequest.Op(request)
			text += string(request) + "\n"
			line, err := tc.ops[i].Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		want := ID(sha256.Sum256([]byte(text)))
		if got := byRequest.Sum(); got != want {
			t.Errorf("%s: req %s, wanted %s", tc.head, got, want)
		}
		tx.Req = want
		if err := tx.VerifyReq(lines); err != nil {
			t.Errorf("%s: %v", tc.head, err)
		}
		for name, bad := range map[string]*Tx{
			"actor": {Actor: tc.actor + "x", ID: tc.id, Class: tc.class, Req: want},
			"id":    {Actor: tc.actor, ID: tc.id + "x", Class: tc.class, Req: want},
			"class": {Actor: tc.actor, ID: tc.id, Class: tc.class + "x", Req: want},
			"req":   {Actor: tc.actor, ID: tc.id, Class: tc.class},
		} {
			if err := bad.VerifyReq(lines); !errors.Is(err, ErrMismatch) {
				t.Errorf("%s with another %s: %v", tc.head, name, err)
			}
		}
		if err := tx.VerifyReq(lines[1:]); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s without its first op: %v", tc.head, err)
		}
		if err := tx.VerifyReq([][]byte{[]byte("x")}); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s with a bad line: %v", tc.head, err)
		}
	}
}

// Prev, skip and n are not part of the request; everything else is.
func TestReqCovers(t *testing.T) {
	base := sampleOps()[9]
	sum := func(o Op) ID {
		line, err := o.AppendRequest(nil)
		if err != nil {
			t.Fatal(err)
		}
		r := NewReq("a", "", "", 1)
		r.Op(line)
		return r.Sum()
	}
	linked := base
	linked.Prev, linked.Skip, linked.N = 0, 0, 0
	if sum(linked) != sum(base) {
		t.Error("the links change the digest")
	}
	for name, change := range map[string]func(o *Op){
		"space": func(o *Op) { o.Space = 0 }, "key": func(o *Op) { o.Key = []byte("x") },
		"value": func(o *Op) { o.Value[0] ^= 1 }, "size": func(o *Op) { o.Size++ },
		"type": func(o *Op) { o.Type = "" }, "chunks": func(o *Op) { o.Chunks = nil },
		"enc": func(o *Op) { o.Enc = "" }, "if": func(o *Op) { o.If = nil },
	} {
		other := base
		change(&other)
		if sum(other) == sum(base) {
			t.Errorf("another %s has the same digest", name)
		}
	}
}

func TestSigMessage(t *testing.T) {
	v := sampleGenesis().Vault
	want := "graven/req/v1\n30313233343536373839616263646566\n" + idFor("r").String() + "\n"
	if got := string(SigMessage(v, idFor("r"))); got != want {
		t.Errorf("%q, wanted %q", got, want)
	}
}

func TestSignedMessage(t *testing.T) {
	v := sampleGenesis().Vault
	d := &Document{Kind: KindPolicy, Number: 12, Doc: idFor("d"), Sigs: []Sig{{"a+00000000", []byte{1}}}}
	want := "graven/policy/v1\n30313233343536373839616263646566\n5 " + hashFor("p").String() +
		"\n{\"number\":12,\"doc\":\"" + idFor("d").String() + "\"}\n"
	if got := string(d.SignedMessage(v, 5, hashFor("p"))); got != want {
		t.Errorf("%q, wanted %q", got, want)
	}
}

// The committer's way gives the encoder's line.
func TestAppendTx(t *testing.T) {
	for _, s := range samples() {
		tx, ok := s.rec.Body.(*Tx)
		if !ok || tx.Wide != nil {
			continue
		}
		head := *tx
		head.Ops = nil
		got, err := AppendTx([]byte("x"), s.rec.Seq, s.rec.Time, &head, opLines(tx.Ops))
		if want := "x" + string(mustLine(t, s.rec)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v\nwanted %s", s.name, got, err, want)
		}
	}
}

func TestAppendTxRefuses(t *testing.T) {
	good := txOps + "\n"
	tests := []struct {
		name, field string
		seq         uint64
		tx          *Tx
		lines       string
	}{
		{"with ops", "ops", 1, sampleTx(userPut("a")), good},
		{"with wide", "ops", 1, &Tx{Wide: &Wide{}}, good},
		{"seq 0", "seq", 0, &Tx{}, good},
		{"bad head", "class", 1, &Tx{Class: "log"}, good},
		{"no lines", "ops", 1, &Tx{}, ""},
		{"no line feed", "ops[0]", 1, &Tx{}, txOps},
		{"no line feed at the end", "ops[1]", 1, &Tx{}, good + txOps},
		{"empty line", "ops[1]", 1, &Tx{}, good + "\n"},
		{"not an op", "ops[0]", 1, &Tx{}, "{}\n"},
		{"too long", "the line's length", 1, &Tx{}, strings.Repeat(good, 600)},
	}
	for _, tc := range tests {
		got, err := AppendTx([]byte("x"), tc.seq, sampleTime, tc.tx, []byte(tc.lines))
		var field *FieldError
		if !errors.As(err, &field) || field.Field != tc.field || string(got) != "x" {
			t.Errorf("%s: %s, %v; wanted an error about %s", tc.name, short(got), err, tc.field)
		}
	}
}
