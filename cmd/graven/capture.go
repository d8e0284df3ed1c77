package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"graven"
	"graven/record"
)

func (a *app) captureCommand() *cobra.Command {
	var id string
	var env []string
	var pty bool
	cmd := &cobra.Command{
		Use:   "capture KEY [--env NAME]… [--pty] -- CMD ARG…",
		Short: "Run a command and record what it wrote and how it ended",
		Long: "Run CMD and commit, as one transaction, what it wrote to standard output and standard error, under KEY/stdout and\n" +
			"KEY/stderr, and under KEY/run.json the command, its exit code or signal, when it began and ended, and the\n" +
			"variables that --env names. Both outputs are shown meanwhile. Whether the actor may write is found out before;\n" +
			"the store is not held while the command runs. The receipt goes to standard error, with -o json as JSON.\n\n" +
			"Exits with the command's code, or 128 and its signal's number; with 127 if there is no such command, 126 if it\n" +
			"cannot be executed: then nothing is recorded. If the outcome cannot be recorded, the files that hold it are\n" +
			"named and the code is that of the error, as graven --help says. With --id, a capture of the same command under\n" +
			"the same KEY that is recorded already is not run again: its code is the answer; of something else it is a conflict.\n\n" +
			"With --pty CMD runs on a terminal of its own, of our terminal's size or of 24 rows and 80 columns. What that\n" +
			"terminal got, with its CR LF, its colours and the echo of what was typed, is KEY/stdout; a KEY/stderr of an\n" +
			"older run is deleted; run.json says \"pty\":true and the size at the beginning. Our own terminal passes on every\n" +
			"key, Ctrl-C too. Input that is no terminal is passed on as if it were typed: its control characters act, Linux\n" +
			"cuts lines of more than 4,095 bytes, and more of it may be read than CMD wants. At its end Ctrl-D follows, twice\n" +
			"behind a line without an end; a CMD that has put its terminal into raw mode gets that as bytes, and while the\n" +
			"terminal echoes, a Ctrl-D may be echoed too, as ^D. Once CMD has ended, processes that it left behind are waited\n" +
			"for half a second; what they write later is not recorded.",
		Example: "  graven capture builds/8813 --env CI --actor builder -- make test\n" +
			"  graven capture sessions/17 --pty -- bash",
		Args: args(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			key, err := parseKey(argv[0])
			if err != nil {
				return err
			}
			if cmd.ArgsLenAtDash() != 1 {
				return usage("wanted KEY, then --, then the command")
			}
			if n := len(key) + len("/run.json"); n > record.MaxKey {
				return usage("KEY/run.json has %d bytes; a key has at most %d, so KEY at most %d", n, record.MaxKey, record.MaxKey-len("/run.json"))
			}
			for _, name := range env {
				if name == "" || strings.Contains(name, "=") {
					return usage("--env %q: wanted the NAME of a variable; its value is taken from the environment", name)
				}
			}
			c := &capture{a: a, key: string(key), argv: argv[1:], env: env, pty: pty, id: id}
			return c.run(cmd.Context())
		},
	}
	cmd.Flags().StringArrayVar(&env, "env", nil, "record this variable of the environment")
	cmd.Flags().BoolVar(&pty, "pty", false, "run the command on a terminal of its own")
	cmd.Flags().Var((*idValue)(&id), "id", "idempotency id: a capture that is recorded already is not run again")
	return cmd
}

// capture is one command under way.
type capture struct {
	a    *app
	key  string
	argv []string
	env  []string
	pty  bool
	id   string

	author graven.Tx // without ops: who writes, and the signature
}

// runRecord is KEY/run.json.
type runRecord struct {
	Command []string           `json:"command"`
	Exit    *int               `json:"exit,omitempty"`
	Signal  string             `json:"signal,omitempty"`
	Begin   string             `json:"begin"`
	End     string             `json:"end"`
	Env     map[string]*string `json:"env,omitempty"` // null: it was not set
	Pty     bool               `json:"pty,omitempty"`
	Rows    int                `json:"rows,omitempty"` // of the terminal when the command began
	Columns int                `json:"columns,omitempty"`
}

// exitError ends the program with a code, as another program ended, in silence.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("the command ended with %d", int(e)) }

// startError says that the command did not start.
type startError struct {
	name string
	err  error
}

