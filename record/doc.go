// Package record holds the lines of the log: their types, their one encoding,
// and a strict parser that accepts exactly what the encoder prints.
//
// # Model
//
// The log is JSON Lines. One [Record] is one line, and the line without its
// line feed is a leaf of the tree. Every line starts with the same frame:
//
//	{"v":1,"kind":"tx","seq":7,"time":"2026-01-02T03:04:05.000000006Z",…}
//
// A program knows a line on one of three levels. As a leaf it is bytes. As a
// frame ([ParseFrame]) it has a version, a kind, a position and a time. Its
// meaning ([Parse]) is known for version 1 of the kinds below; any other line
// is an [Unknown] that keeps its bytes, and [Unsupported] says what is missing.
//
//	genesis                       the first record: the vault's constants
//	tx                            a transaction: puts, deletes, appends, conditions
//	commit                        the end of a group: what became durable together
//	block                         seals or admits a block of artifacts
//	segment, snapshot             evidence about derived files
//	authority, policy, witness    signed documents that replace older ones
//
// Ops stand in the record or, when there are many, in an artifact of op lines;
// their bytes are the same in both places. The caller encodes the request
// ([Op.AppendRequest], [ReqHash]), the committer adds what it alone knows
// ([FinishOp], [AppendTx]), and anybody can go back ([RequestOf]).
//
// # Invariants
//
//   - For every record there is one line. Parse and encode are inverse; a line
//     that differs in one byte is refused or is another record.
//   - What the encoder refuses the parser refuses, for the same reason. Both
//     check all that a record says by itself. What depends on the vault's
//     limits (wide or inline, chunked or not, the default class) is left to
//     the callers, who have [Op.CheckChunks] for it.
//   - A raw quotation mark only ever begins or ends a string, because inside
//     strings it is written \u0022. So op lines can be cut out of a tx line
//     without parsing it ([InlineOps]), also by grep.
//   - Nothing that is returned refers to the bytes that were parsed, except
//     where a function says so.
//
// All functions are pure and safe for concurrent use. Values are not locked.
//
// # Example
//
//	op := record.Op{Kind: record.OpPut, Space: record.SpaceUser, Key: []byte("a"), Value: id, Size: 5}
//	request, err := op.AppendRequest(nil)
//	req := record.NewReq("alice", "", "", 1)
//	req.Op(request)
//	lines := append(record.FinishOp(nil, request, 0, 0, 1), '\n')
//	tx := &record.Tx{Actor: "alice", Req: req.Sum()}
//	line, err := record.AppendTx(nil, seq, now, tx, lines)
//	rec, err := record.Parse(line)
//
// The format is specified in docs/format.md, sections 2 and 3.
package record
