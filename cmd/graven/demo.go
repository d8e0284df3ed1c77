package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) demoCommand() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Show the main job on the files of a directory",
		Long: "Show the main job on real files: those of DIR (default: the directory it runs in; at most 1,000 files and\n" +
			"64 MiB, without .git), copied to a temporary directory that is removed at the end. Every command is printed\n" +
			"as one would type it, with what it says.",
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) (err error) {
			dir := "."
			if len(argv) > 0 {
				dir = argv[0]
			}
			if info, err := os.Stat(dir); err != nil {
				return err
			} else if !info.IsDir() {
				return usage("%s is not a directory", dir)
			}
			if dir, err = filepath.Abs(dir); err != nil {
				return err
			}
			temp, err := os.MkdirTemp("", "graven-demo-")
			if err != nil {
				return err
			}
			if keep {
				defer a.talk("Everything is still in %s.", temp)
			} else {
				defer func() {
					fmt.Fprintln(a.out, "(The temporary directory is removed; --keep leaves it for a look.)")
					err = errors.Join(err, os.RemoveAll(temp))
				}()
			}
			return a.demo(cmd.Context(), dir, temp)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "do not remove the temporary directory")
	return cmd
}

// demo runs the demonstration. It takes the process over: it works in temp, and
// without any setting of the environment, so that each command that it prints
// is the one that it runs.
func (a *app) demo(ctx context.Context, dir, temp string) (err error) {
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "GRAVEN_") {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	home, err := os.Getwd()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Chdir(home)) }()
	if err := os.Chdir(temp); err != nil {
		return err
	}
	d := &demo{a: a, ctx: ctx}
	took, err := copyTree(ctx, dir, "files")
	if err != nil {
		return err
	}
	d.say("%s.", took)
	d.shell("cd " + temp)
	for _, step := range []func(){d.fill, d.change, d.prove, d.rescue, d.damage} {
		if step(); d.err != nil {
			return fmt.Errorf("the demonstration failed: %w", d.err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	d.say("That was all. Nothing of yours was changed.")
	return nil
}

const (
	demoVault  = defaultStore + "/vaults/main"
	demoChange = "changed by the demonstration\n"
)

// demo is the demonstration under way. After an error it does nothing more.
type demo struct {
	a    *app
	ctx  context.Context
	key  string // the key that is changed
	last string // what the last command wrote to standard output
	err  error
}

func (d *demo) fill() {
	d.say("A store, with a key for whoever is to verify what it says.")
	d.run(0, "init")
	d.say("Import the files. Each receipt is a transaction: durable, signed, and one line of the ledger.")
	d.run(0, "import", "files", "--prefix", "files/")
	d.run(0, "status")
	d.say("The ledger is a text file. Its newest lines, in short:")
	d.run(0, "log", "-n", "5")
}

func (d *demo) change() {
	if d.key, d.err = d.pick(); d.err != nil {
		return
	}
	d.say("Change a value. What it was is still there.")
	d.quiet("checkpoint")
	lines := strings.Split(d.last, "\n")
	if len(lines) < 2 {
		d.err = fmt.Errorf("a checkpoint of %d lines", len(lines))
		return
	}
	var size uint64
	if _, d.err = fmt.Sscan(lines[1], &size); d.err != nil {
		return
	}
	d.print("$ echo %s | graven put %s", quote(strings.TrimSuffix(demoChange, "\n")), quote(d.key))
	d.exec(0, strings.NewReader(demoChange), d.a.out, "put", d.key)
	d.run(0, "get", d.key)
	d.head(3, "get", d.key, "--at", fmt.Sprint(size-1))
}

// pick chooses a small text among the imported files.
func (d *demo) pick() (string, error) {
	best, bestSize := "", int64(-1)
	err := filepath.WalkDir("files", func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name := filepath.ToSlash(path)
		size := info.Size()
		switch {
		case formatKey([]byte(name)) != name: // one that reads well
		case name == "files/README.md":
			best, bestSize = name, 0
		case bestSize < 0 || size > 0 && size < bestSize:
			best, bestSize = name, size
		}
		return nil
	})
	if err == nil && best == "" {
		err = errors.New("no file has a name that can be shown")
	}
	return best, err
}

func (d *demo) prove() {
	d.say("Prove the value, and that another key is absent. Two small files, and the key of the log:")
	d.run(0, "prove", d.key, "--out", "value.proof")
	d.run(0, "prove", "files/no/such/file", "--out", "absence.proof")
	d.to("key.txt", "key")
	d.to("value.txt", "get", d.key)
	d.say("Anybody can verify them anywhere, without the store.")
	d.shell("mkdir elsewhere; cd elsewhere")
	if d.err == nil {
		d.err = errors.Join(os.Mkdir("elsewhere", 0o777), os.Chdir("elsewhere"))
	}
	d.run(0, "verify", "../value.proof", "--vkey", "@../key.txt", "--subject", d.key, "--value", "../value.txt")
	d.run(0, "verify", "../absence.proof", "--vkey", "@../key.txt")
	d.say("A proof of something else is refused, however true it is.")
	d.run(exitDamage, "verify", "../absence.proof", "--vkey", "@../key.txt", "--subject", d.key)
	d.shell("cd ..")
	if d.err == nil {
		d.err = os.Chdir("..")
	}
}

func (d *demo) rescue() {
	d.say("And if this program were gone? Every vault has a script that needs a shell and coreutils, nothing else.")
	d.script(0, "rescued")
}

func (d *demo) damage() {
	d.say("Now somebody changes one byte on the disk, in the value that was written last.")
	file, at, err := findBytes(demoVault+"/blocks/open/*.blk", []byte(demoChange))
	if err != nil {
		d.err = err
		return
	}
	d.poke(file, at, 'C')
	d.run(exitDamage, "get", d.key)
	d.run(exitDamage, "check")
	d.script(exitDamage, "rescued-again")
	d.say("The byte is put back.")
	d.poke(file, at, demoChange[0])
	d.run(0, "check")
}

// script runs the vault's rescue.sh.
func (d *demo) script(want int, out string) {
	if d.err != nil {
		return
	}
	for _, tool := range []string{"sh", "sha256sum", "basenc"} {
		if _, err := exec.LookPath(tool); err != nil {
			d.print("(left out: this machine has no %s, which GNU coreutils bring)", tool)
			return
		}
	}
	argv := []string{"sh", demoVault + "/rescue.sh", out}
	d.shell(strings.Join(argv, " "))
	cmd := exec.CommandContext(d.ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = d.a.out, d.a.out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	err := cmd.Run()
	if cmd.ProcessState == nil {
		d.err = err
		return
	}
	d.ended("rescue.sh", cmd.ProcessState.ExitCode(), want)
}

// poke changes one byte of a file.
func (d *demo) poke(file string, at int64, b byte) {
	if d.err != nil {
		return
	}
	d.shell(fmt.Sprintf("printf %c | dd of=%s bs=1 seek=%d conv=notrunc status=none", b, file, at))
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		d.err = err
		return
	}
	_, err = f.WriteAt([]byte{b}, at)
	d.err = errors.Join(err, f.Close())
}

// findBytes finds the first of the files that match which holds text.
func findBytes(pattern string, text []byte) (file string, at int64, err error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return "", 0, err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", 0, err
		}
		if i := bytes.Index(b, text); i >= 0 {
			return name, int64(i), nil
		}
	}
	return "", 0, fmt.Errorf("%q is in none of %s", text, pattern)
}

