package record

import "testing"

func typicalTx() *Record {
	op := userPut("customers/0001234/address")
	op.Type = "application/json"
	op.Prev, op.Skip, op.N = 81234, 70011, 6
	return New(1234567, sampleTime, sampleTx(op))
}

func BenchmarkParseTx(b *testing.B) {
	line := mustLine(b, typicalTx())
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendTxRecord(b *testing.B) {
	rec := typicalTx()
	buf := mustLine(b, rec)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = rec.Append(buf[:0])
	}
}

// The committer's way: op lines are made, the record is wrapped around them.
func BenchmarkFinishAndAppendTx(b *testing.B) {
	rec := typicalTx()
	tx := rec.Body.(*Tx)
	request, err := tx.Ops[0].AppendRequest(nil)
	if err != nil {
		b.Fatal(err)
	}
	head := *tx
	head.Ops = nil
	var lines, buf []byte
	b.ReportAllocs()
	for b.Loop() {
		lines = append(FinishOp(lines[:0], request, 81234, 70011, 6), '\n')
		if buf, err = AppendTx(buf[:0], rec.Seq, rec.Time, &head, lines); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseFrame(b *testing.B) {
	line := mustLine(b, typicalTx())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseFrame(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseOp(b *testing.B) {
	line, err := typicalTx().Body.(*Tx).Ops[0].Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseOp(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInlineOps(b *testing.B) {
	line := mustLine(b, typicalTx())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := InlineOps(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReq(b *testing.B) {
	request, err := typicalTx().Body.(*Tx).Ops[0].AppendRequest(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r := NewReq("alice", "order-7", "", 1)
		r.Op(request)
		r.Sum()
	}
}

func BenchmarkCommit(b *testing.B) {
	rec := New(8, sampleTime, &Commit{Height: 3, Prev: ptr(hashFor("p")), Lines: idFor("l"), Root: hashFor("r"), State: hashFor("s")})
	line := mustLine(b, rec)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			line, _ = rec.Append(line[:0])
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse(line); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerifyOps(b *testing.B) {
	ops := make([]Op, 1000)
	for i := range ops {
		ops[i] = userPut(string(rune('a'+i%26)) + string(rune(0x1000+i)))
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := VerifyOps(ops); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJ(b *testing.B) {
	var n uint64
	for b.Loop() {
		n += J(1<<40 + n&0xffff)
	}
}
