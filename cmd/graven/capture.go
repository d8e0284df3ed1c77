package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"graven"
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
			"variables that --env names. Both outputs are shown meanwhile. The store is not held while the command runs; if\n" +
			"the outcome cannot be recorded, the files that hold it are named. Exits with the command's code, or 128 and its\n" +
			"signal's number.\n\n" +
			"With --pty CMD runs on a terminal of its own, of our terminal's size or of 24 rows and 80 columns. What that\n" +
			"terminal got, with its CR LF, its colours and the echo of what was typed, is KEY/stdout; a KEY/stderr of an\n" +
			"older run is deleted; run.json says \"pty\":true and the size at the beginning. Our own terminal passes on every\n" +
			"key, Ctrl-C too. Input that is no terminal is passed on as if it were typed: its control characters act, Linux\n" +
			"cuts lines of more than 4,095 bytes, and more of it may be read than CMD wants. At its end Ctrl-D follows, twice\n" +
			"behind a line without an end; a CMD that has put its terminal into raw mode gets that as bytes. Once CMD has\n" +
			"ended, processes that it left behind are waited for half a second; what they write later is not recorded.",
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
			c := &capture{a: a, key: string(key), argv: argv[1:], env: env, pty: pty, id: id}
			return c.run(cmd.Context())
		},
	}
	cmd.Flags().StringArrayVar(&env, "env", nil, "record this variable of the environment")
	cmd.Flags().BoolVar(&pty, "pty", false, "run the command on a terminal of its own")
	idFlag(cmd, &id)
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

func (c *capture) run(ctx context.Context) (err error) {
	// A store that is not there is better known before the command than after it.
	if err := c.a.withVault(ctx, true, func(*graven.Vault) error { return nil }); err != nil {
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
	run = runRecord{Command: c.argv, Begin: formatTime(time.Now())}
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
		return err
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
		tx := &graven.Tx{ID: c.id}
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
		tx.Put([]byte(c.key+"/run.json"), graven.Bytes(append(text, '\n')), graven.PutOptions{Type: "application/json"})
		if err := c.a.author(tx); err != nil {
			return err
		}
		r, err := v.Commit(ctx, tx)
		if err != nil {
			return err
		}
		c.a.talk("recorded: seq=%d size=%d root=%v", r.Seq, r.Size, r.Root)
		return nil
	})
}