func (e *startError) Error() string {
	why := e.err
	var look *exec.Error
	if errors.As(why, &look) {
		why = look.Err
	}
	var path *fs.PathError
	if errors.As(why, &path) {
		why = path.Err
	}
	return fmt.Sprintf("cannot start %s: %v; nothing was recorded", e.name, why)
}

// code is that of shells.
func (e *startError) code() int {
	if errors.Is(e.err, exec.ErrNotFound) || errors.Is(e.err, fs.ErrNotExist) {
		return 127
	}
	return 126
}

func (c *capture) run(ctx context.Context) (err error) {
	c.author.ID = c.id
	if err := c.a.author(&c.author); err != nil {
		return err
	}
	// What can be known before the command is better known then than after it.
	// Another process may have let go of the store by then.
	err = c.a.withVault(ctx, false, c.check)
	if errors.Is(err, graven.ErrLocked) {
		err = c.a.withVault(ctx, true, c.check)
	}
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "graven-capture-")
	if err != nil {
		return err
	}
	code, run, err := c.execute(ctx, dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := c.commit(context.WithoutCancel(ctx), dir, run); err != nil {
		return fmt.Errorf("the command ended with %d, and that is not recorded; its output is in %s: %w", code, dir, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}

// check refuses what would be refused at the end. A capture that is recorded
// already it answers, with the [exitError] of that.
func (c *capture) check(v *graven.Vault) error {
	tx := c.author
	for _, name := range []string{"stdout", "stderr", "run.json"} {
		tx.Put([]byte(c.key+"/"+name), graven.Bytes(nil), graven.PutOptions{})
	}
	if err := v.Admits(&tx); err != nil {
		return err
	}
	if c.id == "" {
		return nil
	}
	seq, used, err := v.Used(tx.Actor, c.id)
	if err != nil || !used {
		return err
	}
	was, err := c.recorded(v, seq)
	if err != nil {
		return err
	}
	if was == nil || !slices.Equal(was.Command, inJSON(c.argv)) || was.Pty != c.pty {
		return fmt.Errorf("nothing was run: %w", &graven.ConflictError{ID: c.id, Seq: seq})
	}
	if c.a.json() {
		if err := c.json(map[string]any{"seq": seq, "replayed": true}); err != nil {
			return err
		}
	} else {
		c.a.talk("recorded already: seq=%d; nothing was run", seq)
	}
	return exitError(was.code())
}

// recorded reads the run.json that a record wrote under our key; nil if it wrote none.
func (c *capture) recorded(v *graven.Vault, seq uint64) (*runRecord, error) {
	w, err := v.View().At(seq)
	if err != nil {
		return nil, err
	}
	e, err := w.Get([]byte(c.key + "/run.json"))
	if errors.Is(err, graven.ErrNotFound) || err == nil && e.Seq != seq {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value, err := w.Value(e)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if _, err := value.WriteTo(&text); err != nil {
		return nil, err
	}
	run := &runRecord{}
	if json.Unmarshal(text.Bytes(), run) != nil {
		return nil, nil // somebody else's
	}
	return run, nil
}

// code is what a capture that ended so exits with.
func (r *runRecord) code() int {
	if r.Exit != nil {
		return *r.Exit
	}
	for s := syscall.Signal(1); s < 128; s++ {
		if s.String() == r.Signal {
			return 128 + int(s)
		}
	}
	return exitOther
}

// json says something to the person as JSON: standard output is the command's.
func (c *capture) json(v any) error {
	e := json.NewEncoder(c.a.err)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// inJSON writes words that are not UTF-8 as keys are written that are not: JSON
// would make them all alike.
func inJSON(words []string) []string {
	out := slices.Clone(words)
	for i, s := range out {
		if !utf8.ValidString(s) || strings.HasPrefix(s, keyPrefix) {
			out[i] = keyPrefix + base64.StdEncoding.EncodeToString([]byte(s))
		}
	}
	return out
}

// outputs are the keys below KEY, and the files, that a run writes.
func (c *capture) outputs() []string {
	if c.pty {
		return []string{"stdout"}
	}
	return []string{"stdout", "stderr"}
}

// execute runs the command. Its error says that it was not started, or that its
// output could not be kept.
func (c *capture) execute(ctx context.Context, dir string) (code int, run runRecord, err error) {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	run = runRecord{Command: inJSON(c.argv), Begin: formatTime(time.Now())}
	if c.pty {
		err = c.onTerminal(ctx, dir, cmd, &run)
	} else {
		err = c.onPipes(ctx, dir, cmd)
	}
	if cmd.ProcessState == nil {
		return 0, run, err
	}
	run.End = formatTime(time.Now())
	if code = cmd.ProcessState.ExitCode(); code >= 0 {
		run.Exit = &code
	} else if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		run.Signal, code = status.Signal().String(), 128+int(status.Signal())
	}
	for _, name := range c.env {
		if run.Env == nil {
			run.Env = map[string]*string{}
		}
		if value, ok := os.LookupEnv(name); ok {
			run.Env[name] = &value
		} else {
			run.Env[name] = nil
		}
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		err = nil
	}
	return code, run, err
}

// onPipes runs cmd with a pipe for each of its outputs.
func (c *capture) onPipes(ctx context.Context, dir string, cmd *exec.Cmd) (err error) {
	stdout, err1 := os.Create(dir + "/stdout")
	stderr, err2 := os.Create(dir + "/stderr")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stdout.Close(), stderr.Close()) }()
	cmd.Stdin = c.a.in
	out, errOut := &keeper{file: stdout, show: c.a.out}, &keeper{file: stderr, show: c.a.err}
	cmd.Stdout, cmd.Stderr = out, errOut
	if err := cmd.Start(); err != nil {
		return &startError{c.argv[0], err}
	}
	// An interrupt reaches the command too; it decides how to end.
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	err = cmd.Wait()
	if fileErr := errors.Join(out.fileErr, errOut.fileErr); fileErr != nil {
		return fmt.Errorf("the command ended, and its output could not be kept: %w", fileErr)
	}
	c.sayHidden(errors.Join(out.showErr, errOut.showErr))
	return err
}

// keeper writes to the file that is recorded and shows it. The command is not
// to hang or to be cut short because either fails.
type keeper struct {
	file, show       io.Writer
	fileErr, showErr error
}

// Write implements [io.Writer] and never fails.
func (k *keeper) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if k.fileErr == nil {
		_, k.fileErr = k.file.Write(b)
	}
	if k.showErr == nil {
		_, k.showErr = k.show.Write(b)
	}
	return len(b), nil
}

