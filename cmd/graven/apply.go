package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
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

// apply commits the ops of in.
func (a *app) apply(ctx context.Context, v *graven.Vault, in io.Reader, id string) (err error) {
	tx := &graven.Tx{ID: id}
	var staged []graven.Content
	defer func() {
		if err != nil {
			for _, c := range staged {
				c.Discard() // does nothing if a transaction took it
			}
		}
	}()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxApplyLine)
	for n := 1; lines.Scan(); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		op, err := parseApplied(lines.Bytes())
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		c, err := a.applied(ctx, v, tx, op)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		staged = append(staged, c)
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return usage("a line of more than %d bytes; give large values as \"file\"", maxApplyLine)
	} else if err != nil {
		return err
	}
	if tx.Len() == 0 {
		return usage("there is no op in the input: wanted one JSON object a line")
	}
	return a.commit(ctx, v, tx)
}

// appliedOp is a line of apply's input.
type appliedOp struct {
	Op   string `json:"op"`
	Key  string `json:"key"`
	Type string `json:"type"`

	// The value of a put or an append, one of:
	Text  *string `json:"text"`
	Bytes *string `json:"bytes"`
	File  *string `json:"file"`

	If          *appliedCond `json:"if"` // of a put or delete on its own key
	appliedCond              // of an if

	From  string  `json:"from"`
	To    string  `json:"to"`
	Since *uint64 `json:"since"`
}

// appliedCond is a condition on a key.
type appliedCond struct {
	Absent  bool    `json:"absent"`
	Present bool    `json:"present"`
	Seq     *uint64 `json:"seq"`
	Value   *string `json:"value"`
}

func parseApplied(line []byte) (op appliedOp, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&op); err != nil {
		return op, usage("wanted one JSON object: %w", err)
	}
	if d.More() {
		return op, usage("wanted one JSON object, and nothing behind it")
	}
	return op, nil
}

// cond is the condition that the members ask for, nil if none.
func (c *appliedCond) cond() (*record.Cond, error) {
	var found []*record.Cond
	if c.Absent {
		found = append(found, &record.Cond{Kind: record.Absent})
	}
	if c.Present {
		found = append(found, &record.Cond{Kind: record.Present})
	}
	if c.Seq != nil {
		found = append(found, &record.Cond{Kind: record.AtSeq, Seq: *c.Seq})
	}
	if c.Value != nil {
		id, err := record.ParseID(*c.Value)
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
func (a *app) applied(ctx context.Context, v *graven.Vault, tx *graven.Tx, op appliedOp) (c graven.Content, err error) {
	own, err := op.appliedCond.cond()
	if err != nil {
		return c, err
	}
	if op.Op == "if" {
		return c, op.require(tx, own)
	}
	if own != nil || op.From != "" || op.To != "" || op.Since != nil {
		return c, usage("a condition of an op %q stands in its member \"if\"", op.Op)
	}
	var cond *record.Cond
	if op.If != nil {
		if cond, err = op.If.cond(); err == nil && cond == nil {
			err = usage("\"if\": wanted one of absent, present, seq and value")
		}
		if err != nil {
			return c, err
		}
	}
	var key []byte
	if op.Op != "append" {
		if key, err = parseKey(op.Key); err != nil {
			return c, err
		}
	}
	switch op.Op {
	case "put", "append":
		if op.Op == "append" && (op.Key != "" || cond != nil) {
			return c, usage("an append has no key and no condition")
		}
		if c, err = a.appliedValue(ctx, v, &op); err != nil {
			return c, err
		}
		if op.Op == "put" {
			tx.Put(key, c, graven.PutOptions{Type: op.Type, If: cond})
			return c, nil
		}
		tx.Append(c, op.Type)
		return c, nil
	case "delete":
		if op.Type != "" || op.Text != nil || op.Bytes != nil || op.File != nil {
			return c, usage("a delete has no value and no type")
		}
		tx.Delete(key, graven.DeleteOptions{If: cond})
		return c, nil
	}
	return c, usage("op %q: wanted put, append, delete or if", op.Op)
}

// require adds a condition on what is only read.
func (op *appliedOp) require(tx *graven.Tx, own *record.Cond) error {
	switch {
	case op.Text != nil || op.Bytes != nil || op.File != nil || op.Type != "" || op.If != nil:
		return usage("an if has no value, type and member \"if\"")
	case op.Since != nil:
		if own != nil || op.Key != "" {
			return usage("since is about a range: wanted from, to and since")
		}
		from, err := parsePrefix(op.From)
		if err != nil {
			return err
		}
		to, err := parsePrefix(op.To)
		if err != nil {
			return err
		}
		tx.RequireUnchanged(from, to, *op.Since)
		return nil
	case own == nil || op.From != "" || op.To != "":
		return usage("wanted key and one of absent, present, seq and value; or from, to and since")
	}
	key, err := parseKey(op.Key)
	if err != nil {
		return err
	}
	tx.Require(key, *own)
	return nil
}

// appliedValue stages the value of an op.
func (a *app) appliedValue(ctx context.Context, v *graven.Vault, op *appliedOp) (graven.Content, error) {
	given := 0
	for _, s := range []*string{op.Text, op.Bytes, op.File} {
		if s != nil {
			given++
		}
	}
	if given != 1 {
		return graven.Content{}, usage("wanted one of text, bytes and file")
	}
	switch {
	case op.Text != nil:
		return v.Stage(ctx, strings.NewReader(*op.Text))
	case op.Bytes != nil:
		b, err := base64.StdEncoding.DecodeString(*op.Bytes)
		if err != nil {
			return graven.Content{}, usage("bytes: %w", err)
		}
		return v.Stage(ctx, bytes.NewReader(b))
	}
	in, err := openInput(ctx, *op.File)
	if err != nil {
		return graven.Content{}, err
	}
	c, err := v.Stage(ctx, in)
	return c, errors.Join(err, in.Close())
}
