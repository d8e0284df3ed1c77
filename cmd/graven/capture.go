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
	cmd := &cobra.Command{
		Use:   "capture KEY [--env NAME]… -- CMD ARG…",
		Short: "Run a command and record what it wrote and how it ended",
		Long: "Run CMD and commit, as one transaction, what it wrote to standard output and standard error, under KEY/stdout and\n" +
			"KEY/stderr, and under KEY/run.json the command, its exit code or signal, when it began and ended, and the\n" +
			"variables that --env names. Both outputs are shown meanwhile. The store is not held while the command runs; if\n" +
			"the outcome cannot be recorded, the files that hold it are named. Exits with the command's code, or 128 and its\n" +
			"signal's number.",
		Example: "  graven capture builds/8813 --env CI --actor builder -- make test",
		Args:    args(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			key, err := parseKey(argv[0])
			if err != nil {
				return err
			}
			if cmd.ArgsLenAtDash() != 1 {
				return usage("wanted KEY, then --, then the command")
			}
			c := &capture{a: a, key: string(key), argv: argv[1:], env: env, id: id}
			return c.run(cmd.Context())
		},
	}
	cmd.Flags().StringArrayVar(&env, "env", nil, "record this variable of the environment")
	idFlag(cmd, &id)
	return cmd
}

// capture is one command under way.
type capture struct {
	a    *app
	key  string
	argv []string
	env  []string
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

// execute runs the command. Its error says that it was not started.
func (c *capture) execute(ctx context.Context, dir string) (code int, run runRecord, err error) {
	stdout, err1 := os.Create(dir + "/stdout")
	stderr, err2 := os.Create(dir + "/stderr")
	if err := errors.Join(err1, err2); err != nil {
		return 0, run, err
	}
	defer func() { err = errors.Join(err, stdout.Close(), stderr.Close()) }()
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Stdin = c.a.in
	cmd.Stdout, cmd.Stderr = io.MultiWriter(stdout, c.a.out), io.MultiWriter(stderr, c.a.err)
	run = runRecord{Command: c.argv, Begin: formatTime(time.Now())}
	if err := cmd.Start(); err != nil {
		return 0, run, err
	}
	// An interrupt reaches the command too; it decides how to end.
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	err = cmd.Wait()
	stop()
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
		for _, name := range []string{"stdout", "stderr"} {
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
