package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"graven"
	"graven/local"
)

// app is one run of the command: where it reads and writes, and its settings.
type app struct {
	in       io.Reader
	out, err io.Writer
	conf     config
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, err: errOut}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	return a.finish(err)
}

// root is the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "graven",
		Short:         "A tamper-evident database whose ledger is a text file",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.conf.load(cmd)
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%w", err) })
	addConfigFlags(root.PersistentFlags())
	root.AddCommand(
		a.initCommand(), a.vaultCommand(), a.statusCommand(), a.keyCommand(), a.checkpointCommand(),
		a.putCommand(), a.getCommand(), a.deleteCommand(), a.appendCommand(),
		a.listCommand(), a.logCommand(), a.showCommand(),
		a.importCommand(), a.exportCommand(),
		a.proveCommand(), a.verifyCommand(), a.checkCommand(), a.demoCommand(),
	)
	return root
}

// args is cobra's check of arguments as an error of use.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usage("%w; usage: %s", err, cmd.UseLine())
		}
		return nil
	}
}

// lockWait is how long a command waits for a store that another process holds.
const lockWait = 2 * time.Second

// open opens the store, for reading or for writing.
func (a *app) open(ctx context.Context, readOnly bool) (*graven.Store, error) {
	return local.Open(ctx, a.conf.Store, graven.Options{ReadOnly: readOnly, LockWait: lockWait})
}

// withVault runs fn with the chosen vault and closes the store.
func (a *app) withVault(ctx context.Context, readOnly bool, fn func(*graven.Vault) error) (err error) {
	s, err := a.open(ctx, readOnly)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	v, err := s.Vault(ctx, a.conf.Vault)
	if err != nil {
		return err
	}
	if !readOnly {
		a.tellRecovery(v)
	}
	return fn(v)
}

// withView runs fn with the vault as of AT (empty: now).
func (a *app) withView(ctx context.Context, at string, fn func(*graven.View) error) error {
	return a.withVault(ctx, true, func(v *graven.Vault) error {
		w := v.View()
		if at != "" {
			var err error
			if w, err = viewAt(w, at, time.Now()); err != nil {
				return err
			}
		}
		return fn(w)
	})
}

func (a *app) tellRecovery(v *graven.Vault) {
	for _, what := range v.Status().Recovered {
		a.talk("recovered: %s", what)
	}
}

// talk says something to the person, not to the script.
func (a *app) talk(format string, args ...any) {
	fmt.Fprintf(a.err, format+"\n", args...)
}

// json reports whether output is to be JSON.
func (a *app) json() bool { return a.conf.Output == "json" }

// print writes v as JSON, or calls text.
func (a *app) print(v any, text func(w io.Writer)) error {
	if !a.json() {
		text(a.out)
		return nil
	}
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// isTerminal reports whether w is a terminal, for progress and colour.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// bold is for the few words that must not be overlooked.
func (a *app) bold(s string) string {
	if a.conf.NoColor || !isTerminal(a.out) {
		return s
	}
	return "\x1b[1m" + s + "\x1b[0m"
}

// oneLine keeps text from outside from moving the cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}
