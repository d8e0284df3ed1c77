package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"graven"
	"graven/record"
)

func (a *app) applyCommand() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "apply [FILE|-] [--id ID]",
		Short: "Commit several ops, one JSON object a line, as one transaction",
		Long: "Commit the ops of FILE, or of standard input, one JSON object a line, all together or not at all:\n\n" +
			`  {"op":"put","key":"a","text":"hello","type":"text/plain"}` + "\n" +
			`  {"op":"put","key":"b","file":"b.pdf","if":{"absent":true}}` + "\n" +
			`  {"op":"put","key":"c","bytes":"AAEC"}              bytes are base64` + "\n" +
			`  {"op":"delete","key":"d","if":{"seq":17}}` + "\n" +
			`  {"op":"append","text":"without a key"}` + "\n" +
			`  {"op":"if","key":"e","present":true}               or absent, seq, value: e is only read` + "\n" +
			`  {"op":"if","from":"f/","to":"f0","since":17}       no key of the range may have changed` + "\n\n" +
			"A key that is not UTF-8 is written b64:…, as everywhere. A condition that does not hold refuses the whole, with exit\n" +
			"code 6, and says what was found.",
		Example: "  graven apply order.jsonl --id order-4711",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			in, err := a.input(cmd.Context(), argv, 0)
			if err != nil {
				return err
			}
			defer in.Close()
			return a.withVault(cmd.Context(), false, func(v *graven.Vault) error { return a.apply(cmd.Context(), v, in, id) })
		},
	}
	idFlag(cmd, &id)
	return cmd
}

// maxApplyLine bounds a line of apply's input: a value of 64 MiB in base64, and
// what stands around it.
const maxApplyLine = 96 << 20

// batch is the transaction that apply's input becomes.
type batch struct {
	v      *graven.Vault
	tx     *graven.Tx
	staged []graven.Content
	line   int            // that is read, from 1
	keys   map[string]int // the line that has the key
	// The lines of the transaction's ops: conditions on what is only read come first.
	conds, ops []int
}

// apply commits the ops of in.
func (a *app) apply(ctx context.Context, v *graven.Vault, in io.Reader, id string) (err error) {
	b := &batch{v: v, tx: &graven.Tx{ID: id}, keys: map[string]int{}}
	defer func() {
		if err != nil {
			for _, c := range b.staged {
				c.Discard() // does nothing if a transaction took it
			}
		}
	}()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxApplyLine)
	for lines.Scan() {
		b.line++
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		op, err := parseApplied(lines.Bytes())
		if err == nil {
			err = b.applied(ctx, &op)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", b.line, err)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return usage("line %d has more than %d bytes; give large values as \"file\"", b.line+1, maxApplyLine)
	} else if err != nil {
		return err
	}
	if b.tx.Len() == 0 {
		return usage("there is no op in the input: wanted one JSON object a line")
	}
	return b.atLine(a.commit(ctx, v, b.tx))
}

// atLine names the line that an error of the whole transaction is about, where it
// says which op that is.
func (b *batch) atLine(err error) error {
	lines := append(b.conds, b.ops...)
	var op *graven.OpError
	var conflict *graven.ConflictError
	switch {
	case errors.As(err, &op):
		return fmt.Errorf("line %d: %w", lines[op.Op], op.Err)
	case errors.As(err, &conflict) && conflict.Key != "":
		return fmt.Errorf("line %d: %w", lines[conflict.Op], err)
	}
	return err
}

// appliedOp is a line of apply's input. What is nil was not written.
type appliedOp struct {
	op        string
	key       *string
	mediaType *string

	// The value of a put or an append, one of:
	text, bytes, file *string

	own   appliedCond  // of an if
	cond  *appliedCond // the member if, of a put or delete on its own key
	from  *string
	to    *string
	since *uint64
}

// appliedCond is a condition on a key.
type appliedCond struct {
	absent, present bool
	seq             *uint64
	value           *string
}

func takeCond(o *object) appliedCond {
	return appliedCond{absent: o.flag("absent"), present: o.flag("present"), seq: o.number("seq"), value: o.text("value")}
}

func parseApplied(line []byte) (op appliedOp, err error) {
	o, err := parseObject(line)
	if err != nil {
		return op, err
	}
	if kind := o.text("op"); kind != nil {
		op.op = *kind
	}
	op.key, op.mediaType = o.text("key"), o.text("type")
	op.text, op.bytes, op.file = o.text("text"), o.text("bytes"), o.text("file")
	inner := o.object("if")
	op.own = takeCond(o)
	op.from, op.to, op.since = o.text("from"), o.text("to"), o.number("since")
	if err := o.end(); err != nil || inner == nil {
		return op, err
	}
	cond := takeCond(inner)
	op.cond = &cond
	if err := inner.end(); err != nil {
		return op, fmt.Errorf("if: %w", err)
	}
	return op, nil
}

// cond is the condition that the members ask for, nil if none.
func (c *appliedCond) cond() (*record.Cond, error) {
	var found []*record.Cond
	if c.absent {
		found = append(found, &record.Cond{Kind: record.Absent})
	}
	if c.present {
		found = append(found, &record.Cond{Kind: record.Present})
	}
	if c.seq != nil {
		found = append(found, &record.Cond{Kind: record.AtSeq, Seq: *c.seq})
	}
	if c.value != nil {
		id, err := record.ParseID(*c.value)
		if err != nil {
			return nil, usage("value: %w", err)
		}
		found = append(found, &record.Cond{Kind: record.HasValue, Value: id})
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	}
	return nil, usage("wanted one of absent, present, seq and value")
}