func (d *demo) print(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.a.out, format+"\n", args...)
	}
}

func (d *demo) say(format string, args ...any) {
	d.print("\n%s", d.a.bold("# "+fmt.Sprintf(format, args...)))
}

// shell prints a command that is not run, or run by other means.
func (d *demo) shell(command string) { d.print("$ %s", command) }

// run prints a command of this program, runs it, and wants its exit code.
func (d *demo) run(want int, argv ...string) {
	d.shell(typed(argv))
	d.exec(want, strings.NewReader(""), d.a.out, argv...)
}

// quiet runs a command unseen.
func (d *demo) quiet(argv ...string) { d.exec(0, strings.NewReader(""), io.Discard, argv...) }

// to runs a command with its output in a file.
func (d *demo) to(file string, argv ...string) {
	d.shell(typed(argv) + " >" + file)
	d.quiet(argv...)
	if d.err == nil {
		d.err = os.WriteFile(file, []byte(d.last), 0o666)
	}
}

// head runs a command and shows the first lines of its output.
func (d *demo) head(lines int, argv ...string) {
	d.shell(fmt.Sprintf("%s | head -n %d", typed(argv), lines))
	d.quiet(argv...)
	for line := range strings.Lines(d.last) {
		if lines--; lines >= 0 {
			d.print("%s", oneLine(strings.ToValidUTF8(strings.TrimSuffix(line, "\n"), "\uFFFD")))
		}
	}
}

func (d *demo) exec(want int, in io.Reader, out io.Writer, argv ...string) {
	if d.err != nil {
		return
	}
	var last bytes.Buffer
	got := run(d.ctx, argv, in, io.MultiWriter(&last, out), d.a.out)
	d.last = last.String()
	d.ended(typed(argv), got, want)
}

// ended tells of an exit code that is not 0.
func (d *demo) ended(what string, got, want int) {
	if got != 0 {
		d.print("(exit code %d)", got)
	}
	if got != want && d.err == nil {
		d.err = fmt.Errorf("%s: exit code %d, wanted %d", what, got, want)
	}
}

// typed is a command as one would type it.
func typed(argv []string) string {
	words := []string{"graven"}
	for _, arg := range argv {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " ")
}

// quote quotes a word for a shell where it must be.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-") == "" {
		return s
	}
	return quoted(s)
}

// quoted writes a word for the shell, in single quotes whatever it is.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