// sayHidden says that our own output failed meanwhile.
func (c *capture) sayHidden(err error) {
	if err != nil {
		c.a.talk("graven: from some point on the output was recorded and not shown: %v", err)
	}
}

// commit records the outcome as one transaction.
func (c *capture) commit(ctx context.Context, dir string, run runRecord) error {
	text, err := json.Marshal(run)
	if err != nil {
		return err
	}
	return c.a.withVault(ctx, false, func(v *graven.Vault) (err error) {
		tx := c.author
		var staged []graven.Content
		defer func() {
			if err != nil {
				for _, s := range staged {
					s.Discard() // does nothing if a transaction took it
				}
			}
		}()
		for _, name := range c.outputs() {
			f, err := os.Open(dir + "/" + name)
			if err != nil {
				return err
			}
			value, err := v.Stage(ctx, f)
			if err := errors.Join(err, f.Close()); err != nil {
				return err
			}
			staged = append(staged, value)
			tx.Put([]byte(c.key+"/"+name), value, graven.PutOptions{})
		}
		if stderr := []byte(c.key + "/stderr"); c.pty {
			// What an older run left there would look like a part of this one.
			if _, err := v.View().Get(stderr); err == nil {
				tx.Delete(stderr, graven.DeleteOptions{AllowAbsent: true})
			} else if !errors.Is(err, graven.ErrNotFound) {
				return err
			}
		}
		value, err := v.Stage(ctx, bytes.NewReader(append(text, '\n'))) // a command line may be long
		if err != nil {
			return err
		}
		staged = append(staged, value)
		tx.Put([]byte(c.key+"/run.json"), value, graven.PutOptions{Type: "application/json"})
		r, err := v.Commit(ctx, &tx)
		if err != nil {
			return err
		}
		if c.a.json() {
			return c.json(receiptOf(r))
		}
		c.a.talk("recorded: seq=%d size=%d root=%v", r.Seq, r.Size, r.Root)
		return nil
	})
}