// applied adds an op to the transaction.
func (b *batch) applied(ctx context.Context, op *appliedOp) error {
	own, err := op.own.cond()
	if err != nil {
		return err
	}
	if op.op == "if" {
		return b.require(op, own)
	}
	if own != nil || op.from != nil || op.to != nil || op.since != nil {
		return usage("a condition of an op %q stands in its member \"if\"", op.op)
	}
	var cond *record.Cond
	if op.cond != nil {
		if cond, err = op.cond.cond(); err == nil && cond == nil {
			err = usage("\"if\": wanted one of absent, present, seq and value")
		}
		if err != nil {
			return err
		}
	}
	switch op.op {
	case "append":
		if op.key != nil || cond != nil {
			return usage("an append has no key and no condition")
		}
		c, err := b.value(ctx, op)
		if err != nil {
			return err
		}
		b.tx.Append(c, op.media())
		b.ops = append(b.ops, b.line)
		return nil
	case "put":
		key, err := b.newKey(op)
		if err != nil {
			return err
		}
		c, err := b.value(ctx, op)
		if err != nil {
			return err
		}
		b.tx.Put(key, c, graven.PutOptions{Type: op.media(), If: cond})
		b.ops = append(b.ops, b.line)
		return nil
	case "delete":
		if op.mediaType != nil || op.text != nil || op.bytes != nil || op.file != nil {
			return usage("a delete has no value and no type")
		}
		key, err := b.newKey(op)
		if err != nil {
			return err
		}
		b.tx.Delete(key, graven.DeleteOptions{If: cond})
		b.ops = append(b.ops, b.line)
		return nil
	case "":
		return usage("op is missing: wanted put, append, delete or if")
	}
	return usage("op %q: wanted put, append, delete or if", op.op)
}

func (op *appliedOp) media() string {
	if op.mediaType == nil {
		return ""
	}
	return *op.mediaType
}

// newKey is the key of an op, which no op before it may have.
func (b *batch) newKey(op *appliedOp) ([]byte, error) {
	if op.key == nil {
		return nil, usage("key is missing")
	}
	key, err := parseKey(*op.key)
	if err != nil {
		return nil, err
	}
	if len(key) > record.MaxKey {
		return nil, &graven.LimitError{Field: "key", Value: uint64(len(key)), Limit: record.MaxKey}
	}
	if first, twice := b.keys[string(key)]; twice {
		return nil, usage("key %s: line %d is about it already; a transaction has a key once", formatKey(key), first)
	}
	b.keys[string(key)] = b.line
	return key, nil
}

// require adds a condition on what is only read.
func (b *batch) require(op *appliedOp, own *record.Cond) error {
	switch {
	case op.text != nil || op.bytes != nil || op.file != nil || op.mediaType != nil || op.cond != nil:
		return usage("an if has no value, type and member \"if\"")
	case op.since != nil:
		if own != nil || op.key != nil {
			return usage("since is about a range: wanted from, to and since")
		}
		return b.requireRange(op)
	case own == nil || op.from != nil || op.to != nil:
		return usage("wanted key and one of absent, present, seq and value; or from, to and since")
	}
	key, err := b.newKey(op)
	if err != nil {
		return err
	}
	b.tx.Require(key, *own)
	b.conds = append(b.conds, b.line)
	return nil
}

// requireRange adds a condition on a range. One that nothing could break is refused:
// whoever wrote it believes that it guards something.
func (b *batch) requireRange(op *appliedOp) error {
	var bounds [2][]byte
	for i, text := range []*string{op.from, op.to} {
		if text != nil {
			var err error
			if bounds[i], err = parsePrefix(*text); err != nil {
				return err
			}
		}
	}
	from, to := bounds[0], bounds[1]
	if len(to) > 0 && bytes.Compare(from, to) >= 0 {
		return usage("from %q is not below to %q: there is no key between them", from, to)
	}
	if newest := b.v.View().Seq(); *op.since > newest {
		return usage("since %d: the newest record is %d", *op.since, newest)
	}
	b.tx.RequireUnchanged(from, to, *op.since)
	b.conds = append(b.conds, b.line)
	return nil
}

// value stages the value of an op.
func (b *batch) value(ctx context.Context, op *appliedOp) (c graven.Content, err error) {
	given := 0
	for _, s := range []*string{op.text, op.bytes, op.file} {
		if s != nil {
			given++
		}
	}
	if given != 1 {
		return c, usage("wanted one of text, bytes and file")
	}
	switch {
	case op.text != nil:
		c, err = b.v.Stage(ctx, strings.NewReader(*op.text))
	case op.bytes != nil:
		raw, bad := base64.StdEncoding.DecodeString(*op.bytes)
		if bad != nil {
			return c, usage("bytes: %w", bad)
		}
		c, err = b.v.Stage(ctx, bytes.NewReader(raw))
	default:
		in, bad := openInput(ctx, *op.file)
		if bad != nil {
			return c, bad
		}
		c, err = b.v.Stage(ctx, in)
		err = errors.Join(err, in.Close())
	}
	if err == nil {
		b.staged = append(b.staged, c)
	}
	return c, err
}
