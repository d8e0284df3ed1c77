package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"graven"
	"graven/local"
)

// app is one run of the command: where it reads and writes, and its settings.
type app struct {
	in       io.Reader
	out, err io.Writer
	conf     config
	bar      *progress // what shows on the terminal now, if anything
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, err: errOut}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	return a.finish(ctx, cmd, err)
}

const about = `Graven keeps files in a tamper-evident ledger: a text file in which every transaction is a line, and whose
signed root lets anybody check an answer who does not trust whoever gave it.

KEY        1 to 1,024 bytes; written b64:… where it is not UTF-8, or would not stand on one line
AT         as it was: a seq (that record included), a time (2026-11-21T12:00:00Z), a date (its end in UTC),
           or how long ago (30m, 2h, 3d)
-o json    one JSON value a line; records are their own JSON

Exit codes: 0 done; 1 verification failed, or damage found; 2 wrong use; 3 not found; 4 denied; 5 locked, full
or otherwise unavailable; 6 it exists already, or a conflict; 7 any other error; 130 interrupted, 143 asked to
terminate: what was acknowledged is durable.

Settings are flags, variables GRAVEN_STORE, GRAVEN_VAULT, GRAVEN_OUTPUT, GRAVEN_ACTOR, GRAVEN_SIGN, GRAVEN_LOCK_WAIT,
GRAVEN_NO_COLOR, GRAVEN_CONFIG, or lines of a TOML file, the first that is given.`

// root is the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "graven",
		Short:         "A tamper-evident database whose ledger is a text file",
		Long:          about,
		Version:       version(),
		Args:          args(cobra.NoArgs),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.conf.load(cmd)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w; usage: %s", flagError(err), cmd.UseLine())
	})
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveDefault)
	addConfigFlags(root.PersistentFlags())
	group := func(id, title string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: id, Title: title})
		for _, c := range commands {
			c.GroupID = id
			c.DisableFlagsInUseLine = true
			root.AddCommand(c)
		}
	}
	group("store", "Stores and vaults:", a.initCommand(), a.vaultCommand(), a.statusCommand(), a.keyCommand(), a.checkpointCommand(), a.policyCommand(), a.keygenCommand())
	group("values", "Values:", a.putCommand(), a.getCommand(), a.deleteCommand(), a.appendCommand(), a.applyCommand(), a.captureCommand(), a.listCommand(), a.historyCommand(), a.diffCommand(), a.findCommand())
	group("trees", "Trees of files:", a.importCommand(), a.exportCommand())
	group("log", "The log:", a.logCommand(), a.showCommand())
	group("trust", "Proof and care:", a.proveCommand(), a.verifyCommand(), a.checkCommand(), a.rebuildCommand(), a.snapshotCommand(), a.demoCommand())
	group("copies", "Copies:", a.backupCommand(), a.restoreCommand(), a.adoptCommand(), a.repairCommand(), a.syncCommand())
	a.addCompletions(root)
	return root
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}

// flagError says of a value that a flag does not take what it takes, and not how the
// parser failed.
func flagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	f := invalid.GetFlag()
	wanted, ok := map[string]string{
		"int": "a whole number", "uint64": "a number from 0", "duration": "a time such as 500ms or 2s", "bool": "true or false",
	}[f.Value.Type()]
	if !ok {
		wanted = invalid.Unwrap().Error()
	}
	return fmt.Errorf("--%s %q: wanted %s", f.Name, invalid.GetValue(), wanted)
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

// open opens the store, for reading or for writing.
func (a *app) open(ctx context.Context, readOnly bool) (*graven.Store, error) {
	if err := wantDirectory("--store", a.conf.Store); err != nil {
		return nil, err
	}
	return local.Open(ctx, a.conf.Store, graven.Options{
		ReadOnly: readOnly, LockWait: a.conf.LockWait,
		// A command that ends soon records what it was asked for, and no more.
		SnapshotCommits: -1, SnapshotEvery: -1,
	})
}

// withStore runs fn with the store and closes it.
func (a *app) withStore(ctx context.Context, readOnly bool, fn func(*graven.Store) error) (err error) {
	s, err := a.open(ctx, readOnly)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return fn(s)
}

// withVault runs fn with the chosen vault and closes the store.
func (a *app) withVault(ctx context.Context, readOnly bool, fn func(*graven.Vault) error) error {
	return a.withStore(ctx, readOnly, func(s *graven.Store) error {
		v, err := s.Vault(ctx, a.conf.Vault)
		if err != nil {
			return err
		}
		st := v.Status()
		for _, what := range st.Recovered {
			a.talk("recovered: %s", oneLine(what))
		}
		for _, what := range st.Notes {
			a.talk("note: %s", oneLine(what))
		}
		return fn(v)
	})
}

// withView runs fn with the vault as of AT (empty: now). What fn prints is
// buffered.
func (a *app) withView(ctx context.Context, at string, fn func(*graven.View) error) error {
	return a.withVaultAt(ctx, at, func(_ *graven.Vault, w *graven.View) error { return fn(w) })
}

// withVaultAt is withView for who needs the vault too.
func (a *app) withVaultAt(ctx context.Context, at string, fn func(*graven.Vault, *graven.View) error) error {
	return a.withVault(ctx, true, func(v *graven.Vault) error {
		w := v.View()
		if at != "" {
			var err error
			if w, err = viewAt(w, at, time.Now()); err != nil {
				return err
			}
		}
		return a.buffered(func() error { return fn(v, w) })
	})
}

// buffered runs fn with a buffer before standard output.
func (a *app) buffered(fn func() error) error {
	to := a.out
	b := bufio.NewWriterSize(to, 64<<10)
	a.out = b
	defer func() { a.out = to }()
	err := fn()
	return errors.Join(err, b.Flush())
}

// talk says something to the person, not to the script.
func (a *app) talk(format string, args ...any) {
	if a.bar != nil {
		a.bar.end()
	}
	fmt.Fprintln(a.err, signingKey.ReplaceAllString(fmt.Sprintf(format, args...), "PRIVATE+KEY+… (a signing key, which is not shown)"))
}

// signingKey finds a key that somebody gave where something else was wanted: it is
// not to stand in a terminal's history or a log.
var signingKey = regexp.MustCompile(`PRIVATE\+KEY\+[^"'\s]*`)

// json reports whether output is to be JSON.
func (a *app) json() bool { return a.conf.Output == "json" }

// print writes v as JSON on one line, or what text writes.
func (a *app) print(v any, text func(w io.Writer)) error {
	if a.json() {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	w := &errWriter{w: a.out}
	text(w)
	return w.err
}

// errWriter keeps the first error, so that text may be printed line by line.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) Write(p []byte) (n int, err error) {
	if e.err == nil {
		n, e.err = e.w.Write(p)
	}
	return n, e.err
}

// isTerminal reports whether w is a terminal, for progress and colour.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// bold is for the few words that must not be overlooked.
func (a *app) bold(s string) string {
	if a.conf.NoColor || !isTerminal(a.out) {
		return s
	}
	return "\x1b[1m" + s + "\x1b[0m"
}

// oneLine keeps text from outside from moving the cursor, and from looking like
// other text: directions, what shows nothing, and all but the plain blank are
// replaced.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		const blankBraille = '\u2800'
		if !unicode.IsPrint(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) || r == blankBraille {
			return utf8.RuneError
		}
		return r
	}, s)
}
